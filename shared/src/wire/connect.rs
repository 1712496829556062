//! Connection and will: CONNECT to WILLMSGRESP [MQTT-SN 1.2 §5.4.4–5.4.9, §5.4.22–5.4.25].

use super::cursor::{Reader, Writer};
use super::fields::Flags;
use super::{QoS, ReturnCode, WireError};

/// CONNECT: a node opens its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connect<'a> {
    /// Whether a will follows: the gateway asks for it before it answers.
    pub will: bool,
    /// Whether the gateway shall forget what it keeps of an earlier session.
    pub clean: bool,
    /// The protocol id; 1 in this version, anything else is refused by the session (D-14).
    pub protocol_id: u8,
    /// The keep-alive time in seconds.
    pub duration_s: u16,
    /// The node's name; UTF-8 and length are the session's to judge (D-14).
    pub client_id: &'a [u8],
}

impl<'a> Connect<'a> {
    /// The protocol id of MQTT-SN 1.2.
    pub const PROTOCOL_ID: u8 = 0x01;

    pub(super) fn parse(mut body: Reader<'a>) -> Result<Self, WireError> {
        let flags = Flags(body.u8()?);
        Ok(Self {
            will: flags.will(),
            clean: flags.clean(),
            protocol_id: body.u8()?,
            duration_s: body.u16()?,
            client_id: body.rest(),
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(Flags::empty().with_will(self.will).with_clean(self.clean).0)?;
        w.u8(self.protocol_id)?;
        w.u16(self.duration_s)?;
        w.bytes(self.client_id)
    }
}

/// A message whose body is one return code: CONNACK, WILLTOPICRESP, WILLMSGRESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnAck {
    /// The answer.
    pub return_code: ReturnCode,
}

impl ConnAck {
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, WireError> {
        let answer = Self {
            return_code: ReturnCode::from_code(body.u8()?),
        };
        body.end(answer)
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(self.return_code.code())
    }
}

/// Where a will goes: the body of WILLTOPIC and WILLTOPICUPD unless they are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WillTarget<'a> {
    /// The will's quality of service; −1 is for the session to refuse.
    pub qos: QoS,
    /// Whether the broker retains the will.
    pub retain: bool,
    /// The will's topic name; may be empty, which the session refuses.
    pub topic: &'a [u8],
}

impl<'a> WillTarget<'a> {
    /// Reads the body; an empty one deletes the will [MQTT-SN 1.2 §6.3].
    pub(super) fn parse(mut body: Reader<'a>) -> Result<Option<Self>, WireError> {
        if body.is_empty() {
            return Ok(None);
        }
        let flags = Flags(body.u8()?);
        Ok(Some(Self {
            qos: flags.qos(),
            retain: flags.retain(),
            topic: body.rest(),
        }))
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(Flags::empty().with_qos(self.qos).with_retain(self.retain).0)?;
        w.bytes(self.topic)
    }
}
