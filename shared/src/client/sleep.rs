//! Sleep, wake and ping [MQTT-SN 1.2 §6.11, §6.14].

use super::Client;
use super::address::Transmit;
use super::error::CommandError;
use super::event::Event;
use super::state::State;
use super::stats::bump;
use super::timers::Retry;
use crate::time::{Duration, Instant};
use crate::wire::{Message, PingReq};

/// A sleeping node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sleep {
    /// When to wake at the latest.
    wake_by: Instant,
    /// Whether the gateway has confirmed the sleep.
    confirmed: bool,
    /// Whether it shall wake as soon as no answer is waited for.
    pub(super) wake_wanted: bool,
    /// Whether something was sent since it fell asleep, so that an answer may come.
    pub(super) has_spoken: bool,
}

impl Sleep {
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.wake_wanted).then_some(self.wake_by)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.wake_wanted |= self.wake_by <= now;
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Goes to sleep for `duration_s` seconds, again and again, once nothing is left to send.
    /// After a wake, or a connection it had to make in between, the machine falls asleep
    /// again by itself, until [`connect`](Self::connect) or [`disconnect`](Self::disconnect).
    ///
    /// # Errors
    /// [`CommandError::NotConnected`] where it is off or disconnecting,
    /// [`CommandError::InvalidDuration`] for zero seconds, which mean a plain end (D-20).
    pub fn sleep(&mut self, duration_s: u16) -> Result<(), CommandError> {
        if matches!(self.state, State::Off | State::Disconnecting(_)) {
            return Err(CommandError::NotConnected);
        }
        if duration_s == 0 {
            return Err(CommandError::InvalidDuration);
        }
        self.sleep_goal_s = Some(duration_s);
        Ok(())
    }

    /// Wakes to collect what waits at the gateway, earlier than
    /// [`poll_timeout`](Self::poll_timeout) would, after answers still waited for.
    ///
    /// # Errors
    /// [`CommandError::NotAsleep`].
    pub const fn wake(&mut self) -> Result<(), CommandError> {
        match &mut self.state {
            State::Asleep(sleep) => {
                sleep.wake_wanted = true;
                Ok(())
            }
            _ => Err(CommandError::NotAsleep),
        }
    }

    pub(super) fn settle_asleep(&mut self) {
        let State::Asleep(sleep) = &self.state else {
            return;
        };
        if sleep.wake_wanted && !self.has_request_in_flight() {
            self.start_wake(sleep.confirmed);
        } else if !self.config.publish_while_asleep && self.has_work() {
            // [MQTT-SN 1.2 §6.14]: to send, a sleeping node connects first.
            self.resume_connection();
        } else if self.sleep_goal_s.is_some_and(|goal| goal != self.told_s) && !self.has_work() {
            self.begin_sleep();
        }
    }

    /// Tells the gateway of the sleep; `told_s` is what it was told last, while the goal may
    /// change under way.
    pub(super) fn begin_sleep(&mut self) {
        self.told_s = self.sleep_goal_s.unwrap_or(self.told_s);
        self.state = State::SleepPending(Retry::new());
    }

    /// Enters sleep. The wake lies at a random 80 to 90 % of the duration, so that nodes that
    /// fell asleep together do not wake together. A gateway that has not confirmed supervises
    /// by the keep-alive time still, so the node asks again early.
    pub(super) fn fall_asleep(&mut self, now: Instant, confirmed: bool) {
        let told = Duration::from_secs(u64::from(self.told_s));
        let keep_alive = Duration::from_secs(u64::from(self.config.keep_alive_s));
        let span = if confirmed || keep_alive == Duration::ZERO {
            told.percent(80 + self.rng.below(11))
        } else {
            told.min(keep_alive).percent(50)
        };
        self.rest(now + span, confirmed);
        self.tell(Event::Asleep { confirmed });
    }

    pub(super) fn on_pingresp(&mut self, now: Instant) {
        match &mut self.state {
            State::Active { ping } => *ping = None,
            State::Awake(_) => {
                self.failed_wakes = 0;
                let told = Duration::from_secs(u64::from(self.told_s));
                let span = told.percent(80 + self.rng.below(11));
                self.rest(now + span, true);
                self.tell(Event::WakeFinished);
            }
            _ => bump(&mut self.stats.unexpected),
        }
    }

    /// Goes back to sleep without an answer, or gives the gateway up after too many of those.
    /// The next try comes well before the gateway's tolerance ends (D-17).
    pub(super) fn fail_wake(&mut self, now: Instant) {
        self.failed_wakes = self.failed_wakes.saturating_add(1);
        self.tell(Event::WakeFailed {
            in_a_row: self.failed_wakes,
        });
        if self.failed_wakes >= self.config.wakes_until_lost {
            self.failed_wakes = 0;
            self.lose_gateway(now);
            return;
        }
        let told = Duration::from_secs(u64::from(self.told_s));
        let gap = told
            .percent(10)
            .max(self.config.link.t_retry.saturating_mul(2))
            .min(told.percent(50));
        self.rest(now + gap, true);
    }

    pub(super) fn send_ping(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let (retry, client_id) = match &mut self.state {
            State::Active { ping: Some(retry) } => (retry, &[][..]),
            // With its name the node says that it has woken up [MQTT-SN 1.2 §6.14].
            State::Awake(retry) => (retry, self.config.client_id.as_bytes()),
            _ => return None,
        };
        if !retry.is_due() {
            return None;
        }
        if retry.is_repeat() {
            bump(&mut self.stats.retries.ping);
        }
        retry.sent(self.config.link.answer_by(now, &mut self.rng));
        let written = Message::PingReq(PingReq { client_id }).emit(buf);
        self.account(now, self.to_gateway()?, written)
    }

    /// Waits on in a wake while the gateway delivers [MQTT-SN 1.2 §6.14].
    pub(super) fn prolong_wake(&mut self, now: Instant) {
        if let State::Awake(retry) = &mut self.state {
            retry.restart(self.config.link.answer_by(now, &mut self.rng));
        }
    }

    /// Wakes by PINGREQ; by CONNECT where the gateway may not know of the sleep, since it would
    /// answer the ping of an active node and still lose it by its keep-alive time.
    fn start_wake(&mut self, confirmed: bool) {
        match self.gateway {
            Some(gateway) if !confirmed => {
                self.end_session();
                self.start_connect(gateway, false);
            }
            _ => self.state = State::Awake(Retry::new()),
        }
    }

    const fn rest(&mut self, wake_by: Instant, confirmed: bool) {
        self.state = State::Asleep(Sleep {
            wake_by,
            confirmed,
            wake_wanted: false,
            has_spoken: false,
        });
    }
}
