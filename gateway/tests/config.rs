//! The configuration: what is taken, what is refused, and how it is said.

use std::collections::BTreeSet;
use std::path::Path;

use gateway::config::schema::{self, Preset};
use gateway::config::{
    BrokerUrl, Config, ConfigError, LinkConfig, LinkKind, LogFormat, MAX_MESSAGE_CEILING, Problem,
    SerialConfig, UpstreamConfig,
};
use shared::frame::frame_len_max;
use shared::rng::Rng;
use shared::time::Duration;
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../sandgrouse.example.toml");

fn parse(source: &str) -> Result<Config, ConfigError> {
    parse_in(source, &[])
}

fn parse_in(source: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::parse(source, Path::new("test.toml"), &variable)
}

fn problems(source: &str) -> Vec<Problem> {
    match parse(source) {
        Err(ConfigError::Invalid(problems)) => problems.list,
        other => panic!("{source}\n{other:?}"),
    }
}

/// Asserts one problem: its place, its key and parts of what is said.
fn refused(source: &str, place: (usize, usize), key: &str, parts: &[&str]) {
    let list = problems(source);
    assert_eq!(list.len(), 1, "{source}\n{list:#?}");
    let problem = &list[0];
    assert_eq!((problem.line, problem.column), place, "{problem}\n{source}");
    assert_eq!(problem.key, key, "{problem}");
    for part in parts {
        assert!(problem.message.contains(part), "{part:?} in {problem}");
    }
}

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
    assert_eq!(config.qos_minus_one[0].burst, 10);
    assert_eq!(config.qos_minus_one[1].node_ids[0].as_bytes(), [0x0a, 0x1b]);
    assert_eq!(config.qos_minus_one[1].rate_per_s, 5);
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
fn links_do_not_share_what_is_one_of_a_kind() {
    let udp = |name: &str, port: u16| {
        format!("[[link]]\nname = \"{name}\"\ntype = \"udp\"\nlisten = \"0.0.0.0:{port}\"\n")
    };
    let twice = format!("{}{}", udp("a", 1), udp("a", 2));
    refused(&twice, (6, 8), "link[1].name", &["another link"]);
    let twice = format!("{}{}", udp("a", 1), udp("b", 1));
    refused(&twice, (8, 10), "link[1].listen", &["another link"]);
    let serial = "[[link]]\nname = \"x\"\ntype = \"serial\"\npath = \"/dev/x\"\n";
    let twice = format!("{serial}{}", serial.replace("\"x\"", "\"y\""));
    refused(&twice, (8, 8), "link[1].path", &["another link"]);
}

#[test]
fn a_line_has_room_for_its_largest_frame() {
    let line = "[[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"/dev/ttyUSB0\"\n";
    let frame_len = frame_len_max(1024);
    let with = |octets| format!("{line}write_queue_bytes = {octets}\n");
    let wanted = frame_len.to_string();
    refused(
        &with(frame_len - 1),
        (5, 21),
        "link[0].write_queue_bytes",
        &["max_message = 1024", &wanted],
    );
    parse(&with(frame_len)).unwrap();
    // The default of the one must go with every value of the other.
    parse(&format!("{line}max_message = {MAX_MESSAGE_CEILING}\n")).unwrap();
    parse(&format!("{}max_message = 200\n", with(256))).unwrap();
}

#[test]
fn rules_for_qos_minus_one_fit_their_link() {
    let links = "[[link]]\nname = \"lan\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n\
                 [[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"/dev/x\"\n";
    let rule = |text: &str| format!("{links}[[qos_minus_one.allow]]\ntopics = [\"a\"]\n{text}\n");
    let path = |key| format!("qos_minus_one.allow[0].{key}");
    refused(
        &rule("link = \"wan\""),
        (11, 8),
        &path("link"),
        &["no link"],
    );
    refused(
        &rule("link = \"lan\""),
        (11, 8),
        &path("link"),
        &["from, node_ids or both"],
    );
    let from = rule("link = \"radio\"\nfrom = [\"10.0.0.0/8\"]");
    refused(&from, (12, 8), &path("from"), &["no addresses"]);
    parse(&rule(
        "link = \"lan\"\nfrom = [\"10.0.0.0/8\"]\nnode_ids = [\"01\"]",
    ))
    .unwrap();
    let odd = rule("link = \"radio\"\nnode_ids = [\"abc\"]");
    refused(&odd, (12, 13), &path("node_ids"), &["hexadecimal"]);
    parse(&rule("link = \"radio\"")).unwrap();
}

