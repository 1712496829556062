//! Who is served, what it may do, and how much of it (D-42 to D-44, A.19 rows 14 and 28, A.20).

use shared::wire::{Forward, NodeId, ShortName, WillTarget};

use super::*;

fn elsewhere() -> Binding {
    Binding {
        peer: Peer::Socket("192.0.2.7:4000".parse().unwrap()),
        ..NODE
    }
}

fn rule(change: impl FnOnce(&mut NodeRule)) -> Arc<NodeRule> {
    let mut rule = NodeRule::default();
    change(&mut rule);
    Arc::new(rule)
}

/// A gateway that treats all nodes alike.
fn by_one_rule(change: impl FnOnce(&mut NodeRule)) -> Script {
    let rule = rule(change);
    Script::with(|settings| settings.admission.others = Some(rule))
}

/// A gateway that serves the nodes of some rules and no others.
fn by_rules(rules: Vec<Arc<NodeRule>>) -> Script {
    Script::with(|settings| {
        settings.admission = Admission {
            rules,
            others: None,
        };
    })
}

fn named(pattern: &str, change: impl FnOnce(&mut NodeRule)) -> Arc<NodeRule> {
    rule(|rule| {
        rule.nodes = Pattern::new(pattern);
        change(rule);
    })
}

fn filters(filters: &[&str]) -> Option<Vec<Arc<str>>> {
    Some(filters.iter().map(|filter| Arc::from(*filter)).collect())
}

fn local() -> Senders {
    Senders {
        addresses: vec!["127.0.0.0/8".parse().unwrap()],
        node_ids: Vec::new(),
    }
}

fn wrapped(node_id: u8, message: &Message<'_>) -> Vec<u8> {
    let mut inner = vec![0; message.encoded_len()];
    message.emit(&mut inner).unwrap();
    let forward = Message::Forward(Forward {
        radius: 0,
        node_id: &[node_id],
        inner: &inner,
    });
    let mut datagram = vec![0; forward.encoded_len()];
    forward.emit(&mut datagram).unwrap();
    datagram
}

fn suback(qos: QoS, topic_id: TopicId, return_code: ReturnCode) -> Message<'static> {
    Message::SubAck(SubAck {
        qos,
        topic_id,
        msg_id: MsgId(88),
        return_code,
    })
}

const REFUSED_SUBSCRIBE: Message<'static> = Message::SubAck(SubAck {
    qos: QoS::AtMostOnce,
    topic_id: TopicId::NONE,
    msg_id: MsgId(88),
    return_code: ReturnCode::NotSupported,
});

fn register(name: &str) -> Message<'_> {
    Message::Register(Register {
        topic_id: TopicId::NONE,
        msg_id: MsgId(5),
        topic_name: name.as_bytes(),
    })
}

fn will_target(topic: &str, qos: QoS) -> Option<WillTarget<'_>> {
    Some(WillTarget {
        qos,
        retain: false,
        topic: topic.as_bytes(),
    })
}

const fn will_response(return_code: ReturnCode) -> Message<'static> {
    Message::WillTopicResp(ConnAck { return_code })
}

/// What follows the broker's yes to the next subscription.
fn grants(script: &mut Script) -> QoS {
    let Some(UpstreamRequest::Subscribe { filter, qos }) = script.requests.pop_front() else {
        panic!("no subscription went upstream");
    };
    let result = Ok(QoS::ExactlyOnce);
    script.upstream(UpstreamEvent::Subscribed { filter, result });
    qos
}

// ---- who, and where ----

#[test]
fn d43_a_client_id_that_no_rule_names_is_refused_for_good() {
    let mut script = by_rules(vec![named("pump-*", |_| {})]);
    for (client_id, will) in [("valve-1", false), ("Pump-1", true)] {
        script.says(NODE, &connect(client_id, true, will));
        script.hears(NODE, &connack(ReturnCode::NotSupported));
    }
    assert_eq!(script.drops(), [DropReason::NotAdmitted; 2]);
    assert_eq!(script.engine.sessions_len(), 0);
    script.connected(NODE, "pump-1", true);
}

