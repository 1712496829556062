//! The links: datagrams in and out, with the binding they came from.
//!
//! [`open`] turns one configured link on. Its tasks read datagrams and hand them over in
//! batches, and say when the link comes and goes; [`LinkHandle::send`] takes datagrams and
//! never waits. A link looks into messages only where it must: encapsulated ones are the
//! engine's (D-35), but a group is open to discovery alone (D-09), and what waits for a slow
//! link is not repeated. Whatever it drops, it counts by reason and writes at a bounded rate.

mod clock;
mod drops;
mod error;
mod interface;
mod kernel;
mod outlet;
mod paced;
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
use crate::session::{Binding, LinkEvent, LinkId, Peer, Priority};
use drops::Drops;
use outlet::{Outlet, Sender};
use paced::{Gate, Paced};
use pacing::Target;
use stats::LinkStats;

/// Datagrams that a link has read at once, each with the binding it came from; the node id
/// in the binding is always missing.
///
/// The datagrams are slices of larger buffers: who keeps one for long keeps its buffer, and
/// does better to copy it.
pub type Batch = Vec<(Binding, Bytes)>;

/// What a link gives to the driver, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Datagrams.
    Batch(Batch),
    /// The link has come or gone. A serial link tells at its start what it is; a UDP link
    /// is there until it tells otherwise.
    Event(LinkId, LinkEvent),
}

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
    inbound: mpsc::Sender<Inbound>,
) -> Result<LinkHandle, LinkError> {
    let stats = Arc::new(LinkStats::default());
    let name: Arc<str> = config.name.as_str().into();
    let drops = Arc::new(Drops::new(stats.clone()));
    let gate = gate(config, &name, &drops)?;
    let link = Link {
        id,
        name: name.clone(),
        max_message: config.max_message,
        drops,
        stats: stats.clone(),
        gate: gate.clone(),
        inbound,
    };
    let sender = match &config.kind {
        LinkKind::Udp(udp) => Sender::Udp(udp::open(link, udp)?),
        LinkKind::Serial(serial) => Sender::Serial(serial::open(link, serial)),
    };
    let outlet = match gate {
        Some(gate) => Outlet::Paced(Paced::start(gate, sender)),
        None => Outlet::Direct(sender),
    };
    Ok(LinkHandle {
        id,
        name,
        max_message: config.max_message,
        stats,
        outlet,
    })
}

fn gate(
    config: &LinkConfig,
    name: &Arc<str>,
    drops: &Arc<Drops>,
) -> Result<Option<Arc<Gate>>, LinkError> {
    let Some(pacing) = config.pacing else {
        return Ok(None);
    };
    if let Some(trouble) = pacing.trouble(config.max_message) {
        let name = name.to_string();
        return Err(LinkError::Pacing { name, trouble });
    }
    let gate = Gate::new(name.clone(), pacing, config.max_message, drops.clone());
    Ok(Some(Arc::new(gate)))
}

/// The driver's end of a link; the link ends when it is dropped.
#[derive(Debug)]
pub struct LinkHandle {
    id: LinkId,
    name: Arc<str>,
    max_message: usize,
    stats: Arc<LinkStats>,
    outlet: Outlet,
}

impl LinkHandle {
    /// Sends a datagram, or queues it while the socket or line is full or the link is paced.
    /// It never waits: what finds no place is dropped, counted and logged. The priority says
    /// who goes first where a paced link has a choice.
    pub fn send(&mut self, to: Binding, priority: Priority, datagram: &[u8]) {
        match &mut self.outlet {
            Outlet::Direct(sender) => sender.send(to.peer, datagram),
            Outlet::Paced(paced) => paced.send(Target::Node(to), priority, datagram),
        }
    }

    /// Sends a datagram to everyone on the link. A line is shared by all who listen; a socket
    /// sends to its groups, and without one has nobody to send it to (D-09).
    pub fn broadcast(&mut self, radius: u8, datagram: &[u8]) {
        match &mut self.outlet {
            Outlet::Direct(sender) => sender.broadcast(radius, datagram),
            Outlet::Paced(paced) => {
                paced.send(Target::Everyone(radius), Priority::Normal, datagram);
            }
        }
    }

    /// Returns until when a paced link is busy with what it was given so far, as well as can
    /// be told now; `None` where it is free or not paced.
    #[must_use]
    pub fn busy_until(&self) -> Option<tokio::time::Instant> {
        match &self.outlet {
            Outlet::Direct(_) => None,
            Outlet::Paced(paced) => paced.busy_until(),
        }
    }

    /// Returns whether the link is sent to no faster than its configuration allows.
    #[must_use]
    pub const fn is_paced(&self) -> bool {
        matches!(self.outlet, Outlet::Paced(_))
    }

    /// Waits until nothing is queued any more, for an orderly end. It may take for ever on a
    /// line that does not move; the caller sets the limit.
    ///
    /// # Cancellation Safety
    ///
    /// Nothing is lost where it is cancelled.
    pub async fn flush(&self) {
        if let Outlet::Paced(paced) = &self.outlet {
            paced.flush().await;
        }
        let flusher = self.with_sender(Sender::flusher);
        flusher.flush().await;
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
        self.with_sender(|sender| match sender {
            Sender::Udp(udp) => Some(udp.local_address()),
            Sender::Serial(_) => None,
        })
    }

    /// Returns what the kernel has granted for datagrams not yet read, in octets: perhaps
    /// less than configured, which a warning has said then. A line has no such buffer.
    #[must_use]
    pub fn receive_buffer_bytes(&self) -> Option<usize> {
        self.with_sender(|sender| match sender {
            Sender::Udp(udp) => Some(udp.receive_buffer()),
            Sender::Serial(_) => None,
        })
    }

    /// Returns whether the link can carry datagrams now: a socket while its network is there,
    /// a line while its device is open.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.with_sender(|sender| match sender {
            Sender::Udp(udp) => udp.is_up(),
            Sender::Serial(serial) => serial.is_up(),
        })
    }

    fn with_sender<T>(&self, look: impl FnOnce(&Sender) -> T) -> T {
        match &self.outlet {
            Outlet::Direct(sender) => look(sender),
            Outlet::Paced(paced) => look(&paced.sender()),
        }
    }
}

/// What every kind of link has.
#[derive(Clone, Debug)]
struct Link {
    id: LinkId,
    name: Arc<str>,
    max_message: usize,
    stats: Arc<LinkStats>,
    drops: Arc<Drops>,
    /// Only where the link is paced.
    gate: Option<Arc<Gate>>,
    inbound: mpsc::Sender<Inbound>,
}

impl Link {
    const fn binding(&self, peer: Peer) -> Binding {
        Binding {
            link: self.id,
            peer,
            node_id: None,
        }
    }

    /// Notes that a node has sent something: a paced link leaves it the air.
    fn heard(&self) {
        if let Some(gate) = &self.gate {
            gate.heard();
        }
    }
}
