//! Tests of `sandgrouse decode`: exact outputs, the test vectors, mutated datagrams.

use std::io::BufReader;

use clap::Parser;
use serde_json::{Map, Value, json};
use shared::frame::{Lead, encode, frame_len_max};
use shared::rng::Rng;
use shared::wire::{Message, WireError};

use super::dissect::dissect;
use super::report::Origin;
use super::*;

#[test]
fn publish_is_named_field_by_field() {
    assert_eq!(
        human(&["0b0c200005001032312e35"]),
        r#"PUBLISH  11 octets, short length
  flags        0x20  dup 0, qos 1, retain 0, topic id type normal
  topic id     5
  msg id       16
  payload      32312e35  "21.5"  (4 octets)
"#
    );
}

#[test]
fn connect_is_named_field_by_field() {
    assert_eq!(
        human(&["010011 04 0c 01 003c 73656e736f722d3031"]),
        r#"CONNECT  17 octets, long length
  flags        0x0c  will 1, clean 1
  protocol id  1
  duration     60 s  keep-alive
  client id    "sensor-01"  (9 octets)
"#
    );
}

#[test]
fn topics_are_told_by_kind() {
    assert_eq!(
        human(&[
            "070c617474ffff",
            "07122100230001",
            "0a12400021636d642f23",
            "070d7474001203"
        ]),
        r#"PUBLISH  7 octets, short length
  flags        0x61  dup 0, qos -1, retain 0, topic id type predefined
  topic id     29812  predefined
  msg id       65535
  payload      empty

SUBSCRIBE  7 octets, short length
  flags        0x21  dup 0, qos 1, topic id type predefined
  msg id       35
  topic id     1  predefined

SUBSCRIBE  10 octets, short length
  flags        0x40  dup 0, qos 2, topic id type normal
  msg id       33
  topic name   "cmd/#"  (5 octets)

PUBACK  7 octets, short length
  topic id     29812  or the short name "tt"
  msg id       18
  return code  3  rejected: not supported
"#
    );
    assert_eq!(
        human(&[
            "07 14 06 0032 6162",
            "08 13 24 0000 0021 02",
            "07 12 02 0024 c300"
        ]),
        r#"UNSUBSCRIBE  7 octets, short length
  flags        0x06  topic id type short, 0x04 ignored
  msg id       50
  topic name   "ab"  short (0x6162)

SUBACK  8 octets, short length
  flags        0x24  qos 1, 0x04 ignored
  topic id     0  none
  msg id       33
  return code  2  rejected: invalid topic id

SUBSCRIBE  7 octets, short length
  flags        0x02  dup 0, qos 0, topic id type short
  msg id       36
  topic name   0xc300  short, not UTF-8
"#
    );
}

#[test]
fn small_messages_say_what_their_values_mean() {
    assert_eq!(
        human(&[
            "0207",
            "04180e10",
            "0218",
            "030102",
            "0500010384",
            "070201c0a80001",
            "030580"
        ]),
        r#"WILLTOPIC  2 octets, short length
  body         empty  deletes the will

DISCONNECT  4 octets, short length
  duration     3600 s  of sleep

DISCONNECT  2 octets, short length

SEARCHGW  3 octets, short length
  radius       2  hops

ADVERTISE  5 octets, short length
  gw id        1
  duration     900 s  to the next ADVERTISE

GWINFO  7 octets, short length
  gw id        1
  gw addr      c0a80001  192.168.0.1

CONNACK  3 octets, short length
  return code  128  reserved code 0x80
"#
    );
}

#[test]
fn encapsulated_messages_are_indented() {
    assert_eq!(
        human(&["05fe 01 1234 0b0c000005000032312e35"]),
        r#"FORWARD  16 octets, short length 5 up to the inner message
  ctrl         0x01  radius 1
  node id      1234  (2 octets)
  PUBLISH  11 octets, short length
    flags        0x00  dup 0, qos 0, retain 0, topic id type normal
    topic id     5
    msg id       0
    payload      32312e35  "21.5"  (4 octets)
"#
    );
}

#[test]
fn extension_is_shown_beside_the_standard_reading() {
    assert_eq!(
        human(&["0d0c6000030000612f62686579"]),
        r#"PUBLISH  13 octets, short length
  flags        0x60  dup 0, qos -1, retain 0, topic id type normal
  topic id     3
  msg id       0
  payload      612f62686579  "a/bhey"  (6 octets)
  long name    or, by the QoS -1 extension, topic "a/b" and payload 686579  "hey"  (3 octets)
"#
    );
}

