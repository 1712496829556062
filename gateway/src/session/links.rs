//! Whether each link carries datagrams, and what that means for the nodes on it.
//!
//! A link is out while it says so itself, and while nothing at all has been heard on it for so
//! long that it must be the link and not the nodes. Meanwhile nothing is repeated, no try is
//! counted and no node is lost; when the link is back, every node on it has its full time again.

use shared::time::{Duration, Instant};

use super::discovery::Discovering;
use super::engine::Engine;
use super::output::Notice;
use super::port::{Binding, LinkEvent, LinkId};
use super::slots::{SessionKey, TimerOwner};

/// The links, in the order of their [`LinkId`].
#[derive(Debug, Default)]
pub(super) struct Links(Vec<LinkState>);

/// What the engine knows of one link beside its settings.
#[derive(Debug)]
pub(super) struct LinkState {
    /// Whether the link has said that it carries nothing.
    down: bool,
    /// Whether it counts as dead because nothing was heard on it.
    silent: bool,
    heard_at: Instant,
    /// Until when it is busy with what it was given already.
    busy_until: Option<Instant>,
    pub(super) discovering: Discovering,
    timer: Option<Instant>,
}

impl Links {
    pub(super) fn get(&self, link: LinkId) -> Option<&LinkState> {
        self.0.get(usize::from(link.0))
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut LinkState> {
        self.0.get_mut(usize::from(link.0))
    }

    /// Returns whether a link carries datagrams.
    pub(super) fn carries(&self, link: LinkId) -> bool {
        self.get(link).is_none_or(LinkState::carries)
    }

    /// Returns whether a place can be reached, as far as its link is concerned.
    pub(super) fn reach(&self, binding: Option<Binding>) -> bool {
        binding.is_none_or(|binding| self.carries(binding.link))
    }

    /// Returns whether any link carries datagrams.
    pub(super) fn any_carries(&self) -> bool {
        self.0.iter().any(LinkState::carries)
    }

    fn ids(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..u16::try_from(self.0.len()).unwrap_or(u16::MAX)).map(LinkId)
    }
}

impl LinkState {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            down: false,
            silent: false,
            heard_at: now,
            busy_until: None,
            discovering: Discovering::new(now),
            timer: None,
        }
    }

    const fn carries(&self) -> bool {
        !self.down && !self.silent
    }

    /// Returns whether datagrams can be sent, also where none has been heard for long.
    pub(super) const fn is_up(&self) -> bool {
        !self.down
    }

    fn silent_at(&self, dead_after: Option<Duration>) -> Option<Instant> {
        let dead_after = dead_after.filter(|_| self.carries())?;
        Some(self.heard_at + dead_after)
    }
}

