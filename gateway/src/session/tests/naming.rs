//! How topics are named towards a node (D-08), how many ids there are, and what fits (D-41).

use super::*;

fn hears_topic(script: &mut Script) -> TopicRef {
    script.hears_some(|message| match message {
        Message::Publish(publish) => Some(publish.topic),
        _ => None,
    })
}

#[test]
fn d08_a_publication_is_named_as_its_node_named_it() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    let predefined = TopicRef::Predefined(TopicId(7));
    let short = TopicRef::Short(shared::wire::ShortName(*b"sh"));
    script.subscribed_to(NODE, predefined, QoS::AtMostOnce);
    script.subscribed_to(NODE, short, QoS::AtMostOnce);
    let id = script.subscribed(NODE, "name", QoS::AtMostOnce);
    for (name, topic) in [
        ("pre/seven", predefined),
        ("sh", short),
        ("name", TopicRef::Normal(id)),
    ] {
        script.delivery(0, name, "x", QoS::AtMostOnce);
        assert_eq!(hears_topic(&mut script), topic);
    }
}

#[test]
fn d08_a_wildcard_match_has_a_normal_id_though_others_would_do() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtMostOnce);
    for name in ["pre/seven", "sh"] {
        script.delivery(0, name, "x", QoS::AtMostOnce);
        let id = script.accepts_register(NODE, name);
        assert_eq!(hears_topic(&mut script), TopicRef::Normal(id));
    }
    // One that the node registered itself is known to it.
    let id = script.registered(NODE, "own");
    script.delivery(0, "own", "x", QoS::AtMostOnce);
    assert_eq!(hears_topic(&mut script), TopicRef::Normal(id));
}

#[test]
fn dollar_topics_need_a_filter_that_says_so() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtMostOnce);
    script.subscribed(NODE, "+/x", QoS::AtMostOnce);
    script.delivery(0, "$SYS/x", "x", QoS::AtMostOnce);
    let retained = publication("$SYS/x", "x", QoS::AtMostOnce, true);
    script.upstream(UpstreamEvent::Delivery(Delivery::new(None, retained)));
    script.hears_nothing();
    script.subscribed(NODE, "$SYS/#", QoS::AtMostOnce);
    script.delivery(0, "$SYS/x", "x", QoS::AtMostOnce);
    script.hears_register("$SYS/x");
}

#[test]
fn a_wildcard_over_more_topics_than_the_table_holds_goes_on() {
    let mut script = Script::with(|settings| settings.topics_max = 4);
    script.connected(NODE, "a", true);
    let own = script.registered(NODE, "own");
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    let mut ids = std::collections::BTreeSet::from([own]);
    for n in 0..20_u64 {
        let topic = format!("t/{n}");
        script.delivery(n + 1, &topic, "x", QoS::AtLeastOnce);
        assert!(ids.insert(script.accepts_register(NODE, &topic)));
        script.accepts_publish(NODE, "x", false);
    }
    // The last three are still known, the first ones not.
    script.delivery(0, "t/18", "x", QoS::AtMostOnce);
    script.hears_publish("x", false);
    script.delivery(0, "t/3", "x", QoS::AtMostOnce);
    assert!(ids.insert(script.accepts_register(NODE, "t/3")));
    script.hears_publish("x", false);
    assert_eq!(script.drops(), []);
    // What the node registered itself has stayed.
    let uplink = publish(TopicRef::Normal(own), "up", QoS::AtMostOnce, 0);
    script.says(NODE, &uplink);
    while script
        .requests
        .front()
        .is_some_and(|request| matches!(request, UpstreamRequest::Acknowledge(_)))
    {
        script.requests.pop_front();
    }
    script.publishes("own", "up", QoS::AtMostOnce);
}

#[test]
fn a_table_full_of_the_nodes_own_topics_has_room_for_no_other() {
    let mut script = Script::with(|settings| settings.topics_max = 2);
    script.connected(NODE, "a", true);
    script.registered(NODE, "own");
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(0, "used", "x", QoS::AtMostOnce);
    let used = script.accepts_register(NODE, "used");
    script.hears_publish("x", false);
    // The node publishes on it, so it is its own from now on.
    let uplink = publish(TopicRef::Normal(used), "up", QoS::AtMostOnce, 0);
    script.says(NODE, &uplink);
    script.delivery(1, "new", "x", QoS::AtLeastOnce);
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::TopicTableFull]);
}

