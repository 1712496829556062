//! Where nodes are, and what carries their datagrams there.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use gateway::session::{Binding, LinkId, Peer};
use shared::wire::{Forward, Message, NodeId};

/// Returns where the engine hears a node: at a port of its address, or behind a forwarder on
/// one of two serial lines.
pub(super) fn binding(index: u8, forwarded: bool, port: u16) -> Binding {
    if forwarded {
        return Binding {
            link: LinkId(1 + port % 2),
            peer: Peer::Line,
            node_id: NodeId::new(&[index, u8::try_from(port / 2).unwrap_or(u8::MAX)]),
        };
    }
    let ip = Ipv4Addr::new(10, 0, 0, index);
    Binding {
        link: LinkId(0),
        peer: Peer::Socket(SocketAddr::from((ip, 10_000 + port))),
        node_id: None,
    }
}

/// The reverse of [`binding`].
pub(super) fn place(binding: &Binding) -> (usize, u16) {
    match (binding.peer, binding.node_id) {
        (Peer::Socket(SocketAddr::V4(address)), None) => (
            usize::from(address.ip().octets()[3]),
            address.port() - 10_000,
        ),
        (Peer::Line, Some(node_id)) => match *node_id.as_bytes() {
            [index, half] => (
                usize::from(index),
                u16::from(half) * 2 + (binding.link.0 + 1) % 2,
            ),
            _ => panic!("{binding}: no node has such a name"),
        },
        _ => panic!("{binding}: no node is there"),
    }
}

pub(super) fn encapsulate(node_id: &NodeId, inner: &[u8]) -> Bytes {
    let message = Message::Forward(Forward {
        radius: 0,
        node_id: node_id.as_bytes(),
        inner,
    });
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(&mut bytes).unwrap();
    bytes.into()
}

/// Puts the port in front of a datagram: what was under way when a node moved goes to its old
/// place, and comes from there.
pub(super) fn join(port: u16, datagram: &[u8]) -> Vec<u8> {
    let mut frame = port.to_be_bytes().to_vec();
    frame.extend_from_slice(datagram);
    frame
}

pub(super) fn split(frame: &[u8]) -> Option<(u16, &[u8])> {
    let (port, datagram) = frame.split_first_chunk()?;
    Some((u16::from_be_bytes(*port), datagram))
}
