//! Publications of the node [MQTT-SN 1.2 §6.6, §6.8].

use shared::client::{CommandError, Event, PublishError, RequestClass, Session, Token, Topic};
use shared::wire::{Message, MsgId, Publish, QoS, ReturnCode, ShortName, TopicId, TopicRef};

use crate::rig::{
    Rig, config, connack, disconnect, is_about, puback, regack, secs, sends, suback, tells,
};

const PREDEFINED: Topic<'static> = Topic::Predefined(TopicId(5));
const NAME: Topic<'static> = Topic::Name("a/b");

impl Rig {
    fn publishes(&mut self, topic: Topic<'_>, qos: QoS, payload: &[u8]) -> Token {
        self.node.publish(topic, qos, false, payload).unwrap()
    }

    /// The next datagram is a PUBLISH with this payload; returns its id.
    fn sends_publish(&mut self, payload: &[u8], dup: bool) -> MsgId {
        sends!(self, Message::Publish(publish) => {
            assert_eq!((publish.payload, publish.dup), (payload, dup));
            publish.msg_id
        })
    }

    fn tells_published(&mut self, expected: Token) {
        tells!(self, Event::Published { token } => assert_eq!(token, expected));
    }

    /// Registers `a/b` as `topic_id`.
    fn gets_registered(&mut self, topic_id: u16) {
        let id = sends!(self, Message::Register(register) => register.msg_id);
        self.hears(regack(topic_id, id, ReturnCode::Accepted));
        tells!(self, Event::Registered { .. });
    }

    /// The gateway says it does not know the node; a new session follows.
    fn reconnects(&mut self) {
        self.hears(disconnect());
        tells!(self, Event::GatewayLost);
        self.timeout();
        sends!(self, Message::Connect(_));
        self.hears(connack(ReturnCode::Accepted));
        tells!(
            self,
            Event::Connected {
                session: Session::Renewed
            }
        );
    }
}

#[test]
fn qos_0_is_sent_once_and_done() {
    let mut rig = Rig::connected(config());
    let token = rig
        .node
        .publish(PREDEFINED, QoS::AtMostOnce, true, b"21.5")
        .unwrap();
    assert_eq!(rig.hex(), "0b0c110005000032312e35");
    rig.tells_published(token);
    rig.is_still();
}

#[test]
fn a09_qos_1_is_repeated_with_dup_until_it_is_acknowledged() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    assert_ne!(id, MsgId::NONE);
    for _ in 0..3 {
        rig.is_still();
        is_about(rig.timeout(), secs(10));
        assert_eq!(rig.sends_publish(b"1", true), id);
    }
    rig.hears(puback(5, id, ReturnCode::Accepted));
    rig.tells_published(token);
    rig.is_still();
    assert_eq!(rig.node.queued(), 0);
    assert_eq!(rig.node.stats().retries.publish, 3);
}

#[test]
fn a09_qos_2_goes_through_all_four_steps() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(PREDEFINED, QoS::ExactlyOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(released) => assert_eq!(released, id));
    rig.is_still();
    rig.hears(Message::PubComp(id));
    rig.tells_published(token);
    rig.is_still();
    assert_eq!(rig.node.stats().retries.publish, 0);
}

#[test]
fn a09_qos_2_repeats_the_step_it_is_in() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::ExactlyOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    is_about(rig.timeout(), secs(10));
    assert_eq!(rig.sends_publish(b"1", true), id);
    rig.hears(Message::PubComp(id));
    rig.is_still();
    rig.hears(Message::PubRec(id));
    for _ in 0..3 {
        sends!(rig, Message::PubRel(_));
        is_about(rig.timeout(), secs(10));
    }
    sends!(rig, Message::PubRel(_));
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(_));
    rig.hears(puback(5, id, ReturnCode::NotSupported));
    rig.is_still();
    rig.hears(Message::PubComp(id));
    tells!(rig, Event::Published { .. });
}

#[test]
fn a_puback_ends_qos_2_only_by_refusing() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::ExactlyOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::Accepted));
    rig.is_still();
    rig.hears(puback(5, id, ReturnCode::NotSupported));
    tells!(rig, Event::PublishFailed { .. });
}

#[test]
fn a09_releases_what_it_does_not_know_any_more() {
    let mut rig = Rig::connected(config());
    rig.hears(Message::PubRec(MsgId(77)));
    sends!(rig, Message::PubRel(MsgId(77)));
    rig.is_still();
}

