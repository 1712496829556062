//! The nodes that are watched, and what is said of each.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use shared::time::{Duration, Instant};
use slab::Slab;

use super::port::{LinkId, PublicationId};

/// The place of a watch; used again after the watch has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WatchKey(u32);

/// The nodes that are watched: as many as there may be sessions, and those that rules name.
#[derive(Debug, Default)]
pub(super) struct Watches {
    pub(super) watches: Slab<Watch>,
    pub(super) by_client_id: HashMap<Arc<str>, WatchKey>,
    /// Whose publications the broker has not answered yet.
    pub(super) saying: HashMap<PublicationId, WatchKey>,
}

/// What is expected and known of one node.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) client_id: Arc<str>,
    /// Whether a rule names the node, so that it is expected even where it was never heard.
    pub(super) named: bool,
    pub(super) every: Duration,
    /// Where it was last heard, or may only be heard.
    pub(super) link: Option<LinkId>,
    pub(super) heard_at: Option<Instant>,
    pub(super) deadline: Instant,
    pub(super) status: Option<Status>,
    /// The last publication, until the broker has answered for it.
    pub(super) saying: Option<PublicationId>,
    /// When that was.
    pub(super) saying_at: Instant,
    /// Whether the broker has taken the status, or will never do so.
    pub(super) said: bool,
    pub(super) timer: Option<Instant>,
}

/// The last thing that was published of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Heard,
    Silent,
}

impl Watches {
    pub(super) fn get_mut(&mut self, key: WatchKey) -> Option<&mut Watch> {
        self.watches.get_mut(key.0 as usize)
    }

    pub(super) fn insert(&mut self, watch: Watch) -> WatchKey {
        let client_id = Arc::clone(&watch.client_id);
        let index = self.watches.insert(watch);
        let key = WatchKey(u32::try_from(index).expect("sessions_max is far below 2^32"));
        self.by_client_id.insert(client_id, key);
        key
    }

    pub(super) fn remove(&mut self, key: WatchKey) -> Option<Watch> {
        let watch = self.watches.try_remove(key.0 as usize)?;
        self.by_client_id.remove(&watch.client_id);
        Some(watch)
    }

    pub(super) fn keys(&self) -> Vec<WatchKey> {
        let indexes = self.watches.iter().map(|(index, _)| index);
        indexes.map(|index| WatchKey(index as u32)).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }
}

impl Watch {
    pub(super) fn new(client_id: Arc<str>, every: Duration, now: Instant) -> Self {
        Self {
            client_id,
            named: false,
            every,
            link: None,
            heard_at: None,
            deadline: now,
            status: None,
            saying: None,
            saying_at: now,
            said: false,
            timer: None,
        }
    }

    pub(super) fn payload(&self, now: Instant) -> Bytes {
        match (self.status, self.heard_at) {
            (Some(Status::Silent), Some(heard_at)) => {
                let last_heard_s = now.since(heard_at).as_secs();
                format!(r#"{{"status":"silent","last_heard_s":{last_heard_s}}}"#).into()
            }
            (Some(Status::Silent), None) => Bytes::from_static(br#"{"status":"silent"}"#),
            (Some(Status::Heard) | None, _) => Bytes::from_static(br#"{"status":"heard"}"#),
        }
    }
}

/// Returns the topic of a node's status. The encoding is one to one: no client id can be made
/// that takes another node's topic, or a level of its own.
pub(super) fn status_topic(prefix: &str, client_id: &str) -> Arc<str> {
    let mut topic = format!("{prefix}/node/");
    for c in client_id.chars() {
        if matches!(c, '/' | '+' | '#' | '%') || c.is_control() {
            for octet in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(topic, "%{octet:02X}");
            }
        } else {
            topic.push(c);
        }
    }
    topic.push_str("/status");
    topic.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_cannot_forge_a_topic() {
        let topic = |client_id| status_topic("p", client_id);
        assert_eq!(&*topic("pump-1"), "p/node/pump-1/status");
        assert_eq!(
            &*topic("a/status/../+#\u{0}\u{85}%2F"),
            "p/node/a%2Fstatus%2F..%2F%2B%23%00%C2%85%252F/status"
        );
        assert_ne!(topic("a/b"), topic("a%2Fb"));
        for client_id in ["a/b", "+", "#", "\u{0}"] {
            let topic = topic(client_id);
            assert!(shared::topics::TopicName::new(&topic).is_ok());
            assert_eq!(topic.split('/').count(), 4);
        }
    }
}
