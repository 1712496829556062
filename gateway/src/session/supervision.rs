//! How long a node may be silent, and when its silence says nothing [MQTT-SN 1.2 §6.11] D-17.
//!
//! A node is lost only where it alone is silent. Its time stands still while its link carries
//! nothing. Where the engine itself comes late, because its process was stopped or has too much to
//! do, every node has its full time again: what it has sent may still be on its way in, or may
//! have found no room at the socket.

use shared::time::{Duration, Instant};

use super::engine::Engine;
use super::output::Notice;
use super::slots::{SessionKey, TimerOwner};
use super::state::State;

/// How late a deadline may be met before the engine doubts that it has heard everything.
const LATE: Duration = Duration::from_secs(1);

/// The time between two notices about that.
const LATE_NOTICE_INTERVAL: Duration = Duration::from_secs(60);

impl Engine {
    /// Notes that a node is there: its supervision restarts, its CONNECT is over.
    pub(super) fn heard(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.last_connect = None;
        session.unresponsive = false;
        session.restart_supervision(now, &self.settings);
        self.watch_heard(now, key);
    }

    /// Notes that a node is there that wants to connect, whether or not it is let in now: it is
    /// not lost while it tries.
    pub(super) fn heard_connecting(&mut self, now: Instant, client_id: &str) {
        let Some(key) = self.slots.by_client_id(client_id) else {
            return;
        };
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        if session.state != State::Gone {
            session.restart_supervision(now, &self.settings);
        }
        // Its time may have been longer before: the rules may have changed.
        self.reschedule(key);
        self.watch_heard(now, key);
    }

    /// Starts everyone's time anew where the timers come far too late.
    pub(super) fn note_lateness(&mut self, now: Instant) {
        let Some(late) = self.timers.next().map(|at| now.since(at)) else {
            return;
        };
        if late <= LATE {
            return;
        }
        self.out.stats.late += 1;
        let told = self.late_told;
        if told.is_none_or(|told| now.since(told) >= LATE_NOTICE_INTERVAL) {
            self.late_told = Some(now);
            self.out.notice(Notice::Late { late });
        }
        self.forgive_links(now);
        self.forgive_watches(now);
        for key in self.slots.keys() {
            if let Some(session) = self.slots.get_mut(key)
                && session.state != State::Gone
            {
                session.restart_supervision(now, &self.settings);
                // Its time may be shorter than it was: the rules may have changed.
                self.reschedule(key);
            }
        }
    }

    pub(super) fn session_timeout(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.timer = None;
        if !self.links.reach(session.binding) {
            // Its time stands still, and that of its mail does not. The link's return arms the
            // rest again.
            return self.expire_unreached(now, key);
        }
        if session.deadline <= now {
            self.silent_too_long(now, key);
        } else {
            session.end_pauses(now);
            self.expire_pending(now, key);
            self.repeat(now, key);
            self.pump(now, key);
        }
        self.reschedule(key);
    }

    fn expire_unreached(&mut self, now: Instant, key: SessionKey) {
        self.expire_letters(now, key);
        if let Some(session) = self.slots.get_mut(key)
            && let Some(next) = session.next_expiry()
        {
            self.timers
                .arm(&mut session.timer, next, TimerOwner::Session(key));
        }
    }

    fn silent_too_long(&mut self, now: Instant, key: SessionKey) {
        match self.slots.get(key).map(|session| session.state) {
            Some(State::Gone) => self.forget(now, key),
            Some(_) => self.lose(now, key),
            None => {}
        }
    }

    /// Arms the session's timer where it would fire too late.
    pub(super) fn reschedule(&mut self, key: SessionKey) {
        if let Some(session) = self.slots.get_mut(key) {
            let next = session.next_deadline();
            self.timers
                .arm(&mut session.timer, next, TimerOwner::Session(key));
        }
    }
}
