//! MQTT-SN 1.2 messages: parse and emit, without copying and without panicking.
//!
//! [`Message::parse`] takes one datagram and borrows every name and payload from it;
//! [`Message::emit`] writes one datagram into a buffer. Both hold for any bytes at all:
//! nothing here panics, allocates or reads past what it was given.
//!
//! Lengths are checked strictly (decision D-01): the length field must equal the datagram's
//! size and the body must have exactly the layout of its type. What is well formed but not
//! acceptable (an empty client id, a wildcard in REGISTER) is parsed and left to the session,
//! which answers it with a code.
//!
//! All integers are big-endian. Section numbers are those of "MQTT For Sensor Networks
//! (MQTT-SN) Protocol Specification Version 1.2", 14 November 2013.

mod connect;
mod cursor;
mod discovery;
mod error;
mod fields;
mod forward;
mod header;
mod message;
mod publish;
mod sleep;
mod subscribe;
mod topic;

pub use connect::{ConnAck, Connect, WillTarget};
pub use discovery::{Advertise, GwInfo, SearchGw};
pub use error::WireError;
pub use fields::{MsgId, NodeId, QoS, ReturnCode, ShortName, TopicId};
pub use forward::{FORWARD_NODE_ID_LEN_MAX, FORWARD_OVERHEAD, Forward};
pub use header::{Header, LengthForm, MessageType};
pub use message::Message;
pub use publish::{Acknowledgement, PUBLISH_OVERHEAD, Publish};
pub use sleep::{Disconnect, PingReq};
pub use subscribe::{SubAck, Subscribe, Unsubscribe};
pub use topic::{REGISTER_OVERHEAD, Register, TopicFilter, TopicRef};

/// The largest datagram that the length field can describe, in octets [MQTT-SN 1.2 §5.2.1].
pub const MESSAGE_LEN_MAX: usize = 65_535;

/// The longest client id that the standard allows, in characters [MQTT-SN 1.2 §5.3.1].
pub const CLIENT_ID_LEN_MAX: usize = 23;
