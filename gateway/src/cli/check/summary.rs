//! What a configuration does, in a few lines or as JSON; no secret is among them.

use std::fmt::Write as _;

use serde_json::{Value, json};
use shared::time::Duration;

use crate::config::{
    Config, DUTY_CYCLE_FREE, LinkConfig, LinkKind, OTHERS_REFUSE, OTHERS_SERVE, Others,
    PacingConfig, WILLS_GATEWAY, WILLS_OFF, format_duration,
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
fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("  {name:<9} {value}\n"));
}

fn link_text(link: &LinkConfig) -> String {
    let mut text = format!("{}: ", link.name);
    let _ = match &link.kind {
        LinkKind::Udp(udp) => write!(
            text,
            "UDP on {}, {}, receive buffer {}",
            udp.listen,
            match udp.forwarders.len() {
                0 => "no forwarders".to_owned(),
                count => counted(count, "forwarder"),
            },
            udp.receive_buffer_bytes
        ),
        LinkKind::Serial(serial) => {
            write!(
                text,
                "serial on {} at {} baud",
                serial.path.display(),
                serial.baud
            )
        }
    };
    if let Some(preset) = link.preset {
        let _ = write!(text, ", {preset}");
    }
    let _ = write!(
        text,
        ", up to {}, T_retry {} x {}, silence up to {} % and {} %",
        counted(link.max_message, "octet"),
        format_duration(link.t_retry),
        link.n_retry,
        link.tolerance.short_percent,
        link.tolerance.long_percent,
    );
    if let Some(span) = link.dead_after {
        let _ = write!(text, ", dead after {}", format_duration(span));
    }
    text
}

fn discovery_text(link: &LinkConfig) -> String {
    let groups = match &link.kind {
        LinkKind::Udp(udp) => udp
            .multicast
            .as_ref()
            .map(|multicast| &multicast.groups[..]),
        LinkKind::Serial(_) => None,
    };
    let mut text = match link.discovery {
        None => "not answered".to_owned(),
        Some(discovery) => match discovery.advertise_every {
            None => "answered, not advertised".to_owned(),
            Some(span) => format!("answered, advertised every {}", format_duration(span)),
        },
    };
    if let Some(misses) = link.discovery.and_then(|it| it.standby_misses) {
        let _ = write!(
            text,
            " as a stand-by, after {misses} of another gateway were missed"
        );
    }
    for group in groups.unwrap_or_default() {
        let _ = write!(text, ", on {group}");
    }
    text
}

/// Returns how a link is paced, as far as that is said in settings.
fn pacing_text(pacing: &PacingConfig) -> String {
    let mut parts = Vec::new();
    if let Some(rate) = pacing.rate_bytes_per_s {
        parts.push(format!("{rate} octets/s"));
    }
    if let Some(lora) = pacing.lora {
        parts.push(format!("LoRa SF{}", lora.spreading_factor));
    }
    if pacing.frame_time > Duration::ZERO {
        parts.push(format!("{} a frame", format_duration(pacing.frame_time)));
    }
    if pacing.duty_cycle_permille < DUTY_CYCLE_FREE {
        parts.push(format!(
            "{} in 1000 of every hour",
            pacing.duty_cycle_permille
        ));
    }
    if pacing.guard > Duration::ZERO {
        parts.push(format!("guard {}", format_duration(pacing.guard)));
    }
    parts.push(format!(
        "queue of {}",
        counted(pacing.queue_bytes_max, "octet")
    ));
    parts.join(", ")
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

fn link_json(link: &LinkConfig) -> Value {
    let mut value = json!({
        "name": link.name,
        "type": link.kind.name(),
        "max_message": link.max_message,
        "t_retry": format_duration(link.t_retry),
        "n_retry": link.n_retry,
        "preset": link.preset,
        "tolerance_short_percent": link.tolerance.short_percent,
        "tolerance_long_percent": link.tolerance.long_percent,
        "dead_after": link.dead_after.map(format_duration),
        "discovery": link.discovery.map(|discovery| {
            json!({
                "advertise_every": discovery.advertise_every.map(format_duration),
                "standby_misses": discovery.standby_misses,
            })
        }),
        "pacing": link.pacing.as_ref().map(pacing_json),
    });
    match &link.kind {
        LinkKind::Udp(udp) => {
            value["listen"] = json!(udp.listen.to_string());
            let groups = udp.multicast.iter().flat_map(|multicast| &multicast.groups);
            value["groups"] = groups.map(ToString::to_string).collect();
        }
        LinkKind::Serial(serial) => {
            value["path"] = json!(serial.path.display().to_string());
            value["baud"] = json!(serial.baud);
        }
    }
    value
}

fn pacing_json(pacing: &PacingConfig) -> Value {
    json!({
        "rate_bytes_per_s": pacing.rate_bytes_per_s,
        "lora_spreading_factor": pacing.lora.map(|lora| lora.spreading_factor),
        "frame_overhead_bytes": pacing.frame_overhead_bytes,
        "frame_time": format_duration(pacing.frame_time),
        "burst_bytes": pacing.burst_bytes,
        "duty_cycle_permille": pacing.duty_cycle_permille,
        "duty_burst": format_duration(pacing.duty_burst),
        "guard": format_duration(pacing.guard),
        "queue_bytes_max": pacing.queue_bytes_max,
    })
}
