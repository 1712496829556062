//! What a mailbox keeps, for how long, and in which order (D-27).

use super::*;

/// A sleeping node with a subscription to everything, under these limits.
fn sleeper(change: impl FnOnce(&mut Settings)) -> Script {
    let mut script = Script::with(change);
    script.connected(NODE, "a", true);
    for topic in ["t", "u", "high/b", "low/a", "b"] {
        script.subscribed(NODE, topic, QoS::AtLeastOnce);
    }
    script.asleep(NODE, 3600);
    script
}

fn expiring(script: &mut Script, id: u64, payload: &str, qos: QoS, secs: u64) {
    let id = (qos != QoS::AtMostOnce).then_some(DeliveryId(id));
    let delivery = Delivery {
        expiry: Some(Duration::from_secs(secs)),
        ..Delivery::new(id, publication("t", payload, qos, false))
    };
    script.upstream(UpstreamEvent::Delivery(delivery));
}

#[test]
fn d27_a_publication_expires_when_its_publisher_said_and_the_broker_is_told_then() {
    let mut script = sleeper(|_| {});
    expiring(&mut script, 1, "x", QoS::AtLeastOnce, 100);
    expiring(&mut script, 2, "y", QoS::AtLeastOnce, 200_000);
    script.wait(Duration::from_secs(99));
    script.requests_nothing();
    script.wait(Duration::from_secs(1));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    assert_eq!(script.drops(), [DropReason::MailboxExpired]);
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "y", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d27_the_mailbox_has_an_age_of_its_own() {
    let mut script = sleeper(|settings| settings.mailbox.age_max = Duration::from_secs(500));
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    expiring(&mut script, 2, "y", QoS::AtLeastOnce, 600);
    script.wait(Duration::from_secs(500));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    assert_eq!(script.drops(), [DropReason::MailboxAge; 2]);
}

#[test]
fn d27_an_active_node_is_sent_at_once_what_expires_at_once() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    expiring(&mut script, 1, "x", QoS::AtLeastOnce, 0);
    let msg_id = script.hears_publish("x", false);
    // What was begun goes on.
    script.wait(T_RETRY);
    assert_eq!(script.accepts_publish(NODE, "x", true), msg_id);
    assert_eq!(script.drops(), []);
}

#[test]
fn d27_what_was_sent_does_not_expire_and_what_was_not_does() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    expiring(&mut script, 1, "x", QoS::AtLeastOnce, 100);
    script.hears_register("t");
    script.asleep(NODE, 600);
    script.wait(Duration::from_secs(200));
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
    assert_eq!(script.drops(), [DropReason::MailboxExpired]);
    expiring(&mut script, 2, "y", QoS::AtLeastOnce, 100);
    script.says(NODE, &ping("a"));
    script.accepts_register(NODE, "t");
    script.hears_publish("y", false);
    script.wait(Duration::from_secs(300));
    while script.sent.pop_front().is_some() {}
    script.says(NODE, &ping("a"));
    script.accepts_publish(NODE, "y", true);
    assert_eq!(script.drops(), []);
}

#[test]
fn d27_what_waits_for_a_link_that_is_down_expires_all_the_same() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    expiring(&mut script, 1, "x", QoS::AtLeastOnce, 100);
    script.hears_register("t");
    expiring(&mut script, 2, "y", QoS::AtLeastOnce, 200);
    script.link(LinkId(0), LinkEvent::Down);
    expiring(&mut script, 3, "z", QoS::AtLeastOnce, 150);
    for (id, after) in [(1, 100), (3, 50), (2, 50)] {
        script.wait(Duration::from_secs(after - 1));
        script.requests_nothing();
        script.wait(Duration::from_secs(1));
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(id)));
    }
    assert_eq!(script.drops(), [DropReason::MailboxExpired; 3]);
    script.link(LinkId(0), LinkEvent::Up);
    script.hears_nothing();
}

