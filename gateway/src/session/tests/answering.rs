//! What the node answers to a downlink publication, row by row (A.18).

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A node with an exact subscription and a publication in flight; the topic id and message id.
fn in_flight(qos: QoS) -> (Script, TopicId, MsgId) {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", qos);
    script.delivery(1, "t", "x", qos);
    let msg_id = script.hears_publish("x", false);
    (script, id, msg_id)
}

#[test]
fn regack_00_is_followed_by_the_publication() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.accepts_register(NODE, "t");
    script.accepts_publish(NODE, "x", false);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn regack_01_keeps_the_message_for_a_minute_then_for_five() {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(86_400));
    script.says(NODE, &endless("a"));
    script.hears(NODE, &connack(ACCEPTED));
    let known = script.subscribed(NODE, "known", QoS::AtLeastOnce);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    for pause in [MINUTE, MINUTE.saturating_mul(5), MINUTE.saturating_mul(5)] {
        let (id, msg_id) = script.hears_register("t");
        script.says(NODE, &regack(id, msg_id, ReturnCode::Congestion));
        script.wait(Duration::from_millis(pause.as_millis() - 1));
        script.hears_nothing();
        script.wait(Duration::from_millis(1));
    }
    // What the node knows goes on meanwhile, one at a time.
    let (id, msg_id) = script.hears_register("t");
    script.says(NODE, &regack(id, msg_id, ReturnCode::Congestion));
    script.delivery(2, "known", "y", QoS::AtLeastOnce);
    script.delivery(3, "t", "z", QoS::AtLeastOnce);
    script.delivery(4, "known", "y2", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("y", false);
    script.hears_nothing();
    script.says(NODE, &puback(known, msg_id, ACCEPTED));
    script.accepts_publish(NODE, "y2", false);
    script.hears_nothing();
    script.wait(MINUTE.saturating_mul(5));
    script.accepts_register(NODE, "t");
    script.accepts_publish(NODE, "x", false);
    script.accepts_publish(NODE, "z", false);
    script.hears_nothing();
    // It has room again, so the next refusal counts from the start.
    script.delivery(5, "u", "v", QoS::AtLeastOnce);
    let (id, msg_id) = script.hears_register("u");
    script.says(NODE, &regack(id, msg_id, ReturnCode::Congestion));
    script.wait(MINUTE);
    script.hears_register("u");
}

#[test]
fn regack_01_in_a_wake_ends_it_when_nothing_else_can_go() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "known", QoS::AtMostOnce);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.asleep(NODE, 600);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(0, "known", "y", QoS::AtMostOnce);
    script.says(NODE, &ping("a"));
    let (id, msg_id) = script.hears_register("t");
    script.says(NODE, &regack(id, msg_id, ReturnCode::Congestion));
    script.hears_publish("y", false);
    script.hears(NODE, &Message::PingResp);
    script.wait(MINUTE);
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    script.accepts_register(NODE, "t");
    script.accepts_publish(NODE, "x", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn a_publication_that_no_room_was_made_for_ends_with_its_time() {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(86_400));
    script.says(NODE, &endless("a"));
    script.hears(NODE, &connack(ACCEPTED));
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    let publication = publication("t", "x", QoS::AtLeastOnce, false);
    let delivery = Delivery {
        expiry: Some(MINUTE.saturating_mul(20)),
        ..Delivery::new(Some(DeliveryId(1)), publication)
    };
    script.upstream(UpstreamEvent::Delivery(delivery));
    for pause in [1, 5, 5, 5] {
        let (id, msg_id) = script.hears_register("t");
        script.says(NODE, &regack(id, msg_id, ReturnCode::Congestion));
        script.wait(MINUTE.saturating_mul(pause));
    }
    let (id, msg_id) = script.hears_register("t");
    script.says(NODE, &regack(id, msg_id, ReturnCode::Congestion));
    script.wait(MINUTE.saturating_mul(5));
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::MailboxExpired]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d37_regack_02_and_03_and_others_suppress_the_topic_for_the_session() {
    for code in [
        ReturnCode::InvalidTopicId,
        ReturnCode::NotSupported,
        ReturnCode::Reserved(0x80),
    ] {
        let mut script = Script::new();
        script.connected(NODE, "a", false);
        script.subscribed(NODE, "#", QoS::AtLeastOnce);
        script.delivery(1, "t", "x", QoS::AtLeastOnce);
        script.delivery(2, "t", "y", QoS::AtLeastOnce);
        let (id, msg_id) = script.hears_register("t");
        script.says(NODE, &regack(id, msg_id, code));
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
        script.delivery(3, "t", "z", QoS::AtMostOnce);
        assert_eq!(script.drops(), [DropReason::NodeRefused; 3]);
        script.hears_nothing();
        // A.14: it may have changed its mind.
        script.connected(NODE, "a", false);
        script.delivery(0, "t", "z", QoS::AtMostOnce);
        script.accepts_register(NODE, "t");
        script.hears_publish("z", false);
    }
}

