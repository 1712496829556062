//! Copies of requests that come late, after what followed them, and late answers.

use shared::client::{Config, Event, Phase, Session, Topic};
use shared::wire::{Disconnect, Message, QoS, ReturnCode, TopicId};

use crate::rig::{Rig, config, connack, disconnect, puback, secs, sends, tells};
use crate::sleep::{TOPIC, sends_wake};

/// A node whose CONNECT was sent twice, and answered once so far.
fn connected_at_the_second_try(config: Config) -> Rig {
    let mut rig = Rig::new(config);
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(_));
    rig.timeout();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig
}

#[test]
fn d12_a_late_connect_of_a_clean_session_is_made_good() {
    let mut rig = connected_at_the_second_try(Config {
        clean: true,
        ..config()
    });
    let name = Topic::Name("cmd/a");
    rig.node.subscribe(name, QoS::AtLeastOnce).unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => subscribe.msg_id);
    rig.hears(crate::rig::suback(
        QoS::AtLeastOnce,
        7,
        id,
        ReturnCode::Accepted,
    ));
    tells!(rig, Event::Subscribed { .. });
    rig.node.register("up/a").unwrap();
    let old = sends!(rig, Message::Register(register) => register.msg_id);

    // The gateway has dropped the subscription and the ids, and the answer it owes is void.
    rig.hears(connack(ReturnCode::Accepted));
    let new = sends!(rig, Message::Register(register) => register.msg_id);
    assert_ne!(new, old);
    rig.hears(crate::rig::regack(9, old, ReturnCode::Accepted));
    rig.hears(crate::rig::regack(8, new, ReturnCode::Accepted));
    sends!(rig, Message::Subscribe(_));
    tells!(rig, Event::Registered { topic_id, .. } => {
        assert_eq!(topic_id, TopicId(8));
    });
    rig.is_in(Phase::Active);
    assert_eq!(rig.node.stats().late_requests, 1);
}

#[test]
fn d12_a_late_connect_of_a_kept_session_changes_nothing() {
    let mut rig = connected_at_the_second_try(config());
    rig.node.register("up/a").unwrap();
    let id = sends!(rig, Message::Register(register) => register.msg_id);
    rig.hears(connack(ReturnCode::Accepted));
    rig.is_still();
    rig.hears(crate::rig::regack(9, id, ReturnCode::Accepted));
    tells!(rig, Event::Registered { .. });
    rig.is_still();
}

#[test]
fn d12_a_late_connect_of_a_clean_session_drops_a_will_that_was_set_since() {
    let mut rig = connected_at_the_second_try(Config {
        clean: true,
        ..config()
    });
    rig.node
        .update_will_topic(Some(("w", QoS::AtMostOnce, false)))
        .unwrap();
    sends!(rig, Message::WillTopicUpd(Some(_)));
    rig.hears(Message::WillTopicResp(shared::wire::ConnAck {
        return_code: ReturnCode::Accepted,
    }));
    tells!(rig, Event::WillUpdated { .. });
    rig.hears(connack(ReturnCode::Accepted));
    sends!(rig, Message::WillTopicUpd(Some(_)));
}

#[test]
fn d12_a_late_connect_does_not_double_a_qos_2_publication() {
    let mut rig = connected_at_the_second_try(Config {
        clean: true,
        ..config()
    });
    let topic = Topic::Predefined(TopicId(5));
    rig.node
        .publish(topic, QoS::ExactlyOnce, false, b"1")
        .unwrap();
    let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
    rig.hears(connack(ReturnCode::Accepted));
    rig.is_still();
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(_));
    rig.hears(Message::PubComp(id));
    tells!(rig, Event::Published { .. });
}

#[test]
fn d30_a_late_connect_of_a_node_that_falls_asleep_is_made_good() {
    let mut rig = connected_at_the_second_try(config());
    rig.node.sleep(3600).unwrap();
    sends!(rig, Message::Disconnect(_));
    // The gateway has taken it after the DISCONNECT, or before: that cannot be told.
    rig.hears(connack(ReturnCode::Accepted));
    sends!(rig, Message::Disconnect(_));
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
    rig.hears(disconnect());
    rig.is_still();
    rig.is_in(Phase::Asleep);
}

