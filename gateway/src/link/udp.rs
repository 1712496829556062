//! A UDP socket as a link.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use super::clock::Clock;
use super::error::LinkError;
use super::kernel::KernelDrops;
use super::pool::Pool;
use super::replies::Replies;
use super::stats::{DropReason, LinkStats};
use super::{Batch, Link};
use crate::config::UdpConfig;
use crate::drop_log::DropLog;
use crate::session::Peer;

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
    let sender = UdpSender {
        name: link.name.clone(),
        max_message: link.max_message,
        queue,
        pool: Pool::default(),
        clock: Clock::start(),
        drops: DropLog::default(),
        _reader: AbortOnDropHandle::new(tokio::spawn(Reader::new(link, port.clone()).run())),
        _writer: AbortOnDropHandle::new(tokio::spawn(write_queued(port.clone(), queued))),
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
    clock: Clock,
    drops: DropLog,
    _reader: AbortOnDropHandle<()>,
    _writer: AbortOnDropHandle<()>,
}

impl UdpSender {
    pub(super) fn send(&mut self, peer: Peer, datagram: &[u8]) {
        let Peer::Socket(to) = peer else {
            return self.dropped(DropReason::NoSuchPeer, &self.name.clone(), datagram);
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

    fn dropped(&mut self, reason: DropReason, who: &dyn std::fmt::Display, datagram: &[u8]) {
        self.port.stats.dropped(reason, 1);
        let now = self.clock.now();
        let who = format_args!("{}/{who}", self.name);
        self.drops.warn(now, reason.name(), who, datagram.len());
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
        Some(locked.unwrap_or_else(std::sync::PoisonError::into_inner))
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

/// Sends what the driver could not send at once, in order.
async fn write_queued(port: Arc<Port>, mut queued: mpsc::Receiver<(SocketAddr, Bytes)>) {
    while let Some((to, datagram)) = queued.recv().await {
        loop {
            match port.try_send(to, &datagram) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if port.socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(_) => {
                    port.stats.dropped(DropReason::SendFailed, 1);
                    break;
                }
            }
        }
        if port.backlog.fetch_sub(1, Ordering::AcqRel) == 1 {
            port.emptied.notify_waiters();
        }
    }
}

/// The task that reads the socket.
struct Reader {
    link: Link,
    port: Arc<Port>,
    /// One slot of one octet more than a datagram may have for each of a batch: what fills
    /// its slot was too large.
    slots: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    pool: Pool,
    kernel: Option<KernelDrops>,
    clock: Clock,
    drops: DropLog,
}

impl Reader {
    fn new(link: Link, port: Arc<Port>) -> Self {
        let kernel = KernelDrops::of(&port.socket, port.local.is_ipv6());
        if let Err(error) = &kernel {
            tracing::warn!(link = %link.name, %error, "datagrams that the kernel drops are not counted");
        }
        Self {
            slots: vec![0; BATCH_SIZE * (link.max_message + 1)],
            metas: [RecvMeta::default(); BATCH_SIZE],
            pool: Pool::default(),
            kernel: kernel.ok(),
            clock: Clock::start(),
            drops: DropLog::default(),
            link,
            port,
        }
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(KERNEL_DROPS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let inbound = self.link.inbound.clone();
        loop {
            let received = tokio::select! {
                received = receive(&self.port, &mut self.slots, &mut self.metas, self.link.max_message + 1) => received,
                _ = tick.tick() => {
                    self.count_kernel_drops();
                    continue;
                }
                () = inbound.closed() => return,
            };
            match received {
                Ok(count) => {
                    let batch = self.batch(count);
                    if !batch.is_empty() && inbound.send(batch).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(link = %self.link.name, %error, "cannot read the socket");
                    tokio::time::sleep(READ_ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Turns what one call has read into a batch.
    fn batch(&mut self, count: usize) -> Batch {
        let mut batch = Batch::with_capacity(count);
        let slot_len = self.link.max_message + 1;
        for index in 0..count {
            let meta = self.metas[index];
            if let (Some(mut replies), Some(own)) = (self.port.replies(), meta.dst_ip) {
                replies.learn(meta.addr, own);
            }
            if meta.len == 0 {
                self.dropped(DropReason::Empty, meta.addr, 0);
                continue;
            }
            // [MQTT-SN 1.2 §5.2.1] D-02
            if meta.len > self.link.max_message {
                self.dropped(DropReason::Oversize, meta.addr, meta.len);
                continue;
            }
            let slot = index * slot_len;
            let datagram = self.pool.copy(&self.slots[slot..slot + meta.len]);
            let line_octets = meta.len + header_octets(meta.addr);
            self.link.stats.received(meta.len, line_octets);
            let binding = self.link.binding(Peer::Socket(meta.addr));
            batch.push((binding, datagram));
        }
        batch
    }

    fn dropped(&mut self, reason: DropReason, who: SocketAddr, octets: usize) {
        self.link.stats.dropped(reason, 1);
        let who = format_args!("{}/{who}", self.link.name);
        self.drops
            .warn(self.clock.now(), reason.name(), who, octets);
    }

    fn count_kernel_drops(&mut self) {
        let now = self.clock.now();
        if let Some(count) = self.kernel.as_mut().and_then(|kernel| kernel.poll().ok()) {
            let reason = DropReason::KernelBuffer;
            self.link.stats.dropped(reason, count);
            let who = &self.link.name;
            self.drops.warn_many(now, reason.name(), who, 0, count);
        }
        self.drops.flush(now);
    }
}

/// Reads up to a batch of datagrams with one system call.
async fn receive(
    port: &Port,
    slots: &mut [u8],
    metas: &mut [RecvMeta; BATCH_SIZE],
    slot_len: usize,
) -> io::Result<usize> {
    let read = || {
        let mut slots = slots.chunks_exact_mut(slot_len);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        port.state.recv((&port.socket).into(), &mut buffers, metas)
    };
    port.socket.async_io(Interest::READABLE, read).await
}

fn bind(name: &str, config: &UdpConfig) -> Result<Socket, LinkError> {
    let address = config.listen;
    let fail = |source| LinkError::Socket {
        name: name.to_owned(),
        address,
        source,
    };
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(fail)?;
    if address.is_ipv6() {
        socket.set_only_v6(!config.dual_stack).map_err(fail)?;
    }
    grow_receive_buffer(name, &socket, config.receive_buffer_bytes).map_err(fail)?;
    socket
        .bind(&address.into())
        .map_err(|source| LinkError::Bind {
            name: name.to_owned(),
            address,
            source,
        })?;
    Ok(socket)
}

/// Asks for the receive buffer, past the system's bound where the process may.
fn grow_receive_buffer(name: &str, socket: &Socket, bytes: usize) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    let granted = granted_receive_buffer(socket)?;
    if granted < bytes {
        tracing::warn!(
            link = name,
            asked = bytes,
            granted,
            "the kernel gives a smaller receive buffer than configured; bursts may be lost: \
             run `sysctl -w net.core.rmem_max={bytes}` (and put it into /etc/sysctl.d), or lower \
             receive_buffer_bytes"
        );
    }
    Ok(())
}

/// Linux doubles what it is asked for and reports the double (socket(7)).
fn granted_receive_buffer<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<usize> {
    Ok(socket.into().recv_buffer_size()? / 2)
}

/// Makes the socket asynchronous, and ready for batches.
fn prepare(socket: Socket, address: SocketAddr) -> io::Result<(UdpSocket, UdpSocketState)> {
    // The state sets options for QUIC on the socket that it is made from: datagrams are never
    // fragmented, and equal ones are merged. Here the first loses every datagram over a
    // narrow path, and the second needs slots of 64 datagrams each. So it is made from a
    // socket that nothing else is done with, and ours gets the one option that it needs.
    let scratch = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    let state = UdpSocketState::new((&scratch).into())?;
    if address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    socket.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(socket.into())?, state))
}

/// Returns the octets of the IP and UDP headers.
const fn header_octets(peer: SocketAddr) -> usize {
    let ip = match peer.ip() {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip + 8
}

/// The time between two looks at the kernel's drop counter.
const KERNEL_DROPS_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after an error of the socket, so that a lasting one does not spin.
const READ_ERROR_PAUSE: Duration = Duration::from_millis(100);