#[test]
fn puback_00_is_the_end_at_qos_1_and_at_qos_2() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut script, id, msg_id) = in_flight(qos);
        script.says(NODE, &puback(id, msg_id, ACCEPTED));
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
        script.wait(T_RETRY.saturating_mul(2));
        script.hears_nothing();
    }
}

#[test]
fn puback_01_pauses_everything_for_a_minute() {
    let (mut script, id, msg_id) = in_flight(QoS::AtLeastOnce);
    script.says(NODE, &puback(id, msg_id, ReturnCode::Congestion));
    script.delivery(0, "t", "y", QoS::AtMostOnce);
    script.wait(Duration::from_millis(59_999));
    script.hears_nothing();
    script.wait(Duration::from_millis(1));
    assert_eq!(script.accepts_publish(NODE, "x", true), msg_id);
    script.hears_publish("y", false);
}

#[test]
fn d38_puback_02_on_an_id_that_is_fixed_drops_and_alerts() {
    let short = TopicRef::Short(shared::wire::ShortName(*b"sh"));
    for (topic, name) in [
        (TopicRef::Predefined(TopicId(7)), "pre/seven"),
        (short, "sh"),
    ] {
        let mut script = Script::new();
        script.connected(NODE, "a", true);
        script.subscribed_to(NODE, topic, QoS::AtLeastOnce);
        script.delivery(1, name, "x", QoS::AtLeastOnce);
        let msg_id = script.hears_publish("x", false);
        script.notices();
        script.says(
            NODE,
            &puback(topic.topic_id(), msg_id, ReturnCode::InvalidTopicId),
        );
        script.hears_nothing();
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
        let unknown = |script: &mut Script| {
            let notices = script.notices();
            notices.contains(&Notice::UnknownFixedTopic {
                client_id: "a".into(),
                topic,
            })
        };
        assert!(unknown(&mut script));
        // The same at QoS 0.
        script.delivery(0, name, "y", QoS::AtMostOnce);
        script.hears_publish("y", false);
        let refusal = puback(topic.topic_id(), MsgId::NONE, ReturnCode::InvalidTopicId);
        script.says(NODE, &refusal);
        assert!(unknown(&mut script));
    }
}

#[test]
fn puback_03_drops_the_publication() {
    for code in [ReturnCode::NotSupported, ReturnCode::Reserved(7)] {
        let (mut script, id, msg_id) = in_flight(QoS::AtLeastOnce);
        script.says(NODE, &puback(id, msg_id, code));
        assert_eq!(script.drops(), [DropReason::NodeRefused]);
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
        script.hears_nothing();
    }
}

#[test]
fn puback_02_to_qos_0_unconfirms_the_id_it_names_whichever_was_last() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let first = script.subscribed(NODE, "t", QoS::AtMostOnce);
    let second = script.subscribed(NODE, "u", QoS::AtMostOnce);
    script.delivery(0, "t", "x", QoS::AtMostOnce);
    script.delivery(0, "u", "x", QoS::AtMostOnce);
    script.hears_publish("x", false);
    script.hears_publish("x", false);
    let unknown = |id| puback(id, MsgId::NONE, ReturnCode::InvalidTopicId);
    script.says(NODE, &unknown(first));
    script.says(NODE, &unknown(second));
    script.says(NODE, &unknown(TopicId(9)));
    script.delivery(0, "t", "y", QoS::AtMostOnce);
    assert_eq!(script.accepts_register(NODE, "t"), first);
    script.hears_publish("y", false);
    script.delivery(0, "u", "y", QoS::AtMostOnce);
    assert_eq!(script.accepts_register(NODE, "u"), second);
    script.hears_publish("y", false);
}

