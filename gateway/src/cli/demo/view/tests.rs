use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use super::*;
use crate::cli::demo::ledger::Ledger;

#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what `f` makes of a view.
fn written(style: Style, shows_air: bool, f: impl FnOnce(&mut View)) -> String {
    let sink = Sink::default();
    f(&mut View::on(Box::new(sink.clone()), style, shows_air));
    let bytes = sink.0.borrow().clone();
    String::from_utf8(bytes).unwrap()
}

fn shown(style: Style, event: &Event) -> String {
    written(style, true, |view| {
        view.show(Instant::from_millis(2130), "pump-1", event)
            .unwrap();
    })
}

const ARRIVAL: Arrival = Arrival {
    octets: 31,
    transmissions: 1,
    took_ms: 40,
    duplicate: false,
};

fn reading(arrival: Arrival) -> Event {
    Event::Reading {
        sequence: 3,
        celsius: 21.437,
        battery_mv: 3600,
        arrival,
    }
}

fn start(port: u16) -> Start {
    Start {
        broker: SocketAddr::from(([127, 0, 0, 1], port)),
        link: SocketAddr::from(([127, 0, 0, 1], 40_000)),
        nodes: vec!["pump-1".to_owned(), "well-2".to_owned()],
        loss_percent: 20,
        interval_s: 3,
        seed: 7,
    }
}

#[test]
fn a_line_for_each_message() {
    let repeated = Arrival {
        transmissions: 2,
        ..ARRIVAL
    };
    let again = Arrival {
        duplicate: true,
        ..Arrival::default()
    };
    let lost = Event::Lost {
        way: Way::Up,
        message: "PUBLISH",
        octets: 31,
        why: Loss::Chance,
    };
    for (event, expected) in [
        (
            reading(ARRIVAL),
            "↑  reading 3: 21.437 °C  (31 octets, 0.04 s)",
        ),
        (
            reading(repeated),
            "↑  reading 3: 21.437 °C  (31 octets, 0.04 s, sent 2 times)",
        ),
        (reading(again), "↑  reading 3 once more"),
        (
            lost,
            "✗  PUBLISH to the gateway lost on the air  (31 octets)",
        ),
    ] {
        let line = shown(Style::Plain, &event);
        assert_eq!(line, format!("    2.13 s  pump-1  {expected}\n"));
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    assert!(!shown(Style::Plain, &reading(ARRIVAL)).contains('\x1b'));
    let line = shown(Style::Colour, &reading(ARRIVAL));
    assert!(
        line.contains("\x1b[32m↑") && line.ends_with("\x1b[0m\n"),
        "{line:?}"
    );
}

#[test]
fn json_has_one_object_a_line() {
    let line = shown(Style::Json, &reading(ARRIVAL));
    assert_eq!(line.lines().count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["event"], "reading");
    assert_eq!(
        (&value["t"], &value["node"]),
        (&2.13.into(), &"pump-1".into())
    );
    assert_eq!(
        (&value["octets"], &value["celsius"]),
        (&31.into(), &21.437.into())
    );
}

#[test]
fn what_came_through_is_shown_only_on_demand() {
    let carried = Event::Carried {
        way: Way::Down,
        message: "PUBACK",
        octets: 7,
    };
    let hidden = written(Style::Json, false, |view| {
        view.show(Instant::ZERO, "pump-1", &carried).unwrap();
    });
    assert_eq!(hidden, "");
    assert!(shown(Style::Plain, &carried).contains("↓  PUBACK  (7 octets)"));
}

#[test]
fn the_header_says_how_to_join_in() {
    let text = written(Style::Plain, false, |view| view.open(&start(1883)).unwrap());
    assert!(text.contains("mosquitto_sub -p 1883 "), "{text}");
    assert!(
        text.contains("cmd/pump-1") && !text.contains("taken"),
        "{text}"
    );
    let text = written(Style::Plain, false, |view| view.open(&start(5555)).unwrap());
    assert!(
        text.contains("mosquitto_sub -p 5555 ") && text.contains("1883 is taken"),
        "{text}"
    );
}

#[test]
fn the_summary_has_a_row_for_each_node_and_names_what_is_missing() {
    let names = ["pump-1".to_owned(), "well-2".to_owned()];
    let mut ledgers = [Ledger::default(), Ledger::default()];
    let good = Summary::of(&names, &ledgers, Instant::from_millis(8_400));
    assert!(good.is_good());
    // A PUBLISH with message id 1 and its PUBACK; nothing arrives.
    let publish = [11, 0x0C, 0x20, 0, 1, 0, 1, 1, 2, 3, 8];
    ledgers[1].sent(Instant::ZERO, Way::Up, &publish);
    ledgers[1].heard(&[7, 0x0D, 0, 1, 0, 1, 0]);
    let bad = Summary::of(&names, &ledgers, Instant::from_millis(8_400));
    assert!(!bad.is_good());
    let text = written(Style::Plain, false, |view| view.close(&bad).unwrap());
    assert!(text.contains("NOT GOOD: 1 of 1"), "{text}");
    assert!(text.contains("well-2: reading 1"), "{text}");
    for name in ["node", "pump-1", "well-2", "all"] {
        assert!(text.contains(&format!("\n  {name} ")), "{text}");
    }
    let text = written(Style::Json, false, |view| view.close(&bad).unwrap());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["event"], "summary");
    assert_eq!(value["missing"], serde_json::json!(["well-2: reading 1"]));
    assert_eq!(value["total"]["octets"], 11);
}
