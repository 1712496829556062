//! Who may do what: rules of admission, priorities of topics, and the gateway's dealings with
//! its nodes.

use gateway::config::{NodeConfig, Others, TopicPriority};
use gateway::session::{Priority, Profile, Quota, WillMode};
use shared::time::Duration;
use shared::wire::QoS;

use super::{parse, problems, reading, refused};

const LINKS: &str = "[[link]]\nname = \"lan\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n\
                     [[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"/dev/x\"\n";

#[test]
fn d43_a_rule_is_read_with_all_it_says() {
    let config = parse(&format!(
        "{LINKS}{}",
        r#"
        [admission]
        others = "refuse"
        [[node]]
        match = "pump-*"
        links = ["radio", "lan"]
        from = ["10.0.0.0/8"]
        node_ids = ["0a1B"]
        publish = ["pumps/%c/#", "alarms"]
        subscribe = []
        qos_max = 1
        messages_per_min = 60
        bytes_per_day = 1_000_000_000_000
        mtu = 128
        profile = "emcute"
        priority = "high"
        grace = "36h"
        expect_every = "1h"
        max_awake_messages = 10
        [[node]]
        match = "*"
        "#
    ))
    .unwrap();
    assert_eq!(config.admission.others, Others::Refuse);
    let [pumps, all] = &config.admission.rules[..] else {
        panic!("{:?}", config.admission);
    };
    assert!(pumps.nodes.fits("pump-1") && !pumps.nodes.fits("well-1"));
    assert_eq!(pumps.links, ["radio", "lan"]);
    assert!(pumps.from[0].contains("10.1.1.1".parse().unwrap()));
    assert_eq!(pumps.node_ids[0].as_bytes(), [0x0a, 0x1b]);
    let publish = ["pumps/%c/#".to_owned(), "alarms".to_owned()];
    assert_eq!(pumps.publish.as_deref(), Some(&publish[..]));
    assert_eq!(pumps.subscribe.as_deref(), Some(&[][..]));
    assert_eq!(pumps.qos_max, QoS::AtLeastOnce);
    let quota = Quota {
        messages_per_min: Some(60),
        bytes_per_day: Some(1_000_000_000_000),
    };
    assert_eq!(pumps.quota, quota);
    assert_eq!(pumps.mtu, Some(128));
    assert_eq!(pumps.profile, Profile::EMCUTE);
    assert_eq!(pumps.priority, Priority::High);
    assert_eq!(pumps.grace, Duration::from_secs(36 * 3600));
    assert_eq!(pumps.expect_every, Some(Duration::from_secs(3600)));
    assert_eq!(pumps.awake_messages_max, Some(10));
    assert_eq!(all, &NodeConfig::new("*"));
}

