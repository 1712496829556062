//! PUBLISH and the acknowledgements that carry a topic id [MQTT-SN 1.2 §5.4.11–5.4.13].

use super::cursor::{Reader, Writer};
use super::fields::Flags;
use super::{MsgId, QoS, ReturnCode, TopicId, TopicRef, WireError};

/// The octets of a PUBLISH beside its payload, in the short length form.
pub const PUBLISH_OVERHEAD: usize = 7;

/// PUBLISH: one publication, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Publish<'a> {
    /// Whether this repeats an earlier transmission.
    pub dup: bool,
    /// The quality of service; −1 only from a node.
    pub qos: QoS,
    /// Whether the broker retains it, or, from the gateway, whether it was retained.
    pub retain: bool,
    /// The topic.
    pub topic: TopicRef,
    /// The id of the exchange; 0 at QoS 0 and −1.
    pub msg_id: MsgId,
    /// The payload; may be empty.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Splits the QoS −1 extension some clients send: with topic id type 00 the topic id field
    /// holds the length of a name that stands before the payload.
    ///
    /// Returns the name and the payload, or `None` where the message is not of that form. The
    /// standard knows no such form; a gateway uses it only where it is switched on.
    #[must_use]
    pub fn long_name(&self) -> Option<(&'a [u8], &'a [u8])> {
        match (self.qos, self.topic) {
            (QoS::MinusOne, TopicRef::Normal(len)) => {
                self.payload.split_at_checked(usize::from(len.0))
            }
            _ => None,
        }
    }

    pub(super) fn parse(mut body: Reader<'a>) -> Result<Self, WireError> {
        let flags = Flags(body.u8()?);
        let topic = body.pair()?;
        let msg_id = MsgId(body.u16()?);
        Ok(Self {
            dup: flags.dup(),
            qos: flags.qos(),
            retain: flags.retain(),
            topic: TopicRef::parse(flags, topic)?,
            msg_id,
            payload: body.rest(),
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        let flags = Flags::empty()
            .with_dup(self.dup)
            .with_qos(self.qos)
            .with_retain(self.retain)
            .with_topic_id_type(self.topic.id_type());
        w.u8(flags.0)?;
        w.u16(self.topic.topic_id().0)?;
        w.u16(self.msg_id.0)?;
        w.bytes(self.payload)
    }
}

/// The body of REGACK and PUBACK: topic id, message id and return code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Acknowledgement {
    /// The topic id that is answered.
    pub topic_id: TopicId,
    /// The id of the exchange that is answered.
    pub msg_id: MsgId,
    /// The answer.
    pub return_code: ReturnCode,
}

impl Acknowledgement {
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, WireError> {
        let ack = Self {
            topic_id: TopicId(body.u16()?),
            msg_id: MsgId(body.u16()?),
            return_code: ReturnCode::from_code(body.u8()?),
        };
        body.end(ack)
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u16(self.topic_id.0)?;
        w.u16(self.msg_id.0)?;
        w.u8(self.return_code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ShortName;

    const fn minus_one(topic: TopicRef, payload: &[u8]) -> Publish<'_> {
        Publish {
            dup: false,
            qos: QoS::MinusOne,
            retain: false,
            topic,
            msg_id: MsgId::NONE,
            payload,
        }
    }

    #[test]
    fn long_name_is_split_off_where_it_fits() {
        let split = |len, payload| minus_one(TopicRef::Normal(TopicId(len)), payload).long_name();
        assert_eq!(split(3, b"a/bhey"), Some((&b"a/b"[..], &b"hey"[..])));
        assert_eq!(split(6, b"a/bhey"), Some((&b"a/bhey"[..], &b""[..])));
        assert_eq!(split(7, b"a/bhey"), None);
        assert_eq!(split(0xFFFF, b""), None);
    }

    #[test]
    fn long_name_is_of_minus_one_and_type_00_only() {
        let plain = minus_one(TopicRef::Normal(TopicId(3)), b"a/bhey");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            assert_eq!(Publish { qos, ..plain }.long_name(), None);
        }
        let short = TopicRef::Short(ShortName([0, 3]));
        for topic in [TopicRef::Predefined(TopicId(3)), short] {
            assert_eq!(minus_one(topic, b"a/bhey").long_name(), None);
        }
    }
}
