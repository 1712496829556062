//! Rules of the standard that hold for every message.

use shared::wire::WireError;

use super::*;

#[test]
fn d01_a_datagram_that_is_no_message_costs_its_node_nothing() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let ping = [2, 0x16];
    let shorter = [3, 0x16];
    let two_at_once = [2, 0x16, 2, 0x16];
    let cut = [0x0b, 0x0c, 0x20, 0x00];
    for datagram in [&shorter[..], &two_at_once, &cut, &[0x01], &[]] {
        script.raw(NODE, datagram);
        script.hears_nothing();
        let reasons = script.drops();
        assert!(
            matches!(reasons[..], [DropReason::Malformed(_)]),
            "{datagram:02x?}: {reasons:?}"
        );
    }
    script.raw(NODE, &ping);
    script.hears(NODE, &Message::PingResp);
    assert_eq!(script.engine.sessions_len(), 1);
}

#[test]
fn d03_reserved_types_are_no_messages() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for kind in [0x03, 0x11, 0x19, 0x1e, 0x7f, 0xfd, 0xff] {
        script.raw(NODE, &[2, kind]);
        script.hears_nothing();
        assert_eq!(
            script.drops(),
            [DropReason::Malformed(WireError::Type(kind))]
        );
    }
}

#[test]
fn d04_any_other_return_code_of_a_node_reads_as_not_supported() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ReturnCode::Reserved(0x80)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    assert_eq!(script.drops(), [DropReason::NodeRefused]);
    script.wait(T_RETRY.saturating_mul(4));
    script.hears_nothing();
}

#[test]
fn d06_normal_predefined_and_short_ids_are_three_spaces() {
    let mut script = Script::with(|settings| {
        settings.predefined.insert(TopicId(1025), "pre".into());
    });
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "own");
    assert_eq!(id, TopicId(1025));
    // The same two octets, read as a short name.
    let short = shared::wire::ShortName([0x04, 0x01]);
    for (topic, name) in [
        (TopicRef::Normal(id), "own"),
        (TopicRef::Predefined(id), "pre"),
        (TopicRef::Short(short), "\u{4}\u{1}"),
    ] {
        script.says(NODE, &publish(topic, "x", QoS::AtMostOnce, 0));
        script.publishes(name, "x", QoS::AtMostOnce);
    }
    script.connected(OTHER, "b", true);
    assert_eq!(script.registered(OTHER, "another"), id);
    script.says(
        OTHER,
        &publish(TopicRef::Normal(id), "x", QoS::AtMostOnce, 0),
    );
    script.publishes("another", "x", QoS::AtMostOnce);
}

#[test]
fn d32_the_broker_waits_for_so_many_answers_and_no_more() {
    let mut script = Script::with(|settings| settings.unanswered_max = 2);
    script.connected(NODE, "a", false);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    for id in 1..=2 {
        script.delivery(id, "t", "x", QoS::AtLeastOnce);
        script.requests_nothing();
    }
    script.delivery(3, "t", "x", QoS::AtLeastOnce);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests_nothing();
    assert_eq!(script.engine.stats().answered_early, 1);
}

#[test]
fn d47_a_node_whose_session_is_unknown_is_told_so_and_connects_again() {
    let mut script = Script::new();
    let reading = publish(TopicRef::Normal(TopicId(1025)), "x", QoS::AtLeastOnce, 9);
    script.says(NODE, &reading);
    script.hears(NODE, &disconnect(None));
    script.requests_nothing();
    script.connected(NODE, "a", false);
    let id = script.registered(NODE, "t");
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 10),
    );
    script.publishes("t", "x", QoS::AtLeastOnce);
}
