//! The layouts of all messages as a table [MQTT-SN 1.2 §5.4].

use shared::wire::MessageType;

/// One part of a message's body; a name is the field's label.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The flags octet, with the flags that mean something in this message.
    Flags(&'static [Flag]),
    /// One octet, a number.
    Octet(&'static str),
    /// Two octets, a number.
    Number(&'static str),
    /// How far to broadcast, one octet.
    Radius,
    /// The control octet of an encapsulation.
    Ctrl,
    /// Two octets of seconds, with what they span.
    Duration(&'static str),
    /// The topic id of REGISTER: always a normal one.
    TopicId,
    /// The topic id of an answer, which does not say of which type it is.
    AnsweredTopicId,
    /// The two topic octets of PUBLISH, of the type that the flags tell.
    Topic,
    /// The topic of SUBSCRIBE and UNSUBSCRIBE, of the type that the flags tell.
    Filter,
    /// The answer to a request.
    ReturnCode,
    /// The rest of the body, text.
    Text(&'static str),
    /// The rest of the body, octets.
    Bytes(&'static str),
    /// The rest of the body, a network address.
    Address,
    /// From here on all or nothing; the text tells what nothing means.
    Optional(&'static str),
}

/// A part of the flags octet [MQTT-SN 1.2 §5.3.4].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Dup,
    Qos,
    Retain,
    Will,
    Clean,
    TopicIdType,
}

impl Flag {
    /// Returns the bits that the flag takes.
    pub(super) const fn mask(self) -> u8 {
        match self {
            Self::Dup => 0b1000_0000,
            Self::Qos => 0b0110_0000,
            Self::Retain => 0b0001_0000,
            Self::Will => 0b0000_1000,
            Self::Clean => 0b0000_0100,
            Self::TopicIdType => 0b0000_0011,
        }
    }

    /// Returns the flag's value in `flags`, as a number.
    pub(super) const fn of(self, flags: u8) -> u8 {
        (flags & self.mask()) >> self.mask().trailing_zeros()
    }
}

/// Returns the layout of a message's body; that of an encapsulation ends with the node id.
pub(super) const fn layout(kind: MessageType) -> &'static [Part] {
    use MessageType as Type;
    match kind {
        Type::Advertise => &[
            Part::Octet("gw id"),
            Part::Duration("to the next ADVERTISE"),
        ],
        Type::SearchGw => &[Part::Radius],
        Type::GwInfo => &[Part::Octet("gw id"), Part::Address],
        Type::Connect => &[
            Part::Flags(&[Flag::Will, Flag::Clean]),
            Part::Octet("protocol id"),
            Part::Duration("keep-alive"),
            Part::Text("client id"),
        ],
        Type::ConnAck | Type::WillTopicResp | Type::WillMsgResp => &[Part::ReturnCode],
        Type::WillTopicReq | Type::WillMsgReq | Type::PingResp => &[],
        Type::WillTopic | Type::WillTopicUpd => &[
            Part::Optional("deletes the will"),
            Part::Flags(&[Flag::Qos, Flag::Retain]),
            Part::Text("will topic"),
        ],
        Type::WillMsg | Type::WillMsgUpd => &[Part::Bytes("will msg")],
        Type::Register => &[
            Part::TopicId,
            Part::Number("msg id"),
            Part::Text("topic name"),
        ],
        Type::RegAck | Type::PubAck => &[
            Part::AnsweredTopicId,
            Part::Number("msg id"),
            Part::ReturnCode,
        ],
        Type::Publish => &[
            Part::Flags(&[Flag::Dup, Flag::Qos, Flag::Retain, Flag::TopicIdType]),
            Part::Topic,
            Part::Number("msg id"),
            Part::Bytes("payload"),
        ],
        Type::PubComp | Type::PubRec | Type::PubRel | Type::UnsubAck => &[Part::Number("msg id")],
        Type::Subscribe => &[
            Part::Flags(&[Flag::Dup, Flag::Qos, Flag::TopicIdType]),
            Part::Number("msg id"),
            Part::Filter,
        ],
        Type::SubAck => &[
            Part::Flags(&[Flag::Qos]),
            Part::AnsweredTopicId,
            Part::Number("msg id"),
            Part::ReturnCode,
        ],
        Type::Unsubscribe => &[
            Part::Flags(&[Flag::TopicIdType]),
            Part::Number("msg id"),
            Part::Filter,
        ],
        Type::PingReq => &[Part::Text("client id")],
        Type::Disconnect => &[Part::Optional(""), Part::Duration("of sleep")],
        Type::Forward => &[Part::Ctrl, Part::Bytes("node id")],
    }
}
