//! Who is served, and where: the rules of admission against CONNECT, moves and a full house
//! (D-43, D-44).

use std::sync::Arc;

use shared::time::{Duration, Instant};
use shared::wire::{ConnAck, Message, ReturnCode};

use super::engine::Engine;
use super::output::{DropReason, Ending, Notice};
use super::policy::Priority;
use super::port::Binding;
use super::slots::SessionKey;
use super::state::{Session, State};

/// How long after a search for a session to displace that found none the next one waits: a full
/// gateway shall not look through all its sessions for every CONNECT.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Refuses a CONNECT. Senders that nothing is known of are told at a bounded rate (A.19 row
    /// 28), under which a node that repeats itself is answered each time.
    pub(super) fn refuse_connect(
        &mut self,
        now: Instant,
        binding: Binding,
        client_id: Option<&str>,
        reason: DropReason,
        octets: usize,
    ) {
        // A name alone makes nobody known where that node may not be.
        let name = client_id.filter(|_| reason != DropReason::NotAdmitted);
        let known = name
            .and_then(|name| self.slots.by_client_id(name))
            .or_else(|| self.slots.by_binding(&binding));
        let client_id = client_id.map(Arc::from);
        self.out
            .dropped(Some(binding), client_id.as_ref(), reason, octets);
        if known.is_none() && !self.refusals.allow(now, binding) {
            self.out.stats.replies_withheld += 1;
            return;
        }
        let return_code = match reason {
            // D-42
            DropReason::SessionsFull | DropReason::HandshakesFull | DropReason::UpstreamFull => {
                ReturnCode::Congestion
            }
            // D-14, D-43
            _ => ReturnCode::NotSupported,
        };
        let refusal = Message::ConnAck(ConnAck { return_code });
        self.out.transmit(&binding, &refusal);
    }

    /// Returns whether there is room for one more session, or would be without one that may
    /// make room for a node of this priority.
    pub(super) fn has_room(&mut self, now: Instant, priority: Priority) -> bool {
        self.slots.len() < self.settings.sessions_max || self.displaceable(now, priority).is_some()
    }

    /// Makes room for one more session, if need be by ending one that its node has left; returns
    /// whether there is room.
    pub(super) fn make_room(&mut self, now: Instant, priority: Priority) -> bool {
        if self.slots.len() < self.settings.sessions_max {
            return true;
        }
        let Some(key) = self.displaceable(now, priority) else {
            return false;
        };
        self.tell(key, |client_id| Notice::Ended {
            client_id,
            how: Ending::Displaced,
        });
        self.forget(now, key);
        // One too many may be left where the limit was lowered.
        self.slots.len() < self.settings.sessions_max
    }

    /// Returns the session that its node has left for longest, of those with a lower priority
    /// that nothing waits for or in.
    fn displaceable(&mut self, now: Instant, priority: Priority) -> Option<SessionKey> {
        let searched = self
            .none_displaceable
            .is_some_and(|(at, tried)| priority <= tried && now.since(at) < SEARCH_PAUSE);
        if searched {
            return None;
        }
        let found = self
            .slots
            .iter()
            .filter(|(_, session)| session.rule.priority < priority && session.is_idle())
            .min_by_key(|(_, session)| session.deadline)
            .map(|(key, _)| key);
        self.none_displaceable = found.is_none().then_some((now, priority));
        found
    }
}

impl Session {
    /// Returns whether the node has gone and nothing is under way either way.
    fn is_idle(&self) -> bool {
        self.state == State::Gone
            && self.mailbox.is_empty()
            && self.in_flight.is_none()
            && self.uplinks.is_empty()
    }
}
