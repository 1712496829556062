//! A session belongs to a client id, and addresses change (A.14, D-10, D-13, D-14, D-28 to
//! D-31); a sender that belongs to none changes nothing (A.15, D-34).

use shared::wire::{Forward, SearchGw, ShortName, Unsubscribe, WillTarget};

use super::*;

const THIRD: Binding = node(3);

fn connected_with_will(script: &mut Script, place: Binding, client_id: &str, clean: bool) {
    let target = WillTarget {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: b"lwt",
    };
    script.says(place, &connect(client_id, clean, true));
    script.hears(place, &Message::WillTopicReq);
    script.says(place, &Message::WillTopic(Some(target)));
    script.hears(place, &Message::WillMsgReq);
    script.says(place, &Message::WillMsg(b"off"));
    script.hears(place, &connack(ACCEPTED));
}

fn falls_asleep(script: &mut Script, place: Binding) {
    script.says(place, &disconnect(Some(600)));
    script.hears(place, &disconnect(None));
}

fn leaves(script: &mut Script, place: Binding) {
    script.says(place, &disconnect(None));
    script.hears(place, &disconnect(None));
}

// ---- unknown senders ----

#[test]
fn d28_every_message_of_a_stranger_but_connect_is_answered_with_disconnect() {
    let ack = Acknowledgement {
        topic_id: TopicId(1),
        msg_id: MsgId(1),
        return_code: ACCEPTED,
    };
    let register = Register {
        topic_id: TopicId::NONE,
        msg_id: MsgId(1),
        topic_name: b"t",
    };
    let unsubscribe = Unsubscribe {
        msg_id: MsgId(1),
        topic: TopicFilter::Name(b"t"),
    };
    let messages = [
        Message::WillTopic(None),
        Message::WillMsg(b"x"),
        Message::Register(register),
        Message::RegAck(ack),
        publish(TopicRef::Predefined(TopicId(7)), "x", QoS::AtMostOnce, 0),
        publish(TopicRef::Predefined(TopicId(7)), "x", QoS::ExactlyOnce, 1),
        Message::PubAck(ack),
        Message::PubRec(MsgId(1)),
        Message::PubRel(MsgId(1)),
        Message::PubComp(MsgId(1)),
        subscribe("#", QoS::AtMostOnce, 1),
        Message::Unsubscribe(unsubscribe),
        ping(""),
        ping("nobody"),
        disconnect(None),
        disconnect(Some(60)),
        Message::WillTopicUpd(None),
        Message::WillMsgUpd(b"x"),
    ];
    let mut script = Script::new();
    for (port, message) in (10..).zip(&messages) {
        script.says(node(port), message);
        script.hears(node(port), &disconnect(None));
    }
    script.hears_nothing();
    script.requests_nothing();
    assert_eq!(script.drops(), vec![DropReason::Stranger; messages.len()]);
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn a_node_that_is_known_but_not_connected_is_sent_off() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.registered(NODE, "t");
    leaves(&mut script, NODE);
    for message in [
        publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1),
        ping("a"),
        disconnect(None),
    ] {
        script.says(NODE, &message);
        script.hears(NODE, &disconnect(None));
        script.wait(Duration::from_secs(5));
    }
    script.requests_nothing();
    script.connected(NODE, "a", false);
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1),
    );
    script.publishes("t", "x", QoS::AtLeastOnce);
}

