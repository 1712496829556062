use shared::wire::Connect;

use super::wills::{connected_with_will, will_topic};
use super::*;

#[test]
fn connect_ping_disconnect() {
    let mut script = Script::new();
    script.connected(NODE, "sensor-01", true);
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    assert_eq!(script.engine.sessions_len(), 0);
    script.requests_nothing();
}

#[test]
fn d14_unacceptable_connects_are_refused_for_good() {
    let mut script = Script::new();
    let long = "x".repeat(65);
    for client_id in ["", &long, "a\u{0}b"] {
        script.says(NODE, &connect(client_id, true, false));
        script.hears(NODE, &connack(ReturnCode::NotSupported));
    }
    let other_protocol = Connect {
        will: false,
        clean: true,
        protocol_id: 2,
        duration_s: 60,
        client_id: b"a",
    };
    script.says(NODE, &Message::Connect(other_protocol));
    script.hears(NODE, &connack(ReturnCode::NotSupported));
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn d10_repeated_connect_repeats_the_request_or_the_answer() {
    let mut script = Script::new();
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &will_topic("t"));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &Message::WillMsg(b"x"));
    script.hears(NODE, &connack(ACCEPTED));
    script.says(NODE, &Message::WillMsg(b"x"));
    script.hears(NODE, &connack(ACCEPTED));
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &connack(ACCEPTED));
    assert_eq!(script.engine.stats().repeats, 4);
}

#[test]
fn d10_repeated_clean_connect_resets_nothing() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    // Something else was received since, so this one is a restart.
    script.connected(NODE, "a", true);
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 5),
    );
    script.hears(NODE, &puback(id, MsgId(5), ReturnCode::InvalidTopicId));
}

#[test]
fn d11_abandoned_will_handshake_leaves_the_older_session_alone() {
    let mut script = Script::with(|settings| settings.links[0].n_retry = 2);
    script.connected(NODE, "a", false);
    let id = script.registered(NODE, "t");
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.says(NODE, &connect("a", true, true));
    for _ in 0..3 {
        script.hears(NODE, &Message::WillTopicReq);
        script.hears_nothing();
        script.wait(T_RETRY);
    }
    script.hears_nothing();
    assert_eq!(
        script.engine.poll_timeout().map(|at| at > script.now),
        Some(true)
    );
    script.connected(NODE, "a", false);
    assert_eq!(script.registered(NODE, "t"), id);
}

#[test]
fn d29_takeover_tells_the_former_place_and_publishes_no_will() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.says(OTHER, &connect("a", false, false));
    script.hears(NODE, &disconnect(None));
    script.hears(OTHER, &connack(ACCEPTED));
    script.requests_nothing();
    script.says(NODE, &ping(""));
    script.hears(NODE, &disconnect(None));
}

#[test]
fn another_client_id_from_the_same_place_ends_the_former_session_as_lost() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.connected(NODE, "b", true);
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
    assert_eq!(script.engine.sessions_len(), 1);
}

#[test]
fn client_ids_are_compared_whole() {
    let mut script = Script::new();
    script.connected(NODE, "node10", true);
    script.connected(OTHER, "node1", true);
    script.hears_nothing();
    assert_eq!(script.engine.sessions_len(), 2);
}

#[test]
fn sessions_are_bounded_and_the_bound_is_told() {
    let mut script = Script::with(|settings| settings.sessions_max = 1);
    script.connected(NODE, "a", true);
    script.says(OTHER, &connect("b", true, false));
    script.hears(OTHER, &connack(ReturnCode::Congestion));
    assert_eq!(script.drops(), [DropReason::SessionsFull]);
}

#[test]
fn a_session_that_is_kept_expires() {
    let mut script = Script::with(|s| s.session_expiry = Duration::from_secs(100));
    script.connected(NODE, "a", false);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(99));
    assert_eq!(script.engine.sessions_len(), 1);
    script.wait(Duration::from_secs(2));
    assert_eq!(script.engine.sessions_len(), 0);
}
