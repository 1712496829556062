//! The links: datagrams in and out, with the binding they came from.
//!
//! [`open`] turns one configured link on. Its tasks read datagrams and hand them over in
//! batches; [`LinkHandle::send`] takes datagrams and never waits. A link does not look into
//! messages: encapsulated ones are the engine's (D-35). Whatever it drops, it counts by
//! reason and writes at a bounded rate.

mod clock;
mod drops;
mod error;
mod kernel;
mod pacing;
mod pool;
mod replies;
mod serial;
mod stats;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

pub use error::LinkError;
pub use stats::{DropReason, LinkCounters};

use crate::config::{LinkConfig, LinkKind};
use crate::session::{Binding, LinkId, Peer};
use drops::Drops;
use serial::SerialSender;
use stats::LinkStats;
use udp::UdpSender;

/// Datagrams that a link has read at once, each with the binding it came from; the node id
/// in the binding is always missing.
///
/// The datagrams are slices of larger buffers: who keeps one for long keeps its buffer, and
/// does better to copy it.
pub type Batch = Vec<(Binding, Bytes)>;

/// Turns a link on; must be called within a tokio runtime.
///
/// Datagrams go to `inbound`. While its reader is slow the link waits, and the kernel's
/// buffer takes what arrives. The link runs until its handle or the reader is dropped.
///
/// A serial device that is not there does not fail: it is waited for.
///
/// # Errors
///
/// [`LinkError`] where the socket cannot be had; its text says what to do.
pub fn open(
    id: LinkId,
    config: &LinkConfig,
    inbound: mpsc::Sender<Batch>,
) -> Result<LinkHandle, LinkError> {
    let stats = Arc::new(LinkStats::default());
    let name: Arc<str> = config.name.as_str().into();
    let link = Link {
        id,
        name: name.clone(),
        max_message: config.max_message,
        drops: Arc::new(Drops::new(stats.clone())),
        stats: stats.clone(),
        inbound,
    };
    let sender = match &config.kind {
        LinkKind::Udp(udp) => Sender::Udp(udp::open(link, udp)?),
        LinkKind::Serial(serial) => Sender::Serial(serial::open(link, serial)),
    };
    Ok(LinkHandle {
        id,
        name,
        max_message: config.max_message,
        stats,
        sender,
    })
}

/// The driver's end of a link; the link ends when it is dropped.
#[derive(Debug)]
pub struct LinkHandle {
    id: LinkId,
    name: Arc<str>,
    max_message: usize,
    stats: Arc<LinkStats>,
    sender: Sender,
}

impl LinkHandle {
    /// Sends a datagram, or queues it while the socket or line is full. It never waits: what
    /// finds no place is dropped, counted and logged.
    pub fn send(&mut self, peer: Peer, datagram: &[u8]) {
        match &mut self.sender {
            Sender::Udp(udp) => udp.send(peer, datagram),
            Sender::Serial(serial) => serial.send(peer, datagram),
        }
    }

    /// Sends a datagram to everyone on the link. A line is shared by all who listen; a socket
    /// without a group has nobody to send it to.
    pub fn broadcast(&mut self, _radius: u8, datagram: &[u8]) {
        match &mut self.sender {
            Sender::Udp(_) => {}
            Sender::Serial(serial) => serial.send(Peer::Line, datagram),
        }
    }

    /// Waits until nothing is queued any more, for an orderly end. It may take for ever on a
    /// line that does not move; the caller sets the limit.
    ///
    /// # Cancellation Safety
    ///
    /// Nothing is lost where it is cancelled.
    pub async fn flush(&self) {
        match &self.sender {
            Sender::Udp(udp) => udp.flush().await,
            Sender::Serial(serial) => serial.flush().await,
        }
    }

    /// Returns the link's place in the configuration.
    #[must_use]
    pub const fn id(&self) -> LinkId {
        self.id
    }

    /// Returns the link's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the largest datagram that the link takes and gives, in octets (D-02).
    #[must_use]
    pub const fn mtu(&self) -> usize {
        self.max_message
    }

    /// Returns what the link has counted so far.
    #[must_use]
    pub fn counters(&self) -> LinkCounters {
        self.stats.snapshot()
    }

    /// Returns where the socket listens; a line has no address.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.sender {
            Sender::Udp(udp) => Some(udp.local_address()),
            Sender::Serial(_) => None,
        }
    }

    /// Returns what the kernel has granted for datagrams not yet read, in octets: perhaps
    /// less than configured, which a warning has said then. A line has no such buffer.
    #[must_use]
    pub fn receive_buffer_bytes(&self) -> Option<usize> {
        match &self.sender {
            Sender::Udp(udp) => Some(udp.receive_buffer()),
            Sender::Serial(_) => None,
        }
    }

    /// Returns whether the link can carry datagrams now: a socket always, a line while its
    /// device is open.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match &self.sender {
            Sender::Udp(_) => true,
            Sender::Serial(serial) => serial.is_up(),
        }
    }
}

#[derive(Debug)]
enum Sender {
    Udp(UdpSender),
    Serial(SerialSender),
}

/// What every kind of link has.
#[derive(Debug)]
struct Link {
    id: LinkId,
    name: Arc<str>,
    max_message: usize,
    stats: Arc<LinkStats>,
    drops: Arc<Drops>,
    inbound: mpsc::Sender<Batch>,
}

impl Link {
    const fn binding(&self, peer: Peer) -> Binding {
        Binding {
            link: self.id,
            peer,
            node_id: None,
        }
    }
}
