//! One node's session.
//!
//! ```text
//!                     CONNECT (after the will handshake, if any)
//!   (none) ------------------------------------------------------> ACTIVE
//!                                                                  |  ^
//!                                              DISCONNECT(duration)|  | CONNECT
//!                       queue empty, all acknowledged: PINGRESP    v  |
//!   AWAKE ------------------------------------------------------> ASLEEP
//!     ^                                                             |
//!     +------------------------- PINGREQ(client id) ----------------+
//!
//!   any of the three: DISCONNECT, or silence beyond the limit ---> GONE (clean = 0)
//!                                                                  or no session (clean = 1)
//! ```

use std::sync::Arc;

use bytes::Bytes;
use shared::time::{Duration, Instant};
use shared::wire::{MsgId, Publish, QoS, ReturnCode, SubAck, TopicId, TopicRef};

use super::letter::Letter;
use super::mailbox::Mailbox;
use super::policy::NodeRule;
use super::port::{Binding, Publication, PublicationId};
use super::quota::Meter;
use super::settings::{LinkSettings, Settings};
use super::topic_table::{Room, Standing, TopicTable};

/// What the gateway knows of one node.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: Arc<str>,
    /// What holds for the node.
    pub(super) rule: Arc<NodeRule>,
    pub(super) binding: Option<Binding>,
    pub(super) state: State,
    pub(super) clean: bool,
    pub(super) keep_alive_s: u16,
    /// When the node counts as lost; while GONE, when the session is forgotten.
    pub(super) deadline: Instant,
    /// When the session's timer is armed; it may be not at all while its link carries nothing.
    pub(super) timer: Option<Instant>,
    pub(super) last_connect: Option<ConnectSeen>,
    pub(super) will: Option<Will>,
    pub(super) topics: TopicTable,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) pending_subscribes: Vec<PendingSubscribe>,
    /// The last answer to a SUBSCRIBE, repeated when the node repeats its request.
    pub(super) last_suback: Option<SubAck>,
    pub(super) uplinks: Vec<Uplink>,
    /// What counts towards the node's quota.
    pub(super) meter: Meter,
    pub(super) told: Told,
    /// QoS 2 publications from the node that were answered by PUBREC.
    pub(super) received: Vec<Received>,
    pub(super) mailbox: Mailbox,
    pub(super) in_flight: Option<InFlight>,
    pub(super) last_msg_id: MsgId,
    /// The topic of the last QoS 0 publication, which the node may still refuse (A.9).
    pub(super) last_qos0: Option<TopicRef>,
    pub(super) unresponsive: bool,
    /// Whether an active node has pinged with its name, and is answered after its mail.
    pub(super) ping_owed: bool,
    /// Until when the node asked for silence with code 01.
    pub(super) paused_until: Option<Instant>,
    /// Until when the node is told no topic ids, because it has no room for them.
    pub(super) registers_paused_until: Option<Instant>,
    /// How often on end it had no room.
    pub(super) registers_refused: u8,
    /// The publications sent in this wake.
    pub(super) awake_sent: u32,
    /// The topics whose publications were told of as too long, by their hashes.
    pub(super) too_long_told: Vec<u64>,
}

/// Whether the node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Connected and listening.
    Active,
    /// Asleep for `duration_s` at a time.
    Asleep {
        /// The duration of the last DISCONNECT, in seconds.
        duration_s: u16,
    },
    /// Listening until PINGRESP.
    Awake {
        /// The duration to go on with afterwards, in seconds.
        duration_s: u16,
    },
    /// Not connected; kept for the node's return.
    Gone,
}

/// A CONNECT as it was served, to know its repetition (D-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectSeen {
    pub(super) at: Instant,
    pub(super) clean: bool,
    pub(super) keep_alive_s: u16,
    pub(super) will: bool,
}

/// What is published when the node is lost. The two parts come on their own and in any order
/// [MQTT-SN 1.2 §6.4]; one without the other is no will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) target: Option<WillTopic>,
    pub(super) message: Option<Bytes>,
}

/// Where and how a will is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WillTopic {
    pub(super) topic: Arc<str>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Will {
    /// Returns the will as it is published; `None` while a part of it is missing.
    pub(super) fn publication(&self) -> Option<Publication> {
        let WillTopic { topic, qos, retain } = self.target.as_ref()?;
        Some(Publication {
            topic: Arc::clone(topic),
            payload: self.message.clone()?,
            qos: *qos,
            retain: *retain,
        })
    }
}

/// One subscription of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) filter: Arc<str>,
    pub(super) qos: QoS,
    /// How the node named the topic, and so how publications name it (D-08); `None` for
    /// filters with wildcards.
    pub(super) topic: Option<TopicRef>,
}

/// A SUBSCRIBE that waits for the broker.
#[derive(Clone, Debug)]
pub(super) struct PendingSubscribe {
    pub(super) msg_id: MsgId,
    pub(super) filter: Arc<str>,
    pub(super) qos: QoS,
    pub(super) topic: Option<TopicRef>,
    pub(super) expires: Instant,
}