#[test]
fn d43_values_of_a_rule_are_bounded() {
    for (line, parts) in [
        ("links = \"lan\"", &["names of links"][..]),
        ("from = [\"10.0.0.0/33\"]", &["prefixes"]),
        ("node_ids = [\"0\"]", &["hexadecimal"]),
        (
            "publish = [\"a/#/b\"]",
            &["\"a/#/b\" is not allowed", "%c being the client id"],
        ),
        ("publish = [\"a%c+\"]", &["topic filters"]),
        (
            "subscribe = [\"$share/g/a\"]",
            &["\"$share/g/a\" is not allowed"],
        ),
        ("subscribe = \"a\"", &["topic filters"]),
        ("qos_max = 3", &["an integer from 0 to 2"]),
        ("qos_max = -1", &["0 to 2"]),
        ("messages_per_min = 0", &["from 1 to 1000000"]),
        ("bytes_per_day = 0", &["from 1 to 1099511627776"]),
        ("mtu = 31", &["from 32 to 1400"]),
        ("mtu = 1401", &["from 32 to 1400"]),
        (
            "profile = \"riot\"",
            &["\"standard\" or \"emcute\" or \"asymcute\" or \"zephyr\" or \"paho\""],
        ),
        (
            "priority = \"urgent\"",
            &["\"low\" or \"normal\" or \"high\""],
        ),
        ("grace = \"366d\"", &["from \"0s\" to \"365d\""]),
        ("expect_every = \"9s\"", &["from \"10s\" to \"90d\""]),
        ("expect_every = \"never\"", &["a duration"]),
        ("max_awake_messages = 0", &["from 1 to 100000"]),
        (
            "nodes = \"a\"",
            &["unknown key", "allowed are match, links"],
        ),
    ] {
        let source = format!("[[node]]\nmatch = \"a\"\n{line}\n");
        let list = problems(&source);
        assert_eq!(list.len(), 1, "{source}\n{list:#?}");
        assert_eq!(list[0].line, 3, "{}", list[0]);
        let key = line.split(' ').next().unwrap();
        assert_eq!(list[0].key, format!("node[0].{key}"));
        for part in parts {
            assert!(list[0].message.contains(part), "{part:?} in {}", list[0]);
        }
    }
    for pattern in [String::new(), "a".repeat(257)] {
        let source = format!("[[node]]\nmatch = \"{pattern}\"\n");
        refused(
            &source,
            (2, 9),
            "node[0].match",
            &["up to 256 octets", "? for one"],
        );
    }
    refused(
        "[[node]]\n",
        (1, 1),
        "node[0].match",
        &["missing", "a client id"],
    );
    refused(
        "[admission]\nothers = \"ask\"\n",
        (2, 10),
        "admission.others",
        &["\"serve\" or \"refuse\""],
    );
}

#[test]
fn d44_a_rule_names_links_that_there_are() {
    let rule = |text: &str| format!("{LINKS}[[node]]\nmatch = \"a\"\n{text}\n");
    refused(
        &rule("links = [\"radio\", \"wan\"]"),
        (11, 9),
        "node[0].links",
        &["no link has the name \"wan\"", "there are lan, radio"],
    );
    refused(
        &rule("links = [\"radio\"]\nfrom = [\"10.0.0.0/8\"]"),
        (12, 8),
        "node[0].from",
        &["a serial link has no addresses"],
    );
    parse(&rule("from = [\"10.0.0.0/8\"]")).unwrap();
    parse(&rule(
        "links = [\"radio\", \"lan\"]\nfrom = [\"10.0.0.0/8\"]",
    ))
    .unwrap();
}

#[test]
fn a_rule_that_never_holds_is_warned_of() {
    let warnings = |source: &str| reading(source).warnings.list;
    let rules = |patterns: &[&str]| {
        let rule = |pattern: &&str| format!("[[node]]\nmatch = \"{pattern}\"\n");
        patterns.iter().map(rule).collect::<String>()
    };
    assert_eq!(warnings(&rules(&["pump-1", "pump-*", "*"])), []);
    let list = warnings(&rules(&["pump-1", "pump-*", "pump-1?", "*", "well"]));
    let keys: Vec<&str> = list.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["node[2].match", "node[4].match"]);
    assert_eq!((list[0].line, list[0].column), (6, 9));
    for part in [
        "never holds",
        "node[1], which comes before it",
        "\"pump-*\"",
    ] {
        assert!(list[0].message.contains(part), "{part:?} in {}", list[0]);
    }
    let list = warnings("[admission]\nothers = \"refuse\"\n");
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(
        (list[0].line, list[0].key.as_str()),
        (2, "admission.others")
    );
    assert_eq!(
        warnings("[admission]\nothers = \"refuse\"\n[[node]]\nmatch = \"a\"\n"),
        []
    );
    let topic = "[[topics.priority]]\nfilter = \"a/#\"\npriority = \"low\"\n";
    assert_eq!(warnings(topic), []);
    let list = warnings(&topic.repeat(2));
    assert_eq!(list[0].key, "topics.priority[1].filter");
}