#[test]
fn five_thousand_strays_cost_bounded_memory_and_answers_and_reach_nobody() {
    let mut script = Script::with(|settings| {
        settings.admission.others = None;
        settings.admission.rules = vec![Arc::new(NodeRule {
            nodes: Pattern::new("own"),
            from: Senders {
                addresses: vec!["127.0.0.1".parse().unwrap()],
                node_ids: Vec::new(),
            },
            ..NodeRule::default()
        })];
    });
    script.connected(NODE, "own", true);
    let id = script.registered(NODE, "t");
    let stray = |n: u16| Binding {
        peer: Peer::Socket(std::net::SocketAddr::from(([10, 0, 0, 1], n))),
        ..NODE
    };
    let forward = Forward {
        radius: 0,
        node_id: &[1],
        inner: &[2, 0x18],
    };
    let messages = [
        connect("own", true, false),
        connect("stray", false, true),
        Message::WillMsg(b"x"),
        publish(TopicRef::Normal(id), "x", QoS::MinusOne, 0),
        publish(TopicRef::Normal(id), "x", QoS::AtMostOnce, 0),
        publish(TopicRef::Normal(id), "x", QoS::ExactlyOnce, 3),
        subscribe("#", QoS::AtLeastOnce, 4),
        ping(""),
        ping("own"),
        Message::PubRec(MsgId(9)),
        disconnect(Some(9)),
        Message::SearchGw(SearchGw { radius: 0 }),
        Message::Forward(forward),
        connack(ACCEPTED),
    ];
    for second in 0..3 {
        for n in 1..=5000 {
            for message in &messages {
                script.says(stray(n), message);
            }
            script.raw(stray(n), &[7; 3]);
        }
        // 100 each for strangers, for who searches and for who is refused; the first second has
        // the full buckets.
        assert!(script.sent.len() <= 300, "{}", script.sent.len());
        assert!(!script.sent.is_empty());
        assert!(script.sent.iter().all(|(to, _)| *to != NODE));
        script.sent.clear();
        script.wait(Duration::from_secs(1));
        let engine = &script.engine;
        assert!(engine.strangers.len() <= 1024, "{second}");
        assert!(engine.searches.len() <= 1024, "{second}");
        assert!(engine.refusals.len() <= 1024, "{second}");
        assert_eq!((engine.sessions_len(), engine.handshakes.len()), (1, 0));
        assert_eq!((engine.wishes.len(), engine.subscribing.len()), (0, 0));
        assert_eq!(engine.meters.len(), 0);
    }
    script.requests_nothing();
    // The node that belongs here has noticed nothing.
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1),
    );
    let sent = script.publishes("t", "x", QoS::AtLeastOnce);
    script.taken(sent);
    script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
}

// ---- CONNECT ----

#[test]
fn d14_client_ids_are_refused_that_none_can_have() {
    let mut script = Script::with(|settings| settings.client_id_len_max = 8);
    for client_id in [&b""[..], b"123456789", b"\xFF", b"a\nb", b"\xC3"] {
        let connect = Connect {
            will: false,
            clean: true,
            protocol_id: 1,
            duration_s: 60,
            client_id,
        };
        script.says(NODE, &Message::Connect(connect));
        script.hears(NODE, &connack(ReturnCode::NotSupported));
        script.wait(Duration::from_secs(1));
    }
    assert_eq!(script.drops(), [DropReason::UnacceptableConnect; 5]);
    script.connected(NODE, "12345678", true);
}

#[test]
fn client_ids_are_compared_octet_by_octet() {
    let mut script = Script::new();
    let client_ids = ["node", "Node", "nod", "node ", "n\u{f6}de", "no\u{308}de"];
    for (port, client_id) in (10..).zip(client_ids) {
        script.connected(node(port), client_id, true);
        assert_eq!(script.registered(node(port), client_id), TopicId(1025));
    }
    script.hears_nothing();
    assert_eq!(script.engine.sessions_len(), client_ids.len());
}

#[test]
fn d10_a_connect_is_a_repetition_only_while_its_answer_may_be_on_its_way() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    script.connected(NODE, "a", false);
    script.wait(Duration::from_secs(30));
    script.connected(NODE, "a", false);
    assert_eq!(script.engine.stats().repeats, 1);
    script.wait(Duration::from_secs(31));
    // Now it has started again, and is told its ids anew.
    script.connected(NODE, "a", false);
    script.delivery(1, "cmd", "x", QoS::AtLeastOnce);
    script.hears_register("cmd");
    assert_eq!(script.engine.stats().repeats, 1);
    // Another duration or another flag makes it another CONNECT.
    let other = Connect {
        will: false,
        clean: false,
        protocol_id: 1,
        duration_s: 61,
        client_id: b"a",
    };
    script.says(NODE, &Message::Connect(other));
    script.hears(NODE, &connack(ACCEPTED));
    assert_eq!(script.engine.stats().repeats, 1);
}

