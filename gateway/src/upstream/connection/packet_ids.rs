//! The packet ids of rumqttc, known beforehand, and its window, counted anew.

use rumqttc::v5::Request;
use rumqttc::v5::mqttbytes::v5::{Packet, Unsubscribe};

use super::{AHEAD_MAX, Connection};

impl Connection {
    /// Returns whether another request may be made now.
    pub(in crate::upstream) fn has_room(&mut self) -> bool {
        if self.leaked {
            // Requests on their way count on the ids they were given, which start anew; with
            // a single id there is nothing to count on, and nothing leaves before.
            if !self.is_idle() && self.limits.ids_max > 1 {
                return false;
            }
            self.recount();
        }
        self.queued.len() < AHEAD_MAX
    }

    /// Returns the packet id that the next PUBLISH, SUBSCRIBE or UNSUBSCRIBE will have, or
    /// `None` where none is free now.
    pub(in crate::upstream) fn next_id(&mut self, in_use: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..self.limits.ids_max {
            let id = self.ids.peek();
            if !in_use(id) && !self.avoided.contains(&id) {
                return Some(id);
            }
            if !self.is_idle() {
                return None;
            }
            self.skip_id();
        }
        None
    }

    /// Leaves `id` alone for the rest of the connection: the broker says it is in use.
    pub(in crate::upstream) fn avoid(&mut self, id: u16) {
        self.avoided.insert(id);
    }

    /// Returns whether the broker says of every packet id that it is in use: then this
    /// connection can publish nothing any more.
    pub(in crate::upstream) fn has_run_out(&self) -> bool {
        self.avoided.len() >= usize::from(self.limits.ids_max)
    }

    /// Notes an answer by which rumqttc loses a place in its window.
    pub(in crate::upstream) fn leaked(&mut self) {
        self.leaked = true;
    }

    /// Passes over the next packet id, by a packet that is made and never sent.
    fn skip_id(&mut self) {
        let nothing = Request::Unsubscribe(Unsubscribe::default());
        if let Ok(Some(_)) = self.eventloop.state.handle_outgoing_packet(nothing) {
            self.eventloop.state.events.pop_back();
        }
        self.ids.advance();
    }

    /// Makes rumqttc count its open exchanges anew.
    fn recount(&mut self) {
        let old = &mut self.eventloop.state;
        let mut state = self.origin.state.clone();
        state.await_pingresp = old.await_pingresp;
        let events = std::mem::take(&mut old.events);
        // Neither can fail: the broker's CONNACK has passed before, and the requests are those
        // that were open, each under its own id.
        if let Some(connack) = &self.connack {
            let _ = state.handle_incoming_packet(Packet::ConnAck(connack.clone()));
        }
        for request in old.clean() {
            let _ = state.handle_outgoing_packet(request);
        }
        state.events = events;
        *old = state;
        self.ids = PacketIds::new(self.limits.ids_max);
        self.leaked = false;
    }
}

/// rumqttc's packet ids: 1 to `max`, round and round.
#[derive(Debug, Default)]
pub(super) struct PacketIds {
    last: u16,
    max: u16,
}

impl PacketIds {
    pub(super) fn new(max: u16) -> Self {
        Self { last: 0, max }
    }

    fn peek(&self) -> u16 {
        self.last + 1
    }

    pub(super) fn advance(&mut self) {
        let id = self.peek();
        self.last = if id == self.max { 0 } else { id };
    }
}
