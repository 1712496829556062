//! The kinds of values, and the types of ours that they turn into.

mod read;
mod rule;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use shared::time::Duration;
use shared::wire::NodeId;

pub use rule::Rule;

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
    /// A duration.
    Duration(Duration),
    /// An address and a port.
    SocketAddress(SocketAddr),
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

/// A type that a passed value turns into.
pub(super) trait FromValue: Sized {
    /// Returns `None` where the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl FromValue for $integer {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        })*
    };
}

macro_rules! from_variants {
    ($($variant:ident => $target:ty),* $(,)?) => {
        $(impl FromValue for $target {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }
        })*
    };
}

integers!(u8, u16, u32, usize);
from_variants! {
    Boolean => bool,
    Text => String,
    Duration => Duration,
    SocketAddress => SocketAddr,
    BrokerUrl => BrokerUrl,
    Path => PathBuf,
    Forwarders => Vec<ForwarderRule>,
    Prefixes => Vec<Prefix>,
    NodeIds => Vec<NodeId>,
    Texts => Vec<String>,
    Topics => BTreeMap<u16, String>,
}