#[test]
fn d34_qos_minus_one_needs_no_connection_and_waits_for_nothing() {
    let mut rig = Rig::new(config());
    let short = Topic::Short(ShortName(*b"tt"));
    let token = rig.publishes(short, QoS::MinusOne, b"1");
    assert!(!rig.node.is_quiet());
    assert_eq!(rig.hex(), "080c627474000031");
    rig.tells_published(token);
    assert!(rig.node.is_quiet());

    let refused = rig.node.publish(NAME, QoS::MinusOne, false, b"1");
    assert_eq!(refused, Err(CommandError::InvalidQoS));
}

#[test]
fn d40_keeps_the_order_and_one_in_flight() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    rig.publishes(PREDEFINED, QoS::AtMostOnce, b"2");
    rig.publishes(PREDEFINED, QoS::ExactlyOnce, b"3");
    let id = rig.sends_publish(b"1", false);
    rig.is_still();
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    rig.sends_publish(b"2", false);
    tells!(rig, Event::Published { .. });
    let next = rig.sends_publish(b"3", false);
    assert_eq!(next, id.next());
    rig.is_still();
}

#[test]
fn queues_before_it_is_connected_and_as_much_as_there_is_room_for() {
    let mut rig = Rig::new(config());
    for payload in [b"1", b"2", b"3", b"4"] {
        rig.publishes(PREDEFINED, QoS::AtMostOnce, payload);
    }
    let refused = rig.node.publish(PREDEFINED, QoS::AtMostOnce, false, b"5");
    assert_eq!(refused, Err(CommandError::QueueFull));
    rig.is_still();
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    for payload in [b"1", b"2", b"3", b"4"] {
        rig.sends_publish(payload, false);
    }
}

#[test]
fn d45_an_unknown_id_is_registered_again_and_published_again_as_new() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(NAME, QoS::AtLeastOnce, b"1");
    rig.gets_registered(5);
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::InvalidTopicId));
    rig.gets_registered(6);
    let again = rig.sends_publish(b"1", false);
    assert_ne!(again, id);
    rig.hears(puback(6, again, ReturnCode::Accepted));
    rig.tells_published(token);
}

#[test]
fn d38_qos_2_is_still_the_same_under_a_new_topic_id() {
    let mut rig = Rig::connected(config());
    rig.publishes(NAME, QoS::ExactlyOnce, b"1");
    rig.gets_registered(5);
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::InvalidTopicId));
    rig.gets_registered(6);
    assert_eq!(rig.sends_publish(b"1", true), id);
}

#[test]
fn d45_a_gateway_that_never_knows_its_own_ids_fails_the_publication() {
    let mut rig = Rig::connected(config());
    rig.publishes(NAME, QoS::AtLeastOnce, b"1");
    for topic_id in 1..=4 {
        rig.gets_registered(topic_id);
        let id = rig.sends_publish(b"1", false);
        rig.hears(puback(topic_id, id, ReturnCode::InvalidTopicId));
    }
    tells!(rig, Event::PublishFailed { reason, .. } => {
        assert_eq!(reason, PublishError::Refused(ReturnCode::InvalidTopicId));
    });
    rig.is_still();
}

#[test]
fn d45_an_unknown_predefined_id_is_a_configuration_fault() {
    let mut rig = Rig::connected(config());
    let failed = rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::InvalidTopicId));
    tells!(rig, Event::PublishFailed { token, reason } => {
        assert_eq!(token, failed);
        assert_eq!(reason, PublishError::Refused(ReturnCode::InvalidTopicId));
    });
    rig.is_still();
}

#[test]
fn d42_congestion_lets_publications_rest_for_t_wait_and_loses_none() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::Congestion));
    let until = tells!(rig, Event::Held { class: RequestClass::Publish, until } => until);
    rig.publishes(PREDEFINED, QoS::AtMostOnce, b"2");
    rig.is_still();
    rig.now = until;
    rig.node.handle_timeout(rig.now);
    sends!(rig, Message::PingReq(_));
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::Accepted));
    rig.tells_published(token);
}

#[test]
fn qos_2_keeps_its_message_id_while_it_rests() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(PREDEFINED, QoS::ExactlyOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.timeout();
    assert_eq!(rig.sends_publish(b"1", true), id);
    rig.hears(puback(5, id, ReturnCode::Congestion));
    let until = tells!(rig, Event::Held { class: RequestClass::Publish, until } => until);
    rig.is_still();
    rig.now = until;
    rig.node.handle_timeout(rig.now);
    assert_eq!(rig.sends_publish(b"1", true), id);
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(_));
    rig.hears(Message::PubComp(id));
    rig.tells_published(token);
}

