//! Connecting, the will handshake, disconnecting, and losing a gateway
//! [MQTT-SN 1.2 §6.2, §6.3, §6.12, §6.13].

use super::address::Transmit;
use super::discovery::Sharing;
use super::error::CommandError;
use super::event::{Event, Session, WillPart};
use super::gateways::Gateway;
use super::state::{Connecting, State};
use super::stats::bump;
use super::subscribe::Answered;
use super::timers::Retry;
use super::{Client, Config, Will};
use crate::time::{Duration, Instant};
use crate::wire::{ConnAck, Connect, Disconnect, Message, ReturnCode};

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Starts to connect, and to stay connected: from now on the machine finds, tries and
    /// changes gateways by itself. A sleeping node leaves its sleep.
    ///
    /// # Errors
    /// [`CommandError::Busy`] where it is connected or connecting already.
    pub fn connect(&mut self, now: Instant) -> Result<(), CommandError> {
        let slept = self.sleep_goal_s.take().is_some();
        match self.state {
            State::Off => {
                self.fresh = true;
                self.rounds = 0;
                self.gateways.forgive();
                self.seek(now);
                Ok(())
            }
            State::SleepPending(_) | State::Asleep(_) | State::Awake(_) => {
                self.resume_connection();
                Ok(())
            }
            State::Disconnecting(_) => Err(CommandError::Busy),
            _ if slept => Ok(()),
            _ => Err(CommandError::Busy),
        }
    }

    /// Ends the connection, or the attempt to have one. What is queued stays queued.
    ///
    /// # Errors
    /// [`CommandError::NotConnected`] where it is off, [`CommandError::Busy`] where it is
    /// disconnecting already.
    pub fn disconnect(&mut self) -> Result<(), CommandError> {
        match &self.state {
            State::Off => return Err(CommandError::NotConnected),
            State::Disconnecting(_) => return Err(CommandError::Busy),
            State::Searching(_) | State::BackingOff { .. } => self.switch_off(false),
            _ => {
                self.end_session();
                self.state = State::Disconnecting(Retry::new());
            }
        }
        self.sleep_goal_s = None;
        Ok(())
    }

    pub(super) const fn start_connect(&mut self, gateway: Gateway, resume: bool) {
        self.pause_requests();
        self.gateway = Some(gateway);
        self.state = State::Connecting(Connecting {
            retry: Retry::new(),
            // The gateway keeps the will of a session that goes on [MQTT-SN 1.2 §6.3].
            will: (self.config.will.is_some() || self.will_update.owed)
                && !(resume && self.will_known),
            resume,
            asked: None,
            answer: None,
        });
    }

    /// Leaves sleep by CONNECT: the session goes on [MQTT-SN 1.2 §6.14], if it is sure that the
    /// gateway takes the node for a sleeping one. Of an awake one it ends a clean session
    /// (D-12).
    pub(super) fn resume_connection(&mut self) {
        let Some(gateway) = self.gateway else {
            return;
        };
        let goes_on = match &self.state {
            State::Asleep(sleep) => sleep.confirmed,
            State::SleepPending(_) => !self.asked_clean,
            _ => true,
        };
        let resume = goes_on && !(self.asked_clean && self.retell);
        if !resume {
            self.end_session();
        }
        self.start_connect(gateway, resume);
    }

    pub(super) fn send_connect(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let State::Connecting(connecting) = &mut self.state else {
            return None;
        };
        let written = if let Some(part) = connecting.answer.take() {
            will_answer(&self.config, part).emit(buf)
        } else if connecting.retry.is_due() {
            if connecting.retry.is_repeat() {
                bump(&mut self.stats.retries.connect);
            }
            connecting
                .retry
                .sent(self.config.link.answer_by(now, &mut self.rng));
            Message::Connect(Connect {
                will: connecting.will,
                clean: self.config.clean && self.fresh,
                protocol_id: Connect::PROTOCOL_ID,
                duration_s: self.config.keep_alive_s,
                client_id: self.config.client_id.as_bytes(),
            })
            .emit(buf)
        } else {
            return None;
        };
        self.account(now, self.to_gateway()?, written)
    }

    /// Answers WILLTOPICREQ and WILLMSGREQ each time, since the answer may get lost; only the
    /// first time counts as a step forward.
    pub(super) fn on_will_request(&mut self, now: Instant, part: WillPart) {
        let State::Connecting(connecting) = &mut self.state else {
            bump(&mut self.stats.unexpected);
            return;
        };
        connecting.answer = Some(part);
        if connecting.asked != Some(part) && connecting.asked != Some(WillPart::Message) {
            connecting.asked = Some(part);
            connecting
                .retry
                .advance(self.config.link.answer_by(now, &mut self.rng));
        }
    }

    pub(super) fn on_connack(&mut self, now: Instant, ack: ConnAck) {
        let State::Connecting(connecting) = &self.state else {
            return self.on_late_connack(ack);
        };
        if !connecting.retry.is_repeat() {
            // An answer to nothing: CONNECT has not been sent yet.
            bump(&mut self.stats.unexpected);
            return;
        }
        let (resumed, will_told) = (connecting.resume, connecting.asked.is_some());
        match ack.return_code {
            ReturnCode::Accepted => self.enter_active(now, resumed, will_told),
            // [MQTT-SN 1.2 §6.2] D-04: other codes are refusals for good.
            ReturnCode::Congestion => self.step_back(now, ack.return_code, self.config.link.t_wait),
            code => self.step_back(now, code, self.config.link.t_refused),
        }
    }

    /// Takes a DISCONNECT by what the node is waiting for: the acknowledgement and "I do not
    /// know you" are the same octets (D-19).
    pub(super) fn on_disconnect(&mut self, now: Instant) {
        match &mut self.state {
            State::Disconnecting(_) => self.switch_off(true),
            State::SleepPending(_) => self.fall_asleep(now, true),
            // Each repetition of the DISCONNECT before the sleep may be acknowledged yet. If
            // the gateway does not know the node, it says so again.
            State::Asleep(sleep) if self.sleep_acks_owed > 0 => {
                sleep.confirmed = true;
                self.sleep_acks_owed -= 1;
                bump(&mut self.stats.unexpected);
            }
            State::Awake(_) if self.sleep_acks_owed > 0 => {
                self.sleep_acks_owed -= 1;
                bump(&mut self.stats.unexpected);
            }
            State::Active { .. } | State::Awake(_) => self.reconnect(now),
            State::Asleep(sleep) if sleep.has_spoken => self.reconnect(now),
            // In sleep without having sent anything it is the acknowledgement once more.
            _ => bump(&mut self.stats.unexpected),
        }
    }

    /// Takes a CONNACK that nothing waits for: a repetition of the last CONNECT came late, after
    /// what followed it, and the gateway may have taken it for another connection. It may then
    /// take a sleeping node for an awake one, and of a clean session it has dropped everything.
    fn on_late_connack(&mut self, ack: ConnAck) {
        bump(&mut self.stats.unexpected);
        if ack.return_code != ReturnCode::Accepted || !self.is_in_session() {
            return;
        }
        bump(&mut self.stats.late_requests);
        if self.asked_clean {
            self.restore_session();
        }
        match &mut self.state {
            State::SleepPending(retry) => retry.rearm(),
            State::Asleep(_) | State::Awake(_) => self.retell = true,
            _ => {}
        }
    }

    /// Tells the gateway again what it may have dropped. A publication in flight goes on as it
    /// is: begun anew, one at QoS 2 would arrive twice.
    fn restore_session(&mut self) {
        self.registering = None;
        self.subscribing = None;
        self.topics.forget_session();
        self.answered = Answered::default();
        self.seen.renew(false);
        if self.config.will.is_some() {
            self.will_update.redo();
        }
    }

    pub(super) fn send_disconnect(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let told_s = self.told_s();
        let (retry, duration_s) = match &mut self.state {
            State::Disconnecting(retry) => (retry, None),
            State::SleepPending(retry) => (retry, Some(told_s)),
            _ => return None,
        };
        if !retry.is_due() {
            return None;
        }
        if retry.is_repeat() {
            bump(&mut self.stats.retries.disconnect);
        }
        retry.sent(self.config.link.answer_by(now, &mut self.rng));
        self.sleep_acks_owed = self.sleep_acks_owed.saturating_add(1);
        let written = Message::Disconnect(Disconnect { duration_s }).emit(buf);
        self.account(now, self.to_gateway()?, written)
    }

    pub(super) fn switch_off(&mut self, confirmed: bool) {
        self.end_session();
        self.state = State::Off;
        self.tell(Event::Disconnected { confirmed });
    }

    /// Gives a silent gateway up: others first, then the same one [MQTT-SN 1.2 §6.13].
    pub(super) fn lose_gateway(&mut self, now: Instant) {
        if let Some(gateway) = self.gateway {
            self.gateways.fail(gateway.addr);
        }
        self.forget_gateway();
        self.seek(now);
    }

    /// Connects anew after a random delay: the gateway does not know the node any more
    /// [MQTT-SN 1.2 §6.12] D-19. The delay grows while nothing but that is heard from it.
    fn reconnect(&mut self, now: Instant) {
        self.forget_gateway();
        let until = if self.rounds == 0 {
            now + self.rng.duration_below(self.config.link.t_retry) + Duration::from_millis(1)
        } else {
            self.rest_until(now)
        };
        self.rounds = self.rounds.saturating_add(1);
        self.state = State::BackingOff { until };
    }

    fn forget_gateway(&mut self) {
        bump(&mut self.stats.gateway_losses);
        self.end_session();
        self.tell(Event::GatewayLost);
    }

    /// Leaves a gateway that has refused the connection alone for a while.
    fn step_back(&mut self, now: Instant, code: ReturnCode, span: Duration) {
        let until = now + self.config.link.at_least(span, &mut self.rng);
        if let Some(gateway) = self.gateway {
            self.gateways.hold(gateway.addr, until);
        }
        self.end_session();
        self.tell(Event::Refused { code });
        self.seek(now);
    }

    /// Drops what belongs to the session's messages under way, not to the session's content.
    pub(super) fn end_session(&mut self) {
        self.pause_requests();
        self.replies.clear();
        self.last_qos0 = None;
        self.will_known = false;
        self.sharing = Sharing::Nothing;
        if let Some(slot) = &mut self.slot {
            slot.stale = true;
        }
    }

    fn enter_active(&mut self, now: Instant, resumed: bool, will_told: bool) {
        if !resumed {
            self.asked_clean = self.config.clean && self.fresh;
            self.answered = Answered::default();
            self.topics.forget_session();
            self.holds.clear();
            self.seen.renew(self.asked_clean);
        }
        if will_told {
            self.will_update.settle();
        }
        self.will_known = true;
        self.fresh = false;
        self.failed_wakes = 0;
        self.last_sent = now;
        self.last_heard = now;
        self.state = State::Active { ping: None };
        self.tell(Event::Connected {
            session: if resumed {
                Session::Resumed
            } else {
                Session::Renewed
            },
        });
    }
}

/// What the node says of its will when it is asked; without one, the empty WILLTOPIC deletes
/// what the gateway may still have [MQTT-SN 1.2 §6.3].
fn will_answer(config: &Config, part: WillPart) -> Message<'_> {
    let will = config.will.as_ref();
    match part {
        WillPart::Topic => Message::WillTopic(will.map(Will::target)),
        WillPart::Message => Message::WillMsg(will.map_or(&[], |will| will.message.as_slice())),
    }
}
