use super::*;

#[test]
fn a_wake_without_mail_is_two_messages() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.asleep(NODE, 3600);
    for _ in 0..5 {
        script.wait(Duration::from_secs(3600));
        script.says(NODE, &ping("a"));
        script.hears(NODE, &Message::PingResp);
    }
    script.hears_nothing();
}

#[test]
fn d22_pingresp_comes_after_everything_is_delivered_and_acknowledged() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 60);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(0, "t", "y", QoS::AtMostOnce);
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.hears_nothing();
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.hears_publish("y", false);
    script.hears(NODE, &Message::PingResp);
    script.delivery(2, "t", "z", QoS::AtLeastOnce);
    script.hears_nothing();
}

#[test]
fn d23_a_second_ping_repeats_what_is_in_flight_only() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 60);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &ping("a"));
    assert_eq!(script.hears_publish("x", true), msg_id);
    script.hears_nothing();
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.hears_publish("y", false);
}

#[test]
fn d24_a_stalled_wake_ends_without_pingresp_and_keeps_the_message() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 600);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    for _ in 0..3 {
        script.wait(T_RETRY);
        script.hears_publish("x", true);
    }
    script.wait(Duration::from_secs(300));
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    assert_eq!(script.hears_publish("x", true), msg_id);
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.hears(NODE, &Message::PingResp);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d20_a_duration_of_zero_is_a_plain_disconnect() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.asleep(NODE, 0);
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn d21_the_sleep_timer_starts_again_with_every_wake() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.asleep(NODE, 100);
    for _ in 0..3 {
        script.wait(Duration::from_secs(125));
        script.says(NODE, &ping("a"));
        script.hears(NODE, &Message::PingResp);
    }
    script.wait(Duration::from_secs(131));
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn d25_a_ping_without_name_wakes_as_well() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtMostOnce);
    script.asleep(NODE, 60);
    script.delivery(0, "t", "x", QoS::AtMostOnce);
    script.says(NODE, &ping(""));
    script.hears_publish("x", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d26_a_sleeper_may_publish_and_is_still_asleep() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "up");
    script.subscribed(NODE, "down", QoS::AtMostOnce);
    script.asleep(NODE, 60);
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1),
    );
    let sent = script.publishes("up", "x", QoS::AtLeastOnce);
    script.taken(sent);
    script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
    script.delivery(0, "down", "y", QoS::AtMostOnce);
    script.hears_nothing();
}

#[test]
fn d27_the_mailbox_is_bounded_and_what_is_left_comes_in_order() {
    let mut script = Script::with(|settings| settings.mailbox.messages_max = 3);
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 60);
    for n in 1..=5 {
        script.delivery(n, "t", &n.to_string(), QoS::AtLeastOnce);
    }
    // What did not fit is refused by policy, so the broker need not keep it.
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(4)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(5)));
    assert_eq!(
        script.drops(),
        [DropReason::MailboxFull, DropReason::MailboxFull]
    );
    script.says(NODE, &ping("a"));
    for n in 1..=3 {
        let msg_id = script.hears_publish(&n.to_string(), false);
        script.says(NODE, &puback(id, msg_id, ACCEPTED));
    }
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d12_a_clean_session_outlives_the_way_out_of_sleep() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 60);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.connected(NODE, "a", false);
    assert_eq!(script.accepts_register(NODE, "t"), id);
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    // It is not clean any more: what comes now is kept for it.
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    assert_eq!(script.engine.deliveries_held(), 1);
}

#[test]
fn d22_a_node_that_sleeps_without_our_knowing_gets_its_mail_before_pingresp() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 60);
    // A late repetition of CONNECT.
    script.connected(NODE, "a", false);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.hears_register("t");
    script.says(NODE, &ping("a"));
    assert_eq!(script.accepts_register(NODE, "t"), id);
    let msg_id = script.hears_publish("x", false);
    script.hears_nothing();
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    script.hears(NODE, &Message::PingResp);
    script.hears_nothing();
}

