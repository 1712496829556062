//! What a configuration does, in a few lines or as JSON; no secret is among them.

use serde_json::{Value, json};

use super::link::{discovery_text, link_json, link_text, pacing_text};
use crate::config::{
    Config, OTHERS_REFUSE, OTHERS_SERVE, Others, WILLS_GATEWAY, WILLS_OFF, format_duration,
};
use crate::session::WillMode;

/// Returns what a configuration does, in a few lines; no secret is among them.
#[must_use]
pub fn summary_text(config: &Config) -> String {
    let gateway = &config.gateway;
    let mailbox = &gateway.mailbox;
    let mut text = String::new();
    for link in &config.links {
        line(&mut text, "link", &link_text(link));
        line(
            &mut text,
            "",
            &format!("discovery {}", discovery_text(link)),
        );
        if let Some(pacing) = &link.pacing {
            line(&mut text, "", &format!("paced: {}", pacing_text(pacing)));
        }
    }
    line(&mut text, "upstream", &upstream_text(config));
    let nodes = format!(
        "up to {}, each with {}, {} and {} in flight",
        gateway.clients_max,
        counted(gateway.topics_per_node_max, "topic"),
        counted(gateway.subscriptions_per_node_max, "subscription"),
        counted(gateway.publish_window, "publication"),
    );
    line(&mut text, "nodes", &nodes);
    let kept = format!(
        "{}, {}, {} of them at QoS 0, for {}",
        counted(mailbox.messages_max, "publication"),
        counted(mailbox.bytes_max, "octet"),
        mailbox.qos0_max,
        format_duration(mailbox.age_max),
    );
    line(&mut text, "mailbox", &kept);
    let unanswered = format!(
        "the broker is kept waiting for {} at most",
        counted(gateway.unanswered_max, "publication")
    );
    line(&mut text, "downlink", &unanswered);
    line(&mut text, "outage", &outage_text(config));
    line(&mut text, "wills", wills_name(gateway.wills));
    line(
        &mut text,
        "status",
        &format!("below {}/", gateway.status_prefix),
    );
    line(&mut text, "admission", &admission_text(config));
    let topics = match config.topics.predefined.len() {
        0 => "none pre-defined".to_owned(),
        count => format!("{count} pre-defined"),
    };
    line(&mut text, "topics", &topics);
    let rules = match config.qos_minus_one.allow.len() {
        0 => "nobody".to_owned(),
        count => counted(count, "rule"),
    };
    line(&mut text, "QoS -1", &rules);
    text
}

fn outage_text(config: &Config) -> String {
    let gateway = &config.gateway;
    let told = format_duration(gateway.outage_patience);
    match gateway.outage_disconnect {
        Some(span) => format!(
            "nodes are told after {told}, and sent off after {}",
            format_duration(span)
        ),
        None => format!("nodes are told after {told}, and never sent off"),
    }
}

fn admission_text(config: &Config) -> String {
    let others = match config.admission.others {
        Others::Serve => "served",
        Others::Refuse => "refused",
    };
    match config.admission.rules.len() {
        0 => format!("all nodes are {others}"),
        count => format!("{}, others are {others}", counted(count, "rule")),
    }
}

const fn wills_name(wills: WillMode) -> &'static str {
    match wills {
        WillMode::Gateway => "kept by the gateway, nodes may change them",
        WillMode::Off => "kept by the gateway, nodes may not change them",
    }
}

/// Returns a number of things, one or several.
pub(super) fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("  {name:<9} {value}\n"));
}

fn upstream_text(config: &Config) -> String {
    let Some(upstream) = &config.upstream else {
        return format!("the embedded broker, on {}", config.broker.listen);
    };
    let user = upstream.username.as_deref();
    format!(
        "{} as {}, {}, session kept for {}, queue of {} and {}",
        upstream.url,
        config.gateway.client_id,
        user.map_or("without a user".to_owned(), |user| format!("user {user}")),
        format_duration(upstream.session_expiry),
        counted(upstream.queue_len_max, "publication"),
        counted(upstream.queue_bytes_max, "octet"),
    )
}

pub(super) fn summary_json(config: &Config) -> Value {
    let gateway = &config.gateway;
    let mailbox = &gateway.mailbox;
    let links: Vec<Value> = config.links.iter().map(link_json).collect();
    let upstream = config.upstream.as_ref().map(|upstream| {
        json!({
            "url": upstream.url.to_string(),
            "username": upstream.username,
            "session_expiry": format_duration(upstream.session_expiry),
            "queue_len_max": upstream.queue_len_max,
            "queue_bytes_max": upstream.queue_bytes_max,
        })
    });
    let broker = config
        .upstream
        .is_none()
        .then(|| config.broker.listen.to_string());
    json!({
        "links": links,
        "upstream": upstream,
        "embedded_broker": broker,
        "gateway": {
            "id": gateway.id,
            "client_id": gateway.client_id,
            "clients_max": gateway.clients_max,
            "topics_per_node_max": gateway.topics_per_node_max,
            "subscriptions_per_node_max": gateway.subscriptions_per_node_max,
            "publish_window": gateway.publish_window,
            "dedup_qos1": gateway.dedup_qos1,
            "unanswered_max": gateway.unanswered_max,
            "mailbox": {
                "messages_max": mailbox.messages_max,
                "bytes_max": mailbox.bytes_max,
                "age_max": format_duration(mailbox.age_max),
                "qos0_max": mailbox.qos0_max,
                "conflate_qos0": mailbox.conflate_qos0,
            },
            "outage_patience": format_duration(gateway.outage_patience),
            "outage_disconnect": gateway.outage_disconnect.map(format_duration),
            "wills": match gateway.wills {
                WillMode::Gateway => WILLS_GATEWAY,
                WillMode::Off => WILLS_OFF,
            },
            "wake_connect_ignores_flags": gateway.wake_connect_ignores_flags,
            "status_prefix": gateway.status_prefix,
        },
        "admission": {
            "rules": config.admission.rules.len(),
            "others": match config.admission.others {
                Others::Serve => OTHERS_SERVE,
                Others::Refuse => OTHERS_REFUSE,
            },
        },
        "topic_priorities": config.topics.priorities.len(),
        "predefined_topics": config.topics.predefined.len(),
        "qos_minus_one_rules": config.qos_minus_one.allow.len(),
    })
}
