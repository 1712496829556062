//! The states of a connection, each with the data that only it has.

use super::Client;
use super::discovery::Search;
use super::event::WillPart;
use super::sleep::{Sleep, Wake};
use super::timers::Retry;
use crate::time::Instant;

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected and not trying to.
    Off,
    /// Looking for a gateway.
    Searching,
    /// CONNECT is under way.
    Connecting,
    /// Connected.
    Active,
    /// DISCONNECT is under way.
    Disconnecting,
    /// DISCONNECT with a duration is under way.
    SleepPending,
    /// Asleep: between requests the radio may be off.
    Asleep,
    /// PINGREQ with the client id is under way; the gateway delivers what waits.
    Awake,
    /// Waiting before the next attempt to connect: the radio may be off.
    BackingOff,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Off,
    Searching(Search),
    Connecting(Connecting),
    Active {
        /// The PINGREQ under way.
        ping: Option<Retry>,
    },
    Disconnecting(Retry),
    SleepPending(Retry),
    Asleep(Sleep),
    Awake(Wake),
    BackingOff {
        until: Instant,
    },
}

/// A connection in the making.
#[derive(Clone, Debug)]
pub(super) struct Connecting {
    /// The clock of CONNECT.
    pub(super) retry: Retry,
    /// Whether CONNECT announces a will.
    pub(super) will: bool,
    /// Whether this continues the session of a sleeping node.
    pub(super) resume: bool,
    /// How far the gateway has come in asking for the will.
    pub(super) asked: Option<WillPart>,
    /// What it has asked for and not been sent yet.
    pub(super) answer: Option<WillPart>,
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Returns where the machine stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Off => Phase::Off,
            State::Searching(_) => Phase::Searching,
            State::Connecting(_) => Phase::Connecting,
            State::Active { .. } => Phase::Active,
            State::Disconnecting(_) => Phase::Disconnecting,
            State::SleepPending(_) => Phase::SleepPending,
            State::Asleep(_) => Phase::Asleep,
            State::Awake(_) => Phase::Awake,
            State::BackingOff { .. } => Phase::BackingOff,
        }
    }

    /// Returns whether nothing is under way: the radio may be off until
    /// [`poll_timeout`](Self::poll_timeout).
    ///
    /// True in [`Phase::Off`], [`Phase::BackingOff`] and, between requests, in
    /// [`Phase::Asleep`]; only after `poll_transmit` and `poll_event` were drained.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let resting = matches!(self.phase(), Phase::Off | Phase::BackingOff)
            || (self.phase() == Phase::Asleep && !self.has_work());
        resting && self.events.is_empty() && !self.has_unconnected_publication()
    }

    /// Returns whether the gateway holds a session in which it may send to this node.
    pub(super) const fn is_in_session(&self) -> bool {
        matches!(
            self.state,
            State::Active { .. } | State::SleepPending(_) | State::Asleep(_) | State::Awake(_)
        )
    }

    /// Returns whether requests may be sent, and repeated.
    pub(super) const fn may_request(&self) -> bool {
        match self.state {
            State::Active { .. } => true,
            // D-26: the gateway serves a sleeping node.
            State::Asleep(_) => self.config.publish_while_asleep,
            _ => false,
        }
    }

    /// Returns whether a new request may begin.
    pub(super) const fn may_begin(&self) -> bool {
        match &self.state {
            State::Asleep(sleep) => self.may_request() && !sleep.wake_wanted,
            _ => self.may_request(),
        }
    }

    /// Returns whether an answer is waited for, or will be once `poll_transmit` was drained.
    pub(super) fn has_request_in_flight(&self) -> bool {
        self.registering.is_some()
            || self.is_publishing_now()
            || self.subscribing.is_some()
            || self.will_update.in_flight.is_some()
    }

    /// Returns whether there is anything to send, to wait for, or to be taken before the node
    /// may sleep. What rests after congestion does not count.
    pub(super) fn has_work(&self) -> bool {
        self.has_request_in_flight()
            || self.has_request_to_begin()
            || !self.replies.is_empty()
            || self.slot.as_ref().is_some_and(|slot| !slot.taken)
    }

    pub(super) fn has_request_to_begin(&self) -> bool {
        self.next_to_register().is_some()
            || self.next_to_publish().is_some()
            || self.next_to_subscribe().is_some()
            || self.next_will_part().is_some()
    }

    /// Stops the clocks of requests in flight. A publication keeps its message id and goes on
    /// over the next connection; the others are asked anew.
    pub(super) const fn pause_requests(&mut self) {
        self.registering = None;
        self.subscribing = None;
        self.will_update.pause();
        if let Some(publishing) = &mut self.publishing {
            publishing.retry.rearm();
        }
    }

    /// Takes the changes of state that need no input but are possible now.
    pub(super) fn settle(&mut self, now: Instant) {
        match &self.state {
            State::Active { ping: None } if self.sleep_goal_s.is_some() && !self.has_work() => {
                self.begin_sleep();
            }
            State::Asleep(_) => self.settle_asleep(now),
            State::Awake(_) => self.settle_awake(now),
            _ => {}
        }
    }
}
