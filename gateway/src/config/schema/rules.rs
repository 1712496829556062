//! Keys of `[topics]` and `[qos_minus_one]`.

use super::super::{admission, rules};
use super::{Fallback, Key, Rule, count, integer, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "topics.predefined",
        Rule::PredefinedTopics,
        Fallback::Empty,
        "Topic names by pre-defined id, the same on every node.",
    ),
    key(
        "topics.priority[].filter",
        Rule::TopicFilter,
        Fallback::Required,
        "The topics; the first filter that matches holds.",
    ),
    key(
        "topics.priority[].priority",
        Rule::Choice(admission::PRIORITIES),
        Fallback::Required,
        "How early they go down to a node for which several publications wait.",
    ),
    key(
        "qos_minus_one.long_names",
        Rule::Boolean,
        Fallback::Boolean(rules::DEFAULT_LONG_NAMES),
        "Whether a topic name is taken where the standard wants an id.",
    ),
    key(
        "qos_minus_one.allow[].link",
        Rule::Text { len_max: 32 },
        Fallback::Required,
        "Name of the link that the rule is for.",
    ),
    key(
        "qos_minus_one.allow[].from",
        Rule::Prefixes,
        Fallback::Empty,
        "Addresses of the senders; a rule for a UDP link has this, node_ids, or both.",
    ),
    key(
        "qos_minus_one.allow[].node_ids",
        Rule::NodeIds,
        Fallback::Empty,
        "Node ids of the senders behind a forwarder or on a shared radio.",
    ),
    key(
        "qos_minus_one.allow[].topics",
        Rule::TopicFilters,
        Fallback::Required,
        "Topics they may publish to.",
    ),
    key(
        "qos_minus_one.allow[].retain",
        Rule::Boolean,
        Fallback::Boolean(false),
        "Whether the broker may retain what they publish.",
    ),
    key(
        "qos_minus_one.allow[].rate_per_s",
        integer(1, 10_000),
        count(rules::DEFAULT_RATE_PER_S as usize),
        "Publications a second that one sender may keep up.",
    ),
    key(
        "qos_minus_one.allow[].burst",
        integer(1, 100_000),
        count(rules::DEFAULT_BURST as usize),
        "Publications that one sender may send at once.",
    ),
];
