//! Where and why a datagram is no message, in words.

use shared::wire::WireError;

use super::dissect::Dissection;
use super::hex::digits;

/// Why and where a datagram is no message.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: WireError,
    pub(super) reason: String,
    /// The octet at fault, counted from 0 in the outermost datagram.
    pub(super) offset: usize,
}

/// Why a body cannot be read on, and where in its datagram.
pub(super) struct Stop {
    pub(super) reason: String,
    pub(super) offset: usize,
}

/// Tells where and why the parser gave up, in more words than its error has.
pub(super) fn place(error: WireError, found: &Dissection<'_>, stop: Option<Stop>) -> Stop {
    let len = found.datagram.len();
    let Some(header) = found.header else {
        return place_in_head(error, found.datagram);
    };
    match error {
        WireError::Truncated => Stop {
            reason: format!(
                "the length field says {}, {} there",
                header.length,
                are(len)
            ),
            offset: len,
        },
        WireError::Trailing => Stop {
            reason: format!(
                "the length field says {}, then {} over: {}",
                header.length,
                left(len - header.length),
                digits(found.datagram.get(header.length..).unwrap_or_default()),
            ),
            offset: header.length,
        },
        WireError::Type(code) => Stop {
            reason: format!("no message of MQTT-SN 1.2 has the type 0x{code:02x}"),
            offset: header.len() - 1,
        },
        WireError::Length => Stop {
            reason: "an encapsulation has the short length form only".to_owned(),
            offset: 0,
        },
        WireError::Inner => Stop {
            reason: if len == header.length {
                "nothing follows the node id".to_owned()
            } else {
                "what follows the node id is no message".to_owned()
            },
            offset: header.length,
        },
        _ => stop.unwrap_or_else(|| Stop {
            reason: error.to_string(),
            offset: header.len(),
        }),
    }
}

fn place_in_head(error: WireError, datagram: &[u8]) -> Stop {
    let (reason, offset) = match (error, datagram) {
        (_, []) => ("the datagram is empty".to_owned(), 0),
        (WireError::Truncated, [0x01, ..]) => (
            format!(
                "the long form has a head of 4 octets, {} there",
                are(datagram.len())
            ),
            datagram.len(),
        ),
        (WireError::Truncated, _) => ("the message type is missing".to_owned(), datagram.len()),
        (_, [0x01, high, low, ..]) => (
            format!(
                "the long form says {}, its head alone has 4 octets",
                u16::from_be_bytes([*high, *low]),
            ),
            1,
        ),
        (_, [length, ..]) => (
            format!("the shortest message has 2 octets, not {length}"),
            0,
        ),
    };
    Stop { reason, offset }
}

/// Returns a number of octets in words.
pub(super) fn count(octets: usize) -> String {
    match octets {
        1 => "1 octet".to_owned(),
        other => format!("{other} octets"),
    }
}

/// Returns a number with its verb.
pub(super) fn are(octets: usize) -> String {
    let verb = if octets == 1 { "is" } else { "are" };
    format!("{octets} {verb}")
}

/// Returns a number of octets with its verb.
pub(super) fn left(octets: usize) -> String {
    let verb = if octets == 1 { "is" } else { "are" };
    format!("{} {verb}", count(octets))
}
