//! The configuration read anew: sessions stay, what they may do is looked up again.

use shared::wire::{Unsubscribe, WillTarget};

use super::*;

/// The settings a script begins with, and a change to them.
fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    settings.predefined.insert(TopicId(7), "pre/seven".into());
    change(&mut settings);
    settings
}

fn reconfigured(script: &mut Script, change: impl FnOnce(&mut Settings)) -> Reconfigured {
    let done = script.engine.reconfigure(script.now, settings(change));
    script.drain();
    done
}

fn by_one_rule(change: impl FnOnce(&mut NodeRule)) -> impl FnOnce(&mut Settings) {
    let mut rule = NodeRule::default();
    change(&mut rule);
    move |settings| settings.admission.others = Some(Arc::new(rule))
}

fn only(pattern: &str) -> impl FnOnce(&mut Settings) {
    let rule = NodeRule {
        nodes: Pattern::new(pattern),
        ..NodeRule::default()
    };
    move |settings| {
        settings.admission = Admission {
            rules: vec![Arc::new(rule)],
            others: None,
        };
    }
}

fn filters(filters: &[&str]) -> Option<Vec<Arc<str>>> {
    Some(filters.iter().map(|filter| Arc::from(*filter)).collect())
}

fn unsubscribed(filter: &str) -> UpstreamRequest {
    UpstreamRequest::Unsubscribe {
        filter: filter.into(),
    }
}

fn subscribe_seven(msg_id: u16) -> Message<'static> {
    Message::Subscribe(Subscribe {
        dup: false,
        qos: QoS::AtMostOnce,
        msg_id: MsgId(msg_id),
        topic: TopicFilter::Predefined(TopicId(7)),
    })
}

#[track_caller]
fn granted_seven(script: &mut Script, place: Binding, filter: &str, msg_id: u16) {
    script.says(place, &subscribe_seven(msg_id));
    script.requests(&UpstreamRequest::Subscribe {
        filter: filter.into(),
        qos: QoS::AtMostOnce,
    });
    script.upstream(UpstreamEvent::Subscribed {
        filter: filter.into(),
        result: Ok(QoS::AtMostOnce),
    });
    script.sent.clear();
}

fn connected_with_will(script: &mut Script, place: Binding, client_id: &str, qos: QoS) {
    let target = WillTarget {
        qos,
        retain: false,
        topic: b"lwt",
    };
    script.says(place, &connect(client_id, false, true));
    script.says(place, &Message::WillTopic(Some(target)));
    script.says(place, &Message::WillMsg(b"off"));
    script.sent.clear();
}

#[test]
fn sessions_stay_with_all_they_have() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.registered(NODE, "t");
    let cmd = script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.connected(OTHER, "b", false);
    script.says(OTHER, &disconnect(Some(600)));
    script.hears(OTHER, &disconnect(None));
    let done = reconfigured(
        &mut script,
        by_one_rule(|rule| {
            rule.publish = filters(&["t"]);
            rule.subscribe = filters(&["#"]);
        }),
    );
    let expected = Reconfigured {
        sessions_kept: 2,
        ..Reconfigured::default()
    };
    assert_eq!(done, expected);
    script.hears_nothing();
    script.requests_nothing();
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtMostOnce, 0),
    );
    script.publishes("t", "x", QoS::AtMostOnce);
    script.delivery(1, "cmd", "x", QoS::AtLeastOnce);
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(cmd, msg_id, ACCEPTED));
    script.says(OTHER, &ping("b"));
    script.hears(OTHER, &Message::PingResp);
}

#[test]
fn a_node_that_no_rule_serves_any_more_is_sent_off_without_its_will() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "out", QoS::AtMostOnce);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.connected(OTHER, "in", false);
    script.says(node(3), &connect("out-too", false, false));
    script.says(node(3), &disconnect(Some(600)));
    script.says(node(4), &connect("out-gone", false, false));
    script.says(node(4), &disconnect(None));
    script.sent.clear();
    script.notices.clear();
    let done = reconfigured(&mut script, only("in"));
    let expected = Reconfigured {
        sessions_kept: 1,
        sessions_ended: 3,
        ..Reconfigured::default()
    };
    assert_eq!(done, expected);
    // Nothing is sent into a sleep.
    script.hears(NODE, &disconnect(None));
    script.hears_nothing();
    script.requests(&unsubscribed("cmd"));
    script.requests_nothing();
    assert_eq!(script.engine.sessions_len(), 1);
    let ended = script.notices.iter().filter(|notice| {
        matches!(
            notice,
            Notice::Ended {
                how: Ending::NotAdmitted,
                ..
            }
        )
    });
    assert_eq!(ended.count(), 3);
    script.says(node(3), &ping("out-too"));
    script.hears(node(3), &disconnect(None));
    script.wait(Duration::from_secs(1000));
    script.requests_nothing();
}

