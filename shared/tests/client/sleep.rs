//! Sleep and wake [MQTT-SN 1.2 §6.14].

use shared::client::{CommandError, Config, Event, Phase, Session, Topic};
use shared::wire::{Disconnect, Message, MsgId, PingReq, QoS, ReturnCode, TopicId};

use crate::rig::{
    Rig, config, connack, disconnect, is_about, puback, publish, register, secs, sends, tells,
};

pub(crate) const TOPIC: Topic<'static> = Topic::Predefined(TopicId(5));

pub(crate) fn sends_wake(rig: &mut Rig) {
    sends!(
        rig,
        Message::PingReq(PingReq {
            client_id: b"sensor-01"
        })
    );
}

fn without_d26() -> Config {
    Config {
        publish_while_asleep: false,
        ..config()
    }
}

#[test]
fn d22_sleeps_and_wakes_as_in_the_worked_exchange() {
    let mut rig = Rig::connected(config());
    rig.hears(register(5, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
    rig.node.sleep(3600).unwrap();
    assert_eq!(rig.hex(), "04180e10");
    rig.is_in(Phase::SleepPending);
    rig.hears_hex("0218");
    tells!(rig, Event::Asleep { confirmed: true });
    assert!(rig.node.is_quiet());

    let slept = rig.timeout();
    assert!(slept >= secs(2880) && slept <= secs(3240), "{slept}");
    assert_eq!(rig.hex(), "0b1673656e736f722d3031");
    rig.is_in(Phase::Awake);
    assert!(!rig.node.is_quiet());
    rig.hears_hex("0b0c200005004032312e35");
    tells!(rig, Event::Received(it) => assert_eq!(it.payload, b"21.5"));
    assert_eq!(rig.hex(), "070d0005004000");
    rig.hears_hex("0217");
    tells!(rig, Event::WakeFinished);
    rig.is_in(Phase::Asleep);
    rig.is_still();
    assert!(rig.node.is_quiet());
    let slept = rig.timeout();
    assert!(slept >= secs(2880) && slept <= secs(3240), "{slept}");
}

#[test]
fn wakes_when_it_is_told_to() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    assert_eq!(rig.node.wake(), Err(CommandError::NotAsleep));
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
}

#[test]
fn a13_finishes_its_exchanges_before_it_sleeps() {
    let mut rig = Rig::connected(config());
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    rig.node
        .publish(TOPIC, QoS::AtMostOnce, false, b"2")
        .unwrap();
    rig.node.sleep(600).unwrap();
    let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
    rig.hears(publish(QoS::AtMostOnce, 9, 0, b""));
    sends!(rig, Message::PubAck(_));
    rig.is_still();
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    sends!(rig, Message::Publish(_));
    tells!(rig, Event::Published { .. });
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(600)
        })
    );
}

#[test]
fn what_rests_after_congestion_does_not_keep_it_awake() {
    let mut rig = Rig::connected(config());
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
    rig.node.sleep(3600).unwrap();
    rig.hears(puback(5, id, ReturnCode::Congestion));
    tells!(rig, Event::Held { .. });
    sends!(rig, Message::Disconnect(_));
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { .. });
    is_about(rig.timeout(), secs(300));
    sends!(rig, Message::Publish(_));
}

#[test]
fn takes_what_comes_while_it_falls_asleep() {
    let mut rig = Rig::connected(config());
    rig.node.sleep(600).unwrap();
    sends!(rig, Message::Disconnect(_));
    rig.hears(register(5, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
    rig.hears(publish(QoS::AtLeastOnce, 5, 2, b"1"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubAck(_));
    rig.is_in(Phase::SleepPending);
}

#[test]
fn a13_powers_down_even_if_no_one_confirms_and_asks_again_early() {
    let mut rig = Rig::connected(config());
    rig.node.sleep(3600).unwrap();
    for _ in 0..4 {
        sends!(
            rig,
            Message::Disconnect(Disconnect {
                duration_s: Some(3600)
            })
        );
        is_about(rig.timeout(), secs(10));
    }
    tells!(rig, Event::Asleep { confirmed: false });
    // The gateway supervises by the keep-alive time, 300 s, still.
    assert_eq!(rig.timeout(), secs(150));
    // A ping would be answered to an active node, which then is lost by its keep-alive time.
    sends!(rig, Message::Connect(connect) => assert!(!connect.clean));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(3600)
        })
    );
}

#[test]
fn d19_a_second_acknowledgement_of_the_sleep_is_not_the_end_of_the_session() {
    let mut rig = Rig::asleep(config(), 600);
    rig.hears(disconnect());
    rig.is_still();
    rig.is_in(Phase::Asleep);
}

#[test]
fn a13_each_message_prolongs_a_wake() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    for id in 1..=10 {
        rig.now += secs(7);
        rig.node.handle_timeout(rig.now);
        rig.hears(register(id, id, "cmd/a"));
        sends!(rig, Message::RegAck(_));
        rig.is_still();
    }
    is_about(rig.timeout(), secs(10));
    sends_wake(&mut rig);
}

#[test]
fn d23_a_wake_without_an_answer_is_tried_again_soon_and_in_the_end_elsewhere() {
    let mut rig = Rig::asleep(config(), 600);
    rig.timeout();
    for vain in 1..=3 {
        for _ in 0..3 {
            sends_wake(&mut rig);
            is_about(rig.timeout(), secs(10));
        }
        tells!(rig, Event::WakeFailed { in_a_row } => assert_eq!(in_a_row, vain));
        if vain < 3 {
            rig.is_in(Phase::Asleep);
            assert!(rig.node.is_quiet());
            assert_eq!(rig.timeout(), secs(60));
        }
    }
    tells!(rig, Event::GatewayLost);
    rig.is_in(Phase::BackingOff);
    rig.timeout();
    sends!(rig, Message::Connect(connect) => assert!(!connect.clean));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(600)
        })
    );
}

