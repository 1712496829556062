use shared::wire::{ShortName, Unsubscribe};

use super::*;

#[test]
fn nothing_is_acknowledged_before_the_broker_has_it() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "sensors/1/temp");
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "21.5", QoS::AtLeastOnce, 16),
    );
    let sent = script.publishes("sensors/1/temp", "21.5", QoS::AtLeastOnce);
    script.hears_nothing();
    script.wait(Duration::from_secs(5));
    script.hears_nothing();
    script.taken(sent);
    script.hears(NODE, &puback(id, MsgId(16), ACCEPTED));
}

#[test]
fn qos_2_is_received_released_completed_and_published_once() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    let message = publish(TopicRef::Normal(id), "x", QoS::ExactlyOnce, 9);
    script.says(NODE, &message);
    let sent = script.publishes("t", "x", QoS::ExactlyOnce);
    script.says(NODE, &message); // repeated while it waits (D-39)
    script.hears_nothing();
    script.taken(sent);
    script.hears(NODE, &Message::PubRec(MsgId(9)));
    script.says(NODE, &message); // PUBREC was lost (A.19, row 7)
    script.hears(NODE, &Message::PubRec(MsgId(9)));
    script.says(NODE, &Message::PubRel(MsgId(9)));
    script.hears(NODE, &Message::PubComp(MsgId(9)));
    script.says(NODE, &Message::PubRel(MsgId(9))); // PUBCOMP was lost
    script.hears(NODE, &Message::PubComp(MsgId(9)));
    script.requests_nothing();
    script.says(NODE, &message); // the id is free again
    script.publishes("t", "x", QoS::ExactlyOnce);
}

#[test]
fn qos_2_survives_a_reconnection_between_pubrec_and_pubrel() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.registered(NODE, "t");
    let message = publish(TopicRef::Normal(id), "x", QoS::ExactlyOnce, 9);
    script.says(NODE, &message);
    let sent = script.publishes("t", "x", QoS::ExactlyOnce);
    script.says(OTHER, &connect("a", false, false));
    script.hears(NODE, &disconnect(None));
    script.hears(OTHER, &connack(ACCEPTED));
    script.taken(sent);
    script.hears(OTHER, &Message::PubRec(MsgId(9)));
    script.says(OTHER, &message);
    script.hears(OTHER, &Message::PubRec(MsgId(9)));
    script.requests_nothing();
}

#[test]
fn qos_0_predefined_and_short_topics_need_no_registration() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(
        NODE,
        &publish(TopicRef::Predefined(TopicId(7)), "p", QoS::AtMostOnce, 0),
    );
    script.publishes("pre/seven", "p", QoS::AtMostOnce);
    script.says(
        NODE,
        &publish(TopicRef::Short(ShortName(*b"ab")), "s", QoS::AtMostOnce, 3),
    );
    script.publishes("ab", "s", QoS::AtMostOnce);
    script.hears_nothing();
}

#[test]
fn d07_names_that_cannot_be_published_to_are_refused() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    for topic_name in [&b""[..], b"a/#", b"+/b", b"a\0", b"\xff"] {
        let register = Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId(1),
            topic_name,
        };
        script.says(NODE, &Message::Register(register));
        script.hears(
            NODE,
            &regack(TopicId::NONE, MsgId(1), ReturnCode::NotSupported),
        );
    }
    script.says(
        NODE,
        &publish(TopicRef::Short(ShortName(*b"a#")), "s", QoS::AtLeastOnce, 3),
    );
    let topic_id = TopicId(u16::from_be_bytes(*b"a#"));
    script.hears(NODE, &puback(topic_id, MsgId(3), ReturnCode::NotSupported));
    script.requests_nothing();
}

#[test]
fn registering_again_gives_the_same_id_and_a_full_table_says_so() {
    let mut script = Script::with(|settings| settings.topics_max = 1);
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    assert_eq!(script.registered(NODE, "t"), id);
    let register = Register {
        topic_id: TopicId::NONE,
        msg_id: MsgId(1),
        topic_name: b"u",
    };
    script.says(NODE, &Message::Register(register));
    script.hears(
        NODE,
        &regack(TopicId::NONE, MsgId(1), ReturnCode::Congestion),
    );
}