#[test]
fn the_mail_of_a_node_that_is_not_served_any_more_is_counted_and_answered_for() {
    let mut script = Script::new();
    script.connected(NODE, "out", false);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.delivery(1, "cmd", "x", QoS::AtLeastOnce);
    script.drops();
    let _ = reconfigured(&mut script, only("in"));
    assert_eq!(script.drops(), [DropReason::NotAdmitted]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests(&unsubscribed("cmd"));
}

#[test]
fn a_node_that_is_not_served_where_it_is_keeps_its_session_for_elsewhere() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", QoS::AtMostOnce);
    let id = script.registered(NODE, "t");
    script.connected(OTHER, "clean", true);
    let done = reconfigured(
        &mut script,
        by_one_rule(|rule| {
            rule.from.addresses = vec!["192.0.2.0/24".parse().unwrap()];
        }),
    );
    assert_eq!((done.sessions_ended, done.sessions_kept), (2, 0));
    script.hears(NODE, &disconnect(None));
    script.hears(OTHER, &disconnect(None));
    script.requests_nothing();
    assert_eq!(script.engine.sessions_len(), 1);
    script.says(NODE, &connect("a", false, false));
    script.hears(NODE, &connack(ReturnCode::NotSupported));
    let there = Binding {
        peer: Peer::Socket("192.0.2.7:4000".parse().unwrap()),
        ..NODE
    };
    script.connected(there, "a", false);
    assert_eq!(script.registered(there, "t"), id);
}

#[test]
fn a_link_or_a_forwarder_that_is_gone_takes_its_nodes_along_without_their_wills() {
    let two_links = |settings: &mut Settings| {
        settings.links[0].forwarders = Forwarders::Anyone;
        settings.links.push(LinkSettings::default());
    };
    let on_second = Binding {
        link: LinkId(1),
        ..OTHER
    };
    let mut script = Script::with(two_links);
    connected_with_will(&mut script, on_second, "second", QoS::AtMostOnce);
    connected_with_will(&mut script, node(3), "direct", QoS::AtMostOnce);
    let mut inner = vec![0; connect("behind", true, false).encoded_len()];
    connect("behind", true, false).emit(&mut inner).unwrap();
    let forward = shared::wire::Forward {
        radius: 0,
        node_id: &[1],
        inner: &inner,
    };
    script.says(NODE, &Message::Forward(forward));
    script.sent.clear();
    let done = reconfigured(&mut script, two_links);
    assert_eq!((done.sessions_kept, done.sessions_ended), (3, 0));
    let done = reconfigured(&mut script, |_| {});
    assert_eq!((done.sessions_kept, done.sessions_ended), (1, 2));
    script.says(node(3), &ping(""));
    script.wait(Duration::from_secs(91));
    script.publishes("lwt", "off", QoS::AtMostOnce);
    script.requests_nothing();
}

