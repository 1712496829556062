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

use std::collections::VecDeque;

use shared::wire::QoS;

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

/// A publication that has left the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// The engine's name for it.
    pub(super) id: PublicationId,
    /// What becomes of it.
    pub(super) result: Result<(), Refusal>,
    /// What it took of the queue.
    pub(super) cost: usize,
}

/// What an acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The exchange is over.
    Settled(Settled),
    /// The exchange goes on.
    Open,
    /// The packet id was taken; the publication waits for another.
    Again,
    /// There is no such exchange.
    Unknown,
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
        self.fleeting
            .pop_front()
            .map(|(_, publication)| publication)
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

    /// Notes a PUBACK with a reason code.
    pub(super) fn puback(&mut self, id: u16, code: u8) -> Answer {
        self.answer(id, code, Stage::Sent)
    }

    /// Notes a PUBREC with a reason code.
    pub(super) fn pubrec(&mut self, id: u16, code: u8) -> Answer {
        if code >= FIRST_ERROR {
            return self.answer(id, code, Stage::Sent);
        }
        match self.exchange(id) {
            Some(exchange) => {
                exchange.stage = Stage::Released;
                Answer::Open
            }
            None => Answer::Unknown,
        }
    }

    /// Notes a PUBCOMP. Its only error code says that the broker has completed the exchange
    /// already, which is what was wanted.
    pub(super) fn pubcomp(&mut self, id: u16) -> Answer {
        self.answer(id, 0, Stage::Released)
    }

    /// Begins a connection, and returns the packet ids to be released again, in order.
    pub(super) fn resume(&mut self, session_present: bool) -> Vec<u16> {
        self.resends.clear();
        if self.on_wire > 0 && !self.finished_some {
            self.pace = (self.pace / 2).max(1);
        }
        self.finished_some = false;
        self.on_wire = 0;
        let mut open: Vec<(u64, u16, Stage)> = Vec::new();
        for (id, slot) in (0_u16..).zip(&mut self.exchanges) {
            if let Some(exchange) = slot {
                exchange.on_wire = false;
                open.push((exchange.entry.seq, id, exchange.stage));
            }
        }
        open.sort_unstable_by_key(|(seq, _, _)| *seq);
        if !session_present {
            self.start_over(&open);
            return Vec::new();
        }
        self.resends = ids_in(&open, Stage::Sent).collect();
        ids_in(&open, Stage::Released).collect()
    }

    /// Takes the next PUBLISH to be sent again with DUP, if `window` allows.
    pub(super) fn next_resend(&mut self, window: usize) -> Option<(u16, &Publication)> {
        if self.on_wire >= self.narrowed(window) {
            return None;
        }
        let id = self.resends.pop_front()?;
        self.on_wire += 1;
        let exchange = self.exchanges.get_mut(usize::from(id))?.as_mut()?;
        exchange.on_wire = true;
        Some((id, &exchange.entry.publication))
    }

    /// Gives up an exchange.
    pub(super) fn refuse(&mut self, id: u16, refusal: Refusal) -> Option<Settled> {
        let entry = self.close(id)?;
        Some(self.settle(entry, Err(refusal)))
    }

    /// Notes that the broker has ended the connection because of a packet, with reason `code`.
    ///
    /// Where a single publication was on the wire it is the cause and is given up: sent again
    /// it would end every connection to come, and hold up all others. Where there were
    /// several, they are sent one by one from now on until each has been acknowledged.
    pub(super) fn blame(&mut self, code: u8) -> Option<Settled> {
        let sent: Vec<u16> = (0_u16..)
            .zip(&self.exchanges)
            .filter(|(_, slot)| {
                slot.as_ref()
                    .is_some_and(|exchange| exchange.on_wire && exchange.stage == Stage::Sent)
            })
            .map(|(id, _)| id)
            .collect();
        if let [id] = sent[..] {
            return self.refuse(id, refusal(code));
        }
        for id in sent {
            if let Some(exchange) = self.exchange(id)
                && !std::mem::replace(&mut exchange.entry.suspect, true)
            {
                self.suspects += 1;
            }
        }
        None
    }

    fn answer(&mut self, id: u16, code: u8, stage: Stage) -> Answer {
        if self
            .exchange(id)
            .is_none_or(|exchange| exchange.stage != stage)
        {
            return Answer::Unknown;
        }
        let Some(entry) = self.close(id) else {
            return Answer::Unknown;
        };
        if code == PACKET_ID_IN_USE {
            let at = self.waiting.partition_point(|other| other.seq < entry.seq);
            self.waiting.insert(at, entry);
            return Answer::Again;
        }
        self.finished_some = true;
        self.pace = (self.pace + 1).min(self.exchanges.len());
        let result = if code < FIRST_ERROR {
            Ok(())
        } else {
            Err(refusal(code))
        };
        Answer::Settled(self.settle(entry, result))
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

    fn start_over(&mut self, open: &[(u64, u16, Stage)]) {
        for (_, id, _) in open {
            if let Some(entry) = self.close(*id) {
                self.waiting.push_back(entry);
            }
        }
        self.waiting
            .make_contiguous()
            .sort_unstable_by_key(|entry| entry.seq);
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

/// Maps an MQTT 5 reason code that is an error.
pub(super) fn refusal(code: u8) -> Refusal {
    match code {
        SERVER_BUSY | QUOTA_EXCEEDED => Refusal::Busy,
        code => Refusal::Denied(code),
    }
}

fn ids_in(open: &[(u64, u16, Stage)], wanted: Stage) -> impl Iterator<Item = u16> {
    open.iter()
        .filter(move |(_, _, stage)| *stage == wanted)
        .map(|(_, id, _)| *id)
}

// Reason codes [MQTT 5 §2.4].
const FIRST_ERROR: u8 = 0x80;
const SERVER_BUSY: u8 = 0x89;
const PACKET_ID_IN_USE: u8 = 0x91;
const QUOTA_EXCEEDED: u8 = 0x97;

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