#[test]
fn qos_2_that_was_taken_after_all_does_not_rest() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(PREDEFINED, QoS::ExactlyOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.timeout();
    rig.sends_publish(b"1", true);
    rig.hears(puback(5, id, ReturnCode::Congestion));
    tells!(rig, Event::Held { .. });
    // The repetition crossed the refusal, and the gateway could take it.
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(_));
    rig.hears(Message::PubComp(id));
    rig.tells_published(token);
    rig.is_still();
}

#[test]
fn d45_a_refusal_of_qos_0_is_told_and_repairs_the_id() {
    let mut rig = Rig::connected(config());
    let refused = rig.publishes(NAME, QoS::AtMostOnce, b"1");
    rig.gets_registered(5);
    rig.sends_publish(b"1", false);
    rig.tells_published(refused);
    rig.hears(puback(5, MsgId::NONE, ReturnCode::InvalidTopicId));
    tells!(rig, Event::PublishFailed { token, .. } => assert_eq!(token, refused));
    rig.publishes(NAME, QoS::AtMostOnce, b"2");
    rig.gets_registered(6);
    rig.sends_publish(b"2", false);
}

#[test]
fn d04_a_reserved_code_is_a_refusal() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::Reserved(0x83)));
    tells!(rig, Event::PublishFailed { reason, .. } => {
        assert_eq!(reason, PublishError::Refused(ReturnCode::Reserved(0x83)));
    });
}

#[test]
fn d39_qos_1_goes_on_in_a_new_session_with_its_id_and_dup() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(NAME, QoS::AtLeastOnce, b"1");
    rig.gets_registered(5);
    let id = rig.sends_publish(b"1", false);
    rig.reconnects();
    rig.gets_registered(9);
    sends!(rig, Message::Publish(publish) => assert_eq!(publish, Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicRef::Normal(TopicId(9)),
        msg_id: id,
        payload: b"1",
    }));
    rig.hears(puback(9, id, ReturnCode::Accepted));
    rig.tells_published(token);
}

#[test]
fn d47_qos_2_goes_on_with_its_release_and_is_not_published_again() {
    let mut rig = Rig::connected(config());
    let token = rig.publishes(NAME, QoS::ExactlyOnce, b"1");
    rig.gets_registered(5);
    let id = rig.sends_publish(b"1", false);
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(_));
    rig.reconnects();
    sends!(rig, Message::PubRel(released) => assert_eq!(released, id));
    rig.is_still();
    rig.hears(Message::PubComp(id));
    rig.tells_published(token);
    rig.is_still();
}

#[test]
fn d41_what_does_not_fit_is_refused_at_once() {
    let mut small = config();
    small.mtu = 30;
    let mut rig = Rig::connected(small);
    let publish = |rig: &mut Rig, topic, len: usize| {
        rig.node
            .publish(topic, QoS::AtMostOnce, false, &vec![0; len])
            .err()
    };
    assert_eq!(publish(&mut rig, PREDEFINED, 23), None);
    assert_eq!(
        publish(&mut rig, PREDEFINED, 24),
        Some(CommandError::TooLong)
    );
    let name = "x".repeat(25);
    assert_eq!(
        publish(&mut rig, Topic::Name(&name), 0),
        Some(CommandError::TooLong)
    );
    assert_eq!(publish(&mut rig, Topic::Name(&name[..24]), 0), None);
    for id in [0, 0xFFFF] {
        let refused = publish(&mut rig, Topic::Predefined(TopicId(id)), 0);
        assert_eq!(refused, Some(CommandError::InvalidTopic));
    }
    for name in [*b"a+", *b"#a", *b"a\0", [0xC3, 0x28]] {
        let refused = publish(&mut rig, Topic::Short(ShortName(name)), 0);
        assert_eq!(refused, Some(CommandError::InvalidTopic));
    }
    assert_eq!(rig.node.queued(), 2);

    let mut rig = Rig::connected(config());
    assert_eq!(
        publish(&mut rig, PREDEFINED, 65),
        Some(CommandError::TooLong)
    );
}

#[test]
fn d46_message_ids_go_round_without_zero() {
    let mut rig = Rig::connected(config());
    let mut seen = std::collections::HashSet::new();
    for _ in 0..0x1_0001 {
        rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
        let id = rig.sends_publish(b"1", false);
        assert_ne!(id, MsgId::NONE);
        seen.insert(id);
        rig.hears(puback(5, id, ReturnCode::Accepted));
        tells!(rig, Event::Published { .. });
    }
    assert_eq!(seen.len(), 0xFFFF);
}

