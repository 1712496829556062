//! What sequences of operations have found: places where two rules meet.

use super::*;

const OUTER: Binding = Binding {
    link: LinkId(1),
    ..NODE
};

/// A gateway with a wide link and a narrow one.
fn narrow() -> Script {
    Script::with(|settings| {
        let link = |mtu| LinkSettings {
            mtu,
            ..LinkSettings::default()
        };
        settings.links = vec![link(64), link(24)];
    })
}

#[test]
fn d41_a_name_that_must_be_told_again_is_dropped_where_it_does_not_fit() {
    let mut script = narrow();
    let name = "a/name/of/more/octets/than/the/link/carries/in/one/register";
    script.connected(NODE, "a", false);
    script.subscribed(NODE, name, QoS::AtLeastOnce);
    script.delivery(1, name, "x", QoS::AtLeastOnce);
    script.hears_publish("x", false);
    script.connected(NODE, "a", false);
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::TooLong]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn d41_what_is_in_flight_is_dropped_where_it_does_not_fit_the_link_the_node_moves_to() {
    let mut script = narrow();
    script.connected(NODE, "a", false);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "more than the other link carries", QoS::AtLeastOnce);
    script.hears_publish("more than the other link carries", false);
    script.delivery(2, "t", "short", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(Some(60)));
    script.hears(NODE, &disconnect(None));
    script.says(OUTER, &ping("a"));
    assert_eq!(script.drops(), [DropReason::TooLong]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.hears_publish("short", false);
    script.hears_nothing();
}

#[test]
fn d41_what_is_in_flight_is_dropped_where_new_settings_leave_no_room_for_it() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.delivery(1, "t", "more than the link carries then", QoS::AtLeastOnce);
    script.hears_publish("more than the link carries then", false);
    let mut settings = Settings::default();
    settings.links[0].mtu = 24;
    let _ = script.engine.reconfigure(script.now, settings);
    script.wait(T_RETRY.saturating_mul(2));
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::TooLong]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}

#[test]
fn a10_a_request_that_the_upstream_gives_back_leaves_an_earlier_one_alone() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for msg_id in [1, 2] {
        script.says(NODE, &subscribe("t/+", QoS::AtLeastOnce, msg_id));
    }
    let filter: Arc<str> = "t/+".into();
    let qos = QoS::AtLeastOnce;
    let request = UpstreamRequest::Subscribe {
        filter: Arc::clone(&filter),
        qos,
    };
    script.requests(&request);
    script.requests(&request);
    script.engine.handle_not_taken(&request);
    script.engine.assert_consistent();
    script.requests_nothing();
    let result = Ok(qos);
    script.upstream(UpstreamEvent::Subscribed { filter, result });
    let answered = script.hears_some(|message| match message {
        Message::SubAck(ack) => Some((ack.msg_id, ack.return_code)),
        _ => None,
    });
    assert_eq!(answered, (MsgId(1), ACCEPTED));
    script.delivery(1, "t/1", "x", qos);
    script.hears_register("t/1");
}

#[test]
fn a10_a_request_that_is_given_up_leaves_a_later_one_alone() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let filter: Arc<str> = "t/+".into();
    let qos = QoS::AtLeastOnce;
    script.says(NODE, &subscribe("t/+", qos, 1));
    script.wait(T_RETRY.saturating_mul(3));
    script.says(NODE, &subscribe("t/+", qos, 2));
    script.wait(T_RETRY.saturating_mul(2));
    script.engine.assert_consistent();
    let request = UpstreamRequest::Subscribe {
        filter: Arc::clone(&filter),
        qos,
    };
    script.requests(&request);
    script.requests(&request);
    script.requests_nothing();
    let result = Ok(qos);
    script.upstream(UpstreamEvent::Subscribed {
        filter: Arc::clone(&filter),
        result,
    });
    script.hears_nothing();
    script.upstream(UpstreamEvent::Subscribed { filter, result });
    let answered = script.hears_some(|message| match message {
        Message::SubAck(ack) => Some(ack.msg_id),
        _ => None,
    });
    assert_eq!(answered, MsgId(2));
}

#[test]
fn d42_sessions_are_bounded_also_where_a_will_is_told_in_between() {
    let mut script = Script::with(|settings| settings.sessions_max = 1);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.connected(OTHER, "b", true);
    let target = shared::wire::WillTarget {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: b"will",
    };
    script.says(NODE, &Message::WillTopic(Some(target)));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &Message::WillMsg(b"gone"));
    script.hears(NODE, &connack(ReturnCode::Congestion));
    assert_eq!(script.drops(), [DropReason::SessionsFull]);
    assert_eq!(script.engine.sessions_len(), 1);
}

#[test]
fn nodes_that_come_and_go_and_exchanges_that_end_leave_no_timers_behind() {
    let mut script = Script::new();
    for _ in 0..100 {
        let long = Message::Connect(Connect {
            will: false,
            clean: true,
            protocol_id: 1,
            duration_s: u16::MAX,
            client_id: b"a",
        });
        script.says(NODE, &long);
        script.hears(NODE, &connack(ACCEPTED));
        let topic_id = script.subscribed(NODE, "t", QoS::AtLeastOnce);
        for n in 0..10 {
            script.delivery(n, "t", "x", QoS::AtLeastOnce);
            script.wait(T_RETRY);
            let msg_id = script.hears_publish("x", false);
            script.hears_publish("x", true);
            script.says(NODE, &puback(topic_id, msg_id, ACCEPTED));
            script.requests(&UpstreamRequest::Acknowledge(DeliveryId(n)));
        }
        script.says(NODE, &disconnect(None));
        script.hears(NODE, &disconnect(None));
        let filter = "t".into();
        script.requests(&UpstreamRequest::Unsubscribe { filter });
        script.wait(Duration::from_secs(200));
    }
    assert_eq!(script.engine.timers_len(), 0);
}

