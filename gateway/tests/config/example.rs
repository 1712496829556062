//! The commented example, and the table of all keys that it is held against.

use std::collections::BTreeSet;

use gateway::config::schema::{self, Fallback};
use gateway::config::{BrokerUrl, Config, ConfigError, UpstreamConfig};
use shared::rng::Rng;
use tempfile::TempDir;

use super::parse;

const EXAMPLE: &str = include_str!("../../sandgrouse.example.toml");

#[test]
fn garbled_files_are_refused_in_place_and_never_panic() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::new(seed);
    let on: String = EXAMPLE
        .lines()
        .map(|line| format!("{}\n", setting(line).unwrap_or("")))
        .collect();
    let mut refusals = 0;
    for _ in 0..2000 {
        let mut bytes = on.clone().into_bytes();
        for _ in 0..=rng.below(3) {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            let other = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            match rng.below(3) {
                0 => bytes[at] = bytes[other],
                1 => bytes[at] = rng.next_u64().to_be_bytes()[0],
                _ => drop(bytes.drain(at.min(other)..at.max(other).min(at.min(other) + 40))),
            }
        }
        let source = String::from_utf8_lossy(&bytes);
        let Err(ConfigError::Invalid(problems)) = parse(&source) else {
            continue;
        };
        refusals += 1;
        for problem in problems.list {
            assert!(problem.line <= source.lines().count() + 1, "{problem}");
            assert!(!problem.message.is_empty());
        }
    }
    assert!(refusals > 1000, "{refusals}");
}

#[test]
fn the_example_as_it_stands_is_the_default() {
    assert_eq!(parse(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_shows_every_key_and_every_default() {
    let mut shown = BTreeSet::new();
    for (path, value) in settings(EXAMPLE) {
        let key = schema::find(&path).unwrap_or_else(|| panic!("{path} is no key"));
        if let Some(default) = key.default.toml() {
            assert_eq!(value, default, "{path}");
        }
        shown.insert(path);
    }
    for key in schema::KEYS {
        assert!(
            shown.contains(key.path),
            "{} is not in the example",
            key.path
        );
    }
    // Keys that are there for one link type only, and those for both, on both links.
    for key in schema::KEYS {
        let name = key.path.strip_prefix("link[].").unwrap_or(".");
        if name.contains('.') || key.link_type.is_some() || key.default == Fallback::Required {
            continue;
        }
        assert_eq!(EXAMPLE.matches(&format!("#{name} = ")).count(), 2, "{name}");
    }
}

#[test]
fn everything_in_the_example_works_when_it_is_turned_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sandgrouse.toml");
    for name in ["upstream.password", "ca.pem", "gateway.pem", "gateway.key"] {
        std::fs::write(folder.path().join(name), "text").unwrap();
    }
    let on: String = EXAMPLE
        .lines()
        .map(|line| format!("{}\n", setting(line).unwrap_or("")))
        .collect();
    let passwords = ["password =", "password_file =", "password_env ="];
    for kept in passwords {
        let source: String = on
            .lines()
            .filter(|line| {
                line.starts_with(kept) || !passwords.iter().any(|it| line.starts_with(it))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let variable = |_: &str| None;
        let broker = |name: &str| (name == "BROKER_PASSWORD").then(|| "text".to_owned());
        let environment: &dyn Fn(&str) -> Option<String> = if kept == "password_env =" {
            &broker
        } else {
            &variable
        };
        let config = Config::parse(&source, &path, environment).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.links.len(), 2);
        assert_eq!(config.qos_minus_one.allow.len(), 2);
        // All defaults of [upstream] are shown, so that nothing but these differs.
        let url: BrokerUrl = "mqtts://broker.example:8883".parse().unwrap();
        let upstream = config.upstream.unwrap();
        let expected = UpstreamConfig {
            username: upstream.username.clone(),
            password: upstream.password.clone(),
            ca_file: upstream.ca_file.clone(),
            client_identity: upstream.client_identity.clone(),
            ..UpstreamConfig::new(url)
        };
        assert!(upstream.password.is_some() && upstream.ca_file.is_some());
        assert_eq!(upstream, expected);
    }
}

#[test]
fn defaults_in_the_table_are_the_defaults_of_the_settings() {
    // Each default, written out, changes nothing.
    for key in schema::KEYS {
        let in_list = key.path.find("].").map(|at| at + 1);
        let place = in_list.or_else(|| key.path.rfind('.')).unwrap();
        let (table, name) = (&key.path[..place], &key.path[place + 1..]);
        let Some(default) = key.default.toml() else {
            assert!(matches!(
                key.default,
                Fallback::Required | Fallback::Nothing | Fallback::Empty
            ));
            continue;
        };
        let links = "[[link]]\nname = \"r\"\ntype = \"serial\"\npath = \"/dev/x\"\n\
                     [[link]]\nname = \"u\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n";
        let (without, with) = match (table, key.link_type) {
            ("link[]", Some("serial")) => {
                let (serial, udp) = links.split_at(links.rfind("[[").unwrap());
                (
                    links.to_owned(),
                    format!("{serial}{name} = {default}\n{udp}"),
                )
            }
            ("link[]", _) => (links.to_owned(), format!("{links}{name} = {default}\n")),
            ("qos_minus_one.allow[]", _) => {
                let rule =
                    format!("{links}[[qos_minus_one.allow]]\nlink = \"r\"\ntopics = [\"a\"]\n");
                (rule.clone(), format!("{rule}{name} = {default}\n"))
            }
            ("node[]", _) => {
                let rule = "[[node]]\nmatch = \"pump-*\"\n";
                (rule.to_owned(), format!("{rule}{name} = {default}\n"))
            }
            ("upstream", _) => {
                let upstream = "[upstream]\nurl = \"mqtt://h\"\n";
                (
                    upstream.to_owned(),
                    format!("{upstream}{name} = {default}\n"),
                )
            }
            _ => (String::new(), format!("[{table}]\n{name} = {default}\n")),
        };
        let with = parse(&with).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parse(&without).unwrap(), with, "{}", key.path);
    }
}

/// Returns the settings of a text, turned on or off, as schema paths and values.
fn settings(text: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in text.lines().filter_map(setting) {
        if let Some(name) = line.strip_prefix("[[") {
            table = format!("{}[]", name.trim_end_matches(']'));
        } else if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else {
            let (name, value) = line.split_once(" = ").unwrap();
            found.push((format!("{table}.{name}"), value.to_owned()));
        }
    }
    found
}

/// Returns the setting or table on a line, turned on; comments have a space behind their #.
fn setting(line: &str) -> Option<&str> {
    let on = line.strip_prefix('#').unwrap_or(line);
    (!on.is_empty() && !on.starts_with([' ', '#'])).then_some(on)
}
