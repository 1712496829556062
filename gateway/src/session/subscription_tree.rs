//! Who subscribes to what: all nodes' subscriptions, merged for the upstream.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use shared::wire::QoS;

use super::slots::SessionKey;

/// A tree of topic filter levels; matching a topic costs its levels, not the subscriptions.
#[derive(Debug, Default)]
pub(super) struct SubscriptionTree {
    pub(super) root: Level,
}

#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) children: BTreeMap<Box<str>, Self>,
    /// The filter that ends here, where anyone subscribes to it.
    filter: Option<Arc<str>>,
    pub(super) subscribers: Vec<Subscriber>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub(super) key: SessionKey,
    pub(super) qos: QoS,
    /// Whether the broker has granted it.
    granted: bool,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.subscribers.is_empty()
    }

    fn highest(&self) -> Option<QoS> {
        self.subscribers.iter().map(|one| one.qos).max()
    }
}

impl SubscriptionTree {
    /// Adds or changes a subscription that the broker has still to grant, and returns the
    /// highest quality of service that any node now wants of the filter.
    pub(super) fn ask(&mut self, filter: &Arc<str>, key: SessionKey, qos: QoS) -> QoS {
        let mut level = &mut self.root;
        for part in filter.split('/') {
            level = level.children.entry(part.into()).or_default();
        }
        level.filter.get_or_insert_with(|| Arc::clone(filter));
        match level.subscribers.iter_mut().find(|one| one.key == key) {
            Some(one) => one.qos = qos,
            None => level.subscribers.push(Subscriber {
                key,
                qos,
                granted: false,
            }),
        }
        level.highest().unwrap_or(qos)
    }

    /// Notes what the broker has granted of a subscription that was asked for.
    pub(super) fn grant(&mut self, filter: &str, key: SessionKey, qos: QoS) {
        let mut level = &mut self.root;
        for part in filter.split('/') {
            match level.children.get_mut(part) {
                Some(child) => level = child,
                None => return,
            }
        }
        if let Some(one) = level.subscribers.iter_mut().find(|one| one.key == key) {
            one.qos = qos;
            one.granted = true;
        }
    }

    /// Removes a subscription; returns whether it was the last one of its filter.
    pub(super) fn remove(&mut self, filter: &str, key: SessionKey) -> bool {
        let parts: Vec<&str> = filter.split('/').collect();
        Self::remove_from(&mut self.root, &parts, key)
    }

    fn remove_from(level: &mut Level, parts: &[&str], key: SessionKey) -> bool {
        let Some((part, rest)) = parts.split_first() else {
            let before = level.subscribers.len();
            level.subscribers.retain(|one| one.key != key);
            let last = before > 0 && level.subscribers.is_empty();
            if last {
                level.filter = None;
            }
            return last;
        };
        let Some(child) = level.children.get_mut(*part) else {
            return false;
        };
        let last = Self::remove_from(child, rest, key);
        if child.is_empty() {
            level.children.remove(*part);
        }
        last
    }

    /// Returns who is to be given a publication on `topic`, each node once, at the highest
    /// quality of service it was granted, in a stable order.
    pub(super) fn subscribers(&self, topic: &str) -> Vec<(SessionKey, QoS)> {
        let mut found = Vec::new();
        self.visit(topic, &mut |level| {
            found.extend(level.subscribers.iter().map(|one| (one.key, one.qos)));
        });
        found.sort_unstable_by_key(|(key, qos)| (*key, Reverse(*qos)));
        found.dedup_by_key(|(key, _)| *key);
        found
    }

    /// Returns who is to be given a copy of a publication on `topic` that the broker sent for
    /// `filters` alone, as it does for each of overlapping subscriptions. A node takes the copy
    /// of its best subscription, and no other: that with the highest quality of service, the
    /// first by its text among equals. What the broker has not granted yet it sends no copy for.
    pub(super) fn takers(&self, topic: &str, filters: &[Arc<str>]) -> Vec<(SessionKey, QoS)> {
        let mut found = Vec::new();
        self.visit(topic, &mut |level| {
            let filter = level.filter.as_ref();
            let ranked = |one: &Subscriber| (one.key, !one.granted, Reverse(one.qos), filter);
            found.extend(level.subscribers.iter().map(ranked));
        });
        found.sort_unstable();
        found.dedup_by_key(|(key, ..)| *key);
        found
            .into_iter()
            .filter(|(.., filter)| filter.is_some_and(|filter| filters.contains(filter)))
            .map(|(key, _, Reverse(qos), _)| (key, qos))
            .collect()
    }

    fn visit<'t>(&'t self, topic: &str, each: &mut impl FnMut(&'t Level)) {
        // [MQTT 5 §4.7.2] Wildcards at the front do not match topics that begin with '$'.
        let wildcards = !topic.starts_with('$');
        Self::collect(&self.root, Some(topic), wildcards, each);
    }

