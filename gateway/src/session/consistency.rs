//! What must hold of the engine between any two inputs, for those who try to break it.
//!
//! Nothing here is part of the gateway's work: the operation fuzz and the simulation look at
//! the engine from outside after every step, and these checks look where they cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::wire::QoS;

use super::engine::Engine;
use super::letter::Letter;
use super::port::{Binding, DeliveryId};
use super::slots::{SessionKey, TimerOwner};
use super::state::{Session, Stage, State};
use super::subscription_tree::Level;

/// One session as a test may see it.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Whose session it is.
    pub client_id: Arc<str>,
    /// Where the node is heard.
    pub binding: Option<Binding>,
    /// `active`, `asleep`, `awake` or `gone`.
    pub state: &'static str,
    /// What the exchange in flight waits for, if there is one: `register`, `publish` or
    /// `release`.
    pub in_flight: Option<&'static str>,
    /// Whether the node does not answer.
    pub unresponsive: bool,
    /// Whether the node has asked for silence, or to be told no more topic ids for a while.
    pub paused: bool,
    /// Whether there is a will.
    pub will: bool,
    /// Publications that wait for the node, the one in flight among them.
    pub letters: usize,
    /// Their octets, without the one in flight.
    pub bytes: usize,
    /// Topic ids.
    pub topics: usize,
    /// The filters of subscriptions that were granted.
    pub granted: Vec<Arc<str>>,
    /// Subscriptions that wait for the broker.
    pub asked: usize,
    /// Publications of the node that wait for the broker.
    pub uplinks: usize,
}

impl Engine {
    /// Returns what each session is doing, in a stable order.
    #[doc(hidden)]
    #[must_use]
    pub fn sights(&self) -> Vec<Sight> {
        let sessions = self.slots.sessions.iter();
        sessions.map(|(_, session)| Sight::of(session)).collect()
    }

    /// Returns where will handshakes are under way.
    #[doc(hidden)]
    #[must_use]
    pub fn handshake_places(&self) -> BTreeSet<Binding> {
        self.handshakes.keys().copied().collect()
    }

    /// Returns how many timers are pending.
    #[doc(hidden)]
    #[must_use]
    pub fn timers_len(&self) -> usize {
        self.timers.0.len()
    }

    /// Checks that all that is kept about the same thing says the same.
    ///
    /// # Panics
    /// Where it does not.
    #[doc(hidden)]
    pub fn assert_consistent(&self) {
        self.assert_places();
        self.assert_timers();
        self.assert_subscriptions();
        self.assert_deliveries();
        for (index, session) in &self.slots.sessions {
            self.assert_session(SessionKey(index as u32), session);
        }
    }

    fn assert_places(&self) {
        let slots = &self.slots;
        assert_eq!(slots.by_client_id.len(), slots.sessions.len());
        for (client_id, key) in &slots.by_client_id {
            let session = slots.get(*key).expect("a client id names a session");
            assert_eq!(session.client_id, *client_id);
        }
        for (binding, key) in &slots.by_binding {
            let session = slots.get(*key).expect("a place is a session's");
            assert_eq!(session.binding.as_ref(), Some(binding));
        }
        for (_, session) in &slots.sessions {
            let client_id = &session.client_id;
            // A sleeper may have lost its place to another node.
            let right = match (session.state, session.binding) {
                (State::Gone, binding) => binding.is_none(),
                (State::Asleep { .. }, _) => true,
                (State::Active | State::Awake { .. }, binding) => binding.is_some(),
            };
            assert!(right, "{client_id} has no place");
            if let Some(binding) = &session.binding {
                assert!(
                    slots.by_binding(binding).is_some(),
                    "{client_id} is not found"
                );
            }
        }
    }

