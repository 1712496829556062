use shared::wire::WillTarget;

use super::wills::connected_with_will;
use super::*;

const LINK: LinkId = LinkId(0);
const SECOND: Duration = Duration::from_secs(1);
const DEAD_AFTER: Duration = Duration::from_secs(60);

fn on_second_link(port: u16) -> Binding {
    Binding {
        link: LinkId(1),
        ..node(port)
    }
}

fn with_second_link(change: impl FnOnce(&mut Settings)) -> Script {
    Script::with(|settings| {
        settings.links.push(LinkSettings::default());
        change(settings);
    })
}

fn expecting(pattern: &str, every: Duration) -> Arc<NodeRule> {
    Arc::new(NodeRule {
        nodes: Pattern::new(pattern),
        expect_every: Some(every),
        ..NodeRule::default()
    })
}

fn ends(script: &mut Script) -> Vec<Ending> {
    script.noticed(|notice| match notice {
        Notice::Ended { how, .. } => Some(how),
        _ => None,
    })
}

/// The next request is the status of a node, retained; the broker takes it.
#[track_caller]
fn says_status(script: &mut Script, client_id: &str, payload: &str) {
    let id = says_untaken(script, client_id, payload);
    script.taken(id);
}

#[track_caller]
fn says_untaken(script: &mut Script, client_id: &str, payload: &str) -> PublicationId {
    let retained = matches!(
        script.requests.front(),
        Some(UpstreamRequest::Publish { publication, .. }) if publication.retain
    );
    assert!(retained, "{:?}", script.requests);
    let topic = format!("sandgrouse/node/{client_id}/status");
    script.publishes(&topic, payload, QoS::AtLeastOnce)
}

const HEARD: &str = r#"{"status":"heard"}"#;

// --- D-17, D-13

/// Returns after how many seconds a silent node is lost.
fn lost_after(script: &mut Script, duration_s: u16) -> u64 {
    script.says(NODE, &connect_for("a", true, duration_s));
    script.hears(NODE, &connack(ACCEPTED));
    let start = script.now;
    while script.engine.sessions_len() > 0 {
        script.wait(SECOND);
    }
    assert_eq!(ends(script), [Ending::Lost]);
    script.now.since(start).as_secs()
}

#[test]
fn d17_supervision_has_tolerance_and_room_for_retries() {
    let mut script = Script::with(|settings| settings.links[0].t_retry = SECOND);
    for (duration_s, limit) in [(60, 90), (70, 77), (100, 110), (10_000, 11_000), (2, 5)] {
        assert_eq!(lost_after(&mut script, duration_s), limit, "{duration_s}");
    }
}

#[test]
fn d17_tolerance_is_the_links_and_grace_the_nodes() {
    let mut script = Script::with(|settings| {
        settings.links[0].t_retry = SECOND;
        settings.links[0].tolerance = Tolerance {
            short_percent: 200,
            long_percent: 300,
        };
    });
    assert_eq!(lost_after(&mut script, 60), 120);
    assert_eq!(lost_after(&mut script, 100), 300);

    let mut script = Script::with(|settings| {
        settings.admission.others = Some(Arc::new(NodeRule {
            grace: Duration::from_secs(100_000),
            ..NodeRule::default()
        }));
    });
    assert_eq!(lost_after(&mut script, 60), 100_090);
}

#[test]
fn d13_duration_zero_is_supervised_by_the_idle_cap() {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(500));
    assert_eq!(lost_after(&mut script, 0), 500);
}

#[test]
fn d17_every_message_of_a_node_restarts_its_time() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    let qos0 = publish(TopicRef::Normal(id), "x", QoS::AtMostOnce, 0);
    let minus_one = publish(TopicRef::Predefined(TopicId(7)), "x", QoS::MinusOne, 0);
    for message in [qos0, minus_one, Message::PubComp(MsgId(9)), minus_one] {
        script.wait(Duration::from_secs(89));
        script.says(NODE, &message);
    }
    script.wait(Duration::from_secs(89));
    assert_eq!(script.engine.sessions_len(), 1);
    script.wait(SECOND);
    assert_eq!(script.engine.sessions_len(), 0);
}