#[test]
fn a_stop_of_the_gateway_after_shorter_limits_keeps_nobody_too_long() {
    let limited = |idle_max| {
        let mut settings = Settings {
            idle_max: Duration::from_secs(idle_max),
            ..Settings::default()
        };
        settings.links[0].discovery = Some(Discovery {
            advertise_every: Some(Duration::from_secs(100)),
            standby_misses: None,
        });
        settings
    };
    let mut script = Script::with(|settings| *settings = limited(3600));
    script.says(NODE, &connect_for("a", true, 0));
    script.hears(NODE, &connack(ACCEPTED));
    let kept = script
        .engine
        .reconfigure(script.now, limited(600))
        .sessions_kept;
    assert_eq!(kept, 1);
    script.now += Duration::from_secs(200);
    script.engine.handle_timeout(script.now);
    script.wait(Duration::from_secs(601));
    assert_eq!(script.engine.sessions_len(), 0);
}

fn supervised(every: u64, grace: u64) -> Arc<NodeRule> {
    Arc::new(NodeRule {
        nodes: Pattern::new("a"),
        expect_every: Some(Duration::from_secs(every)),
        grace: Duration::from_secs(grace),
        ..NodeRule::default()
    })
}

#[test]
fn a_status_that_the_upstream_has_no_room_for_waits_its_time_after_many_refusals() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![supervised(30, 0)];
    });
    for _ in 0..5 {
        script.wait(Duration::from_secs(60));
        while let Some(UpstreamRequest::Publish { id, .. }) = script.requests.pop_front() {
            let result = Err(Refusal::Busy);
            script.upstream(UpstreamEvent::Published { id, result });
        }
    }
    script.notices.clear();
    script.wait(Duration::from_secs(30));
    let request = script.requests.pop_front().expect("the silence is told");
    script.engine.handle_not_taken(&request);
    let next = script.engine.poll_timeout().expect("it is told again");
    assert!(next.since(script.now) > Duration::ZERO, "{next}");
}

#[test]
fn d17_a_time_that_became_shorter_does_not_pass_unseen() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![supervised(3600, 600)];
    });
    script.connected(NODE, "a", true);
    let mut settings = Settings::default();
    settings.admission.rules = vec![supervised(3600, 0)];
    let _ = script.engine.reconfigure(script.now, settings);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.engine.assert_consistent();
    script.wait(Duration::from_secs(91));
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn new_settings_under_which_something_is_due_are_no_lateness_of_the_engine() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![supervised(36_000, 0)];
    });
    script.connected(NODE, "a", false);
    script.wait(Duration::from_secs(50));
    let mut settings = Settings::default();
    settings.admission.rules = vec![supervised(1, 0)];
    settings.links[0].dead_after = Some(Duration::from_secs(10));
    script.notices.clear();
    let _ = script.engine.reconfigure(script.now, settings);
    assert!(
        script
            .engine
            .poll_timeout()
            .is_none_or(|at| at > script.now)
    );
    script.wait(Duration::from_secs(1));
    let late = script.noticed(|notice| matches!(notice, Notice::Late { .. }).then_some(()));
    assert_eq!(late, []);
}

#[test]
fn a_link_that_may_be_silent_under_new_settings_is_no_longer_dead() {
    let mut script = Script::with(|settings| {
        settings.links[0].dead_after = Some(Duration::from_secs(10));
    });
    script.connected(NODE, "a", true);
    script.wait(Duration::from_secs(20));
    let _ = script.engine.reconfigure(script.now, Settings::default());
    script.engine.assert_consistent();
    script.wait(Duration::from_secs(100));
    assert_eq!(
        script.engine.sessions_len(),
        0,
        "it has been silent for too long"
    );
}

#[test]
fn d31_a_sleeper_that_loses_its_place_on_a_link_that_is_out_is_lost_in_its_time() {
    let mut script = Script::new();
    for (place, client_id) in [(NODE, "a"), (OTHER, "b")] {
        script.connected(place, client_id, true);
        // Mail that has still to expire changes nothing.
        script.subscribed(place, client_id, QoS::AtLeastOnce);
        script.says(place, &disconnect(Some(60)));
        script.hears(place, &disconnect(None));
    }
    script.delivery(1, "a", "x", QoS::AtLeastOnce);
    script
        .engine
        .handle_link(script.now, LinkId(0), LinkEvent::Down);
    script.wait(Duration::from_secs(600));
    assert_eq!(script.engine.sessions_len(), 2, "time stands still");
    // What came in before the link went may come late.
    script.says(NODE, &ping("b"));
    script.engine.assert_consistent();
    script.wait(Duration::from_secs(60));
    assert_eq!(script.engine.sessions_len(), 2);
    script.wait(Duration::from_secs(60));
    assert_eq!(
        script.engine.sessions_len(),
        1,
        "the link of b is still out"
    );
}