#[test]
fn d44_a_node_is_refused_on_another_link_at_another_address_behind_another_forwarder() {
    let node_7 = NodeId::new(&[7]).unwrap();
    let other_link = rule(|rule| rule.links = vec![LinkId(1)]);
    let other_address = rule(|rule| rule.from = local());
    let behind_one = rule(|rule| rule.from.node_ids = vec![node_7]);
    for (rule, place) in [
        (other_link, NODE),
        (other_address, elsewhere()),
        (behind_one, NODE),
    ] {
        let mut script = Script::with(|settings| settings.admission.others = Some(rule));
        script.says(place, &connect("a", true, false));
        script.hears(place, &connack(ReturnCode::NotSupported));
        assert_eq!(script.drops(), [DropReason::NotAdmitted]);
    }
    let mut script = Script::with(|settings| {
        settings.links[0].forwarders = Forwarders::Anyone;
        settings.admission.others = Some(rule(|rule| {
            rule.links = vec![LinkId(0)];
            rule.from = local();
            rule.from.node_ids = vec![node_7];
        }));
    });
    script.raw(elsewhere(), &wrapped(7, &connect("a", true, false)));
    script.raw(NODE, &wrapped(8, &connect("a", true, false)));
    assert_eq!(script.engine.sessions_len(), 0);
    script.raw(NODE, &wrapped(7, &connect("a", true, false)));
    assert_eq!(script.engine.sessions_len(), 1);
}

#[test]
fn d44_a_will_handshake_does_not_begin_for_who_is_not_admitted() {
    let mut script = by_one_rule(|rule| rule.from = local());
    script.says(elsewhere(), &connect("a", true, true));
    script.hears(elsewhere(), &connack(ReturnCode::NotSupported));
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
}

#[test]
fn d31_a_sleeper_is_followed_only_to_where_it_may_connect() {
    let mut script = by_one_rule(|rule| rule.from = local());
    script.connected(NODE, "a", true);
    script.says(NODE, &disconnect(Some(600)));
    script.hears(NODE, &disconnect(None));
    script.says(elsewhere(), &ping("a"));
    script.hears(elsewhere(), &disconnect(None));
    assert_eq!(script.drops(), [DropReason::NotAdmitted]);
    // It is told as seldom as any stranger, and moves nothing.
    script.says(elsewhere(), &ping("a"));
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::NotAdmitted]);
    script.says(NODE, &ping("a"));
    script.hears(NODE, &Message::PingResp);
    script.says(OTHER, &ping("a"));
    script.hears(OTHER, &Message::PingResp);
}

