//! Scripts that read like the protocol: a node says, the gateway answers, time passes.

mod admission;
mod answering;
mod bursts;
mod connecting;
mod copying;
mod corners;
mod delivering;
mod discovering;
mod identity;
mod keeping;
mod naming;
mod outages;
mod passing;
mod profiles;
mod publishing;
mod reconfiguring;
mod rules;
mod sleeping;
mod strangers;
mod supervision;
mod waking;
mod wills;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::{
    Acknowledgement, ConnAck, Connect, Disconnect, Message, MsgId, PingReq, Publish, QoS, Register,
    ReturnCode, SubAck, Subscribe, TopicFilter, TopicId, TopicRef,
};

use super::*;

pub(super) const NODE: Binding = node(1);
pub(super) const OTHER: Binding = node(2);
pub(super) const T_RETRY: Duration = Duration::from_secs(10);
pub(super) const ACCEPTED: ReturnCode = ReturnCode::Accepted;

pub(super) const fn node(port: u16) -> Binding {
    let ip = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let peer = Peer::Socket(std::net::SocketAddr::new(ip, port));
    Binding {
        link: LinkId(0),
        peer,
        node_id: None,
    }
}

/// An engine on a virtual clock, with everything it said so far.
pub(super) struct Script {
    pub(super) engine: Engine,
    pub(super) now: Instant,
    sent: VecDeque<(Binding, Bytes)>,
    broadcast: VecDeque<(LinkId, u8, Bytes)>,
    requests: VecDeque<UpstreamRequest>,
    notices: VecDeque<Notice>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.predefined.insert(TopicId(7), "pre/seven".into());
        change(&mut settings);
        let now = Instant::from_millis(1_000_000);
        let mut script = Self {
            engine: Engine::new(settings, Rng::new(1), now),
            now,
            sent: VecDeque::new(),
            broadcast: VecDeque::new(),
            requests: VecDeque::new(),
            notices: VecDeque::new(),
        };
        script.upstream(UpstreamEvent::Connected);
        script
    }

    /// A node sends a message.
    pub(super) fn says(&mut self, from: Binding, message: &Message<'_>) {
        let mut buf = vec![0; message.encoded_len()];
        message.emit(&mut buf).unwrap();
        self.raw(from, &buf);
    }

    pub(super) fn raw(&mut self, from: Binding, datagram: &[u8]) {
        self.engine
            .handle_datagram(self.now, from, &Bytes::copy_from_slice(datagram));
        self.drain();
    }

    pub(super) fn upstream(&mut self, event: UpstreamEvent) {
        self.engine.handle_upstream(self.now, event);
        self.drain();
    }

    /// A link says something of itself.
    pub(super) fn link(&mut self, link: LinkId, event: LinkEvent) {
        self.engine.handle_link(self.now, link, event);
        self.drain();
    }

    /// The process is stopped for a while, and comes back to timers that are late.
    pub(super) fn stopped_for(&mut self, span: Duration) {
        self.now += span;
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    /// The broker has taken a publication.
    pub(super) fn taken(&mut self, id: PublicationId) {
        self.upstream(UpstreamEvent::Published { id, result: Ok(()) });
    }

    /// Time passes; every deadline on the way is met.
    pub(super) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            match self.engine.poll_timeout().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = end;
                    return;
                }
            }
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        panic!("the engine's timers never come to rest");
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Transmit {
                    binding, datagram, ..
                } => self.sent.push_back((binding, datagram)),
                Output::Broadcast {
                    link,
                    radius,
                    datagram,
                } => self.broadcast.push_back((link, radius, datagram)),
                Output::Upstream(request) => self.requests.push_back(request),
                Output::Notice(notice) => self.notices.push_back(notice),
            }
        }
    }

    /// The gateway has sent exactly this, next.
    #[track_caller]
    pub(super) fn hears(&mut self, to: Binding, expected: &Message<'_>) {
        let Some((binding, datagram)) = self.sent.pop_front() else {
            panic!("nothing was sent, expected {expected:?}");
        };
        assert_eq!(Message::parse(&datagram), Ok(*expected));
        assert_eq!(binding, to);
    }

    /// The gateway has sent a message, next; `read` says what is wanted of it.
    #[track_caller]
    pub(super) fn hears_some<T>(&mut self, read: impl FnOnce(Message<'_>) -> Option<T>) -> T {
        let (_, datagram) = self.sent.pop_front().expect("something was sent");
        let message = Message::parse(&datagram).unwrap();
        read(message).unwrap_or_else(|| panic!("unexpected {message:?}"))
    }

    /// The gateway has sent this to everyone on a link, next.
    #[track_caller]
    pub(super) fn broadcasts(&mut self, link: LinkId, radius: u8, expected: &Message<'_>) {
        let (to, within, datagram) = self.broadcast.pop_front().expect("something was broadcast");
        assert_eq!(Message::parse(&datagram), Ok(*expected));
        assert_eq!((to, within), (link, radius));
    }

    #[track_caller]
    pub(super) fn hears_nothing(&self) {
        let mut said = String::new();
        for (binding, datagram) in &self.sent {
            let _ = write!(said, "{binding}: {:?}; ", Message::parse(datagram));
        }
        assert!(said.is_empty(), "unexpected {said}");
    }

    #[track_caller]
    pub(super) fn requests(&mut self, expected: &UpstreamRequest) {
        assert_eq!(self.requests.pop_front().as_ref(), Some(expected));
    }

    #[track_caller]
    pub(super) fn requests_nothing(&self) {
        assert!(self.requests.is_empty(), "unexpected {:?}", self.requests);
    }

    /// The next request is a publication; returns its id.
    #[track_caller]
    pub(super) fn publishes(&mut self, topic: &str, payload: &str, qos: QoS) -> PublicationId {
        match self.requests.pop_front() {
            Some(UpstreamRequest::Publish { id, publication }) => {
                assert_eq!(&*publication.topic, topic);
                assert_eq!(publication.payload, payload);
                assert_eq!(publication.qos, qos);
                id
            }
            other => panic!("expected a publication, got {other:?}"),
        }
    }

    /// Returns the notices so far that `read` makes something of.
    pub(super) fn noticed<T>(&mut self, read: impl FnMut(Notice) -> Option<T>) -> Vec<T> {
        self.notices.drain(..).filter_map(read).collect()
    }

    pub(super) fn drops(&mut self) -> Vec<DropReason> {
        self.notices
            .drain(..)
            .filter_map(|notice| match notice {
                Notice::Dropped { reason, .. } => Some(reason),
                _ => None,
            })
            .collect()
    }

    pub(super) fn notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    /// The rule of a node is another one from now on, until it connects anew.
    pub(super) fn rule(&mut self, client_id: &str, change: impl FnOnce(&mut NodeRule)) {
        let mut rule = NodeRule::default();
        change(&mut rule);
        self.session_mut(client_id).rule = Arc::new(rule);
    }

    pub(super) fn session_mut(&mut self, client_id: &str) -> &mut state::Session {
        let key = self.engine.slots.by_client_id(client_id).unwrap();
        self.engine.slots.get_mut(key).unwrap()
    }

    /// A node goes to sleep, and is answered.
    #[track_caller]
    pub(super) fn asleep(&mut self, from: Binding, duration_s: u16) {
        self.says(from, &disconnect(Some(duration_s)));
        self.hears(from, &disconnect(None));
    }

    /// The gateway has sent PUBLISH at QoS 1, next; the node acknowledges it.
    #[track_caller]
    pub(super) fn accepts_publish(&mut self, from: Binding, payload: &str, dup: bool) -> MsgId {
        let msg_id = self.hears_publish(payload, dup);
        self.says(from, &puback(TopicId::NONE, msg_id, ACCEPTED));
        msg_id
    }

    /// A node connects and is accepted.
    #[track_caller]
    pub(super) fn connected(&mut self, from: Binding, client_id: &str, clean: bool) {
        self.says(from, &connect(client_id, clean, false));
        self.hears(from, &connack(ACCEPTED));
    }

    /// A node registers a topic; returns the id.
    #[track_caller]
    pub(super) fn registered(&mut self, from: Binding, name: &str) -> TopicId {
        let topic_name = name.as_bytes();
        let register = Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId(77),
            topic_name,
        };
        self.says(from, &Message::Register(register));
        self.hears_some(|message| match message {
            Message::RegAck(ack) if ack.return_code == ACCEPTED => Some(ack.topic_id),
            _ => None,
        })
    }

    /// A node subscribes and the broker grants it; returns the topic id of the answer.
    #[track_caller]
    pub(super) fn subscribed(&mut self, from: Binding, filter: &str, qos: QoS) -> TopicId {
        self.says(from, &subscribe(filter, qos, 88));
        let Some(UpstreamRequest::Subscribe { filter, qos }) = self.requests.pop_front() else {
            panic!("no subscription went upstream");
        };
        self.upstream(UpstreamEvent::Subscribed {
            filter,
            result: Ok(qos),
        });
        self.hears_some(|message| match message {
            Message::SubAck(SubAck {
                topic_id,
                return_code: ReturnCode::Accepted,
                ..
            }) => Some(topic_id),
            _ => None,
        })
    }

    /// A node subscribes to a topic that needs no name, and the broker grants it.
    #[track_caller]
    pub(super) fn subscribed_to(&mut self, from: Binding, topic: TopicRef, qos: QoS) {
        let topic = match topic {
            TopicRef::Predefined(id) => TopicFilter::Predefined(id),
            TopicRef::Short(name) => TopicFilter::Short(name),
            TopicRef::Normal(_) => panic!("a normal id cannot be subscribed to"),
        };
        let subscribe = Subscribe {
            dup: false,
            qos,
            msg_id: MsgId(89),
            topic,
        };
        self.says(from, &Message::Subscribe(subscribe));
        let Some(UpstreamRequest::Subscribe { filter, qos }) = self.requests.pop_front() else {
            panic!("no subscription went upstream");
        };
        self.upstream(UpstreamEvent::Subscribed {
            filter,
            result: Ok(qos),
        });
        self.hears_some(|message| matches!(message, Message::SubAck(_)).then_some(()));
    }

    /// The broker sends a publication.
    pub(super) fn delivery(&mut self, id: u64, topic: &str, payload: &str, qos: QoS) {
        let id = (qos != QoS::AtMostOnce).then_some(DeliveryId(id));
        let publication = publication(topic, payload, qos, false);
        self.upstream(UpstreamEvent::Delivery(Delivery::new(id, publication)));
    }

    /// The gateway has sent REGISTER, next; the node accepts it. Returns the topic id.
    #[track_caller]
    pub(super) fn accepts_register(&mut self, from: Binding, name: &str) -> TopicId {
        let (topic_id, msg_id) = self.hears_register(name);
        self.says(from, &regack(topic_id, msg_id, ACCEPTED));
        topic_id
    }

    #[track_caller]
    pub(super) fn hears_register(&mut self, name: &str) -> (TopicId, MsgId) {
        self.hears_some(|message| match message {
            Message::Register(register) if register.topic_name == name.as_bytes() => {
                Some((register.topic_id, register.msg_id))
            }
            _ => None,
        })
    }

    /// The gateway has sent PUBLISH, next; returns its message id.
    #[track_caller]
    pub(super) fn hears_publish(&mut self, payload: &str, dup: bool) -> MsgId {
        self.hears_some(|message| match message {
            Message::Publish(publish)
                if publish.payload == payload.as_bytes() && publish.dup == dup =>
            {
                Some(publish.msg_id)
            }
            _ => None,
        })
    }
}

