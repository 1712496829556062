//! The fields that several messages share [MQTT-SN 1.2 §5.3].

use core::fmt;

use crate::octets::Octets;

/// A 16-bit topic id, normal or pre-defined; 0 and 0xFFFF are reserved [MQTT-SN 1.2 §5.3.11].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u16);

impl TopicId {
    /// The id that stands for "none": in a node's REGISTER, in refusals, for wildcards.
    pub const NONE: Self = Self(0);

    /// Returns whether the id may name a topic, that is, is neither 0 nor 0xFFFF.
    #[must_use]
    pub const fn is_assignable(self) -> bool {
        self.0 != 0 && self.0 != 0xFFFF
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message id; 0 where an exchange has none [MQTT-SN 1.2 §5.3.7].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgId(pub u16);

impl MsgId {
    /// The id of messages that are not acknowledged.
    pub const NONE: Self = Self(0);

    /// Returns the id after this one, going from 0xFFFF to 1.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self(1),
        }
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A two-octet topic name that needs no id [MQTT-SN 1.2 §3, §5.3.11].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortName(pub [u8; 2]);

impl ShortName {
    /// Returns the name as text, or `None` where the octets are not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(&self.0).ok()
    }
}

/// The quality of service of a publication or subscription [MQTT-SN 1.2 §5.3.4].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// QoS −1: published without any connection, never answered [MQTT-SN 1.2 §6.8].
    MinusOne,
    /// QoS 0: sent once, may be lost.
    #[default]
    AtMostOnce,
    /// QoS 1: repeated until acknowledged, may arrive more than once.
    AtLeastOnce,
    /// QoS 2: arrives exactly once.
    ExactlyOnce,
}

impl QoS {
    /// Returns the level as a number, −1 to 2.
    #[must_use]
    pub const fn level(self) -> i8 {
        match self {
            Self::MinusOne => -1,
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::AtMostOnce => 0b0000_0000,
            Self::AtLeastOnce => 0b0010_0000,
            Self::ExactlyOnce => 0b0100_0000,
            Self::MinusOne => 0b0110_0000,
        }
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level().fmt(f)
    }
}

/// The answer of a request [MQTT-SN 1.2 §5.3.10].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReturnCode {
    /// 00: done.
    Accepted,
    /// 01: refused for congestion; the node waits T_WAIT before it asks again.
    Congestion,
    /// 02: the topic id is not known.
    InvalidTopicId,
    /// 03: refused for good.
    NotSupported,
    /// A reserved code as it came; treated as 03 and never sent (D-04).
    Reserved(u8),
}

impl ReturnCode {
    /// Returns the code's octet.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Congestion => 1,
            Self::InvalidTopicId => 2,
            Self::NotSupported => 3,
            Self::Reserved(code) => code,
        }
    }

    /// Returns the code for an octet.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Accepted,
            1 => Self::Congestion,
            2 => Self::InvalidTopicId,
            3 => Self::NotSupported,
            other => Self::Reserved(other),
        }
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Congestion => f.write_str("rejected: congestion"),
            Self::InvalidTopicId => f.write_str("rejected: invalid topic id"),
            Self::NotSupported => f.write_str("rejected: not supported"),
            Self::Reserved(code) => write!(f, "reserved code 0x{code:02x}"),
        }
    }
}

/// The name of a node behind a forwarder or a radio, 0 to 18 octets [MQTT-SN 1.2 §5.5].
///
/// The standard leaves the size open up to 252 octets. In use are 1, 2, 4, 6 (IPv4 address
/// and port), 8 (EUI-64) and 16 or 18 for IPv6; a session keeps at most [`NodeId::LEN_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Octets<{ Self::LEN_MAX }>);

impl NodeId {
    /// The longest node id that is kept, in octets.
    pub const LEN_MAX: usize = 18;

    /// Creates a node id, or returns `None` where `octets` is longer than [`Self::LEN_MAX`].
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        Octets::new(octets).map(Self)
    }

    /// Returns the octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// The kind of a topic id, as the flags carry it [MQTT-SN 1.2 §5.3.4].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicIdType {
    Normal,
    Predefined,
    Short,
}

/// The flags octet [MQTT-SN 1.2 §5.3.4]; bits without a meaning in a message are ignored.
#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) u8);

impl Flags {
    const DUP: u8 = 0b1000_0000;
    const RETAIN: u8 = 0b0001_0000;
    const WILL: u8 = 0b0000_1000;
    const CLEAN: u8 = 0b0000_0100;

