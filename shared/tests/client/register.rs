//! REGISTER both ways [MQTT-SN 1.2 §6.5, §6.10].

use shared::client::{CommandError, Event, PublishError, RequestClass, Topic};
use shared::wire::{Acknowledgement, Message, MsgId, QoS, ReturnCode, TopicId};

use crate::rig::{Rig, config, is_about, publish, regack, register, secs, sends, tells};

const TEMP: Topic<'static> = Topic::Name("sensors/1/temp");

#[test]
fn a08_a_name_is_registered_before_it_is_published_on() {
    let mut rig = Rig::connected(config());
    let token = rig
        .node
        .publish(TEMP, QoS::AtLeastOnce, false, b"21.5")
        .unwrap();
    let id = sends!(rig, Message::Register(register) => {
        assert_eq!(register.topic_id, TopicId::NONE);
        assert_eq!(register.topic_name, b"sensors/1/temp");
        register.msg_id
    });
    rig.is_still();
    rig.hears(regack(5, id, ReturnCode::Accepted));
    tells!(
        rig,
        Event::Registered {
            name: "sensors/1/temp",
            topic_id: TopicId(5)
        }
    );
    let id = sends!(rig, Message::Publish(publish) => {
        assert_eq!(publish.topic.topic_id(), TopicId(5));
        assert!(!publish.dup);
        publish.msg_id
    });
    rig.hears(crate::rig::puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { token: done } => assert_eq!(done, token));

    rig.node
        .publish(TEMP, QoS::AtMostOnce, false, b"21.6")
        .unwrap();
    sends!(rig, Message::Publish(_));
}

#[test]
fn registers_ahead_when_asked_to() {
    let mut rig = Rig::connected(config());
    rig.node.register("a").unwrap();
    rig.node.register("b").unwrap();
    for (name, topic_id) in [("a", 1), ("b", 2)] {
        let id = sends!(rig, Message::Register(register) => {
            assert_eq!(register.topic_name, name.as_bytes());
            register.msg_id
        });
        rig.is_still();
        rig.hears(regack(topic_id, id, ReturnCode::Accepted));
        tells!(rig, Event::Registered { .. });
    }
    rig.is_still();
}

#[test]
fn a08_a_register_without_an_answer_is_repeated_unchanged() {
    let mut rig = Rig::connected(config());
    rig.node.register("a").unwrap();
    let first = rig.hex();
    for _ in 0..3 {
        is_about(rig.timeout(), secs(10));
        assert_eq!(rig.hex(), first);
    }
    rig.timeout();
    tells!(rig, Event::GatewayLost);
    assert_eq!(rig.node.stats().retries.register, 3);
}