#[test]
fn one_answered_wake_forgives_the_vain_ones() {
    let mut rig = Rig::asleep(config(), 600);
    for _ in 0..4 {
        rig.timeout();
        for _ in 0..3 {
            sends_wake(&mut rig);
            rig.timeout();
        }
        tells!(rig, Event::WakeFailed { in_a_row: 1 });
        rig.node.wake().unwrap();
        sends_wake(&mut rig);
        rig.hears(Message::PingResp);
        tells!(rig, Event::WakeFinished);
    }
}

#[test]
fn d28_a_gateway_that_does_not_know_it_is_connected_to_again() {
    let mut rig = Rig::asleep(config(), 600);
    rig.timeout();
    sends_wake(&mut rig);
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.is_in(Phase::BackingOff);
    assert!(rig.timeout() <= secs(11));
    sends!(rig, Message::Connect(connect) => assert!(!connect.clean));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(600)
        })
    );
}

#[test]
fn d26_publishes_without_leaving_sleep() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    assert!(!rig.node.is_quiet());
    let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
    rig.is_in(Phase::Asleep);
    is_about(rig.timeout(), secs(10));
    sends!(rig, Message::Publish(publish) => assert!(publish.dup));
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    rig.is_in(Phase::Asleep);
    rig.is_still();
    assert!(rig.node.is_quiet());
}

#[test]
fn a_wake_waits_for_the_answer_to_a_publication() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
    rig.node.wake().unwrap();
    rig.node.subscribe(TOPIC, QoS::AtMostOnce).unwrap();
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"2")
        .unwrap();
    rig.is_still();
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    sends_wake(&mut rig);
    rig.is_still();
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
    sends!(rig, Message::Publish(publish) => assert_eq!(publish.payload, b"2"));
    sends!(rig, Message::Subscribe(_));
}

#[test]
fn d28_a_publication_from_sleep_that_is_disowned_reconnects() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    sends!(rig, Message::Publish(_));
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    sends!(rig, Message::Publish(publish) => assert!(publish.dup));
}

#[test]
fn d30_connects_to_publish_where_the_gateway_wants_that_and_sleeps_again() {
    let mut rig = Rig::asleep(without_d26(), 600);
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    sends!(rig, Message::Connect(connect) => {
        assert!(!connect.clean && !connect.will);
    });
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Resumed
        }
    );
    let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(600)
        })
    );
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
}

#[test]
fn d30_a_resumed_session_keeps_ids_and_subscriptions() {
    let mut rig = Rig::connected(without_d26());
    rig.node
        .subscribe(Topic::Name("cmd/a"), QoS::AtLeastOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => subscribe.msg_id);
    rig.hears(crate::rig::suback(
        QoS::AtLeastOnce,
        7,
        id,
        ReturnCode::Accepted,
    ));
    tells!(rig, Event::Subscribed { .. });
    rig.node.sleep(600).unwrap();
    sends!(rig, Message::Disconnect(_));
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { .. });

    rig.node
        .publish(Topic::Name("cmd/a"), QoS::AtMostOnce, false, b"1")
        .unwrap();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Resumed
        }
    );
    sends!(rig, Message::Publish(it) => assert_eq!(it.topic.topic_id(), TopicId(7)));
}

#[test]
fn d30_connecting_ends_the_sleep_for_good() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Resumed
        }
    );
    rig.is_still();
    rig.is_in(Phase::Active);
    assert_eq!(rig.node.connect(rig.now), Err(CommandError::Busy));
}

#[test]
fn a13_another_duration_is_told_to_the_gateway() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node.sleep(60).unwrap();
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(60)
        })
    );
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
    assert!(rig.timeout() <= secs(54));
    sends_wake(&mut rig);

    // In a wake the change waits for the PINGRESP (digest A.13).
    rig.node.sleep(600).unwrap();
    rig.is_still();
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(600)
        })
    );
}

#[test]
fn a13_a_sleeping_node_can_be_switched_off() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node.disconnect().unwrap();
    sends!(rig, Message::Disconnect(Disconnect { duration_s: None }));
    rig.hears(disconnect());
    tells!(rig, Event::Disconnected { confirmed: true });
    rig.is_in(Phase::Off);
}

#[test]
fn a13_qos_2_from_the_gateway_is_delivered_in_a_wake() {
    let mut rig = Rig::asleep(config(), 600);
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    rig.hears(register(5, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
    rig.hears(publish(QoS::ExactlyOnce, 5, 2, b"1"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubRec(MsgId(2)));
    rig.hears(Message::PubRel(MsgId(2)));
    sends!(rig, Message::PubComp(MsgId(2)));
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
}

#[test]
fn d20_sleep_needs_a_connection_and_a_duration() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.node.sleep(60), Err(CommandError::NotConnected));
    assert_eq!(rig.node.wake(), Err(CommandError::NotAsleep));
    let mut rig = Rig::connected(config());
    assert_eq!(rig.node.sleep(0), Err(CommandError::InvalidDuration));
    assert_eq!(rig.node.wake(), Err(CommandError::NotAsleep));
    rig.is_still();
}

#[test]
fn a13_a_sleep_beyond_the_field_is_told_as_long_as_can_be_and_slept_on() {
    let mut rig = Rig::connected(config());
    rig.node.sleep(200_000).unwrap();
    assert_eq!(rig.hex(), "0418ffff");
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
    rig.is_still();
    let slept = rig.timeout();
    assert!(
        slept >= secs(160_000) && slept <= secs(180_000),
        "slept {slept}"
    );
    sends_wake(&mut rig);
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
    rig.is_still();
    assert!(rig.timeout() >= secs(160_000));
}