// --- A.18, the gateway's table, row by row where no other script has it

#[test]
fn a18_a_node_without_a_session_is_answered_by_disconnect() {
    let mut script = Script::new();
    let messages = [
        disconnect(None),
        disconnect(Some(60)),
        ping(""),
        ping("a"),
        subscribe("t", QoS::AtMostOnce, 1),
        Message::PubRel(MsgId(1)),
        Message::WillMsg(b"x"),
        Message::WillTopicUpd(None),
    ];
    for message in messages {
        script.says(NODE, &message);
        script.hears(NODE, &disconnect(None));
        script.wait(Duration::from_secs(5));
    }
    script.hears_nothing();
    script.requests_nothing();
}

#[test]
fn a18_a_node_that_has_gone_is_answered_by_disconnect() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    for message in [disconnect(None), ping("a"), disconnect(Some(60))] {
        script.says(NODE, &message);
        script.hears(NODE, &disconnect(None));
        script.wait(Duration::from_secs(5));
    }
    assert_eq!(ends(&mut script), [Ending::Disconnected]);
}

#[test]
fn d20_a_sleep_of_no_time_is_the_end() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(0)));
    script.hears(NODE, &disconnect(None));
    assert_eq!(ends(&mut script), [Ending::Disconnected]);
    assert_eq!(script.engine.sessions_len(), 0);
    script.requests_nothing();
}

#[test]
fn d19_a_repeated_disconnect_is_answered_as_often() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for _ in 0..3 {
        script.says(NODE, &disconnect(Some(600)));
        script.hears(NODE, &disconnect(None));
        script.wait(T_RETRY);
    }
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.wait(T_RETRY);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
}

#[test]
fn a18_a_sleepers_disconnect_changes_its_sleep_or_ends_it() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.says(NODE, &disconnect(Some(6000)));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(6599));
    assert_eq!(script.engine.sessions_len(), 1);
    script.wait(SECOND);
    assert_eq!(ends(&mut script), [Ending::Lost]);
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn a18_who_is_awake_may_sleep_leave_or_connect() {
    for message in [
        disconnect(Some(60)),
        disconnect(None),
        connect("a", false, false),
    ] {
        let mut script = Script::new();
        script.connected(NODE, "a", false);
        script.subscribed(NODE, "s", QoS::AtLeastOnce);
        script.says(NODE, &disconnect(Some(600)));
        script.hears(NODE, &disconnect(None));
        script.delivery(1, "s", "x", QoS::AtLeastOnce);
        script.says(NODE, &ping("a"));
        script.hears_publish("x", false);
        script.says(NODE, &message);
        match message {
            Message::Connect(_) => {
                script.hears(NODE, &connack(ACCEPTED));
                script.accepts_register(NODE, "s");
                script.hears_publish("x", true);
            }
            _ => {
                script.hears(NODE, &disconnect(None));
                script.wait(T_RETRY);
                script.hears_nothing();
            }
        }
    }
}

// --- Links that carry nothing

#[test]
fn no_node_is_lost_while_its_link_is_down() {
    let mut script = with_second_link(|_| {});
    connected_with_will(&mut script, NODE, "awake", true);
    connected_with_will(&mut script, OTHER, "asleep", true);
    script.says(OTHER, &disconnect(Some(600)));
    script.hears(OTHER, &disconnect(None));
    let far = on_second_link(9);
    script.connected(far, "elsewhere", true);
    script.wait(Duration::from_secs(80));
    script.link(LINK, LinkEvent::Down);
    script.wait(Duration::from_secs(100_000));
    script.requests_nothing();
    assert_eq!(ends(&mut script), [Ending::Lost], "only on the other link");
    assert_eq!(script.engine.poll_timeout(), None);
    // Each has its full time again.
    script.link(LINK, LinkEvent::Up);
    script.wait(Duration::from_secs(89));
    script.requests_nothing();
    script.wait(SECOND);
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(569));
    script.requests_nothing();
    script.wait(SECOND);
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn nothing_is_repeated_on_a_link_that_is_down() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "s", QoS::AtLeastOnce);
    script.delivery(1, "s", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    script.wait(T_RETRY);
    assert_eq!(script.hears_publish("x", true), msg_id);
    script.link(LINK, LinkEvent::Down);
    script.delivery(2, "s", "y", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(1000));
    script.hears_nothing();
    script.link(LINK, LinkEvent::Up);
    // All tries are there again, and no round has failed.
    for _ in 0..4 {
        assert_eq!(script.hears_publish("x", true), msg_id);
        script.hears_nothing();
        script.wait(T_RETRY);
    }
    script.hears_nothing();
    let unresponsive = script.noticed(|notice| match notice {
        Notice::Unresponsive { client_id } => Some(client_id),
        _ => None,
    });
    assert_eq!(unresponsive.len(), 1);
    script.says(NODE, &puback(TopicId(1025), msg_id, ACCEPTED));
    script.hears_publish("y", false);
}

