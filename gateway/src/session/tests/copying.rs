//! Overlapping subscriptions, the copies a broker sends for them, and retained messages (D-16).

use super::*;

fn copy(script: &mut Script, id: u64, topic: &str, qos: QoS, retain: bool, filters: &[&str]) {
    let id = (qos != QoS::AtMostOnce).then_some(DeliveryId(id));
    let delivery = Delivery {
        filters: filters.iter().map(|filter| Arc::from(*filter)).collect(),
        ..Delivery::new(id, publication(topic, "x", qos, retain))
    };
    script.upstream(UpstreamEvent::Delivery(delivery));
}

fn hears_qos(script: &mut Script) -> (QoS, MsgId) {
    script.hears_some(|message| match message {
        Message::Publish(publish) => Some((publish.qos, publish.msg_id)),
        _ => None,
    })
}

#[test]
fn overlapping_subscriptions_are_delivered_once_at_the_highest_granted_qos() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "a/b", QoS::AtMostOnce);
    script.subscribed(NODE, "a/+", QoS::AtLeastOnce);
    script.subscribed(NODE, "#", QoS::AtMostOnce);
    script.delivery(1, "a/b", "x", QoS::ExactlyOnce);
    assert_eq!(hears_qos(&mut script).0, QoS::AtLeastOnce);
    script.hears_nothing();
}

#[test]
fn of_copies_for_overlapping_subscriptions_each_node_gets_one() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    script.subscribed(NODE, "a/b", QoS::AtMostOnce);
    script.subscribed(NODE, "a/+", QoS::AtLeastOnce);
    script.subscribed(OTHER, "a/b", QoS::AtMostOnce);
    // The broker grants each filter what its keenest node asked for.
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, false, &["a/b"]);
    assert_eq!(hears_qos(&mut script).0, QoS::AtMostOnce);
    script.hears_nothing();
    copy(&mut script, 1, "a/b", QoS::AtLeastOnce, false, &["a/+"]);
    let (qos, msg_id) = hears_qos(&mut script);
    assert_eq!(qos, QoS::AtLeastOnce);
    script.hears_nothing();
    script.requests_nothing();
    script.says(NODE, &puback(TopicId::NONE, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    // One copy for both.
    copy(
        &mut script,
        2,
        "a/b",
        QoS::AtLeastOnce,
        false,
        &["a/+", "a/b"],
    );
    assert_ne!(hears_qos(&mut script), hears_qos(&mut script));
    // Nobody's copy is settled at once.
    copy(&mut script, 3, "a/b", QoS::AtLeastOnce, false, &["a/#"]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(3)));
}

#[test]
fn a_subscription_that_is_not_granted_yet_takes_no_copy_from_another() {
    let mut script = Script::new();
    script.connected(OTHER, "b", true);
    script.subscribed(OTHER, "a/b", QoS::AtLeastOnce);
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "a/#", QoS::AtMostOnce);
    script.says(NODE, &subscribe("a/b", QoS::AtLeastOnce, 5));
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, false, &["a/#"]);
    script.upstream(UpstreamEvent::Subscribed {
        filter: "a/b".into(),
        result: Ok(QoS::AtLeastOnce),
    });
    script.hears_some(|message| matches!(message, Message::SubAck(_)).then_some(()));
    assert_eq!(hears_qos(&mut script).0, QoS::AtMostOnce);
    script.hears_nothing();
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, false, &["a/#"]);
    script.hears_nothing();
}

/// A node asks for filters that the broker has not granted yet.
fn asking(filters: &[(&str, QoS)]) -> Script {
    let mut script = Script::new();
    script.says(OTHER, &endless("b"));
    script.hears(OTHER, &connack(ACCEPTED));
    script.subscribed(OTHER, "a/b", QoS::AtMostOnce);
    // The other node's own wish is over.
    script.wait(Duration::from_secs(120));
    script.connected(NODE, "a", true);
    for (n, (filter, qos)) in (5..).zip(filters) {
        script.says(NODE, &subscribe(filter, *qos, n));
    }
    script
}

fn granted(script: &mut Script, filter: &str, result: Result<QoS, Refusal>) {
    let filter = filter.into();
    script.upstream(UpstreamEvent::Subscribed { filter, result });
    script.hears_some(|message| matches!(message, Message::SubAck(_)).then_some(()));
}

#[test]
fn d16_of_retained_copies_the_best_wish_is_fulfilled_once() {
    let mut script = asking(&[("a/#", QoS::AtMostOnce), ("a/b", QoS::AtLeastOnce)]);
    granted(&mut script, "a/#", Ok(QoS::AtMostOnce));
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, true, &["a/#"]);
    granted(&mut script, "a/b", Ok(QoS::AtLeastOnce));
    script.hears_nothing();
    copy(&mut script, 1, "a/b", QoS::AtLeastOnce, true, &["a/b"]);
    let (qos, msg_id) = hears_qos(&mut script);
    assert_eq!(qos, QoS::AtLeastOnce);
    script.says(NODE, &puback(TopicId::NONE, msg_id, ACCEPTED));
    // Another node's wish makes the broker send it again.
    copy(&mut script, 2, "a/b", QoS::AtLeastOnce, true, &["a/b"]);
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, true, &["a/#"]);
    script.hears_nothing();
}

#[test]
fn d16_a_refused_wish_takes_nothing_from_another() {
    let mut script = asking(&[("a/#", QoS::AtMostOnce), ("a/b", QoS::AtLeastOnce)]);
    granted(&mut script, "a/b", Err(Refusal::Denied(0x87)));
    granted(&mut script, "a/#", Ok(QoS::AtMostOnce));
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, true, &["a/#"]);
    script.hears_register("a/b");
}

#[test]
fn d16_a_live_publication_with_a_retained_one_under_way_goes_to_everybody() {
    let mut script = asking(&[("a/b", QoS::AtMostOnce)]);
    granted(&mut script, "a/b", Ok(QoS::AtMostOnce));
    copy(&mut script, 0, "a/b", QoS::AtMostOnce, true, &[]);
    let retained = script.hears_some(|message| match message {
        Message::Publish(publish) => Some(publish.retain),
        _ => None,
    });
    assert!(retained);
    script.hears_nothing();
    script.delivery(0, "a/b", "live", QoS::AtMostOnce);
    script.hears_publish("live", false);
    script.hears_publish("live", false);
    script.hears_nothing();
}
