//! Filters: what a subscription asks for, and which names they match.

use core::fmt;

use super::name::{check_text, text};
use super::{TopicError, TopicName};

/// A filter that was checked: a name, or one with `+` and `#` where they may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter<'a>(&'a str);

impl<'a> Filter<'a> {
    /// Checks `filter`.
    ///
    /// # Errors
    /// [`TopicError::Empty`], [`TopicError::TooLong`], [`TopicError::Nul`],
    /// [`TopicError::WildcardNotAlone`], [`TopicError::HashNotLast`],
    /// [`TopicError::ShareName`] or [`TopicError::ShareWithoutFilter`].
    pub fn new(filter: &'a str) -> Result<Self, TopicError> {
        check_text(filter)?;
        let Some(shared) = filter.strip_prefix(SHARE_PREFIX) else {
            check_levels(filter)?;
            return Ok(Self(filter));
        };
        // [MQTT 5 §4.8.2]
        let (group, rest) = shared.split_once('/').unwrap_or((shared, ""));
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(TopicError::ShareName);
        }
        if rest.is_empty() {
            return Err(TopicError::ShareWithoutFilter);
        }
        check_levels(rest)?;
        Ok(Self(filter))
    }

    /// Checks octets as they come in SUBSCRIBE or UNSUBSCRIBE.
    ///
    /// # Errors
    /// As [`Self::new`], and [`TopicError::NotUtf8`].
    pub fn from_bytes(filter: &'a [u8]) -> Result<Self, TopicError> {
        Self::new(text(filter)?)
    }

    /// Returns the filter as text, as it was given.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns whether the filter has a wildcard, and so no topic id of its own.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns the share name of a `$share/NAME/FILTER`.
    #[must_use]
    pub fn share_name(self) -> Option<&'a str> {
        split_share(self.0).map(|(group, _)| group)
    }

    /// Returns the one name that the filter matches, or `None` where it has a wildcard or is
    /// shared.
    #[must_use]
    pub fn exact_name(self) -> Option<TopicName<'a>> {
        if self.share_name().is_some() {
            return None;
        }
        TopicName::new(self.0).ok()
    }

    /// Returns whether the filter matches `name`; of a shared one, the filter proper counts.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        matches(self.0, name.as_str())
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns whether `filter` matches `name` [MQTT 3.1.1 §4.7], both of them checked before; of
/// a shared filter, the filter proper counts.
///
/// `+` stands for one level, `#` for the rest, including none: `a/#` matches `a`. A filter
/// that begins with a wildcard does not match a name that begins with `$`.
///
/// Of text that is no filter or no name the answer means nothing, but there is one.
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    let filter = proper(filter);
    // [MQTT 3.1.1 §4.7.2]
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    levels_match(filter.as_bytes(), name.as_bytes())
}

/// Returns whether `allowed` covers `asked`: whether it matches every name that `asked` matches.
/// Both are filters that were checked before; of shared ones, the filter proper counts.
///
/// The answer is exact: where it is no, there is a name that only `asked` matches. Of text that
/// is no filter the answer means nothing, but there is one.
#[must_use]
pub fn covers(allowed: &str, asked: &str) -> bool {
    let (allowed, asked) = (proper(allowed), proper(asked));
    // [MQTT 3.1.1 §4.7.2]
    if asked.starts_with('$') && allowed.starts_with(['+', '#']) {
        return false;
    }
    // A name has one octet at least, so at the front `#` asks for no more than `+/#`, and of
    // `/#` the parent level is no name.
    let asked = match asked {
        "#" => "+/#",
        "/#" => "/+/#",
        _ => asked,
    };
    let (mut allowed, mut asked) = (allowed.split('/'), asked.split('/'));
    loop {
        match (allowed.next(), asked.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(own), Some(level)) if own == level => {}
            _ => return false,
        }
    }
}

/// Walks filter and name together, octet by octet: at this length searching for the levels'
/// ends first takes several times as long.
fn levels_match(mut filter: &[u8], mut name: &[u8]) -> bool {
    loop {
        match (filter, name) {
            ([], []) | ([b'#', ..], _) => return true,
            // [MQTT 3.1.1 §4.7.1.2] The parent level is included.
            ([b'/', b'#'], []) => return true,
            ([b'+', after @ ..], _) => {
                let level_len = name.iter().take_while(|octet| **octet != b'/').count();
                filter = after;
                name = name.get(level_len..).unwrap_or(&[]);
            }
            ([expected, after @ ..], [found, rest @ ..]) if expected == found => {
                filter = after;
                name = rest;
            }
            _ => return false,
        }
    }
}

/// Returns what a shared filter shares, and any other as it is.
fn proper(filter: &str) -> &str {
    split_share(filter).map_or(filter, |(_, rest)| rest)
}

fn split_share(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix(SHARE_PREFIX)?.split_once('/')
}

fn check_levels(filter: &str) -> Result<(), TopicError> {
    let mut ended = false;
    for level in filter.split('/') {
        if ended {
            return Err(TopicError::HashNotLast);
        }
        if level.len() > 1 && level.contains(['+', '#']) {
            return Err(TopicError::WildcardNotAlone);
        }
        ended = level == "#";
    }
    Ok(())
}

const SHARE_PREFIX: &str = "$share/";
