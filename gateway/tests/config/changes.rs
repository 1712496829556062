//! How two readings differ, and what of it a running gateway can take.

use std::path::Path;

use gateway::config::schema::{Applies, KEYS, find};
use gateway::config::{Change, PASSWORD_VARIABLE, Reading};

use super::reading;

fn changes(old: &str, new: &str) -> Vec<String> {
    let shown = |change: &Change| change.to_string();
    let changes = reading(old).values.changes(&reading(new).values);
    changes.iter().map(shown).collect()
}

#[test]
fn a_change_has_the_value_before_and_after() {
    assert_eq!(changes("", ""), [""; 0]);
    assert_eq!(
        changes(
            "[gateway]\nid = 7\nmailbox.age_max = \"90m\"\n",
            "[gateway]\nid = 9\n"
        ),
        [
            "gateway.id: 7 -> 9",
            "gateway.mailbox.age_max: \"90m\" -> \"1d\""
        ]
    );
    // A default that is written out is no change.
    assert_eq!(
        changes("", "[gateway]\nid = 1\noutage_disconnect = \"10m\"\n"),
        [""; 0]
    );
    assert_eq!(
        changes("", "[gateway]\noutage_disconnect = \"never\"\n"),
        ["gateway.outage_disconnect: \"10m\" -> \"never\""]
    );
    let rule = "[[node]]\nmatch = \"a\"\n";
    assert_eq!(
        changes(
            &format!("{rule}mtu = 64\n"),
            &format!("{rule}publish = [\"b\", \"c/#\"]\n")
        ),
        [
            "node[a].publish: none -> [\"b\", \"c/#\"]",
            "node[a].mtu: 64 -> none"
        ]
    );
    assert_eq!(
        changes(
            "[topics.predefined]\n1 = \"a\"\n2 = \"b\"\n3 = \"c\"\n",
            "[topics.predefined]\n1 = \"a\"\n2 = \"x\"\n4 = \"d\"\n"
        ),
        [
            "topics.predefined.2: \"b\" -> \"x\"",
            "topics.predefined.3: \"c\" -> none",
            "topics.predefined.4: none -> \"d\""
        ]
    );
}

#[test]
fn the_link_without_a_file_is_compared_as_if_it_were_written() {
    let link = "[[link]]\nname = \"udp\"\ntype = \"udp\"\nlisten = \"0.0.0.0:10000\"\n";
    assert_eq!(changes("", link), [""; 0]);
    let nothing = Reading::of_nothing();
    assert_eq!(nothing.values.changes(&reading(link).values), []);
    assert_eq!(
        changes("", &format!("{link}t_retry = \"2s\"\n")),
        ["link[udp].t_retry: \"10s\" -> \"2s\""]
    );
}

#[test]
fn tables_of_a_list_go_by_what_tells_them_apart() {
    let rule =
        |pattern: &str, qos: u8| format!("[[node]]\nmatch = \"{pattern}\"\nqos_max = {qos}\n");
    let old = rule("a*", 1) + &rule("b*", 1);
    let new = rule("x", 2) + &rule("a*", 1) + &rule("b*", 0);
    assert_eq!(
        changes(&old, &new),
        [
            "node[x]: none -> { match = \"x\", qos_max = 2 }",
            "node[b*].qos_max: 1 -> 0"
        ]
    );
    assert_eq!(
        changes(&new, &old),
        [
            "node[b*].qos_max: 0 -> 1",
            "node[x]: { match = \"x\", qos_max = 2 } -> none"
        ]
    );
    // The first that fits holds, so that their order is a setting.
    assert_eq!(
        changes(&old, &(rule("b*", 1) + &rule("a*", 1))),
        ["node: node[a*], node[b*] -> node[b*], node[a*]"]
    );
    // Two with one pattern are told apart by their place.
    let twice = rule("a*", 1) + &rule("a*", 2);
    assert_eq!(
        changes(&twice, &(rule("a*", 1) + &rule("a*", 0))),
        ["node[a* (2)].qos_max: 2 -> 0"]
    );
    let link = |name: &str, port: u16| {
        format!("[[link]]\nname = \"{name}\"\ntype = \"udp\"\nlisten = \"0.0.0.0:{port}\"\n")
    };
    let old = link("a", 1) + &link("b", 2);
    assert_eq!(changes(&old, &(link("b", 2) + &link("a", 1))), [""; 0]);
}

