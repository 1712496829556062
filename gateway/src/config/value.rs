//! The kinds of values: how each is read, and what is said to be allowed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use shared::time::Duration;
use shared::topics::{Filter, TopicName};
use shared::wire::NodeId;
use toml::Spanned;
use toml::de::DeValue;

use super::duration::{format_duration, parse_duration};
use super::url::BrokerUrl;
use crate::session::{ForwarderRule, Prefix};

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A whole number within bounds.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// `true` or `false`.
    Boolean,
    /// A text that is not empty, up to so many octets.
    Text {
        /// The longest, in octets.
        len_max: usize,
    },
    /// A text that is never shown.
    Secret,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A duration within bounds.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// An address and a port.
    SocketAddress,
    /// The URL of a broker.
    BrokerUrl,
    /// A file that can be read.
    File,
    /// A device, which may appear later.
    Device,
    /// Addresses, prefixes, or addresses with a port.
    Forwarders,
    /// Addresses or prefixes.
    Prefixes,
    /// Node ids in hexadecimal.
    NodeIds,
    /// MQTT topic filters, one at least.
    TopicFilters,
    /// Topic names by their pre-defined ids.
    PredefinedTopics,
}

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

/// Where a value breaks its rule, and why if the rule alone does not say it.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) span: Range<usize>,
    pub(super) why: Option<String>,
}

impl Rule {
    /// Returns the type of the value as TOML knows it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Boolean => "boolean",
            Self::Forwarders | Self::Prefixes | Self::NodeIds | Self::TopicFilters => {
                "array of strings"
            }
            Self::PredefinedTopics => "table of strings",
            _ => "string",
        }
    }

    /// Returns what is allowed, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Text { len_max } => format!("a text of 1 to {len_max} octets"),
            Self::Secret => "a text".to_owned(),
            Self::Choice(words) => words.map_words(),
            Self::Duration { min, max } => format!(
                "a duration from \"{}\" to \"{}\", in ms, s, m, h or d",
                format_duration(*min),
                format_duration(*max)
            ),
            Self::SocketAddress => {
                "an address and a port, such as \"0.0.0.0:10000\" or \"[::]:10000\"".to_owned()
            }
            Self::BrokerUrl => "\"mqtt://host:port\" or \"mqtts://host:port\"".to_owned(),
            Self::File => "the path of a file that can be read".to_owned(),
            Self::Device => "the path of a serial device".to_owned(),
            Self::Forwarders => {
                "addresses \"192.168.1.9\", prefixes \"10.0.0.0/8\" or sockets \"192.168.1.9:10000\""
                    .to_owned()
            }
            Self::Prefixes => "addresses \"192.168.1.9\" or prefixes \"10.0.0.0/8\"".to_owned(),
            Self::NodeIds => format!(
                "node ids in hexadecimal, such as \"0a1b\", up to {} octets",
                NodeId::LEN_MAX
            ),
            Self::TopicFilters => "one or more topic filters, such as \"input/#\"".to_owned(),
            Self::PredefinedTopics => {
                "ids from 1 to 65534, each with a topic name without + and #".to_owned()
            }
        }
    }

    /// Reads a value by the rule; paths are taken relative to `base`.
    pub(super) fn read(&self, value: &Spanned<DeValue<'_>>, base: &Path) -> Result<Value, Broken> {
        let whole = || Broken {
            span: value.span(),
            why: None,
        };
        let toml = value.get_ref();
        match self {
            Self::Integer { min, max } => {
                let number = integer(toml).filter(|number| (*min..=*max).contains(number));
                number.map(Value::Integer).ok_or_else(whole)
            }
            Self::Boolean => toml.as_bool().map(Value::Boolean).ok_or_else(whole),
            Self::Forwarders => each(value, |text| text.parse().ok()).map(Value::Forwarders),
            Self::Prefixes => each(value, |text| text.parse().ok()).map(Value::Prefixes),
            Self::NodeIds => each(value, node_id).map(Value::NodeIds),
            Self::TopicFilters => {
                let filter = |text: &str| Filter::new(text).ok().map(|it| it.as_str().to_owned());
                let filters = each(value, filter)?;
                (!filters.is_empty())
                    .then_some(Value::Texts(filters))
                    .ok_or_else(whole)
            }
            Self::PredefinedTopics => predefined_topics(value),
            _ => {
                let text = toml.as_str().ok_or_else(whole)?;
                self.read_text(text, base).map_err(|why| Broken {
                    span: value.span(),
                    why,
                })
            }
        }
    }

    fn read_text(&self, text: &str, base: &Path) -> Result<Value, Option<String>> {
        let owned = || Value::Text(text.to_owned());
        let value = match self {
            Self::Text { len_max } => {
                ((1..=*len_max).contains(&text.len()) && !text.contains('\0')).then(owned)
            }
            Self::Secret => Some(owned()),
            Self::Choice(words) => words.contains(&text).then(owned),
            Self::Duration { min, max } => parse_duration(text)
                .filter(|duration| (min..=max).contains(&duration))
                .map(Value::Duration),
            Self::SocketAddress => text.parse().ok().map(Value::SocketAddress),
            Self::BrokerUrl => {
                return text
                    .parse()
                    .map(Value::BrokerUrl)
                    .map_err(|why: super::url::NotABrokerUrl| Some(why.to_string()));
            }
            Self::Device => (!text.is_empty()).then(|| Value::Path(base.join(text))),
            Self::File => return readable(base.join(text)).map(Value::Path).map_err(Some),
            _ => None,
        };
        value.ok_or(None)
    }
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

