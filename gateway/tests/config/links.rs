//! What links are made of, and who may use them.

use gateway::config::{
    Config, LinkConfig, LinkKind, LinkPreset, MAX_MESSAGE_CEILING, NetInterface, PacingConfig,
};
use gateway::session::{Discovery, Tolerance};
use shared::fault::LoRa;
use shared::frame::frame_len_max;
use shared::time::Duration;

use super::{parse, problems, reading, refused};

const UDP: &str = "[[link]]\nname = \"lan\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n";
const SERIAL: &str = "[[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"/dev/x\"\n";

/// Returns the only link of a configuration.
fn link(source: &str) -> LinkConfig {
    let Config { mut links, .. } = parse(source).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(links.len(), 1);
    links.remove(0)
}

#[test]
fn a_preset_stands_for_what_is_not_written() {
    for preset in LinkPreset::ALL {
        let link = link(&format!("{SERIAL}preset = \"{}\"\n", preset.name));
        let expected = LinkConfig {
            name: "radio".to_owned(),
            preset: Some(preset.name),
            max_message: preset.max_message,
            t_retry: preset.t_retry,
            n_retry: preset.n_retry,
            tolerance: preset.tolerance,
            dead_after: preset.dead_after,
            pacing: preset.pacing,
            discovery: link.discovery,
            kind: link.kind.clone(),
        };
        assert_eq!(link, expected);
    }
    // Written keys go before it, wherever they stand.
    let link = link(&format!(
        "{SERIAL}t_retry = \"7s\"\npacing.guard = \"1s\"\npreset = \"lora-sf9\"\n\
         tolerance_long_percent = 200\ndead_after = \"1h\"\n"
    ));
    let preset = LinkPreset::by_name("lora-sf9").unwrap();
    assert_eq!(link.t_retry, Duration::from_secs(7));
    assert_eq!(link.max_message, preset.max_message);
    let tolerance = Tolerance {
        long_percent: 200,
        ..preset.tolerance
    };
    assert_eq!(link.tolerance, tolerance);
    assert_eq!(link.dead_after, Some(Duration::from_secs(3600)));
    let pacing = PacingConfig {
        guard: Duration::from_secs(1),
        ..preset.pacing.unwrap()
    };
    assert_eq!(link.pacing, Some(pacing));
    let list = problems(&format!("{SERIAL}preset = \"lora\"\n"));
    assert_eq!((list.len(), list[0].line), (1, 5), "{list:?}");
    for preset in LinkPreset::ALL {
        assert!(list[0].message.contains(preset.name), "{}", list[0]);
    }
}

#[test]
fn what_a_preset_says_is_listed() {
    let values = reading(&format!("{SERIAL}preset = \"lora-sf12\"\nn_retry = 1\n")).values;
    let shown = |key: &str| {
        let held = values
            .iter()
            .find(|held| held.key == format!("link[radio].{key}"));
        held.map(|held| (held.value, held.is_written))
    };
    let not_written = |value: &str| Some((value.to_owned(), false));
    assert_eq!(shown("n_retry"), Some(("1".to_owned(), true)));
    assert_eq!(shown("t_retry"), not_written("\"11m\""));
    assert_eq!(shown("max_message"), not_written("51"));
    assert_eq!(shown("pacing.lora_spreading_factor"), not_written("12"));
    assert_eq!(shown("pacing.duty_cycle_permille"), not_written("10"));
    assert_eq!(shown("pacing.rate_bytes_per_s"), None);
}

#[test]
fn pacing_is_there_where_it_says_something() {
    assert_eq!(link(SERIAL).pacing, None);
    let paced = link(&format!(
        "{SERIAL}max_message = 64\n[link.pacing]\nrate_bytes_per_s = 600\n\
         lora_spreading_factor = 7\nframe_overhead_bytes = 9\nframe_time = \"20ms\"\n\
         burst_bytes = 100\nduty_cycle_permille = 100\nduty_burst = \"2s\"\n\
         guard = \"300ms\"\nqueue_bytes_max = 1000\n"
    ));
    let expected = PacingConfig {
        rate_bytes_per_s: Some(600),
        lora: Some(LoRa::eu868(7)),
        frame_overhead_bytes: 9,
        frame_time: Duration::from_millis(20),
        burst_bytes: 100,
        duty_cycle_permille: 100,
        duty_burst: Duration::from_secs(2),
        guard: Duration::from_millis(300),
        queue_bytes_max: 1000,
    };
    assert_eq!(paced.pacing, Some(expected));
    let idle = reading(&format!("{SERIAL}pacing.queue_bytes_max = 2000\n"));
    assert_eq!(idle.config.links[0].pacing, None);
    assert_eq!(idle.warnings.list.len(), 1);
    assert!(
        idle.warnings.list[0]
            .message
            .contains("how long a frame takes")
    );
    refused(
        &format!("{SERIAL}pacing.duty_cycle_permille = 10\n"),
        (5, 30),
        "link[0].pacing.duty_cycle_permille",
        &["how long a frame takes", "pacing.rate_bytes_per_s"],
    );
    refused(
        &format!("{SERIAL}pacing.rate_bytes_per_s = 1000\npacing.queue_bytes_max = 1000\n"),
        (5, 1),
        "link[0].pacing",
        &["no room for a frame of max_message = 1024"],
    );
    for (key, value, part) in [
        ("rate_bytes_per_s", "0", "from 1 to 100000000"),
        ("lora_spreading_factor", "6", "from 7 to 12"),
        ("lora_spreading_factor", "13", "from 7 to 12"),
        ("frame_overhead_bytes", "1025", "from 0 to 1024"),
        ("frame_time", "\"2h\"", "from \"0s\" to \"1h\""),
        ("burst_bytes", "-1", "from 0 to 16777216"),
        ("duty_cycle_permille", "0", "from 1 to 1000"),
        ("duty_cycle_permille", "1001", "from 1 to 1000"),
        ("duty_burst", "\"2h\"", "from \"0s\" to \"1h\""),
        ("guard", "\"2h\"", "from \"0s\" to \"1h\""),
        ("queue_bytes_max", "63", "from 64 to 16777216"),
    ] {
        refused(
            &format!("{SERIAL}pacing.{key} = {value}\n"),
            (5, "pacing. = ".len() + key.len() + 1),
            &format!("link[0].pacing.{key}"),
            &[&format!("{value} is not allowed"), part],
        );
    }
}

