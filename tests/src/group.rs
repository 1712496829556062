//! Multicast groups that stay on this host.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, SockRef, Socket, Type};

use crate::ports::free_udp_port;

/// A group on a network of this host alone.
#[derive(Clone, Debug)]
pub struct Group {
    address: SocketAddr,
    interface: String,
}

impl Group {
    /// Chooses a group on the loopback interface.
    ///
    /// # Errors
    /// Where no port is free.
    pub fn v4() -> Result<Self> {
        // The port keeps the tests apart that run at the same time.
        Ok(Self {
            address: (Ipv4Addr::new(239, 255, 83, 1), free_udp_port()?).into(),
            interface: "lo".to_owned(),
        })
    }

    /// Chooses a group of interface-local scope, which does not leave the host on any interface
    /// (RFC 4291 §2.7), on the first interface that carries one: few hosts have a route for
    /// groups on the loopback interface.
    ///
    /// # Errors
    /// Where no interface carries IPv6 groups; the message says how to get one.
    pub fn v6() -> Result<Self> {
        let mut names: Vec<String> = getifaddrs()?
            .filter(|it| it.address.is_some_and(|it| it.as_sockaddr_in6().is_some()))
            .map(|it| it.interface_name)
            .collect();
        names.sort_by_key(|name| name != "lo");
        names.dedup();
        let port = free_udp_port()?;
        for interface in &names {
            let index = if_nametoindex(interface.as_str())?;
            let address = SocketAddrV6::new("ff11::83:1".parse()?, port, 0, index);
            let group = Self {
                address: address.into(),
                interface: interface.clone(),
            };
            if group.carries() {
                return Ok(group);
            }
        }
        bail!(
            "this host has no interface that carries IPv6 groups (tried {names:?}); `ip -6 route \
             add multicast ff00::/8 dev lo table local` gives it one"
        )
    }

    /// Returns the keys of a UDP link that hears and serves the group.
    #[must_use]
    pub fn link_keys(&self) -> String {
        let address = SocketAddr::new(self.address.ip(), self.address.port());
        format!(
            "multicast.groups = [\"{address}\"]\nmulticast.interface = \"{}\"\n",
            self.interface
        )
    }

    /// Returns where a link or a node of this network may listen.
    #[must_use]
    pub const fn any(&self) -> &'static str {
        match self.address {
            SocketAddr::V4(_) => "127.0.0.1",
            SocketAddr::V6(_) => "[::]",
        }
    }

    /// Returns the group's address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a socket whose datagrams to the group go out on its network.
    ///
    /// # Errors
    /// The system's error.
    pub fn sender(&self) -> Result<UdpSocket> {
        let socket = UdpSocket::bind(format!("{}:0", self.any()))?;
        match self.address {
            SocketAddr::V4(_) => {
                SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
            }
            SocketAddr::V6(group) => {
                SockRef::from(&socket).set_multicast_if_v6(group.scope_id())?;
            }
        }
        Ok(socket)
    }

    /// Opens a socket that hears the group.
    ///
    /// # Errors
    /// The system's error.
    pub fn listener(&self) -> Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(self.address), Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&self.address.into())?;
        match self.address {
            SocketAddr::V4(group) => {
                let lo = InterfaceIndexOrAddress::Address(Ipv4Addr::LOCALHOST);
                socket.join_multicast_v4_n(group.ip(), &lo)?;
            }
            SocketAddr::V6(group) => socket.join_multicast_v6(group.ip(), group.scope_id())?,
        }
        Ok(socket.into())
    }

    /// Returns the address of a peer on this network, with the scope that a link-local one needs.
    #[must_use]
    pub fn peer(&self, peer: SocketAddr) -> SocketAddr {
        match (peer, self.address) {
            (SocketAddr::V6(peer), SocketAddr::V6(group)) if peer.ip().is_unicast_link_local() => {
                SocketAddrV6::new(*peer.ip(), peer.port(), 0, group.scope_id()).into()
            }
            _ => peer,
        }
    }

    fn carries(&self) -> bool {
        let heard = || -> Result<()> {
            let listener = self.listener()?;
            listener.set_read_timeout(Some(Duration::from_millis(500)))?;
            self.sender()?.send_to(b"?", self.address)?;
            listener.recv(&mut [0; 8])?;
            Ok(())
        };
        heard().is_ok()
    }
}
