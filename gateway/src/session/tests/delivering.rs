use super::*;

#[test]
fn exact_subscription_is_published_on_the_id_of_its_suback() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "cmd/a", QoS::AtLeastOnce);
    script.delivery(1, "cmd/a", "go", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("go", false);
    script.requests_nothing();
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn wildcard_matches_are_registered_once_before_they_are_published() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "cmd/#", QoS::ExactlyOnce);
    script.delivery(1, "cmd/a", "one", QoS::ExactlyOnce);
    script.accepts_register(NODE, "cmd/a");
    let msg_id = script.hears_publish("one", false);
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.requests_nothing();
    script.says(NODE, &Message::PubComp(msg_id));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.delivery(2, "cmd/a", "two", QoS::AtMostOnce);
    script.hears_publish("two", false);
    script.hears_nothing();
}

#[test]
fn one_exchange_at_a_time_in_order() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    for n in 1..=3 {
        script.delivery(n, "t", &n.to_string(), QoS::AtLeastOnce);
    }
    for n in 1..=3_u64 {
        let msg_id = script.hears_publish(&n.to_string(), false);
        script.hears_nothing();
        script.says(NODE, &puback(id, msg_id, ACCEPTED));
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(n)));
    }
}

#[test]
fn the_broker_is_answered_when_the_last_node_has_it_and_at_once_for_nobody() {
    let mut script = Script::new();
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    let a = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.subscribed(OTHER, "t", QoS::AtMostOnce);
    script.delivery(2, "t", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    assert_eq!(script.hears_publish("x", false), MsgId::NONE);
    script.requests_nothing();
    script.says(NODE, &puback(a, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    assert_eq!(script.engine.deliveries_held(), 0);
}

#[test]
fn d16_retained_messages_follow_the_suback_and_go_to_who_asked() {
    let mut script = Script::new();
    script.connected(OTHER, "b", true);
    script.subscribed(OTHER, "t", QoS::AtMostOnce);
    script.connected(NODE, "a", true);
    script.says(NODE, &subscribe("t", QoS::AtMostOnce, 5));
    script.requests(&UpstreamRequest::Subscribe {
        filter: "t".into(),
        qos: QoS::AtMostOnce,
    });
    let retained = publication("t", "kept", QoS::AtMostOnce, true);
    script.upstream(UpstreamEvent::Delivery(Delivery::new(
        None,
        retained.clone(),
    )));
    // The first subscriber's wish is still open: it asked just before.
    assert_eq!(script.hears_publish("kept", false), MsgId::NONE);
    script.hears_nothing();
    script.upstream(UpstreamEvent::Subscribed {
        filter: "t".into(),
        result: Ok(QoS::AtMostOnce),
    });
    script.hears_some(|message| matches!(message, Message::SubAck(_)).then_some(()));
    script.hears_publish("kept", false);
    script.upstream(UpstreamEvent::Delivery(Delivery::new(None, retained)));
    script.hears_nothing();
}

#[test]
fn d18_silence_leads_to_repetitions_then_patience_then_resumption() {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(86_400));
    script.says(
        NODE,
        &Message::Connect(Connect {
            will: false,
            clean: true,
            protocol_id: 1,
            duration_s: 0,
            client_id: b"a",
        }),
    );
    script.hears(NODE, &connack(ACCEPTED));
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    for _ in 0..3 {
        script.wait(T_RETRY);
        assert_eq!(script.hears_publish("x", true), msg_id);
    }
    script.wait(Duration::from_secs(3600));
    script.hears_nothing();
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    assert_eq!(script.hears_publish("x", true), msg_id);
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d18_three_failed_rounds_end_a_publication() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    for round in 1..=3 {
        script.wait(Duration::from_secs(41));
        script.says(NODE, &ping(""));
        let repeats = script
            .sent
            .iter()
            .filter(|(_, datagram)| datagram[1] == 0x0c)
            .count();
        assert!(repeats >= 4 || round == 3, "{repeats} in round {round}");
        script.sent.clear();
    }
    assert_eq!(script.drops(), [DropReason::Unacknowledged]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d37_a_refused_topic_is_not_offered_again() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    script.delivery(3, "u", "z", QoS::AtMostOnce);
    let (id, msg_id) = script.hears_register("t");
    script.says(NODE, &regack(id, msg_id, ReturnCode::NotSupported));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    script.accepts_register(NODE, "u");
    script.hears_publish("z", false);
    script.delivery(4, "t", "x", QoS::AtLeastOnce);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(4)));
    script.hears_nothing();
}

#[test]
fn d38_an_unknown_id_is_registered_again_and_published_under_a_new_message_id() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let first = script.hears_publish("x", false);
    script.says(NODE, &puback(id, first, ReturnCode::InvalidTopicId));
    assert_eq!(script.accepts_register(NODE, "t"), id);
    let second = script.hears_publish("x", false);
    assert_ne!(first, second);
    script.says(NODE, &puback(id, second, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d38_a_repaired_qos_2_publication_is_still_the_same() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::ExactlyOnce);
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ReturnCode::InvalidTopicId));
    script.accepts_register(NODE, "t");
    assert_eq!(script.hears_publish("x", true), msg_id);
}

