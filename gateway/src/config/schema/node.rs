//! Keys of `[admission]` and `[[node]]`.

use super::super::{admission, link};
use super::{DAY, Fallback, Key, Rule, SECOND, YEAR, count, duration, integer, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "admission.others",
        Rule::Choice(admission::OTHERS),
        Fallback::Text(admission::OTHERS_SERVE),
        "What becomes of nodes that no [[node]] names.",
    ),
    key(
        "node[].match",
        Rule::ClientIds,
        Fallback::Required,
        "Whose rule it is; the first rule that fits a client id holds.",
    ),
    key(
        "node[].links",
        Rule::Names,
        Fallback::Empty,
        "Names of the links they may be heard on; any where it is empty.",
    ),
    key(
        "node[].from",
        Rule::Prefixes,
        Fallback::Empty,
        "Addresses they, or their forwarders, may send from; any where it is empty.",
    ),
    key(
        "node[].node_ids",
        Rule::NodeIds,
        Fallback::Empty,
        "Node ids they may have behind a forwarder or on a shared radio; any where it is empty.",
    ),
    key(
        "node[].publish",
        Rule::NodeFilters,
        Fallback::Nothing,
        "Topics they may publish to, %c being the client id; all where it is missing.",
    ),
    key(
        "node[].subscribe",
        Rule::NodeFilters,
        Fallback::Nothing,
        "Topics they may subscribe to, %c being the client id; all where it is missing.",
    ),
    key(
        "node[].qos_max",
        integer(0, 2),
        count(admission::DEFAULT_QOS_MAX as usize),
        "Highest QoS: a publication above it is refused, a subscription granted less.",
    ),
    key(
        "node[].messages_per_min",
        integer(1, 1_000_000),
        Fallback::Nothing,
        "Publications a minute of one node; any number where it is missing.",
    ),
    key(
        "node[].bytes_per_day",
        integer(1, 1_099_511_627_776),
        Fallback::Nothing,
        "Octets of topics and payloads a day of one node; any number where it is missing.",
    ),
    key(
        "node[].mtu",
        integer(
            link::MAX_MESSAGE_FLOOR as u64,
            link::MAX_MESSAGE_CEILING as u64,
        ),
        Fallback::Nothing,
        "Longest message they can take, in octets; the link's where it is missing or less.",
    ),
    key(
        "node[].profile",
        Rule::Choice(admission::PROFILES),
        Fallback::Text(admission::DEFAULT_PROFILE),
        "Client stack whose gaps are spared; standard has none.",
    ),
    key(
        "node[].priority",
        Rule::Choice(admission::PRIORITIES),
        Fallback::Text(admission::DEFAULT_PRIORITY),
        "Who goes first where a slow link cannot serve all at once.",
    ),
    key(
        "node[].grace",
        duration(0, YEAR),
        Fallback::Duration(admission::DEFAULT_GRACE),
        "How much longer than announced they may be silent; for sleeps of more than 18 hours.",
    ),
    key(
        "node[].expect_every",
        duration(10 * SECOND, 90 * DAY),
        Fallback::Nothing,
        "How often something must be heard of them; silence is published as their status.",
    ),
    key(
        "node[].max_awake_messages",
        integer(1, 100_000),
        Fallback::Nothing,
        "Most publications sent in one wake, the most important first; all where it is missing.",
    ),
];