    fn assert_timers(&self) {
        let pending = &self.timers.0;
        let mut owners: Vec<TimerOwner> = pending.iter().map(|(_, owner)| *owner).collect();
        owners.sort_unstable();
        let twice = owners.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None, "a timer fires twice");
        for (index, session) in &self.slots.sessions {
            let owner = TimerOwner::Session(SessionKey(index as u32));
            let (client_id, deadline) = (&session.client_id, session.next_deadline());
            if let Some(at) = session.timer {
                assert!(
                    pending.contains(&(at, owner)),
                    "{client_id} has lost its timer"
                );
            }
            // Where its link carries nothing its time stands still.
            if self.links.reach(session.binding) {
                let soon = session.timer.is_some_and(|at| at <= deadline);
                assert!(
                    soon,
                    "{client_id} is looked at too late: {:?} for {deadline}, {:?} until {}",
                    session.timer, session.state, session.deadline
                );
            }
        }
        for (binding, handshake) in &self.handshakes {
            let owner = TimerOwner::Handshake(*binding);
            if let Some(at) = handshake.timer {
                assert!(
                    pending.contains(&(at, owner)),
                    "{binding} has lost its timer"
                );
            }
            if self.links.reach(Some(*binding)) {
                let soon = handshake.timer.is_some_and(|at| at <= handshake.retry_at);
                assert!(soon, "the handshake at {binding} is looked at too late");
            }
        }
        for (_, owner) in pending {
            match owner {
                TimerOwner::Session(key) => assert!(self.slots.get(*key).is_some()),
                TimerOwner::Handshake(binding) => assert!(self.handshakes.contains_key(binding)),
                _ => {}
            }
        }
    }

    fn assert_subscriptions(&self) {
        let mut in_tree = BTreeMap::new();
        collect(&self.tree.root, &mut Vec::new(), &mut in_tree);
        let mut wanted = BTreeMap::new();
        for (index, session) in &self.slots.sessions {
            let key = SessionKey(index as u32);
            for subscription in &session.subscriptions {
                let entry = (subscription.filter.to_string(), key);
                let twice = wanted.insert(entry, Some(subscription.qos));
                assert_eq!(twice, None, "{} is subscribed twice", subscription.filter);
            }
            for pending in &session.pending_subscribes {
                wanted.insert((pending.filter.to_string(), key), None);
            }
            self.assert_waiting(key, session);
        }
        assert!(
            in_tree.keys().eq(wanted.keys()),
            "{in_tree:?} in the tree, {wanted:?} in the sessions"
        );
        for (entry, qos) in wanted {
            assert!(
                qos.is_none_or(|qos| in_tree[&entry] == qos),
                "{entry:?} was granted at another QoS"
            );
        }
        for wish in &self.wishes {
            assert!(
                self.slots.get(wish.key).is_some(),
                "nobody wishes for {}",
                wish.filter
            );
        }
    }

    /// Every subscription that waits has its answer to come, and every answer its subscription.
    fn assert_waiting(&self, key: SessionKey, session: &Session) {
        for (filter, waiting) in &self.subscribing {
            assert!(!waiting.is_empty(), "nobody waits for {filter}");
            let answers = waiting.iter().filter(|entry| **entry == Some(key)).count();
            let pending = session.pending_subscribes.iter();
            let pending = pending.filter(|pending| pending.filter == *filter).count();
            assert_eq!(answers, pending, "{} waits for {filter}", session.client_id);
        }
        for pending in &session.pending_subscribes {
            assert!(
                self.subscribing.contains_key(&pending.filter),
                "{} waits in vain",
                session.client_id
            );
        }
    }

    /// The broker waits for exactly as many nodes as still have its publication before them.
    fn assert_deliveries(&self) {
        let mut holders: BTreeMap<DeliveryId, u32> = BTreeMap::new();
        for (_, session) in &self.slots.sessions {
            let ids = letters(session).filter_map(|letter| letter.delivery);
            for id in ids {
                *holders.entry(id).or_default() += 1;
            }
        }
        for (id, count) in &self.out.deliveries {
            assert_eq!(holders.get(id), Some(count), "{id:?} is not counted right");
        }
    }

    fn assert_session(&self, key: SessionKey, session: &Session) {
        let client_id = &session.client_id;
        for uplink in &session.uplinks {
            let owner = self.out.uplinks.get(&uplink.id);
            assert_eq!(
                owner,
                Some(&key),
                "{client_id} waits for {:?} in vain",
                uplink.id
            );
        }
        session.mailbox.assert_consistent();
        if let Some(flight) = &session.in_flight {
            // Its id is chosen when it is sent.
            let published = flight.stage != Stage::Register && flight.retry_at.is_some();
            assert!(
                !published || flight.letter.msg_id.is_some(),
                "{client_id} has a publication without message id in flight"
            );
            assert!(
                !published || flight.letter.qos != QoS::AtMostOnce,
                "{client_id} is waited for at QoS 0"
            );
        }
    }
}

impl Sight {
    fn of(session: &Session) -> Self {
        Self {
            client_id: Arc::clone(&session.client_id),
            binding: session.binding,
            state: match session.state {
                State::Active => "active",
                State::Asleep { .. } => "asleep",
                State::Awake { .. } => "awake",
                State::Gone => "gone",
            },
            in_flight: session.in_flight.as_ref().map(|flight| match flight.stage {
                Stage::Register => "register",
                Stage::Publish => "publish",
                Stage::Release => "release",
            }),
            unresponsive: session.unresponsive,
            paused: session.paused_until.is_some() || session.registers_paused_until.is_some(),
            will: session.will.is_some(),
            letters: letters(session).count(),
            bytes: session.mailbox.bytes(),
            topics: session.topics.len(),
            granted: session
                .subscriptions
                .iter()
                .map(|subscription| Arc::clone(&subscription.filter))
                .collect(),
            asked: session.pending_subscribes.len(),
            uplinks: session.uplinks.len(),
        }
    }
}

/// Everything that waits for a node, the publication in flight among it.
fn letters(session: &Session) -> impl Iterator<Item = &Letter> {
    let in_flight = session.in_flight.as_ref().map(|flight| &flight.letter);
    in_flight.into_iter().chain(session.mailbox.iter())
}

fn collect<'t>(
    level: &'t Level,
    path: &mut Vec<&'t str>,
    found: &mut BTreeMap<(String, SessionKey), QoS>,
) {
    for one in &level.subscribers {
        let twice = found.insert((path.join("/"), one.key), one.qos);
        assert_eq!(twice, None, "{path:?} has a subscriber twice");
    }
    for (part, child) in &level.children {
        path.push(part);
        collect(child, path, found);
        path.pop();
    }
}
