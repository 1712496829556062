//! A UDP socket as a link.

mod groups;
mod port;
mod reach;
mod reader;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Link;
use super::drops::Drops;
use super::error::LinkError;
use super::pool::Pool;
use super::stats::DropReason;
use crate::config::UdpConfig;
use crate::session::Peer;
use groups::{GroupReader, Groups};
pub(super) use port::Port;
use reader::Reader;
use socket::{bind, granted_receive_buffer, prepare};

/// Binds the socket, joins the groups, and starts the tasks: the readers and the one that
/// empties the queue.
pub(super) fn open(link: Link, config: &UdpConfig) -> Result<UdpSender, LinkError> {
    let socket = bind(&link.name, config)?;
    let fail = |source| LinkError::Socket {
        name: link.name.to_string(),
        address: config.listen,
        source,
    };
    let (socket, state) = prepare(socket, config).map_err(fail)?;
    let port = Arc::new(Port::new(socket, state, link.stats.clone()).map_err(fail)?);
    let (groups, mut tasks) = join_groups(&link, config, &port)?;
    let (queue, queued) = mpsc::channel(config.send_queue_max);
    let (name, drops) = (link.name.clone(), link.drops.clone());
    let writer = Writer {
        name: name.clone(),
        port: port.clone(),
        drops: drops.clone(),
        queued,
    };
    let (max_message, reader) = (link.max_message, Reader::new(link, port.clone()));
    tasks.push(AbortOnDropHandle::new(tokio::spawn(reader.run())));
    tasks.push(AbortOnDropHandle::new(tokio::spawn(writer.run())));
    Ok(UdpSender {
        name,
        max_message,
        queue,
        pool: Pool::default(),
        drops,
        groups,
        _tasks: tasks,
        port,
    })
}

type Tasks = Vec<AbortOnDropHandle<()>>;

fn join_groups(
    link: &Link,
    config: &UdpConfig,
    port: &Arc<Port>,
) -> Result<(Option<Groups>, Tasks), LinkError> {
    let Some(multicast) = &config.multicast else {
        return Ok((None, Tasks::new()));
    };
    if let Some(trouble) = multicast.trouble(config.listen, config.dual_stack) {
        let name = link.name.to_string();
        return Err(LinkError::Groups { name, trouble });
    }
    let (groups, sockets) = Groups::join(&link.name, multicast, port)?;
    let tasks = sockets.into_iter().map(|(group, socket)| {
        let reader = GroupReader {
            link: link.clone(),
            port: port.clone(),
            group,
            socket,
        };
        AbortOnDropHandle::new(tokio::spawn(reader.run()))
    });
    Ok((Some(groups), tasks.collect()))
}

/// The driver's end of a UDP link.
#[derive(Debug)]
pub(super) struct UdpSender {
    name: Arc<str>,
    max_message: usize,
    port: Arc<Port>,
    queue: mpsc::Sender<(SocketAddr, Bytes)>,
    pool: Pool,
    drops: Arc<Drops>,
    groups: Option<Groups>,
    _tasks: Tasks,
}

impl UdpSender {
    pub(super) fn send(&mut self, peer: Peer, datagram: &[u8]) {
        let to = match self.check(peer, datagram.len()) {
            Ok(to) => to,
            Err(reason) => return self.not_sent(reason, peer, datagram),
        };
        // What is queued goes first: an answer must not overtake the one before it.
        if self.port.backlog.load(Ordering::Acquire) == 0 {
            match self.port.try_send(to, datagram) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.not_sent(DropReason::SendFailed, peer, datagram),
            }
        }
        self.queue(to, datagram);
    }

    /// Sends to the groups, where the link has some. It does not queue: who asked will ask
    /// again, and ADVERTISE comes again by itself.
    pub(super) fn broadcast(&self, radius: u8, datagram: &[u8]) {
        let Some(groups) = &self.groups else { return };
        if let Err(reason) = self.check_len(datagram.len()) {
            return self.not_sent(reason, Peer::Line, datagram);
        }
        match groups.send(&self.port, radius, datagram) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.not_sent(DropReason::QueueFull, Peer::Line, datagram);
            }
            Err(_) => self.not_sent(DropReason::SendFailed, Peer::Line, datagram),
        }
    }

    /// Returns where a datagram of that length goes that is for a peer.
    pub(super) fn check(&self, peer: Peer, octets: usize) -> Result<SocketAddr, DropReason> {
        let Peer::Socket(to) = peer else {
            return Err(DropReason::NoSuchPeer);
        };
        self.check_len(octets).map(|()| to)
    }

    pub(super) const fn check_len(&self, octets: usize) -> Result<(), DropReason> {
        if octets > self.max_message {
            return Err(DropReason::SendOversize);
        }
        Ok(())
    }

    pub(super) fn port(&self) -> Arc<Port> {
        self.port.clone()
    }

    pub(super) fn is_up(&self) -> bool {
        self.port.is_up.load(Ordering::Relaxed)
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.port.local
    }

    pub(super) fn receive_buffer(&self) -> usize {
        granted_receive_buffer(&self.port.socket).unwrap_or(0)
    }

    fn queue(&mut self, to: SocketAddr, datagram: &[u8]) {
        let Ok(place) = self.queue.try_reserve() else {
            return self.not_sent(DropReason::QueueFull, Peer::Socket(to), datagram);
        };
        self.port.backlog.fetch_add(1, Ordering::AcqRel);
        place.send((to, self.pool.copy(datagram)));
    }

    fn not_sent(&self, reason: DropReason, peer: Peer, datagram: &[u8]) {
        let (name, octets) = (&self.name, datagram.len());
        match peer {
            Peer::Socket(to) => self
                .drops
                .dropped(reason, format_args!("{name}/{to}"), octets),
            Peer::Line => self.drops.dropped(reason, name, octets),
        }
    }
}

/// The task that sends what the driver could not send at once, in order.
struct Writer {
    name: Arc<str>,
    port: Arc<Port>,
    drops: Arc<Drops>,
    queued: mpsc::Receiver<(SocketAddr, Bytes)>,
}

impl Writer {
    async fn run(mut self) {
        while let Some((to, datagram)) = self.queued.recv().await {
            if self.send(to, &datagram).await.is_err() {
                let who = format_args!("{}/{to}", self.name);
                self.drops
                    .dropped(DropReason::SendFailed, who, datagram.len());
            }
            if self.port.backlog.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.port.emptied.notify_waiters();
            }
        }
    }

    async fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.port.try_send(to, datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.port.socket.writable().await?;
                }
                result => return result,
            }
        }
    }
}
