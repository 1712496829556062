//! A UDP socket as a link.

mod groups;
mod reach;
mod reader;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn_udp::{Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::Link;
use super::clock::Clock;
use super::drops::Drops;
use super::error::LinkError;
use super::pool::Pool;
use super::replies::Replies;
use super::stats::{DropReason, LinkStats};
use crate::config::UdpConfig;
use crate::session::{LinkEvent, Peer};
use groups::{GroupReader, Groups};
use reach::{Host, Reach};
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
    let local = socket.local_addr().map_err(fail)?;
    let port = Arc::new(Port {
        state,
        local,
        replies: local.ip().is_unspecified().then(Mutex::default),
        stats: link.stats.clone(),
        backlog: AtomicUsize::new(0),
        emptied: Notify::new(),
        in_doubt: AtomicBool::new(false),
        is_up: AtomicBool::new(true),
        reach: Mutex::default(),
        clock: Clock::start(),
        socket,
    });
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

/// The socket and what both its ends need.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Only where the socket listens on every address.
    replies: Option<Mutex<Replies>>,
    stats: Arc<LinkStats>,
    /// The datagrams queued or in the writer's hand.
    backlog: AtomicUsize,
    emptied: Notify,
    /// Whether there is anything in `reach` that a datagram would change.
    in_doubt: AtomicBool,
    is_up: AtomicBool,
    reach: Mutex<Reach>,
    clock: Clock,
}

impl Port {
    /// Returns the form in which the socket itself knows an address: a socket for both
    /// protocols speaks IPv6 of all.
    fn family(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => address,
        }
    }

    fn try_send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let source = self.replies().and_then(|replies| replies.source(&to));
        let mut result = self.try_send_from(source, to, datagram);
        if source.is_some()
            && result
                .as_ref()
                .is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
        {
            // The address is not ours any more, or was a subnet's broadcast address.
            if let Some(mut replies) = self.replies() {
                replies.forget(&to);
            }
            result = self.try_send_from(None, to, datagram);
        }
        self.note(to, &result);
        result?;
        let line_octets = datagram.len() + header_octets(to);
        self.stats.sent(datagram.len(), line_octets);
        Ok(())
    }

    /// Notes what a send tells of the network; nothing where all is well.
    fn note(&self, to: SocketAddr, result: &io::Result<()>) {
        match result {
            Ok(()) if self.in_doubt() => self.with_reach(Reach::sent),
            Err(error) if Reach::is_the_networks(error) => {
                let now = self.clock.now();
                self.with_reach(|reach| reach.failed(now, to));
            }
            _ => {}
        }
    }

    /// Notes that something was heard; returns what the driver must be told before that.
    fn heard(&self) -> Option<LinkEvent> {
        self.in_doubt()
            .then(|| self.told(self.with_reach(Reach::heard)))?
    }

    /// Looks whether the network is there; returns what the driver must be told.
    fn look(&self) -> Option<LinkEvent> {
        let now = self.clock.now();
        self.told(self.with_reach(|reach| reach.look(now, self)))
    }

    fn told(&self, event: Option<LinkEvent>) -> Option<LinkEvent> {
        if let Some(event) = event {
            let is_up = event == LinkEvent::Up;
            self.is_up.store(is_up, Ordering::Relaxed);
        }
        event
    }

    fn in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    fn with_reach<T>(&self, change: impl FnOnce(&mut Reach) -> T) -> T {
        // What another thread left in the middle of a change is put right by the next look.
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut reach);
        self.in_doubt.store(reach.is_in_doubt(), Ordering::Relaxed);
        result
    }

    fn try_send_from(
        &self,
        source: Option<IpAddr>,
        to: SocketAddr,
        datagram: &[u8],
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: source,
        };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        self.socket.try_io(Interest::WRITABLE, send)
    }

    fn replies(&self) -> Option<MutexGuard<'_, Replies>> {
        // A table that another thread left in the middle of a change is still a table.
        let locked = self.replies.as_ref()?.lock();
        Some(locked.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn flush(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.backlog.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Host for Port {
    fn has_own_address(&self) -> bool {
        if self.local.ip().is_unspecified() {
            return true;
        }
        // Any other trouble than a missing address says nothing about it.
        let bound = std::net::UdpSocket::bind(any_port(self.local));
        !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    }

    fn has_route(&self, to: SocketAddr) -> bool {
        // Connecting a UDP socket sends nothing: it only looks for a route.
        let socket = std::net::UdpSocket::bind(any_port(self.local));
        socket.is_ok_and(|socket| socket.connect(to).is_ok())
    }
}

const fn any_port(mut address: SocketAddr) -> SocketAddr {
    address.set_port(0);
    address
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

/// Returns the octets of the IP and UDP headers.
const fn header_octets(peer: SocketAddr) -> usize {
    let ip = match peer.ip() {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip + 8
}
