//! Where nodes may be heard, and the names they go by.

use std::net::SocketAddr;

use bytes::Bytes;
use gateway::session::{Binding, LinkId, Peer};
use shared::wire::{Forward, Message, NodeId};

/// A place as an operation names it.
pub(super) type Place = u8;

/// How many places there are.
pub(super) const PLACES: Place = 10;

/// The places that a gateway may serve; the others are a forwarder that it does not know and a
/// link that is not configured.
pub(super) const GOOD_PLACES: Place = 8;

/// Returns the binding of a place.
pub(super) fn binding(place: Place) -> Binding {
    let (link, peer, node_id) = match place {
        0 => (0, Some("10.0.0.1:1001"), None),
        1 => (0, Some("10.0.0.2:1002"), None),
        2 => (1, None, Some(&[1][..])),
        3 => (1, None, Some(&[2, 2][..])),
        4 => (2, Some("10.0.9.9:5000"), Some(&[1][..])),
        5 => (2, Some("10.0.3.3:5000"), None),
        6 => (1, None, None),
        7 => (0, Some("[fd00::7]:1007"), None),
        8 => (2, Some("10.0.4.4:5000"), Some(&[7][..])),
        _ => (5, Some("10.0.0.1:1001"), None),
    };
    let socket = |text: &str| Peer::Socket(text.parse::<SocketAddr>().unwrap());
    Binding {
        link: LinkId(link),
        peer: peer.map_or(Peer::Line, socket),
        node_id: node_id.map(|bytes| NodeId::new(bytes).unwrap()),
    }
}

/// Returns what the link hands in when `inner` is said at a place, and where it says it from.
pub(super) fn datagram(place: Place, inner: &[u8]) -> (Binding, Bytes) {
    let at = binding(place);
    let from = Binding {
        node_id: None,
        ..at
    };
    let Some(node_id) = at.node_id else {
        return (from, Bytes::copy_from_slice(inner));
    };
    let message = Message::Forward(Forward {
        radius: 0,
        node_id: node_id.as_bytes(),
        inner,
    });
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(&mut bytes).unwrap();
    (from, bytes.into())
}

/// The client ids: five that are good, then an empty one, one that is too long, one with a
/// control character, and one that is no text.
pub(super) const CLIENT_IDS: [&[u8]; 9] = [
    b"a",
    b"b",
    b"pump-1",
    b"pump-2",
    b"an-id-of-23-characters-",
    b"",
    &[b'x'; 65],
    b"tab\t",
    &[0xFF, 0xFE],
];

/// How many of [`CLIENT_IDS`] are good.
pub(super) const GOOD_CLIENT_IDS: u64 = 5;

/// Topic names: six good ones, then those that are none.
pub(super) const TOPICS: [&[u8]; 11] = [
    b"t/1",
    b"t/2",
    b"t/1/x",
    b"u",
    b"pre/a",
    b"a/long/topic/name/of/more/than/forty/octets",
    b"$SYS/x",
    b"",
    b"t/+",
    b"nul\0",
    &[b't', 0xFF],
];

/// How many of [`TOPICS`] are good.
pub(super) const GOOD_TOPICS: u64 = 7;

/// Filters with wildcards, shared ones, and some that are none.
pub(super) const FILTERS: [&[u8]; 10] = [
    b"t/+",
    b"t/#",
    b"#",
    b"+/1",
    b"$SYS/#",
    b"$share/g/t/1",
    b"$share//t",
    b"t/#/x",
    b"t+",
    b"",
];

/// Short topic names, the last two of them none.
pub(super) const SHORT_NAMES: [[u8; 2]; 5] = [*b"ab", *b"t1", *b"$x", *b"+#", [0xFF, 0xFF]];

/// The pre-defined topics; id 9 is nobody's.
pub(super) const PREDEFINED: [(u16, &str); 3] = [(1, "pre/a"), (2, "t/1"), (3, "pre/c")];