#[test]
fn d29_nobody_takes_a_session_over_from_where_its_node_may_not_be() {
    let mut script = by_one_rule(|rule| rule.from = local());
    script.connected(NODE, "a", false);
    script.says(elsewhere(), &connect("a", true, false));
    script.hears(elsewhere(), &connack(ReturnCode::NotSupported));
    script.hears_nothing();
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d43_a_client_id_that_would_widen_its_filters_is_refused() {
    let mut script = by_one_rule(|rule| rule.publish = filters(&["up/%c/#"]));
    for client_id in ["#", "+", "a/b", "$a"] {
        script.says(NODE, &connect(client_id, true, false));
        script.hears(NODE, &connack(ReturnCode::NotSupported));
    }
    assert_eq!(script.drops(), [DropReason::NotAdmitted; 4]);
}

#[test]
fn row_28_refusals_are_bounded_and_a_node_that_repeats_itself_is_answered() {
    let mut script = by_rules(vec![named("pump-*", |_| {})]);
    for _ in 0..8 {
        script.says(NODE, &connect("valve", true, false));
        script.hears(NODE, &connack(ReturnCode::NotSupported));
        script.wait(Duration::from_secs(1));
    }
    for _ in 0..100 {
        script.says(NODE, &connect("valve", true, false));
    }
    assert_eq!(script.sent.len(), 4);
    script.sent.clear();
    for port in 10..5010 {
        script.says(node(port), &connect("valve", true, port % 2 == 0));
    }
    assert!(script.sent.len() <= 100, "{}", script.sent.len());
    assert!(script.engine.stats().replies_withheld >= 4900);
    assert_eq!(script.engine.stats().dropped, 5108);
    script.sent.clear();
    // Who is served is answered whatever others do.
    script.connected(OTHER, "pump-1", true);
    script.says(OTHER, &connect("valve", true, false));
    script.hears(OTHER, &connack(ReturnCode::NotSupported));
}

#[test]
fn row_28_a_full_gateway_refuses_with_congestion_at_a_bounded_rate() {
    let mut script = Script::with(|settings| settings.sessions_max = 1);
    script.connected(NODE, "a", true);
    for port in 10..1010 {
        let client_id = format!("n{port}");
        script.says(node(port), &connect(&client_id, true, port % 2 == 0));
    }
    assert_eq!(script.sent.len(), 100);
    script.hears(node(10), &connack(ReturnCode::Congestion));
    assert_eq!(script.drops(), [DropReason::SessionsFull; 1000]);
    assert_eq!(script.engine.handshakes.len(), 0);
}

#[test]
fn handshakes_that_nobody_ends_keep_no_other_connect_out() {
    let mut script = Script::new();
    for port in 10..2010 {
        script.says(node(port), &connect("x", true, true));
    }
    assert_eq!(script.engine.handshakes.len(), 1024);
    assert_eq!(script.drops(), [DropReason::HandshakesFull; 976]);
    script.sent.clear();
    script.connected(NODE, "a", true);
    script.says(node(10), &connect("x", true, true));
    script.hears(node(10), &Message::WillTopicReq);
}

#[test]
fn sessions_that_filled_up_during_a_will_handshake_are_bounded_too() {
    let mut script = Script::with(|settings| settings.sessions_max = 1);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.connected(OTHER, "b", true);
    script.says(NODE, &Message::WillTopic(None));
    script.hears(NODE, &connack(ReturnCode::Congestion));
    assert_eq!(script.drops(), [DropReason::SessionsFull]);
    assert_eq!(script.engine.sessions_len(), 1);
}

// ---- topics ----

#[test]
fn d43_publications_outside_the_rule_are_refused_at_every_qos() {
    let mut script = by_one_rule(|rule| rule.publish = filters(&["up/%c/#", "ab"]));
    script.connected(NODE, "a", true);
    let own = script.registered(NODE, "up/a/t");
    script.says(
        NODE,
        &publish(TopicRef::Normal(own), "x", QoS::AtMostOnce, 0),
    );
    script.publishes("up/a/t", "x", QoS::AtMostOnce);
    let short = TopicRef::Short(ShortName(*b"ab"));
    script.says(NODE, &publish(short, "x", QoS::AtMostOnce, 0));
    script.publishes("ab", "x", QoS::AtMostOnce);
    let foreign = TopicRef::Predefined(TopicId(7));
    let code = ReturnCode::NotSupported;
    for (qos, msg_id) in [
        (QoS::AtMostOnce, 0),
        (QoS::AtLeastOnce, 4),
        (QoS::ExactlyOnce, 5),
        (QoS::ExactlyOnce, 5),
    ] {
        script.says(NODE, &publish(foreign, "x", qos, msg_id));
        script.hears(NODE, &puback(TopicId(7), MsgId(msg_id), code));
    }
    script.says(NODE, &publish(foreign, "x", QoS::MinusOne, 0));
    script.hears_nothing();
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::NotAuthorised; 5]);
}

#[test]
fn row_14_refusals_at_qos_0_are_told_once_a_minute_for_each_node() {
    let mut script = by_one_rule(|rule| rule.publish = filters(&[]));
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    let message = publish(TopicRef::Predefined(TopicId(7)), "x", QoS::AtMostOnce, 0);
    let refusal = puback(TopicId(7), MsgId::NONE, ReturnCode::NotSupported);
    for at in [NODE, OTHER] {
        script.says(at, &message);
        script.hears(at, &refusal);
    }
    for _ in 0..59 {
        script.wait(Duration::from_secs(1));
        script.says(NODE, &message);
    }
    script.hears_nothing();
    script.wait(Duration::from_secs(1));
    script.says(NODE, &message);
    script.hears(NODE, &refusal);
    assert_eq!(script.drops().len(), 62);
    // An unknown id is the node's to mend, and told every time (D-45).
    let unknown = publish(TopicRef::Predefined(TopicId(9)), "x", QoS::AtMostOnce, 0);
    for _ in 0..2 {
        script.says(NODE, &unknown);
        let refusal = puback(TopicId(9), MsgId::NONE, ReturnCode::InvalidTopicId);
        script.hears(NODE, &refusal);
    }
}

