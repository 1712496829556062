//! The subscriptions the engine wants, and what the broker must still be told of them; sans-IO.

mod identifiers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use shared::wire::QoS;

use self::identifiers::Identifiers;
pub(super) use self::identifiers::{Share, may_be_garbled};

/// The wanted subscriptions and the packets on their way.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    wanted: BTreeMap<Arc<str>, Wanted>,
    /// What to tell the broker, at most one change a filter, in the order asked for.
    changes: BTreeMap<Arc<str>, Change>,
    order: VecDeque<Arc<str>>,
    subscribing: BTreeMap<u16, Vec<Asked>>,
    unsubscribing: BTreeMap<u16, Arc<str>>,
    /// Wanted, refused for a reason that may pass, and to be tried again.
    refused: BTreeSet<Arc<str>>,
    identifiers: Identifiers,
    /// Whether subscriptions are made with an identifier, on this connection.
    identified: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    qos: QoS,
    /// Whether it has been granted since the engine first asked: then the engine relies on it.
    granted: bool,
    /// Whether the broker may have it: then it must be told of the end.
    told: bool,
    /// Whether it was told with an identifier.
    identified: bool,
}

/// One filter of a SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The filter.
    pub(super) filter: Arc<str>,
    /// The highest quality of service wanted.
    pub(super) qos: QoS,
    /// Whether the retained messages are wanted even where the subscription exists.
    pub(super) retained: bool,
    /// How many answers the engine waits for.
    pub(super) answers: u32,
    /// Its Subscription Identifier; one that has one is alone in its packet.
    pub(super) identifier: Option<u32>,
}

/// A packet to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// SUBSCRIBE to all of these.
    Subscribe(Vec<Asked>),
    /// UNSUBSCRIBE from this.
    Unsubscribe(Arc<str>),
}

#[derive(Clone, Debug)]
enum Change {
    Subscribe(Asked),
    Unsubscribe,
}

impl Subscriptions {
    /// Notes a subscription the engine asks for.
    pub(super) fn subscribe(&mut self, filter: Arc<str>, qos: QoS) {
        let old = self.wanted.get(&filter);
        let wanted = Wanted {
            qos,
            granted: old.is_some_and(|old| old.granted),
            told: old.is_some_and(|old| old.told)
                || matches!(self.changes.get(&filter), Some(Change::Unsubscribe)),
            identified: old.is_some_and(|old| old.identified),
        };
        self.wanted.insert(filter.clone(), wanted);
        self.refused.remove(&filter);
        let before = match self.changes.get(&filter) {
            Some(Change::Subscribe(asked)) => asked.answers,
            _ => 0,
        };
        self.change(
            filter.clone(),
            Change::Subscribe(Asked {
                filter,
                qos,
                retained: true,
                answers: before + 1,
                identifier: None,
            }),
        );
    }

    /// Notes that the engine no longer wants a subscription, and returns how many requests for
    /// it stay without an answer by the broker.
    ///
    /// The broker is told where it may have the subscription, and only then: the changes kept
    /// while it is away are no more than the filters it has and those wanted.
    pub(super) fn unsubscribe(&mut self, filter: Arc<str>) -> u32 {
        let Some(wanted) = self.wanted.remove(&filter) else {
            return 0;
        };
        self.refused.remove(&filter);
        let unanswered = match self.changes.get(&filter) {
            Some(Change::Subscribe(asked)) => asked.answers,
            _ => 0,
        };
        if wanted.told {
            self.change(filter, Change::Unsubscribe);
        } else {
            self.drop_change(&filter);
            self.identifiers.give_up(&filter);
        }
        unanswered
    }

    /// Notes a subscription the broker has granted.
    pub(super) fn granted(&mut self, filter: &str) {
        if let Some(wanted) = self.wanted.get_mut(filter) {
            wanted.granted = true;
        }
    }