#[test]
fn a_wake_ends_with_its_link_and_starts_with_the_next_ping() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "s", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.delivery(1, "s", "x", QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    script.hears_publish("x", false);
    script.link(LINK, LinkEvent::Down);
    script.link(LINK, LinkEvent::Up);
    script.wait(Duration::from_secs(60));
    script.hears_nothing();
    script.says(NODE, &ping("a"));
    let msg_id = script.hears_publish("x", true);
    script.says(NODE, &puback(TopicId(1025), msg_id, ACCEPTED));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d11_a_will_handshake_waits_for_its_link() {
    let mut script = Script::new();
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.link(LINK, LinkEvent::Down);
    script.wait(Duration::from_secs(1000));
    script.hears_nothing();
    script.link(LINK, LinkEvent::Up);
    script.wait(Duration::ZERO);
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &super::wills::will_topic("w"));
    script.hears(NODE, &Message::WillMsgReq);
}

#[test]
fn a_link_on_which_nothing_is_heard_loses_no_node() {
    let mut script = with_second_link(|settings| {
        settings.links[0].dead_after = Some(DEAD_AFTER);
    });
    connected_with_will(&mut script, NODE, "a", true);
    connected_with_will(&mut script, OTHER, "b", true);
    script.subscribed(OTHER, "s", QoS::AtLeastOnce);
    let far = on_second_link(9);
    script.wait(Duration::from_secs(59));
    // What is heard elsewhere says nothing of this link.
    script.connected(far, "c", true);
    script.delivery(1, "s", "x", QoS::AtLeastOnce);
    script.hears_publish("x", false);
    script.wait(SECOND);
    // Dead now: nothing is repeated, nothing new is sent.
    script.delivery(2, "s", "y", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(1000));
    script.hears_nothing();
    script.requests_nothing();
    let silent = |notice| match notice {
        Notice::LinkSilent { link, silent } => Some(Some((link, silent))),
        Notice::LinkHeard { .. } => Some(None),
        _ => None,
    };
    assert_eq!(script.noticed(silent), [Some((LINK, DEAD_AFTER))]);
    // One of its nodes is heard: they all have their time again.
    script.says(NODE, &ping(""));
    script.hears_publish("x", true);
    script.hears(NODE, &Message::PingResp);
    assert_eq!(script.noticed(silent), [None]);
    for _ in 0..2 {
        script.wait(Duration::from_secs(44));
        script.says(NODE, &ping(""));
    }
    script.requests_nothing();
    script.wait(Duration::from_secs(2));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
    assert_eq!(script.engine.sessions_len(), 1);
}

#[test]
fn a_link_may_die_more_than_once() {
    let mut script = Script::with(|settings| {
        settings.links[0].dead_after = Some(DEAD_AFTER);
    });
    for _ in 0..3 {
        script.connected(NODE, "a", true);
        script.wait(Duration::from_secs(100));
        let silent = |notice| matches!(notice, Notice::LinkSilent { .. }).then_some(());
        assert_eq!(script.noticed(silent).len(), 1);
    }
    script.link(LINK, LinkEvent::Up);
    script.wait(Duration::from_secs(100));
    let heard = |notice| match notice {
        Notice::LinkHeard { .. } => Some(true),
        Notice::LinkSilent { .. } => Some(false),
        _ => None,
    };
    assert_eq!(script.noticed(heard), [true, false]);
}

