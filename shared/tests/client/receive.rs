//! Publications for the node [MQTT-SN 1.2 §6.10].

use shared::client::{Event, Session, Topic};
use shared::wire::{Message, MsgId, Publish, QoS, ReturnCode, TopicId, TopicRef};

use crate::rig::{Rig, ack, config, connack, disconnect, publish, register, secs, sends, tells};

/// A node that knows `cmd/a` as 6.
fn listening() -> Rig {
    let mut rig = Rig::connected(config());
    rig.hears(register(6, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
    rig
}

fn repeated(qos: QoS, msg_id: u16, payload: &[u8]) -> Message<'_> {
    Message::Publish(Publish {
        dup: true,
        qos,
        retain: true,
        topic: TopicRef::Normal(TopicId(6)),
        msg_id: MsgId(msg_id),
        payload,
    })
}

#[test]
fn d32_qos_1_is_acknowledged_once_the_application_has_it() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 0x30, b"on"));
    assert!(rig.transmit().is_none());
    tells!(rig, Event::Received(it) => {
        assert_eq!((it.topic, it.payload), (Topic::Name("cmd/a"), &b"on"[..]));
        assert_eq!((it.qos, it.retain, it.dup), (QoS::AtLeastOnce, false, false));
    });
    assert_eq!(rig.hex(), "070d0006003000");
    rig.is_still();
}

#[test]
fn qos_1_repeated_before_it_was_taken_is_delivered_once() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 0x30, b"on"));
    rig.hears(repeated(QoS::AtLeastOnce, 0x30, b"on"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubAck(_));
    rig.is_still();
    assert_eq!(rig.node.stats().duplicates, 1);
}

#[test]
fn d18_qos_1_repeated_later_comes_again_and_says_so() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 0x30, b"on"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubAck(_));
    rig.hears(repeated(QoS::AtLeastOnce, 0x30, b"on"));
    tells!(rig, Event::Received(it) => assert!(it.dup && it.retain));
    sends!(rig, Message::PubAck(_));
}

#[test]
fn a09_qos_2_is_delivered_exactly_once_however_often_it_comes() {
    let mut rig = listening();
    rig.hears(publish(QoS::ExactlyOnce, 6, 9, b"on"));
    rig.hears(repeated(QoS::ExactlyOnce, 9, b"on"));
    assert!(rig.transmit().is_none());
    tells!(rig, Event::Received(it) => assert!(!it.dup));
    sends!(rig, Message::PubRec(MsgId(9)));
    for _ in 0..3 {
        rig.hears(repeated(QoS::ExactlyOnce, 9, b"on"));
        sends!(rig, Message::PubRec(MsgId(9)));
        rig.is_still();
    }
    for _ in 0..2 {
        rig.hears(Message::PubRel(MsgId(9)));
        sends!(rig, Message::PubComp(MsgId(9)));
    }
    rig.hears(publish(QoS::ExactlyOnce, 6, 9, b"off"));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b"off"));
}

#[test]
fn a09_a_repetition_that_pubrel_has_overtaken_is_not_told_again() {
    let first = publish(QoS::ExactlyOnce, 6, 9, b"on");
    let again = repeated(QoS::ExactlyOnce, 9, b"on");
    let other = repeated(QoS::ExactlyOnce, 9, b"off");
    for (before, message, wait_s, is_new) in [
        (first, again, 39, false),
        (again, first, 39, false),
        (first, again, 41, true),
        (first, other, 1, true),
        (first, first, 1, true),
    ] {
        let mut rig = listening();
        rig.hears(before);
        tells!(rig, Event::Received(_));
        sends!(rig, Message::PubRec(_));
        rig.hears(Message::PubRel(MsgId(9)));
        sends!(rig, Message::PubComp(_));
        rig.now += secs(wait_s);
        rig.hears(message);
        if is_new {
            tells!(rig, Event::Received(_));
        }
        sends!(rig, Message::PubRec(MsgId(9)));
        rig.is_still();
    }
}

