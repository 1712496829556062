//! Outages of the upstream (D-36).
//!
//! For a while nothing changes: the upstream keeps what it is given, and nodes are answered when
//! it is back. Beyond the patience new requests are refused with code 01, and the gateway no
//! longer makes itself known. In the end the nodes that listen are sent off, so that they can
//! look for another gateway. Sleepers stay: they could not hear it, their mailboxes cost them
//! nothing, and a wake that ended in a refused CONNECT would. No will comes of any of this.

use shared::time::{Duration, Instant};
use shared::wire::{Disconnect, Message};

use super::engine::Engine;
use super::output::{Ending, Notice};
use super::slots::{SessionKey, TimerOwner};
use super::state::State;

/// Whether the upstream is there.
#[derive(Debug)]
pub(super) struct UpstreamState {
    away_since: Option<Instant>,
    /// Whether it was ever there.
    seen: bool,
    timer: Option<Instant>,
}

impl UpstreamState {
    /// The upstream counts as away until it is heard of.
    pub(super) const fn away(now: Instant) -> Self {
        Self {
            away_since: Some(now),
            seen: false,
            timer: None,
        }
    }
}

impl Engine {
    pub(super) fn upstream_connected(&mut self, now: Instant) {
        self.upstream.away_since = None;
        self.upstream.seen = true;
        self.advertise_everywhere(now);
    }

    pub(super) fn upstream_disconnected(&mut self, now: Instant) {
        self.upstream.away_since.get_or_insert(now);
        self.arm_outage();
    }

    /// Returns whether the upstream has been away for longer than nodes shall wait (D-36).
    pub(super) fn upstream_out(&self, now: Instant) -> bool {
        self.upstream
            .away_since
            .is_some_and(|since| now.since(since) > self.settings.outage_patience)
    }

    /// Returns whether nodes that come would be served.
    pub(super) fn upstream_is_there(&self, now: Instant) -> bool {
        self.upstream.seen && !self.upstream_out(now)
    }

    pub(super) fn arm_outage(&mut self) {
        if let Some(at) = self.send_off_at() {
            self.timers
                .arm(&mut self.upstream.timer, at, TimerOwner::Outage);
        }
    }

    pub(super) fn outage_timeout(&mut self, now: Instant) {
        self.upstream.timer = None;
        match self.send_off_at() {
            Some(at) if at > now => self.arm_outage(),
            Some(_) => self.send_off(now),
            None => {}
        }
    }

    fn send_off_at(&self) -> Option<Instant> {
        let limit = self.settings.outage_disconnect?;
        // A millisecond more than the patience, beyond which a CONNECT in answer is refused.
        let patience = self.settings.outage_patience + Duration::from_millis(1);
        Some(self.upstream.away_since? + limit.max(patience))
    }

    /// Ends the connections of the nodes that listen.
    fn send_off(&mut self, now: Instant) {
        let is_active = |key: &SessionKey| {
            let session = self.slots.get(*key);
            session.is_some_and(|session| session.state == State::Active)
        };
        let listeners: Vec<_> = self.slots.keys().into_iter().filter(is_active).collect();
        let nodes = listeners.len();
        self.out.notice(Notice::SentOff { nodes });
        for key in listeners {
            self.send(key, &Message::Disconnect(Disconnect { duration_s: None }));
            self.end(now, key, Ending::UpstreamOut);
        }
    }
}
