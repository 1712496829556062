//! Subscriptions [MQTT-SN 1.2 §6.9].

use shared::client::{CommandError, Event, RequestClass, Topic};
use shared::wire::{Message, MsgId, QoS, ReturnCode, ShortName, TopicFilter, TopicId};

use crate::rig::{
    Rig, config, connack, disconnect, is_about, publish, register, secs, sends, suback, tells,
};

impl Rig {
    /// The next datagram is a SUBSCRIBE; returns its id.
    fn sends_subscribe(&mut self) -> MsgId {
        sends!(self, Message::Subscribe(subscribe) => subscribe.msg_id)
    }

    fn subscribed(&mut self, topic: Topic<'_>, qos: QoS, topic_id: u16) {
        self.node.subscribe(topic, qos).unwrap();
        let id = self.sends_subscribe();
        self.hears(suback(qos, topic_id, id, ReturnCode::Accepted));
        tells!(self, Event::Subscribed { .. });
        self.is_still();
    }
}

#[test]
fn d15_an_exact_name_gets_its_id_in_the_suback() {
    let mut rig = Rig::connected(config());
    rig.node
        .subscribe(Topic::Name("cmd/a"), QoS::AtLeastOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => {
        assert_eq!((subscribe.qos, subscribe.dup), (QoS::AtLeastOnce, false));
        assert_eq!(subscribe.topic, TopicFilter::Name(b"cmd/a"));
        subscribe.msg_id
    });
    rig.hears(suback(QoS::AtMostOnce, 8, id, ReturnCode::Accepted));
    tells!(
        rig,
        Event::Subscribed {
            topic: Topic::Name("cmd/a"),
            qos: QoS::AtMostOnce
        }
    );
    rig.hears(publish(QoS::AtMostOnce, 8, 0, b"on"));
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Name("cmd/a")));
}

#[test]
fn d15_a_wildcard_is_delivered_as_in_the_worked_exchange() {
    let mut rig = Rig::connected(config());
    rig.node
        .subscribe(Topic::Name("cmd/#"), QoS::ExactlyOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => {
        assert_eq!(subscribe.topic, TopicFilter::Name(b"cmd/#"));
        subscribe.msg_id
    });
    // Whatever the field says: for a wildcard it binds nothing.
    rig.hears(suback(QoS::ExactlyOnce, 7, id, ReturnCode::Accepted));
    tells!(
        rig,
        Event::Subscribed {
            topic: Topic::Name("cmd/#"),
            qos: QoS::ExactlyOnce
        }
    );
    rig.hears(publish(QoS::AtMostOnce, 7, 0, b""));
    sends!(rig, Message::PubAck(ack) => assert_eq!(ack.return_code, ReturnCode::InvalidTopicId));

    rig.hears_hex("0b0a00060102636d642f61");
    assert_eq!(rig.hex(), "070b0006010200");
    rig.hears_hex("0b0c400006fffe32312e35");
    tells!(rig, Event::Received(it) => {
        assert_eq!((it.topic, it.payload), (Topic::Name("cmd/a"), &b"21.5"[..]));
    });
    assert_eq!(rig.hex(), "040ffffe");
    rig.hears_hex("0410fffe");
    assert_eq!(rig.hex(), "040efffe");
}

#[test]
fn d15_predefined_ids_and_short_names_are_subscribed_to_as_they_are() {
    let mut rig = Rig::connected(config());
    rig.subscribed(Topic::Predefined(TopicId(3)), QoS::AtLeastOnce, 3);
    rig.hears_hex("080c0100030000aa");
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Predefined(TopicId(3))));

    rig.node
        .subscribe(Topic::Short(ShortName(*b"ab")), QoS::AtMostOnce)
        .unwrap();
    let id = sends!(rig, Message::Subscribe(subscribe) => {
        assert_eq!(subscribe.topic, TopicFilter::Short(ShortName(*b"ab")));
        subscribe.msg_id
    });
    // Echoed by some gateways, zero from others (D-15).
    rig.hears(suback(QoS::AtMostOnce, 0, id, ReturnCode::Accepted));
    tells!(rig, Event::Subscribed { .. });
    rig.hears_hex("080c0261620000aa");
    tells!(rig, Event::Received(it) => assert_eq!(it.topic, Topic::Short(ShortName(*b"ab"))));
}

#[test]
fn a10_one_at_a_time_and_repeated_with_dup() {
    let mut rig = Rig::connected(config());
    rig.node
        .subscribe(Topic::Name("a"), QoS::AtMostOnce)
        .unwrap();
    rig.node
        .subscribe(Topic::Name("b"), QoS::AtMostOnce)
        .unwrap();
    let id = rig.sends_subscribe();
    rig.is_still();
    is_about(rig.timeout(), secs(10));
    sends!(rig, Message::Subscribe(subscribe) => {
        assert!(subscribe.dup);
        assert_eq!(subscribe.msg_id, id);
    });
    rig.hears(suback(QoS::AtMostOnce, 1, id, ReturnCode::Accepted));
    tells!(
        rig,
        Event::Subscribed {
            topic: Topic::Name("a"),
            ..
        }
    );
    sends!(rig, Message::Subscribe(it) => assert_eq!(it.topic, TopicFilter::Name(b"b")));
}