#[test]
fn d47_qos_2_is_not_doubled_by_a_new_connection() {
    let mut rig = listening();
    rig.hears(publish(QoS::ExactlyOnce, 6, 9, b"on"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubRec(_));
    renew(&mut rig);
    rig.hears(repeated(QoS::ExactlyOnce, 9, b"on"));
    sends!(rig, Message::PubRec(MsgId(9)));
    rig.is_still();

    // A gateway that begins anew may use the id for something else.
    renew(&mut rig);
    rig.hears(publish(QoS::ExactlyOnce, 6, 9, b"off"));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b"off"));
}

#[test]
fn what_came_in_an_earlier_session_is_not_acknowledged_in_the_next() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 9, b"on"));
    rig.hears(disconnect());
    tells!(rig, Event::Received(_));
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig.is_still();
}

#[test]
fn d38_an_unknown_id_is_refused_at_every_qos() {
    let mut rig = listening();
    for (qos, msg_id) in [
        (QoS::AtMostOnce, 0),
        (QoS::AtLeastOnce, 3),
        (QoS::ExactlyOnce, 4),
    ] {
        rig.hears(publish(qos, 9, msg_id, b"on"));
        sends!(rig, Message::PubAck(it) => {
            assert_eq!(it, ack(9, MsgId(msg_id), ReturnCode::InvalidTopicId));
        });
    }
    rig.is_still();
    assert_eq!(rig.node.stats().unknown_topic_ids, 3);
}

#[test]
fn d38_a_lost_id_is_repaired_as_in_the_worked_exchange() {
    let mut rig = Rig::connected(config());
    rig.hears_hex("0b0c200009003032312e35");
    assert_eq!(rig.hex(), "070d0009003002");
    rig.hears_hex("0b0a00090031636d642f61");
    assert_eq!(rig.hex(), "070b0009003100");
    rig.hears_hex("0b0c200009003232312e35");
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Name("cmd/a")));
    assert_eq!(rig.hex(), "070d0009003200");
}

#[test]
fn the_next_one_waits_until_the_first_is_taken() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 1, b"1"));
    rig.hears(publish(QoS::AtLeastOnce, 6, 2, b"2"));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b"1"));
    sends!(rig, Message::PubAck(it) => assert_eq!(it.msg_id, MsgId(1)));
    rig.is_still();
    assert_eq!(rig.node.stats().receive_busy, 1);
    rig.hears(repeated(QoS::AtLeastOnce, 2, b"2"));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b"2"));
}

#[test]
fn d41_a_payload_that_cannot_be_kept_is_refused_for_good() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 1, &[0; 64]));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload.len(), 64));
    sends!(rig, Message::PubAck(_));
    rig.hears(publish(QoS::ExactlyOnce, 6, 2, &[0; 65]));
    sends!(rig, Message::PubAck(it) => assert_eq!(it.return_code, ReturnCode::NotSupported));
    rig.is_still();
}

#[test]
fn a09_what_a_gateway_may_not_send_is_counted_and_dropped() {
    let mut rig = listening();
    rig.hears(publish(QoS::MinusOne, 6, 0, b"1"));
    rig.hears(publish(QoS::AtLeastOnce, 6, 0, b"1"));
    rig.hears(publish(QoS::ExactlyOnce, 6, 0, b"1"));
    rig.is_still();
    assert_eq!(rig.node.stats().bad.field, 3);
}

#[test]
fn d01_bytes_that_are_no_message_are_counted_by_reason() {
    let mut rig = listening();
    for hex in ["00", "050c00", "0217ff", "0203", "0305", "080c030000000000"] {
        rig.hears_hex(hex);
    }
    rig.hears_hex("080c0300000000aa");
    rig.is_still();
    let bad = rig.node.stats().bad;
    assert_eq!((bad.length, bad.truncated, bad.trailing), (1, 2, 1));
    assert_eq!((bad.kind, bad.body, bad.topic_id_type), (1, 0, 2));
    assert_eq!(bad.total(), 7);
}

#[test]
fn d01_both_length_forms_are_read() {
    let mut rig = listening();
    rig.hears_hex("01000b0c0000060000aabb");
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, [0xAA, 0xBB]));
}

