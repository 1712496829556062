//! Why a datagram cannot be framed, or its node not be named.

use core::fmt;

use crate::wire::WireError;

/// Why a datagram cannot be written as a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameError {
    /// There is nothing to send: no message is empty.
    Empty,
    /// The frame does not fit the buffer.
    Buffer,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the datagram is empty",
            Self::Buffer => "the frame does not fit the buffer",
        })
    }
}

impl core::error::Error for FrameError {}

/// Why a datagram that claims to carry a node's name does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeError {
    /// The encapsulation, or the head of the message in it, is not well formed.
    Wire(WireError),
    /// The name is longer than [`NodeId::LEN_MAX`](crate::wire::NodeId::LEN_MAX); the field
    /// holds its octets.
    NodeIdTooLong(usize),
    /// An encapsulation holds an encapsulation (D-35).
    Nested,
}

impl NodeError {
    /// Returns a short stable name, for counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire(error) => error.name(),
            Self::NodeIdTooLong(_) => "node_id_too_long",
            Self::Nested => "nested",
        }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => write!(f, "encapsulation: {error}"),
            Self::NodeIdTooLong(len) => write!(f, "a node id of {len} octets is too long"),
            Self::Nested => f.write_str("an encapsulation holds an encapsulation"),
        }
    }
}

impl core::error::Error for NodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Wire(error) => Some(error),
            Self::NodeIdTooLong(_) | Self::Nested => None,
        }
    }
}