#[test]
fn d42_congestion_lets_registers_rest_for_t_wait() {
    let mut rig = Rig::connected(config());
    rig.node
        .publish(TEMP, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    let id = sends!(rig, Message::Register(register) => register.msg_id);
    rig.hears(regack(0, id, ReturnCode::Congestion));
    let until = tells!(rig, Event::Held { class: RequestClass::Register, until } => until);
    is_about(until.since(rig.now), secs(300));
    rig.is_still();
    while rig.now < until {
        rig.timeout();
        if rig.now < until {
            sends!(rig, Message::PingReq(_));
            rig.hears(Message::PingResp);
        }
    }
    sends!(rig, Message::Register(_));
}

#[test]
fn d43_a_refused_name_fails_its_publication_and_no_other() {
    let mut rig = Rig::connected(config());
    let refused = rig
        .node
        .publish(TEMP, QoS::ExactlyOnce, false, b"1")
        .unwrap();
    let other = Topic::Predefined(TopicId(9));
    rig.node
        .publish(other, QoS::AtMostOnce, false, b"2")
        .unwrap();
    let id = sends!(rig, Message::Register(register) => register.msg_id);
    rig.hears(regack(0, id, ReturnCode::NotSupported));
    tells!(
        rig,
        Event::RegisterFailed {
            name: "sensors/1/temp",
            code: ReturnCode::NotSupported
        }
    );
    tells!(rig, Event::PublishFailed { token, reason } => {
        assert_eq!(token, refused);
        assert_eq!(reason, PublishError::TopicRefused(ReturnCode::NotSupported));
    });
    sends!(rig, Message::Publish(publish) => assert_eq!(publish.payload, b"2"));
}

#[test]
fn an_accepted_id_that_cannot_be_one_is_a_refusal() {
    for bad in [0, 0xFFFF] {
        let mut rig = Rig::connected(config());
        rig.node.register("a").unwrap();
        let id = sends!(rig, Message::Register(register) => register.msg_id);
        rig.hears(regack(bad, id, ReturnCode::Accepted));
        tells!(rig, Event::RegisterFailed { .. });
        rig.is_still();
    }
}

#[test]
fn an_answer_to_another_register_is_not_taken() {
    let mut rig = Rig::connected(config());
    rig.node.register("a").unwrap();
    let id = sends!(rig, Message::Register(register) => register.msg_id);
    rig.hears(regack(5, id.next(), ReturnCode::Accepted));
    rig.is_still();
    assert_eq!(rig.node.stats().unexpected, 1);
}

#[test]
fn a08_stores_what_the_gateway_registers() {
    let mut rig = Rig::connected(config());
    rig.hears(register(6, 0x0102, "cmd/a"));
    assert_eq!(rig.hex(), "070b0006010200");
    rig.hears(publish(QoS::AtMostOnce, 6, 0, b"on"));
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Name("cmd/a")));
}

#[test]
fn a08_a_known_name_gets_the_new_id_and_an_id_its_new_name() {
    let mut rig = Rig::connected(config());
    for (id, name) in [(6, "cmd/a"), (7, "cmd/a"), (7, "cmd/b")] {
        rig.hears(register(id, 1, name));
        sends!(rig, Message::RegAck(ack) => assert_eq!(ack.return_code, ReturnCode::Accepted));
        rig.hears(publish(QoS::AtMostOnce, id, 0, b"on"));
        tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Name(name)));
    }
    rig.hears(publish(QoS::AtMostOnce, 6, 0, b"on"));
    sends!(rig, Message::PubAck(ack) => assert_eq!(ack.return_code, ReturnCode::InvalidTopicId));
}

#[test]
fn d07_refuses_registrations_that_make_no_sense() {
    let too_long = "x".repeat(65);
    let mut rig = Rig::connected(config());
    for (id, name) in [
        (0, "a"),
        (0xFFFF, "a"),
        (1, ""),
        (1, "a/#"),
        (1, "+"),
        (1, &too_long),
    ] {
        rig.hears(register(id, 3, name));
        sends!(rig, Message::RegAck(ack) => assert_eq!(ack, Acknowledgement {
            topic_id: TopicId(id),
            msg_id: MsgId(3),
            return_code: ReturnCode::NotSupported,
        }));
    }
    rig.hears_hex("070a00010003ff");
    sends!(rig, Message::RegAck(ack) => assert_eq!(ack.return_code, ReturnCode::NotSupported));
}

#[test]
fn names_the_gateway_gave_make_room_for_others_the_oldest_first() {
    let mut rig = Rig::connected(config());
    let names: Vec<String> = (1..=9).map(|id| format!("cmd/{id}")).collect();
    for (id, name) in (1..).zip(&names) {
        rig.hears(register(id, id, name));
        sends!(rig, Message::RegAck(ack) => assert_eq!(ack.return_code, ReturnCode::Accepted));
    }
    assert_eq!(rig.node.stats().topics_evicted, 1);
    rig.hears(publish(QoS::AtMostOnce, 1, 0, b"gone"));
    sends!(rig, Message::PubAck(ack) => assert_eq!(ack.return_code, ReturnCode::InvalidTopicId));
    rig.hears(publish(QoS::AtMostOnce, 9, 0, b"here"));
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Name("cmd/9")));
}