#[test]
fn a_link_whose_nodes_are_heard_does_not_hide_the_one_that_is_lost() {
    let mut script = Script::with(|settings| {
        settings.links[0].dead_after = Some(DEAD_AFTER);
    });
    connected_with_will(&mut script, NODE, "a", true);
    for _ in 0..3 {
        script.wait(Duration::from_secs(29));
        script.raw(OTHER, b"anything at all");
        script.requests_nothing();
    }
    script.wait(Duration::from_secs(4));
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

// --- The engine itself is late

#[test]
fn nodes_have_their_full_time_again_where_the_gateway_was_stopped() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", true);
    connected_with_will(&mut script, OTHER, "b", true);
    script.stopped_for(Duration::from_secs(3600));
    script.requests_nothing();
    let late = |notice| match notice {
        Notice::Late { late } => Some(late.as_secs()),
        _ => None,
    };
    assert_eq!(script.noticed(late), [3510]);
    assert_eq!(script.engine.stats().late, 1);
    // What waited at the socket comes in now.
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.wait(Duration::from_secs(80));
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.wait(Duration::from_secs(9));
    script.requests_nothing();
    script.wait(SECOND);
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(79));
    script.requests_nothing();
    script.wait(SECOND);
    script.publishes("s/lwt", "offline", QoS::AtLeastOnce);
}

#[test]
fn a_session_that_is_kept_is_not_kept_longer_for_a_stop() {
    let mut script = Script::with(|settings| settings.session_expiry = Duration::from_secs(100));
    script.connected(NODE, "a", false);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.stopped_for(Duration::from_secs(200));
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn a_gateway_that_was_stopped_thinks_no_less_of_its_links() {
    let mut script = Script::with(|settings| {
        settings.links[0].dead_after = Some(DEAD_AFTER);
        settings.links[0].discovery = Some(Discovery {
            advertise_every: Some(Duration::from_secs(100)),
            standby_misses: Some(2),
        });
    });
    script.stopped_for(Duration::from_secs(5000));
    let noticed = script.noticed(|notice| match notice {
        Notice::LinkSilent { .. } | Notice::StandsIn { .. } => Some(notice),
        _ => None,
    });
    assert_eq!(noticed, []);
    assert!(script.broadcast.is_empty());
    script.wait(DEAD_AFTER);
    let silent = |notice| matches!(notice, Notice::LinkSilent { .. }).then_some(());
    assert_eq!(script.noticed(silent).len(), 1);
    script.wait(Duration::from_secs(159));
    assert!(script.broadcast.is_empty());
    script.wait(Duration::from_secs(7));
    assert_eq!(script.broadcast.len(), 1);
}

#[test]
fn a_gateway_that_is_busy_says_so_now_and_then() {
    let mut script = Script::new();
    for round in 0..20 {
        script.connected(NODE, "a", true);
        script.stopped_for(Duration::from_secs(100));
        assert_eq!(script.engine.sessions_len(), 1, "{round}");
        script.says(NODE, &ping(""));
        script.hears(NODE, &Message::PingResp);
    }
    assert_eq!(script.engine.stats().late, 20);
    // Keep-alives of a second, with retries at once, come late every other second.
    let mut script = Script::with(|settings| settings.links[0].n_retry = 0);
    script.says(NODE, &connect_for("a", true, 2));
    script.hears(NODE, &connack(ACCEPTED));
    for _ in 0..20 {
        script.stopped_for(Duration::from_secs(5));
    }
    assert_eq!(script.engine.stats().late, 20);
    assert_eq!(script.engine.sessions_len(), 1);
    let late = |notice| matches!(notice, Notice::Late { .. }).then_some(());
    assert_eq!(script.noticed(late).len(), 2);
}

#[test]
fn a_second_is_not_late() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.wait(Duration::from_secs(89));
    script.stopped_for(SECOND + SECOND);
    assert_eq!(script.engine.sessions_len(), 0);
}

// --- expect_every

