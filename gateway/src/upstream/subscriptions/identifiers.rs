//! Subscription Identifiers: they say which subscription a copy of a publication is for.
//!
//! Where several subscriptions of one client match a publication, a broker may send one copy for
//! each or one for all [MQTT 5 §3.3.4]. mosquitto, EMQX and the embedded broker send one for
//! each, and without the identifiers nobody could tell the copies from repetitions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The identifiers of the filters that the broker may know. A filter keeps its own until the
/// broker has forgotten it, over reconnections too.
#[derive(Debug)]
pub(in crate::upstream) struct Identifiers {
    next: u32,
    by_filter: BTreeMap<Arc<str>, u32>,
    by_id: BTreeMap<u32, Arc<str>>,
    /// The last ones given up: copies for them may still be on their way.
    retired: VecDeque<u32>,
}

/// Which subscriptions a copy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Share {
    /// All that match, as far as can be told.
    All,
    /// This one; the others have copies of their own.
    One(Arc<str>),
    /// One that has ended.
    Ended,
    /// All that match: the broker has put several identifiers on it.
    Merged,
}

impl Default for Identifiers {
    fn default() -> Self {
        Self {
            next: FIRST,
            by_filter: BTreeMap::new(),
            by_id: BTreeMap::new(),
            retired: VecDeque::new(),
        }
    }
}

impl Identifiers {
    /// Returns the identifier of a filter, a new one where it has none.
    pub(in crate::upstream) fn of(&mut self, filter: &Arc<str>) -> u32 {
        if let Some(id) = self.by_filter.get(filter) {
            return *id;
        }
        let id = self.free();
        self.by_filter.insert(filter.clone(), id);
        self.by_id.insert(id, filter.clone());
        id
    }

    /// Gives up the identifiers of the filters for which `known` does not hold.
    pub(in crate::upstream) fn retain(&mut self, known: impl Fn(&Arc<str>) -> bool) {
        let filters = self.by_filter.keys();
        let gone: Vec<_> = filters.filter(|filter| !known(filter)).cloned().collect();
        for filter in gone {
            self.give_up(&filter);
        }
    }

    /// Gives up the identifier of one filter, if it has one.
    pub(in crate::upstream) fn give_up(&mut self, filter: &str) {
        let Some(id) = self.by_filter.remove(filter) else {
            return;
        };
        self.by_id.remove(&id);
        if self.retired.len() >= RETIRED_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back(id);
    }

    /// Returns which subscriptions a copy on `topic` is for that carries `ids`.
    pub(in crate::upstream) fn share(&self, ids: &[usize], topic: &str) -> Share {
        let id = match ids {
            [] => return Share::All,
            [id] => u32::try_from(*id).unwrap_or(0),
            [_, _, ..] => return Share::Merged,
        };
        match self.by_id.get(&id) {
            Some(filter) if shared::topics::matches(filter, topic) => Share::One(filter.clone()),
            // The broker has it from an earlier life of this process: whose copy it is cannot
            // be told, and twice is better than not at all.
            Some(_) => Share::All,
            None if self.retired.contains(&id) => Share::Ended,
            None => Share::All,
        }
    }

    fn free(&mut self) -> u32 {
        loop {
            let id = self.next;
            self.next = if id >= LAST { FIRST } else { id + 1 };
            if !self.by_id.contains_key(&id) && !self.retired.contains(&id) {
                return id;
            }
        }
    }
}

/// Returns whether of a copy with several identifiers the payload may be wrong.
///
/// rumqttc counts each identifier as one octet more than it has and, once it is ahead by a whole
/// property, takes the next one for the beginning of the payload. Such a payload begins with the
/// identifier of a property that a PUBLISH may have [MQTT 5 §2.2.2.2].
pub(in crate::upstream) fn may_be_garbled(payload: &[u8]) -> bool {
    const PROPERTIES: [u8; 8] = [0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
    payload
        .first()
        .is_some_and(|first| PROPERTIES.contains(first))
}

/// The first identifier.
const FIRST: u32 = 1;

/// The last identifier that MQTT knows [MQTT 5 §3.8.2.1.2].
const LAST: u32 = 268_435_455;

/// The identifiers remembered as given up.
const RETIRED_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Arc<str> {
        text.into()
    }

    fn ids(id: u32) -> [usize; 1] {
        [id as usize]
    }

    #[test]
    fn a_filter_keeps_its_identifier_until_it_is_given_up() {
        let mut identifiers = Identifiers::default();
        let id = identifiers.of(&filter("a/#"));
        assert_eq!(identifiers.of(&filter("a/#")), id);
        assert_ne!(identifiers.of(&filter("a/b")), id);
        assert_eq!(
            identifiers.share(&ids(id), "a/b"),
            Share::One(filter("a/#"))
        );
        identifiers.give_up("a/#");
        assert_eq!(identifiers.share(&ids(id), "a/b"), Share::Ended);
        assert_ne!(identifiers.of(&filter("c")), id, "not soon used again");
    }

    #[test]
    fn what_cannot_be_told_is_for_all() {
        let mut identifiers = Identifiers::default();
        let id = identifiers.of(&filter("a/#"));
        assert_eq!(identifiers.share(&[], "a"), Share::All);
        assert_eq!(identifiers.share(&ids(id), "other"), Share::All);
        assert_eq!(identifiers.share(&ids(id + 1), "a"), Share::All);
        assert_eq!(identifiers.share(&[usize::MAX], "a"), Share::All);
    }

    #[test]
    fn several_identifiers_are_one_copy_for_all() {
        let identifiers = Identifiers::default();
        assert_eq!(identifiers.share(&[1, 2], "a"), Share::Merged);
    }

    #[test]
    fn rumqttc_takes_the_third_identifier_for_payload() {
        use bytes::BytesMut;
        use rumqttc::v5::mqttbytes::QoS;
        use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};

        let read = |count| {
            let properties = PublishProperties {
                subscription_identifiers: (1..=count).collect(),
                ..PublishProperties::default()
            };
            let publish = Publish::new("a", QoS::AtMostOnce, "{}", Some(properties));
            let mut bytes = BytesMut::new();
            Packet::Publish(publish).write(&mut bytes, None).unwrap();
            match Packet::read(&mut bytes, None) {
                Ok(Packet::Publish(publish)) => publish.payload,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read(2), "{}");
        assert!(!may_be_garbled(&read(2)));
        assert_ne!(read(3), "{}", "rumqttc counts right: this can go");
        assert!(may_be_garbled(&read(3)));
    }

    #[test]
    fn identifiers_start_over_at_the_end_and_skip_those_in_use() {
        let mut identifiers = Identifiers::default();
        let first = identifiers.of(&filter("first"));
        identifiers.next = LAST;
        assert_eq!(identifiers.of(&filter("last")), LAST);
        assert_eq!(identifiers.of(&filter("next")), first + 1);
    }

    #[test]
    fn what_is_given_up_is_remembered_within_bounds() {
        let mut identifiers = Identifiers::default();
        for n in 0..2 * RETIRED_MAX {
            let filter = filter(&n.to_string());
            identifiers.of(&filter);
            identifiers.give_up(&filter);
        }
        assert_eq!(identifiers.retired.len(), RETIRED_MAX);
        assert!(identifiers.by_filter.is_empty() && identifiers.by_id.is_empty());
    }
}
