//! Where nodes are, and what carries their datagrams there.
//!
//! A place is a number: what it is reached by, and how often the node has moved.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use gateway::session::{Binding, LinkId, Peer};
use shared::wire::{Forward, Message, NodeId};

/// The links: a socket, two serial lines, and a socket behind which forwarders are.
pub(super) const LINKS: u16 = 4;

/// Where the forwarders of the last link are.
pub(super) const FORWARDERS: &str = "10.1.0.0/24";

/// Returns the link of a place.
pub(super) const fn link(place: u16) -> LinkId {
    LinkId(place % LINKS)
}

/// Returns the place on a link of a node that has moved so often.
pub(super) const fn at(link: u16, moves: u16) -> u16 {
    moves * LINKS + link
}

/// Returns the place on a link after the next move.
pub(super) const fn next(place: u16, link: u16) -> u16 {
    at(link, place / LINKS + 1)
}

/// Returns where the engine hears a node: at a port of its address, on a line that it shares,
/// or behind one of two forwarders.
pub(super) fn binding(index: u8, place: u16) -> Binding {
    let moves = place / LINKS;
    let node_id = NodeId::new(&[index, u8::try_from(moves).unwrap_or(u8::MAX)]);
    let socket = |ip, port| Peer::Socket(SocketAddr::from((ip, port)));
    let (peer, node_id) = match place % LINKS {
        0 => (socket(Ipv4Addr::new(10, 0, 0, index), 10_000 + moves), None),
        1 | 2 => (Peer::Line, node_id),
        _ => {
            let forwarder = u8::from(moves % 2 == 1);
            (socket(Ipv4Addr::new(10, 1, 0, forwarder), 2000), node_id)
        }
    };
    Binding {
        link: link(place),
        peer,
        node_id,
    }
}

/// The reverse of [`binding`]; `None` where no node can be.
pub(super) fn place(binding: &Binding) -> Option<(u8, u16)> {
    let (index, moves) = match (binding.peer, binding.node_id) {
        (Peer::Socket(SocketAddr::V4(address)), None) => (
            address.ip().octets()[3],
            address.port().checked_sub(10_000)?,
        ),
        (_, Some(node_id)) => match *node_id.as_bytes() {
            [index, moves] => (index, u16::from(moves)),
            _ => return None,
        },
        _ => return None,
    };
    let place = at(binding.link.0, moves);
    (self::binding(index, place) == *binding).then_some((index, place))
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

/// Puts the place in front of a datagram: what was under way when a node moved goes to its old
/// place, and comes from there.
pub(super) fn join(place: u16, datagram: &[u8]) -> Vec<u8> {
    let mut frame = place.to_be_bytes().to_vec();
    frame.extend_from_slice(datagram);
    frame
}

pub(super) fn split(frame: &[u8]) -> Option<(u16, &[u8])> {
    let (place, datagram) = frame.split_first_chunk()?;
    Some((u16::from_be_bytes(*place), datagram))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_one_nodes_own() {
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..6 {
            for number in 0..40 {
                let binding = binding(index, number);
                assert!(seen.insert(binding), "{binding}");
                assert_eq!(place(&binding), Some((index, number)));
            }
        }
    }
}