#[test]
fn d45_unknown_ids_are_answered_at_every_qos_and_hit_no_other_nodes_topic() {
    let mut script = Script::new();
    script.connected(OTHER, "b", true);
    let theirs = script.registered(OTHER, "theirs");
    script.connected(NODE, "a", true);
    for (qos, msg_id) in [
        (QoS::AtMostOnce, 0),
        (QoS::AtLeastOnce, 4),
        (QoS::ExactlyOnce, 5),
    ] {
        script.says(NODE, &publish(TopicRef::Normal(theirs), "x", qos, msg_id));
        script.hears(
            NODE,
            &puback(theirs, MsgId(msg_id), ReturnCode::InvalidTopicId),
        );
    }
    script.says(
        NODE,
        &publish(TopicRef::Predefined(TopicId(8)), "x", QoS::AtLeastOnce, 6),
    );
    script.hears(
        NODE,
        &puback(TopicId(8), MsgId(6), ReturnCode::InvalidTopicId),
    );
    script.requests_nothing();
}

#[test]
fn d39_after_our_answer_the_same_id_is_a_new_publication() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    for _ in 0..2 {
        script.says(
            NODE,
            &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1),
        );
        let sent = script.publishes("t", "x", QoS::AtLeastOnce);
        script.taken(sent);
        script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
    }
}

#[test]
fn d40_beyond_the_window_is_congestion() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    for n in 1..=4 {
        script.says(
            NODE,
            &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, n),
        );
        script.publishes("t", "x", QoS::AtLeastOnce);
    }
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 5),
    );
    script.hears(NODE, &puback(id, MsgId(5), ReturnCode::Congestion));
    assert_eq!(script.drops(), [DropReason::Window]);
}

#[test]
fn a_repetition_that_pubrel_has_overtaken_is_not_published_again() {
    for (first_dup, dup, payload, wait_s, is_new) in [
        (false, true, "x", 29, false),
        (true, false, "x", 29, false),
        (false, true, "x", 31, true),
        (false, true, "y", 1, true),
        (false, false, "x", 1, true),
    ] {
        let mut script = Script::new();
        script.connected(NODE, "a", false);
        let topic = TopicRef::Normal(script.registered(NODE, "t"));
        let message = |dup, payload: &'static str| {
            Message::Publish(Publish {
                dup,
                qos: QoS::ExactlyOnce,
                retain: false,
                topic,
                msg_id: MsgId(9),
                payload: payload.as_bytes(),
            })
        };
        script.says(NODE, &message(first_dup, "x"));
        let sent = script.publishes("t", "x", QoS::ExactlyOnce);
        script.taken(sent);
        script.hears(NODE, &Message::PubRec(MsgId(9)));
        script.says(NODE, &Message::PubRel(MsgId(9)));
        script.hears(NODE, &Message::PubComp(MsgId(9)));
        script.wait(Duration::from_secs(wait_s));
        script.says(NODE, &message(dup, payload));
        if is_new {
            script.publishes("t", payload, QoS::ExactlyOnce);
        } else {
            script.hears(NODE, &Message::PubRec(MsgId(9)));
            script.requests_nothing();
        }
    }
}

#[test]
fn a_node_that_never_releases_may_still_publish() {
    let mut script = Script::new();
    script.connected(NODE, "a", false);
    let id = script.registered(NODE, "t");
    for n in 1..=40 {
        // It reboots in the middle of each exchange, and comes back with another id.
        let message = publish(TopicRef::Normal(id), "x", QoS::ExactlyOnce, n);
        script.says(NODE, &message);
        let sent = script.publishes("t", "x", QoS::ExactlyOnce);
        script.taken(sent);
        script.hears(NODE, &Message::PubRec(MsgId(n)));
    }
    assert_eq!(script.drops(), []);
}

#[test]
fn a_broker_refusal_never_looks_like_an_unknown_id() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    for (refusal, code) in [
        (Refusal::Busy, ReturnCode::Congestion),
        (Refusal::Denied(0x87), ReturnCode::NotSupported),
    ] {
        script.says(
            NODE,
            &publish(TopicRef::Normal(id), "x", QoS::ExactlyOnce, 2),
        );
        let sent = script.publishes("t", "x", QoS::ExactlyOnce);
        script.upstream(UpstreamEvent::Published {
            id: sent,
            result: Err(refusal),
        });
        script.hears(NODE, &puback(id, MsgId(2), code));
    }
}

#[test]
fn qos_1_without_a_message_id_is_dropped() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    script.says(
        NODE,
        &publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 0),
    );
    script.hears_nothing();
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::NoMsgId]);
}

#[test]
fn a_full_upstream_stays_silent_and_the_repetition_is_fresh() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    let message = publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 2);
    script.says(NODE, &message);
    let request = script.requests.pop_front().unwrap();
    script.engine.handle_not_taken(&request);
    script.drain();
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::UpstreamFull]);
    script.says(NODE, &message);
    script.publishes("t", "x", QoS::AtLeastOnce);
}