#[test]
fn d37_a_table_full_of_what_is_in_use_has_no_room() {
    let mut rig = Rig::connected(config());
    for id in 1..=8 {
        rig.node
            .subscribe(Topic::Predefined(TopicId(id)), QoS::AtMostOnce)
            .unwrap();
    }
    rig.hears(register(1, 1, "cmd/a"));
    sends!(rig, Message::RegAck(ack) => assert_eq!(ack.return_code, ReturnCode::Congestion));
    assert_eq!(rig.node.register("a"), Err(CommandError::TopicsFull));
    let published = rig
        .node
        .publish(Topic::Name("a"), QoS::AtMostOnce, false, b"");
    assert_eq!(published, Err(CommandError::TopicsFull));
}

#[test]
fn d07_names_that_cannot_be_published_on_are_refused_at_once() {
    let mut rig = Rig::connected(config());
    for name in ["", "a/+", "#", "a\0b"] {
        assert_eq!(
            rig.node.register(name),
            Err(CommandError::InvalidTopic),
            "{name:?}"
        );
    }
    assert_eq!(
        rig.node.register(&"x".repeat(65)),
        Err(CommandError::TooLong)
    );
    rig.is_still();
}

#[test]
fn d37_a_name_that_no_one_asked_for_is_refused_where_that_is_wanted() {
    let picky = shared::client::Config {
        refuse_unwanted: true,
        ..config()
    };
    let mut rig = Rig::connected(picky);
    rig.node
        .subscribe(Topic::Name("cmd/+"), QoS::AtMostOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => subscribe.msg_id);
    let expect = |rig: &mut Rig, name, code| {
        rig.hears(register(9, 1, name));
        sends!(rig, Message::RegAck(ack) => assert_eq!(ack.return_code, code, "{name}"));
    };
    // On its way counts.
    expect(&mut rig, "cmd/a", ReturnCode::Accepted);
    expect(&mut rig, "other", ReturnCode::NotSupported);
    assert_eq!(rig.node.stats().names_unwanted, 1);
    rig.hears(crate::rig::suback(
        QoS::AtMostOnce,
        0,
        id,
        ReturnCode::Accepted,
    ));
    tells!(rig, Event::Subscribed { .. });
    expect(&mut rig, "cmd/b", ReturnCode::Accepted);
    rig.node.unsubscribe(Topic::Name("cmd/+")).unwrap();
    sends!(rig, Message::Unsubscribe(_));
    expect(&mut rig, "cmd/c", ReturnCode::NotSupported);
    // A known name gets its new id whatever has become of the subscription.
    expect(&mut rig, "cmd/b", ReturnCode::Accepted);

    let mut rig = Rig::connected(config());
    expect(&mut rig, "other", ReturnCode::Accepted);
}

#[test]
fn d04_a_reserved_code_refuses_as_03_does() {
    let reserved = ReturnCode::Reserved(0x80);
    let mut rig = Rig::connected(config());
    rig.node.register("a").unwrap();
    let id = sends!(rig, Message::Register(register) => register.msg_id);
    rig.hears(regack(7, id, reserved));
    tells!(rig, Event::RegisterFailed { code, .. } => assert_eq!(code, reserved));
    rig.node
        .subscribe(Topic::Name("b"), QoS::AtMostOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => subscribe.msg_id);
    rig.hears(crate::rig::suback(QoS::AtMostOnce, 7, id, reserved));
    tells!(rig, Event::SubscribeFailed { code, .. } => assert_eq!(code, reserved));
    rig.is_still();
    // The id they named is none.
    rig.hears(publish(QoS::AtMostOnce, 7, 0, b"on"));
    sends!(rig, Message::PubAck(ack) => assert_eq!(ack.return_code, ReturnCode::InvalidTopicId));
}