#[test]
fn an_expected_node_is_reported_silent_and_heard_again() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![expecting("pump-*", Duration::from_secs(3600))];
    });
    script.says(NODE, &connect_for("pump-1", true, 60_000));
    script.hears(NODE, &connack(ACCEPTED));
    says_status(&mut script, "pump-1", HEARD);
    script.connected(OTHER, "valve", true);
    script.wait(Duration::from_secs(3000));
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.wait(Duration::from_secs(3959));
    script.requests_nothing();
    script.wait(SECOND);
    says_status(
        &mut script,
        "pump-1",
        r#"{"status":"silent","last_heard_s":3960}"#,
    );
    // It is said once, nobody is pinged, and the session is not touched.
    script.wait(Duration::from_secs(20_000));
    script.requests_nothing();
    script.hears_nothing();
    assert_eq!(script.engine.sessions_len(), 1);
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    says_status(&mut script, "pump-1", HEARD);
    script.says(NODE, &ping(""));
    script.requests_nothing();
}

#[test]
fn the_watch_outlives_the_session() {
    for clean in [true, false] {
        let mut script = Script::with(|settings| {
            settings.admission.rules = vec![expecting("*", Duration::from_secs(600))];
        });
        script.connected(NODE, "a", clean);
        says_status(&mut script, "a", HEARD);
        script.says(NODE, &disconnect(None));
        script.hears(NODE, &disconnect(None));
        script.wait(Duration::from_secs(661));
        says_status(
            &mut script,
            "a",
            r#"{"status":"silent","last_heard_s":660}"#,
        );
        script.connected(NODE, "a", clean);
        says_status(&mut script, "a", HEARD);
    }
}

#[test]
fn every_way_to_be_heard_counts() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![expecting("a", Duration::from_secs(100))];
    });
    let target = WillTarget {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: b"w",
    };
    script.wait(Duration::from_secs(100));
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &Message::WillTopic(Some(target)));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &Message::WillMsg(b"x"));
    script.hears(NODE, &connack(ACCEPTED));
    says_status(&mut script, "a", HEARD);
    script.says(NODE, &disconnect(Some(10_000)));
    script.hears(NODE, &disconnect(None));
    script.wait(Duration::from_secs(129));
    script.says(OTHER, &ping("a"));
    script.hears(OTHER, &Message::PingResp);
    script.wait(Duration::from_secs(129));
    let minus_one = publish(TopicRef::Predefined(TopicId(7)), "x", QoS::MinusOne, 0);
    script.says(OTHER, &minus_one);
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    script.wait(Duration::from_secs(129));
    script.requests_nothing();
    script.wait(SECOND);
    let silent = r#"{"status":"silent","last_heard_s":130}"#;
    says_status(&mut script, "a", silent);
}

