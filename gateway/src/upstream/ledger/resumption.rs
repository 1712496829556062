//! What is left of a lost connection: exchanges to go on with, to begin anew, or to give up.

use super::{Ledger, Settled, Stage, refusal};
use crate::session::{Publication, Refusal};

impl Ledger {
    /// Begins a connection, and returns the packet ids to be released again, in order.
    pub(in crate::upstream) fn resume(&mut self, session_present: bool) -> Vec<u16> {
        self.resends.clear();
        if self.on_wire > 0 && !self.finished_some {
            self.pace = (self.pace / 2).max(1);
        }
        self.finished_some = false;
        self.on_wire = 0;
        self.fleeting_sent = false;
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
    pub(in crate::upstream) fn next_resend(
        &mut self,
        window: usize,
    ) -> Option<(u16, &Publication)> {
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
    pub(in crate::upstream) fn refuse(&mut self, id: u16, refusal: Refusal) -> Option<Settled> {
        let entry = self.close(id)?;
        Some(self.settle(entry, Err(refusal)))
    }

    /// Notes that the broker has ended the connection because of a packet, with reason `code`.
    ///
    /// Where a single publication was on the wire it is the cause and is given up: sent again
    /// it would end every connection to come, and hold up all others. Where there were
    /// several, or one of QoS 0 has left on this connection, which may have been the cause as
    /// well, they are sent one by one from now on until each has been acknowledged, and none of
    /// QoS 0 beside them.
    pub(in crate::upstream) fn blame(&mut self, code: u8) -> Option<Settled> {
        let sent: Vec<u16> = (0_u16..)
            .zip(&self.exchanges)
            .filter(|(_, slot)| {
                slot.as_ref()
                    .is_some_and(|exchange| exchange.on_wire && exchange.stage == Stage::Sent)
            })
            .map(|(id, _)| id)
            .collect();
        if let [id] = sent[..]
            && !self.fleeting_sent
        {
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
}

fn ids_in(open: &[(u64, u16, Stage)], wanted: Stage) -> impl Iterator<Item = u16> {
    open.iter()
        .filter(move |(_, _, stage)| *stage == wanted)
        .map(|(_, id, _)| *id)
}
