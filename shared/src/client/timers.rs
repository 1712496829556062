//! Clocks: repetition of requests, rest after congestion, and what is due when.

use super::event::{Event, RequestClass};
use super::state::State;
use super::{Client, LinkClock};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// The repetition clock of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    tries: u8,
    repeat: bool,
    wait_until: Option<Instant>,
}

/// What has become of a request's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Waiting,
    Repeat,
    Spent,
}

/// Kinds of request that rest after code 01, each until its time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holds([Option<Instant>; 4]);

impl Retry {
    /// A request that has not been sent yet.
    pub(super) const fn new() -> Self {
        Self {
            tries: 0,
            repeat: false,
            wait_until: None,
        }
    }

    pub(super) const fn is_due(&self) -> bool {
        self.wait_until.is_none()
    }

    /// Returns whether the request was sent before, over this connection or an earlier one.
    pub(super) const fn is_repeat(&self) -> bool {
        self.repeat
    }

    pub(super) const fn sent(&mut self, until: Instant) {
        self.tries = self.tries.saturating_add(1);
        self.repeat = true;
        self.wait_until = Some(until);
    }

    /// Waits on, because the other side has shown life.
    pub(super) const fn restart(&mut self, until: Instant) {
        if self.wait_until.is_some() {
            self.wait_until = Some(until);
        }
    }

    /// Allows all tries again, because the request has come a step further.
    pub(super) const fn advance(&mut self, until: Instant) {
        self.tries = 1;
        self.restart(until);
    }

    /// Makes the request due again with all its tries: it continues over a new connection.
    pub(super) const fn rearm(&mut self) {
        self.tries = 0;
        self.wait_until = None;
    }

    pub(super) fn expire(&mut self, now: Instant, tries_max: u8) -> Expiry {
        if self.wait_until.is_none_or(|until| until > now) {
            return Expiry::Waiting;
        }
        if self.tries >= tries_max {
            return Expiry::Spent;
        }
        self.wait_until = None;
        Expiry::Repeat
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.wait_until
    }
}

impl Holds {
    pub(super) fn is_held(&self, class: RequestClass) -> bool {
        self.0.get(Self::slot(class)).is_some_and(Option::is_some)
    }

    pub(super) fn hold(&mut self, class: RequestClass, until: Instant) {
        if let Some(held) = self.0.get_mut(Self::slot(class)) {
            *held = Some(until);
        }
    }

    pub(super) const fn clear(&mut self) {
        self.0 = [None; 4];
    }

