//! Length and type, the head of every message [MQTT-SN 1.2 §5.2].

use super::WireError;
use super::cursor::Writer;

/// How a message writes its length [MQTT-SN 1.2 §5.2.1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LengthForm {
    /// One octet, for messages of up to 255 octets.
    Short,
    /// Three octets, 0x01 and a 16-bit length.
    Long,
}

impl LengthForm {
    const fn header_len(self) -> usize {
        match self {
            Self::Short => 2,
            Self::Long => 4,
        }
    }
}

/// The head of a datagram: what its first octets claim, before the body is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// How the length is written.
    pub form: LengthForm,
    /// The value of the length field, in octets.
    pub length: usize,
    /// The type octet as it came, known or not.
    pub type_code: u8,
}

impl Header {
    /// Reads the length and type octets of `datagram`.
    ///
    /// # Errors
    /// [`WireError::Truncated`] where the head itself is cut off, [`WireError::Length`] where
    /// the length is below the smallest possible one (2, in the long form 4).
    pub fn parse(datagram: &[u8]) -> Result<Self, WireError> {
        let (form, length, type_code) = match *datagram {
            [0x01, high, low, code, ..] => (
                LengthForm::Long,
                usize::from(u16::from_be_bytes([high, low])),
                code,
            ),
            [] | [0x01, ..] => return Err(WireError::Truncated),
            [0x00, ..] => return Err(WireError::Length),
            [length, code, ..] => (LengthForm::Short, usize::from(length), code),
            [_] => return Err(WireError::Truncated),
        };
        if length < form.header_len() {
            return Err(WireError::Length);
        }
        Ok(Self {
            form,
            length,
            type_code,
        })
    }

    /// Returns the number of octets before the body: 2 or 4.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.form.header_len()
    }

    /// Returns false: a header always has octets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the head of a message whose body has `body_len` octets; the long form is taken
    /// where the short one cannot say the length.
    pub(super) fn emit(
        form: LengthForm,
        kind: MessageType,
        body_len: usize,
        w: &mut Writer<'_>,
    ) -> Result<(), WireError> {
        match (form, u8::try_from(body_len + 2)) {
            (LengthForm::Short, Ok(length)) => w.u8(length)?,
            _ => {
                w.u8(0x01)?;
                w.u16(u16::try_from(body_len + 4).map_err(|_| WireError::Buffer)?)?;
            }
        }
        w.u8(kind.code())
    }

    /// Returns the octets of a whole message with a body of `body_len` octets.
    pub(super) const fn message_len(form: LengthForm, body_len: usize) -> usize {
        match form {
            LengthForm::Short if body_len + 2 <= 0xFF => body_len + 2,
            _ => body_len + 4,
        }
    }
}

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// The type of a message [MQTT-SN 1.2 §5.2.2].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MessageType { $($(#[$doc])* $variant,)* }

        impl MessageType {
            /// Every type, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the type of a code, or `None` for a reserved one (D-03).
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// Returns the type's code.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// Returns the standard's name of the type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

message_types! {
    /// A gateway tells that it is there.
    Advertise = 0x00, "ADVERTISE";
    /// A node looks for a gateway.
    SearchGw = 0x01, "SEARCHGW";
    /// The answer: where a gateway is.
    GwInfo = 0x02, "GWINFO";
    /// A node opens its session.
    Connect = 0x04, "CONNECT";
    /// The answer to CONNECT.
    ConnAck = 0x05, "CONNACK";
    /// The gateway asks for the will topic.
    WillTopicReq = 0x06, "WILLTOPICREQ";
    /// The will topic.
    WillTopic = 0x07, "WILLTOPIC";
    /// The gateway asks for the will message.
    WillMsgReq = 0x08, "WILLMSGREQ";
    /// The will message.
    WillMsg = 0x09, "WILLMSG";
    /// Binds a topic id to a topic name.
    Register = 0x0A, "REGISTER";
    /// The answer to REGISTER.
    RegAck = 0x0B, "REGACK";
    /// A publication.
    Publish = 0x0C, "PUBLISH";
    /// The end of QoS 1, or a refusal at any QoS.
    PubAck = 0x0D, "PUBACK";
    /// The end of QoS 2.
    PubComp = 0x0E, "PUBCOMP";
    /// The first answer of QoS 2.
    PubRec = 0x0F, "PUBREC";
    /// The release of QoS 2.
    PubRel = 0x10, "PUBREL";
    /// A node subscribes.
    Subscribe = 0x12, "SUBSCRIBE";
    /// The answer to SUBSCRIBE.
    SubAck = 0x13, "SUBACK";
    /// A node unsubscribes.
    Unsubscribe = 0x14, "UNSUBSCRIBE";
    /// The answer to UNSUBSCRIBE.
    UnsubAck = 0x15, "UNSUBACK";
    /// Are you there, or: I woke up.
    PingReq = 0x16, "PINGREQ";
    /// The answer to PINGREQ, and the end of a wake.
    PingResp = 0x17, "PINGRESP";
    /// The end of a connection, or the start of sleep.
    Disconnect = 0x18, "DISCONNECT";
    /// A node changes its will topic.
    WillTopicUpd = 0x1A, "WILLTOPICUPD";
    /// The answer to WILLTOPICUPD.
    WillTopicResp = 0x1B, "WILLTOPICRESP";
    /// A node changes its will message.
    WillMsgUpd = 0x1C, "WILLMSGUPD";
    /// The answer to WILLMSGUPD.
    WillMsgResp = 0x1D, "WILLMSGRESP";
    /// A message wrapped by a forwarder.
    Forward = 0xFE, "FORWARD";
}