#[test]
fn what_needs_a_restart_is_told() {
    let changes = |old: &str, new: &str| reading(old).values.changes(&reading(new).values);
    let link = "[[link]]\nname = \"udp\"\ntype = \"udp\"\nlisten = \"0.0.0.0:10000\"\n";
    let other = "[[link]]\nname = \"b\"\ntype = \"udp\"\nlisten = \"0.0.0.0:10001\"\n";
    for (old, new, key) in [
        ("", "[gateway]\nclient_id = \"b\"\n", "gateway.client_id"),
        ("", "[upstream]\nurl = \"mqtt://h\"\n", "upstream"),
        ("[upstream]\nurl = \"mqtt://h\"\n", "", "upstream"),
        ("", &format!("{link}{other}"), "link[b]"),
        (&format!("{link}{other}"), "", "link[b]"),
        ("", &link.replace("10000", "10001"), "link[udp].listen"),
        ("", "[log]\nformat = \"json\"\n", "log.format"),
    ] {
        let changes = changes(old, new);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(
            (changes[0].key.as_str(), changes[0].applies),
            (key, Applies::AtStart)
        );
    }
    for key in KEYS.iter().filter(|key| key.path.starts_with("upstream.")) {
        assert_eq!(key.applies, Applies::AtStart, "{}", key.path);
    }
    for path in [
        "node[].match",
        "gateway.id",
        "link[].t_retry",
        "link[].forwarders",
    ] {
        assert_eq!(find(path).unwrap().applies, Applies::AtReload, "{path}");
    }
}

#[test]
fn secrets_are_compared_and_never_shown() {
    let upstream = |password: &str| {
        format!("[upstream]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"{password}\"\n")
    };
    let (old, new) = (upstream("hunter2"), upstream("hunter3"));
    assert_eq!(changes(&old, &new), ["upstream.password: … -> …"]);
    for text in [
        changes("", &old).join("\n"),
        format!("{:?}", reading(&old)),
        reading(&old).values.iter().map(|held| held.value).collect(),
    ] {
        assert!(!text.contains("hunter"), "{text}");
    }
    // Wherever it comes from: the environment goes before the file.
    let in_environment = |password: &str| {
        let password = password.to_owned();
        let variable = move |name: &str| (name == PASSWORD_VARIABLE).then(|| password.clone());
        Reading::parse(&old, Path::new("test.toml"), &variable)
            .unwrap()
            .values
    };
    let changes = in_environment("hunter4").changes(&in_environment("hunter5"));
    assert_eq!(changes.len(), 1, "{changes:?}");
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("password");
    let source = format!(
        "[upstream]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword_file = \"{}\"\n",
        file.display()
    );
    std::fs::write(&file, "hunter2\n").unwrap();
    let before = reading(&source);
    std::fs::write(&file, "hunter3\n").unwrap();
    let changes = before.values.changes(&reading(&source).values);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].to_string(), "upstream.password: … -> …");
}

#[test]
fn long_values_are_shortened() {
    let filters: Vec<String> = (0..1000).map(|n| format!("\"topic/{n}\"")).collect();
    let rule = "[[node]]\nmatch = \"a\"\n";
    let new = format!("{rule}publish = [{}]\n", filters.join(", "));
    let list = changes(rule, &new);
    assert_eq!(list.len(), 1);
    assert!(
        list[0].chars().count() < 300 && list[0].ends_with('…'),
        "{}",
        list[0]
    );
}

#[test]
fn every_key_that_holds_is_listed() {
    let upstream = "[upstream]\nurl = \"mqtt://h\"\n";
    let values = reading(upstream).values;
    let held: Vec<_> = values.iter().collect();
    for key in KEYS {
        let is_there = key.default.toml().is_some()
            && !key.path.contains("[]")
            && key.path.split('.').next() != Some("link");
        let found = held.iter().find(|held| held.key == key.path);
        if !is_there {
            continue;
        }
        let found = found.unwrap_or_else(|| panic!("{}", key.path));
        assert_eq!(
            Some(&found.value),
            key.default.toml().as_ref(),
            "{}",
            key.path
        );
        assert!(!found.is_written);
    }
    let written: Vec<&str> = held
        .iter()
        .filter(|held| held.is_written)
        .map(|held| held.key.as_str())
        .collect();
    assert_eq!(written, ["upstream.url"]);
    let retry = held.iter().find(|held| held.key == "link[udp].t_retry");
    assert_eq!(retry.unwrap().value, "\"10s\"");
}