#[test]
fn faults_are_explained_after_what_was_understood() {
    assert_eq!(
        human_invalid(&["061201002301", "02160000", "0203", "0100", "04fe002a031700"]),
        r#"SUBSCRIBE  6 octets, short length
  flags        0x01  dup 0, qos 0, topic id type predefined
  msg id       35
  invalid      body: the body does not have the layout of its message type
  reason       the topic id has 2 octets, 1 is there: 01
  offset       5

PINGREQ  4 octets, short length 2
  client id    ""  (0 octets)
  invalid      trailing: the datagram is longer than its length field says
  reason       the length field says 2, then 2 octets are over: 0000
  offset       2

TYPE 0x03  2 octets, short length
  invalid      type: message type 0x03 is reserved
  reason       no message of MQTT-SN 1.2 has the type 0x03
  offset       1

NO MESSAGE  2 octets  0100
  invalid      truncated: the datagram is shorter than its length field says
  reason       the long form has a head of 4 octets, 2 are there
  offset       2

FORWARD  7 octets, short length 4 up to the inner message
  ctrl         0x00  radius 0
  node id      2a  "*"  (1 octet)
  PINGRESP  3 octets, short length
    invalid      body: the body does not have the layout of its message type
    reason       PINGRESP ends here, 1 octet is over: 00
    offset       6
"#
    );
    assert_eq!(
        human_invalid(&["0b0c030005000032312e35", "05fe001234", "0016", "050c000005"]),
        r#"PUBLISH  11 octets, short length
  flags        0x03  dup 0, qos 0, retain 0, topic id type reserved
  topic id     5  of the reserved type
  msg id       0
  payload      32312e35  "21.5"  (4 octets)
  invalid      topic_id_type: topic id type 11 is reserved
  reason       the flags hold the topic id type 11
  offset       2

FORWARD  5 octets, short length 5 up to the inner message
  ctrl         0x00  radius 0
  node id      1234  (2 octets)
  invalid      inner: the encapsulated message is not well formed
  reason       nothing follows the node id
  offset       5

NO MESSAGE  2 octets  0016
  invalid      length: the length field is impossible
  reason       the shortest message has 2 octets, not 0
  offset       0

PUBLISH  5 octets, short length
  flags        0x00  dup 0, qos 0, retain 0, topic id type normal
  topic id     5
  invalid      body: the body does not have the layout of its message type
  reason       the msg id is missing
  offset       5
"#
    );
}

#[test]
fn json_has_one_object_a_line() {
    let (text, verdict) = decoded(&["--json", "0b0c200005001032312e35", "03180e"], "");
    assert_eq!(verdict, Verdict::SomeInvalid);
    assert_eq!(
        text,
        concat!(
            r#"{"argument":1,"hex":"0b0c200005001032312e35","octets":11,"valid":true,"#,
            r#""type":"PUBLISH","type_code":12,"length_form":"short","length":11,"#,
            r#""fields":{"flags":32,"dup":false,"qos":1,"retain":false,"#,
            r#""topic_id_type":"normal","topic_id":5,"msg_id":16,"#,
            r#""payload":"32312e35","payload_text":"21.5"}}"#,
            "\n",
            r#"{"argument":2,"hex":"03180e","octets":3,"valid":false,"#,
            r#""type":"DISCONNECT","type_code":24,"length_form":"short","length":3,"fields":{},"#,
            r#""error":"body","reason":"the duration has 2 octets, 1 is there: 0e","offset":2}"#,
            "\n",
        )
    );
}

#[test]
fn names_that_are_no_text_are_hex_in_json() {
    let (text, _) = decoded(&["--json", "080afffe0001c3ff"], "");
    let found: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({"topic_id": 65534, "msg_id": 1, "topic_name_hex": "c3ff"});
    assert_eq!(found["fields"], expected);
}

#[test]
fn terminals_are_safe_from_names_and_payloads() {
    // ESC ] 0 ; … BEL would set the window's title.
    let (text, _) = decoded(
        &["0a16 1b5d303b6869 07 0a", "0c0c0000050000 1b5b324a0a"],
        "",
    );
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert_eq!(text.lines().count(), 2 + 1 + 5);
}

#[test]
fn octets_as_arguments_are_one_datagram() {
    let (text, verdict) = decoded(&["0b", "16", "73656e736f722d3031"], "");
    assert_eq!(verdict, Verdict::SomeInvalid, "{text}");
    let (text, verdict) = decoded(&["04", "0x18", "0e", "10"], "");
    assert_eq!(verdict, Verdict::AllValid, "{text}");
    assert_eq!(text, human(&["04180e10"]));
}