#[test]
fn d30_a_late_connect_of_a_sleeping_node_is_made_good() {
    let mut rig = connected_at_the_second_try(config());
    rig.falls_asleep(3600);
    rig.hears(connack(ReturnCode::Accepted));
    sends!(
        rig,
        Message::Disconnect(Disconnect {
            duration_s: Some(3600)
        })
    );
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
    rig.is_still();

    // In a wake, once that is over.
    rig.node.wake().unwrap();
    sends!(rig, Message::PingReq(_));
    rig.hears(connack(ReturnCode::Accepted));
    rig.is_still();
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
    sends!(rig, Message::Disconnect(_));
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
    rig.is_still();
    assert_eq!(rig.node.stats().late_requests, 2);
}

#[test]
fn d12_a_clean_session_that_a_late_connect_woke_is_not_resumed() {
    let mut rig = connected_at_the_second_try(Config {
        clean: true,
        ..config()
    });
    rig.falls_asleep(3600);
    rig.hears(connack(ReturnCode::Accepted));
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(connect) => assert!(!connect.clean));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
}

/// A node that has said three times that it sleeps, and was answered once.
fn asleep_at_the_third_try() -> Rig {
    let mut rig = Rig::connected(config());
    rig.node.sleep(3600).unwrap();
    for _ in 0..3 {
        sends!(rig, Message::Disconnect(_));
        rig.timeout();
    }
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { confirmed: true });
    rig
}

#[test]
fn d19_each_repetition_of_the_sleep_may_be_acknowledged_late() {
    let mut rig = asleep_at_the_third_try();
    rig.node
        .publish(TOPIC, QoS::AtLeastOnce, false, b"1")
        .unwrap();
    let id = sends!(rig, Message::Publish(it) => it.msg_id);
    rig.hears(disconnect());
    rig.is_still();
    rig.is_in(Phase::Asleep);
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    rig.hears(disconnect());
    rig.is_still();
    rig.is_in(Phase::Awake);
    // There were no more than three.
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.is_in(Phase::BackingOff);
}

#[test]
fn d19_late_acknowledgements_are_not_waited_for_into_the_next_wake() {
    let mut rig = asleep_at_the_third_try();
    rig.timeout();
    sends_wake(&mut rig);
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
}

#[test]
fn d19_a_late_acknowledgement_confirms_the_sleep() {
    let mut rig = Rig::connected(config());
    rig.node.sleep(3600).unwrap();
    for _ in 0..4 {
        sends!(rig, Message::Disconnect(_));
        rig.timeout();
    }
    tells!(rig, Event::Asleep { confirmed: false });
    rig.hears(disconnect());
    assert_eq!(rig.timeout(), secs(150));
    sends_wake(&mut rig);
}

#[test]
fn d12_a_sleep_that_no_one_confirmed_is_not_left_as_one() {
    for (clean, answered, expected) in [
        (true, false, Session::Renewed),
        (false, false, Session::Renewed),
        (true, true, Session::Resumed),
    ] {
        let mut rig = Rig::connected(Config { clean, ..config() });
        rig.node.sleep(3600).unwrap();
        for _ in 0..4 {
            sends!(rig, Message::Disconnect(_));
            if answered {
                break;
            }
            rig.timeout();
        }
        if answered {
            rig.hears(disconnect());
        }
        tells!(rig, Event::Asleep { .. });
        rig.node.connect(rig.now).unwrap();
        sends!(rig, Message::Connect(connect) => assert!(!connect.clean));
        rig.hears(connack(ReturnCode::Accepted));
        tells!(rig, Event::Connected { session } => assert_eq!(session, expected));
    }
}

#[test]
fn d12_a_clean_session_may_have_ended_before_its_sleep_was_confirmed() {
    for (clean, expected) in [(true, Session::Renewed), (false, Session::Resumed)] {
        let mut rig = Rig::connected(Config { clean, ..config() });
        rig.node.sleep(3600).unwrap();
        sends!(rig, Message::Disconnect(_));
        rig.node.connect(rig.now).unwrap();
        sends!(rig, Message::Connect(_));
        rig.hears(connack(ReturnCode::Accepted));
        tells!(rig, Event::Connected { session } => assert_eq!(session, expected));
    }
}