    /// Notes a subscription the broker has refused; `passing` says that it may grant it later.
    ///
    /// The first time, the engine is told and that is the end of it. One that was granted
    /// before has nodes that rely on it and are not told: it stays wanted, and is tried again.
    pub(super) fn refused(&mut self, filter: &Arc<str>, passing: bool) {
        let granted = self.wanted.get(filter).is_some_and(|wanted| wanted.granted);
        if self.changes.contains_key(filter) || self.is_subscribing(filter) {
            return;
        }
        if !granted {
            self.wanted.remove(filter);
            self.identifiers.give_up(filter);
        } else if passing {
            self.refused.insert(filter.clone());
        }
    }

    /// Returns whether a refused subscription is to be tried again.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Tries again what was refused.
    pub(super) fn retry(&mut self) {
        for filter in std::mem::take(&mut self.refused).into_iter().rev() {
            self.tell_again(filter, 0, false);
        }
    }

    /// Asks again for what the broker did not look at; returns whether it is still wanted.
    pub(super) fn again(&mut self, asked: &Asked) -> bool {
        let wanted = self.wanted.contains_key(&asked.filter);
        if wanted {
            self.tell_again(asked.filter.clone(), asked.answers, asked.retained);
        }
        wanted
    }

    /// Returns which subscriptions a copy on `topic` is for that carries `ids`.
    pub(super) fn share(&self, ids: &[usize], topic: &str) -> Share {
        if self.identified || ids.len() > 1 {
            self.identifiers.share(ids, topic)
        } else {
            Share::All
        }
    }

    /// Makes subscriptions with identifiers from now on, or without. Those that the broker has
    /// otherwise are made again.
    pub(super) fn identify(&mut self, identified: bool) {
        self.identified = identified;
        let otherwise = |wanted: &Wanted| wanted.told && wanted.identified != identified;
        let filters = self.wanted.iter().filter(|(_, wanted)| otherwise(wanted));
        let filters: Vec<_> = filters.map(|(filter, _)| filter.clone()).collect();
        for filter in filters.into_iter().rev() {
            self.tell_again(filter, 0, false);
        }
    }

    /// Begins a connection: what was on its way is told again, and where the session is
    /// forgotten every wanted subscription is. Returns the filters, one for each request that
    /// stays without an answer because the engine has unsubscribed since.
    pub(super) fn resume(&mut self, session_present: bool) -> Vec<Arc<str>> {
        let subscribing = std::mem::take(&mut self.subscribing);
        let unsubscribing = std::mem::take(&mut self.unsubscribing);
        let mut unanswered = Vec::new();
        for filter in unsubscribing.into_values() {
            self.tell_again(filter, 0, false);
        }
        let untold: Vec<Asked> = subscribing.into_values().flatten().collect();
        for asked in untold.into_iter().rev() {
            let answers = asked.answers;
            if !self.wanted.contains_key(&asked.filter) {
                unanswered.extend((0..answers).map(|_| asked.filter.clone()));
            }
            self.tell_again(asked.filter, answers, asked.retained);
        }
        self.retry();
        if !session_present {
            self.resubscribe();
            let (wanted, changes) = (&self.wanted, &self.changes);
            self.identifiers
                .retain(|filter| wanted.contains_key(filter) || changes.contains_key(filter));
        }
        unanswered
    }

    /// Returns whether there is anything to tell.
    pub(super) fn has_next(&self) -> bool {
        !self.order.is_empty()
    }

    /// Returns whether everything has been told and answered.
    pub(super) fn is_settled(&self) -> bool {
        self.order.is_empty() && self.subscribing.is_empty() && self.unsubscribing.is_empty()
    }