fn renew(rig: &mut Rig) {
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
    rig.hears(register(6, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
}

#[test]
fn an_acknowledgement_not_sent_yet_ends_with_its_session() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 9, b"on"));
    tells!(rig, Event::Received(_));
    renew(&mut rig);
    rig.is_still();
}

#[test]
fn a_question_asked_twice_at_once_is_answered_once() {
    let mut rig = Rig::connected(config());
    rig.hears(register(6, 1, "cmd/a"));
    rig.hears(register(6, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
    rig.is_still();
}

#[test]
fn events_that_are_not_polled_are_counted_but_no_publication_is_lost() {
    let mut rig = listening();
    for id in 1..=9 {
        let topic = Topic::Predefined(TopicId(id));
        rig.node
            .publish(topic, QoS::AtLeastOnce, false, b"1")
            .unwrap();
        let id = sends!(rig, Message::Publish(it) => it.msg_id);
        rig.hears(crate::rig::puback(1, id, ReturnCode::Accepted));
        while rig.transmit().is_some() {}
    }
    assert_eq!(rig.node.stats().events_lost, 1);
    rig.hears(publish(QoS::AtLeastOnce, 6, 1, b"on"));
    assert_eq!(rig.node.stats().receive_busy, 1);
    while rig.node.poll_event().is_some() {}
    rig.hears(repeated(QoS::AtLeastOnce, 1, b"on"));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b"on"));
}

#[test]
fn a03_flag_bits_without_a_meaning_are_ignored() {
    let mut rig = listening();
    // DUP, retain, will and clean, at QoS 0 and 1.
    rig.hears_hex("080c9c0006000031");
    tells!(rig, Event::Received(it) => assert!(it.retain && !it.dup));
    rig.hears_hex("080cbc0006000931");
    tells!(rig, Event::Received(it) => assert!(it.retain && it.dup));
    assert_eq!(rig.hex(), "070d0006000900");
    // A CONNACK or REGACK has none; SUBACK's other bits say nothing.
    rig.node
        .subscribe(Topic::Predefined(TopicId(5)), QoS::AtLeastOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => subscribe.msg_id);
    rig.hears_hex(&format!("0813bf0005{:04x}00", id.0));
    tells!(rig, Event::Subscribed { qos, .. } => assert_eq!(qos, QoS::AtLeastOnce));
}

#[test]
fn a09_an_empty_payload_is_delivered_as_it_is() {
    let mut rig = listening();
    rig.hears(publish(QoS::AtLeastOnce, 6, 1, b""));
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b""));
    sends!(rig, Message::PubAck(_));
}

#[test]
fn a09_a_release_of_an_unknown_id_is_completed() {
    let mut rig = listening();
    rig.hears(Message::PubRel(MsgId(77)));
    sends!(rig, Message::PubComp(MsgId(77)));
    rig.is_still();
}

#[test]
fn d08_predefined_ids_and_short_names_need_no_register() {
    let mut rig = Rig::connected(config());
    rig.hears_hex("080c010005000031");
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Predefined(TopicId(5))));
    rig.hears_hex("080c026162000031");
    let short = Topic::Short(shared::wire::ShortName(*b"ab"));
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, short));
    rig.is_still();
}

#[test]
fn d35_an_encapsulation_is_not_for_a_node() {
    let mut rig = listening();
    rig.hears_hex("04fe0001080c000006000031");
    rig.is_still();
    assert_eq!(rig.node.stats().unexpected, 1);
}

#[test]
fn d06_normal_and_predefined_ids_are_not_the_same() {
    let mut rig = listening();
    rig.hears_hex("080c010006000031");
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Predefined(TopicId(6))));
    rig.hears(publish(QoS::AtMostOnce, 6, 0, b"on"));
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Name("cmd/a")));
    // A publication on one is not sent as the other.
    let predefined = Topic::Predefined(TopicId(6));
    for topic in [predefined, Topic::Name("cmd/a")] {
        rig.node
            .publish(topic, QoS::AtMostOnce, false, b"")
            .unwrap();
    }
    assert_eq!(rig.hex(), "070c0100060000");
    tells!(rig, Event::Published { .. });
    assert_eq!(rig.hex(), "070c0000060000");
}
