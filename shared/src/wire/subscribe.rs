//! SUBSCRIBE, SUBACK, UNSUBSCRIBE [MQTT-SN 1.2 §5.4.15–5.4.18].

use super::cursor::{Reader, Writer};
use super::fields::Flags;
use super::{MsgId, QoS, ReturnCode, TopicFilter, TopicId, WireError};

/// SUBSCRIBE: a node asks for publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subscribe<'a> {
    /// Whether this repeats an earlier transmission.
    pub dup: bool,
    /// The requested quality of service; −1 is for the session to refuse.
    pub qos: QoS,
    /// The id of this exchange.
    pub msg_id: MsgId,
    /// What is subscribed to.
    pub topic: TopicFilter<'a>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn parse(mut body: Reader<'a>) -> Result<Self, WireError> {
        let flags = Flags(body.u8()?);
        Ok(Self {
            dup: flags.dup(),
            qos: flags.qos(),
            msg_id: MsgId(body.u16()?),
            topic: TopicFilter::parse(flags, body)?,
        })
    }

    pub(super) const fn body_len(&self) -> usize {
        3 + self.topic.len()
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        let flags = Flags::empty()
            .with_dup(self.dup)
            .with_qos(self.qos)
            .with_topic_id_type(self.topic.id_type());
        w.u8(flags.0)?;
        w.u16(self.msg_id.0)?;
        self.topic.emit(w)
    }
}

/// SUBACK: the answer to SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubAck {
    /// The granted quality of service.
    pub qos: QoS,
    /// The topic id, 0 for wildcards and refusals (D-15).
    pub topic_id: TopicId,
    /// The id of the exchange that is answered.
    pub msg_id: MsgId,
    /// The answer.
    pub return_code: ReturnCode,
}

impl SubAck {
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, WireError> {
        let ack = Self {
            qos: Flags(body.u8()?).qos(),
            topic_id: TopicId(body.u16()?),
            msg_id: MsgId(body.u16()?),
            return_code: ReturnCode::from_code(body.u8()?),
        };
        body.end(ack)
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(Flags::empty().with_qos(self.qos).0)?;
        w.u16(self.topic_id.0)?;
        w.u16(self.msg_id.0)?;
        w.u8(self.return_code.code())
    }
}

/// UNSUBSCRIBE: a node gives a subscription up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unsubscribe<'a> {
    /// The id of this exchange.
    pub msg_id: MsgId,
    /// What was subscribed to.
    pub topic: TopicFilter<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn parse(mut body: Reader<'a>) -> Result<Self, WireError> {
        let flags = Flags(body.u8()?);
        Ok(Self {
            msg_id: MsgId(body.u16()?),
            topic: TopicFilter::parse(flags, body)?,
        })
    }

    pub(super) const fn body_len(&self) -> usize {
        3 + self.topic.len()
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(Flags::empty().with_topic_id_type(self.topic.id_type()).0)?;
        w.u16(self.msg_id.0)?;
        self.topic.emit(w)
    }
}