    fn collect<'t>(
        level: &'t Level,
        topic: Option<&str>,
        wildcards: bool,
        each: &mut impl FnMut(&'t Level),
    ) {
        if wildcards && let Some(rest) = level.children.get("#") {
            each(rest);
        }
        let Some(topic) = topic else {
            each(level);
            return;
        };
        let (part, rest) = match topic.split_once('/') {
            Some((part, rest)) => (part, Some(rest)),
            None => (topic, None),
        };
        if let Some(child) = level.children.get(part) {
            Self::collect(child, rest, true, each);
        }
        if wildcards && let Some(child) = level.children.get("+") {
            Self::collect(child, rest, true, each);
        }
    }
}

/// Subscribers of one filter that wait for its retained messages.
#[derive(Debug)]
pub(super) struct RetainedWish {
    pub(super) filter: Arc<str>,
    pub(super) key: SessionKey,
    pub(super) qos: QoS,
    pub(super) until: shared::time::Instant,
    /// The topics given so far: another node's wish makes the broker send them all again.
    pub(super) given: Vec<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: SessionKey = SessionKey(1);
    const B: SessionKey = SessionKey(2);

    #[test]
    fn each_node_is_found_once_at_its_highest_qos() {
        let mut tree = SubscriptionTree::default();
        tree.ask(&"a/#".into(), A, QoS::AtMostOnce);
        tree.ask(&"a/+".into(), A, QoS::ExactlyOnce);
        tree.ask(&"a/b".into(), B, QoS::AtLeastOnce);
        assert_eq!(
            tree.subscribers("a/b"),
            [(A, QoS::ExactlyOnce), (B, QoS::AtLeastOnce)]
        );
        assert_eq!(tree.subscribers("a"), [(A, QoS::AtMostOnce)]);
        assert_eq!(tree.subscribers("b"), []);
    }

    #[test]
    fn leading_wildcards_do_not_match_dollar_topics() {
        let mut tree = SubscriptionTree::default();
        tree.ask(&"#".into(), A, QoS::AtMostOnce);
        tree.ask(&"+/x".into(), A, QoS::AtMostOnce);
        tree.ask(&"$SYS/#".into(), B, QoS::AtMostOnce);
        assert_eq!(tree.subscribers("$SYS/x"), [(B, QoS::AtMostOnce)]);
    }

    #[test]
    fn the_last_one_out_is_told() {
        let mut tree = SubscriptionTree::default();
        assert_eq!(tree.ask(&"a/b".into(), A, QoS::AtMostOnce), QoS::AtMostOnce);
        assert_eq!(
            tree.ask(&"a/b".into(), B, QoS::AtLeastOnce),
            QoS::AtLeastOnce
        );
        assert!(!tree.remove("a/b", A));
        assert!(tree.remove("a/b", B));
        assert!(!tree.remove("a/b", B));
        assert!(tree.root.is_empty());
    }

    #[test]
    fn each_node_takes_the_copy_of_its_best_subscription() {
        let mut tree = SubscriptionTree::default();
        for (filter, key, qos) in [
            ("a/#", A, QoS::AtMostOnce),
            ("a/+", A, QoS::AtLeastOnce),
            ("a/b", A, QoS::AtLeastOnce),
            ("a/#", B, QoS::ExactlyOnce),
        ] {
            tree.ask(&filter.into(), key, qos);
            tree.grant(filter, key, qos);
        }
        let takers = |tree: &SubscriptionTree, filters: &[&str]| {
            let filters: Vec<_> = filters.iter().map(|filter| Arc::from(*filter)).collect();
            tree.takers("a/b", &filters)
        };
        assert_eq!(takers(&tree, &["a/#"]), [(B, QoS::ExactlyOnce)]);
        assert_eq!(takers(&tree, &["a/+"]), [(A, QoS::AtLeastOnce)]);
        assert_eq!(takers(&tree, &["a/b"]), []);
        let both = [(A, QoS::AtLeastOnce), (B, QoS::ExactlyOnce)];
        assert_eq!(takers(&tree, &["a/#", "a/+"]), both);
        // The broker sends no copy for what it has not granted.
        tree.ask(&"a/b".into(), B, QoS::ExactlyOnce);
        assert_eq!(takers(&tree, &["a/#"]), [(B, QoS::ExactlyOnce)]);
        tree.remove("a/#", B);
        assert_eq!(takers(&tree, &["a/b"]), [(B, QoS::ExactlyOnce)]);
    }

    proptest! {
        #[test]
        fn finds_what_the_filter_rule_says(
            filters in proptest::collection::vec("[ab+]{0,1}(/[ab+]{0,1}){0,3}(/#)?", 1..8),
            topic in "[$]?[ab]{0,1}(/[ab]{0,1}){0,4}",
        ) {
            let mut tree = SubscriptionTree::default();
            for (n, filter) in filters.iter().enumerate() {
                tree.ask(&filter.as_str().into(), SessionKey(n as u32), QoS::AtMostOnce);
            }
            let found: Vec<u32> = tree.subscribers(&topic).iter().map(|(key, _)| key.0).collect();
            let expected: Vec<u32> = (0..filters.len() as u32)
                .filter(|n| shared::topics::matches(&filters[*n as usize], &topic))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
