//! A UDP socket as a link.

mod reader;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn_udp::{Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::Link;
use super::drops::Drops;
use super::error::LinkError;
use super::pool::Pool;
use super::replies::Replies;
use super::stats::{DropReason, LinkStats};
use crate::config::UdpConfig;
use crate::session::Peer;
use reader::Reader;
use socket::{bind, granted_receive_buffer, prepare};

/// Binds the socket and starts its two tasks, the reader and the one that empties the queue.
pub(super) fn open(link: Link, config: &UdpConfig) -> Result<UdpSender, LinkError> {
    let socket = bind(&link.name, config)?;
    let fail = |source| LinkError::Socket {
        name: link.name.to_string(),
        address: config.listen,
        source,
    };
    let (socket, state) = prepare(socket, config.listen).map_err(fail)?;
    let local = socket.local_addr().map_err(fail)?;
    let port = Arc::new(Port {
        state,
        local,
        replies: local.ip().is_unspecified().then(Mutex::default),
        stats: link.stats.clone(),
        backlog: AtomicUsize::new(0),
        emptied: Notify::new(),
        socket,
    });
    let (queue, queued) = mpsc::channel(config.send_queue_max);
    let (name, drops) = (link.name.clone(), link.drops.clone());
    let writer = Writer {
        name: name.clone(),
        port: port.clone(),
        drops: drops.clone(),
        queued,
    };
    let sender = UdpSender {
        name,
        max_message: link.max_message,
        queue,
        pool: Pool::default(),
        drops,
        _reader: AbortOnDropHandle::new(tokio::spawn(Reader::new(link, port.clone()).run())),
        _writer: AbortOnDropHandle::new(tokio::spawn(writer.run())),
        port,
    };
    Ok(sender)
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
    _reader: AbortOnDropHandle<()>,
    _writer: AbortOnDropHandle<()>,
}

impl UdpSender {
    pub(super) fn send(&mut self, peer: Peer, datagram: &[u8]) {
        let Peer::Socket(to) = peer else {
            return self.dropped(DropReason::NoSuchPeer, &self.name, datagram);
        };
        if datagram.len() > self.max_message {
            return self.dropped(DropReason::SendOversize, &to, datagram);
        }
        // What is queued goes first: an answer must not overtake the one before it.
        if self.port.backlog.load(Ordering::Acquire) == 0 {
            match self.port.try_send(to, datagram) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.dropped(DropReason::SendFailed, &to, datagram),
            }
        }
        self.queue(to, datagram);
    }

    pub(super) async fn flush(&self) {
        self.port.flush().await;
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.port.local
    }

    pub(super) fn receive_buffer(&self) -> usize {
        granted_receive_buffer(&self.port.socket).unwrap_or(0)
    }

    fn queue(&mut self, to: SocketAddr, datagram: &[u8]) {
        let Ok(place) = self.queue.try_reserve() else {
            return self.dropped(DropReason::QueueFull, &to, datagram);
        };
        self.port.backlog.fetch_add(1, Ordering::AcqRel);
        place.send((to, self.pool.copy(datagram)));
    }

    fn dropped(&self, reason: DropReason, who: &dyn std::fmt::Display, datagram: &[u8]) {
        let who = format_args!("{}/{who}", self.name);
        self.drops.dropped(reason, who, datagram.len());
    }
}

/// The socket and what both its ends need.
#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Only where the socket listens on every address.
    replies: Option<Mutex<Replies>>,
    stats: Arc<LinkStats>,
    /// The datagrams queued or in the writer's hand.
    backlog: AtomicUsize,
    emptied: Notify,
}

impl Port {
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
        result?;
        let line_octets = datagram.len() + header_octets(to);
        self.stats.sent(datagram.len(), line_octets);
        Ok(())
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

    async fn flush(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.backlog.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
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

/// Returns the octets of the IP and UDP headers.
const fn header_octets(peer: SocketAddr) -> usize {
    let ip = match peer.ip() {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip + 8
}
