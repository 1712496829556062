//! Whose message it is: the forwarder encapsulation on a shared radio [MQTT-SN 1.2 §5.5].
//!
//! The standard already has a way to name the node behind a transparent radio, so the line
//! needs no addressing of its own, and a plain forwarder's traffic looks the same.

use super::encode::encode_parts;
use super::{FrameError, Lead, NodeError};
use crate::wire::{FORWARD_OVERHEAD, Forward, Header, Message, MessageType, NodeId};

/// The octets that a node's name adds to a datagram at most.
pub const NODE_OVERHEAD_MAX: usize = FORWARD_OVERHEAD + NodeId::LEN_MAX;

/// Writes the frame of `message`, a whole MQTT-SN message, into `frame` and returns the
/// octets written; with `node_id` the message is encapsulated on the way, without a copy.
///
/// The broadcast radius is 0; a message for everyone carries no node id.
///
/// # Errors
/// [`FrameError::Empty`] where `message` is empty; [`FrameError::Buffer`] where `frame` is
/// too short, which never happens with
/// [`frame_len_max`](super::frame_len_max)`(message.len() + NODE_OVERHEAD_MAX)` octets.
pub fn encode_message(
    node_id: Option<&NodeId>,
    message: &[u8],
    lead: Lead,
    frame: &mut [u8],
) -> Result<usize, FrameError> {
    if message.is_empty() {
        return Err(FrameError::Empty);
    }
    let mut buf = [0; NODE_OVERHEAD_MAX];
    let head = match node_id {
        None => &[],
        Some(node_id) => encapsulation(node_id, &mut buf)?,
    };
    encode_parts([head, message], lead, frame)
}

/// Splits a received datagram into the name of its node, if it carries one, and the message.
///
/// A datagram that is not an encapsulation is returned as it is, well formed or not: the
/// message's reader judges it.
///
/// # Errors
/// [`NodeError`] where the datagram is an encapsulation, but a broken or a nested one, or
/// where its node id is longer than [`NodeId::LEN_MAX`].
pub fn split(datagram: &[u8]) -> Result<(Option<NodeId>, &[u8]), NodeError> {
    if !is_encapsulation(datagram) {
        return Ok((None, datagram));
    }
    let Message::Forward(forward) = Message::parse(datagram).map_err(NodeError::Wire)? else {
        return Ok((None, datagram));
    };
    // [MQTT-SN 1.2 §5.5] D-35
    if is_encapsulation(forward.inner) {
        return Err(NodeError::Nested);
    }
    let node_id =
        NodeId::new(forward.node_id).ok_or(NodeError::NodeIdTooLong(forward.node_id.len()))?;
    Ok((Some(node_id), forward.inner))
}

fn encapsulation<'b>(node_id: &NodeId, buf: &'b mut [u8]) -> Result<&'b [u8], FrameError> {
    let head = Message::Forward(Forward {
        radius: 0,
        node_id: node_id.as_bytes(),
        inner: &[],
    });
    let len = head.emit(buf).map_err(|_| FrameError::Buffer)?;
    buf.get(..len).ok_or(FrameError::Buffer)
}

fn is_encapsulation(datagram: &[u8]) -> bool {
    Header::parse(datagram).is_ok_and(|header| header.type_code == MessageType::Forward.code())
}
