//! The message itself: one enum, one parser, one emitter.

use super::cursor::{Reader, Writer};
use super::{
    Acknowledgement, Advertise, ConnAck, Connect, Disconnect, Forward, GwInfo, Header, LengthForm,
    MessageType, MsgId, PingReq, Publish, Register, SearchGw, SubAck, Subscribe, Unsubscribe,
    WillTarget, WireError,
};

/// One MQTT-SN message; names and payloads borrow from the datagram it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// A gateway tells that it is there.
    Advertise(Advertise),
    /// A node looks for a gateway.
    SearchGw(SearchGw),
    /// Where a gateway is.
    GwInfo(GwInfo<'a>),
    /// A node opens its session.
    Connect(Connect<'a>),
    /// The answer to CONNECT.
    ConnAck(ConnAck),
    /// The gateway asks for the will topic.
    WillTopicReq,
    /// The will topic; `None` deletes the will.
    WillTopic(Option<WillTarget<'a>>),
    /// The gateway asks for the will message.
    WillMsgReq,
    /// The will message, the bytes to publish.
    WillMsg(&'a [u8]),
    /// Binds a topic id to a name.
    Register(Register<'a>),
    /// The answer to REGISTER.
    RegAck(Acknowledgement),
    /// A publication.
    Publish(Publish<'a>),
    /// The end of QoS 1, or a refusal at any QoS.
    PubAck(Acknowledgement),
    /// The end of QoS 2.
    PubComp(MsgId),
    /// The first answer of QoS 2.
    PubRec(MsgId),
    /// The release of QoS 2.
    PubRel(MsgId),
    /// A node subscribes.
    Subscribe(Subscribe<'a>),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck),
    /// A node unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// The answer to UNSUBSCRIBE.
    UnsubAck(MsgId),
    /// A ping, or a sleeping node's wake.
    PingReq(PingReq<'a>),
    /// The answer to PINGREQ.
    PingResp,
    /// The end of a connection, or the start of sleep.
    Disconnect(Disconnect),
    /// A node changes its will topic; `None` deletes the will.
    WillTopicUpd(Option<WillTarget<'a>>),
    /// The answer to WILLTOPICUPD.
    WillTopicResp(ConnAck),
    /// A node changes its will message.
    WillMsgUpd(&'a [u8]),
    /// The answer to WILLMSGUPD.
    WillMsgResp(ConnAck),
    /// A message wrapped by a forwarder.
    Forward(Forward<'a>),
}

impl<'a> Message<'a> {
    /// Reads the one message that `datagram` holds.
    ///
    /// # Errors
    /// Why the datagram is not a message (D-01): [`WireError::Length`], [`WireError::Truncated`],
    /// [`WireError::Trailing`], [`WireError::Type`], [`WireError::Body`],
    /// [`WireError::TopicIdType`] or [`WireError::Inner`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, WireError> {
        let header = Header::parse(datagram)?;
        let kind = MessageType::from_code(header.type_code);
        if kind == Some(MessageType::Forward) {
            return Forward::parse(header, datagram).map(Self::Forward);
        }
        if header.length > datagram.len() {
            return Err(WireError::Truncated);
        }
        if header.length < datagram.len() {
            return Err(WireError::Trailing);
        }
        let kind = kind.ok_or(WireError::Type(header.type_code))?;
        let body = datagram.get(header.len()..).ok_or(WireError::Truncated)?;
        Self::parse_body(kind, Reader::new(body))
    }

    fn parse_body(kind: MessageType, mut body: Reader<'a>) -> Result<Self, WireError> {
        use MessageType as Type;
        Ok(match kind {
            Type::Advertise => Self::Advertise(Advertise::parse(body)?),
            Type::SearchGw => Self::SearchGw(SearchGw::parse(body)?),
            Type::GwInfo => Self::GwInfo(GwInfo::parse(body)?),
            Type::Connect => Self::Connect(Connect::parse(body)?),
            Type::ConnAck => Self::ConnAck(ConnAck::parse(body)?),
            Type::WillTopicReq => body.end(Self::WillTopicReq)?,
            Type::WillTopic => Self::WillTopic(WillTarget::parse(body)?),
            Type::WillMsgReq => body.end(Self::WillMsgReq)?,
            Type::WillMsg => Self::WillMsg(body.rest()),
            Type::Register => Self::Register(Register::parse(body)?),
            Type::RegAck => Self::RegAck(Acknowledgement::parse(body)?),
            Type::Publish => Self::Publish(Publish::parse(body)?),
            Type::PubAck => Self::PubAck(Acknowledgement::parse(body)?),
            Type::PubComp => Self::PubComp(msg_id(body)?),
            Type::PubRec => Self::PubRec(msg_id(body)?),
            Type::PubRel => Self::PubRel(msg_id(body)?),
            Type::Subscribe => Self::Subscribe(Subscribe::parse(body)?),
            Type::SubAck => Self::SubAck(SubAck::parse(body)?),
            Type::Unsubscribe => Self::Unsubscribe(Unsubscribe::parse(body)?),
            Type::UnsubAck => Self::UnsubAck(msg_id(body)?),
            Type::PingReq => Self::PingReq(PingReq {
                client_id: body.rest(),
            }),
            Type::PingResp => body.end(Self::PingResp)?,
            Type::Disconnect => Self::Disconnect(Disconnect::parse(body)?),
            Type::WillTopicUpd => Self::WillTopicUpd(WillTarget::parse(body)?),
            Type::WillTopicResp => Self::WillTopicResp(ConnAck::parse(body)?),
            Type::WillMsgUpd => Self::WillMsgUpd(body.rest()),
            Type::WillMsgResp => Self::WillMsgResp(ConnAck::parse(body)?),
            Type::Forward => return Err(WireError::Body),
        })
    }

    /// Returns the message's type.
    #[must_use]
    pub const fn kind(&self) -> MessageType {
        use MessageType as Type;
        match self {
            Self::Advertise(_) => Type::Advertise,
            Self::SearchGw(_) => Type::SearchGw,
            Self::GwInfo(_) => Type::GwInfo,
            Self::Connect(_) => Type::Connect,
            Self::ConnAck(_) => Type::ConnAck,
            Self::WillTopicReq => Type::WillTopicReq,
            Self::WillTopic(_) => Type::WillTopic,
            Self::WillMsgReq => Type::WillMsgReq,
            Self::WillMsg(_) => Type::WillMsg,
            Self::Register(_) => Type::Register,
            Self::RegAck(_) => Type::RegAck,
            Self::Publish(_) => Type::Publish,
            Self::PubAck(_) => Type::PubAck,
            Self::PubComp(_) => Type::PubComp,
            Self::PubRec(_) => Type::PubRec,
            Self::PubRel(_) => Type::PubRel,
            Self::Subscribe(_) => Type::Subscribe,
            Self::SubAck(_) => Type::SubAck,
            Self::Unsubscribe(_) => Type::Unsubscribe,
            Self::UnsubAck(_) => Type::UnsubAck,
            Self::PingReq(_) => Type::PingReq,
            Self::PingResp => Type::PingResp,
            Self::Disconnect(_) => Type::Disconnect,
            Self::WillTopicUpd(_) => Type::WillTopicUpd,
            Self::WillTopicResp(_) => Type::WillTopicResp,
            Self::WillMsgUpd(_) => Type::WillMsgUpd,
            Self::WillMsgResp(_) => Type::WillMsgResp,
            Self::Forward(_) => Type::Forward,
        }
    }

    /// Returns the octets that [`Self::emit`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.encoded_len_in(LengthForm::Short)
    }

    /// Returns the octets that [`Self::emit_in`] writes.
    #[must_use]
    pub const fn encoded_len_in(&self, form: LengthForm) -> usize {
        match self {
            Self::Forward(forward) => {
                super::FORWARD_OVERHEAD + forward.node_id.len() + forward.inner.len()
            }
            _ => Header::message_len(form, self.body_len()),
        }
    }

    /// Writes the message into `buf`, in the short length form where it fits, and returns the
    /// octets written.
    ///
    /// # Errors
    /// [`WireError::Buffer`] where `buf` is shorter than [`Self::encoded_len`], the message
    /// longer than [`MESSAGE_LEN_MAX`](super::MESSAGE_LEN_MAX), or an encapsulation's node id
    /// longer than [`FORWARD_NODE_ID_LEN_MAX`](super::FORWARD_NODE_ID_LEN_MAX).
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, WireError> {
        self.emit_in(LengthForm::Short, buf)
    }

    /// Writes the message like [`Self::emit`], but in the given length form; a peer must read
    /// the long form even where the short one would do. An encapsulation has only one form.
    ///
    /// # Errors
    /// [`WireError::Buffer`] where `buf` is shorter than [`Self::encoded_len_in`] or a length
    /// is more than its field can say. What was written to `buf` is then of no use.
    pub fn emit_in(&self, form: LengthForm, buf: &mut [u8]) -> Result<usize, WireError> {
        let mut w = Writer::new(buf);
        if let Self::Forward(forward) = self {
            forward.emit(&mut w)?;
        } else {
            Header::emit(form, self.kind(), self.body_len(), &mut w)?;
            self.emit_body(&mut w)?;
        }
        Ok(w.len())
    }

    const fn body_len(&self) -> usize {
        match self {
            Self::Advertise(_) => 3,
            Self::SearchGw(_)
            | Self::ConnAck(_)
            | Self::WillTopicResp(_)
            | Self::WillMsgResp(_) => 1,
            Self::GwInfo(info) => 1 + info.gw_addr.len(),
            Self::Connect(connect) => 4 + connect.client_id.len(),
            Self::WillTopicReq | Self::WillMsgReq | Self::PingResp => 0,
            Self::WillTopic(target) | Self::WillTopicUpd(target) => match target {
                Some(target) => 1 + target.topic.len(),
                None => 0,
            },
            Self::WillMsg(bytes) | Self::WillMsgUpd(bytes) => bytes.len(),
            Self::Register(register) => 4 + register.topic_name.len(),
            Self::RegAck(_) | Self::PubAck(_) => 5,
            Self::Publish(publish) => 5 + publish.payload.len(),
            Self::PubComp(_) | Self::PubRec(_) | Self::PubRel(_) | Self::UnsubAck(_) => 2,
            Self::Subscribe(subscribe) => subscribe.body_len(),
            Self::SubAck(_) => 6,
            Self::Unsubscribe(unsubscribe) => unsubscribe.body_len(),
            Self::PingReq(ping) => ping.client_id.len(),
            Self::Disconnect(disconnect) => {
                if disconnect.duration_s.is_some() {
                    2
                } else {
                    0
                }
            }
            Self::Forward(forward) => forward.inner.len(),
        }
    }

    fn emit_body(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        match self {
            Self::Advertise(advertise) => advertise.emit(w),
            Self::SearchGw(search) => search.emit(w),
            Self::GwInfo(info) => info.emit(w),
            Self::Connect(connect) => connect.emit(w),
            Self::ConnAck(code) | Self::WillTopicResp(code) | Self::WillMsgResp(code) => {
                code.emit(w)
            }
            Self::WillTopicReq | Self::WillMsgReq | Self::PingResp => Ok(()),
            Self::WillTopic(target) | Self::WillTopicUpd(target) => {
                target.as_ref().map_or(Ok(()), |target| target.emit(w))
            }
            Self::WillMsg(bytes) | Self::WillMsgUpd(bytes) => w.bytes(bytes),
            Self::Register(register) => register.emit(w),
            Self::RegAck(ack) | Self::PubAck(ack) => ack.emit(w),
            Self::Publish(publish) => publish.emit(w),
            Self::PubComp(id) | Self::PubRec(id) | Self::PubRel(id) | Self::UnsubAck(id) => {
                w.u16(id.0)
            }
            Self::Subscribe(subscribe) => subscribe.emit(w),
            Self::SubAck(ack) => ack.emit(w),
            Self::Unsubscribe(unsubscribe) => unsubscribe.emit(w),
            Self::PingReq(ping) => w.bytes(ping.client_id),
            Self::Disconnect(disconnect) => disconnect.emit(w),
            Self::Forward(forward) => forward.emit(w),
        }
    }
}

fn msg_id(mut body: Reader<'_>) -> Result<MsgId, WireError> {
    let id = MsgId(body.u16()?);
    body.end(id)
}