trait Words {
    fn map_words(&self) -> String;
}

impl Words for [&str] {
    fn map_words(&self) -> String {
        let quoted: Vec<String> = self.iter().map(|word| format!("\"{word}\"")).collect();
        quoted.join(" or ")
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn each<T>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Broken> {
    let broken = |span| Broken { span, why: None };
    let items = value.get_ref().as_array();
    let items = items.ok_or_else(|| broken(value.span()))?;
    items
        .iter()
        .map(|item| {
            let text = item.get_ref().as_str();
            text.and_then(&read).ok_or_else(|| broken(item.span()))
        })
        .collect()
}

fn node_id(text: &str) -> Option<NodeId> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let octets: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| {
            let pair = text.get(at..at + 2)?;
            // `from_str_radix` would take a sign.
            let digits = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(pair, 16).ok())?
        })
        .collect();
    NodeId::new(&octets?)
}

fn predefined_topics(value: &Spanned<DeValue<'_>>) -> Result<Value, Broken> {
    let whole = Broken {
        span: value.span(),
        why: None,
    };
    let table = value.get_ref().as_table().ok_or(whole)?;
    // In the order of the document: of two keys the later one is at fault.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut topics = BTreeMap::new();
    for (key, name) in entries {
        let id = key.get_ref().parse::<u16>().ok();
        let id = id.filter(|id| (1..=65_534).contains(id)).ok_or(Broken {
            span: key.span(),
            why: Some(format!("\"{}\" is no such id", key.get_ref())),
        })?;
        let topic = topic_name(name.get_ref()).map_err(|why| Broken {
            span: name.span(),
            why: Some(format!("id {id}: {why}")),
        })?;
        if topics.insert(id, topic).is_some() {
            return Err(Broken {
                span: key.span(),
                why: Some(format!("id {id} is there twice")),
            });
        }
    }
    Ok(Value::Topics(topics))
}

fn topic_name(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or("this is no string")?;
    let name = TopicName::new(text).map_err(|error| error.to_string())?;
    Ok(name.as_str().to_owned())
}

fn readable(path: PathBuf) -> Result<PathBuf, String> {
    match std::fs::File::open(&path) {
        Ok(_) if path.is_dir() => Err(format!("{} is a folder", path.display())),
        Ok(_) => Ok(path),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
