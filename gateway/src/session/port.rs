//! What goes in and out of the engine: bindings below, publications above.
//!
//! The engine names its partners by these types only. The links and the upstream are written
//! against them and know nothing else of the engine, nor of each other.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use shared::time::{Duration, Instant};
use shared::wire::{NodeId, QoS};

/// The position of a link in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// Who is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// The sender's address on a UDP socket.
    Socket(SocketAddr),
    /// Whoever is on the line: a serial link has no addresses.
    Line,
}

/// Where a node is heard now: a link, a peer on it, and the node's name at its forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The link.
    pub link: LinkId,
    /// The peer on the link: the node itself or its forwarder.
    pub peer: Peer,
    /// The node's name where a forwarder or a shared radio carries it [MQTT-SN 1.2 §5.5].
    pub node_id: Option<NodeId>,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Peer::Socket(address) => write!(f, "link{}/{address}", self.link.0)?,
            Peer::Line => write!(f, "link{}", self.link.0)?,
        }
        self.node_id
            .map_or(Ok(()), |node_id| write!(f, "/{node_id}"))
    }
}

/// A message of the MQTT side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The full topic name.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The quality of service, 0 to 2.
    pub qos: QoS,
    /// Up: whether the broker shall retain it. Down: whether it was a retained one.
    pub retain: bool,
}

/// The engine's name for an uplink publication until the upstream has answered for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationId(pub u64);

/// The upstream's name for a downlink publication until the engine has answered for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// Why the upstream did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The broker is over a quota or a limit; it may take the request later.
    Busy,
    /// The broker refused for good, with this MQTT 5 reason code.
    Denied(u8),
}

/// What the engine asks of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamRequest {
    /// Publish; answered by [`UpstreamEvent::Published`] at QoS 1 and 2, never at QoS 0.
    Publish {
        /// The engine's name for it, unique while the process runs and increasing.
        id: PublicationId,
        /// What to publish.
        publication: Publication,
    },
    /// Subscribe, or subscribe again to be sent the retained messages again; always answered
    /// by [`UpstreamEvent::Subscribed`]. The upstream keeps the subscription across
    /// reconnections until it is told to unsubscribe.
    Subscribe {
        /// The topic filter.
        filter: Arc<str>,
        /// The highest quality of service any node asked for.
        qos: QoS,
    },
    /// Unsubscribe; not answered.
    Unsubscribe {
        /// The topic filter.
        filter: Arc<str>,
    },
    /// A downlink publication has been delivered or given up for good: acknowledge it to the
    /// broker. Late answers for an earlier connection are ignored by the upstream.
    Acknowledge(DeliveryId),
}

/// What the upstream tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamEvent {
    /// The broker answers.
    Connected,
    /// The broker is gone; the upstream reconnects by itself and keeps what it was given.
    Disconnected,
    /// The broker has taken a publication for good: PUBACK at QoS 1, PUBCOMP at QoS 2.
    Published {
        /// The engine's name for it.
        id: PublicationId,
        /// Whether it was taken.
        result: Result<(), Refusal>,
    },
    /// The answer to a subscription.
    Subscribed {
        /// The topic filter.
        filter: Arc<str>,
        /// The granted quality of service.
        result: Result<QoS, Refusal>,
    },
    /// A publication for us.
    Delivery(Delivery),
}

/// A publication that the broker has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The upstream's name for it; `None` at QoS 0, which needs no answer.
    pub id: Option<DeliveryId>,
    /// What was published.
    pub publication: Publication,
    /// How long it is worth delivering, as its publisher said (MQTT 5 §3.3.2.3.3); `None` where
    /// for ever.
    pub expiry: Option<Duration>,
    /// The filters of the subscriptions that this copy was sent for, where the broker sends one
    /// for each of overlapping ones; empty where it is the only copy.
    pub filters: Vec<Arc<str>>,
}

impl Delivery {
    /// Creates a delivery that never expires, and the only copy.
    #[must_use]
    pub const fn new(id: Option<DeliveryId>, publication: Publication) -> Self {
        Self {
            id,
            publication,
            expiry: None,
            filters: Vec::new(),
        }
    }
}

/// What a link tells the engine beside datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link can carry datagrams, again.
    Up,
    /// The link can carry nothing: its device has gone, or its network. Nodes cannot be heard
    /// and are not lost by that.
    Down,
    /// What the link has still to send keeps it busy until then; answers to what is sent now
    /// are awaited from there on.
    BusyUntil(Instant),
}