impl Engine {
    /// Handles what a link tells of itself.
    pub fn handle_link(&mut self, now: Instant, link: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Up => self.link_up(now, link),
            LinkEvent::Down => self.link_down(now, link),
            LinkEvent::BusyUntil(until) => {
                if let Some(state) = self.links.get_mut(link) {
                    state.busy_until = Some(until);
                }
            }
        }
    }

    /// Returns when a link is free for what is sent to it now.
    pub(super) fn link_free_at(&self, now: Instant, link: LinkId) -> Instant {
        self.links
            .get(link)
            .and_then(|state| state.busy_until)
            .map_or(now, |until| now.max(until))
    }

    /// Goes by the links as the settings now have them.
    pub(super) fn arrange_links(&mut self, now: Instant) {
        let count = self.settings.links.len();
        self.links.0.resize_with(count, || LinkState::new(now));
        for link in self.links.ids() {
            self.doubt_silence(now, link);
            self.advertise_soon(now, link);
            self.arm_link(link);
        }
    }

    /// Takes a link that counts as dead for alive where its silence says nothing any more.
    fn doubt_silence(&mut self, now: Instant, link: LinkId) {
        let dead_after = self.settings.link(link).dead_after;
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        let is_dead = dead_after.is_some_and(|span| state.heard_at + span <= now);
        if state.silent && !is_dead {
            state.silent = false;
            if state.carries() {
                self.resume_link(now, link);
            }
        }
    }

    /// Starts every link's silence anew: the engine itself was late.
    pub(super) fn forgive_links(&mut self, now: Instant) {
        for state in &mut self.links.0 {
            state.heard_at = now;
            state.discovering.listen_from(now);
        }
    }

    /// Starts to advertise on every link where that had to stop for the upstream.
    pub(super) fn advertise_everywhere(&mut self, now: Instant) {
        for link in self.links.ids() {
            self.advertise_soon(now, link);
        }
    }

    /// Notes that something has come in over a link, from whomever.
    pub(super) fn link_heard(&mut self, now: Instant, link: LinkId) {
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        state.heard_at = now;
        if std::mem::take(&mut state.silent) {
            self.out.notice(Notice::LinkHeard { link });
            self.resume_link(now, link);
        }
    }

    fn link_up(&mut self, now: Instant, link: LinkId) {
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        let was_out = !state.carries();
        let was_down = std::mem::take(&mut state.down);
        state.heard_at = now;
        state.busy_until = None;
        if std::mem::take(&mut state.silent) {
            self.out.notice(Notice::LinkHeard { link });
        }
        if was_down && let Some(state) = self.links.get_mut(link) {
            state.discovering.listen_from(now);
            self.advertise_soon(now, link);
        }
        if was_out {
            self.resume_link(now, link);
        }
    }

    fn link_down(&mut self, now: Instant, link: LinkId) {
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        let carried = state.carries();
        state.down = true;
        state.busy_until = None;
        if carried {
            self.suspend_link(now, link);
        }
    }

    pub(super) fn link_timeout(&mut self, now: Instant, link: LinkId) {
        let dead_after = self.settings.link(link).dead_after;
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        state.timer = None;
        if state.silent_at(dead_after).is_some_and(|at| at <= now) {
            state.silent = true;
            let since = state.heard_at;
            self.out.notice(Notice::LinkSilent {
                link,
                silent: now.since(since),
            });
            self.suspend_link(now, link);
        }
        self.advertise_due(now, link);
        self.arm_link(link);
    }

    pub(super) fn arm_link(&mut self, link: LinkId) {
        let dead_after = self.settings.link(link).dead_after;
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        let next = [state.silent_at(dead_after), state.discovering.next()];
        if let Some(at) = next.into_iter().flatten().min() {
            self.timers
                .arm(&mut state.timer, at, TimerOwner::Link(link));
        }
    }

    /// Keeps what is in flight on a link that carries nothing. Timers that fire meanwhile are
    /// not armed again.
    fn suspend_link(&mut self, now: Instant, link: LinkId) {
        for key in self.bound_on(link) {
            if let Some(session) = self.slots.get_mut(key) {
                session.suspend_in_flight();
            }
            // D-24: who was awake goes back to sleep unserved, and will ping again.
            self.back_to_sleep(now, key);
        }
    }

    /// Gives every node on a link its full time again, and goes on with what was in flight.
    fn resume_link(&mut self, now: Instant, link: LinkId) {
        for key in self.bound_on(link) {
            if let Some(session) = self.slots.get_mut(key) {
                session.restart_supervision(now, &self.settings);
            }
            self.pump(now, key);
            self.reschedule(key);
        }
        self.resume_handshakes(link);
        self.resume_watches(now, link);
        self.arm_link(link);
    }

    fn bound_on(&self, link: LinkId) -> Vec<SessionKey> {
        let bound = |key: &SessionKey| {
            let session = self.slots.get(*key);
            session.is_some_and(|session| session.binding.is_some_and(|at| at.link == link))
        };
        self.slots.keys().into_iter().filter(bound).collect()
    }
}