#[test]
fn d43_a_name_is_registered_where_it_may_be_published_or_is_subscribed() {
    let mut script = by_one_rule(|rule| {
        rule.publish = filters(&["up/#"]);
        rule.subscribe = filters(&["down/#"]);
    });
    script.connected(NODE, "a", true);
    script.registered(NODE, "up/x");
    let refusal = regack(TopicId::NONE, MsgId(5), ReturnCode::NotSupported);
    script.says(NODE, &register("down/x"));
    script.hears(NODE, &refusal);
    assert_eq!(script.drops(), [DropReason::NotAuthorised]);
    script.subscribed(NODE, "down/+", QoS::AtLeastOnce);
    let id = script.registered(NODE, "down/x");
    script.says(NODE, &register("down/x/y"));
    script.hears(NODE, &refusal);
    // The id is for what comes down alone.
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1),
    );
    script.hears(NODE, &puback(id, MsgId(1), ReturnCode::NotSupported));
    script.delivery(1, "down/x", "open", QoS::AtMostOnce);
    script.hears_publish("open", false);
}

#[test]
fn d43_wills_outside_the_rule_are_refused() {
    let mut script = by_one_rule(|rule| rule.publish = filters(&["up/%c/#"]));
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    let target = will_target("up/b/lwt", QoS::AtMostOnce);
    script.says(NODE, &Message::WillTopic(target));
    script.hears(NODE, &connack(ReturnCode::NotSupported));
    assert_eq!(script.drops(), [DropReason::NotAuthorised]);
    assert_eq!(script.engine.sessions_len(), 0);

    script.connected(NODE, "a", true);
    script.says(NODE, &Message::WillTopicUpd(target));
    script.hears(NODE, &will_response(ReturnCode::NotSupported));
    assert_eq!(script.drops(), [DropReason::NotAuthorised]);
    let target = will_target("up/a/lwt", QoS::AtMostOnce);
    script.says(NODE, &Message::WillTopicUpd(target));
    script.hears(NODE, &will_response(ACCEPTED));
}

#[test]
fn d43_subscriptions_must_be_covered_by_the_rule() {
    let mut script = by_one_rule(|rule| rule.subscribe = filters(&["down/%c/#", "pre/+"]));
    script.connected(NODE, "a", true);
    for filter in ["down/+/x", "down/b/x", "#", "pre/#", "other"] {
        script.says(NODE, &subscribe(filter, QoS::AtMostOnce, 88));
        script.hears(NODE, &REFUSED_SUBSCRIBE);
    }
    assert_eq!(script.drops(), [DropReason::NotAuthorised; 5]);
    script.requests_nothing();
    // A refused name uses up no id.
    let id = script.subscribed(NODE, "down/a/x", QoS::AtMostOnce);
    assert_eq!(id, TopicId(1025));
    script.subscribed(NODE, "down/a/#", QoS::AtMostOnce);
    script.says(
        NODE,
        &Message::Subscribe(Subscribe {
            dup: false,
            qos: QoS::AtMostOnce,
            msg_id: MsgId(88),
            topic: TopicFilter::Predefined(TopicId(7)),
        }),
    );
    grants(&mut script);
    script.hears(NODE, &suback(QoS::AtMostOnce, TopicId(7), ACCEPTED));
    script.says(
        NODE,
        &Message::Subscribe(Subscribe {
            dup: false,
            qos: QoS::AtMostOnce,
            msg_id: MsgId(88),
            topic: TopicFilter::Short(ShortName(*b"zz")),
        }),
    );
    script.hears(NODE, &REFUSED_SUBSCRIBE);
}

