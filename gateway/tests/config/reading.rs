//! How a file is read, and how faults are told.

use std::path::Path;

use gateway::config::{Config, ConfigError, LinkConfig, LinkKind, LogFormat, SerialConfig};
use gateway::session::Discovery;
use shared::time::Duration;

use super::{parse, problems, refused};

#[test]
fn nothing_configured_is_the_default() {
    let config = parse("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.broker.listen, "127.0.0.1:1883".parse().unwrap());
    let LinkKind::Udp(udp) = &config.links[0].kind else {
        panic!("{:?}", config.links);
    };
    assert_eq!(udp.listen, "0.0.0.0:10000".parse().unwrap());
}

#[test]
fn every_table_is_read() {
    let config = parse(
        r#"
        [gateway]
        id = 7
        client_id = "well-4"
        session_idle_max = "2h"
        mailbox = { messages_max = 5, age_max = "10m" }
        [[link]]
        name = "lan"
        type = "udp"
        listen = "[::]:1884"
        dual_stack = true
        max_message = 0x100
        t_retry = "1500ms"
        forwarders = ["192.168.1.9:10000", "10.0.0.0/8"]
        [[link]]
        name = "radio"
        type = "serial"
        path = "/dev/ttyUSB0"
        baud = 9600
        n_retry = 5
        [upstream]
        url = "mqtt://broker.example"
        username = "u"
        password = "p"
        [topics.predefined]
        1 = "input/antonio/temperature"
        65534 = "ä/ö"
        [[qos_minus_one.allow]]
        link = "lan"
        from = ["10.0.0.0/8"]
        topics = ["input/#", "+/status"]
        [[qos_minus_one.allow]]
        link = "radio"
        node_ids = ["0a1B"]
        topics = ["input/#"]
        rate_per_s = 5
        [log]
        level = "debug"
        format = "json"
        "#,
    )
    .unwrap();
    assert_eq!(config.gateway.id, 7);
    assert_eq!(config.gateway.client_id, "well-4");
    assert_eq!(config.gateway.session_idle_max, Duration::from_secs(7200));
    assert_eq!(config.gateway.mailbox.messages_max, 5);
    assert_eq!(config.gateway.mailbox.age_max, Duration::from_secs(600));
    assert_eq!(config.gateway.mailbox.bytes_max, 65_536);

    let [lan, radio] = &config.links[..] else {
        panic!("{:?}", config.links);
    };
    let LinkKind::Udp(udp) = &lan.kind else {
        panic!("{lan:?}");
    };
    assert!(udp.dual_stack);
    assert_eq!(
        (lan.max_message, lan.t_retry),
        (256, Duration::from_millis(1500))
    );
    assert!(udp.forwarders[0].allows("192.168.1.9:10000".parse().unwrap()));
    assert!(!udp.forwarders[0].allows("192.168.1.9:9".parse().unwrap()));
    assert!(udp.forwarders[1].allows("10.9.9.9:9".parse().unwrap()));
    let serial = SerialConfig {
        baud: 9600,
        ..SerialConfig::new("/dev/ttyUSB0")
    };
    let expected = LinkConfig {
        name: "radio".to_owned(),
        n_retry: 5,
        discovery: Some(Discovery {
            advertise_every: None,
            standby_misses: None,
        }),
        kind: LinkKind::Serial(serial),
        ..LinkConfig::default()
    };
    assert_eq!(radio, &expected);

    let upstream = config.upstream.unwrap();
    assert_eq!(
        (upstream.url.host.as_str(), upstream.url.port),
        ("broker.example", 1883)
    );
    assert_eq!(upstream.password.unwrap().reveal(), "p");
    let names: Vec<(u16, &str)> = config
        .topics
        .predefined
        .iter()
        .map(|(id, name)| (*id, name.as_str()))
        .collect();
    assert_eq!(names, [(1, "input/antonio/temperature"), (65_534, "ä/ö")]);
    assert_eq!(config.qos_minus_one.allow[0].burst, 10);
    assert_eq!(
        config.qos_minus_one.allow[1].node_ids[0].as_bytes(),
        [0x0a, 0x1b]
    );
    assert_eq!(config.qos_minus_one.allow[1].rate_per_s, 5);
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("debug", LogFormat::Json)
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_and_all_allowed() {
    refused(
        "[gateway]\n  clinet_id = \"a\"\n",
        (2, 3),
        "gateway.clinet_id",
        &[
            "unknown key",
            "did you mean client_id?",
            "session_idle_max",
            "mailbox",
        ],
    );
    refused(
        "[gatway]\nid = 1\n",
        (1, 2),
        "gatway",
        &["did you mean gateway?", "link", "log"],
    );
    refused(
        "[[link]]\nname = \"r\"\ntype = \"serial\"\npath = \"/dev/x\"\nbuad = 9600\n",
        (5, 1),
        "link[0].buad",
        &["did you mean baud?"],
    );
    let far = "[log]\nzzzzzz = 1\n";
    refused(
        far,
        (2, 1),
        "log.zzzzzz",
        &["unknown key; allowed are level, format"],
    );
    refused(
        "[[link]]\nname = \"r\"\ntype = \"serial\"\npath = \"/dev/x\"\nlisten = \"0.0.0.0:1\"\n",
        (5, 1),
        "link[0].listen",
        &["links of type \"udp\" only"],
    );
}

#[test]
fn bad_values_are_refused_with_what_is_allowed() {
    for (line, parts) in [
        (
            "id = 0",
            &["0 is not allowed", "an integer from 1 to 255"][..],
        ),
        ("id = 256", &["256", "1 to 255"]),
        ("id = -1", &["-1", "1 to 255"]),
        ("id = \"1\"", &["\"1\" is not allowed", "integer"]),
        ("id = 1.0", &["1.0", "integer"]),
        ("id = 99999999999999999999", &["1 to 255"]),
        ("client_id = \"\"", &["a text of 1 to 256 octets"]),
        (
            "session_idle_max = \"1 day\"",
            &["\"1 day\"", "from \"1m\" to \"365d\""],
        ),
        (
            "session_idle_max = 86400",
            &["86400 is not allowed", "a duration"],
        ),
        ("session_idle_max = \"1s\"", &["from \"1m\""]),
        ("publish_window = [1]", &["[1]", "an integer from 1 to 64"]),
    ] {
        let key = line.split(' ').next().unwrap();
        let source = format!("[gateway]\n{line}\n");
        refused(
            &source,
            (2, key.len() + 4),
            &format!("gateway.{key}"),
            parts,
        );
    }
}

#[test]
fn lists_point_at_the_element() {
    let link = "[[link]]\nname = \"a\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n";
    refused(
        &format!("{link}forwarders = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n"),
        (5, 29),
        "link[0].forwarders",
        &["\"10.0.0.0/33\" is not allowed", "prefixes"],
    );
    refused(
        "[topics.predefined]\n1 = \"a/b\"\n2 = \"a/#\"\n",
        (3, 5),
        "topics.predefined",
        &["id 2", "+ or a #"],
    );
    for id in ["0", "65535", "x", "-1"] {
        let source = format!("[topics.predefined]\n{id} = \"a\"\n");
        refused(
            &source,
            (2, 1),
            "topics.predefined",
            &["is no such id", "1 to 65534"],
        );
    }
    for (key, why) in [
        ("01", "\"01\" is no such id, write 1"),
        ("\"+1\"", "\"+1\" is no such id, write 1"),
        ("007", "\"007\" is no such id, write 7"),
    ] {
        let source = format!("[topics.predefined]\n1 = \"a\"\n{key} = \"b\"\n");
        refused(&source, (3, 1), "topics.predefined", &[why]);
    }
}

#[test]
fn missing_keys_are_named_with_what_they_take() {
    let list = problems("[[link]]\ntype = \"udp\"\n");
    let keys: Vec<&str> = list.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["link[0].name", "link[0].listen"]);
    assert!(
        list[1].message.contains("an address and a port"),
        "{}",
        list[1]
    );
    assert_eq!(list[0].line, 1);
    refused(
        "[upstream]\n",
        (1, 2),
        "upstream.url",
        &["missing", "mqtts://host:port"],
    );
    refused("link = []\n", (1, 8), "link", &["at least one"]);
    refused("link = 5\n", (1, 8), "link", &["[[link]]"]);
    refused("gateway = 5\n", (1, 11), "gateway", &["[gateway]"]);
}

#[test]
fn all_problems_are_told_at_once_in_their_order() {
    let list = problems("[gateway]\nid = 0\nnonsense = 1\n[log]\nlevel = \"loud\"\n");
    let lines: Vec<usize> = list.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 5]);
    let error = parse("[gateway]\nid = 0\nnonsense = 1\n")
        .unwrap_err()
        .to_string();
    let expected =
        "test.toml:2:6: gateway.id: 0 is not allowed; allowed: an integer from 1 to 255\n";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(error.lines().count(), 2);
}

#[test]
fn broken_toml_says_where() {
    let list = problems("[gateway]\nid = \n");
    assert_eq!(list[0].line, 2, "{list:?}");
    assert!(!list[0].message.is_empty());
    let list = problems("[gateway]\nid = 1\nid = 2\n");
    assert_eq!((list[0].line, list[0].column), (3, 1), "{list:?}");
    assert!(problems("[gateway\nid = 1\n")[0].line == 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/gateway.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(
        error.to_string().starts_with("/nonexistent/gateway.toml: "),
        "{error}"
    );
}
