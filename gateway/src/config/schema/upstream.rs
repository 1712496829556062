//! Keys of `[upstream]` and `[broker]`.

use super::super::upstream;
use super::{DAY, Fallback, GIB, HOUR, Key, Rule, SECOND, YEAR, count, duration, integer, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "upstream.url",
        Rule::BrokerUrl,
        Fallback::Required,
        "The broker; mqtts speaks TLS. Ports 1883 and 8883 where none is given.",
    )
    .at_start(),
    key(
        "upstream.username",
        Rule::Text { len_max: 65_535 },
        Fallback::Nothing,
        "MQTT user name.",
    )
    .at_start(),
    key(
        "upstream.password",
        Rule::Secret,
        Fallback::Nothing,
        "MQTT password; the variable SANDGROUSE_UPSTREAM_PASSWORD goes before it.",
    )
    .at_start(),
    key(
        "upstream.password_file",
        Rule::File,
        Fallback::Nothing,
        "File with the MQTT password, instead of password.",
    )
    .at_start(),
    key(
        "upstream.password_env",
        Rule::Text { len_max: 256 },
        Fallback::Nothing,
        "Environment variable with the MQTT password, instead of password.",
    )
    .at_start(),
    key(
        "upstream.ca_file",
        Rule::File,
        Fallback::Nothing,
        "Certificate authorities of the broker, as PEM; the system's where it is missing.",
    )
    .at_start(),
    key(
        "upstream.client_cert_file",
        Rule::File,
        Fallback::Nothing,
        "Certificate that the gateway shows to the broker, as PEM.",
    )
    .at_start(),
    key(
        "upstream.client_key_file",
        Rule::File,
        Fallback::Nothing,
        "Private key of that certificate, as PEM.",
    )
    .at_start(),
    key(
        "upstream.keep_alive",
        duration(5 * SECOND, HOUR),
        Fallback::Duration(upstream::DEFAULT_KEEP_ALIVE),
        "MQTT keep-alive; a dead broker shows after about twice as long.",
    )
    .at_start(),
    key(
        "upstream.session_expiry",
        duration(0, YEAR),
        Fallback::Duration(upstream::DEFAULT_SESSION_EXPIRY),
        "How long the broker keeps what arrives while the gateway is away.",
    )
    .at_start(),
    key(
        "upstream.connect_timeout",
        duration(SECOND, HOUR),
        Fallback::Duration(upstream::DEFAULT_CONNECT_TIMEOUT),
        "How long TCP, TLS and the MQTT connection may take together.",
    )
    .at_start(),
    key(
        "upstream.inflight_max",
        integer(1, 1_024),
        count(upstream::DEFAULT_INFLIGHT_MAX as usize),
        "Most publications sent and not yet acknowledged by the broker.",
    )
    .at_start(),
    key(
        "upstream.queue_len_max",
        integer(1, 10_000_000),
        count(upstream::DEFAULT_QUEUE_LEN_MAX),
        "Most publications that wait for the broker.",
    )
    .at_start(),
    key(
        "upstream.queue_bytes_max",
        integer(1_024, 64 * GIB),
        count(upstream::DEFAULT_QUEUE_BYTES_MAX),
        "Most octets of topics and payloads that wait for the broker.",
    )
    .at_start(),
    key(
        "upstream.qos0_len_max",
        integer(0, 1_000_000),
        count(upstream::DEFAULT_QOS0_LEN_MAX),
        "Most QoS 0 publications kept while there is no connection; the oldest are dropped.",
    )
    .at_start(),
    key(
        "upstream.packet_bytes_max",
        integer(1_024, 268_435_455),
        count(upstream::DEFAULT_PACKET_BYTES_MAX as usize),
        "Largest MQTT packet that the broker may send, in octets.",
    )
    .at_start(),
    key(
        "upstream.unfetched_bytes_max",
        integer(65_536, 64 * GIB),
        count(upstream::DEFAULT_UNFETCHED_BYTES_MAX),
        "Most octets from the broker that wait for the gateway; beyond it nothing more is read.",
    )
    .at_start(),
    key(
        "upstream.overlapping_subscriptions",
        Rule::Choice(upstream::OVERLAPPING),
        Fallback::Text(upstream::DEFAULT_OVERLAPPING),
        "What the broker sends where several subscriptions match: a copy for each, or a single one.",
    )
    .at_start(),
    key(
        "upstream.tcp_nodelay",
        Rule::Boolean,
        Fallback::Boolean(upstream::DEFAULT_TCP_NODELAY),
        "Whether every packet leaves at once; off saves octets on a metered link and costs delay.",
    )
    .at_start(),
    key(
        "upstream.reconnect_min",
        duration(100, HOUR),
        Fallback::Duration(upstream::DEFAULT_RECONNECT_MIN),
        "First pause before the gateway connects to the broker again.",
    )
    .at_start(),
    key(
        "upstream.reconnect_max",
        duration(100, DAY),
        Fallback::Duration(upstream::DEFAULT_RECONNECT_MAX),
        "Longest pause; each is twice the one before.",
    )
    .at_start(),
    key(
        "broker.listen",
        Rule::SocketAddress,
        Fallback::Text("127.0.0.1:1883"),
        "Where the embedded broker listens; it runs only without [upstream].",
    )
    .at_start(),
];