#[test]
fn an_id_that_is_being_told_is_not_given_away() {
    let mut script = Script::with(|settings| settings.topics_max = 1);
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    let (id, msg_id) = script.hears_register("t");
    let register = Register {
        topic_id: TopicId::NONE,
        msg_id: MsgId(5),
        topic_name: b"own",
    };
    script.says(NODE, &Message::Register(register));
    script.hears(
        NODE,
        &regack(TopicId::NONE, MsgId(5), ReturnCode::Congestion),
    );
    script.says(NODE, &regack(id, msg_id, ACCEPTED));
    script.accepts_publish(NODE, "x", false);
    assert_ne!(script.registered(NODE, "own"), id);
}

#[test]
fn d41_each_octet_counts_on_the_link_and_in_the_forwarders_frame() {
    let forwarded = Binding {
        node_id: shared::wire::NodeId::new(&[1, 2]),
        ..NODE
    };
    // PUBLISH 7 octets and its payload, 9 from 249 octets of payload on; a frame is 5 more.
    for (binding, mtu, fits) in [
        (NODE, 100, 93),
        (NODE, 255, 248),
        (NODE, 256, 248),
        (NODE, 257, 248),
        (NODE, 258, 249),
        (forwarded, 100, 88),
        (forwarded, 263, 249),
    ] {
        for by_rule in [false, true] {
            let mut script = Script::with(|settings| {
                settings.links[0].forwarders = Forwarders::Anyone;
                if !by_rule {
                    settings.links[0].mtu = mtu;
                }
            });
            script.says(binding, &connect("a", true, false));
            script.says(binding, &subscribe("t", QoS::AtMostOnce, 5));
            script.upstream(UpstreamEvent::Subscribed {
                filter: "t".into(),
                result: Ok(QoS::AtMostOnce),
            });
            script.sent.clear();
            if by_rule {
                // What the node itself can take comes without the frame.
                let wrap = if binding.node_id.is_some() { 5 } else { 0 };
                script.rule("a", |rule| rule.mtu = Some(mtu - wrap));
            }
            script.delivery(0, "t", &"x".repeat(fits + 1), QoS::AtMostOnce);
            script.hears_nothing();
            assert_eq!(script.drops(), [DropReason::TooLong], "{mtu}");
            script.delivery(0, "t", &"x".repeat(fits), QoS::AtMostOnce);
            let (to, datagram) = script.sent.pop_front().expect("it fits");
            assert_eq!(to, binding);
            assert!(datagram.len() <= mtu, "{} of {mtu}", datagram.len());
        }
    }
}

#[test]
fn d41_what_is_too_long_is_told_once_for_each_topic_and_costs_no_id() {
    let mut script = Script::with(|settings| {
        settings.links[0].mtu = 30;
        settings.topics_max = 1;
    });
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "#", QoS::AtLeastOnce);
    let long = "x".repeat(24);
    for (n, topic) in (1..).zip(["t", "t", "u", "t", "u"]) {
        script.delivery(n, topic, &long, QoS::AtLeastOnce);
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(n)));
    }
    // A name that does not fit into REGISTER: 6 octets and the name.
    script.delivery(9, &"n".repeat(25), "x", QoS::AtLeastOnce);
    let (first, again) = (DropReason::TooLong, DropReason::TooLongAgain);
    assert_eq!(script.drops(), [first, again, first, again, again, first]);
    assert_eq!(first.name(), again.name());
    assert_eq!(script.engine.stats().dropped, 6);
    script.delivery(10, &"n".repeat(24), "x", QoS::AtLeastOnce);
    script.hears_register(&"n".repeat(24));
}

#[test]
fn d41_what_is_under_way_must_fit_the_new_place_as_well() {
    let mut script = Script::with(|settings| {
        let narrow = LinkSettings {
            mtu: 20,
            ..LinkSettings::default()
        };
        settings.links.push(narrow);
    });
    let narrow = Binding {
        link: LinkId(1),
        ..NODE
    };
    script.connected(NODE, "a", true);
    script.subscribed(NODE, "t", QoS::AtLeastOnce);
    script.asleep(NODE, 600);
    script.delivery(1, "t", &"x".repeat(14), QoS::AtLeastOnce);
    script.says(NODE, &ping("a"));
    script.hears_publish(&"x".repeat(14), false);
    script.asleep(NODE, 600);
    script.says(narrow, &ping("a"));
    script.hears(narrow, &Message::PingResp);
    assert_eq!(script.drops(), [DropReason::TooLong]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
}
