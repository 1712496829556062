//! Tests of `sandgrouse check`: what is printed where, for files right and wrong.

use super::*;
use crate::config::schema::KEYS;

fn check(source: &str, args: &[&str]) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, source).unwrap();
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
    std::fs::write(folder.path().join("ca.key"), "no certificate").unwrap();
    let after = |option| {
        let mut rest = args.iter().skip_while(|arg| **arg != option).skip(1);
        rest.next().map(|value| (*value).to_owned())
    };
    let args = CheckArgs {
        file: Some(file),
        json: args.contains(&"--json"),
        keys: args.contains(&"--keys"),
        values: args.contains(&"--values"),
        node: after("--node"),
        link: after("--link"),
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&args, &mut out, &mut err).unwrap();
    // `ExitCode` can be shown and not compared.
    let is_success = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (is_success, text(out), text(err))
}

const UPSTREAM: &str = "[upstream]\nurl = \"mqtts://broker.example\"\n\
                        username = \"gw\"\npassword = \"hunter2\"\n\
                        ca_file = \"ca.pem\"\n";

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
        "no forwarders",
        "kept waiting for 16 publications at most",
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
fn one_thing_is_not_several() {
    let source = "[gateway]\npublish_window = 1\nunanswered_max = 1\n\
                  [[link]]\nname = \"a\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n\
                  forwarders = [\"192.0.2.1\"]\n\
                  [[qos_minus_one.allow]]\nlink = \"a\"\nfrom = [\"192.0.2.1\"]\ntopics = [\"#\"]\n";
    let (_, out, err) = check(source, &[]);
    assert_eq!(err, "");
    for part in [
        "1 forwarder,",
        "and 1 publication in flight",
        "waiting for 1 publication at most",
        "QoS -1    1 rule\n",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
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
fn what_the_upstream_cannot_start_with_is_not_valid() {
    let source = UPSTREAM.replace("ca.pem", "ca.key");
    let (is_success, out, err) = check(&source, &[]);
    assert!(!is_success);
    assert_eq!(out, "");
    for part in ["gateway.toml: upstream tls", "ca.key: holds no certificate"] {
        assert!(err.contains(part), "{part} in {err}");
    }
    let (is_success, out, _) = check(&source, &["--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert!(!is_success);
    assert_eq!(value["valid"], false);
    assert_eq!(value["problems"][0]["key"], "upstream");
}

#[test]
fn json_says_the_same() {
    let (is_success, out, _) = check(UPSTREAM, &["--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert!(is_success);
    assert_eq!(value["valid"], true);
    assert_eq!(value["links"][0]["listen"], "0.0.0.0:10000");
    assert_eq!(value["upstream"]["username"], "gw");
    assert_eq!(value["gateway"]["unanswered_max"], 16);
    let mailbox = json!({
        "messages_max": 100, "bytes_max": 65_536, "age_max": "1d", "qos0_max": 20,
        "conflate_qos0": false
    });
    assert_eq!(value["gateway"]["mailbox"], mailbox);
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

const NODES: &str = r#"
[gateway]
client_id_len_max = 20
[[link]]
name = "lan"
type = "udp"
listen = "0.0.0.0:1"
max_message = 200
[[link]]
name = "radio"
type = "serial"
path = "/dev/x"
max_message = 100
[admission]
others = "refuse"
[[node]]
match = "pump-*"
links = ["lan"]
publish = ["pumps/%c/#"]
subscribe = []
qos_max = 1
messages_per_min = 60
mtu = 150
profile = "emcute"
expect_every = "1h"
[[node]]
match = "well-*"
from = ["10.0.0.0/8"]
"#;

#[test]
fn d43_a_node_is_told_its_rule() {
    let (is_success, out, err) = check(NODES, &["--node", "pump-17"]);
    assert!(is_success, "{err}");
    for part in [
        "pump-17: served\n",
        "rule      node[0], match = \"pump-*\"\n",
        "links     lan\n",
        "publish   pumps/pump-17/#\n",
        "subscribe nothing\n",
        "QoS       up to 1\n",
        "quota     60 publications a minute\n",
        "messages  up to 150 octets\n",
        "profile   emcute\n",
        "priority  normal\n",
        "told as a status after 1h\n",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let (_, out, _) = check(NODES, &["--node", "pump-17", "--link", "lan", "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["valid"], true);
    let node = &value["node"];
    assert_eq!(node["served"], true);
    assert_eq!(node["rule"], json!({ "index": 0, "match": "pump-*" }));
    assert_eq!(node["allows"]["publish"], json!(["pumps/pump-17/#"]));
    assert_eq!(node["allows"]["subscribe"], json!([]));
    assert_eq!(node["allows"]["mtu"], 150);
    assert_eq!(node["allows"]["bytes_per_day"], Value::Null);
    let (_, out, _) = check("", &["--node", "anyone"]);
    for part in [
        "anyone: served",
        "admission.others holds",
        "publish   all topics",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
}

#[test]
fn d44_a_refused_node_is_told_why() {
    for (node, link, why) in [
        ("valve", None, "no rule fits, and others are refused"),
        (
            "pump-17",
            Some("radio"),
            "not on the link radio, only on lan",
        ),
        ("well-1", Some("radio"), "the link radio has no addresses"),
        ("pump-/1", None, "cannot stand for %c"),
        ("pump-17890123456789012", None, "has 22 octets"),
        ("", None, "has 0 octets"),
    ] {
        let mut args = vec!["--node", node];
        args.extend(link.iter().flat_map(|link| ["--link", *link]));
        let (is_success, out, err) = check(NODES, &args);
        assert!(is_success, "{err}");
        assert!(out.contains(&format!("{node}: refused: ")), "{out}");
        assert!(out.contains(why), "{why} in {out}");
        args.push("--json");
        let (_, out, _) = check(NODES, &args);
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["node"]["served"], false);
        assert!(
            value["node"]["why"].as_str().unwrap().contains(why),
            "{out}"
        );
    }
    for (node, link) in [("well-1", "lan"), ("pump-1", "lan")] {
        let (_, out, _) = check(NODES, &["--node", node, "--link", link]);
        assert!(out.contains(": served"), "{out}");
    }
    let (is_success, out, err) = check(NODES, &["--node", "a", "--link", "wan"]);
    assert!(!is_success);
    assert_eq!(out, "");
    assert!(
        err.contains("--link wan: no link has this name; there are lan, radio"),
        "{err}"
    );
}

#[test]
fn warnings_are_told_and_the_file_is_valid() {
    let source = "[[node]]\nmatch = \"*\"\n[[node]]\nmatch = \"pump\"\n";
    let (is_success, out, _) = check(source, &[]);
    assert!(is_success);
    assert!(
        out.contains("gateway.toml:4:9: node[1].match: the rule never holds"),
        "{out}"
    );
    assert!(
        out.contains("admission 2 rules, others are served"),
        "{out}"
    );
    let (_, out, _) = check(source, &["--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["valid"], true);
    assert_eq!(value["warnings"][0]["line"], 4);
    assert_eq!(value["admission"], json!({ "rules": 2, "others": "serve" }));
}

#[test]
fn the_values_that_hold_are_listed_without_secrets() {
    let (_, out, _) = check(UPSTREAM, &["--values"]);
    for line in [
        "upstream.url = \"mqtts://broker.example:8883\"\n",
        "upstream.password = …\n",
        "upstream.keep_alive = \"30s\"  # not written\n",
        "link[udp].listen = \"0.0.0.0:10000\"  # not written\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    assert!(!out.contains("hunter2"));
    let (_, out, _) = check(UPSTREAM, &["--values", "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    let values = value["values"].as_array().unwrap();
    let id = values
        .iter()
        .find(|held| held["key"] == "gateway.id")
        .unwrap();
    assert_eq!(
        id,
        &json!({ "key": "gateway.id", "value": "1", "written": false })
    );
    assert!(!out.contains("hunter2"));
}