    pub(super) const fn empty() -> Self {
        Self(0)
    }

    pub(super) const fn with_dup(self, on: bool) -> Self {
        self.with(Self::DUP, on)
    }

    pub(super) const fn with_retain(self, on: bool) -> Self {
        self.with(Self::RETAIN, on)
    }

    pub(super) const fn with_will(self, on: bool) -> Self {
        self.with(Self::WILL, on)
    }

    pub(super) const fn with_clean(self, on: bool) -> Self {
        self.with(Self::CLEAN, on)
    }

    pub(super) const fn with_qos(self, qos: QoS) -> Self {
        Self(self.0 | qos.bits())
    }

    pub(super) const fn with_topic_id_type(self, kind: TopicIdType) -> Self {
        Self(
            self.0
                | match kind {
                    TopicIdType::Normal => 0b00,
                    TopicIdType::Predefined => 0b01,
                    TopicIdType::Short => 0b10,
                },
        )
    }

    const fn with(self, bit: u8, on: bool) -> Self {
        if on { Self(self.0 | bit) } else { self }
    }

    pub(super) const fn dup(self) -> bool {
        self.0 & Self::DUP != 0
    }

    pub(super) const fn retain(self) -> bool {
        self.0 & Self::RETAIN != 0
    }

    pub(super) const fn will(self) -> bool {
        self.0 & Self::WILL != 0
    }

    pub(super) const fn clean(self) -> bool {
        self.0 & Self::CLEAN != 0
    }

    pub(super) const fn qos(self) -> QoS {
        match (self.0 >> 5) & 0b11 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            2 => QoS::ExactlyOnce,
            _ => QoS::MinusOne,
        }
    }

    /// Returns the topic id type, or `None` for the reserved `11`.
    pub(super) const fn topic_id_type(self) -> Option<TopicIdType> {
        match self.0 & 0b11 {
            0b00 => Some(TopicIdType::Normal),
            0b01 => Some(TopicIdType::Predefined),
            0b10 => Some(TopicIdType::Short),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn message_ids_skip_zero() {
        assert_eq!(MsgId::NONE.next(), MsgId(1));
        assert_eq!(MsgId(0xFFFE).next(), MsgId(0xFFFF));
        assert_eq!(MsgId(0xFFFF).next(), MsgId(1));
    }

    #[test]
    fn reserved_topic_ids_name_nothing() {
        assert!(!TopicId::NONE.is_assignable());
        assert!(TopicId(1).is_assignable());
        assert!(TopicId(0xFFFE).is_assignable());
        assert!(!TopicId(0xFFFF).is_assignable());
    }

    #[test]
    fn return_codes_keep_their_octet() {
        for code in 0..=0xFF {
            assert_eq!(ReturnCode::from_code(code).code(), code);
        }
        assert_eq!(
            ReturnCode::from_code(0x80).to_string(),
            "reserved code 0x80"
        );
    }

    #[test]
    fn every_flags_octet_reads_as_it_was_written() {
        for octet in 0..=0xFF {
            let flags = Flags(octet);
            let Some(kind) = flags.topic_id_type() else {
                assert_eq!(octet & 0b11, 0b11);
                continue;
            };
            let again = Flags::empty()
                .with_dup(flags.dup())
                .with_qos(flags.qos())
                .with_retain(flags.retain())
                .with_will(flags.will())
                .with_clean(flags.clean())
                .with_topic_id_type(kind);
            assert_eq!(again.0, octet);
        }
    }

    #[test]
    fn node_ids_are_kept_up_to_their_limit() {
        let octets = [0xAB; NodeId::LEN_MAX + 1];
        for len in 0..=NodeId::LEN_MAX {
            let id = NodeId::new(&octets[..len]).unwrap();
            assert_eq!(id.as_bytes(), &octets[..len]);
            assert_eq!(id.to_string(), "ab".repeat(len));
        }
        assert_eq!(NodeId::new(&octets), None);
    }

    #[test]
    fn node_ids_of_different_sizes_differ() {
        assert_ne!(NodeId::new(&[0]), NodeId::new(&[0, 0]));
        assert_ne!(NodeId::new(&[]), NodeId::new(&[0]));
    }

    #[test]
    fn short_names_are_text_only_as_utf8() {
        assert_eq!(ShortName(*b"tt").as_str(), Some("tt"));
        assert_eq!(ShortName([0xC2, 0xB0]).as_str(), Some("\u{b0}"));
        assert_eq!(ShortName([0xC2, 0x41]).as_str(), None);
    }
}
