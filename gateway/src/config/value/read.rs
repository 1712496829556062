//! From TOML to a value, by the rule of its key.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use shared::topics::{Filter, TopicName};
use shared::wire::NodeId;
use toml::Spanned;
use toml::de::DeValue;

use super::super::duration::parse_duration;
use super::super::upstream::Secret;
use super::super::url::NotABrokerUrl;
use super::{NEVER, Rule, Value};
use crate::config::admission::CLIENT_ID_MARK;

/// Where a value breaks its rule, and why if the rule alone does not say it.
#[derive(Debug)]
pub(in crate::config) struct Broken {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) why: Option<String>,
}

impl Rule {
    /// Reads a value by the rule; paths are taken relative to `base`.
    pub(in crate::config) fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        base: &Path,
    ) -> Result<Value, Broken> {
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
            Self::Groups => each(value, |text| text.parse().ok()).map(Value::SocketAddresses),
            Self::NodeFilters => each(value, node_filter).map(Value::Texts),
            Self::Names => {
                let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                each(value, name).map(Value::Texts)
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
            Self::Secret => Some(Value::Secret(Secret::new(text.to_owned()))),
            Self::Choice(words) => words.contains(&text).then(owned),
            Self::Duration { min, max } => parse_duration(text)
                .filter(|duration| (min..=max).contains(&duration))
                .map(Value::Duration),
            Self::DurationOrNever { .. } if text == NEVER => Some(Value::DurationOrNever(None)),
            Self::DurationOrNever { min, max } => parse_duration(text)
                .filter(|duration| (min..=max).contains(&duration))
                .map(|duration| Value::DurationOrNever(Some(duration))),
            Self::TopicFilter => Filter::new(text).ok().map(|_| owned()),
            Self::TopicPrefix => is_topic_prefix(text).then(owned),
            Self::ClientIds => {
                let is_pattern = (1..=Self::CLIENT_IDS_LEN_MAX).contains(&text.len());
                (is_pattern && !text.contains('\0')).then(owned)
            }
            Self::SocketAddress => text.parse().ok().map(Value::SocketAddress),
            Self::BrokerUrl => {
                return text
                    .parse()
                    .map(Value::BrokerUrl)
                    .map_err(|why: NotABrokerUrl| Some(why.to_string()));
            }
            Self::Device => (!text.is_empty()).then(|| Value::Path(base.join(text))),
            Self::File => return readable(base.join(text)).map(Value::Path).map_err(Some),
            _ => None,
        };
        value.ok_or(None)
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

/// Reads a filter of a rule for nodes. A shared subscription is no set of topics, and so
/// nothing that a rule could allow.
fn node_filter(text: &str) -> Option<String> {
    let filled = text.replace(CLIENT_ID_MARK, "c");
    let filter = Filter::new(&filled).ok()?;
    filter.share_name().is_none().then(|| text.to_owned())
}

fn is_topic_prefix(text: &str) -> bool {
    // Brokers keep topics that begin with $ to themselves [MQTT 5 §4.7.2].
    text.len() <= Rule::TOPIC_PREFIX_LEN_MAX
        && TopicName::new(text).is_ok()
        && !text.starts_with(['/', '$'])
        && !text.ends_with('/')
}

fn predefined_topics(value: &Spanned<DeValue<'_>>) -> Result<Value, Broken> {
    let whole = Broken {
        span: value.span(),
        why: None,
    };
    let table = value.get_ref().as_table().ok_or(whole)?;
    // In the order of the document: of several faults the first one is told.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut topics = BTreeMap::new();
    for (key, name) in entries {
        let id = topic_id(key.get_ref()).map_err(|why| Broken {
            span: key.span(),
            why: Some(why),
        })?;
        let topic = topic_name(name.get_ref()).map_err(|why| Broken {
            span: name.span(),
            why: Some(format!("id {id}: {why}")),
        })?;
        topics.insert(id, topic);
    }
    Ok(Value::Topics(topics))
}

/// Reads an id in its one spelling: `parse` alone would take a sign and leading zeros, and
/// two keys could name one id.
fn topic_id(text: &str) -> Result<u16, String> {
    let id = text.parse().ok().filter(|id| (1..=65_534).contains(id));
    let id: u16 = id.ok_or_else(|| format!("\"{text}\" is no such id"))?;
    if id.to_string() != text {
        return Err(format!("\"{text}\" is no such id, write {id}"));
    }
    Ok(id)
}

fn topic_name(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or("this is no string")?;
    let name = TopicName::new(text).map_err(|error| error.to_string())?;
    Ok(name.as_str().to_owned())
}

fn readable(path: PathBuf) -> Result<PathBuf, String> {
    let fail = |error: io::Error| format!("{}: {error}", path.display());
    let kind = std::fs::metadata(&path).map_err(fail)?.file_type();
    if kind.is_dir() {
        return Err(format!("{} is a folder", path.display()));
    }
    // Opening a pipe would wait for who writes to it, and a device may never end.
    if !kind.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    std::fs::File::open(&path).map_err(fail)?;
    Ok(path)
}
