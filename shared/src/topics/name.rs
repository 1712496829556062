//! Topic names: what a publication is published to.

use core::fmt;

use super::{TOPIC_LEN_MAX, TopicError};
use crate::wire::ShortName;

/// A topic name that was checked: UTF-8, 1 to 65,535 octets, no U+0000, no wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`TopicError::Empty`], [`TopicError::TooLong`], [`TopicError::Nul`] or
    /// [`TopicError::WildcardInName`].
    pub fn new(name: &'a str) -> Result<Self, TopicError> {
        check_text(name)?;
        if name.contains(['+', '#']) {
            return Err(TopicError::WildcardInName);
        }
        Ok(Self(name))
    }

    /// Checks octets as they come in REGISTER or a will (D-07).
    ///
    /// # Errors
    /// As [`Self::new`], and [`TopicError::NotUtf8`].
    pub fn from_bytes(name: &'a [u8]) -> Result<Self, TopicError> {
        Self::new(text(name)?)
    }

    /// Checks a short name: its two octets are the topic name (D-07).
    ///
    /// # Errors
    /// [`TopicError::NotUtf8`], [`TopicError::Nul`] or [`TopicError::WildcardInName`].
    pub fn from_short(name: &'a ShortName) -> Result<Self, TopicError> {
        Self::from_bytes(&name.0)
    }

    /// Returns the name as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns the name as a short name where it has exactly two octets; a name of one
    /// character cannot be one (D-07).
    #[must_use]
    pub fn to_short(self) -> Option<ShortName> {
        self.0.as_bytes().try_into().ok().map(ShortName)
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads octets as UTF-8, judging their length first: it is the cheaper check.
pub(super) fn text(octets: &[u8]) -> Result<&str, TopicError> {
    if octets.len() > TOPIC_LEN_MAX {
        return Err(TopicError::TooLong(octets.len()));
    }
    core::str::from_utf8(octets).map_err(|_| TopicError::NotUtf8)
}

/// Checks what names and filters have in common [MQTT 3.1.1 §4.7.3].
pub(super) fn check_text(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > TOPIC_LEN_MAX {
        return Err(TopicError::TooLong(topic.len()));
    }
    if topic.contains('\0') {
        return Err(TopicError::Nul);
    }
    Ok(())
}
