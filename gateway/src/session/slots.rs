//! Sessions by key, by client id and by binding, and the timers that belong to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shared::time::Instant;
use slab::Slab;

use super::port::{Binding, LinkId};
use super::state::Session;
use super::watches::WatchKey;

/// The place of a session; used again after the session has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub(super) u32);

/// All sessions, found by client id or by binding without a scan.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) sessions: Slab<Session>,
    pub(super) by_client_id: HashMap<Arc<str>, SessionKey>,
    pub(super) by_binding: HashMap<Binding, SessionKey>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(key.0 as usize)
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(key.0 as usize)
    }

    pub(super) fn by_client_id(&self, client_id: &str) -> Option<SessionKey> {
        self.by_client_id.get(client_id).copied()
    }

    pub(super) fn by_binding(&self, binding: &Binding) -> Option<SessionKey> {
        self.by_binding.get(binding).copied()
    }

    pub(super) fn insert(&mut self, session: Session) -> SessionKey {
        let client_id = Arc::clone(&session.client_id);
        let index = self.sessions.insert(session);
        let key = SessionKey(u32::try_from(index).expect("sessions_max is far below 2^32"));
        self.by_client_id.insert(client_id, key);
        key
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        self.unbind(key);
        let session = self.sessions.try_remove(key.0 as usize)?;
        self.by_client_id.remove(&session.client_id);
        Some(session)
    }

    /// Binds a session to a place, leaving its former one; whoever was bound there is unbound.
    pub(super) fn bind(&mut self, key: SessionKey, binding: Binding) {
        self.unbind(key);
        if let Some(former) = self.by_binding.insert(binding, key)
            && let Some(session) = self.get_mut(former)
        {
            session.binding = None;
        }
        if let Some(session) = self.get_mut(key) {
            session.binding = Some(binding);
        }
    }

    pub(super) fn unbind(&mut self, key: SessionKey) {
        if let Some(binding) = self.get_mut(key).and_then(|session| session.binding.take()) {
            self.by_binding.remove(&binding);
        }
    }

    /// Returns all sessions, in a stable order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.sessions
            .iter()
            .map(|(index, session)| (SessionKey(index as u32), session))
    }

    /// Returns the keys of all sessions, in a stable order.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        self.iter().map(|(key, _)| key).collect()
    }
}

/// Whose deadline a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerOwner {
    /// A session.
    Session(SessionKey),
    /// A will handshake at a binding.
    Handshake(Binding),
    /// The topic filters that wait for retained messages.
    Retained,
    /// A link: its ADVERTISEs, and its silence.
    Link(LinkId),
    /// An outage of the upstream.
    Outage,
    /// A node that must be heard now and then.
    Watch(WatchKey),
}

/// The deadlines, earliest first, at most one for each owner: the owner keeps when its own is
/// armed. A deadline that moves later costs nothing, for the owner is asked again when the early
/// one fires; one that moves earlier takes the place of the late one.
#[derive(Debug, Default)]
pub(super) struct Timers(pub(super) BTreeSet<(Instant, TimerOwner)>);

impl Timers {
    /// Makes the owner's timer fire at `at` or before; `armed` is when it is armed already.
    pub(super) fn arm(&mut self, armed: &mut Option<Instant>, at: Instant, owner: TimerOwner) {
        if armed.is_some_and(|armed| armed <= at) {
            return;
        }
        self.disarm(armed, owner);
        self.0.insert((at, owner));
        *armed = Some(at);
    }

    pub(super) fn disarm(&mut self, armed: &mut Option<Instant>, owner: TimerOwner) {
        if let Some(at) = armed.take() {
            self.0.remove(&(at, owner));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the next timer that is due; its owner is no longer armed.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<TimerOwner> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, owner)| owner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
