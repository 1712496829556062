//! The groups of a UDP link: discovery by multicast (D-09).
//!
//! Each group has a socket of its own, shared with other gateways and nodes of this host,
//! which takes nothing but the three messages of discovery. What the link sends to a group
//! leaves from the socket that it listens on, so that others see where to connect.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use shared::wire::{Header, MessageType};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::drops::FLUSH_INTERVAL;
use super::super::error::LinkError;
use super::super::interface::{Interface, own_addresses};
use super::super::kernel::KernelDrops;
use super::super::stats::DropReason;
use super::super::{Inbound, Link};
use super::port::{Port, header_octets};
use crate::config::MulticastConfig;
use crate::session::Peer;

/// The sending side of the groups.
#[derive(Debug)]
pub(super) struct Groups {
    config: MulticastConfig,
    /// Where datagrams for the groups go, as the link's socket must be told.
    addresses: Vec<SocketAddr>,
}

impl Groups {
    /// Joins the groups and makes the link's socket ready to send to them; returns the sockets
    /// that hear them.
    pub(super) fn join(
        name: &str,
        config: &MulticastConfig,
        port: &Port,
    ) -> Result<(Self, Vec<(SocketAddr, UdpSocket)>), LinkError> {
        let fail = |group: SocketAddr, source| LinkError::Group {
            name: name.to_owned(),
            group,
            source,
        };
        let mut addresses = Vec::with_capacity(config.groups.len());
        let mut sockets = Vec::with_capacity(config.groups.len());
        for group in &config.groups {
            let fail = |source| fail(*group, source);
            let interface = Interface::find(config.interface.as_ref(), port.local).map_err(fail)?;
            let group = with_scope(*group, interface);
            prepare(&port.socket, group, interface).map_err(fail)?;
            let socket = beside(&port.socket, || join(group, interface)).map_err(fail)?;
            addresses.push(port.family(group));
            sockets.push((group, socket));
        }
        let groups = Self {
            config: config.clone(),
            addresses,
        };
        Ok((groups, sockets))
    }