#[test]
fn d34_qos_minus_one_is_off_until_allowed_and_then_bounded() {
    let topic = TopicRef::Predefined(TopicId(7));
    let mut script = Script::new();
    script.says(NODE, &publish(topic, "x", QoS::MinusOne, 0));
    script.hears_nothing();
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::QosMinusOneRefused]);

    let mut script = Script::with(|settings| {
        settings.qos_minus_one.push(QosMinusOneRule {
            link: LinkId(0),
            from: Senders {
                addresses: vec!["127.0.0.0/8".parse().unwrap()],
                node_ids: Vec::new(),
            },
            topics: vec!["pre/#".into()],
            retain: false,
            rate_per_s: 1,
            burst: 2,
        });
    });
    for port in 1..=3 {
        script.says(node(port), &publish(topic, "x", QoS::MinusOne, 0));
    }
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
    script.requests_nothing();
    assert_eq!(script.drops(), [DropReason::QosMinusOneRate]);
    script.wait(Duration::from_secs(1));
    script.says(NODE, &publish(topic, "y", QoS::MinusOne, 0));
    script.publishes("pre/seven", "y", QoS::AtMostOnce);
    let off_list = TopicRef::Short(ShortName(*b"zz"));
    script.says(NODE, &publish(off_list, "x", QoS::MinusOne, 0));
    assert_eq!(script.drops(), [DropReason::QosMinusOneRefused]);
    script.hears_nothing();
}

#[test]
fn qos_minus_one_of_a_connected_node_counts_as_qos_0() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(
        NODE,
        &publish(TopicRef::Predefined(TopicId(7)), "x", QoS::MinusOne, 0),
    );
    script.publishes("pre/seven", "x", QoS::AtMostOnce);
}

#[test]
fn subscribe_is_answered_when_the_broker_has_and_repeated_answers_are_the_same() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(NODE, &subscribe("cmd/a", QoS::AtLeastOnce, 32));
    let filter: Arc<str> = "cmd/a".into();
    let request = UpstreamRequest::Subscribe {
        filter: Arc::clone(&filter),
        qos: QoS::AtLeastOnce,
    };
    script.requests(&request);
    script.says(NODE, &subscribe("cmd/a", QoS::AtLeastOnce, 32));
    script.requests_nothing();
    script.hears_nothing();
    script.upstream(UpstreamEvent::Subscribed {
        filter,
        result: Ok(QoS::AtMostOnce),
    });
    let suback = Message::SubAck(SubAck {
        qos: QoS::AtMostOnce,
        topic_id: TopicId(1025),
        msg_id: MsgId(32),
        return_code: ACCEPTED,
    });
    script.hears(NODE, &suback);
    let Message::Subscribe(repeated) = subscribe("cmd/a", QoS::AtLeastOnce, 32) else {
        unreachable!()
    };
    script.says(
        NODE,
        &Message::Subscribe(Subscribe {
            dup: true,
            ..repeated
        }),
    );
    script.hears(NODE, &suback);
    script.requests_nothing();
}

#[test]
fn d15_suback_repeats_the_id_that_was_asked_for() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    assert_eq!(
        script.subscribed(NODE, "cmd/#", QoS::ExactlyOnce),
        TopicId::NONE
    );
    for (topic, filter, id) in [
        (TopicFilter::Predefined(TopicId(7)), "pre/seven", TopicId(7)),
        (TopicFilter::Short(ShortName(*b"ab")), "ab", TopicId(0x6162)),
    ] {
        let subscribe = Subscribe {
            dup: false,
            qos: QoS::AtLeastOnce,
            msg_id: MsgId(3),
            topic,
        };
        script.says(NODE, &Message::Subscribe(subscribe));
        let filter: Arc<str> = filter.into();
        script.requests(&UpstreamRequest::Subscribe {
            filter: Arc::clone(&filter),
            qos: QoS::AtLeastOnce,
        });
        script.upstream(UpstreamEvent::Subscribed {
            filter,
            result: Ok(QoS::AtLeastOnce),
        });
        script.hears_some(|message| match message {
            Message::SubAck(ack) if ack.topic_id == id => Some(()),
            _ => None,
        });
    }
}