#[test]
fn a_connect_while_active_is_processed_in_full() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    // clean = 0: the session goes on, its ids are told again, in the direction down alone.
    script.connected(NODE, "a", false);
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "up", QoS::AtMostOnce, 0),
    );
    script.publishes("cmd", "up", QoS::AtMostOnce);
    script.delivery(1, "cmd", "x", QoS::AtLeastOnce);
    script.accepts_register(NODE, "cmd");
    let msg_id = script.hears_publish("x", false);
    script.says(NODE, &puback(id, msg_id, ACCEPTED));
    // With a will it is asked for, and the session is not touched before it is there.
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests_nothing();
    script.says(NODE, &Message::WillTopic(None));
    script.hears(NODE, &connack(ACCEPTED));
    // clean = 1: the subscription goes.
    script.requests(&UpstreamRequest::Unsubscribe {
        filter: "cmd".into(),
    });
}

#[test]
fn d39_a_node_that_starts_again_may_use_its_message_ids_again() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut script = Script::new();
        script.connected(NODE, "a", false);
        let topic = TopicRef::Predefined(TopicId(7));
        let answer = |script: &mut Script| match qos {
            QoS::ExactlyOnce => script.hears(NODE, &Message::PubRec(MsgId(1))),
            _ => script.hears(NODE, &puback(TopicId(7), MsgId(1), ACCEPTED)),
        };
        script.says(NODE, &publish(topic, "before", qos, 1));
        let first = script.publishes("pre/seven", "before", qos);
        script.connected(NODE, "a", false);
        script.says(NODE, &publish(topic, "after", qos, 1));
        let second = script.publishes("pre/seven", "after", qos);
        // The answer to the first would tell the node that the second is safe.
        script.taken(first);
        script.hears_nothing();
        script.says(NODE, &publish(topic, "after", qos, 1));
        script.hears_nothing();
        script.taken(second);
        answer(&mut script);
        script.requests_nothing();
        // So too where the first was answered and, at QoS 2, never released.
        script.connected(NODE, "a", false);
        script.says(NODE, &publish(topic, "third", qos, 1));
        let third = script.publishes("pre/seven", "third", qos);
        script.taken(third);
        answer(&mut script);
    }
}

#[test]
fn d40_publications_under_one_message_id_fill_the_window_like_others() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let topic = TopicRef::Predefined(TopicId(7));
    for payload in ["1", "2", "3", "4"] {
        script.says(NODE, &publish(topic, payload, QoS::AtLeastOnce, 1));
        script.publishes("pre/seven", payload, QoS::AtLeastOnce);
    }
    script.says(NODE, &publish(topic, "5", QoS::AtLeastOnce, 1));
    script.hears(NODE, &puback(TopicId(7), MsgId(1), ReturnCode::Congestion));
    assert_eq!(script.drops(), [DropReason::Window]);
}

#[test]
fn another_client_id_at_a_known_address_ends_the_former_session_as_lost() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.connected(NODE, "b", true);
    script.publishes("lwt", "off", QoS::AtLeastOnce);
    script.hears_nothing();
    assert_eq!(script.engine.sessions_len(), 2);
    // The place is the new one's: what comes from there is its own.
    script.registered(NODE, "of-b");
    script.connected(OTHER, "a", false);
    assert_eq!(script.registered(OTHER, "of-a"), TopicId(1025));
}

#[test]
fn a_refused_connect_ends_nothing_at_its_address() {
    let mut script = Script::with(|settings| {
        settings.admission = Admission {
            rules: vec![Arc::new(NodeRule {
                nodes: Pattern::new("a"),
                ..NodeRule::default()
            })],
            others: None,
        };
    });
    connected_with_will(&mut script, NODE, "a", true);
    script.says(NODE, &connect("b", true, false));
    script.hears(NODE, &connack(ReturnCode::NotSupported));
    script.requests_nothing();
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d13_a_node_without_keep_alive_is_lost_at_the_idle_limit() {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(7200));
    let connect = Connect {
        will: false,
        clean: true,
        protocol_id: 1,
        duration_s: 0,
        client_id: b"a",
    };
    script.says(NODE, &Message::Connect(connect));
    script.hears(NODE, &connack(ACCEPTED));
    script.wait(Duration::from_secs(7199));
    assert_eq!(script.engine.sessions_len(), 1);
    script.wait(Duration::from_secs(1));
    assert_eq!(script.engine.sessions_len(), 0);
}

// ---- takeover and moves ----

#[test]
fn d29_a_takeover_disturbs_no_former_place_that_does_not_listen() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    falls_asleep(&mut script, NODE);
    script.connected(OTHER, "a", false);
    script.hears_nothing();
    script.requests_nothing();
    // What still comes from the former place is a stranger's.
    script.says(NODE, &ping(""));
    script.hears(NODE, &disconnect(None));
}

