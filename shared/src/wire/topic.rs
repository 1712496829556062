//! How messages name topics, and REGISTER [MQTT-SN 1.2 §5.4.10].

use super::cursor::{Reader, Writer};
use super::fields::{Flags, TopicIdType};
use super::{MsgId, ShortName, TopicId, WireError};

/// The octets of a REGISTER beside its topic name.
pub const REGISTER_OVERHEAD: usize = 6;

/// The topic of a PUBLISH: two octets and what they mean. The three kinds are separate number
/// spaces (D-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// An id that REGISTER or SUBACK bound to a name within one session.
    Normal(TopicId),
    /// An id that both sides know beforehand.
    Predefined(TopicId),
    /// The name itself.
    Short(ShortName),
}

impl TopicRef {
    /// Returns the two octets as a number, as acknowledgements repeat them.
    #[must_use]
    pub const fn topic_id(self) -> TopicId {
        match self {
            Self::Normal(id) | Self::Predefined(id) => id,
            Self::Short(ShortName(octets)) => TopicId(u16::from_be_bytes(octets)),
        }
    }

    pub(super) const fn id_type(self) -> TopicIdType {
        match self {
            Self::Normal(_) => TopicIdType::Normal,
            Self::Predefined(_) => TopicIdType::Predefined,
            Self::Short(_) => TopicIdType::Short,
        }
    }

    pub(super) fn parse(flags: Flags, octets: [u8; 2]) -> Result<Self, WireError> {
        let id = TopicId(u16::from_be_bytes(octets));
        Ok(match flags.topic_id_type().ok_or(WireError::TopicIdType)? {
            TopicIdType::Normal => Self::Normal(id),
            TopicIdType::Predefined => Self::Predefined(id),
            TopicIdType::Short => Self::Short(ShortName(octets)),
        })
    }
}

/// The topic of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicFilter<'a> {
    /// A topic name or a filter with wildcards; UTF-8 is the session's to judge (D-07).
    Name(&'a [u8]),
    /// A pre-defined id.
    Predefined(TopicId),
    /// A short name.
    Short(ShortName),
}

impl<'a> TopicFilter<'a> {
    pub(super) const fn id_type(&self) -> TopicIdType {
        match self {
            Self::Name(_) => TopicIdType::Normal,
            Self::Predefined(_) => TopicIdType::Predefined,
            Self::Short(_) => TopicIdType::Short,
        }
    }

    pub(super) fn parse(flags: Flags, mut body: Reader<'a>) -> Result<Self, WireError> {
        match flags.topic_id_type().ok_or(WireError::TopicIdType)? {
            TopicIdType::Normal => Ok(Self::Name(body.rest())),
            TopicIdType::Predefined => {
                let id = Self::Predefined(TopicId(body.u16()?));
                body.end(id)
            }
            TopicIdType::Short => {
                let name = Self::Short(ShortName(body.pair()?));
                body.end(name)
            }
        }
    }

    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Name(name) => name.len(),
            Self::Predefined(_) | Self::Short(_) => 2,
        }
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        match self {
            Self::Name(name) => w.bytes(name),
            Self::Predefined(id) => w.u16(id.0),
            Self::Short(name) => w.bytes(&name.0),
        }
    }
}

/// REGISTER: binds a topic id to a topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register<'a> {
    /// The id; 0 when a node asks for one.
    pub topic_id: TopicId,
    /// The id of this exchange.
    pub msg_id: MsgId,
    /// The topic name; its validity is the session's to judge (D-07).
    pub topic_name: &'a [u8],
}

impl<'a> Register<'a> {
    pub(super) fn parse(mut body: Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            topic_id: TopicId(body.u16()?),
            msg_id: MsgId(body.u16()?),
            topic_name: body.rest(),
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u16(self.topic_id.0)?;
        w.u16(self.msg_id.0)?;
        w.bytes(self.topic_name)
    }
}