#[test]
fn d09_discovery_is_off_where_there_is_more_than_one_network() {
    let answers_only = Some(Discovery {
        advertise_every: None,
        standby_misses: None,
    });
    let groups = "multicast.groups = [\"225.1.1.1:1883\"]\n";
    assert_eq!(link(UDP).discovery, None);
    assert_eq!(link(SERIAL).discovery, answers_only);
    assert_eq!(link(&format!("{UDP}{groups}")).discovery, answers_only);
    assert_eq!(
        link(&format!("{UDP}discovery = true\n")).discovery,
        answers_only
    );
    assert_eq!(
        link(&format!("{SERIAL}discovery = false\n")).discovery,
        None
    );
    let advertised = Some(Discovery {
        advertise_every: Some(Duration::from_secs(900)),
        standby_misses: Some(3),
    });
    let standby = "advertise_every = \"15m\"\nstandby_misses = 3\n";
    assert_eq!(link(&format!("{SERIAL}{standby}")).discovery, advertised);
    assert_eq!(
        link(&format!("{UDP}{groups}{standby}")).discovery,
        advertised
    );
    assert_eq!(
        link(&format!("{SERIAL}advertise_every = \"never\"\n")).discovery,
        answers_only
    );

    let key = |key: &str| format!("link[0].{key}");
    refused(
        &format!("{UDP}discovery = true\nadvertise_every = \"1h\"\n"),
        (6, 19),
        &key("advertise_every"),
        &["needs multicast.groups"],
    );
    refused(
        &format!("{SERIAL}discovery = false\nadvertise_every = \"1h\"\n"),
        (6, 19),
        &key("advertise_every"),
        &["discovery is off"],
    );
    let lonely = reading(&format!("{SERIAL}standby_misses = 3\n"))
        .warnings
        .list;
    assert_eq!(lonely.len(), 1);
    assert_eq!(lonely[0].key, key("standby_misses"));
    for (line, part) in [
        ("advertise_every = \"9s\"", "from \"10s\" to \"18h\""),
        ("advertise_every = \"19h\"", "from \"10s\" to \"18h\""),
        ("standby_misses = 0", "from 1 to 100"),
        (
            "dead_after = \"1s\"",
            "\"never\" or a duration from \"10s\" to \"90d\"",
        ),
        ("tolerance_short_percent = 99", "from 100 to 1000"),
        ("tolerance_long_percent = 1001", "from 100 to 1000"),
        ("max_message = 31", "from 32 to 1400"),
    ] {
        let name = line.split(' ').next().unwrap();
        let source = format!("{SERIAL}{line}\n");
        refused(
            &source,
            (5, name.len() + 4),
            &key(name),
            &["is not allowed", part],
        );
    }
}

#[test]
fn d09_groups_are_those_that_the_socket_can_send_to() {
    let multicast = |source: &str| match link(source).kind {
        LinkKind::Udp(udp) => udp.multicast,
        other => panic!("{source}\n{other:?}"),
    };
    assert_eq!(multicast(UDP), None);
    let read = multicast(&format!(
        "{UDP}[link.multicast]\ngroups = [\"225.1.1.1:1883\"]\ninterface = \"eth0\"\n\
         hops_max = 4\n"
    ));
    let read = read.unwrap();
    assert_eq!(read.groups, ["225.1.1.1:1883".parse().unwrap()]);
    assert_eq!(read.interface, Some(NetInterface::Name("eth0".to_owned())));
    assert_eq!(read.hops_max, 4);
    let groups = "multicast.groups";
    for (group, part) in [
        ("10.0.0.1:1883", "no multicast group"),
        ("[ff02::1:883]:1883", "IPv6 groups"),
        ("225.1.1.1:0", "no port"),
        ("225.1.1.1", "is not allowed"),
        ("gateways:1883", "multicast groups and ports"),
    ] {
        let list = problems(&format!("{UDP}{groups} = [\"{group}\"]\n"));
        assert_eq!((list.len(), list[0].line), (1, 5), "{list:?}");
        assert_eq!(list[0].key, "link[0].multicast.groups");
        assert!(list[0].message.contains(part), "{}", list[0]);
    }
    refused(
        &format!("{UDP}multicast.hops_max = 0\n"),
        (5, 22),
        "link[0].multicast.hops_max",
        &["from 1 to 255"],
    );
    // A line has no groups; the key of a table within a link knows its link's type.
    refused(
        &format!("{SERIAL}[link.multicast]\nhops_max = 1\n"),
        (6, 1),
        "link[0].multicast.hops_max",
        &["links of type \"udp\" only"],
    );
    let lonely = reading(&format!("{UDP}multicast.hops_max = 2\n"))
        .warnings
        .list;
    assert_eq!(lonely.len(), 1);
    assert_eq!(lonely[0].key, "link[0].multicast.hops_max");
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
    parse(&format!("{}{}", udp("a", 0), udp("b", 0))).unwrap();
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
