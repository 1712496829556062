//! From the broker down: into the mailboxes, and out of them when a node listens
//! [MQTT-SN 1.2 §6.10]; strictly one exchange in flight for each node.
//!
//! A publication at QoS 0 on an id that the node knows needs no answer, so it does not wait
//! behind one that does (A.20): it passes what is in flight, never a publication of its own
//! topic.

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::QoS;

use super::engine::Engine;
use super::launch::Naming;
use super::letter::{Letter, Lifetime};
use super::mailbox::Refused;
use super::output::DropReason;
use super::port::Delivery;
use super::slots::SessionKey;
use super::state::{Session, Stage, State};

/// The most topics of a session whose publications are remembered as told of for their length.
const TOO_LONG_TOLD_MAX: usize = 32;

impl Engine {
    /// Puts a publication from the broker into the mailboxes of those who want it.
    pub(super) fn deliver(&mut self, now: Instant, delivery: Delivery) {
        let Delivery {
            id,
            mut publication,
            expiry,
            filters,
        } = delivery;
        let topic = &publication.topic;
        let takers = if publication.retain {
            // Retained messages come because someone has just subscribed, and are for nobody
            // else (D-16).
            self.take_wishes(now, topic, &filters)
        } else if filters.is_empty() {
            self.tree.subscribers(topic)
        } else {
            self.tree.takers(topic, &filters)
        };
        if let Some(id) = id {
            let holders = u32::try_from(takers.len()).unwrap_or(u32::MAX);
            self.out
                .hold_delivery(id, holders, self.settings.unanswered_max);
        }
        if takers.is_empty() {
            return;
        }
        let priority = self.settings.topic_priority(topic);
        let lifetime = Lifetime::new(now, self.settings.mailbox.age_max, expiry);
        // The upstream's payload is a slice of its read buffer, which a letter that waits for
        // hours would keep whole.
        publication.payload = Bytes::copy_from_slice(&publication.payload);
        for (key, granted) in takers {
            let qos = publication.qos.min(granted);
            let letter = Letter::new(publication.clone(), qos, id, priority, lifetime);
            self.post(now, key, letter);
            self.pump(now, key);
            self.reschedule(key);
        }
    }

    fn post(&mut self, now: Instant, key: SessionKey, mut letter: Letter) {
        let Some(session) = self.slots.get_mut(key) else {
            return self.out.settle_delivery(letter.delivery);
        };
        let rule = &session.rule;
        letter.qos = letter.qos.min(rule.qos_max).min(rule.profile.qos_max);
        if session.state == State::Gone && letter.qos == QoS::AtMostOnce {
            return self.out.settle_delivery(letter.delivery);
        }
        self.out.stats.publications_down += 1;
        session.mailbox.stamp(&mut letter);
        let expired = session.expire(now);
        if self.links.reach(session.binding) && session.goes_at_once(now, &letter) {
            self.refuse_letters(key, expired);
            return self.launch(now, key, letter);
        }
        let refused = session.mailbox.push(letter, &self.settings.mailbox);
        self.refuse_letters(key, expired);
        self.refuse_letters(key, refused);
    }

    /// Sends what can be sent to a node: the next letter, or the end of its wake. The mail of a
    /// node that does not listen expires as well.
    pub(super) fn pump(&mut self, now: Instant, key: SessionKey) {
        self.expire_letters(now, key);
        while let Some(session) = self.slots.get_mut(key) {
            if !session.takes_delivery() || !self.links.reach(session.binding) {
                return;
            }
            session.end_pauses(now);
            if session.paused_until.is_some() {
                return self.finish_delivery(now, key);
            }
            if session.unresponsive || session.awaits_answer() {
                return self.send_passing(now, key);
            }
            if session.must_wait_to_register() {
                self.send_passing(now, key);
                return self.finish_delivery(now, key);
            }
            if session.in_flight.is_some() {
                self.resume(now, key);
                let session = self.slots.get(key);
                if session.is_some_and(|session| session.in_flight.is_some()) {
                    return self.send_passing(now, key);
                }
                continue;
            }
            let next = if session.is_wake_spent() {
                None
            } else {
                session.next_letter(now)
            };
            match next {
                Some(letter) => self.launch(now, key, letter),
                None => return self.finish_delivery(now, key),
            }
        }
    }

    /// Sends the publications at QoS 0 that need not wait for the exchange in flight (A.20).
    fn send_passing(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let mut mailbox = std::mem::take(&mut session.mailbox);
        let passing = mailbox.take_passing(|letter| session.may_go(letter));
        session.mailbox = mailbox;
        for letter in passing {
            self.launch(now, key, letter);
        }
    }

    /// Drops the letters that have waited for too long.
    pub(super) fn expire_letters(&mut self, now: Instant, key: SessionKey) {
        if let Some(session) = self.slots.get_mut(key) {
            let expired = session.expire(now);
            self.refuse_letters(key, expired);
        }
    }

    /// Gives the letters of all nodes the priorities that the settings say now; without that,
    /// those of a topic could overtake each other.
    pub(super) fn rank_letters_anew(&mut self) {
        for key in self.slots.keys() {
            let Some(session) = self.slots.get_mut(key) else {
                continue;
            };
            if let Some(flight) = &mut session.in_flight {
                let topic = &flight.letter.publication.topic;
                flight.letter.priority = self.settings.topic_priority(topic);
            }
            session
                .mailbox
                .rank_anew(|topic| self.settings.topic_priority(topic));
        }
    }

    pub(super) fn refuse_letters(&mut self, key: SessionKey, letters: Vec<Refused>) {
        for (letter, reason) in letters {
            self.drop_letter(key, letter, reason);
        }
    }