#[test]
fn standard_input_is_read_by_default_and_for_a_dash() {
    let input = "# captured yesterday\n\n0216  # a ping\r\n  02:17\n";
    let expected = "stdin:3: PINGREQ  2 octets, short length\n  client id    \"\"  (0 octets)\n\n\
                    stdin:4: PINGRESP  2 octets, short length\n";
    assert_eq!(
        decoded(&[], input),
        (expected.to_owned(), Verdict::AllValid)
    );
    assert_eq!(
        decoded(&["-"], input),
        (expected.to_owned(), Verdict::AllValid)
    );

    let (text, _) = decoded(&["0218", "-"], "0217");
    assert_eq!(
        text,
        "DISCONNECT  2 octets, short length\n\nstdin:1: PINGRESP  2 octets, short length\n"
    );
}

#[test]
fn errors_in_files_name_the_file_and_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("captured.hex");
    std::fs::write(&path, b"0217\n\n02g7\n# 02\n021\n\xFF\n0203\n0218").unwrap();
    let path = path.to_str().unwrap();

    let (text, verdict) = decoded(&["--file", path], "");
    assert_eq!(verdict, Verdict::SomeInvalid);
    let named: Vec<_> = text.lines().filter(|line| line.contains(path)).collect();
    assert_eq!(
        named,
        [
            format!("{path}:1: PINGRESP  2 octets, short length"),
            format!("{path}:3: not hex: 'g' at column 3 is not a hex digit"),
            format!("{path}:5: not hex: the 3 hex digits at column 1 are not whole octets"),
            format!("{path}:6: not hex: '\u{FFFD}' at column 1 is not a hex digit"),
            format!("{path}:7: TYPE 0x03  2 octets, short length"),
            format!("{path}:8: DISCONNECT  2 octets, short length"),
        ]
    );

    let (text, _) = decoded(&["--json", "--file", path], "");
    let second: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        second,
        json!({
            "source": path, "line": 3, "valid": false, "error": "hex",
            "reason": "'g' at column 3 is not a hex digit",
        })
    );
}

