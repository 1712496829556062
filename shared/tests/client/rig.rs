//! A node on the bench: what it sends and tells, one by one, at a time the test sets.

use shared::client::{Client, Config, GatewayAddr, Phase, Transmit};
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::{
    Acknowledgement, ConnAck, Disconnect, Message, MsgId, Publish, QoS, Register, ReturnCode,
    SubAck, TopicId, TopicRef,
};

pub(crate) type Node = Client<8, 4, 64>;

/// The node and the time.
pub(crate) struct Rig {
    pub(crate) node: Node,
    pub(crate) now: Instant,
}

/// The next datagram must match the pattern; evaluates to the value.
macro_rules! sends {
    ($rig:expr, $pattern:pat) => {
        sends!($rig, $pattern => ())
    };
    ($rig:expr, $pattern:pat => $value:expr) => {{
        let (_, datagram) = $rig.transmit().expect("the node sends nothing");
        match Message::parse(&datagram).expect("the node sends a message") {
            $pattern => $value,
            other => panic!("the node sends {other:?}"),
        }
    }};
}

/// The next event must match the pattern; evaluates to the value.
macro_rules! tells {
    ($rig:expr, $pattern:pat) => {
        tells!($rig, $pattern => ())
    };
    ($rig:expr, $pattern:pat => $value:expr) => {
        match $rig.node.poll_event().expect("the node tells nothing") {
            $pattern => $value,
            other => panic!("the node tells {other:?}"),
        }
    };
}

pub(crate) use {sends, tells};

pub(crate) const GATEWAY: &[u8] = &[1];
pub(crate) const OTHER: &[u8] = &[2];

pub(crate) fn addr(octets: &[u8]) -> GatewayAddr {
    GatewayAddr::new(octets).unwrap()
}

/// A configuration with one fixed gateway.
pub(crate) fn config() -> Config {
    Config::new("sensor-01")
        .unwrap()
        .with_gateway(addr(GATEWAY))
        .unwrap()
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(config, 1)
    }

    pub(crate) fn seeded(config: Config, seed: u64) -> Self {
        Self {
            node: Node::new(config, Rng::new(seed)).unwrap(),
            now: Instant::from_millis(1000),
        }
    }

    /// A node that is connected and has told so.
    pub(crate) fn connected(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.connects();
        rig
    }

    /// The node connects, with one CONNECT, and tells so.
    pub(crate) fn connects(&mut self) {
        self.node.connect(self.now).unwrap();
        sends!(self, Message::Connect(_));
        self.hears(connack(ReturnCode::Accepted));
        tells!(self, shared::client::Event::Connected { .. });
        self.is_still();
    }

    /// A node that is connected and asleep for `duration_s` seconds.
    pub(crate) fn asleep(config: Config, duration_s: u32) -> Self {
        let mut rig = Self::connected(config);
        rig.falls_asleep(duration_s);
        rig
    }

    /// The node falls asleep, with one DISCONNECT, and tells so.
    pub(crate) fn falls_asleep(&mut self, duration_s: u32) {
        self.node.sleep(duration_s).unwrap();
        sends!(
            self,
            Message::Disconnect(Disconnect {
                duration_s: Some(_)
            })
        );
        self.hears(disconnect());
        tells!(self, shared::client::Event::Asleep { confirmed: true });
        self.is_still();
    }

    pub(crate) fn transmit(&mut self) -> Option<(Transmit, Vec<u8>)> {
        let mut buf = [0; 256];
        let transmit = self.node.poll_transmit(self.now, &mut buf)?;
        Some((transmit, buf[..transmit.len].to_vec()))
    }

    /// The next datagram as hexadecimal digits.
    pub(crate) fn hex(&mut self) -> String {
        let (_, datagram) = self.transmit().expect("the node sends nothing");
        datagram
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect()
    }

    /// The gateway's message reaches the node.
    pub(crate) fn hears(&mut self, message: Message<'_>) {
        self.hears_from(GATEWAY, message);
    }

    pub(crate) fn hears_from(&mut self, from: &[u8], message: Message<'_>) {
        let mut buf = [0; 256];
        let len = message.emit(&mut buf).unwrap();
        self.node.handle_datagram(self.now, addr(from), &buf[..len]);
    }

    pub(crate) fn hears_hex(&mut self, hex: &str) {
        let datagram: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        self.node
            .handle_datagram(self.now, addr(GATEWAY), &datagram);
    }

    /// Goes to the next timeout and returns how long that took.
    pub(crate) fn timeout(&mut self) -> Duration {
        let at = self
            .node
            .poll_timeout()
            .expect("the node waits for nothing");
        assert!(
            at > self.now,
            "the node does not wait: {at} after {}",
            self.now
        );
        let waited = at.since(self.now);
        self.now = at;
        self.node.handle_timeout(at);
        waited
    }

    /// The node says nothing more, to no one.
    pub(crate) fn is_still(&mut self) {
        if let Some((_, datagram)) = self.transmit() {
            panic!("the node sends {:?}", Message::parse(&datagram));
        }
        if let Some(event) = self.node.poll_event() {
            panic!("the node tells {event:?}");
        }
    }

    pub(crate) fn is_in(&self, phase: Phase) {
        assert_eq!(self.node.phase(), phase);
    }
}

/// Asserts that a wait lies within the jitter around `span`.
pub(crate) fn is_about(waited: Duration, span: Duration) {
    assert!(
        waited >= span.percent(80) && waited <= span.percent(120),
        "waited {waited}, expected about {span}"
    );
}

pub(crate) const fn connack(return_code: ReturnCode) -> Message<'static> {
    Message::ConnAck(ConnAck { return_code })
}

pub(crate) const fn regack(
    topic_id: u16,
    msg_id: MsgId,
    return_code: ReturnCode,
) -> Message<'static> {
    Message::RegAck(ack(topic_id, msg_id, return_code))
}

pub(crate) const fn puback(
    topic_id: u16,
    msg_id: MsgId,
    return_code: ReturnCode,
) -> Message<'static> {
    Message::PubAck(ack(topic_id, msg_id, return_code))
}

pub(crate) const fn ack(topic_id: u16, msg_id: MsgId, return_code: ReturnCode) -> Acknowledgement {
    Acknowledgement {
        topic_id: TopicId(topic_id),
        msg_id,
        return_code,
    }
}

pub(crate) const fn suback(
    qos: QoS,
    topic_id: u16,
    msg_id: MsgId,
    return_code: ReturnCode,
) -> Message<'static> {
    Message::SubAck(SubAck {
        qos,
        topic_id: TopicId(topic_id),
        msg_id,
        return_code,
    })
}

pub(crate) const fn register(topic_id: u16, msg_id: u16, name: &str) -> Message<'_> {
    Message::Register(Register {
        topic_id: TopicId(topic_id),
        msg_id: MsgId(msg_id),
        topic_name: name.as_bytes(),
    })
}

pub(crate) const fn publish(qos: QoS, topic_id: u16, msg_id: u16, payload: &[u8]) -> Message<'_> {
    Message::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicRef::Normal(TopicId(topic_id)),
        msg_id: MsgId(msg_id),
        payload,
    })
}

pub(crate) const fn disconnect() -> Message<'static> {
    Message::Disconnect(Disconnect { duration_s: None })
}