#[test]
fn d38_a_node_that_never_learns_the_id_does_not_loop() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    for _ in 0..3 {
        let msg_id = script.hears_publish("x", false);
        script.says(NODE, &puback(id, msg_id, ReturnCode::InvalidTopicId));
        script.accepts_register(NODE, "t");
    }
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ReturnCode::InvalidTopicId));
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::NodeRefused]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn an_unknown_id_at_qos_0_is_registered_before_the_next_one() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtMostOnce);
    script.delivery(0, "t", "x", QoS::AtMostOnce);
    script.hears_publish("x", false);
    script.says(NODE, &puback(id, MsgId::NONE, ReturnCode::InvalidTopicId));
    script.delivery(0, "t", "y", QoS::AtMostOnce);
    script.accepts_register(NODE, "t");
    script.hears_publish("y", false);
}

#[test]
fn congestion_at_the_node_pauses_and_loses_nothing() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ReturnCode::Congestion));
    script.wait(Duration::from_secs(59));
    script.hears_nothing();
    script.wait(Duration::from_secs(2));
    assert_eq!(script.hears_publish("x", true), msg_id);
}

#[test]
fn d41_what_does_not_fit_the_link_is_dropped_and_acknowledged() {
    let mut script = Script::with(|settings| settings.links[0].mtu = 40);
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(1, "t", &"x".repeat(34), QoS::AtLeastOnce);
    script.delivery(2, &"n".repeat(35), "x", QoS::AtLeastOnce);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    assert_eq!(script.drops(), [DropReason::TooLong, DropReason::TooLong]);
    script.delivery(3, "t", &"x".repeat(33), QoS::AtLeastOnce);
    script.accepts_register(NODE, "t");
    script.hears_publish(&"x".repeat(33), false);
}

#[test]
fn after_a_reconnection_ids_are_told_again_and_the_exchange_goes_on() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.subscribed(NODE, "t", QoS::ExactlyOnce);
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    let msg_id = script.hears_publish("x", false);
    script.says(OTHER, &connect("a", false, false));
    script.hears(NODE, &disconnect(None));
    script.hears(OTHER, &connack(ACCEPTED));
    assert_eq!(script.accepts_register(OTHER, "t"), id);
    // The same message id and DUP, so that a node which has it already does not take it twice.
    assert_eq!(script.hears_publish("x", true), msg_id);
    script.says(OTHER, &Message::PubRec(msg_id));
    script.hears(OTHER, &Message::PubRel(msg_id));
}

#[test]
fn a_pubrec_that_crosses_the_new_register_is_the_answer() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    script.subscribed(NODE, "t", QoS::ExactlyOnce);
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    let msg_id = script.hears_publish("x", false);
    script.connected(NODE, "a", false);
    let (id, register_id) = script.hears_register("t");
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(NODE, &regack(id, register_id, ACCEPTED));
    script.hears_nothing();
    script.says(NODE, &Message::PubComp(msg_id));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn what_was_never_granted_ends_with_the_connection() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(NODE, &subscribe("t", QoS::AtLeastOnce, 5));
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    // Another node, in the place that the first one left.
    script.connected(OTHER, "b", true);
    script.upstream(UpstreamEvent::Subscribed {
        filter: "t".into(),
        result: Ok(QoS::AtLeastOnce),
    });
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.hears_nothing();
    script.requests(&UpstreamRequest::Subscribe {
        filter: "t".into(),
        qos: QoS::AtLeastOnce,
    });
    script.requests(&UpstreamRequest::Unsubscribe { filter: "t".into() });
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn acknowledgements_nobody_waits_for_are_harmless() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(NODE, &puback(TopicId(1), MsgId(1), ACCEPTED));
    script.says(NODE, &Message::PubComp(MsgId(1)));
    script.says(NODE, &regack(TopicId(1), MsgId(1), ACCEPTED));
    script.hears_nothing();
    script.says(NODE, &Message::PubRec(MsgId(1)));
    script.hears(NODE, &Message::PubRel(MsgId(1)));
}