    /// Gives a letter up: it is told of, counted, and settled with the broker.
    pub(super) fn drop_letter(&mut self, key: SessionKey, letter: Letter, reason: DropReason) {
        let session = self.slots.get_mut(key);
        let (client_id, binding, again) = session.map_or((None, None, false), |session| {
            let again = reason == DropReason::TooLong && !session.tells_too_long(&letter);
            (Some(Arc::clone(&session.client_id)), session.binding, again)
        });
        let reason = if again {
            // D-41: logged once for each topic.
            DropReason::TooLongAgain
        } else {
            reason
        };
        let octets = letter.publication.payload.len();
        self.out
            .dropped(binding, client_id.as_ref(), reason, octets);
        self.out.settle_delivery(letter.delivery);
    }
}

impl Session {
    /// Takes the letters whose time is up, also one in flight that was never published and is
    /// not being sent.
    fn expire(&mut self, now: Instant) -> Vec<Refused> {
        let mut expired = self.mailbox.expire(now);
        if let Some(reason) = self.stalled_letter().and_then(|letter| letter.expired(now)) {
            let flight = self.in_flight.take();
            expired.extend(flight.map(|flight| (flight.letter, reason)));
        }
        expired
    }

    /// Returns when a letter may have expired: never too late.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let stalled = self.stalled_letter().map(Letter::until);
        stalled.into_iter().chain(self.mailbox.next_expiry()).min()
    }

    fn stalled_letter(&self) -> Option<&Letter> {
        let flight = self.in_flight.as_ref()?;
        let stalled = flight.retry_at.is_none() && !flight.letter.published;
        stalled.then_some(&flight.letter)
    }

    /// Returns whether publications may be sent at all. D-16: they follow the SUBACK that is
    /// still to come.
    pub(super) fn takes_delivery(&self) -> bool {
        self.listens() && self.pending_subscribes.is_empty()
    }

    /// Returns whether a letter need not enter the mailbox.
    fn goes_at_once(&mut self, now: Instant, letter: &Letter) -> bool {
        self.end_pauses(now);
        // In a wake everything goes in its turn.
        let in_turn = self.mailbox.is_empty()
            || (letter.qos == QoS::AtMostOnce && self.state == State::Active);
        in_turn
            && self.takes_delivery()
            && self.paused_until.is_none()
            && !self.is_wake_spent()
            && !self.mailbox.has_topic(&letter.publication.topic)
            && self.may_go(letter)
    }

    /// Returns whether a letter may go now, were it the first of its topic.
    fn may_go(&self, letter: &Letter) -> bool {
        let free = self.in_flight.is_none() && !self.unresponsive;
        match self.naming(&letter.publication.topic) {
            Naming::Ready(_) => free || self.is_passed_by(letter),
            Naming::Unwanted => free,
            Naming::RegisterFirst(_) | Naming::Unnamed => {
                free && self.registers_paused_until.is_none()
            }
        }
    }

    /// Returns whether a letter on a topic that the node knows may pass what is in flight: at
    /// QoS 0, where the node listens all the time, and where the other is not more important,
    /// or long overdue.
    fn is_passed_by(&self, letter: &Letter) -> bool {
        if letter.qos != QoS::AtMostOnce || self.state != State::Active {
            return false;
        }
        self.in_flight.as_ref().is_none_or(|flight| {
            let overdue = self.unresponsive || flight.tries > 0 || flight.retry_at.is_none();
            let passes = overdue || letter.priority >= flight.letter.priority;
            passes && flight.letter.publication.topic != letter.publication.topic
        })
    }

    /// Takes the letter whose turn it is; while the node has no room for topic ids, one on a
    /// topic that it knows.
    fn next_letter(&mut self, now: Instant) -> Option<Letter> {
        debug_assert!(self.registers_paused_until.is_none_or(|until| until > now));
        if self.registers_paused_until.is_none() {
            return self.mailbox.pop();
        }
        let mut mailbox = std::mem::take(&mut self.mailbox);
        let next = mailbox.pop_first(|letter| self.may_go(letter));
        self.mailbox = mailbox;
        next
    }

    fn awaits_answer(&self) -> bool {
        self.in_flight
            .as_ref()
            .is_some_and(|flight| flight.retry_at.is_some())
    }

    /// Returns whether what is in flight needs its topic id told, which the node has no room
    /// for at the moment.
    fn must_wait_to_register(&self) -> bool {
        let registers = self
            .in_flight
            .as_ref()
            .is_some_and(|flight| flight.stage == Stage::Register || self.must_register_again());
        registers && self.registers_paused_until.is_some()
    }

    /// Returns whether as much was sent in this wake as may be: the rest waits for the next one
    /// (D-22).
    fn is_wake_spent(&self) -> bool {
        let awake = matches!(self.state, State::Awake { .. });
        let most = self.rule.awake_messages_max;
        awake && most.is_some_and(|most| self.awake_sent >= most)
    }

    /// Returns whether a letter's length is to be told of: once for each topic (D-41).
    fn tells_too_long(&mut self, letter: &Letter) -> bool {
        let hash = super::uplink::hash(&letter.publication.topic);
        if self.too_long_told.contains(&hash) {
            return false;
        }
        if self.too_long_told.len() >= TOO_LONG_TOLD_MAX {
            self.too_long_told.remove(0);
        }
        self.too_long_told.push(hash);
        true
    }

    /// Takes everything that waits for the node.
    pub(super) fn take_letters(&mut self) -> Vec<Letter> {
        let in_flight = self.in_flight.take().map(|flight| flight.letter);
        in_flight
            .into_iter()
            .chain(std::iter::from_fn(|| self.mailbox.pop()))
            .collect()
    }
}