#[test]
fn d43_a_refused_subscription_is_told_and_not_asked_again() {
    for code in [
        ReturnCode::InvalidTopicId,
        ReturnCode::NotSupported,
        ReturnCode::Reserved(0x80),
    ] {
        let mut rig = Rig::connected(config());
        rig.node
            .subscribe(Topic::Name("a"), QoS::AtMostOnce)
            .unwrap();
        let id = rig.sends_subscribe();
        rig.hears(suback(QoS::AtMostOnce, 0, id, code));
        tells!(rig, Event::SubscribeFailed { topic: Topic::Name("a"), code: told } => {
            assert_eq!(told, code);
        });
        rig.is_still();
        assert_eq!(
            rig.node.unsubscribe(Topic::Name("a")),
            Err(CommandError::InvalidTopic)
        );
    }
}

#[test]
fn d42_congestion_lets_subscriptions_rest_for_t_wait() {
    let mut rig = Rig::connected(config());
    rig.node
        .subscribe(Topic::Name("a"), QoS::AtMostOnce)
        .unwrap();
    let id = rig.sends_subscribe();
    rig.hears(suback(QoS::AtMostOnce, 0, id, ReturnCode::Congestion));
    let until = tells!(rig, Event::Held { class: RequestClass::Subscribe, until } => until);
    rig.is_still();
    rig.now = until;
    rig.node.handle_timeout(rig.now);
    sends!(rig, Message::PingReq(_));
    rig.sends_subscribe();
}

#[test]
fn a10_unsubscribes() {
    let mut rig = Rig::connected(config());
    rig.subscribed(Topic::Name("a/+"), QoS::AtMostOnce, 0);
    rig.node.unsubscribe(Topic::Name("a/+")).unwrap();
    let id = sends!(rig, Message::Unsubscribe(unsubscribe) => {
        assert_eq!(unsubscribe.topic, TopicFilter::Name(b"a/+"));
        unsubscribe.msg_id
    });
    rig.hears(suback(QoS::AtMostOnce, 0, id, ReturnCode::Accepted));
    rig.is_still();
    rig.hears(Message::UnsubAck(id));
    tells!(
        rig,
        Event::Unsubscribed {
            topic: Topic::Name("a/+")
        }
    );
    rig.is_still();
}

#[test]
fn a_change_of_mind_under_way_is_made_good_afterwards() {
    let mut rig = Rig::connected(config());
    rig.node
        .subscribe(Topic::Name("a"), QoS::AtMostOnce)
        .unwrap();
    let id = rig.sends_subscribe();
    rig.node.unsubscribe(Topic::Name("a")).unwrap();
    rig.is_still();
    rig.hears(suback(QoS::AtMostOnce, 4, id, ReturnCode::Accepted));
    tells!(rig, Event::Subscribed { .. });
    let id = sends!(rig, Message::Unsubscribe(unsubscribe) => unsubscribe.msg_id);
    rig.node
        .subscribe(Topic::Name("a"), QoS::AtLeastOnce)
        .unwrap();
    rig.hears(Message::UnsubAck(id));
    tells!(rig, Event::Unsubscribed { .. });
    sends!(rig, Message::Subscribe(it) => assert_eq!(it.qos, QoS::AtLeastOnce));
}

#[test]
fn d47_a_new_session_gets_every_subscription_again() {
    let mut rig = Rig::connected(config());
    rig.subscribed(Topic::Name("a"), QoS::AtLeastOnce, 4);
    rig.subscribed(Topic::Predefined(TopicId(3)), QoS::AtMostOnce, 3);
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    for topic in [TopicFilter::Name(b"a"), TopicFilter::Predefined(TopicId(3))] {
        let id = sends!(rig, Message::Subscribe(it) => {
            assert_eq!((it.topic, it.dup), (topic, false));
            it.msg_id
        });
        rig.hears(suback(QoS::AtMostOnce, 9, id, ReturnCode::Accepted));
        tells!(rig, Event::Subscribed { .. });
    }
    // The old id means nothing now, even though the name is the same.
    rig.hears(publish(QoS::AtMostOnce, 4, 0, b""));
    sends!(rig, Message::PubAck(ack) => assert_eq!(ack.return_code, ReturnCode::InvalidTopicId));
    rig.hears(register(4, 1, "a"));
    sends!(rig, Message::RegAck(_));
    rig.hears(publish(QoS::AtMostOnce, 4, 0, b""));
    tells!(rig, Event::Received(_));
}

