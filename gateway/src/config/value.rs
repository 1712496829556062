//! The kinds of values, and the types of ours that they turn into.

mod read;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use shared::time::Duration;
use shared::wire::NodeId;

pub use rule::Rule;

use super::duration::format_duration;
use super::upstream::Secret;
use super::url::BrokerUrl;
use crate::session::{ForwarderRule, Prefix};

/// A value that has passed its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(u64),
    /// `true` or `false`.
    Boolean(bool),
    /// A text.
    Text(String),
    /// A text that is never shown.
    Secret(Secret),
    /// A duration.
    Duration(Duration),
    /// A duration, or none.
    DurationOrNever(Option<Duration>),
    /// An address and a port.
    SocketAddress(SocketAddr),
    /// Addresses and ports.
    SocketAddresses(Vec<SocketAddr>),
    /// The URL of a broker.
    BrokerUrl(BrokerUrl),
    /// A path, relative to the configuration file.
    Path(PathBuf),
    /// Who may forward.
    Forwarders(Vec<ForwarderRule>),
    /// Prefixes.
    Prefixes(Vec<Prefix>),
    /// Node ids.
    NodeIds(Vec<NodeId>),
    /// Texts.
    Texts(Vec<String>),
    /// Topic names by their ids.
    Topics(BTreeMap<u16, String>),
}

/// The word for a duration that never ends.
pub(super) const NEVER: &str = "never";

/// Writes the value as TOML does; a secret is not shown.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(switch) => switch.fmt(f),
            Self::Text(text) => quoted(f, text),
            Self::Secret(_) => f.write_str("…"),
            Self::Duration(duration) | Self::DurationOrNever(Some(duration)) => {
                quoted(f, &format_duration(*duration))
            }
            Self::DurationOrNever(None) => quoted(f, NEVER),
            Self::SocketAddress(address) => quoted(f, address),
            Self::BrokerUrl(url) => quoted(f, url),
            Self::Path(path) => quoted(f, &path.display()),
            Self::Forwarders(rules) => list(f, rules),
            Self::Prefixes(prefixes) => list(f, prefixes),
            Self::SocketAddresses(addresses) => list(f, addresses),
            Self::NodeIds(ids) => list(f, ids),
            Self::Texts(texts) => list(f, texts),
            Self::Topics(topics) => {
                for (index, (id, name)) in topics.iter().enumerate() {
                    f.write_str(if index == 0 { "{ " } else { ", " })?;
                    write!(f, "{id} = ")?;
                    quoted(f, name)?;
                }
                f.write_str(if topics.is_empty() { "{}" } else { " }" })
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &(impl ToString + ?Sized)) -> fmt::Result {
    // TOML escapes in its basic strings what Rust escapes, and in the same way but for \0.
    write!(f, "{:?}", text.to_string())
}

fn list(f: &mut fmt::Formatter<'_>, items: &[impl ToString]) -> fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        quoted(f, item)?;
    }
    f.write_str("]")
}

/// A type of ours that a passed value turns into, and back.
pub(super) trait Setting: Sized {
    /// Returns `None` where the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;

    /// Returns the value that turns into this.
    fn to_value(&self) -> Value;
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl Setting for $integer {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }

            fn to_value(&self) -> Value {
                Value::Integer(u64::try_from(*self).unwrap_or(u64::MAX))
            }
        })*
    };
}

macro_rules! variants {
    ($($variant:ident => $target:ty),* $(,)?) => {
        $(impl Setting for $target {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }

            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }
        })*
    };
}

integers!(u8, u16, u32, u64, usize);
variants! {
    Boolean => bool,
    Text => String,
    Secret => Secret,
    Duration => Duration,
    DurationOrNever => Option<Duration>,
    SocketAddress => SocketAddr,
    SocketAddresses => Vec<SocketAddr>,
    BrokerUrl => BrokerUrl,
    Path => PathBuf,
    Forwarders => Vec<ForwarderRule>,
    Prefixes => Vec<Prefix>,
    NodeIds => Vec<NodeId>,
    Texts => Vec<String>,
    Topics => BTreeMap<u16, String>,
}
