use app::Outcome;
use shared::wire::{Acknowledgement, ConnAck, QoS, TopicId, TopicRef};

use super::*;

const ID: MsgId = MsgId(7);

/// Reading 1, uptime 2 s, 3 mV, 4 millidegrees.
const READING: &[u8] = &[1, 2, 3, 8];

/// Command 7, done, and the fields that follow.
const STATUS: &[u8] = &[7, 0, 1, 3, 1, 0, 1];

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn frame(message: &Message<'_>) -> Vec<u8> {
    let mut octets = vec![0; message.encoded_len()];
    message.emit(&mut octets).unwrap();
    octets
}

fn publish(payload: &[u8], dup: bool) -> Vec<u8> {
    frame(&Message::Publish(Publish {
        dup,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicRef::Normal(TopicId(1)),
        msg_id: ID,
        payload,
    }))
}

fn puback(return_code: ReturnCode) -> Vec<u8> {
    frame(&Message::PubAck(Acknowledgement {
        topic_id: TopicId(1),
        msg_id: ID,
        return_code,
    }))
}

fn arrival(event: Option<Event>) -> Arrival {
    match event {
        Some(Event::Reading { arrival, .. } | Event::Confirmation { arrival, .. }) => arrival,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reading_that_was_repeated_and_arrived_is_not_missing() {
    let mut ledger = Ledger::default();
    ledger.sent(at(100), Way::Up, &publish(READING, false));
    ledger.lost(Way::Up);
    ledger.sent(at(500), Way::Up, &publish(READING, true));
    let arrival = arrival(ledger.reading(at(520), READING));
    assert_eq!(
        arrival,
        Arrival {
            octets: 11,
            transmissions: 2,
            took_ms: 420,
            duplicate: false,
        }
    );
    assert_eq!(ledger.unacknowledged(), 0);
    ledger.heard(&puback(ReturnCode::Accepted));
    assert!(ledger.missing().is_empty());
    assert!(ledger.open.is_empty(), "{:?}", ledger.open);
    let counts = ledger.counts();
    assert_eq!((counts.readings_sent, counts.readings_arrived), (1, 1));
    assert_eq!((counts.acknowledged, counts.repetitions), (1, 1));
    assert_eq!(
        (counts.frames_up, counts.lost_up, counts.octets),
        (2, 1, 22)
    );
}

#[test]
fn what_was_acknowledged_and_did_not_arrive_is_missing() {
    let mut ledger = Ledger::default();
    ledger.sent(at(0), Way::Up, &publish(READING, false));
    assert_eq!(ledger.unacknowledged(), 1);
    ledger.heard(&puback(ReturnCode::Congestion));
    assert!(ledger.missing().is_empty());
    ledger.sent(at(0), Way::Up, &publish(READING, false));
    ledger.heard(&puback(ReturnCode::Accepted));
    assert_eq!(ledger.missing(), ["reading 1"]);
    assert_eq!(ledger.unacknowledged(), 0);
    assert!(!arrival(ledger.reading(at(9), READING)).duplicate);
    assert!(ledger.missing().is_empty());
}

#[test]
fn what_arrives_twice_counts_once() {
    let mut ledger = Ledger::default();
    ledger.sent(at(0), Way::Up, &publish(READING, false));
    assert!(!arrival(ledger.reading(at(1), READING)).duplicate);
    assert!(arrival(ledger.reading(at(2), READING)).duplicate);
    ledger.heard(&puback(ReturnCode::Accepted));
    assert!(arrival(ledger.reading(at(3), READING)).duplicate);
    let counts = ledger.counts();
    assert_eq!((counts.readings_arrived, counts.duplicates), (1, 2));
}

#[test]
fn a_confirmation_finds_its_command() {
    let mut ledger = Ledger::default();
    let given = ledger.command(at(1000), b"#7 led on");
    let expected = Event::Command {
        command: "led on".to_owned(),
        id: 7,
    };
    assert_eq!(given, expected);
    ledger.sent(at(2000), Way::Up, &publish(STATUS, false));
    let confirmation = ledger.status(at(2500), STATUS);
    let Some(Event::Confirmation {
        command,
        after_ms,
        outcome,
        led,
        ..
    }) = confirmation
    else {
        panic!("{confirmation:?}");
    };
    assert_eq!(command.as_deref(), Some("led on"));
    assert_eq!((after_ms, led), (Some(1500), true));
    assert_eq!(outcome, outcome_word(Outcome::Done));
    assert_eq!(ledger.counts().confirmed, 1);
    // The second time it is known which command it is, and not counted again.
    let again = ledger.status(at(2600), STATUS);
    assert!(
        matches!(&again, Some(Event::Confirmation { command: Some(text), after_ms: None, .. })
            if text == "led on"),
        "{again:?}"
    );
    assert_eq!(ledger.counts().confirmed, 1);
}

#[test]
fn a_command_by_hand_needs_no_id() {
    let mut ledger = Ledger::default();
    assert_eq!(
        ledger.command(at(0), b"led on"),
        Event::Command {
            command: "led on".to_owned(),
            id: 0,
        }
    );
}

#[test]
fn remembered_commands_are_bounded() {
    let mut ledger = Ledger::default();
    for id in 1..200 {
        ledger.command(at(0), format!("#{id} report").as_bytes());
    }
    assert_eq!(ledger.commands.len(), COMMANDS_MAX);
    assert_eq!(ledger.commands.back().unwrap().id, 199);
}

#[test]
fn the_same_ping_in_the_next_wake_is_no_repetition() {
    let mut ledger = Ledger::default();
    let ping = frame(&Message::PingResp);
    ledger.woke(at(100));
    ledger.sent(at(110), Way::Down, &ping);
    let asleep = ledger.fell_asleep(at(150), Duration::from_secs(3));
    assert_eq!(
        asleep,
        Event::Asleep {
            for_ms: 3000,
            awake_ms: 50,
            frames: 1,
            octets: 2,
        }
    );
    ledger.woke(at(3150));
    ledger.sent(at(3160), Way::Down, &ping);
    assert_eq!(ledger.counts().repetitions, 0);
    ledger.sent(at(3170), Way::Down, &ping);
    assert_eq!(ledger.counts().repetitions, 1);
}

#[test]
fn a_refused_connection_is_none() {
    let mut ledger = Ledger::default();
    let connack = |return_code| frame(&Message::ConnAck(ConnAck { return_code }));
    assert_eq!(ledger.heard(&connack(ReturnCode::Congestion)), None);
    let connected = ledger.heard(&connack(ReturnCode::Accepted));
    assert_eq!(connected, Some(Event::Connected { again: false }));
    let connected = ledger.heard(&connack(ReturnCode::Accepted));
    assert_eq!(connected, Some(Event::Connected { again: true }));
}

#[test]
fn foreign_octets_change_nothing() {
    let mut ledger = Ledger::default();
    ledger.sent(at(0), Way::Down, &[0xFF, 0xFF]);
    assert_eq!(ledger.heard(&[]), None);
    assert_eq!(ledger.reading(at(0), b"not a reading"), None);
    assert_eq!(ledger.status(at(0), READING), None);
    assert_eq!(ledger.counts().frames_down, 1);
    assert_eq!(ledger.counts().duplicates, 0);
}
