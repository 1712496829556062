//! The socket of a UDP link, and what its readers and its sender know of it.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn_udp::{Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::super::clock::Clock;
use super::super::replies::Replies;
use super::super::stats::LinkStats;
use super::reach::{Host, Reach};
use crate::session::LinkEvent;

/// The socket and what both its ends need.
#[derive(Debug)]
pub(in super::super) struct Port {
    pub(super) socket: UdpSocket,
    pub(super) state: UdpSocketState,
    pub(super) local: SocketAddr,
    /// Only where the socket listens on every address.
    replies: Option<Mutex<Replies>>,
    pub(super) stats: Arc<LinkStats>,
    /// The datagrams queued or in the writer's hand.
    pub(super) backlog: AtomicUsize,
    pub(super) emptied: Notify,
    /// Whether there is anything in `reach` that a datagram would change.
    in_doubt: AtomicBool,
    pub(super) is_up: AtomicBool,
    reach: Mutex<Reach>,
    clock: Clock,
}

impl Port {
    pub(super) fn new(
        socket: UdpSocket,
        state: UdpSocketState,
        stats: Arc<LinkStats>,
    ) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            state,
            local,
            replies: local.ip().is_unspecified().then(Mutex::default),
            stats,
            backlog: AtomicUsize::new(0),
            emptied: Notify::new(),
            in_doubt: AtomicBool::new(false),
            is_up: AtomicBool::new(true),
            reach: Mutex::default(),
            clock: Clock::start(),
            socket,
        })
    }

    /// Returns the form in which the socket itself knows an address: a socket for both
    /// protocols speaks IPv6 of all.
    pub(super) fn family(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => address,
        }
    }

    pub(super) fn try_send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
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
    pub(super) fn heard(&self) -> Option<LinkEvent> {
        self.in_doubt()
            .then(|| self.told(self.with_reach(Reach::heard)))?
    }

    /// Looks whether the network is there; returns what the driver must be told.
    pub(super) fn look(&self) -> Option<LinkEvent> {
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

    pub(super) fn replies(&self) -> Option<MutexGuard<'_, Replies>> {
        // A table that another thread left in the middle of a change is still a table.
        let locked = self.replies.as_ref()?.lock();
        Some(locked.unwrap_or_else(PoisonError::into_inner))
    }

    pub(in super::super) async fn flush(&self) {
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

/// Returns the octets of the IP and UDP headers.
pub(super) const fn header_octets(peer: SocketAddr) -> usize {
    let ip = match peer.ip() {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip + 8
}