#[test]
fn the_upstream_is_checked_as_a_whole() {
    let upstream = |text: &str| format!("[upstream]\nurl = \"mqtt://h\"\n{text}\n");
    let lone = upstream("password = \"secret\"");
    refused(&lone, (3, 12), "upstream.password", &["needs a username"]);
    let order = problems(&upstream("reconnect_min = \"10s\"\nreconnect_max = \"1s\""));
    assert_eq!(order.len(), 2, "{order:?}");
    refused(
        "[upstream]\nurl = \"http://h\"\n",
        (2, 7),
        "upstream.url",
        &["neither mqtt:// nor mqtts://"],
    );
    refused(
        "[upstream]\nurl = \"mqtts://[::1]\"\n",
        (2, 7),
        "upstream.url",
        &["TLS needs a host name"],
    );
    refused(
        &upstream("ca_file = \"/nonexistent/ca.pem\""),
        (3, 11),
        "upstream.ca_file",
        &["/nonexistent/ca.pem", "No such file"],
    );
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [
        (fifo.to_str().unwrap(), "is no regular file"),
        ("/dev/null", "is no regular file"),
        (folder.path().to_str().unwrap(), "is a folder"),
    ] {
        for key in ["ca_file", "password_file"] {
            let source =
                format!("[upstream]\nurl = \"mqtts://h\"\nusername = \"u\"\n{key} = \"{path}\"\n");
            let path = path.to_owned();
            let judged = std::thread::spawn(move || {
                let place = (4, key.len() + 4);
                refused(&source, place, &format!("upstream.{key}"), &[&path, why]);
            });
            // Bounded, because who opens the pipe waits for ever.
            let start = std::time::Instant::now();
            while !judged.is_finished() {
                assert!(start.elapsed().as_secs() < 10, "{key} waits for a file");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            judged.join().unwrap();
        }
    }
}

#[test]
fn certificates_are_found_beside_the_file_and_belong_to_tls() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gateway.toml");
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::write(folder.path().join(name), "-").unwrap();
    }
    let tls = "ca_file = \"ca.pem\"\nclient_cert_file = \"cert.pem\"\n";
    let whole = format!("[upstream]\nurl = \"mqtts://h\"\n{tls}client_key_file = \"key.pem\"\n");
    std::fs::write(&path, &whole).unwrap();
    let upstream = Config::load(&path).unwrap().upstream.unwrap();
    assert_eq!(upstream.ca_file, Some(folder.path().join("ca.pem")));
    let identity = upstream.client_identity.unwrap();
    assert_eq!(identity.cert_file, folder.path().join("cert.pem"));
    assert_eq!(identity.key_file, folder.path().join("key.pem"));

    let invalid = |source: &str| {
        std::fs::write(&path, source).unwrap();
        match Config::load(&path) {
            Err(ConfigError::Invalid(problems)) => problems,
            other => panic!("{other:?}"),
        }
    };
    let plain = invalid(&whole.replace("mqtts", "mqtt"));
    assert_eq!(plain.list.len(), 3, "{plain}");
    let half = invalid(&format!("[upstream]\nurl = \"mqtts://h\"\n{tls}"));
    assert!(half.to_string().contains("needs client_key_file"), "{half}");
    let start = format!("{}:4:20: upstream.client_cert_file: ", path.display());
    assert!(half.to_string().starts_with(&start), "{half}");
}

#[test]
fn the_password_comes_from_one_place_and_is_never_shown() {
    let upstream =
        |text: &str| format!("[upstream]\nurl = \"mqtt://h\"\nusername = \"u\"\n{text}\n");
    let password = |source: &str, environment: &[(&str, &str)]| {
        let upstream = parse_in(source, environment).unwrap().upstream.unwrap();
        upstream.password.map(|it| it.reveal().to_owned())
    };
    assert_eq!(password(&upstream(""), &[]), None);
    let own = upstream("password = \"own\"");
    assert_eq!(password(&own, &[]).unwrap(), "own");
    let over = [("SANDGROUSE_UPSTREAM_PASSWORD", "env"), ("MINE", "mine")];
    assert_eq!(password(&own, &over).unwrap(), "env");
    let named = upstream("password_env = \"MINE\"");
    assert_eq!(password(&named, &over[1..]).unwrap(), "mine");
    refused(
        &named,
        (4, 16),
        "upstream.password_env",
        &["no such variable"],
    );
    let two = upstream("password = \"own\"\npassword_env = \"MINE\"");
    let error = parse_in(&two, &over[1..]).unwrap_err().to_string();
    assert!(error.contains("only one of password"), "{error}");

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "from file\n").unwrap();
    let from_file = upstream(&format!("password_file = \"{}\"", file.display()));
    assert_eq!(password(&from_file, &[]).unwrap(), "from file");

    let shown = format!("{:?}", parse(&own).unwrap());
    assert!(!shown.contains("own"), "{shown}");
    let list = problems(&upstream("password = 4711"));
    assert!(!list[0].to_string().contains("4711"), "{}", list[0]);
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
    for name in ["max_message", "t_retry", "n_retry"] {
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
        assert_eq!(config.qos_minus_one.len(), 2);
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
        let (Some(default), Some((table, name))) = (key.default.toml(), key.path.rsplit_once('.'))
        else {
            assert!(matches!(
                key.default,
                Preset::Required | Preset::Nothing | Preset::Empty
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
