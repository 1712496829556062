use super::*;

#[test]
fn an_outage_is_answered_with_congestion_only_when_it_lasts() {
    let mut script = Script::new();
    script.upstream(UpstreamEvent::Disconnected);
    script.connected(NODE, "a", true);
    script.wait(Duration::from_secs(31));
    script.says(OTHER, &connect("b", true, false));
    script.hears(OTHER, &connack(ReturnCode::Congestion));
    script.upstream(UpstreamEvent::Connected);
    script.connected(OTHER, "b", true);
}

use super::wills::connected_with_will;

const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn out(script: &mut Script) {
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(PATIENCE + SECOND);
}

fn sent_off(script: &mut Script) -> Vec<usize> {
    script.noticed(|notice| match notice {
        Notice::SentOff { nodes } => Some(nodes),
        _ => None,
    })
}

/// Keeps a node from being lost while time passes.
fn pinging(script: &mut Script, from: Binding, span: Duration) {
    for _ in 0..span.as_secs() / 50 {
        script.wait(Duration::from_secs(50));
        script.says(from, &ping(""));
        script.hears(from, &Message::PingResp);
    }
}

#[test]
fn d36_nothing_is_answered_for_a_while_then_code_01() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(PATIENCE);
    script.says(NODE, &subscribe("s", QoS::AtLeastOnce, 1));
    let qos1 = |msg_id| publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, msg_id);
    script.says(NODE, &qos1(2));
    script.hears_nothing();
    script.wait(SECOND);
    let refused = ReturnCode::Congestion;
    script.says(NODE, &qos1(3));
    script.hears(NODE, &puback(id, MsgId(3), refused));
    let qos2 = publish(TopicRef::Normal(id), "x", QoS::ExactlyOnce, 4);
    script.says(NODE, &qos2);
    script.hears(NODE, &puback(id, MsgId(4), refused));
    script.says(NODE, &subscribe("r", QoS::AtLeastOnce, 5));
    let code = script.hears_some(|message| match message {
        Message::SubAck(ack) => Some(ack.return_code),
        _ => None,
    });
    assert_eq!(code, refused);
    script.says(OTHER, &connect("b", true, false));
    script.hears(OTHER, &connack(refused));
    // What needs no broker is served all the same.
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    let other = script.registered(NODE, "u");
    script.says(
        NODE,
        &publish(TopicRef::Normal(other), "q0", QoS::AtMostOnce, 0),
    );
    script.hears_nothing();
    assert_eq!(script.engine.stats().publications_up, 2);
}

#[test]
fn d36_what_was_given_before_is_answered_when_the_upstream_is_back() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    script.upstream(UpstreamEvent::Disconnected);
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 2),
    );
    let publication = script.publishes("t", "x", QoS::AtLeastOnce);
    pinging(&mut script, NODE, Duration::from_secs(100));
    script.upstream(UpstreamEvent::Connected);
    script.taken(publication);
    script.hears(NODE, &puback(id, MsgId(2), ACCEPTED));
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "y", QoS::AtLeastOnce, 3),
    );
    script.publishes("t", "y", QoS::AtLeastOnce);
}

#[test]
fn d36_nodes_that_listen_are_sent_off_without_their_wills() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "clean", true);
    connected_with_will(&mut script, OTHER, "kept", false);
    let id = script.registered(OTHER, "t");
    script.upstream(UpstreamEvent::Disconnected);
    for _ in 0..11 {
        script.wait(Duration::from_secs(54));
        for at in [NODE, OTHER] {
            script.says(at, &ping(""));
            script.hears(at, &Message::PingResp);
        }
    }
    script.hears_nothing();
    script.wait(Duration::from_secs(6));
    script.hears(NODE, &disconnect(None));
    script.hears(OTHER, &disconnect(None));
    let ends = script.noticed(|notice| match notice {
        Notice::Ended { how, .. } => Some(how),
        _ => None,
    });
    assert_eq!(ends, [Ending::UpstreamOut; 2]);
    assert_eq!(script.engine.sessions_len(), 1);
    script.wait(Duration::from_secs(3600));
    script.hears_nothing();
    script.requests_nothing();
    // While it lasts they are refused, afterwards they go on.
    script.says(OTHER, &ping(""));
    script.hears(OTHER, &disconnect(None));
    script.says(OTHER, &connect("kept", false, false));
    script.hears(OTHER, &connack(ReturnCode::Congestion));
    script.upstream(UpstreamEvent::Connected);
    script.connected(OTHER, "kept", false);
    assert_eq!(script.registered(OTHER, "t"), id);
    script.wait(Duration::from_secs(91));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn d36_sleepers_stay_and_wake_as_ever() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.subscribed(NODE, "s", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(Some(3600)));
    script.hears(NODE, &disconnect(None));
    script.delivery(1, "s", "letter", QoS::AtLeastOnce);
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(Duration::from_secs(3000));
    assert_eq!(sent_off(&mut script), [0]);
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("letter", false);
    script.says(NODE, &puback(TopicId(1025), msg_id, ACCEPTED));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d36_nobody_is_sent_off_where_the_settings_say_so_or_the_upstream_returns() {
    let mut script = Script::with(|settings| settings.outage_disconnect = None);
    script.connected(NODE, "a", true);
    script.upstream(UpstreamEvent::Disconnected);
    pinging(&mut script, NODE, Duration::from_secs(2000));
    script.hears_nothing();

    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for _ in 0..10 {
        script.upstream(UpstreamEvent::Disconnected);
        // Told twice, it is the same outage.
        pinging(&mut script, NODE, Duration::from_secs(300));
        script.upstream(UpstreamEvent::Disconnected);
        pinging(&mut script, NODE, Duration::from_secs(250));
        script.upstream(UpstreamEvent::Connected);
    }
    script.hears_nothing();
    assert!(sent_off(&mut script).is_empty());
}

#[test]
fn d36_an_outage_that_is_told_twice_starts_with_the_first() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.upstream(UpstreamEvent::Disconnected);
    pinging(&mut script, NODE, Duration::from_secs(550));
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(Duration::from_secs(50));
    script.hears(NODE, &disconnect(None));
}

#[test]
fn d36_nobody_is_sent_off_who_could_come_back_at_once() {
    let mut script = Script::with(|settings| {
        settings.outage_disconnect = Some(Duration::from_secs(5));
    });
    script.connected(NODE, "a", true);
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(PATIENCE);
    script.hears_nothing();
    script.wait(SECOND);
    script.hears(NODE, &disconnect(None));
    script.says(NODE, &connect("a", true, false));
    script.hears(NODE, &connack(ReturnCode::Congestion));
}

#[test]
fn d36_a_will_that_is_due_in_an_outage_is_given_to_the_upstream() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(Duration::from_secs(91));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn d36_a_node_that_is_refused_in_an_outage_is_not_lost_for_that() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    out(&mut script);
    for _ in 0..10 {
        script.wait(Duration::from_secs(300));
        script.says(NODE, &connect("a", true, false));
        script.hears(NODE, &connack(ReturnCode::Congestion));
    }
    script.requests_nothing();
    script.wait(Duration::from_secs(661));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn d21_a_sleeper_past_its_keep_alive_stays() {
    // The upstream is shared and pings by itself; only the sleep counts here.
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(7200)));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(7200));
    script.requests_nothing();
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
}
