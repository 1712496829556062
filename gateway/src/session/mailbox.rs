//! Downlink publications that wait for one node (D-27).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::time::Instant;

use super::letter::{Letter, Rank};
use super::output::DropReason;
use super::policy::Priority;
use super::settings::MailboxLimits;

/// A letter that had to go, and why.
pub(super) type Refused = (Letter, DropReason);

/// The queue of one node, bounded by [`MailboxLimits`]. None of its letters was ever sent: what
/// was is in flight.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    letters: BTreeMap<Rank, Box<Letter>>,
    /// The letters at QoS 0; the first makes room for others first.
    qos0: BTreeSet<(Priority, u64)>,
    topics: BTreeMap<Arc<str>, Waiting>,
    bytes: usize,
    qos0_bytes: usize,
    turns: u64,
    /// When the first letter may have expired: never too late.
    expiry: Option<Instant>,
    /// Whether none of the letters may overtake the one in flight.
    looked_through: bool,
}

/// What waits of one topic.
#[derive(Debug, Default)]
struct Waiting {
    letters: usize,
    /// The newest one at QoS 0.
    qos0: Option<Rank>,
}

/// The most letters looked at for those that may overtake the one in flight.
const LOOK_MAX: usize = 256;

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Returns the octets of all letters, topic names and payloads together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the letters, in the order in which they are to go.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Letter> {
        self.letters.values().map(|letter| &**letter)
    }

    /// Checks that what is kept beside the letters says the same as they do.
    pub(super) fn assert_consistent(&self) {
        let mut topics: BTreeMap<&Arc<str>, (usize, Option<Rank>)> = BTreeMap::new();
        let (mut bytes, mut qos0_bytes, mut qos0) = (0, 0, 0);
        for (rank, letter) in &self.letters {
            bytes += letter.len();
            let topic = topics.entry(&letter.publication.topic).or_default();
            topic.0 += 1;
            if letter.is_qos0() {
                (qos0, qos0_bytes) = (qos0 + 1, qos0_bytes + letter.len());
                topic.1 = topic.1.max(Some(*rank));
                assert!(
                    self.qos0.contains(&(letter.priority, letter.turn)),
                    "{letter:?}"
                );
            }
            let seen_to = self.expiry.is_some_and(|at| at <= letter.until());
            assert!(seen_to, "{letter:?} expires unseen");
        }
        assert_eq!((self.bytes, self.qos0_bytes), (bytes, qos0_bytes));
        assert_eq!(self.qos0.len(), qos0);
        assert_eq!(self.topics.len(), topics.len());
        for (topic, waiting) in &self.topics {
            let (letters, newest) = topics[topic];
            assert_eq!(waiting.letters, letters, "{topic}");
            let is_newest = waiting.qos0.is_none() || waiting.qos0 == newest;
            assert!(is_newest, "{topic} has a newer letter");
        }
    }

    pub(super) fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Returns when [`Self::expire`] may find something.
    pub(super) const fn next_expiry(&self) -> Option<Instant> {
        self.expiry
    }

    pub(super) fn pop(&mut self) -> Option<Letter> {
        let (rank, _) = self.letters.first_key_value()?;
        self.remove(*rank)
    }

    /// Gives a letter its turn among those that come before and after it.
    pub(super) const fn stamp(&mut self, letter: &mut Letter) {
        self.turns += 1;
        letter.turn = self.turns;
    }

    /// Lets a letter in that has its turn. Returns what has to go for it, the oldest and least important ones at
    /// QoS 0, or, with none of those left, the new one itself. Letters at QoS 1 and 2 are never
    /// displaced. Of letters at QoS 0 that are to be conflated, the former one of the topic has
    /// to go.
    pub(super) fn push(&mut self, letter: Letter, limits: &MailboxLimits) -> Vec<Refused> {
        let mut gone = Vec::new();
        if letter.is_qos0() && limits.conflate_qos0 {
            gone.extend(self.take_conflated(&letter));
        }
        if !self.make_room(&letter, limits, &mut gone) {
            gone.push((letter, DropReason::MailboxFull));
            return gone;
        }
        self.insert(letter);
        gone
    }

    /// Puts a letter that was not published back into its place; it was let in before.
    pub(super) fn put_back(&mut self, letter: Letter) {
        self.looked_through = false;
        self.insert(letter);
    }

    /// Returns whether a letter at QoS 0 has been superseded by a newer one of its topic.
    pub(super) fn has_newer(&self, letter: &Letter, limits: &MailboxLimits) -> bool {
        let waiting = self.topics.get(&letter.publication.topic);
        limits.conflate_qos0 && waiting.is_some_and(|waiting| waiting.qos0.is_some())
    }

    /// Removes and returns the letters whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Refused> {
        if self.expiry.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let expired = self.ranks(|letter| letter.expired(now).is_some());
        let gone = self.remove_all(&expired);
        let letters = self.letters.values();
        self.expiry = letters.map(|letter| letter.until()).min();
        let reason = |letter: &Letter| letter.expired(now).unwrap_or(DropReason::MailboxAge);
        gone.into_iter()
            .map(|letter| {
                let reason = reason(&letter);
                (letter, reason)
            })
            .collect()
    }

    /// Removes and returns the letters on a topic.
    pub(super) fn remove_topic(&mut self, topic: &str) -> Vec<Letter> {
        if !self.has_topic(topic) {
            return Vec::new();
        }
        let unwanted = self.ranks(|letter| &*letter.publication.topic == topic);
        self.remove_all(&unwanted)
    }

    /// Removes and returns the first letter that may go before those in front of it, which wait;
    /// never before another one of its topic.
    pub(super) fn pop_first(&mut self, may_go: impl Fn(&Letter) -> bool) -> Option<Letter> {
        let rank = *self.passing(may_go).first()?;
        self.remove(rank)
    }

    /// Removes and returns the letters at QoS 0 that may overtake those in front of them, which
    /// wait; none overtakes another one of its topic. Asked again, it does not look again before
    /// something has changed.
    pub(super) fn take_passing(&mut self, may_go: impl Fn(&Letter) -> bool) -> Vec<Letter> {
        if self.qos0.is_empty() || self.looked_through {
            return Vec::new();
        }
        let passing = self.passing(|letter| letter.is_qos0() && may_go(letter));
        let letters = self.remove_all(&passing);
        self.looked_through = true;
        letters
    }

    /// Notes that letters may now overtake the one in flight that could not before.
    pub(super) const fn look_again(&mut self) {
        self.looked_through = false;
    }

    /// Gives the letters new priorities. They keep their order among those of a priority.
    pub(super) fn rank_anew(&mut self, priority: impl Fn(&str) -> Priority) {
        let letters = std::mem::take(&mut self.letters);
        *self = Self {
            turns: self.turns,
            ..Self::default()
        };
        for mut letter in letters.into_values() {
            letter.priority = priority(&letter.publication.topic);
            self.insert(*letter);
        }
    }

    fn take_conflated(&mut self, newer: &Letter) -> Option<Refused> {
        let former = self.topics.get(&newer.publication.topic)?.qos0?;
        Some((self.remove(former)?, DropReason::MailboxConflated))
    }

    /// Makes room for a letter, and returns whether it could be made.
    fn make_room(
        &mut self,
        letter: &Letter,
        limits: &MailboxLimits,
        gone: &mut Vec<Refused>,
    ) -> bool {
        let qos0 = letter.is_qos0();
        let kept = self.letters.len() - self.qos0.len();
        let kept_bytes = self.bytes - self.qos0_bytes;
        let hopeless = kept >= limits.messages_max
            || kept_bytes + letter.len() > limits.bytes_max
            || (qos0 && limits.qos0_max == 0);
        if hopeless {
            return false;
        }
        while self.letters.len() >= limits.messages_max
            || self.bytes + letter.len() > limits.bytes_max
            || (qos0 && self.qos0.len() >= limits.qos0_max)
        {
            let Some((priority, turn)) = self.qos0.first().copied() else {
                return false;
            };
            if qos0 && priority > letter.priority {
                return false;
            }
            let oldest = self.remove(Rank(Reverse(priority), turn));
            gone.extend(oldest.map(|letter| (letter, DropReason::MailboxFull)));
        }
        true
    }

    fn insert(&mut self, letter: Letter) {
        let (rank, len, until) = (letter.rank(), letter.len(), letter.until());
        self.bytes += len;
        let topic = Arc::clone(&letter.publication.topic);
        let waiting = self.topics.entry(topic).or_default();
        waiting.letters += 1;
        if letter.is_qos0() {
            waiting.qos0 = waiting.qos0.max(Some(rank));
            self.qos0_bytes += len;
            self.qos0.insert((letter.priority, letter.turn));
        }
        self.expiry = Some(self.expiry.map_or(until, |at| at.min(until)));
        self.letters.insert(rank, Box::new(letter));
    }

    fn remove(&mut self, rank: Rank) -> Option<Letter> {
        let letter = *self.letters.remove(&rank)?;
        if self.letters.is_empty() {
            // A sleeping node with nothing waiting shall cost no buffer.
            *self = Self {
                turns: self.turns,
                ..Self::default()
            };
            return Some(letter);
        }
        self.looked_through = false;
        self.bytes -= letter.len();
        if letter.is_qos0() {
            self.qos0_bytes -= letter.len();
            self.qos0.remove(&(letter.priority, letter.turn));
        }
        if let Some(waiting) = self.topics.get_mut(&letter.publication.topic) {
            waiting.letters -= 1;
            waiting.qos0 = waiting.qos0.filter(|newest| *newest != rank);
            if waiting.letters == 0 {
                self.topics.remove(&letter.publication.topic);
            }
        }
        Some(letter)
    }

    fn remove_all(&mut self, ranks: &[Rank]) -> Vec<Letter> {
        ranks.iter().filter_map(|rank| self.remove(*rank)).collect()
    }

    fn ranks(&self, is_meant: impl Fn(&Letter) -> bool) -> Vec<Rank> {
        let letters = self.letters.iter().filter(|(_, letter)| is_meant(letter));
        letters.map(|(rank, _)| *rank).collect()
    }

    /// Returns the places of the letters that may go before those in front of them, looking at
    /// the head of the queue.
    fn passing(&self, may_go: impl Fn(&Letter) -> bool) -> Vec<Rank> {
        let mut held = BTreeSet::new();
        let mut passing = Vec::new();
        for (rank, letter) in self.letters.iter().take(LOOK_MAX) {
            let topic = &*letter.publication.topic;
            if held.contains(topic) {
                continue;
            }
            if may_go(letter) {
                passing.push(*rank);
            } else {
                held.insert(topic);
            }
        }
        passing
    }
}

#[cfg(test)]
mod tests;
