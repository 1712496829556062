//! Why bytes are not a topic, or a table not a table.

use core::fmt;

use crate::wire::TopicId;

/// Why bytes are not a topic name or not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicError {
    /// There is not a single character.
    Empty,
    /// There are more than [`TOPIC_LEN_MAX`](super::TOPIC_LEN_MAX) octets; the field holds how
    /// many.
    TooLong(usize),
    /// The octets are not UTF-8.
    NotUtf8,
    /// There is a U+0000.
    Nul,
    /// A name holds `+` or `#`.
    WildcardInName,
    /// A filter's `+` or `#` shares its level with other characters.
    WildcardNotAlone,
    /// A filter's `#` is not in the last level.
    HashNotLast,
    /// The share name of a `$share/…` filter is missing or holds a wildcard.
    ShareName,
    /// A `$share/…` filter ends before the filter proper.
    ShareWithoutFilter,
}

impl TopicError {
    /// Returns a short stable name, for counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong(_) => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::Nul => "nul",
            Self::WildcardInName => "wildcard_in_name",
            Self::WildcardNotAlone => "wildcard_not_alone",
            Self::HashNotLast => "hash_not_last",
            Self::ShareName => "share_name",
            Self::ShareWithoutFilter => "share_without_filter",
        }
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the topic is empty"),
            Self::TooLong(len) => write!(f, "the topic has {len} octets, more than 65535"),
            Self::NotUtf8 => f.write_str("the topic is not UTF-8"),
            Self::Nul => f.write_str("the topic holds a U+0000"),
            Self::WildcardInName => f.write_str("a topic name holds a + or a #"),
            Self::WildcardNotAlone => f.write_str("a + or a # is not alone in its level"),
            Self::HashNotLast => f.write_str("a # is not in the last level"),
            Self::ShareName => f.write_str("the share name is missing or holds a wildcard"),
            Self::ShareWithoutFilter => f.write_str("the shared subscription has no filter"),
        }
    }
}

impl core::error::Error for TopicError {}

/// Why pre-defined topics do not make a table; indices count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PredefinedError {
    /// An id is 0 or 0xFFFF, which are reserved [MQTT-SN 1.2 §5.3.11].
    ReservedId {
        /// The entry.
        index: usize,
        /// Its id.
        id: TopicId,
    },
    /// A name is not a topic name.
    Name {
        /// The entry.
        index: usize,
        /// What is wrong with its name.
        error: TopicError,
    },
    /// Two entries have the same id.
    DuplicateId {
        /// The first entry.
        first: usize,
        /// The later entry.
        second: usize,
    },
    /// Two entries have the same name.
    DuplicateName {
        /// The first entry.
        first: usize,
        /// The later entry.
        second: usize,
    },
}

impl fmt::Display for PredefinedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedId { index, id } => write!(f, "entry {index}: the id {id} is reserved"),
            Self::Name { index, error } => write!(f, "entry {index}: {error}"),
            Self::DuplicateId { first, second } => {
                write!(f, "entries {first} and {second} have the same id")
            }
            Self::DuplicateName { first, second } => {
                write!(f, "entries {first} and {second} have the same name")
            }
        }
    }
}

impl core::error::Error for PredefinedError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Name { error, .. } => Some(error),
            _ => None,
        }
    }
}