/// A QoS 1 or 2 publication that waits for the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uplink {
    pub(super) id: PublicationId,
    pub(super) qos: QoS,
    pub(super) msg_id: MsgId,
    pub(super) topic_id: TopicId,
    pub(super) dup: bool,
    pub(super) digest: u64,
    /// Whether the node has used the message id for something else since, and so does not wait
    /// for the answer any more.
    pub(super) superseded: bool,
}

/// When a node was last told that its publications at QoS 0 are refused, by code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    congestion: Option<Instant>,
    not_supported: Option<Instant>,
}

impl Told {
    /// The time between two refusals with the same code.
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Returns whether the node is to be told a code now (A.19 row 14, D-42). An unknown topic
    /// id is told every time, for the node can mend that (D-45).
    pub(super) fn may_tell(&mut self, now: Instant, code: ReturnCode) -> bool {
        let last = match code {
            ReturnCode::Congestion => &mut self.congestion,
            ReturnCode::NotSupported => &mut self.not_supported,
            _ => return true,
        };
        let due = last.is_none_or(|last| now.since(last) >= Self::INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// A publication that the broker has taken: at QoS 2, and at QoS 1 where repetitions are to be
/// known (D-39).
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) msg_id: MsgId,
    pub(super) qos: QoS,
    /// Whether it was a repetition, so that the first transmission may still be on its way.
    pub(super) dup: bool,
    /// What the publication said, to know its late repetition.
    pub(super) digest: u64,
    /// Until when a repetition may still be on its way; `None` at QoS 2 before PUBREL.
    pub(super) released: Option<Instant>,
}

impl Received {
    /// Returns whether a PUBLISH is this one again: it has the same message id, says the same
    /// and, after PUBREL has freed the id, one of the two was a repetition. A node that begins
    /// its message ids anew when it restarts has something else to say under an old one.
    pub(super) fn is_repeated_by(&self, now: Instant, publish: &Publish<'_>, digest: u64) -> bool {
        // At QoS 1 only PUBLISH with DUP = 1 can be a repetition (D-39): nodes that use one
        // message id for everything must lose nothing.
        let repeats = publish.dup || (self.dup && self.qos == QoS::ExactlyOnce);
        self.msg_id == publish.msg_id
            && self.qos == publish.qos
            && self.digest == digest
            && self.released.is_none_or(|until| repeats && now <= until)
    }
}

/// The one downlink exchange that waits for the node.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) letter: Letter,
    pub(super) topic: TopicRef,
    pub(super) stage: Stage,
    /// The id of the REGISTER; the publication's own id is the letter's.
    pub(super) register_id: MsgId,
    pub(super) tries: u8,
    /// When to repeat; `None` while the node is asleep or unresponsive.
    pub(super) retry_at: Option<Instant>,
    /// Whether the answer was once given more time, because the link was still busy sending.
    pub(super) extended: bool,
}

/// What the downlink exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// REGACK.
    Register,
    /// PUBACK at QoS 1, PUBREC at QoS 2.
    Publish,
    /// PUBCOMP.
    Release,
}