#[test]
fn a_node_that_a_rule_names_is_expected_from_the_start_on() {
    let mut script = with_second_link(|settings| {
        let mut on_second = (*expecting("c", Duration::from_secs(600))).clone();
        on_second.links = vec![LinkId(1)];
        settings.admission.rules = vec![
            expecting("a", Duration::from_secs(600)),
            // An earlier rule holds for b.
            Arc::new(NodeRule {
                nodes: Pattern::new("b*"),
                ..NodeRule::default()
            }),
            expecting("b", Duration::from_secs(600)),
            Arc::new(on_second),
        ];
    });
    script.link(LinkId(1), LinkEvent::Down);
    script.wait(Duration::from_secs(659));
    script.requests_nothing();
    script.wait(SECOND);
    says_status(&mut script, "a", r#"{"status":"silent"}"#);
    script.wait(Duration::from_secs(5000));
    script.requests_nothing();
    script.link(LinkId(1), LinkEvent::Up);
    script.wait(Duration::from_secs(660));
    says_status(&mut script, "c", r#"{"status":"silent"}"#);
    script.connected(NODE, "a", true);
    says_status(&mut script, "a", HEARD);
}

#[test]
fn expected_nodes_are_not_reported_while_they_could_not_be_heard() {
    let mut script = Script::with(|settings| {
        settings.links[0].dead_after = Some(Duration::from_secs(300));
        settings.admission.rules = vec![expecting("*", Duration::from_secs(600))];
    });
    script.connected(NODE, "a", true);
    says_status(&mut script, "a", HEARD);
    script.wait(Duration::from_secs(5000));
    script.requests_nothing();
    // The link is back with someone else's message.
    script.raw(OTHER, b"anything");
    script.link(LINK, LinkEvent::Down);
    script.wait(Duration::from_secs(5000));
    script.requests_nothing();
    script.link(LINK, LinkEvent::Up);
    for _ in 0..3 {
        script.wait(Duration::from_secs(200));
        script.raw(OTHER, b"anything");
    }
    script.requests_nothing();
    script.stopped_for(Duration::from_secs(310));
    for _ in 0..3 {
        script.requests_nothing();
        script.wait(Duration::from_secs(219));
        script.raw(OTHER, b"anything");
    }
    script.requests_nothing();
    script.wait(Duration::from_secs(3));
    let silent = r#"{"status":"silent","last_heard_s":11570}"#;
    says_untaken(&mut script, "a", silent);
}

#[test]
fn a_status_that_was_not_taken_is_said_again() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![expecting("*", Duration::from_secs(600))];
    });
    script.connected(NODE, "a", true);
    let not_taken = |script: &mut Script| {
        let request = script.requests.pop_front().expect("a status");
        script.engine.handle_not_taken(&request);
        script.drain();
    };
    not_taken(&mut script);
    assert_eq!(script.drops(), [DropReason::UpstreamFull]);
    script.says(NODE, &ping(""));
    let id = says_untaken(&mut script, "a", HEARD);
    script.upstream(UpstreamEvent::Published {
        id,
        result: Err(Refusal::Busy),
    });
    script.says(NODE, &ping(""));
    says_status(&mut script, "a", HEARD);
    script.wait(Duration::from_secs(60));
    for _ in 0..2 {
        script.wait(Duration::from_secs(600));
        not_taken(&mut script);
        script.wait(Duration::ZERO);
        script.requests_nothing();
    }
    script.wait(Duration::from_secs(599));
    script.requests_nothing();
    script.wait(SECOND);
    let silent = r#"{"status":"silent","last_heard_s":1860}"#;
    let id = says_untaken(&mut script, "a", silent);
    script.upstream(UpstreamEvent::Published {
        id,
        result: Err(Refusal::Busy),
    });
    script.wait(Duration::from_secs(600));
    says_status(
        &mut script,
        "a",
        r#"{"status":"silent","last_heard_s":2460}"#,
    );
    script.wait(Duration::from_secs(6000));
    script.requests_nothing();
    assert_eq!(
        script.engine.watches.len(),
        0,
        "the watch has done its work"
    );
}

#[test]
fn watches_are_bounded_and_the_bound_is_told() {
    let mut script = Script::with(|settings| {
        settings.sessions_max = 3;
        settings.admission.rules = vec![expecting("*", Duration::from_secs(600))];
    });
    for (port, client_id) in (1..).zip(["a", "b", "c", "d"]) {
        script.connected(node(port), client_id, true);
        script.says(node(port), &disconnect(None));
        script.hears(node(port), &disconnect(None));
    }
    assert!(script.drops().contains(&DropReason::WatchesFull));
    assert_eq!(script.engine.watches.len(), 3);
    for client_id in ["a", "b", "c"] {
        says_status(&mut script, client_id, HEARD);
    }
    script.requests_nothing();
    script.wait(Duration::from_secs(660));
    for client_id in ["a", "b", "c"] {
        let silent = r#"{"status":"silent","last_heard_s":660}"#;
        says_status(&mut script, client_id, silent);
    }
    assert_eq!(script.engine.watches.len(), 0);
    script.connected(node(4), "d", true);
    says_status(&mut script, "d", HEARD);
}

