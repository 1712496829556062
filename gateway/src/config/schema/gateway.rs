//! Keys of `[gateway]`.

use super::super::gateway;
use super::{
    DAY, Fallback, GIB, Key, MINUTE, Rule, SECOND, YEAR, count, duration, duration_or_never,
    integer, key,
};

pub(super) const KEYS: &[Key] = &[
    key(
        "gateway.id",
        integer(1, 255),
        count(gateway::DEFAULT_ID as usize),
        "Gateway id in ADVERTISE and GWINFO.",
    ),
    key(
        "gateway.client_id",
        Rule::Text { len_max: 256 },
        Fallback::Text(gateway::DEFAULT_CLIENT_ID),
        "MQTT client id towards the upstream broker; another gateway needs another one.",
    )
    .at_start(),
    key(
        "gateway.clients_max",
        integer(1, 1_000_000),
        count(gateway::DEFAULT_CLIENTS_MAX),
        "Most sessions; further nodes are told that the gateway is congested.",
    ),
    key(
        "gateway.client_id_len_max",
        integer(1, 1_000),
        count(gateway::DEFAULT_CLIENT_ID_LEN_MAX),
        "Longest client id of a node, in octets.",
    ),
    key(
        "gateway.session_idle_max",
        duration(MINUTE, YEAR),
        Fallback::Duration(gateway::DEFAULT_SESSION_IDLE_MAX),
        "How long a node may be silent that connected with a keep-alive of 0.",
    ),
    key(
        "gateway.session_expiry",
        duration(MINUTE, YEAR),
        Fallback::Duration(gateway::DEFAULT_NODE_SESSION_EXPIRY),
        "How long the session of a node that wants to keep it is kept after the node has gone.",
    ),
    key(
        "gateway.outage_patience",
        duration(SECOND, DAY),
        Fallback::Duration(gateway::DEFAULT_OUTAGE_PATIENCE),
        "How long the broker may be away before nodes are told that the gateway is congested.",
    ),
    key(
        "gateway.outage_disconnect",
        duration_or_never(SECOND, 30 * DAY),
        Fallback::Duration(gateway::DEFAULT_OUTAGE_DISCONNECT),
        "How long the broker may be away before nodes are sent off, to look for another gateway.",
    ),
    key(
        "gateway.wills",
        Rule::Choice(gateway::WILLS),
        Fallback::Text(gateway::WILLS_GATEWAY),
        "Whether nodes may change their wills: kept and changed by the gateway, or not to be changed.",
    ),
    key(
        "gateway.wake_connect_ignores_flags",
        Rule::Boolean,
        Fallback::Boolean(gateway::DEFAULT_WAKE_CONNECT_IGNORES_FLAGS),
        "Whether a sleeping node that connects keeps its session and will, whatever it says.",
    ),
    key(
        "gateway.status_prefix",
        Rule::TopicPrefix,
        Fallback::Text(gateway::DEFAULT_STATUS_PREFIX),
        "First levels of the topics that the gateway itself publishes on.",
    ),
    key(
        "gateway.topics_per_node_max",
        integer(1, 60_000),
        count(gateway::DEFAULT_TOPICS_PER_NODE_MAX),
        "Most topic ids registered for one node.",
    ),
    key(
        "gateway.subscriptions_per_node_max",
        integer(1, 10_000),
        count(gateway::DEFAULT_SUBSCRIPTIONS_PER_NODE_MAX),
        "Most subscriptions of one node.",
    ),
    key(
        "gateway.publish_window",
        integer(1, 64),
        count(gateway::DEFAULT_PUBLISH_WINDOW),
        "Most QoS 1 and 2 publications that one node may have in flight.",
    ),
    key(
        "gateway.dedup_qos1",
        Rule::Boolean,
        Fallback::Boolean(gateway::DEFAULT_DEDUP_QOS1),
        "Whether repetitions at QoS 1 are answered and not published again.",
    ),
    key(
        "gateway.unanswered_max",
        integer(0, 65_535),
        count(gateway::DEFAULT_UNANSWERED_MAX),
        "Most downlink publications that the broker is kept waiting for.",
    ),
    key(
        "gateway.mailbox.messages_max",
        integer(1, 100_000),
        count(gateway::DEFAULT_MAILBOX_MESSAGES_MAX),
        "Most publications that wait for one node.",
    ),
    key(
        "gateway.mailbox.bytes_max",
        integer(256, GIB),
        count(gateway::DEFAULT_MAILBOX_BYTES_MAX),
        "Most octets of topics and payloads that wait for one node.",
    ),
    key(
        "gateway.mailbox.age_max",
        duration(SECOND, YEAR),
        Fallback::Duration(gateway::DEFAULT_MAILBOX_AGE_MAX),
        "How long a publication waits for its node.",
    ),
    key(
        "gateway.mailbox.qos0_max",
        integer(0, 100_000),
        count(gateway::DEFAULT_MAILBOX_QOS0_MAX),
        "Most QoS 0 publications among them; 0 keeps none for a sleeping node.",
    ),
    key(
        "gateway.mailbox.conflate_qos0",
        Rule::Boolean,
        Fallback::Boolean(gateway::DEFAULT_MAILBOX_CONFLATE_QOS0),
        "Whether only the newest QoS 0 publication of each topic is kept.",
    ),
];