#[test]
fn missing_file_is_named() {
    let error = run(
        arguments(&["--file", "/no/such/file"]),
        io::empty(),
        io::sink(),
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot open /no/such/file: "), "{text}");
}

#[test]
fn broken_input_is_named_with_its_line() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let input = BufReader::new(io::Read::chain(&b"0217\n"[..], Broken));
    let error = run(arguments(&[]), input, io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read stdin:2: unplugged");
}

#[test]
fn reader_that_goes_away_is_no_error() {
    struct Gone(io::ErrorKind);
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for json in [&["0217"][..], &["--json", "0217"]] {
        let result = run(
            arguments(json),
            io::empty(),
            Gone(io::ErrorKind::BrokenPipe),
        );
        assert_eq!(result.unwrap(), Verdict::AllValid);
        let result = run(
            arguments(json),
            io::empty(),
            Gone(io::ErrorKind::StorageFull),
        );
        assert!(matches!(result, Err(DecodeError::Write(_))), "{result:?}");
    }
}

#[test]
fn examples_of_the_help_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("captured.hex");
    std::fs::write(&path, "0217").unwrap();
    let path = path.to_str().unwrap();
    let mut seen = 0;
    for line in EXAMPLES.lines() {
        if let Some(args) = line.strip_prefix("  sandgrouse decode ") {
            let args: Vec<_> = args
                .split(' ')
                .map(|arg| if arg == "captured.hex" { path } else { arg })
                .collect();
            let (text, verdict) = decoded(&args, "");
            assert_eq!(verdict, Verdict::AllValid, "{text}");
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn frames_are_found_across_lines() {
    let line = framed(&[&[0x02, 0x17], &[0x04, 0x18, 0x0E, 0x10]]);
    let (first, second) = line.split_at(9);
    let input = format!(
        "# a capture\n{}\n{}\n",
        hex::digits(first),
        hex::digits(second)
    );
    assert_eq!(
        decoded(&["--framed"], &input),
        (
            "stdin:2: PINGRESP  2 octets, short length\n\n\
             stdin:3: DISCONNECT  4 octets, short length\n  duration     3600 s  of sleep\n"
                .to_owned(),
            Verdict::AllValid
        )
    );
    // Octet by octet, as arguments.
    let octets: Vec<_> = line.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut args = vec!["--framed"];
    args.extend(octets.iter().map(String::as_str));
    let (text, verdict) = decoded(&args, "");
    assert_eq!(verdict, Verdict::AllValid, "{text}");
    assert_eq!(text, human(&["0217", "04180e10"]));
}

#[test]
fn broken_frames_are_told_by_their_flaw() {
    let good = hex::digits(&framed(&[&[0x02, 0x17]]));
    let wrong_crc = good.replace("0217", "0216");
    let input = format!("{wrong_crc} 05010200 03aabb00\n{good}{good}\n0302");
    let (text, verdict) = decoded(&["--framed"], &input);
    assert_eq!(verdict, Verdict::SomeInvalid);
    let crc = &wrong_crc[2..wrong_crc.len() - 2];
    assert_eq!(
        text,
        format!(
            "stdin:1: broken frame: the CRC is wrong  {crc}  (5 octets)\n\n\
             stdin:1: broken frame: a delimiter stands inside a stuffing block  \
             050102  (3 octets)\n\n\
             stdin:1: broken frame: there is nothing beside the CRC  03aabb  (3 octets)\n\n\
             stdin:2: PINGRESP  2 octets, short length\n\n\
             stdin:2: PINGRESP  2 octets, short length\n\n\
             stdin:3: broken frame: no delimiter ends it  0302  (2 octets)\n"
        )
    );

    let (text, _) = decoded(&["--framed", "--json", "03aabb00"], "");
    assert_eq!(
        text,
        concat!(
            r#"{"argument":1,"frame":"03aabb","octets":3,"valid":false,"#,
            r#""error":"frame_too_short","reason":"there is nothing beside the CRC"}"#,
            "\n",
        )
    );
}

#[test]
fn frames_that_are_too_long_are_told() {
    let line = hex::digits(&framed(&[&[0x2A; 70_000]]));
    let (text, verdict) = decoded(&["--framed", "--json", "-"], &line);
    assert_eq!(verdict, Verdict::SomeInvalid);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["error"], "frame_too_long");
}

#[test]
fn file_and_datagrams_exclude_each_other() {
    assert!(Command::try_parse_from(["decode", "--file", "f", "0217"]).is_err());
}

#[test]
fn every_vector_decodes_to_its_fields() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 122);
    for vector in vectors {
        let (name, hex) = (
            vector["name"].as_str().unwrap(),
            vector["hex"].as_str().unwrap(),
        );
        let valid = vector["class"] != "invalid";

        let (_, verdict) = decoded(&[hex], "");
        assert_eq!(verdict == Verdict::AllValid, valid, "{name}");

        let (text, verdict) = decoded(&["--json", hex], "");
        assert_eq!(verdict == Verdict::AllValid, valid, "{name}");
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["valid"], valid, "{name}");
        if valid {
            assert_eq!(vector["fields"], in_terms_of_vectors(&found), "{name}");
        } else {
            assert_eq!(vector["fields"]["error"], found["error"], "{name}");
        }
    }
}

