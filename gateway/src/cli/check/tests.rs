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
        "messages_max": 100, "bytes_max": 65_536, "age_max": "1d", "qos0_max": 20
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
