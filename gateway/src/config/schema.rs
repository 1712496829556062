//! Every key of the configuration, in one table.
//!
//! The reader refuses what is not in it, `sandgrouse check --keys` prints it, and a test
//! holds the commented example against it.

use shared::time::Duration;

use super::duration::format_duration;
use super::value::Rule;
use super::{gateway, link, log, rules, upstream};

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path: tables by dots, `[]` behind an array of tables.
    pub path: &'static str,
    /// What the key takes.
    pub rule: Rule,
    /// What holds where the key is missing.
    pub default: Preset,
    /// The `type` of the links that know the key, where not all do.
    pub link_type: Option<&'static str>,
    /// What the key is for.
    pub meaning: &'static str,
}

/// What holds where a key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
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

impl Preset {
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
pub const KEYS: &[Key] = &[
    key(
        "gateway.id",
        integer(1, 255),
        count(gateway::DEFAULT_ID as usize),
        "Gateway id in ADVERTISE and GWINFO.",
    ),
    key(
        "gateway.client_id",
        Rule::Text { len_max: 256 },
        Preset::Text(gateway::DEFAULT_CLIENT_ID),
        "MQTT client id towards the upstream broker; another gateway needs another one.",
    ),
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
        Preset::Duration(gateway::DEFAULT_SESSION_IDLE_MAX),
        "How long a node may be silent that connected with a keep-alive of 0.",
    ),
    key(
        "gateway.session_expiry",
        duration(MINUTE, YEAR),
        Preset::Duration(gateway::DEFAULT_NODE_SESSION_EXPIRY),
        "How long the session of a node that wants to keep it is kept after the node has gone.",
    ),
    key(
        "gateway.outage_patience",
        duration(SECOND, DAY),
        Preset::Duration(gateway::DEFAULT_OUTAGE_PATIENCE),
        "How long the broker may be away before nodes are told that the gateway is congested.",
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
        Preset::Boolean(gateway::DEFAULT_DEDUP_QOS1),
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
        Preset::Duration(gateway::DEFAULT_MAILBOX_AGE_MAX),
        "How long a publication waits for its node.",
    ),
    key(
        "gateway.mailbox.qos0_max",
        integer(0, 100_000),
        count(gateway::DEFAULT_MAILBOX_QOS0_MAX),
        "Most QoS 0 publications among them; 0 keeps none for a sleeping node.",
    ),
    key(
        "link[].name",
        Rule::Text { len_max: 32 },
        Preset::Required,
        "Name in logs, counters and rules; each link has its own.",
    ),
    key(
        "link[].type",
        Rule::Choice(&[link::UDP, link::SERIAL]),
        Preset::Required,
        "What the link is made of.",
    ),
    key(
        "link[].max_message",
        integer(64, link::MAX_MESSAGE_CEILING as u64),
        count(link::DEFAULT_MAX_MESSAGE),
        "Largest datagram either way, in octets; larger ones are dropped and counted.",
    ),
    key(
        "link[].t_retry",
        duration(100, HOUR),
        Preset::Duration(link::DEFAULT_T_RETRY),
        "How long an answer of a node is awaited; longer than the link's worst round trip.",
    ),
    key(
        "link[].n_retry",
        integer(0, 20),
        count(link::DEFAULT_N_RETRY as usize),
        "How often an unanswered message is repeated.",
    ),
    only(
        link::UDP,
        key(
            "link[].listen",
            Rule::SocketAddress,
            Preset::Required,
            "Where the socket listens.",
        ),
    ),
    only(
        link::UDP,
        key(
            "link[].dual_stack",
            Rule::Boolean,
            Preset::Boolean(false),
            "Whether an IPv6 socket takes IPv4 too.",
        ),
    ),
    only(
        link::UDP,
        key(
            "link[].receive_buffer_bytes",
            integer(4_096, GIB),
            count(link::DEFAULT_RECEIVE_BUFFER_BYTES),
            "Receive buffer asked of the kernel; less than net.core.rmem_max grants is warned of.",
        ),
    ),
    only(
        link::UDP,
        key(
            "link[].send_queue_max",
            integer(1, 1_000_000),
            count(link::DEFAULT_SEND_QUEUE_MAX),
            "Most datagrams that wait while the socket is full.",
        ),
    ),
    only(
        link::UDP,
        key(
            "link[].forwarders",
            Rule::Forwarders,
            Preset::Empty,
            "Who may send encapsulated messages; nobody where it is empty.",
        ),
    ),
    only(
        link::SERIAL,
        key(
            "link[].path",
            Rule::Device,
            Preset::Required,
            "The device; one that is not there yet is waited for.",
        ),
    ),
    only(
        link::SERIAL,
        key(
            "link[].baud",
            integer(300, 4_000_000),
            count(link::DEFAULT_BAUD as usize),
            "Bit rate of the line.",
        ),
    ),
    only(
        link::SERIAL,
        key(
            "link[].write_queue_bytes",
            integer(256, 16_777_216),
            count(link::DEFAULT_WRITE_QUEUE_BYTES),
            "Most octets of frames that wait for the line; one of max_message must fit.",
        ),
    ),
    key(
        "upstream.url",
        Rule::BrokerUrl,
        Preset::Required,
        "The broker; mqtts speaks TLS. Ports 1883 and 8883 where none is given.",
    ),
    key(
        "upstream.username",
        Rule::Text { len_max: 65_535 },
        Preset::Nothing,
        "MQTT user name.",
    ),
    key(
        "upstream.password",
        Rule::Secret,
        Preset::Nothing,
        "MQTT password; the variable SANDGROUSE_UPSTREAM_PASSWORD goes before it.",
    ),
    key(
        "upstream.password_file",
        Rule::File,
        Preset::Nothing,
        "File with the MQTT password, instead of password.",
    ),
    key(
        "upstream.password_env",
        Rule::Text { len_max: 256 },
        Preset::Nothing,
        "Environment variable with the MQTT password, instead of password.",
    ),
    key(
        "upstream.ca_file",
        Rule::File,
        Preset::Nothing,
        "Certificate authorities of the broker, as PEM; the system's where it is missing.",
    ),
    key(
        "upstream.client_cert_file",
        Rule::File,
        Preset::Nothing,
        "Certificate that the gateway shows to the broker, as PEM.",
    ),
    key(
        "upstream.client_key_file",
        Rule::File,
        Preset::Nothing,
        "Private key of that certificate, as PEM.",
    ),
    key(
        "upstream.keep_alive",
        duration(5 * SECOND, HOUR),
        Preset::Duration(upstream::DEFAULT_KEEP_ALIVE),
        "MQTT keep-alive; a dead broker shows after about twice as long.",
    ),
    key(
        "upstream.session_expiry",
        duration(0, YEAR),
        Preset::Duration(upstream::DEFAULT_SESSION_EXPIRY),
        "How long the broker keeps what arrives while the gateway is away.",
    ),
    key(
        "upstream.connect_timeout",
        duration(SECOND, HOUR),
        Preset::Duration(upstream::DEFAULT_CONNECT_TIMEOUT),
        "How long TCP, TLS and the MQTT connection may take together.",
    ),
    key(
        "upstream.inflight_max",
        integer(1, 1_024),
        count(upstream::DEFAULT_INFLIGHT_MAX as usize),
        "Most publications sent and not yet acknowledged by the broker.",
    ),
    key(
        "upstream.queue_len_max",
        integer(1, 10_000_000),
        count(upstream::DEFAULT_QUEUE_LEN_MAX),
        "Most publications that wait for the broker.",
    ),
    key(
        "upstream.queue_bytes_max",
        integer(1_024, 64 * GIB),
        count(upstream::DEFAULT_QUEUE_BYTES_MAX),
        "Most octets of topics and payloads that wait for the broker.",
    ),
    key(
        "upstream.qos0_len_max",
        integer(0, 1_000_000),
        count(upstream::DEFAULT_QOS0_LEN_MAX),
        "Most QoS 0 publications kept while there is no connection; the oldest are dropped.",
    ),
    key(
        "upstream.packet_bytes_max",
        integer(1_024, 268_435_455),
        count(upstream::DEFAULT_PACKET_BYTES_MAX as usize),
        "Largest MQTT packet that the broker may send, in octets.",
    ),
    key(
        "upstream.tcp_nodelay",
        Rule::Boolean,
        Preset::Boolean(upstream::DEFAULT_TCP_NODELAY),
        "Whether every packet leaves at once; off saves octets on a metered link and costs delay.",
    ),
    key(
        "upstream.reconnect_min",
        duration(100, HOUR),
        Preset::Duration(upstream::DEFAULT_RECONNECT_MIN),
        "First pause before the gateway connects to the broker again.",
    ),
    key(
        "upstream.reconnect_max",
        duration(100, DAY),
        Preset::Duration(upstream::DEFAULT_RECONNECT_MAX),
        "Longest pause; each is twice the one before.",
    ),
    key(
        "broker.listen",
        Rule::SocketAddress,
        Preset::Text("127.0.0.1:1883"),
        "Where the embedded broker listens; it runs only without [upstream].",
    ),
    key(
        "topics.predefined",
        Rule::PredefinedTopics,
        Preset::Empty,
        "Topic names by pre-defined id, the same on every node.",
    ),
    key(
        "qos_minus_one.allow[].link",
        Rule::Text { len_max: 32 },
        Preset::Required,
        "Name of the link that the rule is for.",
    ),
    key(
        "qos_minus_one.allow[].from",
        Rule::Prefixes,
        Preset::Empty,
        "Addresses of the senders; a rule for a UDP link has this, node_ids, or both.",
    ),
    key(
        "qos_minus_one.allow[].node_ids",
        Rule::NodeIds,
        Preset::Empty,
        "Node ids of the senders behind a forwarder or on a shared radio.",
    ),
    key(
        "qos_minus_one.allow[].topics",
        Rule::TopicFilters,
        Preset::Required,
        "Topics they may publish to.",
    ),
    key(
        "qos_minus_one.allow[].retain",
        Rule::Boolean,
        Preset::Boolean(false),
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
    key(
        "log.level",
        Rule::Choice(log::LEVELS),
        Preset::Text(log::DEFAULT_LEVEL),
        "Least severe level; --log-level and RUST_LOG go before it.",
    ),
    key(
        "log.format",
        Rule::Choice(log::FORMATS),
        Preset::Text(log::DEFAULT_FORMAT),
        "Lines for people or JSON for machines; --log-format goes before it.",
    ),
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

const fn key(path: &'static str, rule: Rule, default: Preset, meaning: &'static str) -> Key {
    Key {
        path,
        rule,
        default,
        link_type: None,
        meaning,
    }
}

const fn only(link_type: &'static str, key: Key) -> Key {
    Key {
        link_type: Some(link_type),
        ..key
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

const fn count(number: usize) -> Preset {
    Preset::Integer(number as u64)
}