impl Session {
    pub(super) fn new(client_id: Arc<str>, now: Instant, first_msg_id: MsgId) -> Self {
        Self {
            client_id,
            rule: Arc::default(),
            binding: None,
            state: State::Gone,
            clean: true,
            keep_alive_s: 0,
            deadline: now,
            timer: None,
            last_connect: None,
            will: None,
            topics: TopicTable::default(),
            subscriptions: Vec::new(),
            pending_subscribes: Vec::new(),
            last_suback: None,
            uplinks: Vec::new(),
            meter: Meter::default(),
            told: Told::default(),
            received: Vec::new(),
            mailbox: Mailbox::default(),
            in_flight: None,
            last_msg_id: first_msg_id,
            last_qos0: None,
            unresponsive: false,
            ping_owed: false,
            paused_until: None,
            registers_paused_until: None,
            registers_refused: 0,
            awake_sent: 0,
            too_long_told: Vec::new(),
        }
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::Active | State::Awake { .. })
    }

    /// Restarts the supervision: the node has been heard, or its sleep begins.
    pub(super) fn restart_supervision(&mut self, now: Instant, settings: &Settings) {
        let duration_s = match self.state {
            State::Active => self.keep_alive_s,
            State::Asleep { duration_s } | State::Awake { duration_s } => duration_s,
            State::Gone => {
                self.deadline = now + settings.session_expiry;
                return;
            }
        };
        let link = self.link(settings);
        let limit = if duration_s == 0 {
            // D-13
            settings.idle_max
        } else {
            link.tolerated(Duration::from_secs(u64::from(duration_s)))
        };
        self.deadline = now + limit + self.rule.grace;
    }

    pub(super) fn link<'s>(&self, settings: &'s Settings) -> &'s LinkSettings {
        settings.link(
            self.binding
                .map_or(super::LinkId(0), |binding| binding.link),
        )
    }

    /// Returns a message id that no exchange with the node is using (D-46).
    pub(super) fn next_msg_id(&mut self) -> MsgId {
        let busy = |session: &Self, id| {
            session.in_flight.as_ref().is_some_and(|flight| {
                flight.letter.msg_id == Some(id)
                    || flight.letter.refused_id == Some(id)
                    || flight.register_id == id
            })
        };
        self.last_msg_id = next_msg_id(self.last_msg_id);
        while busy(self, self.last_msg_id) {
            self.last_msg_id = next_msg_id(self.last_msg_id);
        }
        self.last_msg_id
    }

    /// Returns the next point at which the session wants to be looked at.
    pub(super) fn next_deadline(&self) -> Instant {
        let retry = self.in_flight.as_ref().and_then(|flight| flight.retry_at);
        let pending = self
            .pending_subscribes
            .iter()
            .map(|pending| pending.expires)
            .min();
        let pauses = [self.paused_until, self.registers_paused_until];
        [retry, pending, self.next_expiry()]
            .into_iter()
            .chain(pauses)
            .flatten()
            .fold(self.deadline, Instant::min)
    }

    /// Ends the pauses that have passed: one must not stay the next deadline of a node that
    /// sleeps.
    pub(super) fn end_pauses(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        self.registers_paused_until = self.registers_paused_until.filter(|until| *until > now);
    }

    /// Ends all pauses: the node has connected anew.
    pub(super) const fn lift_pauses(&mut self) {
        self.paused_until = None;
        self.registers_paused_until = None;
        self.registers_refused = 0;
    }

    /// Returns how many topic ids there may be, and which one must stay.
    pub(super) fn topic_room(&self, len_max: usize) -> Room {
        let in_flight = self.in_flight.as_ref();
        Room {
            len_max,
            in_flight: in_flight.map(|flight| flight.topic.topic_id()),
        }
    }

    /// Gives a name its id because the node asks for it.
    pub(super) fn register_topic(&mut self, name: &str, len_max: usize) -> Option<TopicId> {
        let room = self.topic_room(len_max);
        self.topics.register(name, room)
    }

    /// Notes that the node knows a topic id.
    pub(super) fn confirm_topic(&mut self, id: TopicId) {
        self.topics.set_standing(id, Standing::Confirmed);
        self.mailbox.look_again();
    }

    pub(super) fn subscription(&self, filter: &str) -> Option<&Subscription> {
        self.subscriptions
            .iter()
            .find(|subscription| &*subscription.filter == filter)
    }

    /// Keeps the answer of a SUBSCRIBE for a repetition, and returns it.
    pub(super) fn answer_subscribe(
        &mut self,
        msg_id: MsgId,
        granted: Result<(QoS, TopicId), ReturnCode>,
    ) -> SubAck {
        let answer = match granted {
            Ok((qos, topic_id)) => SubAck {
                qos,
                topic_id,
                msg_id,
                return_code: ReturnCode::Accepted,
            },
            Err(return_code) => SubAck {
                qos: QoS::AtMostOnce,
                topic_id: TopicId::NONE,
                msg_id,
                return_code,
            },
        };
        self.last_suback = Some(answer);
        answer
    }
}

/// The highest message id towards a node. Some clients read ids as signed numbers and fail on
/// greater ones (mqtt-sn-12 from PyPI does).
const MSG_ID_MAX: MsgId = MsgId(0x7FFF);

fn next_msg_id(id: MsgId) -> MsgId {
    if id >= MSG_ID_MAX {
        MsgId(1)
    } else {
        id.next()
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::Lifetime;
    use super::super::policy::Priority;
    use super::*;

    #[test]
    fn d46_message_ids_stay_where_signed_readers_read_them_right() {
        let mut session = Session::new("a".into(), Instant::ZERO, MsgId(0xABCD));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..0x1_0000 {
            seen.insert(session.next_msg_id());
        }
        assert_eq!(seen.first(), Some(&MsgId(1)));
        assert_eq!(seen.last(), Some(&MSG_ID_MAX));
        assert_eq!(seen.len(), 0x7FFF);
    }

    #[test]
    fn d46_message_ids_in_use_are_skipped() {
        let publication = Publication {
            topic: "t".into(),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let lifetime = Lifetime::new(Instant::ZERO, Duration::from_secs(1), None);
        let mut letter = Letter::new(
            publication,
            QoS::AtLeastOnce,
            None,
            Priority::Normal,
            lifetime,
        );
        letter.msg_id = Some(MsgId(7));
        letter.refused_id = Some(MsgId(8));
        let mut session = Session::new("a".into(), Instant::ZERO, MsgId(1));
        session.in_flight = Some(InFlight {
            letter,
            topic: TopicRef::Normal(TopicId(1025)),
            stage: Stage::Register,
            register_id: MsgId(9),
            tries: 0,
            retry_at: None,
            extended: false,
        });
        for _ in 0..0x8000 {
            let id = session.next_msg_id();
            assert!(!(7..=9).contains(&id.0), "{id:?}");
        }
    }

    #[test]
    fn a_node_with_nothing_waiting_costs_less_than_a_kibibyte() {
        let session = Session::new("a".into(), Instant::ZERO, MsgId(1));
        assert!(size_of_val(&session) <= 900, "{}", size_of_val(&session));
    }
}