    fn release(&mut self, now: Instant) {
        for held in &mut self.0 {
            *held = held.filter(|until| *until > now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.iter().flatten().copied().min()
    }

    const fn slot(class: RequestClass) -> usize {
        match class {
            RequestClass::Register => 0,
            RequestClass::Publish => 1,
            RequestClass::Subscribe => 2,
            RequestClass::Will => 3,
        }
    }
}

impl LinkClock {
    /// Returns the transmissions of one request, the first one included.
    pub(super) const fn tries_max(&self) -> u8 {
        self.n_retry.saturating_add(1)
    }

    /// Returns the rest after `rounds` fruitless rounds: T_retry, doubled each time, at most
    /// T_WAIT.
    pub(super) fn back_off(&self, rounds: u8) -> Duration {
        let doublings = u32::from(rounds.saturating_sub(1)).min(16);
        self.t_retry
            .saturating_mul(1 << doublings)
            .min(self.t_wait)
            .max(self.t_retry)
    }

    /// Returns when an answer to something sent `now` is overdue.
    pub(super) fn answer_by(&self, now: Instant, rng: &mut Rng) -> Instant {
        now + self.jittered(self.t_retry, rng)
    }

    /// Returns a rest that the gateway asked for: never shorter than `span`
    /// [MQTT-SN 1.2 §6.6, §7.2].
    pub(super) fn at_least(&self, span: Duration, rng: &mut Rng) -> Duration {
        span + rng.duration_below(span.percent(u64::from(self.jitter_percent)))
    }

    pub(super) fn jittered(&self, span: Duration, rng: &mut Rng) -> Duration {
        rng.jitter(span, u64::from(self.jitter_percent))
            .max(Duration::from_millis(1))
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Does what is due at `now`; call it at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.holds.release(now);
        self.sharing.expire(now);
        if self.expire_requests(now) {
            self.lose_gateway(now);
        }
        self.expire_state(now);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due next; for a sleeping node
    /// that is the latest time to wake.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let requests = [
            self.registering.as_ref().map(|request| request.retry),
            self.publishing.as_ref().map(|request| request.retry),
            self.subscribing.as_ref().map(|request| request.retry),
            self.will_update.in_flight.map(|(_, retry)| retry),
        ];
        requests
            .iter()
            .flatten()
            .filter_map(Retry::deadline)
            .chain(self.state_deadline())
            .chain(self.holds.deadline())
            .chain(self.sharing.deadline())
            .min()
    }

    /// Lets a kind of request rest for T_WAIT after code 01 [MQTT-SN 1.2 §6.5, §6.6].
    pub(super) fn hold(&mut self, class: RequestClass, now: Instant) {
        let link = &self.config.link;
        let until = now + link.at_least(link.t_wait, &mut self.rng);
        self.holds.hold(class, until);
        self.tell(Event::Held { class, until });
    }

    /// Returns when a PINGREQ is due: 0.8 of the keep-alive time after the node was last heard
    /// of, or last heard from the gateway, whichever is earlier. The latter finds out that the
    /// gateway is gone even where the node sends nothing but QoS 0.
    pub(super) fn ping_at(&self) -> Option<Instant> {
        let keep_alive = Duration::from_secs(u64::from(self.config.keep_alive_s));
        let supervised = keep_alive > Duration::ZERO && !self.has_request_in_flight();
        supervised.then(|| self.last_sent.min(self.last_heard) + keep_alive.percent(80))
    }

    fn state_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Off => None,
            State::Searching(search) => search.deadline(),
            State::Connecting(connecting) => connecting.retry.deadline(),
            State::Active { ping: Some(retry) }
            | State::Disconnecting(retry)
            | State::SleepPending(retry) => retry.deadline(),
            State::Awake(wake) => wake.deadline(),
            State::Active { ping: None } => self.ping_at(),
            State::Asleep(sleep) => sleep.deadline(),
            State::BackingOff { until } => Some(*until),
        }
    }

    /// Returns whether a request has been repeated in vain.
    fn expire_requests(&mut self, now: Instant) -> bool {
        let tries_max = self.config.link.tries_max();
        let clocks = [
            self.registering.as_mut().map(|request| &mut request.retry),
            self.publishing.as_mut().map(|request| &mut request.retry),
            self.subscribing.as_mut().map(|request| &mut request.retry),
            self.will_update.in_flight.as_mut().map(|(_, retry)| retry),
        ];
        let mut spent = false;
        for clock in clocks.into_iter().flatten() {
            spent |= clock.expire(now, tries_max) == Expiry::Spent;
        }
        spent
    }

    fn expire_state(&mut self, now: Instant) {
        let tries_max = self.config.link.tries_max();
        let ping_due = self.ping_at().is_some_and(|at| at <= now);
        match &mut self.state {
            State::Off => {}
            State::Searching(search) => {
                if search.expire(now) {
                    self.back_off(now);
                }
            }
            State::Connecting(connecting) => {
                if connecting.retry.expire(now, tries_max) == Expiry::Spent {
                    self.lose_gateway(now);
                }
            }
            State::Active { ping: Some(retry) } => {
                if retry.expire(now, tries_max) == Expiry::Spent {
                    self.lose_gateway(now);
                }
            }
            State::Active { ping } => {
                if ping_due {
                    *ping = Some(Retry::new());
                }
            }
            State::Disconnecting(retry) => {
                if retry.expire(now, tries_max) == Expiry::Spent {
                    self.switch_off(false);
                }
            }
            State::SleepPending(retry) => {
                if retry.expire(now, tries_max) == Expiry::Spent {
                    self.fall_asleep(now, false);
                }
            }
            State::Asleep(sleep) => sleep.expire(now),
            State::Awake(wake) => {
                if wake.is_over(now) {
                    self.cut_wake(now);
                } else if wake.retry.expire(now, self.config.link.n_wake) == Expiry::Spent {
                    self.fail_wake(now);
                }
            }
            State::BackingOff { until } => {
                if *until <= now {
                    self.next_round(now);
                }
            }
        }
    }
}
