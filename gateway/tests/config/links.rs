//! What links are made of, and who may use them.

use gateway::config::MAX_MESSAGE_CEILING;
use shared::frame::frame_len_max;

use super::{parse, refused};

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