#[test]
fn topics_have_priorities_in_their_order() {
    let config = parse(
        "[topics]\npredefined = { 1 = \"a\" }\n\
         [[topics.priority]]\nfilter = \"alarms/#\"\npriority = \"high\"\n\
         [[topics.priority]]\nfilter = \"+/bulk\"\npriority = \"low\"\n",
    )
    .unwrap();
    let topic = |filter: &str, priority| TopicPriority {
        filter: filter.to_owned(),
        priority,
    };
    let expected = [
        topic("alarms/#", Priority::High),
        topic("+/bulk", Priority::Low),
    ];
    assert_eq!(config.topics.priorities, expected);
    assert_eq!(config.topics.predefined.len(), 1);
    let list = problems("[[topics.priority]]\nfilter = \"a/#/b\"\npriority = \"first\"\n");
    let keys: Vec<&str> = list.iter().map(|problem| problem.key.as_str()).collect();
    let expected = ["topics.priority[0].filter", "topics.priority[0].priority"];
    assert_eq!(keys, expected, "{list:?}");
    refused(
        "[[topics.priority]]\nfilter = \"a\"\n",
        (1, 1),
        "topics.priority[0].priority",
        &["missing", "\"low\" or"],
    );
    refused(
        "[topics]\npriority = \"high\"\n",
        (2, 12),
        "topics.priority",
        &["an array of tables: [[topics.priority]]"],
    );
}

#[test]
fn the_gateway_says_how_it_deals_with_nodes() {
    let config = parse(
        "[gateway]\noutage_disconnect = \"never\"\nwills = \"off\"\n\
         wake_connect_ignores_flags = true\nstatus_prefix = \"site/gw-1\"\n\
         mailbox.conflate_qos0 = true\n[qos_minus_one]\nlong_names = true\n",
    )
    .unwrap();
    assert_eq!(config.gateway.outage_disconnect, None);
    assert_eq!(config.gateway.wills, WillMode::Off);
    assert!(config.gateway.wake_connect_ignores_flags);
    assert_eq!(config.gateway.status_prefix, "site/gw-1");
    assert!(config.gateway.mailbox.conflate_qos0);
    assert!(config.qos_minus_one.long_names);
    let config = parse("[gateway]\noutage_disconnect = \"1h\"\n").unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(config.gateway.outage_disconnect, Some(hour));
    for (key, value, part) in [
        (
            "outage_disconnect",
            "\"0s\"",
            "\"never\" or a duration from \"1s\" to \"30d\"",
        ),
        ("outage_disconnect", "\"31d\"", "\"30d\""),
        ("outage_disconnect", "\"Never\"", "\"never\" or"),
        ("outage_disconnect", "0", "\"never\" or"),
        ("wills", "\"broker\"", "\"gateway\" or \"off\""),
        ("wake_connect_ignores_flags", "1", "true or false"),
        ("status_prefix", "\"\"", "such as \"sandgrouse\""),
        ("status_prefix", "\"a/+\"", "without + and #"),
        ("status_prefix", "\"#\"", "without + and #"),
        ("status_prefix", "\"/a\"", "nor with / at an end"),
        ("status_prefix", "\"a/\"", "nor with / at an end"),
        ("status_prefix", "\"$SYS/a\"", "beginning with $"),
    ] {
        let source = format!("[gateway]\n{key} = {value}\n");
        let shown = format!("{value} is not allowed");
        let place = (2, key.len() + 4);
        refused(&source, place, &format!("gateway.{key}"), &[&shown, part]);
    }
    for (source, key) in [
        (
            "[gateway]\noutage_disconnect = \"10s\"\n",
            "gateway.outage_disconnect",
        ),
        (
            "[gateway]\noutage_patience = \"1h\"\n",
            "gateway.outage_patience",
        ),
    ] {
        let warnings = reading(source).warnings.list;
        assert_eq!((warnings.len(), warnings[0].line), (1, 2), "{warnings:?}");
        assert_eq!(warnings[0].key, key);
    }
    let long = format!("[gateway]\nstatus_prefix = \"{}\"\n", "a".repeat(129));
    refused(
        &long,
        (2, 17),
        "gateway.status_prefix",
        &["up to 128 octets"],
    );
}
