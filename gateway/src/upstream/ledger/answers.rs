//! What the broker answers to a PUBLISH or PUBREL, and what becomes of the publication then.

use super::super::limits::{FIRST_ERROR, PACKET_ID_IN_USE, QUOTA_EXCEEDED, SERVER_BUSY};
use super::{Ledger, Stage};
use crate::session::{PublicationId, Refusal};

/// A publication that has left the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Settled {
    /// The engine's name for it.
    pub(in crate::upstream) id: PublicationId,
    /// What becomes of it.
    pub(in crate::upstream) result: Result<(), Refusal>,
    /// What it took of the queue.
    pub(in crate::upstream) cost: usize,
}

/// What an acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Answer {
    /// The exchange is over.
    Settled(Settled),
    /// The exchange goes on.
    Open,
    /// The packet id was taken; the publication waits for another.
    Again,
    /// There is no such exchange.
    Unknown,
}

impl Ledger {
    /// Notes a PUBACK with a reason code.
    pub(in crate::upstream) fn puback(&mut self, id: u16, code: u8) -> Answer {
        self.answer(id, code, Stage::Sent)
    }

    /// Notes a PUBREC with a reason code.
    pub(in crate::upstream) fn pubrec(&mut self, id: u16, code: u8) -> Answer {
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
    pub(in crate::upstream) fn pubcomp(&mut self, id: u16) -> Answer {
        self.answer(id, 0, Stage::Released)
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
}

/// Maps an MQTT 5 reason code that is an error.
pub(in crate::upstream) fn refusal(code: u8) -> Refusal {
    match code {
        SERVER_BUSY | QUOTA_EXCEEDED => Refusal::Busy,
        code => Refusal::Denied(code),
    }
}