#[test]
fn a_regack_out_of_sleep_is_no_reason_to_publish_into_it() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut script = Script::new();
        script.connected(NODE, "a", true);
        script.subscribed(NODE, "#", QoS::AtLeastOnce);
        script.delivery(1, "t", "x", qos);
        let (id, msg_id) = script.hears_register("t");
        script.asleep(NODE, 60);
        script.says(NODE, &regack(id, msg_id, ACCEPTED));
        script.wait(Duration::from_secs(50));
        script.hears_nothing();
        script.says(NODE, &ping("a"));
        let msg_id = script.hears_publish("x", false);
        if qos == QoS::AtLeastOnce {
            script.says(NODE, &puback(id, msg_id, ACCEPTED));
        }
        script.hears(NODE, &Message::PingResp);
    }
}

#[test]
fn a_pubrec_out_of_sleep_is_answered_once() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::ExactlyOnce);
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    let msg_id = script.hears_publish("x", false);
    script.asleep(NODE, 60);
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.wait(Duration::from_secs(50));
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(NODE, &Message::PubComp(msg_id));
    script.hears(NODE, &Message::PingResp);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d31_a_sleeper_is_followed_to_its_new_place() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtMostOnce);
    script.asleep(NODE, 60);
    script.delivery(0, "t", "x", QoS::AtMostOnce);
    script.says(OTHER, &ping("a"));
    script.hears_publish("x", false);
    script.hears(OTHER, &Message::PingResp);
    script.says(NODE, &ping(""));
    script.hears(NODE, &disconnect(None));
}

#[test]
fn d31_an_active_node_does_not_move_by_a_ping() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(OTHER, &ping("a"));
    script.hears(OTHER, &disconnect(None));
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn sleep_can_be_repeated_changed_and_left() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    script.asleep(NODE, 60);
    script.asleep(NODE, 60);
    script.asleep(NODE, 1000);
    script.wait(Duration::from_secs(1050));
    script.connected(NODE, "a", false);
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn a_sleeper_that_never_comes_back_is_lost_with_its_will() {
    let mut script = Script::new();
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    let target = shared::wire::WillTarget {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: b"w",
    };
    script.says(NODE, &Message::WillTopic(Some(target)));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &Message::WillMsg(b"dead"));
    script.hears(NODE, &connack(ACCEPTED));
    script.asleep(NODE, 1000);
    script.wait(Duration::from_secs(1099));
    script.requests_nothing();
    script.wait(Duration::from_secs(2));
    script.publishes("w", "dead", QoS::AtMostOnce);
}

#[test]
fn a_pause_that_ends_during_sleep_does_not_spin() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ReturnCode::Congestion));
    script.asleep(NODE, 3600);
    script.wait(Duration::from_secs(3000));
    script.says(NODE, &ping("a"));
    assert_eq!(script.hears_publish("x", true), msg_id);
}

#[test]
fn a_gone_node_gets_its_qos_1_mail_when_it_returns() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(0, "t", "lost", QoS::AtMostOnce);
    script.requests_nothing();
    script.connected(NODE, "a", false);
    script.accepts_register(NODE, "t");
    script.hears_publish("x", false);
}

#[test]
fn sleepers_do_not_keep_the_broker_waiting_without_bound() {
    let mut script = Script::with(|settings| settings.unanswered_max = 2);
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 60);
    for n in 1..=3 {
        script.delivery(n, "t", &n.to_string(), QoS::AtLeastOnce);
    }
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests_nothing();
    assert_eq!(script.engine.stats().answered_early, 1);
    script.says(NODE, &ping("a"));
    for n in 1..=3_u64 {
        let msg_id = script.hears_publish(&n.to_string(), false);
        script.says(NODE, &puback(id, msg_id, ACCEPTED));
        if n > 1 {
            script.requests(&UpstreamRequest::Acknowledge(DeliveryId(n)));
        }
    }
    script.requests_nothing();
}
