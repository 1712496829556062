//! Changing the will while connected [MQTT-SN 1.2 §6.4].

use heapless::{String, Vec};
use shared::client::{CommandError, Config, Event, RequestClass, Will, WillPart};
use shared::wire::{ConnAck, Message, QoS, ReturnCode};

use crate::rig::{Rig, config, connack, disconnect, is_about, secs, sends, tells};

fn with_will() -> Config {
    Config {
        will: Some(Will {
            topic: String::try_from("a").unwrap(),
            message: Vec::from_slice(b"gone").unwrap(),
            ..Will::default()
        }),
        ..config()
    }
}

const fn topic_resp(return_code: ReturnCode) -> Message<'static> {
    Message::WillTopicResp(ConnAck { return_code })
}

const fn message_resp(return_code: ReturnCode) -> Message<'static> {
    Message::WillMsgResp(ConnAck { return_code })
}

fn connected() -> Rig {
    let mut rig = Rig::new(with_will());
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(_));
    rig.hears(Message::WillTopicReq);
    sends!(rig, Message::WillTopic(Some(_)));
    rig.hears(Message::WillMsgReq);
    sends!(rig, Message::WillMsg(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig
}

#[test]
fn d33_both_halves_are_changed_one_after_the_other() {
    let mut rig = connected();
    rig.node.update_will_message(b"lost").unwrap();
    rig.node
        .update_will_topic(Some(("b", QoS::AtLeastOnce, true)))
        .unwrap();
    assert_eq!(rig.hex(), "041a3062");
    rig.is_still();
    rig.hears(message_resp(ReturnCode::Accepted));
    rig.is_still();
    rig.hears(topic_resp(ReturnCode::Accepted));
    tells!(
        rig,
        Event::WillUpdated {
            part: WillPart::Topic
        }
    );
    assert_eq!(rig.hex(), "061c6c6f7374");
    is_about(rig.timeout(), secs(10));
    assert_eq!(rig.hex(), "061c6c6f7374");
    rig.hears(message_resp(ReturnCode::Accepted));
    tells!(
        rig,
        Event::WillUpdated {
            part: WillPart::Message
        }
    );
    rig.is_still();
    assert_eq!(rig.node.config().will.as_ref().unwrap().topic, "b");
}

#[test]
fn d33_the_will_can_be_deleted_and_made_anew() {
    let mut rig = connected();
    rig.node.update_will_topic(None).unwrap();
    assert_eq!(rig.hex(), "021a");
    rig.hears(topic_resp(ReturnCode::Accepted));
    tells!(rig, Event::WillUpdated { .. });
    assert_eq!(
        rig.node.update_will_message(b"x"),
        Err(CommandError::NoWill)
    );
    rig.node
        .update_will_topic(Some(("c", QoS::AtMostOnce, false)))
        .unwrap();
    rig.node.update_will_message(b"x").unwrap();
    assert_eq!(rig.hex(), "041a0063");
}

#[test]
fn d33_a_refusal_is_told() {
    let mut rig = connected();
    rig.node.update_will_message(b"lost").unwrap();
    sends!(rig, Message::WillMsgUpd(b"lost"));
    rig.hears(message_resp(ReturnCode::NotSupported));
    tells!(
        rig,
        Event::WillUpdateFailed {
            part: WillPart::Message,
            code: ReturnCode::NotSupported
        }
    );
    rig.is_still();
}

#[test]
fn d42_congestion_lets_it_rest_for_t_wait() {
    let mut rig = connected();
    rig.node.update_will_message(b"lost").unwrap();
    sends!(rig, Message::WillMsgUpd(_));
    rig.hears(message_resp(ReturnCode::Congestion));
    let until = tells!(rig, Event::Held { class: RequestClass::Will, until } => until);
    rig.is_still();
    rig.now = until;
    rig.node.handle_timeout(rig.now);
    sends!(rig, Message::PingReq(_));
    sends!(rig, Message::WillMsgUpd(b"lost"));
}

#[test]
fn a_new_connection_tells_the_new_will_and_makes_the_update_needless() {
    let mut rig = connected();
    rig.node.update_will_message(b"lost").unwrap();
    sends!(rig, Message::WillMsgUpd(_));
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(connect) => assert!(connect.will));
    rig.hears(Message::WillTopicReq);
    sends!(rig, Message::WillTopic(Some(_)));
    rig.hears(Message::WillMsgReq);
    sends!(rig, Message::WillMsg(b"lost"));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig.is_still();
}

#[test]
fn a_will_deleted_while_off_is_deleted_at_the_gateway_too() {
    let mut rig = Rig::new(with_will());
    rig.node.update_will_topic(None).unwrap();
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(connect) => assert!(!connect.will));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    assert_eq!(rig.hex(), "021a");
}

#[test]
fn wills_that_cannot_be_are_refused_at_once() {
    let mut rig = connected();
    let mut set = |topic, qos| rig.node.update_will_topic(Some((topic, qos, false))).err();
    assert_eq!(
        set("a/#", QoS::AtMostOnce),
        Some(CommandError::InvalidTopic)
    );
    assert_eq!(set("", QoS::AtMostOnce), Some(CommandError::InvalidTopic));
    assert_eq!(set("a", QoS::MinusOne), Some(CommandError::InvalidQoS));
    assert_eq!(
        set(&"x".repeat(65), QoS::AtMostOnce),
        Some(CommandError::TooLong)
    );
    assert_eq!(
        rig.node.update_will_message(&[0; 65]),
        Err(CommandError::TooLong)
    );
    rig.is_still();
}

#[test]
fn d33_a_deletion_without_an_answer_is_made_good_in_the_next_session() {
    let mut rig = connected();
    rig.node.update_will_topic(None).unwrap();
    assert_eq!(rig.hex(), "021a");
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(connect) => assert!(!connect.will));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    assert_eq!(rig.hex(), "021a");
}

#[test]
fn d30_a_resumed_session_keeps_its_will() {
    let mut rig = connected();
    rig.node.sleep(600).unwrap();
    sends!(rig, Message::Disconnect(_));
    rig.hears(disconnect());
    tells!(rig, Event::Asleep { .. });
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(connect) => assert!(!connect.will && !connect.clean));
}

#[test]
fn d33_a_refused_change_is_told_by_the_next_connect_even_out_of_sleep() {
    let mut rig = connected();
    rig.node.update_will_message(b"lost").unwrap();
    sends!(rig, Message::WillMsgUpd(_));
    rig.hears(message_resp(ReturnCode::NotSupported));
    tells!(rig, Event::WillUpdateFailed { .. });
    rig.falls_asleep(600);
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(connect) => assert!(connect.will && !connect.clean));
    rig.hears(Message::WillTopicReq);
    sends!(rig, Message::WillTopic(Some(_)));
    rig.hears(Message::WillMsgReq);
    sends!(rig, Message::WillMsg(b"lost"));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });

    // It is known now.
    rig.falls_asleep(600);
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(connect) => assert!(!connect.will));
}

#[test]
fn d33_a_refused_deletion_is_made_by_the_empty_willtopic_of_the_next_connect() {
    let mut rig = connected();
    rig.node.update_will_topic(None).unwrap();
    assert_eq!(rig.hex(), "021a");
    rig.hears(topic_resp(ReturnCode::NotSupported));
    tells!(rig, Event::WillUpdateFailed { .. });
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(connect) => assert!(connect.will));
    rig.hears(Message::WillTopicReq);
    assert_eq!(rig.hex(), "0207");
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig.is_still();

    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(connect) => assert!(!connect.will));
}
