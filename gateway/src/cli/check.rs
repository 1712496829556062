//! `sandgrouse check`: what a configuration says, or what is wrong with it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::schema::{KEYS, Key, Preset};
use crate::config::{Config, ConfigError, LinkConfig, LinkKind, format_duration};

/// Checks a configuration file and says what it does, or what is wrong and where.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The file to check
    #[arg(required_unless_present = "keys")]
    pub file: Option<PathBuf>,
    /// Print JSON instead of lines
    #[arg(long)]
    pub json: bool,
    /// Print every key with its type, default and bounds, and check nothing
    #[arg(long, conflicts_with = "file")]
    pub keys: bool,
}

/// Runs the command. What was asked for goes to `out`, what is wrong to `err`; as JSON,
/// both go to `out`.
///
/// # Errors
///
/// Whatever writing fails with.
pub fn run(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    if args.keys {
        let text = if args.json {
            pretty(&keys_json())
        } else {
            keys_text()
        };
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.file.clone().unwrap_or_default();
    match (Config::load(&file), args.json) {
        (Ok(config), true) => {
            let mut value = summary_json(&config);
            value["valid"] = json!(true);
            out.write_all(pretty(&value).as_bytes())?;
        }
        (Ok(config), false) => {
            writeln!(out, "{} is valid", file.display())?;
            out.write_all(summary_text(&config).as_bytes())?;
        }
        (Err(error), true) => {
            out.write_all(pretty(&error_json(&error)).as_bytes())?;
            return Ok(ExitCode::FAILURE);
        }
        (Err(error), false) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what a configuration does, in a few lines; no secret is among them.
#[must_use]
pub fn summary_text(config: &Config) -> String {
    let gateway = &config.gateway;
    let mailbox = &gateway.mailbox;
    let mut text = String::new();
    for link in &config.links {
        line(&mut text, "link", &link_text(link));
    }
    line(&mut text, "upstream", &upstream_text(config));
    let nodes = format!(
        "up to {}, each with {} topics, {} subscriptions and {} publications in flight",
        gateway.clients_max,
        gateway.topics_per_node_max,
        gateway.subscriptions_per_node_max,
        gateway.publish_window,
    );
    line(&mut text, "nodes", &nodes);
    let kept = format!(
        "{} publications, {} octets, {} of them at QoS 0, for {}",
        mailbox.messages_max,
        mailbox.bytes_max,
        mailbox.qos0_max,
        format_duration(mailbox.age_max),
    );
    line(&mut text, "mailbox", &kept);
    let topics = match config.topics.predefined.len() {
        0 => "none pre-defined".to_owned(),
        count => format!("{count} pre-defined"),
    };
    line(&mut text, "topics", &topics);
    let rules = match config.qos_minus_one.len() {
        0 => "nobody".to_owned(),
        count => format!("{count} rules"),
    };
    line(&mut text, "QoS -1", &rules);
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("  {name:<9} {value}\n"));
}

fn link_text(link: &LinkConfig) -> String {
    let mut text = format!("{}: ", link.name);
    let _ = match &link.kind {
        LinkKind::Udp(udp) => write!(
            text,
            "UDP on {}, {} forwarders, receive buffer {}",
            udp.listen,
            udp.forwarders.len(),
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
    let _ = write!(
        text,
        ", up to {} octets, T_retry {} x {}",
        link.max_message,
        format_duration(link.t_retry),
        link.n_retry
    );
    text
}

fn upstream_text(config: &Config) -> String {
    let Some(upstream) = &config.upstream else {
        return format!("the embedded broker, on {}", config.broker.listen);
    };
    let user = upstream.username.as_deref();
    format!(
        "{} as {}, {}, session kept for {}, queue of {} publications and {} octets",
        upstream.url,
        config.gateway.client_id,
        user.map_or("without a user".to_owned(), |user| format!("user {user}")),
        format_duration(upstream.session_expiry),
        upstream.queue_len_max,
        upstream.queue_bytes_max,
    )
}

fn summary_json(config: &Config) -> Value {
    let gateway = &config.gateway;
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
            "unanswered_max": gateway.unanswered_max,
        },
        "predefined_topics": config.topics.predefined.len(),
        "qos_minus_one_rules": config.qos_minus_one.len(),
    })
}

fn link_json(link: &LinkConfig) -> Value {
    let mut value = json!({
        "name": link.name,
        "type": link.kind.name(),
        "max_message": link.max_message,
        "t_retry": format_duration(link.t_retry),
        "n_retry": link.n_retry,
    });
    match &link.kind {
        LinkKind::Udp(udp) => value["listen"] = json!(udp.listen.to_string()),
        LinkKind::Serial(serial) => {
            value["path"] = json!(serial.path.display().to_string());
            value["baud"] = json!(serial.baud);
        }
    }
    value
}

fn error_json(error: &ConfigError) -> Value {
    let problems: Vec<Value> = match error {
        ConfigError::Invalid(problems) => problems
            .list
            .iter()
            .map(|problem| {
                json!({
                    "file": problems.file,
                    "line": problem.line,
                    "column": problem.column,
                    "key": problem.key,
                    "message": problem.message,
                })
            })
            .collect(),
        ConfigError::Read { path, source } => vec![json!({
            "file": path.display().to_string(),
            "message": source.to_string(),
        })],
    };
    json!({ "valid": false, "problems": problems })
}

/// Returns the reference of all keys, for people.
#[must_use]
pub fn keys_text() -> String {
    let mut text = String::new();
    for key in KEYS {
        text.push_str(&format!("{} ({})\n", key.path, key.rule.type_name()));
        text.push_str(&format!("    {}\n", key.meaning));
        text.push_str(&format!("    allowed: {}\n", key.rule.allowed()));
        text.push_str(&format!("    default: {}\n", default_text(key)));
        if let Some(link_type) = key.link_type {
            text.push_str(&format!("    only in links of type \"{link_type}\"\n"));
        }
    }
    text
}

fn keys_json() -> Value {
    let keys = KEYS.iter().map(|key| {
        json!({
            "key": key.path,
            "type": key.rule.type_name(),
            "allowed": key.rule.allowed(),
            "default": key.default.toml(),
            "required": key.default == Preset::Required,
            "link_type": key.link_type,
            "meaning": key.meaning,
        })
    });
    keys.collect()
}

fn default_text(key: &Key) -> String {
    match key.default {
        Preset::Required => "none, it must be there".to_owned(),
        Preset::Nothing => "none".to_owned(),
        Preset::Empty => "empty".to_owned(),
        _ => key.default.toml().unwrap_or_default(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, args: &[&str]) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, source).unwrap();
        let args = CheckArgs {
            file: Some(file),
            json: args.contains(&"--json"),
            keys: args.contains(&"--keys"),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&args, &mut out, &mut err).unwrap();
        // `ExitCode` can be shown and not compared.
        let is_success = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (is_success, text(out), text(err))
    }

    const UPSTREAM: &str = "[upstream]\nurl = \"mqtts://broker.example\"\n\
                            username = \"gw\"\npassword = \"hunter2\"\n";

    #[test]
    fn a_valid_file_is_summed_up_without_its_password() {
        let (is_success, out, err) = check(UPSTREAM, &[]);
        assert!(is_success);
        for part in [
            "is valid",
            "udp: UDP on 0.0.0.0:10000",
            "mqtts://broker.example:8883 as sandgrouse, user gw",
            "up to 10000",
            "none pre-defined",
        ] {
            assert!(out.contains(part), "{part} in {out}");
        }
        assert!(!out.contains("hunter2"));
        assert_eq!(err, "");
        let (is_success, out, _) = check("", &[]);
        assert!(is_success);
        assert!(
            out.contains("the embedded broker, on 127.0.0.1:1883"),
            "{out}"
        );
    }

    #[test]
    fn an_invalid_file_fails_with_file_line_and_column() {
        let (is_success, out, err) = check("[gateway]\nid = 0\n", &[]);
        assert!(!is_success);
        assert_eq!(out, "");
        assert!(
            err.contains("gateway.toml:2:6: gateway.id: 0 is not allowed"),
            "{err}"
        );
    }

    #[test]
    fn json_says_the_same() {
        let (is_success, out, _) = check(UPSTREAM, &["--json"]);
        let value: Value = serde_json::from_str(&out).unwrap();
        assert!(is_success);
        assert_eq!(value["valid"], true);
        assert_eq!(value["links"][0]["listen"], "0.0.0.0:10000");
        assert_eq!(value["upstream"]["username"], "gw");
        assert!(!out.contains("hunter2"));

        let (is_success, out, err) = check("[gateway]\nid = 0\n", &["--json"]);
        let value: Value = serde_json::from_str(&out).unwrap();
        assert!(!is_success);
        assert_eq!(err, "");
        assert_eq!(value["valid"], false);
        let problem = &value["problems"][0];
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&json!(2), &json!(6))
        );
        assert_eq!(problem["key"], "gateway.id");
    }

    #[test]
    fn the_reference_names_every_key() {
        let (_, text, _) = check("", &["--keys"]);
        let (_, out, _) = check("", &["--keys", "--json"]);
        let value: Value = serde_json::from_str(&out).unwrap();
        for (index, key) in KEYS.iter().enumerate() {
            assert!(text.contains(&format!("{} (", key.path)), "{}", key.path);
            assert_eq!(value[index]["key"], key.path);
        }
    }
}