#[test]
fn mutated_datagrams_decode_as_the_parser_says() {
    let seed = std::env::var("SEED").map_or(20_131_114, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::new(seed);
    let vectors: Vec<Vec<u8>> = vectors()
        .iter()
        .map(|vector| hex::octets(vector["hex"].as_str().unwrap()).unwrap())
        .collect();
    let mut refused = 0;
    for _ in 0..50_000 {
        let datagram = mutated(&vectors, &mut rng);
        let found = dissect(&datagram);
        let parsed = Message::parse(&datagram);
        assert_eq!(
            found.fault.as_ref().map(|fault| fault.error),
            parsed.err(),
            "{datagram:02x?}"
        );
        if let Some(fault) = &found.fault {
            refused += 1;
            assert!(fault.offset <= datagram.len(), "{datagram:02x?}");
            // The layouts here say where the parser stopped, for every way it can stop.
            assert_ne!(fault.reason, fault.error.to_string(), "{datagram:02x?}");
        }
        for json in [false, true] {
            let mut out = Vec::new();
            let mut report = Report::new(&mut out, json, false);
            let entry = Ok(dissect(&datagram));
            report.entry(&Origin::Argument(1), &entry).unwrap();
            let valid = report.verdict == Verdict::AllValid;
            assert_eq!(valid, is_valid_throughout(&datagram), "{datagram:02x?}");
            let text = String::from_utf8(out).unwrap();
            assert!(
                text.ends_with('\n') && (!json || text.lines().count() == 1),
                "{text}"
            );
        }
    }
    assert!((10_000..40_000).contains(&refused), "{refused}");
}

#[test]
fn deep_encapsulation_is_not_looked_into() {
    let mut datagram = [0x03, 0xFE, 0x00].repeat(20_000);
    datagram.extend([0x02, 0x16]);
    let (text, verdict) = decoded(&[&hex::digits(&datagram)], "");
    assert_eq!(text.matches("FORWARD").count(), 5);
    assert_eq!(verdict, Verdict::AllValid);
}

/// Returns whether a datagram and, down to where the command looks, all inside it parse.
fn is_valid_throughout(datagram: &[u8]) -> bool {
    let mut datagram = datagram;
    for _ in 0..5 {
        match Message::parse(datagram) {
            Ok(Message::Forward(forward)) => datagram = forward.inner,
            Ok(_) => return true,
            Err(error) => {
                assert_ne!(error, WireError::Buffer);
                return false;
            }
        }
    }
    true
}

/// Makes a datagram: a vector with a few octets changed, cut or added, mostly of fitting length.
fn mutated(vectors: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let below = |rng: &mut Rng, bound: usize| {
        usize::try_from(rng.below(u64::try_from(bound).unwrap())).unwrap()
    };
    let mut datagram = vectors[below(rng, vectors.len())].clone();
    for _ in 0..below(rng, 4) {
        let at = below(rng, datagram.len());
        let [octet, ..] = rng.next_u16().to_be_bytes();
        match below(rng, 4) {
            0 => datagram.truncate(at),
            1 => datagram.insert(at, octet),
            2 => datagram.push(octet),
            _ => {
                if let Some(changed) = datagram.get_mut(at) {
                    *changed = octet;
                }
            }
        }
    }
    let len = u8::try_from(datagram.len()).unwrap_or(0xFF);
    if let ([first, _, ..], true) = (&mut *datagram, rng.chance_ppm(500_000)) {
        *first = len;
    }
    datagram
}

/// Says what JSON output holds the way the vectors say it.
fn in_terms_of_vectors(found: &Value) -> Value {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), found["type"].clone());
    fields.insert("length".to_owned(), found["length"].clone());
    let form = if found["length_form"] == "short" {
        1
    } else {
        3
    };
    fields.insert("len_form".to_owned(), form.into());
    let short = found["fields"]["topic_id_type"] == "short";
    for (key, value) in found["fields"].as_object().unwrap() {
        let (key, value) = match (&**key, value) {
            ("flags" | "payload_text" | "will_msg_text" | "node_id_text", _) => continue,
            ("gw_addr_text" | "return_meaning" | "long_name", _) => continue,
            ("topic_name", _) if short => continue,
            ("duration_s", value) => ("duration", value.clone()),
            ("topic_id_type", kind) => {
                let kinds = ["normal", "predefined", "short"];
                (&**key, kinds.iter().position(|name| kind == name).into())
            }
            ("empty", value) => ("empty", value.clone()),
            (key, Value::Bool(set)) => (key, u8::from(*set).into()),
            (key, value) => (key, value.clone()),
        };
        fields.insert(key.to_owned(), value);
    }
    if let Some(inner) = found.get("inner") {
        fields.insert("inner".to_owned(), inner["hex"].clone());
    }
    if let Some(Value::Object(long_name)) = found["fields"].get("long_name") {
        fields.remove("topic_id");
        fields.insert("topic_name".to_owned(), long_name["topic_name"].clone());
        fields.insert("payload".to_owned(), long_name["payload"].clone());
    }
    Value::Object(fields)
}

/// Returns what a serial line carries of the datagrams, each after a delimiter.
fn framed(datagrams: &[&[u8]]) -> Vec<u8> {
    let mut line = Vec::new();
    for datagram in datagrams {
        let mut frame = vec![0; frame_len_max(datagram.len())];
        let len = encode(datagram, Lead::Delimiter, &mut frame).unwrap();
        line.extend_from_slice(&frame[..len]);
    }
    line
}

fn human(datagrams: &[&str]) -> String {
    let (text, verdict) = decoded(datagrams, "");
    assert_eq!(verdict, Verdict::AllValid, "{text}");
    text
}

fn human_invalid(datagrams: &[&str]) -> String {
    let (text, verdict) = decoded(datagrams, "");
    assert_eq!(verdict, Verdict::SomeInvalid, "{text}");
    text
}

fn decoded(args: &[&str], stdin: &str) -> (String, Verdict) {
    let mut out = Vec::new();
    let verdict = run(arguments(args), stdin.as_bytes(), &mut out).unwrap();
    (String::from_utf8(out).unwrap(), verdict)
}

fn arguments(args: &[&str]) -> DecodeArgs {
    let args = ["decode"].iter().chain(args);
    Command::try_parse_from(args).unwrap().args
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: DecodeArgs,
}

fn vectors() -> Vec<Value> {
    let text = include_str!("../../../../shared/tests/data/vectors.json");
    serde_json::from_str(text).unwrap()
}