#[test]
fn d27_no_qos_0_is_kept_for_a_sleeper_where_none_is_wanted_but_a_listener_gets_it() {
    let mut script = sleeper(|settings| settings.mailbox.qos0_max = 0);
    script.delivery(0, "t", "x", QoS::AtMostOnce);
    assert_eq!(script.drops(), [DropReason::MailboxFull]);
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
    script.connected(NODE, "a", false);
    script.registered(NODE, "t");
    script.delivery(0, "t", "y", QoS::AtMostOnce);
    script.hears_publish("y", false);
    script.registered(NODE, "u");
    script.delivery(1, "u", "z", QoS::AtLeastOnce);
    script.hears_publish("z", false);
    script.delivery(0, "t", "y2", QoS::AtMostOnce);
    script.hears_publish("y2", false);
}

#[test]
fn d27_of_each_topic_the_newest_at_qos_0_is_kept_where_asked_for() {
    let mut script = sleeper(|settings| settings.mailbox.conflate_qos0 = true);
    for n in 0..50 {
        script.delivery(0, "t", &format!("t{n}"), QoS::AtMostOnce);
        script.delivery(0, "u", &format!("u{n}"), QoS::AtMostOnce);
    }
    script.delivery(1, "t", "kept", QoS::AtLeastOnce);
    assert_eq!(script.drops(), [DropReason::MailboxConflated; 98]);
    script.says(NODE, &ping("a"));
    script.hears_publish("t49", false);
    script.hears_publish("u49", false);
    script.accepts_publish(NODE, "kept", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn a_conflated_publication_that_comes_back_makes_way_for_the_newer_one() {
    let mut script = Script::with(|settings| settings.mailbox.conflate_qos0 = true);
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtMostOnce);
    script.delivery(0, "t", "old", QoS::AtMostOnce);
    let (id, msg_id) = script.hears_register("t");
    script.asleep(NODE, 60);
    script.delivery(0, "t", "new", QoS::AtMostOnce);
    script.says(NODE, &regack(id, msg_id, ACCEPTED));
    script.says(NODE, &ping("a"));
    script.hears_publish("new", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d27_what_ends_with_a_clean_connect_is_settled() {
    let mut script = sleeper(|_| {});
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.delivery(2, "u", "y", QoS::AtLeastOnce);
    script.connected(NODE, "a", true);
    assert_eq!(script.engine.deliveries_held(), 0);
    script.hears_nothing();
}

#[test]
fn the_most_important_goes_first_whatever_came_first() {
    let mut script = sleeper(|settings| {
        settings.topic_priorities = vec![
            ("high/b".into(), Priority::High),
            ("high/#".into(), Priority::Low),
            ("low/#".into(), Priority::Low),
        ];
    });
    for (id, topic) in [
        (1, "low/a"),
        (2, "b"),
        (3, "high/b"),
        (4, "low/a"),
        (5, "high/b"),
    ] {
        script.delivery(id, topic, &id.to_string(), QoS::AtLeastOnce);
    }
    script.says(NODE, &ping("a"));
    for id in ["3", "5", "2", "1", "4"] {
        script.accepts_publish(NODE, id, false);
    }
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn priorities_read_anew_let_no_publication_overtake_one_of_its_topic() {
    let mut script = sleeper(|_| {});
    for n in 1..=3 {
        script.delivery(n, "t", &format!("t{n}"), QoS::AtLeastOnce);
        script.delivery(n + 10, "u", &format!("u{n}"), QoS::AtLeastOnce);
    }
    let mut settings = script.engine.settings.clone();
    settings.topic_priorities = vec![("u".into(), Priority::High)];
    let done = script.engine.reconfigure(script.now, settings);
    assert_eq!(done.sessions_kept, 1);
    script.delivery(4, "t", "t4", QoS::AtLeastOnce);
    script.delivery(14, "u", "u4", QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    for payload in ["u1", "u2", "u3", "u4", "t1", "t2", "t3", "t4"] {
        script.accepts_publish(NODE, payload, false);
    }
    script.hears(NODE, &Message::PingResp);
}
