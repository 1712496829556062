use shared::wire::WillTarget;

use super::*;

pub(super) fn will_topic(topic: &str) -> Message<'_> {
    let target = WillTarget {
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: topic.as_bytes(),
    };
    Message::WillTopic(Some(target))
}

pub(super) fn connected_with_will(
    script: &mut Script,
    from: Binding,
    client_id: &str,
    clean: bool,
) {
    script.says(from, &connect(client_id, clean, true));
    script.hears(from, &Message::WillTopicReq);
    script.says(from, &will_topic("s/lwt"));
    script.hears(from, &Message::WillMsgReq);
    script.says(from, &Message::WillMsg(b"offline"));
    script.hears(from, &connack(ACCEPTED));
}

#[test]
fn will_is_published_when_the_node_falls_silent_and_not_when_it_leaves() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.wait(Duration::from_secs(89));
    script.requests_nothing();
    script.wait(Duration::from_secs(2));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
    assert_eq!(script.engine.sessions_len(), 0);

    connected_with_will(&mut script, NODE, "b", true);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(1000));
    script.requests_nothing();
}

#[test]
fn stored_will_applies_again_after_resuming_without_one() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.connected(NODE, "a", false);
    script.wait(Duration::from_secs(91));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn clean_connect_deletes_the_stored_will() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.connected(NODE, "a", true);
    script.wait(Duration::from_secs(91));
    script.requests_nothing();
}

#[test]
fn empty_will_topic_deletes_the_will_and_connects() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.says(NODE, &connect("a", false, true));
    script.hears(NODE, &connack(ACCEPTED)); // D-10: the very same CONNECT
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.says(NODE, &connect("a", false, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &Message::WillTopic(None));
    script.hears(NODE, &connack(ACCEPTED));
    script.wait(Duration::from_secs(91));
    script.requests_nothing();
}

#[test]
fn will_topic_that_is_none_is_refused() {
    for topic in ["", "a/#", "a\u{0}"] {
        let mut script = Script::new();
        script.says(NODE, &connect("a", true, true));
        script.hears(NODE, &Message::WillTopicReq);
        script.says(NODE, &will_topic(topic));
        script.hears(NODE, &connack(ReturnCode::NotSupported));
    }
}

#[test]
fn shutdown_tells_who_listens_and_publishes_no_will() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.connected(OTHER, "b", true);
    script.says(OTHER, &disconnect(Some(60)));
    script.hears(OTHER, &disconnect(None));
    script.engine.shutdown();
    script.drain();
    script.hears(NODE, &disconnect(None));
    script.hears_nothing();
    script.requests_nothing();
}

const fn answer(return_code: ReturnCode) -> ConnAck {
    ConnAck { return_code }
}

const fn updated_topic(topic: &str) -> Message<'_> {
    let target = WillTarget {
        qos: QoS::ExactlyOnce,
        retain: false,
        topic: topic.as_bytes(),
    };
    Message::WillTopicUpd(Some(target))
}

fn changes_topic(script: &mut Script, topic: &str) {
    script.says(NODE, &updated_topic(topic));
    script.hears(NODE, &Message::WillTopicResp(answer(ACCEPTED)));
}

fn changes_message(script: &mut Script, message: &str) {
    script.says(NODE, &Message::WillMsgUpd(message.as_bytes()));
    script.hears(NODE, &Message::WillMsgResp(answer(ACCEPTED)));
}

#[test]
fn d33_will_updates_come_in_any_order_and_count_together() {
    for topic_first in [true, false] {
        let mut script = Script::new();
        script.connected(NODE, "a", true);
        if topic_first {
            changes_topic(&mut script, "w");
            changes_message(&mut script, "gone");
        } else {
            changes_message(&mut script, "gone");
            changes_topic(&mut script, "w");
        }
        script.wait(Duration::from_secs(91));
        script.publishes("w", "gone", QoS::ExactlyOnce);
        script.requests_nothing();
    }
}

#[test]
fn d33_half_a_will_is_none() {
    for topic in [true, false] {
        let mut script = Script::new();
        script.connected(NODE, "a", true);
        if topic {
            changes_topic(&mut script, "w");
        } else {
            changes_message(&mut script, "gone");
        }
        script.wait(Duration::from_secs(91));
        assert_eq!(script.engine.sessions_len(), 0);
        script.requests_nothing();
    }
}

#[test]
fn d33_an_update_changes_its_part_only_and_may_be_repeated() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    changes_message(&mut script, "changed");
    changes_message(&mut script, "changed");
    script.wait(Duration::from_secs(91));
    script.publishes("s/lwt", "changed", QoS::AtLeastOnce);

    connected_with_will(&mut script, NODE, "a", true);
    changes_topic(&mut script, "other");
    changes_topic(&mut script, "other");
    script.wait(Duration::from_secs(91));
    script.publishes("other", "offline", QoS::ExactlyOnce);
}