#[test]
fn the_qos_ceiling_refuses_publications_and_lowers_subscriptions_and_wills() {
    let mut script = by_one_rule(|rule| rule.qos_max = QoS::AtMostOnce);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    let target = will_target("lwt", QoS::ExactlyOnce);
    script.says(NODE, &Message::WillTopic(target));
    script.hears(NODE, &Message::WillMsgReq);
    script.says(NODE, &Message::WillMsg(b"off"));
    script.hears(NODE, &connack(ACCEPTED));
    let topic = TopicRef::Predefined(TopicId(7));
    for (qos, msg_id) in [(QoS::AtLeastOnce, 4), (QoS::ExactlyOnce, 5)] {
        script.says(NODE, &publish(topic, "x", qos, msg_id));
        let refusal = puback(TopicId(7), MsgId(msg_id), ReturnCode::NotSupported);
        script.hears(NODE, &refusal);
    }
    assert_eq!(script.drops(), [DropReason::QosCeiling; 2]);
    script.says(NODE, &publish(topic, "x", QoS::AtMostOnce, 0));
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    script.says(NODE, &subscribe("t", QoS::ExactlyOnce, 88));
    assert_eq!(grants(&mut script), QoS::AtMostOnce);
    script.hears(NODE, &suback(QoS::AtMostOnce, TopicId(1025), ACCEPTED));
    script.wait(Duration::from_secs(91));
    script.publishes("lwt", "off", QoS::AtMostOnce);
}

// ---- client stacks ----

#[test]
fn a20_emcute_subscribes_to_exact_names_at_qos_1_at_most() {
    let mut script = by_one_rule(|rule| rule.profile = Profile::EMCUTE);
    script.connected(NODE, "a", true);
    script.says(NODE, &subscribe("cmd/#", QoS::AtMostOnce, 88));
    script.hears(NODE, &REFUSED_SUBSCRIBE);
    for topic in [
        TopicFilter::Predefined(TopicId(7)),
        TopicFilter::Short(ShortName(*b"ab")),
    ] {
        script.says(
            NODE,
            &Message::Subscribe(Subscribe {
                dup: false,
                qos: QoS::AtMostOnce,
                msg_id: MsgId(88),
                topic,
            }),
        );
        script.hears(NODE, &REFUSED_SUBSCRIBE);
    }
    assert_eq!(script.drops(), [DropReason::Profile; 3]);
    script.requests_nothing();
    script.says(NODE, &subscribe("cmd/a", QoS::ExactlyOnce, 88));
    assert_eq!(grants(&mut script), QoS::AtLeastOnce);
    // It drops a subscription whose SUBACK has no topic id.
    script.hears(NODE, &suback(QoS::AtLeastOnce, TopicId(1025), ACCEPTED));
}

#[test]
fn a20_asymcute_may_subscribe_by_ids_but_not_by_wildcards() {
    let mut script = by_one_rule(|rule| rule.profile = Profile::ASYMCUTE);
    script.connected(NODE, "a", true);
    script.says(NODE, &subscribe("+", QoS::AtMostOnce, 88));
    script.hears(NODE, &REFUSED_SUBSCRIBE);
    let by_id = Subscribe {
        dup: false,
        qos: QoS::ExactlyOnce,
        msg_id: MsgId(88),
        topic: TopicFilter::Predefined(TopicId(7)),
    };
    script.says(NODE, &Message::Subscribe(by_id));
    assert_eq!(grants(&mut script), QoS::AtLeastOnce);
    script.hears(NODE, &suback(QoS::AtLeastOnce, TopicId(7), ACCEPTED));
}

#[test]
fn a20_ids_stay_known_over_connect_to_stacks_that_are_told_only_once() {
    for (profile, is_told_again) in [
        (Profile::STANDARD, true),
        (Profile::PAHO, true),
        (Profile::ZEPHYR, false),
        (Profile::EMCUTE, false),
        (Profile::ASYMCUTE, false),
    ] {
        let mut script = by_one_rule(|rule| rule.profile = profile);
        script.connected(NODE, "a", false);
        script.subscribed(NODE, "cmd", QoS::AtMostOnce);
        script.says(NODE, &disconnect(None));
        script.hears(NODE, &disconnect(None));
        script.connected(NODE, "a", false);
        script.delivery(1, "cmd", "x", QoS::AtMostOnce);
        if is_told_again {
            script.accepts_register(NODE, "cmd");
        }
        script.hears_publish("x", false);
    }
}

// ---- quotas ----

fn per_min(messages: u32) -> Script {
    by_one_rule(|rule| rule.quota.messages_per_min = Some(messages))
}

const SEVEN: TopicRef = TopicRef::Predefined(TopicId(7));

fn congestion(msg_id: u16) -> Message<'static> {
    puback(TopicId(7), MsgId(msg_id), ReturnCode::Congestion)
}