#[test]
fn d07_filters_that_mqtt_does_not_know_are_refused_at_once() {
    let mut rig = Rig::connected(config());
    for filter in ["", "a/#/b", "a+", "#a", "a/b#", "a\0"] {
        let refused = rig.node.subscribe(Topic::Name(filter), QoS::AtMostOnce);
        assert_eq!(refused, Err(CommandError::InvalidTopic), "{filter:?}");
    }
    let wild = Topic::Short(ShortName(*b"a#"));
    assert_eq!(
        rig.node.subscribe(wild, QoS::AtMostOnce),
        Err(CommandError::InvalidTopic)
    );
    let refused = rig.node.subscribe(Topic::Name("a"), QoS::MinusOne);
    assert_eq!(refused, Err(CommandError::InvalidQoS));
    for filter in ["#", "+", "a/+/b/#", "/", "+/a"] {
        rig.node
            .subscribe(Topic::Name(filter), QoS::AtMostOnce)
            .unwrap();
    }
}

#[test]
fn d15_the_topic_id_of_a_suback_counts_for_an_exact_name_only() {
    for filter in ["a/+", "$share/g/a"] {
        let mut rig = Rig::connected(config());
        rig.subscribed(Topic::Name(filter), QoS::AtMostOnce, 7);
        rig.hears(publish(QoS::AtMostOnce, 7, 0, b"on"));
        sends!(rig, Message::PubAck(ack) => {
            assert_eq!(ack.return_code, ReturnCode::InvalidTopicId, "{filter}");
        });
    }
    // One without an id is registered when it is published on.
    let mut rig = Rig::connected(config());
    rig.subscribed(Topic::Name("a"), QoS::AtMostOnce, 0);
    rig.node
        .publish(Topic::Name("a"), QoS::AtMostOnce, false, b"1")
        .unwrap();
    sends!(rig, Message::Register(_));
}

impl Rig {
    fn unsubscribed(&mut self, topic: Topic<'_>) -> MsgId {
        self.node.unsubscribe(topic).unwrap();
        let id = sends!(self, Message::Unsubscribe(it) => it.msg_id);
        self.hears(Message::UnsubAck(id));
        tells!(self, Event::Unsubscribed { .. });
        id
    }
}

#[test]
fn a10_a_late_unsubscribe_is_made_good() {
    let topic = Topic::Name("a");
    let mut rig = Rig::connected(config());
    rig.subscribed(topic, QoS::AtLeastOnce, 4);
    let left = rig.unsubscribed(topic);
    rig.hears(Message::UnsubAck(left));
    rig.is_still();
    rig.subscribed(topic, QoS::AtLeastOnce, 4);
    // A copy of the UNSUBSCRIBE has come after the SUBSCRIBE.
    rig.hears(Message::UnsubAck(left));
    let id = rig.sends_subscribe();
    // Another one, while that is under way.
    rig.hears(Message::UnsubAck(left));
    let again = rig.sends_subscribe();
    assert_ne!(again, id);
    rig.hears(suback(QoS::AtLeastOnce, 4, id, ReturnCode::Accepted));
    rig.hears(suback(QoS::AtLeastOnce, 4, again, ReturnCode::Accepted));
    tells!(rig, Event::Subscribed { .. });
    rig.is_still();
    assert_eq!(rig.node.stats().late_requests, 2);
}

#[test]
fn a10_a_late_subscribe_is_made_good() {
    let topic = Topic::Name("a");
    let mut rig = Rig::connected(config());
    rig.node.subscribe(topic, QoS::AtLeastOnce).unwrap();
    let id = rig.sends_subscribe();
    for _ in 0..2 {
        rig.hears(suback(QoS::AtLeastOnce, 4, id, ReturnCode::Accepted));
    }
    tells!(rig, Event::Subscribed { .. });
    rig.is_still();
    rig.unsubscribed(topic);
    rig.hears(suback(QoS::AtLeastOnce, 0, id, ReturnCode::Congestion));
    rig.is_still();
    rig.hears(suback(QoS::AtLeastOnce, 4, id, ReturnCode::Accepted));
    sends!(rig, Message::Unsubscribe(it) => assert_eq!(it.topic, TopicFilter::Name(b"a")));
}

#[test]
fn a10_a_late_answer_does_not_touch_another_topic_in_the_same_place() {
    let mut rig = Rig::connected(config());
    rig.subscribed(Topic::Name("a"), QoS::AtLeastOnce, 1);
    let left = rig.unsubscribed(Topic::Name("a"));
    for id in 2..=9 {
        rig.subscribed(Topic::Predefined(TopicId(id)), QoS::AtMostOnce, id);
    }
    assert_eq!(rig.node.stats().topics_evicted, 1);
    rig.hears(Message::UnsubAck(left));
    rig.is_still();
}
