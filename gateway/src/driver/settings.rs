//! The configuration, as the engine and the upstream want it.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use shared::rng::Rng;
use shared::wire::TopicId;

use crate::config::{self, Config, LinkKind, NodeConfig, Others, OverlappingSubscriptions};
use crate::session::{
    Admission, Forwarders, LinkId, LinkSettings, MailboxLimits, NodeRule, QosMinusOneRule, Senders,
    Settings,
};
use crate::upstream::{
    ClientIdentity, Overlapping, Secret, TlsConfig, UpstreamConfig, UpstreamConfigError, tls,
};

/// The downlink publications the broker may send before it waits for answers: all that MQTT
/// can number. The engine bounds by itself how many it leaves unanswered.
const RECEIVE_MAXIMUM: u16 = u16::MAX;

/// Seeds the engine's random choices; they are jitter, not secrets.
pub(super) fn rng() -> Rng {
    Rng::new(RandomState::new().hash_one(std::process::id()))
}

pub(super) fn engine(config: &Config) -> Settings {
    let gateway = &config.gateway;
    Settings {
        gw_id: gateway.id,
        sessions_max: gateway.clients_max,
        client_id_len_max: gateway.client_id_len_max,
        idle_max: gateway.session_idle_max,
        session_expiry: gateway.session_expiry,
        outage_patience: gateway.outage_patience,
        topics_max: gateway.topics_per_node_max,
        subscriptions_max: gateway.subscriptions_per_node_max,
        publish_window: gateway.publish_window,
        dedup_qos1: gateway.dedup_qos1,
        mailbox: MailboxLimits {
            messages_max: gateway.mailbox.messages_max,
            bytes_max: gateway.mailbox.bytes_max,
            age_max: gateway.mailbox.age_max,
            qos0_max: gateway.mailbox.qos0_max,
            conflate_qos0: gateway.mailbox.conflate_qos0,
        },
        unanswered_max: gateway.unanswered_max,
        predefined: config
            .topics
            .predefined
            .iter()
            .map(|(id, name)| (TopicId(*id), name.as_str().into()))
            .collect(),
        links: config.links.iter().map(link).collect(),
        qos_minus_one: config
            .qos_minus_one
            .allow
            .iter()
            .map(|rule| minus_one(config, rule))
            .collect(),
        qos_minus_one_long_names: config.qos_minus_one.long_names,
        outage_disconnect: gateway.outage_disconnect,
        wills: gateway.wills,
        status_prefix: gateway.status_prefix.as_str().into(),
        wake_connect_ignores_flags: gateway.wake_connect_ignores_flags,
        admission: admission(config),
        topic_priorities: config
            .topics
            .priorities
            .iter()
            .map(|topic| (topic.filter.as_str().into(), topic.priority))
            .collect(),
    }
}

/// Returns the rules of admission, in the order of the configuration.
pub(crate) fn admission(config: &Config) -> Admission {
    let rules = &config.admission.rules;
    Admission {
        rules: rules
            .iter()
            .map(|rule| Arc::new(node(config, rule)))
            .collect(),
        others: match config.admission.others {
            Others::Serve => Some(Arc::default()),
            Others::Refuse => None,
        },
    }
}

fn node(config: &Config, rule: &NodeConfig) -> NodeRule {
    let filters = |filters: &Option<Vec<String>>| {
        let filters = filters.as_ref()?;
        Some(
            filters
                .iter()
                .map(|filter| filter.as_str().into())
                .collect(),
        )
    };
    NodeRule {
        nodes: rule.nodes.clone(),
        links: rule
            .links
            .iter()
            .map(|name| link_id(config, name))
            .collect(),
        from: Senders {
            addresses: rule.from.clone(),
            node_ids: rule.node_ids.clone(),
        },
        publish: filters(&rule.publish),
        subscribe: filters(&rule.subscribe),
        qos_max: rule.qos_max,
        quota: rule.quota,
        mtu: rule.mtu,
        profile: rule.profile,
        priority: rule.priority,
        grace: rule.grace,
        expect_every: rule.expect_every,
        awake_messages_max: rule.awake_messages_max,
    }
}