#[test]
fn d29_a_takeover_works_from_forwarder_to_forwarder_and_with_a_clean_session() {
    let mut script = Script::with(|settings| settings.links[0].forwarders = Forwarders::Anyone);
    let behind = |forwarder: Binding, id: u8| Binding {
        node_id: shared::wire::NodeId::new(&[id]),
        ..forwarder
    };
    let says = |script: &mut Script, forwarder: Binding, id: u8, message: &Message<'_>| {
        let mut inner = vec![0; message.encoded_len()];
        message.emit(&mut inner).unwrap();
        let forward = Message::Forward(Forward {
            radius: 0,
            node_id: &[id],
            inner: &inner,
        });
        script.says(forwarder, &forward);
    };
    says(&mut script, NODE, 1, &connect("a", false, false));
    says(&mut script, OTHER, 1, &connect("a", true, false));
    let places: Vec<Binding> = script.sent.drain(..).map(|(place, _)| place).collect();
    // CONNACK; then DISCONNECT to the former place, and CONNACK to the new one.
    assert_eq!(places, [behind(NODE, 1), behind(NODE, 1), behind(OTHER, 1)]);
    assert_eq!(script.engine.sessions_len(), 1);
    // The same node id behind the other forwarder is somebody else.
    says(&mut script, NODE, 1, &ping(""));
    let (place, _) = script.sent.pop_front().unwrap();
    assert_eq!(place, behind(NODE, 1));
    assert_eq!(script.drops(), [DropReason::Stranger]);
}

#[test]
fn d30_a_connect_out_of_sleep_is_processed_in_full() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "a", false);
    script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    falls_asleep(&mut script, NODE);
    script.says(NODE, &connect("a", true, true));
    script.hears(NODE, &Message::WillTopicReq);
    script.says(NODE, &Message::WillTopic(None));
    script.hears(NODE, &connack(ACCEPTED));
    script.requests(&UpstreamRequest::Unsubscribe {
        filter: "cmd".into(),
    });
    script.wait(Duration::from_secs(91));
    script.requests_nothing();
    assert_eq!(script.engine.sessions_len(), 0);
}

