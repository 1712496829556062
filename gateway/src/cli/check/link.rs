//! What the links of a configuration are, in a few lines or as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use shared::time::Duration;

use super::summary::counted;
use crate::config::{DUTY_CYCLE_FREE, LinkConfig, LinkKind, PacingConfig, format_duration};

/// Returns what a link is made of, and its clocks.
pub(super) fn link_text(link: &LinkConfig) -> String {
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

/// Returns how the gateway makes itself known on a link.
pub(super) fn discovery_text(link: &LinkConfig) -> String {
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
pub(super) fn pacing_text(pacing: &PacingConfig) -> String {
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

pub(super) fn link_json(link: &LinkConfig) -> Value {
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