#[test]
fn a_buffer_that_is_too_short_is_counted() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    assert!(rig.node.poll_transmit(rig.now, &mut [0; 4]).is_none());
    assert_eq!(rig.node.stats().buffer_short, 1);
    is_about(rig.timeout(), secs(10));
    rig.sends_publish(b"1", true);
}

#[test]
fn a_name_refused_in_a_new_session_spares_what_only_waits_for_its_release() {
    let mut rig = Rig::connected(config());
    let released = rig.publishes(NAME, QoS::ExactlyOnce, b"1");
    rig.gets_registered(5);
    let id = rig.sends_publish(b"1", false);
    rig.hears(Message::PubRec(id));
    sends!(rig, Message::PubRel(_));
    let refused = rig.publishes(NAME, QoS::AtMostOnce, b"2");
    rig.reconnects();
    let register = sends!(rig, Message::Register(register) => register.msg_id);
    sends!(rig, Message::PubRel(_));
    rig.hears(regack(0, register, ReturnCode::NotSupported));
    tells!(rig, Event::RegisterFailed { .. });
    tells!(rig, Event::PublishFailed { token, .. } => assert_eq!(token, refused));
    rig.hears(Message::PubComp(id));
    rig.tells_published(released);
}

#[test]
fn d46_a_message_id_in_flight_is_not_given_out_again() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    let in_flight = rig.sends_publish(b"1", false);
    for _ in 0..0x8001 {
        rig.node.subscribe(NAME, QoS::AtMostOnce).unwrap();
        let id = sends!(rig, Message::Subscribe(it) => it.msg_id);
        assert_ne!(id, in_flight);
        rig.hears(suback(QoS::AtMostOnce, 0, id, ReturnCode::Accepted));
        tells!(rig, Event::Subscribed { .. });
        rig.node.unsubscribe(NAME).unwrap();
        let id = sends!(rig, Message::Unsubscribe(it) => it.msg_id);
        assert_ne!(id, in_flight);
        rig.hears(Message::UnsubAck(id));
        tells!(rig, Event::Unsubscribed { .. });
    }
}

#[test]
fn congestion_of_one_session_does_not_bind_the_next() {
    let mut rig = Rig::connected(config());
    rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(5, id, ReturnCode::Congestion));
    tells!(rig, Event::Held { .. });
    rig.is_still();
    rig.reconnects();
    rig.sends_publish(b"1", false);
}

#[test]
fn a09_an_empty_payload_is_published_as_it_is() {
    let mut rig = Rig::connected(config());
    rig.node
        .publish(PREDEFINED, QoS::AtMostOnce, true, b"")
        .unwrap();
    assert_eq!(rig.hex(), "070c1100050000");
}

#[test]
fn d34_qos_minus_one_is_sent_in_any_state_and_never_repeated() {
    let short = Topic::Short(ShortName(*b"tt"));
    let mut rig = Rig::new(config());
    rig.publishes(short, QoS::MinusOne, b"1");
    assert_eq!(rig.hex(), "080c627474000031");
    tells!(rig, Event::Published { .. });
    assert_eq!(rig.node.poll_timeout(), None);
    rig.connects();
    // It does not wait for the one in flight, nor stand in its way.
    rig.publishes(PREDEFINED, QoS::AtLeastOnce, b"2");
    rig.sends_publish(b"2", false);
    rig.publishes(PREDEFINED, QoS::MinusOne, b"3");
    assert_eq!(rig.hex(), "080c610005000033");
    tells!(rig, Event::Published { .. });
    is_about(rig.timeout(), secs(10));
    let id = rig.sends_publish(b"2", true);
    rig.hears(puback(5, id, ReturnCode::Accepted));
    tells!(rig, Event::Published { .. });
    rig.falls_asleep(600);
    rig.publishes(short, QoS::MinusOne, b"4");
    assert_eq!(rig.hex(), "080c627474000034");
    tells!(rig, Event::Published { .. });
    rig.is_in(shared::client::Phase::Asleep);
    rig.is_still();
}

#[test]
fn d38_a_refused_short_name_is_not_registered() {
    let mut rig = Rig::connected(config());
    rig.publishes(Topic::Short(ShortName(*b"tt")), QoS::AtLeastOnce, b"1");
    let id = rig.sends_publish(b"1", false);
    rig.hears(puback(0x7474, id, ReturnCode::InvalidTopicId));
    tells!(rig, Event::PublishFailed { .. });
    rig.is_still();
}
