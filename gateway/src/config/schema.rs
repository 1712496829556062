//! Every key of the configuration, in one table, written down area by area.
//!
//! The reader refuses what is not in it, `sandgrouse check --keys` prints it, and a test
//! holds the commented example against it.

mod gateway;
mod link;
mod log;
mod node;
mod rules;
mod upstream;

use shared::time::Duration;

use super::duration::format_duration;
use super::value::Rule;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path: tables by dots, `[]` behind an array of tables.
    pub path: &'static str,
    /// What the key takes.
    pub rule: Rule,
    /// What holds where the key is missing.
    pub default: Fallback,
    /// The `type` of the links that know the key, where not all do.
    pub link_type: Option<&'static str>,
    /// Whether the preset of the link goes before the default.
    pub is_preset: bool,
    /// When a change of the key takes effect.
    pub applies: Applies,
    /// What the key is for.
    pub meaning: &'static str,
}

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// When the gateway reads its configuration anew.
    AtReload,
    /// When the gateway is started.
    AtStart,
}

/// A list of tables, and the key that tells its tables apart.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The path of the list.
    pub path: &'static str,
    /// The key, in each of its tables.
    pub identity: &'static str,
    /// Whether the tables mean something else in another order.
    pub is_ordered: bool,
}

/// What holds where a key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The key must be there wherever its table is.
    Required,
    /// Nothing.
    Nothing,
    /// An empty array or table.
    Empty,
    /// A number.
    Integer(u64),
    /// A switch.
    Boolean(bool),
    /// A text.
    Text(&'static str),
    /// A duration.
    Duration(Duration),
}

impl Fallback {
    /// Returns the value as it is written in TOML, where there is one.
    #[must_use]
    pub fn toml(&self) -> Option<String> {
        match self {
            Self::Required | Self::Nothing | Self::Empty => None,
            Self::Integer(number) => Some(number.to_string()),
            Self::Boolean(switch) => Some(switch.to_string()),
            Self::Text(text) => Some(format!("\"{text}\"")),
            Self::Duration(duration) => Some(format!("\"{}\"", format_duration(*duration))),
        }
    }
}

/// Every key, in the order of the example.
pub const KEYS: &[Key] = &joined(AREAS);

/// Every list of tables.
pub const LISTS: &[List] = &[
    list("link", "name", false),
    list("node", "match", true),
    list("topics.priority", "filter", true),
    list("qos_minus_one.allow", "link", true),
];

/// Returns the key at a path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Returns the names that a table may hold: its keys and its sub-tables.
pub(super) fn names_in(table: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let rest = match table {
            "" => Some(key.path),
            _ => key
                .path
                .strip_prefix(table)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(name) = rest.and_then(|rest| rest.split(['.', '[']).next()) else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
const GIB: u64 = 1_073_741_824;

/// The areas, in the order of the example.
const AREAS: &[&[Key]] = &[
    gateway::KEYS,
    link::KEYS,
    upstream::KEYS,
    node::KEYS,
    rules::KEYS,
    log::KEYS,
];

const KEYS_LEN: usize = {
    let (mut area, mut len) = (0, 0);
    while area < AREAS.len() {
        len += AREAS[area].len();
        area += 1;
    }
    len
};

const fn joined(areas: &[&[Key]]) -> [Key; KEYS_LEN] {
    let mut all = [areas[0][0]; KEYS_LEN];
    let (mut area, mut at) = (0, 0);
    while area < areas.len() {
        let mut index = 0;
        while index < areas[area].len() {
            all[at] = areas[area][index];
            index += 1;
            at += 1;
        }
        area += 1;
    }
    all
}

const fn key(path: &'static str, rule: Rule, default: Fallback, meaning: &'static str) -> Key {
    Key {
        path,
        rule,
        default,
        link_type: None,
        is_preset: false,
        applies: Applies::AtReload,
        meaning,
    }
}

impl Key {
    /// Says that links of one type alone know the key.
    const fn only(self, link_type: &'static str) -> Self {
        Self {
            link_type: Some(link_type),
            ..self
        }
    }

    /// Says that the preset of the link goes before the default.
    const fn of_preset(self) -> Self {
        Self {
            is_preset: true,
            ..self
        }
    }

    /// Says that a changed value has to wait for the next start.
    const fn at_start(self) -> Self {
        Self {
            applies: Applies::AtStart,
            ..self
        }
    }
}

const fn integer(min: u64, max: u64) -> Rule {
    Rule::Integer { min, max }
}

const fn duration(min_ms: u64, max_ms: u64) -> Rule {
    Rule::Duration {
        min: Duration::from_millis(min_ms),
        max: Duration::from_millis(max_ms),
    }
}

const fn list(path: &'static str, identity: &'static str, is_ordered: bool) -> List {
    List {
        path,
        identity,
        is_ordered,
    }
}

const fn duration_or_never(min_ms: u64, max_ms: u64) -> Rule {
    Rule::DurationOrNever {
        min: Duration::from_millis(min_ms),
        max: Duration::from_millis(max_ms),
    }
}

const fn count(number: usize) -> Fallback {
    Fallback::Integer(number as u64)
}