    /// Sends a datagram to all groups; gives what failed, if anything did.
    pub(super) fn send(&self, port: &Port, radius: u8, datagram: &[u8]) -> io::Result<()> {
        let socket = SockRef::from(&port.socket);
        let hops = u32::from(self.config.hops(radius));
        let mut result = Ok(());
        for address in &self.addresses {
            let sent = match address.ip().to_canonical() {
                IpAddr::V4(_) => socket.set_multicast_ttl_v4(hops),
                IpAddr::V6(_) => socket.set_multicast_hops_v6(hops),
            }
            .and_then(|()| socket.send_to(datagram, &(*address).into()));
            match sent {
                Ok(_) => {
                    let line_octets = datagram.len() + header_octets(*address);
                    port.stats.sent(datagram.len(), line_octets);
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// Puts the interface into the address of an IPv6 group that does not name one.
fn with_scope(group: SocketAddr, interface: Interface) -> SocketAddr {
    match group {
        SocketAddr::V6(v6) if v6.scope_id() == 0 => {
            SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), interface.v6).into()
        }
        _ => group,
    }
}

/// Makes the link's socket ready to send to a group.
fn prepare(socket: &UdpSocket, group: SocketAddr, interface: Interface) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match group {
        SocketAddr::V4(_) => {
            socket.set_multicast_if_v4(&interface.v4)?;
            socket.set_multicast_loop_v4(true)
        }
        SocketAddr::V6(group) => {
            socket.set_multicast_if_v6(group.scope_id())?;
            socket.set_multicast_loop_v6(true)
        }
    }
}

/// Lets a group have the port of the link's socket while it is bound. The link's own socket
/// is not shared: whoever binds its address later is refused as ever.
fn beside<T>(socket: &UdpSocket, bind: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let socket = SockRef::from(socket);
    socket.set_reuse_address(true)?;
    let bound = bind();
    socket.set_reuse_address(false)?;
    bound
}

/// Binds a socket to a group's address, so that it hears that group alone.
fn join(group: SocketAddr, interface: Interface) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(group);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // Several gateways of one host hear the same groups.
    socket.set_reuse_address(true)?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&group.into())?;
    match group {
        SocketAddr::V4(group) => {
            let network = if interface.v6 == 0 {
                InterfaceIndexOrAddress::Address(interface.v4)
            } else {
                InterfaceIndexOrAddress::Index(interface.v6)
            };
            socket.join_multicast_v4_n(group.ip(), &network)?;
            // Not what others of this host have joined on other networks.
            socket.set_multicast_all_v4(false)?;
        }
        SocketAddr::V6(group) => {
            socket.join_multicast_v6(group.ip(), group.scope_id())?;
            socket.set_multicast_all_v6(false)?;
        }
    }
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// The task that hears one group.
pub(super) struct GroupReader {
    pub(super) link: Link,
    pub(super) port: Arc<Port>,
    pub(super) group: SocketAddr,
    pub(super) socket: UdpSocket,
}

impl GroupReader {
    pub(super) async fn run(self) {
        let mut own = Own::new(self.port.local);
        let mut kernel = KernelDrops::of(&self.socket, self.group.is_ipv6()).ok();
        let mut slot = vec![0; self.link.max_message + 1];
        let mut tick = tokio::time::interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut slot) => received,
                _ = tick.tick() => {
                    let count = kernel.as_mut().and_then(|kernel| kernel.poll().ok());
                    let (reason, who) = (DropReason::KernelBuffer, &self.link.name);
                    self.link.drops.dropped_many(reason, who, 0, count.unwrap_or(0));
                    continue;
                }
                () = self.link.inbound.closed() => return,
            };
            match received {
                Ok((len, from)) => {
                    let from = self.port.family(from);
                    if self.takes(&slot[..len], from, &mut own)
                        && self.hand_over(&slot[..len], from).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    if self.link.drops.may_write(GROUP_ERROR) {
                        tracing::warn!(link = %self.link.name, group = %self.group, %error, "cannot read the group's socket");
                    }
                    tokio::time::sleep(GROUP_ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Returns whether a datagram is one for the group and from another; counts it where not.
    fn takes(&self, datagram: &[u8], from: SocketAddr, own: &mut Own) -> bool {
        let is_own = own.is(from);
        let reason = match Header::parse(datagram) {
            _ if is_own => {
                self.link.drops.counted(DropReason::OwnEcho, 1);
                return false;
            }
            _ if datagram.is_empty() => DropReason::Empty,
            // [MQTT-SN 1.2 §5.2.1] D-02
            _ if datagram.len() > self.link.max_message => DropReason::Oversize,
            // [MQTT-SN 1.2 §6.1] D-09
            Ok(header) if DISCOVERY.contains(&header.type_code) => return true,
            _ => DropReason::NotForGroup,
        };
        let who = format_args!("{}/{from} to {}", self.link.name, self.group);
        self.link.drops.dropped(reason, who, datagram.len());
        false
    }

    async fn hand_over(&self, datagram: &[u8], from: SocketAddr) -> Result<(), ()> {
        let line_octets = datagram.len() + header_octets(from);
        self.link.stats.received(datagram.len(), line_octets);
        self.link.heard();
        let binding = self.link.binding(Peer::Socket(from));
        let batch = vec![(binding, bytes::Bytes::copy_from_slice(datagram))];
        let sent = self.link.inbound.send(Inbound::Batch(batch)).await;
        sent.map_err(|_| ())
    }
}

/// Knows what the link itself has sent.
struct Own {
    local: SocketAddr,
    addresses: HashSet<IpAddr>,
    looked: Option<Instant>,
}

impl Own {
    fn new(local: SocketAddr) -> Self {
        Self {
            local,
            addresses: HashSet::new(),
            looked: None,
        }
    }

    fn is(&mut self, from: SocketAddr) -> bool {
        if from.port() != self.local.port() {
            return false;
        }
        let ip = from.ip().to_canonical();
        if !self.local.ip().is_unspecified() {
            return ip == self.local.ip();
        }
        // Gateways of other hosts usually have the same port.
        if self.looked.is_none_or(|at| at.elapsed() > ADDRESSES_KEPT) {
            self.looked = Some(Instant::now());
            self.addresses = own_addresses().unwrap_or_default();
        }
        self.addresses.contains(&ip)
    }
}

/// What may come to a group [MQTT-SN 1.2 §6.1].
const DISCOVERY: [u8; 3] = [
    MessageType::Advertise.code(),
    MessageType::SearchGw.code(),
    MessageType::GwInfo.code(),
];
/// How long the host's addresses are taken to be the same.
const ADDRESSES_KEPT: Duration = Duration::from_secs(5);
/// What errors of a group's socket are counted as in the log.
const GROUP_ERROR: &str = "group_error";
/// The pause after an error of a group's socket, so that a lasting one does not spin.
const GROUP_ERROR_PAUSE: Duration = Duration::from_millis(100);
