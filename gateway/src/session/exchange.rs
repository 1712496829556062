//! The one downlink exchange in flight: its messages, their repetitions, and its end
//! [MQTT-SN 1.2 §6.10].

use shared::time::Instant;
use shared::wire::{Message, MsgId, QoS, Register, TopicRef};

use super::engine::Engine;
use super::launch::publish_message;
use super::output::{DropReason, Notice};
use super::slots::SessionKey;
use super::state::{InFlight, Session, Stage, State};
use super::topic_table::Standing;

/// How often all repetitions of a publication may go unanswered before it is dropped (D-18).
const ROUNDS_MAX: u8 = 3;

impl Engine {
    /// Sends the message that the exchange in flight is at, and waits for its answer.
    pub(super) fn transmit_in_flight(&mut self, now: Instant, key: SessionKey) {
        let free_at = self.free_at(now, key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let answered_by = free_at + session.link(&self.settings).t_retry;
        let listens = session.listens();
        session.prepare_in_flight();
        let takes_dup = session.rule.profile.takes_dup;
        let priority = session.rule.priority;
        let (Some(flight), Some(binding)) = (&mut session.in_flight, session.binding) else {
            return;
        };
        // A node that has gone to sleep is answered, but nothing is repeated into its sleep.
        flight.retry_at = listens.then_some(answered_by);
        flight.extended = false;
        let msg_id = flight.letter.msg_id.unwrap_or(MsgId::NONE);
        let message = match flight.stage {
            Stage::Register => Message::Register(Register {
                topic_id: flight.topic.topic_id(),
                msg_id: flight.register_id,
                topic_name: flight.letter.publication.topic.as_bytes(),
            }),
            Stage::Publish => {
                let again = std::mem::replace(&mut flight.letter.published, true);
                // A.20
                let dup = again && takes_dup;
                Message::Publish(publish_message(&flight.letter, flight.topic, msg_id, dup))
            }
            Stage::Release => Message::PubRel(msg_id),
        };
        self.out.transmit_as(priority, &binding, &message);
    }

    /// Returns when the link of a node is free for what is sent to it now.
    fn free_at(&self, now: Instant, key: SessionKey) -> Instant {
        let binding = self.slots.get(key).and_then(|session| session.binding);
        binding.map_or(now, |binding| self.link_free_at(now, binding.link))
    }

    /// Repeats what was not answered in time, or gives the node up until it is heard (D-18).
    pub(super) fn repeat(&mut self, now: Instant, key: SessionKey) {
        let free_at = self.free_at(now, key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let (t_retry, n_retry) = {
            let link = session.link(&self.settings);
            (link.t_retry, link.n_retry)
        };
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        if flight.retry_at.is_none_or(|at| at > now) {
            return;
        }
        if free_at > now && !flight.extended {
            // The link may not have sent it yet. Only once: others may keep the link busy.
            flight.extended = true;
            flight.retry_at = Some(free_at + t_retry);
            return;
        }
        if flight.tries < n_retry {
            flight.tries += 1;
            // Overdue, it can be passed by more.
            session.mailbox.look_again();
            self.out.stats.retransmissions += 1;
            return self.transmit_in_flight(now, key);
        }
        self.fail_round(now, key);
    }

    /// All repetitions went unanswered: nothing more that needs an answer is sent before the
    /// node is heard (D-18).
    fn fail_round(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let gives_up = session.rule.profile.gives_up_register;
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        // A.20: the stack may know no REGISTER, and has answered everything else.
        let suppressed = gives_up && flight.stage == Stage::Register;
        let spent = flight.ends_round();
        session.suspend_in_flight();
        session.mailbox.look_again();
        if matches!(session.state, State::Awake { .. }) {
            // D-24
            self.back_to_sleep(now, key);
        } else {
            session.unresponsive = true;
            session.ping_owed = false;
            self.tell(key, |client_id| Notice::Unresponsive { client_id });
        }
        if suppressed {
            self.suppress(key, DropReason::Unacknowledged);
        } else if spent {
            self.abandon(key, DropReason::Unacknowledged);
        }
    }

    /// Repeats what is in flight because the node asks for it by another PINGREQ (D-23). That
    /// counts: what the node never answers ends as it does without a ping.
    pub(super) fn repeat_for_ping(&mut self, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let n_retry = session.link(&self.settings).n_retry;
        let Some(flight) = &mut session.in_flight else {
            return;
        };
        if flight.retry_at.take().is_none() {
            return;
        }
        self.out.stats.retransmissions += 1;
        if flight.tries < n_retry {
            flight.tries += 1;
        } else if flight.ends_round() {
            self.abandon(key, DropReason::Unacknowledged);
        }
    }

    /// Drops what is in flight.
    pub(super) fn abandon(&mut self, key: SessionKey, reason: DropReason) {
        let flight = self
            .slots
            .get_mut(key)
            .and_then(|session| session.in_flight.take());
        if let Some(flight) = flight {
            self.drop_letter(key, flight.letter, reason);
        }
    }
}

impl InFlight {
    /// Counts a round in which every repetition went unanswered; returns whether it was the
    /// last one.
    const fn ends_round(&mut self) -> bool {
        self.tries = 0;
        self.letter.failed_rounds += 1;
        self.letter.failed_rounds >= ROUNDS_MAX
    }
}

impl Session {
    /// Settles what the exchange in flight is at before it is sent: a node that does not know
    /// the topic id is told it first, and what is published has a message id.
    fn prepare_in_flight(&mut self) {
        let registers = self.must_register_again();
        let unnumbered = !registers
            && self.in_flight.as_ref().is_some_and(|flight| {
                flight.stage == Stage::Publish
                    && flight.letter.qos != QoS::AtMostOnce
                    && flight.letter.msg_id.is_none()
            });
        if !registers && !unnumbered {
            return;
        }
        let id = self.next_msg_id();
        let Some(flight) = &mut self.in_flight else {
            return;
        };
        if registers {
            flight.stage = Stage::Register;
            flight.register_id = id;
        } else {
            flight.letter.msg_id = Some(id);
        }
        let topic = flight.topic;
        self.touch_topic(topic);
    }

    /// Returns whether a node must be told the id in flight first: it has connected anew, or
    /// did not know it.
    pub(super) fn must_register_again(&self) -> bool {
        self.in_flight
            .as_ref()
            .is_some_and(|flight| match (flight.stage, flight.topic) {
                (Stage::Publish, TopicRef::Normal(_)) => !matches!(
                    self.topics.find(&flight.letter.publication.topic),
                    Some((_, Standing::Confirmed))
                ),
                _ => false,
            })
    }

    /// Keeps what is in flight, but sends nothing more of it until delivery resumes.
    pub(super) const fn suspend_in_flight(&mut self) {
        if let Some(flight) = &mut self.in_flight {
            flight.retry_at = None;
            flight.tries = 0;
        }
    }
}