#[test]
fn an_expected_node_is_watched_where_it_was_heard_last() {
    let mut script = with_second_link(|settings| {
        settings.admission.rules = vec![expecting("*", Duration::from_secs(600))];
    });
    script.connected(NODE, "a", true);
    says_status(&mut script, "a", HEARD);
    script.says(on_second_link(1), &connect("a", true, false));
    script.hears(NODE, &disconnect(None));
    script.hears(on_second_link(1), &connack(ACCEPTED));
    script.link(LINK, LinkEvent::Down);
    script.link(LinkId(1), LinkEvent::Down);
    script.link(LINK, LinkEvent::Up);
    script.wait(Duration::from_secs(6000));
    script.requests_nothing();
    script.link(LINK, LinkEvent::Down);
    script.link(LinkId(1), LinkEvent::Up);
    script.wait(Duration::from_secs(660));
    let silent = r#"{"status":"silent","last_heard_s":6660}"#;
    says_status(&mut script, "a", silent);
}

#[test]
fn new_rules_start_and_end_watches() {
    let rules = |script: &mut Script, rules: Vec<Arc<NodeRule>>| {
        let mut settings = script.engine.settings.clone();
        settings.admission.rules = rules;
        let _ = script.engine.reconfigure(script.now, settings);
        script.drain();
    };
    let seconds = Duration::from_secs;
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    rules(&mut script, vec![expecting("*", seconds(600))]);
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    says_status(&mut script, "a", HEARD);
    rules(&mut script, vec![expecting("b", seconds(60))]);
    // The same rules again give nobody more time.
    script.wait(seconds(80));
    rules(&mut script, vec![expecting("b", seconds(60))]);
    script.wait(seconds(10));
    says_status(&mut script, "b", r#"{"status":"silent"}"#);
    script.wait(seconds(6000));
    script.requests_nothing();
    // A node whose silence was said keeps being watched while a rule names it.
    rules(&mut script, vec![expecting("b", seconds(60))]);
    script.wait(seconds(6000));
    script.requests_nothing();
    assert_eq!(script.engine.watches.len(), 1);
    script.connected(NODE, "b", true);
    says_status(&mut script, "b", HEARD);
    rules(&mut script, vec![expecting("b*", seconds(60))]);
    script.wait(seconds(91));
    says_status(&mut script, "b", r#"{"status":"silent","last_heard_s":90}"#);
    assert_eq!(script.engine.watches.len(), 0);
}

// --- Timers

#[test]
fn what_waits_for_retained_messages_is_forgotten_in_time() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    for filter in ["s", "t", "u"] {
        script.subscribed(NODE, filter, QoS::AtLeastOnce);
        script.wait(Duration::from_secs(20));
    }
    script.says(NODE, &disconnect(None));
    assert_eq!(script.engine.wishes.len(), 3);
    script.wait(Duration::from_secs(100));
    assert!(script.engine.wishes.is_empty());
}

#[test]
fn timers_do_not_pile_up() {
    let mut script = Script::with(|settings| {
        settings.admission.rules = vec![expecting("*", Duration::from_secs(100))];
    });
    for round in 0..200_u32 {
        // Every deadline is replaced by an earlier one, and what is in flight adds its own.
        for message in [
            connect("a", false, false),
            disconnect(Some(60_000)),
            connect_for("a", false, 30),
        ] {
            script.says(NODE, &message);
        }
        script.sent.clear();
        script.requests.clear();
        script.subscribed(NODE, "s", QoS::AtLeastOnce);
        script.delivery(round.into(), "s", "x", QoS::AtLeastOnce);
        script.says(NODE, &disconnect(None));
        // Handshakes that are never finished, each another one.
        for duration_s in 0..3 {
            let mut other = connect_for("b", true, duration_s);
            if let Message::Connect(connect) = &mut other {
                connect.will = true;
            }
            script.says(OTHER, &other);
        }
        script.wait(SECOND);
        script.sent.clear();
        assert!(
            script.engine.timers.len() <= 6,
            "{} timers after {round} rounds",
            script.engine.timers.len()
        );
    }
    for n in 0..200 {
        let client_id = format!("c{n}");
        script.connected(node(3), &client_id, true);
        script.says(node(3), &disconnect(None));
        script.hears(node(3), &disconnect(None));
        script.wait(Duration::from_millis(1));
    }
    // Two hundred nodes that must be heard, and nothing else.
    assert!(script.engine.timers.len() <= 206);
}