#[test]
fn refused_subscriptions_have_the_right_code_and_no_topic_id() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let refused = |code| {
        Message::SubAck(SubAck {
            qos: QoS::AtMostOnce,
            topic_id: TopicId::NONE,
            msg_id: MsgId(3),
            return_code: code,
        })
    };
    for filter in ["", "a/#/b", "a+", "$share/g/t"] {
        script.says(NODE, &subscribe(filter, QoS::AtMostOnce, 3));
        script.hears(NODE, &refused(ReturnCode::NotSupported));
    }
    let topic = TopicFilter::Predefined(TopicId(9));
    let unknown = Subscribe {
        dup: false,
        qos: QoS::AtMostOnce,
        msg_id: MsgId(3),
        topic,
    };
    script.says(NODE, &Message::Subscribe(unknown));
    script.hears(NODE, &refused(ReturnCode::InvalidTopicId));
    script.requests_nothing();

    script.says(NODE, &subscribe("t", QoS::AtMostOnce, 3));
    let result = Err(Refusal::Denied(0x87));
    script.requests(&UpstreamRequest::Subscribe {
        filter: "t".into(),
        qos: QoS::AtMostOnce,
    });
    script.upstream(UpstreamEvent::Subscribed {
        filter: "t".into(),
        result,
    });
    script.hears(NODE, &refused(ReturnCode::NotSupported));
    script.requests(&UpstreamRequest::Unsubscribe { filter: "t".into() });
}

#[test]
fn the_upstream_is_subscribed_once_and_left_by_the_last_node() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    script.subscribed(NODE, "t", QoS::AtMostOnce);
    script.subscribed(OTHER, "t", QoS::ExactlyOnce);
    let topic = TopicFilter::Name(b"t");
    script.says(
        OTHER,
        &Message::Unsubscribe(Unsubscribe {
            msg_id: MsgId(4),
            topic,
        }),
    );
    script.hears(OTHER, &Message::UnsubAck(MsgId(4)));
    script.requests_nothing();
    script.says(NODE, &disconnect(None));
    script.hears(NODE, &disconnect(None));
    script.requests(&UpstreamRequest::Unsubscribe { filter: "t".into() });
}

#[test]
fn each_node_is_granted_what_the_broker_answered_to_its_own_request() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.connected(OTHER, "b", true);
    script.says(NODE, &subscribe("t", QoS::AtMostOnce, 5));
    script.says(OTHER, &subscribe("t", QoS::AtLeastOnce, 6));
    for (node, qos) in [(NODE, QoS::AtMostOnce), (OTHER, QoS::AtLeastOnce)] {
        script.upstream(UpstreamEvent::Subscribed {
            filter: "t".into(),
            result: Ok(qos),
        });
        let granted = script.hears_some(|message| match message {
            Message::SubAck(ack) => Some(ack.qos),
            _ => None,
        });
        assert_eq!(granted, qos, "{node}");
        script.hears_nothing();
    }
}

#[test]
fn a_subscription_the_broker_never_answers_is_forgotten() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.says(NODE, &subscribe("t", QoS::AtMostOnce, 3));
    script.requests(&UpstreamRequest::Subscribe {
        filter: "t".into(),
        qos: QoS::AtMostOnce,
    });
    for _ in 0..4 {
        script.says(NODE, &ping(""));
        script.hears(NODE, &Message::PingResp);
        script.wait(T_RETRY);
    }
    script.requests(&UpstreamRequest::Unsubscribe { filter: "t".into() });
}

#[test]
fn d39_repetitions_at_qos_1_are_answered_only_where_that_is_asked_for() {
    let mut script = Script::with(|settings| settings.dedup_qos1 = true);
    script.connected(NODE, "a", true);
    let id = script.registered(NODE, "t");
    let first = publish(TopicRef::Normal(id), "x", QoS::AtLeastOnce, 1);
    let Message::Publish(fields) = first else {
        unreachable!()
    };
    let repetition = Message::Publish(Publish {
        dup: true,
        ..fields
    });
    script.says(NODE, &first);
    let sent = script.publishes("t", "x", QoS::AtLeastOnce);
    script.taken(sent);
    script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
    script.says(NODE, &repetition);
    script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
    script.requests_nothing();
    // DUP = 0, another payload, or too late: something new.
    script.says(NODE, &first);
    let sent = script.publishes("t", "x", QoS::AtLeastOnce);
    script.taken(sent);
    script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
    let other = Message::Publish(Publish {
        dup: true,
        payload: b"y",
        ..fields
    });
    script.says(NODE, &other);
    let sent = script.publishes("t", "y", QoS::AtLeastOnce);
    script.taken(sent);
    script.hears(NODE, &puback(id, MsgId(1), ACCEPTED));
    script.wait(Duration::from_secs(31));
    script.says(NODE, &other);
    script.publishes("t", "y", QoS::AtLeastOnce);
}