#[test]
fn d42_publications_beyond_the_quota_are_refused_with_congestion() {
    let mut script = per_min(2);
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    for (msg_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        script.says(NODE, &publish(SEVEN, "x", qos, msg_id));
        script.publishes("pre/seven", "x", qos);
    }
    for (msg_id, qos) in [(3, QoS::AtLeastOnce), (4, QoS::ExactlyOnce)] {
        script.says(NODE, &publish(SEVEN, "x", qos, msg_id));
        script.hears(NODE, &congestion(msg_id));
    }
    assert_eq!(script.drops(), [DropReason::QuotaMessages; 2]);
    // It is each node's own.
    script.says(OTHER, &publish(SEVEN, "x", QoS::AtLeastOnce, 1));
    script.publishes("pre/seven", "x", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(30));
    script.says(NODE, &publish(SEVEN, "x", QoS::AtLeastOnce, 3));
    script.publishes("pre/seven", "x", QoS::AtLeastOnce);
    script.requests_nothing();
}

#[test]
fn d42_at_qos_0_the_quota_is_told_once_a_minute_and_at_minus_one_never() {
    let mut script = per_min(1);
    script.connected(NODE, "a", true);
    script.says(NODE, &publish(SEVEN, "x", QoS::MinusOne, 0));
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    script.says(NODE, &publish(SEVEN, "x", QoS::MinusOne, 0));
    script.hears_nothing();
    for expected in [true, false, false] {
        script.says(NODE, &publish(SEVEN, "x", QoS::AtMostOnce, 0));
        if expected {
            script.hears(NODE, &congestion(0));
        }
        script.hears_nothing();
    }
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::QuotaMessages; 4]);
    script.wait(Duration::from_secs(60));
    script.says(NODE, &publish(SEVEN, "x", QoS::AtMostOnce, 0));
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    script.says(NODE, &publish(SEVEN, "x", QoS::AtMostOnce, 0));
    script.hears(NODE, &congestion(0));
}

#[test]
fn d42_repetitions_of_what_was_taken_cost_nothing() {
    let mut script = per_min(1);
    script.connected(NODE, "a", true);
    let message = publish(SEVEN, "x", QoS::ExactlyOnce, 9);
    script.says(NODE, &message);
    let sent = script.publishes("pre/seven", "x", QoS::ExactlyOnce);
    script.says(NODE, &message);
    script.hears_nothing();
    script.taken(sent);
    script.hears(NODE, &Message::PubRec(MsgId(9)));
    script.says(NODE, &message);
    script.hears(NODE, &Message::PubRec(MsgId(9)));
    assert_eq!(script.drops(), []);
}

#[test]
fn d42_what_the_upstream_gave_back_costs_nothing() {
    let mut script = by_one_rule(|rule| {
        rule.quota = Quota {
            messages_per_min: Some(1),
            bytes_per_day: Some(10),
        };
    });
    script.connected(NODE, "a", true);
    let message = publish(SEVEN, "x", QoS::AtLeastOnce, 2);
    script.says(NODE, &message);
    let request = script.requests.pop_front().unwrap();
    script.engine.handle_not_taken(&request);
    script.drain();
    script.says(NODE, &message);
    script.publishes("pre/seven", "x", QoS::AtLeastOnce);
}

#[test]
fn d42_the_octets_of_a_day_are_bounded() {
    let mut script = by_one_rule(|rule| rule.quota.bytes_per_day = Some(30));
    script.connected(NODE, "a", false);
    // "pre/seven" has 9 octets.
    script.says(NODE, &publish(SEVEN, "0123456789a", QoS::AtLeastOnce, 1));
    script.publishes("pre/seven", "0123456789a", QoS::AtLeastOnce);
    script.says(NODE, &publish(SEVEN, "xx", QoS::AtLeastOnce, 2));
    script.hears(NODE, &congestion(2));
    assert_eq!(script.drops(), [DropReason::QuotaBytes]);
    script.says(NODE, &publish(SEVEN, "x", QoS::AtLeastOnce, 3));
    script.publishes("pre/seven", "x", QoS::AtLeastOnce);
    script.wait(Duration::from_secs(25 * 3600));
    script.connected(NODE, "a", false);
    script.says(NODE, &publish(SEVEN, "xx", QoS::AtLeastOnce, 2));
    script.publishes("pre/seven", "xx", QoS::AtLeastOnce);
}