/// Returns the id of a link, or one that no link has: of a link that is not open yet nothing
/// can be heard.
fn link_id(config: &Config, name: &str) -> LinkId {
    let place = config.links.iter().position(|link| link.name == name);
    LinkId(
        place
            .and_then(|place| u16::try_from(place).ok())
            .unwrap_or(u16::MAX),
    )
}

fn link(link: &config::LinkConfig) -> LinkSettings {
    LinkSettings {
        t_retry: link.t_retry,
        n_retry: link.n_retry,
        mtu: link.max_message,
        forwarders: match &link.kind {
            LinkKind::Udp(udp) => Forwarders::Listed(udp.forwarders.clone()),
            LinkKind::Serial(_) => Forwarders::Anyone,
        },
        tolerance: link.tolerance,
        discovery: link.discovery,
        dead_after: link.dead_after,
    }
}

fn minus_one(config: &Config, rule: &config::QosMinusOneRule) -> QosMinusOneRule {
    QosMinusOneRule {
        link: link_id(config, &rule.link),
        from: Senders {
            addresses: rule.from.clone(),
            node_ids: rule.node_ids.clone(),
        },
        topics: rule
            .topics
            .iter()
            .map(|filter| filter.as_str().into())
            .collect(),
        retain: rule.retain,
        rate_per_s: rule.rate_per_s,
        burst: rule.burst,
    }
}

/// Checks the upstream's settings as a start does, without a broker: its bounds, and what is
/// in the files of certificates and keys.
pub(crate) fn check_upstream(config: &Config) -> Result<(), UpstreamConfigError> {
    // An embedded broker that asks for port 0 will be given one.
    let embedded = (config.broker.listen.port() == 0).then_some(config::DEFAULT_BROKER_LISTEN);
    let upstream = upstream(config, embedded);
    upstream.validate()?;
    if let Some(files) = &upstream.tls {
        tls::client_config(files)?;
    }
    Ok(())
}

/// Returns the upstream's settings: the configured broker, or the embedded one at `embedded`.
pub(super) fn upstream(config: &Config, embedded: Option<SocketAddr>) -> UpstreamConfig {
    let client_id = &config.gateway.client_id;
    let own = |host: String, port| UpstreamConfig {
        first_clean: true,
        receive_maximum: RECEIVE_MAXIMUM,
        ..UpstreamConfig::new(host, port, client_id)
    };
    let Some(upstream) = &config.upstream else {
        let address = embedded.unwrap_or(config.broker.listen);
        return own(address.ip().to_string(), address.port());
    };
    UpstreamConfig {
        tls: upstream.url.tls.then(|| tls_files(upstream)),
        username: upstream.username.clone(),
        password: upstream
            .password
            .as_ref()
            .map(|password| Secret::new(password.reveal())),
        keep_alive: span(upstream.keep_alive),
        session_expiry: span(upstream.session_expiry),
        connect_timeout: span(upstream.connect_timeout),
        inflight_max: upstream.inflight_max,
        qos0_len_max: upstream.qos0_len_max,
        max_packet_size: upstream.packet_bytes_max,
        unfetched_bytes_max: upstream.unfetched_bytes_max,
        overlapping: match upstream.overlapping {
            OverlappingSubscriptions::Each => Overlapping::Each,
            OverlappingSubscriptions::Single => Overlapping::Single,
        },
        tcp_nodelay: upstream.tcp_nodelay,
        queue_len_max: upstream.queue_len_max,
        queue_bytes_max: upstream.queue_bytes_max,
        backoff_min: span(upstream.reconnect_min),
        backoff_max: span(upstream.reconnect_max),
        ..own(upstream.url.host.clone(), upstream.url.port)
    }
}

fn tls_files(upstream: &config::UpstreamConfig) -> TlsConfig {
    TlsConfig {
        ca_file: upstream.ca_file.clone(),
        client: upstream
            .client_identity
            .as_ref()
            .map(|identity| ClientIdentity {
                cert_file: identity.cert_file.clone(),
                key_file: identity.key_file.clone(),
            }),
    }
}

const fn span(span: shared::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(span.as_millis())
}
