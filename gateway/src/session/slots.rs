//! Sessions by key, by client id and by binding, and the timers that belong to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shared::time::Instant;
use slab::Slab;

use super::port::Binding;
use super::state::Session;

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

    /// Returns the keys of all sessions, in a stable order.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        self.sessions
            .iter()
            .map(|(index, _)| SessionKey(index as u32))
            .collect()
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
}

/// The deadlines, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers(pub(super) BTreeSet<(Instant, TimerOwner)>);

impl Timers {
    pub(super) fn push(&mut self, at: Instant, owner: TimerOwner) {
        self.0.insert((at, owner));
    }

    /// Forgets a deadline, so that owners who come and go leave nothing behind.
    pub(super) fn remove(&mut self, at: Instant, owner: TimerOwner) {
        self.0.remove(&(at, owner));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the next timer that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, TimerOwner)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}
