//! Setting a UDP socket up.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::super::error::LinkError;
use crate::config::UdpConfig;

/// Makes a socket of the configured kind and binds it.
pub(super) fn bind(name: &str, config: &UdpConfig) -> Result<Socket, LinkError> {
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

/// Returns what the kernel has granted, in octets.
///
/// Linux doubles what it is asked for and reports the double (socket(7)).
pub(super) fn granted_receive_buffer<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<usize> {
    Ok(socket.into().recv_buffer_size()? / 2)
}

/// Makes the socket asynchronous, and ready for batches.
pub(super) fn prepare(
    socket: Socket,
    config: &UdpConfig,
) -> io::Result<(UdpSocket, UdpSocketState)> {
    // The state sets options for QUIC on the socket that it is made from: datagrams are never
    // fragmented, and equal ones are merged. Here the first loses every datagram over a
    // narrow path, and the second needs slots of 64 datagrams each. So it is made from a
    // socket that nothing else is done with, and ours gets the one option that it needs.
    let domain = Domain::for_address(config.listen);
    let scratch = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    let state = UdpSocketState::new((&scratch).into())?;
    // What others of this host have joined on our port is not for us: groups have sockets of
    // their own, with a door that is narrower (D-09).
    if config.listen.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.set_multicast_all_v4(false)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.set_multicast_all_v6(false)?;
        if config.dual_stack {
            socket.set_multicast_all_v4(false)?;
        }
    }
    socket.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(socket.into())?, state))
}
