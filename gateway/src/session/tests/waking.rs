//! What happens in a wake, and between two (D-21 to D-26).

use super::*;

fn sleeper(qos: QoS) -> (Script, TopicId) {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", qos);
    script.asleep(NODE, 600);
    (script, id)
}

#[test]
fn d22_pingresp_waits_for_qos_2_to_its_end() {
    let (mut script, _) = sleeper(QoS::ExactlyOnce);
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.hears_nothing();
    script.says(NODE, &Message::PubComp(msg_id));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d22_a_wake_sends_as_much_as_is_allowed_and_the_rest_comes_next_time() {
    let mut script = Script::with(|settings| {
        settings.topic_priorities = vec![("alarm/#".into(), Priority::High)];
    });
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.subscribed(NODE, "alarm/1", QoS::AtLeastOnce);
    script.rule("a", |rule| rule.awake_messages_max = Some(2));
    script.asleep(NODE, 600);
    script.delivery(1, "t", "1", QoS::AtLeastOnce);
    script.delivery(0, "t", "2", QoS::AtMostOnce);
    script.delivery(3, "t", "3", QoS::AtLeastOnce);
    script.delivery(4, "alarm/1", "4", QoS::AtLeastOnce);
    for wake in [["4", "1"], ["2", "3"]] {
        script.says(NODE, &ping("a"));
        for payload in wake {
            let msg_id = script.hears_publish(payload, false);
            if msg_id != MsgId::NONE {
                script.hears_nothing();
                script.says(NODE, &puback(TopicId::NONE, msg_id, ACCEPTED));
            }
        }
        script.hears(NODE, &Message::PingResp);
        script.hears_nothing();
    }
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
    assert_eq!(script.drops(), []);
}

#[test]
fn d22_what_was_under_way_counts_in_the_next_wake() {
    let (mut script, _) = sleeper(QoS::ExactlyOnce);
    script.rule("a", |rule| rule.awake_messages_max = Some(1));
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    script.delivery(2, "t", "y", QoS::ExactlyOnce);
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.asleep(NODE, 600);
    script.says(NODE, &ping("a"));
    assert_eq!(script.hears_publish("x", true), msg_id);
    // A second ping is the same wake.
    script.says(NODE, &ping("a"));
    assert_eq!(script.hears_publish("x", true), msg_id);
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.asleep(NODE, 600);
    // Its end is no publication.
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(NODE, &Message::PubComp(msg_id));
    script.hears_publish("y", false);
}

#[test]
fn d22_a_repetition_is_one_of_what_a_wake_may_send() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.rule("a", |rule| rule.awake_messages_max = Some(1));
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    script.hears_publish("x", false);
    script.asleep(NODE, 600);
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "x", true);
    script.hears(NODE, &Message::PingResp);
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "y", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d22_what_comes_during_a_wake_is_part_of_it() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    script.says(NODE, &puback(TopicId::NONE, msg_id, ACCEPTED));
    script.accepts_publish(NODE, "y", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d23_pings_without_end_are_no_way_around_three_rounds() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    let mut sent = 0;
    while script.drops().is_empty() {
        script.says(NODE, &ping("a"));
        sent += 1;
        assert!(sent <= 20, "the node is sent the same for ever");
        script.wait(Duration::from_secs(1));
    }
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    assert_eq!(sent, 13);
}

#[test]
fn d24_three_stalled_wakes_end_a_publication_and_the_next_one_goes_on() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    for wake in 0..3 {
        assert_eq!(script.drops(), [], "in wake {wake}");
        script.says(NODE, &ping("a"));
        for repetition in 0..4 {
            script.hears_publish("x", wake > 0 || repetition > 0);
            script.wait(T_RETRY);
        }
        script.hears_nothing();
    }
    assert_eq!(script.drops(), [DropReason::Unacknowledged]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "y", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d24_the_sleep_timer_starts_again_with_the_stall() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(500));
    script.says(NODE, &ping("a"));
    script.wait(T_RETRY.saturating_mul(4));
    script.wait(Duration::from_secs(659));
    assert_eq!(script.engine.sessions_len(), 1);
    script.wait(Duration::from_secs(2));
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn the_duration_is_renewed_asleep_and_awake_and_the_mail_stays() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "t", "y", QoS::AtLeastOnce);
    script.asleep(NODE, 1000);
    script.wait(Duration::from_secs(1050));
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.asleep(NODE, 2000);
    // It does not listen any more, and the acknowledgement comes all the same.
    script.wait(Duration::from_secs(1000));
    script.hears_nothing();
    script.says(NODE, &puback(TopicId::NONE, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.hears_nothing();
    script.wait(Duration::from_secs(2150));
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "y", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d26_a_sleeper_may_ask_for_everything_and_stays_asleep() {
    let (mut script, id) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let still_asleep = |script: &mut Script| {
        script.hears_nothing();
        // The sleep timer has started again.
        script.wait(Duration::from_secs(600));
    };
    script.wait(Duration::from_secs(600));
    assert_ne!(script.registered(NODE, "up"), id);
    still_asleep(&mut script);
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "p", QoS::ExactlyOnce, 9),
    );
    let sent = script.publishes("t", "p", QoS::ExactlyOnce);
    script.taken(sent);
    script.hears(NODE, &Message::PubRec(MsgId(9)));
    script.says(NODE, &Message::PubRel(MsgId(9)));
    script.hears(NODE, &Message::PubComp(MsgId(9)));
    still_asleep(&mut script);
    script.subscribed(NODE, "u", QoS::AtLeastOnce);
    still_asleep(&mut script);
    script.delivery(2, "u", "y", QoS::AtLeastOnce);
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "x", false);
    script.accepts_publish(NODE, "y", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d25_a_ping_without_name_in_a_wake_repeats_what_is_in_flight() {
    let (mut script, _) = sleeper(QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.says(NODE, &ping(""));
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &ping(""));
    assert_eq!(script.accepts_publish(NODE, "x", true), msg_id);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d31_what_was_acknowledged_is_not_sent_again_at_the_new_place() {
    let (mut script, _) = sleeper(QoS::ExactlyOnce);
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    script.delivery(2, "t", "y", QoS::ExactlyOnce);
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &Message::PubRec(msg_id));
    script.hears(NODE, &Message::PubRel(msg_id));
    script.says(OTHER, &ping("a"));
    script.hears(OTHER, &Message::PubRel(msg_id));
    script.says(OTHER, &Message::PubComp(msg_id));
    let second = script.hears_publish("y", false);
    script.says(OTHER, &Message::PubComp(msg_id));
    script.says(OTHER, &Message::PubRec(msg_id));
    script.hears(OTHER, &Message::PubRel(msg_id));
    script.hears_nothing();
    script.says(OTHER, &Message::PubRec(second));
    script.hears(OTHER, &Message::PubRel(second));
    script.says(OTHER, &Message::PubComp(second));
    script.hears(OTHER, &Message::PingResp);
    assert_eq!(script.engine.deliveries_held(), 0);
}
