//! Why bytes are not a message, or a message does not fit.

use core::fmt;

/// Why a datagram is not an MQTT-SN message, or why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireError {
    /// The length field holds a value that no message can have.
    Length,
    /// The datagram ends before the message does.
    Truncated,
    /// The datagram goes on after the message has ended.
    Trailing,
    /// The message type is reserved; the field holds the type octet.
    Type(u8),
    /// The body is shorter or longer than its type's layout.
    Body,
    /// The flags hold the reserved topic id type `11`.
    TopicIdType,
    /// An encapsulated message holds no well-formed inner message.
    Inner,
    /// The message is longer than the buffer or than the length field can say.
    Buffer,
}

impl WireError {
    /// Returns a short stable name, for counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Truncated => "truncated",
            Self::Trailing => "trailing",
            Self::Type(_) => "type",
            Self::Body => "body",
            Self::TopicIdType => "topic_id_type",
            Self::Inner => "inner",
            Self::Buffer => "buffer",
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("the length field is impossible"),
            Self::Truncated => f.write_str("the datagram is shorter than its length field says"),
            Self::Trailing => f.write_str("the datagram is longer than its length field says"),
            Self::Type(code) => write!(f, "message type 0x{code:02x} is reserved"),
            Self::Body => f.write_str("the body does not have the layout of its message type"),
            Self::TopicIdType => f.write_str("topic id type 11 is reserved"),
            Self::Inner => f.write_str("the encapsulated message is not well formed"),
            Self::Buffer => f.write_str("the message does not fit the buffer"),
        }
    }
}

impl core::error::Error for WireError {}