#[test]
fn d42_connecting_anew_resets_no_quota() {
    for clean in [true, false] {
        let mut script = per_min(1);
        script.connected(NODE, "a", clean);
        script.says(NODE, &publish(SEVEN, "x", QoS::AtLeastOnce, 1));
        script.publishes("pre/seven", "x", QoS::AtLeastOnce);
        for (former, place) in [(NODE, NODE), (NODE, OTHER)] {
            script.says(former, &disconnect(None));
            script.hears(former, &disconnect(None));
            script.connected(place, "a", clean);
            script.says(place, &publish(SEVEN, "y", QoS::AtLeastOnce, 2));
            script.hears(place, &congestion(2));
        }
    }
}

#[test]
fn d42_quotas_of_nodes_that_left_are_kept_in_bounded_memory() {
    let mut script = Script::with(|settings| {
        settings.sessions_max = 20;
        settings.admission.others = Some(rule(|rule| rule.quota.messages_per_min = Some(1)));
    });
    for n in 0..200 {
        script.connected(NODE, &format!("n{n}"), true);
        if n % 2 == 0 {
            script.says(NODE, &publish(SEVEN, "x", QoS::AtMostOnce, 0));
        }
        script.says(NODE, &disconnect(None));
        script.hears(NODE, &disconnect(None));
    }
    assert_eq!(script.engine.meters.len(), 20);
    script.wait(Duration::from_secs(60));
    script.connected(NODE, "n", true);
    script.says(NODE, &disconnect(None));
    assert_eq!(script.engine.meters.len(), 0);
}

#[test]
fn d42_wills_do_not_count_towards_the_quota() {
    let mut script = per_min(0);
    script.says(NODE, &connect("a", true, true));
    script.says(NODE, &Message::WillTopic(will_target("w", QoS::AtMostOnce)));
    script.says(NODE, &Message::WillMsg(b"off"));
    script.wait(Duration::from_secs(91));
    script.publishes("w", "off", QoS::AtMostOnce);
}

// ---- priority ----

#[test]
fn everything_to_a_node_goes_with_its_priority() {
    let mut script = by_rules(vec![
        named("high", |rule| rule.priority = Priority::High),
        named("low", |rule| rule.priority = Priority::Low),
    ]);
    for (place, client_id, priority) in [
        (NODE, "high", Priority::High),
        (OTHER, "low", Priority::Low),
    ] {
        let mut sent = 0;
        let messages = [
            connect(client_id, true, false),
            connect(client_id, true, false),
            register("t"),
            subscribe("cmd/#", QoS::AtMostOnce, 1),
            publish(TopicRef::Normal(TopicId(9)), "x", QoS::AtMostOnce, 0),
            ping(""),
        ];
        for message in messages {
            let mut buf = vec![0; message.encoded_len()];
            message.emit(&mut buf).unwrap();
            script.engine.handle_datagram(script.now, place, &buf);
        }
        script.engine.handle_upstream(
            script.now,
            UpstreamEvent::Subscribed {
                filter: "cmd/#".into(),
                result: Ok(QoS::AtMostOnce),
            },
        );
        let delivery = Delivery::new(None, publication("cmd/x", "x", QoS::AtMostOnce, false));
        script
            .engine
            .handle_upstream(script.now, UpstreamEvent::Delivery(delivery));
        while let Some(output) = script.engine.poll_output() {
            if let Output::Transmit {
                priority: found,
                binding,
                datagram,
            } = output
                && binding == place
            {
                assert_eq!(found, priority, "{:?}", Message::parse(&datagram));
                sent += 1;
            }
        }
        assert_eq!(
            sent, 7,
            "two CONNACKs, REGACK, PUBACK, PINGRESP, SUBACK, REGISTER"
        );
    }
}

fn crowded(sessions_max: usize) -> Script {
    Script::with(|settings| {
        settings.sessions_max = sessions_max;
        settings.admission.rules = vec![
            named("high*", |rule| rule.priority = Priority::High),
            named("low*", |rule| rule.priority = Priority::Low),
        ];
    })
}