#[test]
fn d30_for_old_fleets_a_connect_out_of_sleep_leaves_flags_and_will_as_they_were() {
    let mut script = Script::with(|settings| settings.wake_connect_ignores_flags = true);
    connected_with_will(&mut script, NODE, "a", false);
    let id = script.subscribed(NODE, "cmd", QoS::AtLeastOnce);
    falls_asleep(&mut script, NODE);
    script.delivery(1, "cmd", "x", QoS::AtLeastOnce);
    // It is answered at once, also where it moved, and its mail follows.
    script.says(OTHER, &connect("a", true, true));
    script.hears(OTHER, &connack(ACCEPTED));
    script.accepts_register(OTHER, "cmd");
    let msg_id = script.hears_publish("x", false);
    script.says(OTHER, &puback(id, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests_nothing();
    // The session is still one that is kept, and so is its will.
    script.wait(Duration::from_secs(91));
    script.publishes("lwt", "off", QoS::AtLeastOnce);
    assert_eq!(script.engine.sessions_len(), 1);
    // Out of anything but sleep the flags count.
    script.says(OTHER, &connect("a", true, true));
    script.hears(OTHER, &Message::WillTopicReq);
}

#[test]
fn d30_the_repetition_of_a_connect_out_of_sleep_is_one() {
    let mut script = Script::with(|settings| settings.wake_connect_ignores_flags = true);
    script.connected(NODE, "a", false);
    falls_asleep(&mut script, NODE);
    for _ in 0..2 {
        script.says(NODE, &connect("a", true, true));
        script.hears(NODE, &connack(ACCEPTED));
    }
    assert_eq!(script.engine.stats().repeats, 1);
}

#[test]
fn d31_a_ping_with_a_name_moves_a_sleeper_and_nobody_else() {
    let mut script = Script::new();
    script.connected(NODE, "active", false);
    script.connected(OTHER, "sleeper", false);
    falls_asleep(&mut script, OTHER);
    script.connected(node(4), "gone", false);
    leaves(&mut script, node(4));
    for client_id in ["active", "gone", "unknown", "slee"] {
        script.says(THIRD, &ping(client_id));
        script.hears(THIRD, &disconnect(None));
        script.wait(Duration::from_secs(5));
    }
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.says(THIRD, &ping("sleeper"));
    script.hears(THIRD, &Message::PingResp);
    // It is found at its new place by messages that do not name it, and no longer at the old.
    script.says(THIRD, &ping(""));
    script.hears(THIRD, &Message::PingResp);
    script.says(OTHER, &ping(""));
    script.hears(OTHER, &disconnect(None));
}

#[test]
fn d31_a_ping_that_names_another_than_who_is_bound_there_is_the_named_ones() {
    let mut script = Script::new();
    connected_with_will(&mut script, NODE, "here", false);
    script.connected(OTHER, "named", false);
    falls_asleep(&mut script, OTHER);
    script.says(NODE, &ping("named"));
    script.publishes("lwt", "off", QoS::AtLeastOnce);
    script.hears(NODE, &Message::PingResp);
    script.hears_nothing();
    // An active one is not moved by it, and who is there stays.
    script.connected(OTHER, "here", false);
    script.says(OTHER, &ping("unknown"));
    script.hears(OTHER, &disconnect(None));
    script.says(OTHER, &ping(""));
    script.hears(OTHER, &Message::PingResp);
}

// ---- QoS -1 ----

fn with_long_names(topics: &[&str]) -> Script {
    Script::with(|settings| {
        settings.qos_minus_one_long_names = true;
        settings.qos_minus_one.push(QosMinusOneRule {
            link: LinkId(0),
            from: Senders::default(),
            topics: topics.iter().map(|filter| Arc::from(*filter)).collect(),
            retain: false,
            rate_per_s: 10,
            burst: 10,
        });
    })
}

const LONG: TopicRef = TopicRef::Normal(TopicId(3));

#[test]
fn d34_long_names_are_taken_only_where_that_is_asked_for() {
    let message = publish(LONG, "a/bhey", QoS::MinusOne, 0);
    let mut script = with_long_names(&["a/#"]);
    script.says(NODE, &message);
    script.publishes("a/b", "hey", QoS::AtMostOnce);
    // The name is checked as any other, and so is the allow list.
    for refused in ["a/+hey", "b/ahey", "a/"] {
        script.says(NODE, &publish(LONG, refused, QoS::MinusOne, 0));
    }
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::QosMinusOneRefused; 3]);
    script.hears_nothing();

    let mut script = with_long_names(&["#"]);
    script.engine.settings.qos_minus_one_long_names = false;
    script.says(NODE, &message);
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::QosMinusOneRefused]);
}

#[test]
fn d34_long_names_of_a_connected_node_are_its_own_publications() {
    let mut script = with_long_names(&[]);
    script.connected(NODE, "a", true);
    script.says(NODE, &publish(LONG, "a/bhey", QoS::MinusOne, 0));
    script.publishes("a/b", "hey", QoS::AtMostOnce);
    // An id that it has registered is that, and no length.
    let id = script.registered(NODE, "t");
    script.says(NODE, &publish(TopicRef::Normal(id), "x", QoS::MinusOne, 0));
    script.publishes("t", "x", QoS::AtMostOnce);
    // At QoS 0 there is no such form.
    script.says(NODE, &publish(LONG, "a/bhey", QoS::AtMostOnce, 0));
    script.hears(
        NODE,
        &puback(TopicId(3), MsgId::NONE, ReturnCode::InvalidTopicId),
    );
    script.requests_nothing();
}

#[test]
fn d34_a_publication_at_qos_minus_one_shows_that_its_node_is_there() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for _ in 0..5 {
        script.wait(Duration::from_secs(60));
        let topic = TopicRef::Predefined(TopicId(7));
        script.says(NODE, &publish(topic, "x", QoS::MinusOne, 0));
        script.publishes("pre/seven", "x", QoS::AtMostOnce);
    }
    assert_eq!(script.engine.sessions_len(), 1);
}

#[test]
fn row_9_the_message_id_of_qos_0_and_minus_one_means_nothing() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for qos in [QoS::AtMostOnce, QoS::MinusOne] {
        for _ in 0..2 {
            let topic = TopicRef::Short(ShortName(*b"ab"));
            script.says(NODE, &publish(topic, "x", qos, 77));
            script.publishes("ab", "x", QoS::AtMostOnce);
        }
    }
    script.hears_nothing();
    assert_eq!(script.drops(), []);
}
