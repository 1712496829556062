//! The upstream's own record of every publication it has taken, sans-IO.
//!
//! rumqttc forgets what it was given when a connection ends without a session, so nothing is
//! ever left to its memory alone. A QoS 1 or 2 publication is here from the moment it is taken
//! until PUBACK, PUBCOMP or a refusal:
//!
//! ```text
//!   push ──► waiting ──start(id)──► sent ──PUBACK──────────────────────► published
//!               ▲                    │ └──PUBREC──► released ──PUBCOMP──► published
//!               └── session forgotten┴───────────────────┘
//! ```
//!
//! With its session kept, an exchange goes on where it stood, under its packet id
//! [MQTT 5 §4.4]: PUBLISH again with DUP, or PUBREL again. With the session forgotten, every
//! open exchange starts anew. That includes QoS 2 publications already released: a broker that
//! lost its session may have lost the publication between PUBREC and PUBREL (brokers that hand
//! it on at PUBREL do), and custody prefers a second delivery to none.

mod answers;
mod resumption;

use std::collections::VecDeque;

use shared::wire::QoS;

pub(super) use self::answers::{Answer, Settled, refusal};
use crate::session::{Publication, PublicationId, Refusal};

/// Publications in the order they were taken, and the open exchanges by packet id.
#[derive(Debug)]
pub(super) struct Ledger {
    next_seq: u64,
    waiting: VecDeque<Entry>,
    fleeting: VecDeque<(u64, Publication)>,
    exchanges: Vec<Option<Exchange>>,
    resends: VecDeque<u16>,
    /// PUBLISH packets sent on this connection that the broker's quota still counts.
    on_wire: usize,
    /// Whether a QoS 0 publication has left on this connection: no answer tells what the
    /// broker made of it.
    fleeting_sent: bool,
    suspects: usize,
    /// How many may be on the wire, as connections have gone lately: halved by each that ended
    /// without finishing one, one more with each that is finished. Where connections end before
    /// a whole window is answered, and the answers with them, nothing would ever get through.
    pace: usize,
    finished_some: bool,
}

/// What may be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A QoS 0 publication.
    Fleeting(&'a Publication),
    /// A QoS 1 or 2 publication, for a new exchange.
    Reliable(&'a Publication),
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    id: PublicationId,
    publication: Publication,
    suspect: bool,
}

#[derive(Debug)]
struct Exchange {
    entry: Entry,
    stage: Stage,
    on_wire: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sent,
    Released,
}

impl Ledger {
    /// Creates an empty ledger for packet ids 1 to `ids_max`.
    pub(super) fn new(ids_max: u16) -> Self {
        Self {
            next_seq: 0,
            waiting: VecDeque::new(),
            fleeting: VecDeque::new(),
            exchanges: (0..=ids_max).map(|_| None).collect(),
            resends: VecDeque::new(),
            on_wire: 0,
            fleeting_sent: false,
            suspects: 0,
            pace: usize::from(ids_max),
            finished_some: false,
        }
    }

    /// Takes a publication.
    pub(super) fn push(&mut self, id: PublicationId, publication: Publication) {
        let seq = self.next_seq;
        self.next_seq += 1;
        if is_reliable(&publication) {
            self.waiting.push_back(Entry {
                seq,
                id,
                publication,
                suspect: false,
            });
        } else {
            self.fleeting.push_back((seq, publication));
        }
    }

    /// Drops the oldest QoS 0 publication where there are more than `len_max`.
    pub(super) fn drop_fleeting(&mut self, len_max: usize) -> Option<Publication> {
        if self.fleeting.len() <= len_max {
            return None;
        }
        self.fleeting
            .pop_front()
            .map(|(_, publication)| publication)
    }

    /// Returns whether nothing waits and no exchange is open.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self.fleeting.is_empty()
            && self.exchanges.iter().all(Option::is_none)
    }

    /// Returns whether an exchange holds packet id `id`.
    pub(super) fn holds(&self, id: u16) -> bool {
        self.exchanges
            .get(usize::from(id))
            .is_some_and(Option::is_some)
    }

    /// Returns the first publication that may be sent with `window` exchanges on the wire.
    pub(super) fn next(&self, window: usize) -> Option<Next<'_>> {
        if !self.resends.is_empty() {
            return None;
        }
        let reliable = self.waiting.front();
        match (reliable, self.fleeting.front()) {
            (_, Some((seq, publication)))
                if self.suspects == 0 && reliable.is_none_or(|entry| *seq < entry.seq) =>
            {
                Some(Next::Fleeting(publication))
            }
            (Some(entry), _) if self.on_wire < self.narrowed(window) => {
                Some(Next::Reliable(&entry.publication))
            }
            _ => None,
        }
    }

    /// Takes the QoS 0 publication that [`Self::next`] has shown.
    pub(super) fn take_fleeting(&mut self) -> Option<Publication> {
        let (_, publication) = self.fleeting.pop_front()?;
        Some(publication)
    }

    /// Notes that a QoS 0 publication has been handed over to be sent.
    pub(super) fn fleeting_left(&mut self) {
        self.fleeting_sent = true;
    }

    /// Opens an exchange under packet id `id` for the publication [`Self::next`] has shown.
    pub(super) fn start(&mut self, id: u16) {
        let slot = self.exchanges.get_mut(usize::from(id));
        debug_assert!(slot.as_ref().is_some_and(|slot| slot.is_none()));
        if let (Some(slot), Some(entry)) = (slot, self.waiting.pop_front()) {
            *slot = Some(Exchange {
                entry,
                stage: Stage::Sent,
                on_wire: true,
            });
            self.on_wire += 1;
        }
    }

    /// Gives up the QoS 1 or 2 publication that [`Self::next`] has shown.
    pub(super) fn refuse_next(&mut self, refusal: Refusal) -> Option<Settled> {
        let entry = self.waiting.pop_front()?;
        Some(self.settle(entry, Err(refusal)))
    }

    fn exchange(&mut self, id: u16) -> Option<&mut Exchange> {
        self.exchanges.get_mut(usize::from(id))?.as_mut()
    }

    fn close(&mut self, id: u16) -> Option<Entry> {
        let exchange = self.exchanges.get_mut(usize::from(id))?.take()?;
        if exchange.on_wire {
            self.on_wire -= 1;
        }
        Some(exchange.entry)
    }

    fn settle(&mut self, entry: Entry, result: Result<(), Refusal>) -> Settled {
        if entry.suspect {
            self.suspects -= 1;
        }
        Settled {
            id: entry.id,
            result,
            cost: cost(&entry.publication),
        }
    }

    fn narrowed(&self, window: usize) -> usize {
        if self.suspects > 0 {
            1
        } else {
            window.min(self.pace)
        }
    }
}

/// Returns what a publication takes of the queue, in bytes.
pub(super) fn cost(publication: &Publication) -> usize {
    publication.topic.len() + publication.payload.len()
}

/// Returns whether a publication is acknowledged at all.
pub(super) fn is_reliable(publication: &Publication) -> bool {
    matches!(publication.qos, QoS::AtLeastOnce | QoS::ExactlyOnce)
}

#[cfg(test)]
mod tests;