#[test]
fn a_will_handshake_under_way_is_admitted_again() {
    let mut script = Script::new();
    script.says(NODE, &connect("out", true, true));
    script.says(OTHER, &connect("in", true, true));
    script.sent.clear();
    let _ = reconfigured(&mut script, only("in"));
    script.hears(NODE, &connack(ReturnCode::NotSupported));
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::NotAdmitted]);
    script.says(OTHER, &Message::WillTopic(None));
    script.hears(OTHER, &connack(ACCEPTED));
    // By the new rule, not by the one it began with.
    script.says(NODE, &connect("in", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    let _ = reconfigured(&mut script, by_one_rule(|rule| rule.publish = filters(&[])));
    let target = WillTarget {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: b"w",
    };
    script.says(NODE, &Message::WillTopic(Some(target)));
    script.hears(NODE, &connack(ReturnCode::NotSupported));
}

#[test]
fn subscriptions_that_are_not_allowed_any_more_end() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    for (place, filter) in [
        (NODE, "in/x"),
        (NODE, "out/x"),
        (NODE, "+/y"),
        (OTHER, "+/y"),
    ] {
        script.subscribed(place, filter, QoS::AtLeastOnce);
    }
    script.says(NODE, &subscribe("out/z", QoS::AtMostOnce, 89));
    script.requests.clear();
    let done = reconfigured(&mut script, |settings| {
        let rule = NodeRule {
            nodes: Pattern::new("a"),
            subscribe: filters(&["in/#"]),
            ..NodeRule::default()
        };
        settings.admission.rules = vec![Arc::new(rule)];
    });
    assert_eq!((done.subscriptions_removed, done.sessions_kept), (2, 2));
    // The other node's subscription stays.
    script.requests(&unsubscribed("out/x"));
    script.requests(&unsubscribed("out/z"));
    script.requests_nothing();
    let refusal = SubAck {
        qos: QoS::AtMostOnce,
        topic_id: TopicId::NONE,
        msg_id: MsgId(89),
        return_code: ReturnCode::NotSupported,
    };
    script.hears(NODE, &Message::SubAck(refusal));
    script.hears_nothing();
    for filter in ["out/x", "+/y"] {
        assert!(script.notices.contains(&Notice::Unsubscribed {
            client_id: "a".into(),
            filter: filter.into(),
        }));
    }
    // The broker's late answer is nobody's.
    script.upstream(UpstreamEvent::Subscribed {
        filter: "out/z".into(),
        result: Ok(QoS::AtMostOnce),
    });
    script.hears_nothing();
    script.delivery(1, "k/y", "x", QoS::AtMostOnce);
    script.accepts_register(OTHER, "k/y");
    script.hears_publish("x", false);
    script.hears_nothing();
    script.delivery(2, "in/x", "x", QoS::AtMostOnce);
    script.hears_publish("x", false);
}

#[test]
fn a_lower_ceiling_lowers_what_was_granted() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", QoS::AtLeastOnce);
    script.subscribed(NODE, "cmd", QoS::ExactlyOnce);
    script.says(NODE, &subscribe("late", QoS::ExactlyOnce, 89));
    let done = reconfigured(
        &mut script,
        by_one_rule(|rule| {
            rule.qos_max = QoS::AtMostOnce;
        }),
    );
    assert_eq!((done.subscriptions_removed, done.wills_removed), (0, 0));
    script.upstream(UpstreamEvent::Subscribed {
        filter: "late".into(),
        result: Ok(QoS::ExactlyOnce),
    });
    let granted = script.hears_some(|message| match message {
        Message::SubAck(ack) => Some(ack.qos),
        _ => None,
    });
    assert_eq!(granted, QoS::AtMostOnce);
    script.requests.clear();
    script.delivery(1, "cmd", "x", QoS::ExactlyOnce);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.hears_publish("x", false);
    script.wait(Duration::from_secs(91));
    script.publishes("lwt", "off", QoS::AtMostOnce);
}

#[test]
fn a_will_that_is_not_allowed_any_more_is_dropped() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", QoS::AtLeastOnce);
    let done = reconfigured(
        &mut script,
        by_one_rule(|rule| {
            rule.publish = filters(&["up/#"]);
        }),
    );
    assert_eq!((done.wills_removed, done.sessions_kept), (1, 1));
    assert_eq!(script.drops(), [DropReason::NotAuthorised]);
    script.wait(Duration::from_secs(91));
    script.requests_nothing();
}

#[test]
fn the_new_rule_holds_for_what_a_connected_node_does_next() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    let message = publish(TopicRef::Normal(id), "x", QoS::AtMostOnce, 0);
    let _ = reconfigured(
        &mut script,
        by_one_rule(|rule| {
            rule.quota.messages_per_min = Some(1);
        }),
    );
    script.says(NODE, &message);
    script.publishes("t", "x", QoS::AtMostOnce);
    script.says(NODE, &message);
    script.hears(NODE, &puback(id, MsgId::NONE, ReturnCode::Congestion));
    let _ = reconfigured(&mut script, |_| {});
    script.says(NODE, &message);
    script.publishes("t", "x", QoS::AtMostOnce);
    let _ = reconfigured(&mut script, by_one_rule(|rule| rule.publish = filters(&[])));
    script.says(NODE, &message);
    script.hears(NODE, &puback(id, MsgId::NONE, ReturnCode::NotSupported));
    script.requests_nothing();
}

