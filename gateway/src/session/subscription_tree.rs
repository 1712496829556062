//! Who subscribes to what: all nodes' subscriptions, merged for the upstream.

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
    pub(super) subscribers: Vec<(SessionKey, QoS)>,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.subscribers.is_empty()
    }

    fn highest(&self) -> Option<QoS> {
        self.subscribers.iter().map(|(_, qos)| *qos).max()
    }
}

impl SubscriptionTree {
    /// Adds or changes a subscription and returns the highest quality of service that any node
    /// now wants of the filter.
    pub(super) fn insert(&mut self, filter: &str, key: SessionKey, qos: QoS) -> QoS {
        let mut level = &mut self.root;
        for part in filter.split('/') {
            level = level.children.entry(part.into()).or_default();
        }
        match level
            .subscribers
            .iter_mut()
            .find(|(subscriber, _)| *subscriber == key)
        {
            Some(entry) => entry.1 = qos,
            None => level.subscribers.push((key, qos)),
        }
        level.highest().unwrap_or(qos)
    }

    /// Removes a subscription; returns whether it was the last one of its filter.
    pub(super) fn remove(&mut self, filter: &str, key: SessionKey) -> bool {
        let parts: Vec<&str> = filter.split('/').collect();
        Self::remove_from(&mut self.root, &parts, key)
    }

    fn remove_from(level: &mut Level, parts: &[&str], key: SessionKey) -> bool {
        let Some((part, rest)) = parts.split_first() else {
            let before = level.subscribers.len();
            level
                .subscribers
                .retain(|(subscriber, _)| *subscriber != key);
            return before > 0 && level.subscribers.is_empty();
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
        // [MQTT 5 §4.7.2] Wildcards at the front do not match topics that begin with '$'.
        let wildcards = !topic.starts_with('$');
        Self::collect(&self.root, Some(topic), wildcards, &mut found);
        found.sort_unstable_by_key(|(key, qos)| (*key, std::cmp::Reverse(*qos)));
        found.dedup_by_key(|(key, _)| *key);
        found
    }

    fn collect(
        level: &Level,
        topic: Option<&str>,
        wildcards: bool,
        found: &mut Vec<(SessionKey, QoS)>,
    ) {
        if wildcards && let Some(rest) = level.children.get("#") {
            found.extend_from_slice(&rest.subscribers);
        }
        let Some(topic) = topic else {
            found.extend_from_slice(&level.subscribers);
            return;
        };
        let (part, rest) = match topic.split_once('/') {
            Some((part, rest)) => (part, Some(rest)),
            None => (topic, None),
        };
        if let Some(child) = level.children.get(part) {
            Self::collect(child, rest, true, found);
        }
        if wildcards && let Some(child) = level.children.get("+") {
            Self::collect(child, rest, true, found);
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
        tree.insert("a/#", A, QoS::AtMostOnce);
        tree.insert("a/+", A, QoS::ExactlyOnce);
        tree.insert("a/b", B, QoS::AtLeastOnce);
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
        tree.insert("#", A, QoS::AtMostOnce);
        tree.insert("+/x", A, QoS::AtMostOnce);
        tree.insert("$SYS/#", B, QoS::AtMostOnce);
        assert_eq!(tree.subscribers("$SYS/x"), [(B, QoS::AtMostOnce)]);
    }

    #[test]
    fn the_last_one_out_is_told() {
        let mut tree = SubscriptionTree::default();
        assert_eq!(tree.insert("a/b", A, QoS::AtMostOnce), QoS::AtMostOnce);
        assert_eq!(tree.insert("a/b", B, QoS::AtLeastOnce), QoS::AtLeastOnce);
        assert!(!tree.remove("a/b", A));
        assert!(tree.remove("a/b", B));
        assert!(!tree.remove("a/b", B));
        assert!(tree.root.is_empty());
    }

    proptest! {
        #[test]
        fn finds_what_the_filter_rule_says(
            filters in proptest::collection::vec("[ab+]{0,1}(/[ab+]{0,1}){0,3}(/#)?", 1..8),
            topic in "[$]?[ab]{0,1}(/[ab]{0,1}){0,4}",
        ) {
            let mut tree = SubscriptionTree::default();
            for (n, filter) in filters.iter().enumerate() {
                tree.insert(filter, SessionKey(n as u32), QoS::AtMostOnce);
            }
            let found: Vec<u32> = tree.subscribers(&topic).iter().map(|(key, _)| key.0).collect();
            let expected: Vec<u32> = (0..filters.len() as u32)
                .filter(|n| shared::topics::matches(&filters[*n as usize], &topic))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