    /// Takes the next packet, to be sent as packet `id`.
    pub(super) fn next(&mut self, id: u16) -> Option<Packet> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(filter) = self.order.front() {
            match self.changes.get(filter) {
                Some(Change::Subscribe(asked)) => {
                    bytes += asked.filter.len();
                    let full = self.identified || bytes > BATCH_BYTES || batch.len() >= BATCH_LEN;
                    if !batch.is_empty() && full {
                        break;
                    }
                    batch.push(Asked {
                        identifier: self.identified.then(|| self.identifiers.of(filter)),
                        ..asked.clone()
                    });
                }
                Some(Change::Unsubscribe) if batch.is_empty() => {
                    let filter = self.order.pop_front()?;
                    self.changes.remove(&filter);
                    self.unsubscribing.insert(id, filter.clone());
                    return Some(Packet::Unsubscribe(filter));
                }
                _ => break,
            }
            if let Some(filter) = self.order.pop_front() {
                self.changes.remove(&filter);
                if let Some(wanted) = self.wanted.get_mut(&filter) {
                    wanted.told = true;
                    wanted.identified = self.identified;
                }
            }
        }
        if batch.is_empty() {
            return None;
        }
        self.subscribing.insert(id, batch.clone());
        Some(Packet::Subscribe(batch))
    }

    /// Returns whether a packet with this id is on its way.
    pub(super) fn holds(&self, id: u16) -> bool {
        self.subscribing.contains_key(&id) || self.unsubscribing.contains_key(&id)
    }

    /// Takes what SUBACK `id` answers.
    pub(super) fn suback(&mut self, id: u16) -> Vec<Asked> {
        self.subscribing.remove(&id).unwrap_or_default()
    }

    /// Notes UNSUBACK `id`; `looked_at` says that the packet id was not in use.
    pub(super) fn unsuback(&mut self, id: u16, looked_at: bool) {
        let Some(filter) = self.unsubscribing.remove(&id) else {
            return;
        };
        if !looked_at {
            self.tell_again(filter, 0, false);
        } else if !self.is_known(&filter) {
            self.identifiers.give_up(&filter);
        }
    }

    /// Returns whether the broker may have a filter, now or soon.
    fn is_known(&self, filter: &str) -> bool {
        self.wanted.contains_key(filter)
            || self.changes.contains_key(filter)
            || self.unsubscribing.values().any(|other| **other == *filter)
    }

    fn is_subscribing(&self, filter: &str) -> bool {
        let mut asked = self.subscribing.values().flatten();
        asked.any(|asked| *asked.filter == *filter)
    }

    /// Tells a broker that has no subscription of ours any more.
    fn resubscribe(&mut self) {
        let changes = &mut self.changes;
        changes.retain(|_, change| matches!(change, Change::Subscribe(_)));
        self.order.retain(|filter| changes.contains_key(filter));
        for wanted in self.wanted.values_mut() {
            wanted.told = false;
        }
        let wanted: Vec<_> = self.wanted.keys().rev().cloned().collect();
        for filter in wanted {
            self.tell_again(filter, 0, false);
        }
    }

    fn change(&mut self, filter: Arc<str>, change: Change) {
        if self.changes.insert(filter.clone(), change).is_none() {
            self.order.push_back(filter);
        }
    }

    fn drop_change(&mut self, filter: &str) {
        if self.changes.remove(filter).is_some() {
            self.order.retain(|other| **other != *filter);
        }
    }

    /// Tells the broker again of a filter, before all that is new. What is wanted by now says
    /// what to tell, not what was asked for then: of a SUBSCRIBE and an UNSUBSCRIBE on their
    /// way together, either may have been the last.
    fn tell_again(&mut self, filter: Arc<str>, answers: u32, retained: bool) {
        let wanted = self.wanted.get(&filter).copied();
        match (self.changes.get_mut(&filter), wanted) {
            (Some(Change::Subscribe(newer)), Some(_)) => {
                newer.answers += answers;
                newer.retained |= retained;
            }
            (Some(_), _) => {}
            (None, wanted) => {
                let change = match wanted {
                    Some(Wanted { qos, .. }) => Change::Subscribe(Asked {
                        filter: filter.clone(),
                        qos,
                        retained,
                        answers,
                        identifier: None,
                    }),
                    None => Change::Unsubscribe,
                };
                self.changes.insert(filter.clone(), change);
                self.order.push_front(filter);
            }
        }
    }
}

// A SUBSCRIBE of this size leaves in a few segments and is answered at once.
const BATCH_LEN: usize = 32;
const BATCH_BYTES: usize = 2048;

#[cfg(test)]
mod tests;
