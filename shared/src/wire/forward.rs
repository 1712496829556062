//! Forwarder encapsulation: a message and the name of its node [MQTT-SN 1.2 §5.5].

use super::cursor::Writer;
use super::{Header, LengthForm, MessageType, WireError};

/// The octets of an encapsulation beside the node id and the inner message.
pub const FORWARD_OVERHEAD: usize = 3;

/// The longest node id of an encapsulation, in octets: what one length octet leaves for it.
pub const FORWARD_NODE_ID_LEN_MAX: usize = 0xFF - FORWARD_OVERHEAD;

/// A message that a forwarder wrapped, with the name of the node it came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forward<'a> {
    /// How far to broadcast the inner message, 0 to 3 hops; set by a gateway only.
    pub radius: u8,
    /// The node's name at its forwarder, 0 to 252 octets.
    pub node_id: &'a [u8],
    /// The inner message, a datagram of its own with a checked length and type.
    pub inner: &'a [u8],
}

impl<'a> Forward<'a> {
    /// Reads an encapsulated datagram. Its length octet ends with the node id, so the inner
    /// message lies behind what the length counts.
    ///
    /// The inner head is checked here, its body when the inner message is parsed; an
    /// encapsulation inside an encapsulation is the session's to refuse (D-35).
    pub(super) fn parse(header: Header, datagram: &'a [u8]) -> Result<Self, WireError> {
        if header.form == LengthForm::Long {
            return Err(WireError::Length);
        }
        if datagram.len() < header.length {
            return Err(WireError::Truncated);
        }
        let (head, inner) = datagram
            .split_at_checked(header.length)
            .ok_or(WireError::Truncated)?;
        let [_, _, ctrl, node_id @ ..] = head else {
            return Err(WireError::Body);
        };
        let inner_header = Header::parse(inner).map_err(|_| WireError::Inner)?;
        let kind = MessageType::from_code(inner_header.type_code).ok_or(WireError::Inner)?;
        if kind != MessageType::Forward && inner_header.length != inner.len() {
            return Err(WireError::Inner);
        }
        Ok(Self {
            radius: ctrl & 0b11,
            node_id,
            inner,
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        let length = FORWARD_OVERHEAD
            .checked_add(self.node_id.len())
            .ok_or(WireError::Buffer)?;
        w.u8(u8::try_from(length).map_err(|_| WireError::Buffer)?)?;
        w.u8(MessageType::Forward.code())?;
        w.u8(self.radius & 0b11)?;
        w.bytes(self.node_id)?;
        w.bytes(self.inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::{Forward, Message, WireError};

    fn inner_error(inner: &[u8]) -> Option<WireError> {
        let mut datagram = std::vec![0x04, 0xFE, 0x00, 0x2A];
        datagram.extend_from_slice(inner);
        Message::parse(&datagram).err()
    }

    #[test]
    fn inner_message_is_a_datagram_of_its_own() {
        assert_eq!(inner_error(&[0x02, 0x16]), None);
        assert_eq!(inner_error(&[0x01, 0x00, 0x04, 0x16]), None);
        for bad in [
            &[][..],
            &[0x02],
            &[0x00, 0x16],
            &[0x03, 0x16],
            &[0x02, 0x16, 0x00],
            &[0x02, 0x03],
        ] {
            assert_eq!(inner_error(bad), Some(WireError::Inner), "{bad:02x?}");
        }
    }

    #[test]
    fn reserved_control_bits_are_ignored() {
        let Ok(Message::Forward(forward)) = Message::parse(&[0x03, 0xFE, 0xFE, 0x02, 0x16]) else {
            panic!("no encapsulation");
        };
        let expected = Forward {
            radius: 2,
            node_id: &[],
            inner: &[0x02, 0x16],
        };
        assert_eq!(forward, expected);
    }

    #[test]
    fn long_form_is_not_for_encapsulations() {
        let datagram = [0x01, 0x00, 0x05, 0xFE, 0x00, 0x02, 0x16];
        assert_eq!(Message::parse(&datagram), Err(WireError::Length));
    }
}