#[test]
fn answers_under_an_unknown_message_id_change_nothing() {
    let (mut script, id, msg_id) = in_flight(QoS::ExactlyOnce);
    let other = MsgId(msg_id.0 ^ 1);
    for code in [
        ACCEPTED,
        ReturnCode::Congestion,
        ReturnCode::InvalidTopicId,
        ReturnCode::NotSupported,
    ] {
        script.says(NODE, &puback(id, other, code));
        script.says(NODE, &regack(id, other, code));
    }
    script.says(NODE, &Message::PubComp(other));
    script.says(NODE, &Message::PubComp(msg_id));
    script.hears_nothing();
    script.says(NODE, &Message::PubRec(other));
    script.hears(NODE, &Message::PubRel(other));
    script.says(NODE, &Message::PubRel(other));
    script.hears(NODE, &Message::PubComp(other));
    script.requests_nothing();
    script.wait(T_RETRY);
    assert_eq!(script.hears_publish("x", true), msg_id);
}

#[test]
fn d18_pubrel_is_repeated_until_pubcomp() {
    let (mut script, _, msg_id) = in_flight(QoS::ExactlyOnce);
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.wait(T_RETRY);
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(NODE, &Message::PubComp(msg_id));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.says(NODE, &Message::PubComp(msg_id));
    script.requests_nothing();
}

#[test]
fn d18_register_is_repeated_as_it_was() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let first = script.hears_register("t");
    for _ in 0..3 {
        script.wait(T_RETRY);
        assert_eq!(script.hears_register("t"), first);
    }
    script.wait(T_RETRY);
    script.hears_nothing();
    assert!(script.notices().contains(&Notice::Unresponsive {
        client_id: "a".into()
    }));
}

#[test]
fn a_late_puback_is_taken_whatever_was_sent_since() {
    // While the id is told again after a reconnection.
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    script.connected(NODE, "a", false);
    let (_, register_id) = script.hears_register("t");
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.says(NODE, &regack(id, register_id, ACCEPTED));
    script.hears_nothing();
    // While the topic is repaired, of a transmission that was slow (D-38).
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    script.accepts_register(NODE, "t");
    let msg_id = script.hears_publish("y", false);
    script.says(NODE, &puback(id, msg_id, ReturnCode::InvalidTopicId));
    let (_, register_id) = script.hears_register("t");
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    script.says(NODE, &regack(id, register_id, ACCEPTED));
    script.wait(T_RETRY.saturating_mul(5));
    script.hears_nothing();
}

#[test]
fn d38_a_second_refusal_while_the_id_is_told_is_no_second_repair() {
    let (mut script, id, msg_id) = in_flight(QoS::ExactlyOnce);
    let unknown = puback(id, msg_id, ReturnCode::InvalidTopicId);
    script.says(NODE, &unknown);
    let first = script.hears_register("t");
    script.says(NODE, &unknown);
    script.hears_nothing();
    script.says(NODE, &regack(id, first.1, ACCEPTED));
    assert_eq!(script.hears_publish("x", true), msg_id);
}

#[test]
fn d38_a_repair_out_of_sleep_waits_for_the_wake_and_loses_no_pubrec() {
    let (mut script, id, msg_id) = in_flight(QoS::ExactlyOnce);
    script.asleep(NODE, 60);
    script.says(NODE, &puback(id, msg_id, ReturnCode::InvalidTopicId));
    script.hears_nothing();
    // The repetition that was under way has been taken after all.
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(NODE, &Message::PubComp(msg_id));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d18_a_try_is_not_counted_while_the_link_is_still_sending_the_first() {
    let (mut script, _, _) = in_flight(QoS::AtLeastOnce);
    let busy = script.now + Duration::from_secs(25);
    script.link(LinkId(0), LinkEvent::BusyUntil(busy));
    script.wait(Duration::from_secs(34));
    script.hears_nothing();
    assert_eq!(script.engine.stats().retransmissions, 0);
    script.wait(Duration::from_secs(1));
    script.hears_publish("x", true);
    assert_eq!(script.engine.stats().retransmissions, 1);
    // Others may keep the link busy for ever: the second time it is sent all the same.
    for _ in 0..12 {
        let busy = script.now + Duration::from_secs(15);
        script.link(LinkId(0), LinkEvent::BusyUntil(busy));
        script.wait(Duration::from_secs(5));
    }
    script.hears_publish("x", true);
}