#[test]
fn d33_an_empty_update_deletes_both_parts() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    for _ in 0..2 {
        script.says(NODE, &Message::WillTopicUpd(None));
        script.hears(NODE, &Message::WillTopicResp(answer(ACCEPTED)));
    }
    // The message of before does not come back with a new topic.
    changes_topic(&mut script, "w");
    script.wait(Duration::from_secs(91));
    script.requests_nothing();
}

#[test]
fn d33_an_update_with_a_topic_that_is_none_is_refused_and_changes_nothing() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    for topic in ["", "a/+", "a\u{0}"] {
        script.says(NODE, &updated_topic(topic));
        let refused = answer(ReturnCode::NotSupported);
        script.hears(NODE, &Message::WillTopicResp(refused));
    }
    script.wait(Duration::from_secs(91));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn d33_mode_off_refuses_updates_and_keeps_the_will_of_connect() {
    let mut script = Script::with(|settings| settings.wills = WillMode::Off);
    connected_with_will(&mut script, NODE, "a", true);
    let refused = answer(ReturnCode::NotSupported);
    script.says(NODE, &updated_topic("w"));
    script.hears(NODE, &Message::WillTopicResp(refused));
    script.says(NODE, &Message::WillTopicUpd(None));
    script.hears(NODE, &Message::WillTopicResp(refused));
    script.says(NODE, &Message::WillMsgUpd(b"x"));
    script.hears(NODE, &Message::WillMsgResp(refused));
    script.wait(Duration::from_secs(91));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn d33_a_sleeper_may_change_its_will() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    changes_message(&mut script, "overslept");
    script.wait(Duration::from_secs(661));
    script.publishes("s/lwt", "overslept", QoS::AtLeastOnce);
}

#[test]
fn will_stays_armed_in_sleep_and_goes_with_its_end() {
    // A.19, rows 18 and 27
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(659));
    script.requests_nothing();
    script.wait(Duration::from_secs(2));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);

    connected_with_will(&mut script, NODE, "b", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(5000));
    script.requests_nothing();
}

#[test]
fn a_new_will_takes_the_place_of_the_stored_one() {
    // A.7: clean = 0, Will = 1
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    let id = script.registered(NODE, "t");
    script.says(NODE, &connect("a", false, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &will_topic("new"));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &Message::WillMsg(b""));
    script.hears(NODE, &connack(ACCEPTED));
    assert_eq!(script.registered(NODE, "t"), id);
    script.wait(Duration::from_secs(91));
    script.publishes("new", "", QoS::AtLeastOnce);
}

#[test]
fn the_will_of_a_node_that_was_lost_applies_again_when_it_returns() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    for _ in 0..2 {
        script.wait(Duration::from_secs(91));
        script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
        script.wait(Duration::from_secs(1000));
        script.requests_nothing();
        script.connected(NODE, "a", false);
    }
}

#[test]
fn d11_a_node_that_is_asked_for_its_will_is_not_lost_meanwhile() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.wait(Duration::from_secs(89));
    script.says(NODE, &connect("a", false, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.wait(Duration::from_secs(5));
    script.requests_nothing();
    script.says(NODE, &will_topic("w"));
    script.hears(NODE, &Message::WillMsgReq);
}

#[test]
fn d11_a_handshake_that_takes_long_keeps_the_older_session() {
    let mut script = Script::with(|settings| settings.links[0].n_retry = 8);
    connected_with_will(&mut script, NODE, "a", false);
    script.says(NODE, &connect("a", true, true));
    let steps = [
        will_topic("w"),
        Message::WillMsg(b"x"),
        connect("a", true, true),
    ];
    for step in steps {
        script.wait(Duration::from_secs(75));
        script.sent.clear();
        script.says(NODE, &step);
    }
    // The last one was the CONNECT once more, because its answer might be lost (D-10).
    script.hears(NODE, &connack(ACCEPTED));
    script.wait(Duration::from_secs(60 + 80 - 1));
    script.requests_nothing();
    script.wait(Duration::from_secs(1));
    script.publishes("w", "x", QoS::AtLeastOnce);
}

#[test]
fn a_connect_without_will_ends_the_handshake_before_it() {
    let mut script = Script::new();
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.connected(NODE, "a", true);
    script.wait(Duration::from_secs(60));
    script.hears_nothing();
    script.says(NODE, &will_topic("w"));
    script.hears_nothing();
}

#[test]
fn a_moved_sleeper_makes_nobody_lost_that_sleeps_at_its_new_address() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.connected(OTHER, "b", true);
    script.says(OTHER, &disconnect(Some(600)));
    script.hears(OTHER, &disconnect(None));
    // The address translation on the way has given the place of a to b.
    script.says(NODE, &ping("b"));
    script.hears(NODE, &Message::PingResp);
    script.requests_nothing();
    script.says(node(3), &ping("a"));
    script.hears(node(3), &Message::PingResp);
    script.wait(Duration::from_secs(661));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}
