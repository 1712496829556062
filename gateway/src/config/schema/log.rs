//! Keys of `[log]`.

use super::super::log;
use super::{Fallback, Key, Rule, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "log.level",
        Rule::Choice(log::LEVELS),
        Fallback::Text(log::DEFAULT_LEVEL),
        "Least severe level; --log-level and RUST_LOG go before it.",
    ),
    key(
        "log.format",
        Rule::Choice(log::FORMATS),
        Fallback::Text(log::DEFAULT_FORMAT),
        "Lines for people or JSON for machines; --log-format goes before it.",
    )
    .at_start(),
];