fn leaves(script: &mut Script, place: Binding, client_id: &str) {
    script.connected(place, client_id, false);
    script.says(place, &disconnect(None));
    script.hears(place, &disconnect(None));
    script.wait(Duration::from_secs(1));
}

fn client_ids(script: &Script) -> Vec<String> {
    let ids = script.engine.sessions();
    let mut ids: Vec<_> = ids.map(|node| node.client_id.to_owned()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_full_gateway_gives_the_place_of_who_left_first_to_a_node_of_higher_priority() {
    let mut script = crowded(4);
    for (place, client_id) in [
        (NODE, "normal-1"),
        (NODE, "low-2"),
        (NODE, "low-1"),
        (NODE, "high-1"),
    ] {
        leaves(&mut script, place, client_id);
    }
    script.notices.clear();
    // As important as who would have to go, or less: refused.
    script.says(NODE, &connect("low-3", false, false));
    script.hears(NODE, &connack(ReturnCode::Congestion));
    script.connected(NODE, "normal-2", false);
    assert_eq!(
        client_ids(&script),
        ["high-1", "low-1", "normal-1", "normal-2"]
    );
    assert!(script.notices.contains(&Notice::Ended {
        client_id: "low-2".into(),
        how: Ending::Displaced,
    }));
    script.connected(OTHER, "high-2", false);
    assert_eq!(
        client_ids(&script),
        ["high-1", "high-2", "low-1", "normal-2"]
    );
    script.connected(node(3), "high-3", false);
    // Only nodes that are connected are left below it.
    script.says(node(4), &connect("high-4", false, true));
    script.hears(node(4), &connack(ReturnCode::Congestion));
    assert_eq!(
        client_ids(&script),
        ["high-1", "high-2", "high-3", "normal-2"]
    );
}

#[test]
fn a_session_with_mail_or_with_something_under_way_is_not_displaced() {
    let mut script = crowded(2);
    script.connected(NODE, "low-1", false);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.delivery(1, "cmd", "x", QoS::AtLeastOnce);
    script.connected(OTHER, "low-2", false);
    script.says(OTHER, &publish(SEVEN, "x", QoS::AtLeastOnce, 1));
    let sent = script.publishes("pre/seven", "x", QoS::AtLeastOnce);
    script.says(OTHER, &disconnect(None));
    script.hears(OTHER, &disconnect(None));
    script.says(node(3), &connect("high", false, false));
    script.hears(node(3), &connack(ReturnCode::Congestion));
    script.taken(sent);
    // Having found none, the gateway looks again only after a while.
    script.says(node(3), &connect("high", false, false));
    script.hears(node(3), &connack(ReturnCode::Congestion));
    script.wait(Duration::from_secs(1));
    script.connected(node(3), "high", false);
    assert_eq!(client_ids(&script), ["high", "low-1"]);
}

// ---- those who watch ----

#[test]
fn the_nodes_are_listed_with_what_waits_for_them() {
    let mut script = crowded(9);
    script.connected(NODE, "low-1", false);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.says(NODE, &disconnect(Some(60)));
    script.hears(NODE, &disconnect(None));
    script.delivery(1, "cmd", "12345", QoS::AtLeastOnce);
    script.delivery(2, "cmd", "12", QoS::AtLeastOnce);
    leaves(&mut script, OTHER, "gone");
    script.connected(OTHER, "high", true);
    let listed: Vec<_> = script.engine.sessions().collect();
    let of = |client_id| {
        let found = listed.iter().find(|node| node.client_id == client_id);
        *found.unwrap()
    };
    let low = of("low-1");
    assert_eq!((low.state, low.binding), (NodeState::Asleep, Some(NODE)));
    assert_eq!((low.mailbox_len, low.mailbox_bytes), (2, 13));
    assert_eq!(low.priority, Priority::Low);
    assert_eq!(
        (of("gone").state, of("gone").binding),
        (NodeState::Gone, None)
    );
    assert_eq!(of("high").state, NodeState::Active);
    assert_eq!(of("high").priority, Priority::High);
    script.says(NODE, &ping("low-1"));
    script.hears_publish("12345", false);
    let low = script.engine.sessions().next().unwrap();
    assert_eq!(low.state, NodeState::Awake);
    assert_eq!((low.mailbox_len, low.mailbox_bytes), (2, 13));
}