pub(super) fn publication(topic: &str, payload: &str, qos: QoS, retain: bool) -> Publication {
    Publication {
        topic: Arc::from(topic),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain,
    }
}

pub(super) fn connect(client_id: &str, clean: bool, will: bool) -> Message<'_> {
    let client_id = client_id.as_bytes();
    Message::Connect(Connect {
        will,
        clean,
        protocol_id: 1,
        duration_s: 60,
        client_id,
    })
}

/// CONNECT of a node that may be silent for as long as the settings say.
pub(super) const fn endless(client_id: &str) -> Message<'_> {
    connect_for(client_id, true, 0)
}

/// CONNECT of a node that will be heard every `duration_s`.
pub(super) const fn connect_for(client_id: &str, clean: bool, duration_s: u16) -> Message<'_> {
    Message::Connect(Connect {
        will: false,
        clean,
        protocol_id: 1,
        duration_s,
        client_id: client_id.as_bytes(),
    })
}

pub(super) const fn connack(return_code: ReturnCode) -> Message<'static> {
    Message::ConnAck(ConnAck { return_code })
}

pub(super) const fn disconnect(duration_s: Option<u16>) -> Message<'static> {
    Message::Disconnect(Disconnect { duration_s })
}

pub(super) const fn ping(client_id: &str) -> Message<'_> {
    Message::PingReq(PingReq {
        client_id: client_id.as_bytes(),
    })
}

pub(super) fn publish(topic: TopicRef, payload: &str, qos: QoS, msg_id: u16) -> Message<'_> {
    Message::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        msg_id: MsgId(msg_id),
        payload: payload.as_bytes(),
    })
}

pub(super) fn subscribe(filter: &str, qos: QoS, msg_id: u16) -> Message<'_> {
    let topic = TopicFilter::Name(filter.as_bytes());
    Message::Subscribe(Subscribe {
        dup: false,
        qos,
        msg_id: MsgId(msg_id),
        topic,
    })
}

pub(super) const fn puback(
    topic_id: TopicId,
    msg_id: MsgId,
    return_code: ReturnCode,
) -> Message<'static> {
    Message::PubAck(Acknowledgement {
        topic_id,
        msg_id,
        return_code,
    })
}

pub(super) const fn regack(
    topic_id: TopicId,
    msg_id: MsgId,
    return_code: ReturnCode,
) -> Message<'static> {
    Message::RegAck(Acknowledgement {
        topic_id,
        msg_id,
        return_code,
    })
}
