//! Sleep, wake and ping [MQTT-SN 1.2 §6.11, §6.14].

use super::Client;
use super::address::Transmit;
use super::discovery::Sharing;
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
    pub(super) confirmed: bool,
    /// Whether it shall wake as soon as no answer is waited for.
    pub(super) wake_wanted: bool,
    /// Whether something was sent since it fell asleep, so that an answer may come.
    pub(super) has_spoken: bool,
}

/// A wake under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wake {
    /// The clock of PINGREQ.
    pub(super) retry: Retry,
    /// When it is over whatever waits; set when PINGREQ is sent first.
    until: Option<Instant>,
    /// Publications it may still take.
    left: u16,
    /// Whether the gateway was heard in it.
    heard: bool,
}

impl Wake {
    fn new(messages_max: Option<u16>) -> Self {
        Self {
            retry: Retry::new(),
            until: None,
            left: messages_max.unwrap_or(u16::MAX),
            heard: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.retry.deadline(), self.until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns whether its time is over, or nobody goes on with the last exchange it allows.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let stalled = self.left == 0 && self.retry.deadline().is_some_and(|at| at <= now);
        stalled || self.until.is_some_and(|until| until <= now)
    }
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
    /// DISCONNECT can name 65,535 seconds at most, 18 h 12 min. Of a longer sleep the gateway
    /// is told that much, and the node sleeps on: a gateway that does not grant it more
    /// patience loses it, publishes its will, and is connected to anew after the wake. The rule
    /// for such a node at the gateway has a `grace` of what goes beyond.
    ///
    /// # Errors
    /// [`CommandError::NotConnected`] where it is off or disconnecting,
    /// [`CommandError::InvalidDuration`] for zero seconds, which mean a plain end (D-20).
    pub fn sleep(&mut self, duration_s: u32) -> Result<(), CommandError> {
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

    pub(super) fn settle_asleep(&mut self, now: Instant) {
        let State::Asleep(sleep) = &self.state else {
            return;
        };
        if sleep.wake_by <= now {
            // No acknowledgement comes this late.
            self.sleep_acks_owed = 0;
        }
        if sleep.wake_wanted && !self.has_request_in_flight() {
            self.start_wake(sleep.confirmed);
        } else if !self.config.publish_while_asleep && self.has_work() {
            // [MQTT-SN 1.2 §6.14]: to send, a sleeping node connects first.
            self.resume_connection();
        } else if (self.retell || self.sleep_goal_s.is_some_and(|goal| goal != self.sleep_s))
            && !self.has_work()
        {
            self.begin_sleep();
        }
    }

    /// Ends a wake that has taken what it may, once the exchanges it began are over.
    pub(super) fn settle_awake(&mut self, now: Instant) {
        let spent = matches!(&self.state, State::Awake(wake) if wake.left == 0);
        let taken = self.slot.as_ref().is_none_or(|slot| slot.taken);
        if spent && taken && self.replies.is_empty() && !self.seen.awaits_release() {
            self.cut_wake(now);
        }
    }

    /// Tells the gateway of the sleep; `sleep_s` is what it was told of last, while the goal may
    /// change under way.
    pub(super) fn begin_sleep(&mut self) {
        self.sleep_s = self.sleep_goal_s.unwrap_or(self.sleep_s);
        self.retell = false;
        self.sleep_acks_owed = 0;
        self.sharing = Sharing::Nothing;
        self.state = State::SleepPending(Retry::new());
    }

    /// Returns what DISCONNECT says of the sleep, in seconds.
    pub(super) fn told_s(&self) -> u16 {
        u16::try_from(self.sleep_s).unwrap_or(u16::MAX)
    }

    /// Enters sleep. A gateway that has not confirmed supervises by the keep-alive time still,
    /// so the node asks again early.
    pub(super) fn fall_asleep(&mut self, now: Instant, confirmed: bool) {
        self.sleep_acks_owed = self.sleep_acks_owed.saturating_sub(u8::from(confirmed));
        let keep_alive = Duration::from_secs(u64::from(self.config.keep_alive_s));
        let span = if confirmed || keep_alive == Duration::ZERO {
            self.sleep_span()
        } else {
            self.told().min(keep_alive).percent(50)
        };
        self.rest(now + span, confirmed);
        self.tell(Event::Asleep { confirmed });
    }

    pub(super) fn on_pingresp(&mut self, now: Instant) {
        match &mut self.state {
            State::Active { ping } => *ping = None,
            State::Awake(_) => {
                self.end_wake(now);
                self.tell(Event::WakeFinished);
            }
            _ => bump(&mut self.stats.unexpected),
        }
    }

    /// Goes back to sleep with the rest of what waits left at the gateway, without PINGRESP
    /// (D-24). A wake in which nothing came was in vain.
    pub(super) fn cut_wake(&mut self, now: Instant) {
        if matches!(&self.state, State::Awake(wake) if !wake.heard) {
            return self.fail_wake(now);
        }
        bump(&mut self.stats.wakes_cut);
        self.end_wake(now);
        self.tell(Event::WakeCut);
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
        let told = self.told();
        let gap = told
            .percent(10)
            .max(self.config.link.t_retry.saturating_mul(2))
            .min(told.percent(50));
        self.rest(now + gap, true);
    }

    pub(super) fn send_ping(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let (retry, client_id) = match &mut self.state {
            State::Active { ping: Some(retry) } => (retry, &[][..]),
            State::Awake(wake) => {
                if !wake.retry.is_repeat() {
                    wake.until = self.config.wake.time_max.map(|span| now + span);
                }
                // With its name the node says that it has woken up [MQTT-SN 1.2 §6.14].
                (&mut wake.retry, self.config.client_id.as_bytes())
            }
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
        if let State::Awake(wake) = &mut self.state {
            wake.heard = true;
            wake.retry
                .restart(self.config.link.answer_by(now, &mut self.rng));
        }
    }

    /// Counts a publication that was taken in.
    pub(super) const fn charge_wake(&mut self) {
        if let State::Awake(wake) = &mut self.state
            && self.config.wake.messages_max.is_some()
        {
            wake.left = wake.left.saturating_sub(1);
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
            _ => self.state = State::Awake(Wake::new(self.config.wake.messages_max)),
        }
    }

    fn end_wake(&mut self, now: Instant) {
        self.failed_wakes = 0;
        let span = self.sleep_span();
        self.rest(now + span, true);
    }

    /// Returns the sleep that the gateway was told of.
    fn told(&self) -> Duration {
        Duration::from_secs(u64::from(self.told_s()))
    }

    /// Returns how long to sleep before the next wake.
    fn sleep_span(&mut self) -> Duration {
        let plan = &self.config.wake;
        let width = u64::from(plan.to_percent.saturating_sub(plan.from_percent));
        let percent = u64::from(plan.from_percent) + self.rng.below(width + 1);
        Duration::from_secs(u64::from(self.sleep_s)).percent(percent)
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