#[test]
fn limits_hold_from_the_next_time_on() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.registered(NODE, "t");
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    for id in 1..=3 {
        script.delivery(id, "cmd", "x", QoS::AtLeastOnce);
    }
    let _ = reconfigured(&mut script, |settings| {
        settings.mailbox.messages_max = 3;
        settings.topics_max = 1;
        settings.sessions_max = 0;
    });
    assert_eq!(script.drops(), []);
    script.delivery(4, "cmd", "x", QoS::AtLeastOnce);
    assert_eq!(script.drops(), [DropReason::MailboxFull]);
    let register = |name: &'static str| {
        Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId(1),
            topic_name: name.as_bytes(),
        })
    };
    script.says(NODE, &register("t"));
    script.hears(NODE, &regack(TopicId(1026), MsgId(1), ACCEPTED));
    script.says(NODE, &register("u"));
    let full = regack(TopicId::NONE, MsgId(1), ReturnCode::Congestion);
    script.hears(NODE, &full);
    script.says(OTHER, &connect("b", true, false));
    script.hears(OTHER, &connack(ReturnCode::Congestion));
}

#[test]
fn a_subscription_by_a_predefined_id_stays_on_its_topic_until_it_is_made_again() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    granted_seven(&mut script, NODE, "pre/seven", 1);
    script.connected(OTHER, "b", true);
    granted_seven(&mut script, OTHER, "pre/seven", 1);
    let _ = reconfigured(&mut script, |settings| {
        settings.predefined.insert(TopicId(7), "new/seven".into());
    });
    let by_id = |message: Message<'_>| match message {
        Message::Publish(publish) => Some(publish.topic),
        _ => None,
    };
    script.delivery(1, "pre/seven", "x", QoS::AtMostOnce);
    for _ in 0..2 {
        assert_eq!(script.hears_some(by_id), TopicRef::Predefined(TopicId(7)));
    }
    // Up, the id means what it means now.
    let seven = TopicRef::Predefined(TopicId(7));
    script.says(NODE, &publish(seven, "x", QoS::AtMostOnce, 0));
    script.publishes("new/seven", "x", QoS::AtMostOnce);
    // Made again, the id names one topic, the new one.
    script.says(NODE, &subscribe_seven(2));
    let filter: Arc<str> = "new/seven".into();
    script.upstream(UpstreamEvent::Subscribed {
        filter,
        result: Ok(QoS::AtMostOnce),
    });
    script.sent.clear();
    script.delivery(2, "pre/seven", "old", QoS::AtMostOnce);
    let (place, _) = script.sent.pop_front().unwrap();
    assert_eq!(place, OTHER);
    script.hears_nothing();
    script.delivery(3, "new/seven", "new", QoS::AtMostOnce);
    script.hears_publish("new", false);
    // Ended by its id, the old one ends.
    script.requests.clear();
    script.says(
        OTHER,
        &Message::Unsubscribe(Unsubscribe {
            msg_id: MsgId(3),
            topic: TopicFilter::Predefined(TopicId(7)),
        }),
    );
    script.hears(OTHER, &Message::UnsubAck(MsgId(3)));
    script.requests(&unsubscribed("pre/seven"));
}

#[test]
fn more_grace_holds_for_the_silence_under_way() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", QoS::AtMostOnce);
    script.wait(Duration::from_secs(60));
    let _ = reconfigured(
        &mut script,
        by_one_rule(|rule| {
            rule.grace = Duration::from_secs(100);
        }),
    );
    script.wait(Duration::from_secs(129));
    script.requests_nothing();
    script.wait(Duration::from_secs(2));
    script.publishes("lwt", "off", QoS::AtMostOnce);
}

#[test]
fn new_rules_for_qos_minus_one_hold_at_once() {
    let allow = |filter: &str| {
        let rule = QosMinusOneRule {
            link: LinkId(0),
            from: Senders::default(),
            topics: vec![filter.into()],
            retain: false,
            rate_per_s: 1,
            burst: 1,
        };
        move |settings: &mut Settings| settings.qos_minus_one.push(rule)
    };
    let message = publish(TopicRef::Predefined(TopicId(7)), "x", QoS::MinusOne, 0);
    let mut script = Script::new();
    let _ = reconfigured(&mut script, allow("#"));
    script.says(NODE, &message);
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    // What was sent by one rule does not count towards the rate of another in its place.
    let _ = reconfigured(&mut script, allow("pre/#"));
    script.says(NODE, &message);
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    let _ = reconfigured(&mut script, |_| {});
    script.says(NODE, &message);
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::QosMinusOneRefused]);
}
