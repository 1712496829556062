//! QoS 0 on topics that the node knows does not wait for answers (A.20).

use super::*;

/// An active node that knows "known" and is sent "#" as well.
fn node() -> Script {
    let mut script = Script::with(|settings| {
        settings.idle_max = Duration::from_secs(86_400);
        settings.mailbox.qos0_max = 3;
    });
    script.says(NODE, &endless("a"));
    script.hears(NODE, &connack(ACCEPTED));
    script.subscribed(NODE, "known", QoS::ExactlyOnce);
    script.subscribed(NODE, "#", QoS::ExactlyOnce);
    script
}

#[test]
fn a20_an_unanswered_register_holds_up_no_qos_0() {
    let mut script = node();
    script.delivery(1, "new", "x", QoS::AtLeastOnce);
    script.hears_register("new");
    for payload in ["a", "b", "c", "d", "e"] {
        script.delivery(0, "known", payload, QoS::AtMostOnce);
        script.hears_publish(payload, false);
    }
    // What needs an answer, or another REGISTER, waits; as does what comes after it.
    script.delivery(0, "other", "f", QoS::AtMostOnce);
    script.delivery(2, "known", "g", QoS::AtLeastOnce);
    script.delivery(0, "known", "h", QoS::AtMostOnce);
    script.hears_nothing();
    assert_eq!(script.drops(), []);
}

#[test]
fn a20_a_node_that_does_not_answer_gets_its_qos_0_all_the_same() {
    let mut script = node();
    script.delivery(1, "known", "x", QoS::AtLeastOnce);
    script.hears_publish("x", false);
    script.says(NODE, &subscribe("calm", QoS::AtMostOnce, 9));
    script.upstream(UpstreamEvent::Subscribed {
        filter: "calm".into(),
        result: Ok(QoS::AtMostOnce),
    });
    script.hears_some(|message| matches!(message, Message::SubAck(_)).then_some(()));
    for _ in 0..3 {
        script.wait(T_RETRY);
        script.hears_publish("x", true);
    }
    script.wait(T_RETRY);
    script.hears_nothing();
    script.delivery(0, "calm", "y", QoS::AtMostOnce);
    script.hears_publish("y", false);
    script.delivery(0, "known", "z", QoS::AtMostOnce);
    script.hears_nothing();
    // It is heard: in its order.
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.accepts_publish(NODE, "x", true);
    script.hears_publish("z", false);
}

#[test]
fn a20_what_has_waited_in_sleep_passes_after_connect() {
    let mut script = node();
    let predefined = TopicRef::Predefined(TopicId(7));
    script.subscribed_to(NODE, predefined, QoS::ExactlyOnce);
    script.asleep(NODE, 600);
    script.delivery(1, "new", "x", QoS::AtLeastOnce);
    script.delivery(0, "known", "y", QoS::AtMostOnce);
    script.delivery(0, "pre/seven", "z", QoS::AtMostOnce);
    script.connected(NODE, "a", false);
    script.hears_register("new");
    // The other id has to be told again first.
    script.hears_publish("z", false);
    script.hears_nothing();
    // The node asks for it itself.
    script.registered(NODE, "known");
    script.hears_publish("y", false);
}

#[test]
fn a20_only_what_is_as_important_passes_before_the_exchange_is_overdue() {
    let mut script = Script::with(|settings| {
        settings.topic_priorities = vec![
            ("high/#".into(), Priority::High),
            ("low/#".into(), Priority::Low),
        ];
    });
    script.connected(NODE, "a", true);
    for topic in ["high/b", "low/a", "t"] {
        script.subscribed(NODE, topic, QoS::AtLeastOnce);
    }
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.hears_publish("x", false);
    script.delivery(0, "low/a", "late", QoS::AtMostOnce);
    script.hears_nothing();
    script.delivery(0, "high/b", "now", QoS::AtMostOnce);
    script.hears_publish("now", false);
    script.wait(T_RETRY);
    script.hears_publish("x", true);
    script.hears_publish("late", false);
}

#[test]
fn a_wake_keeps_to_its_order() {
    let mut script = node();
    script.asleep(NODE, 600);
    script.delivery(1, "new", "x", QoS::AtLeastOnce);
    script.delivery(0, "known", "y", QoS::AtMostOnce);
    script.says(NODE, &ping("a"));
    let (id, msg_id) = script.hears_register("new");
    script.delivery(0, "known", "z", QoS::AtMostOnce);
    script.hears_nothing();
    script.says(NODE, &regack(id, msg_id, ACCEPTED));
    script.accepts_publish(NODE, "x", false);
    script.hears_publish("y", false);
    script.hears_publish("z", false);
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn nothing_passes_onto_a_link_that_is_down() {
    let mut script = node();
    script.link(LinkId(0), LinkEvent::Down);
    script.delivery(0, "known", "x", QoS::AtMostOnce);
    script.delivery(1, "known", "y", QoS::AtLeastOnce);
    script.hears_nothing();
    script.link(LinkId(0), LinkEvent::Up);
    script.hears_publish("x", false);
    script.accepts_publish(NODE, "y", false);
}

#[test]
fn one_node_that_never_answers_delays_no_other() {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(86_400));
    let nodes: Vec<_> = (1..=50).map(super::node).collect();
    for (n, place) in nodes.iter().enumerate() {
        let client_id = format!("n{n}");
        script.says(*place, &endless(&client_id));
        script.hears(*place, &connack(ACCEPTED));
        script.subscribed(*place, "all/#", QoS::AtLeastOnce);
    }
    let silent = nodes[0];
    for round in 0..200_u64 {
        let topic = format!("all/{}", round % 7);
        script.delivery(round + 1, &topic, "x", QoS::AtLeastOnce);
        // Every other node gets it at once, whatever the first one owes.
        let mut published = 0;
        while let Some((place, datagram)) = script.sent.pop_front() {
            match Message::parse(&datagram).unwrap() {
                _ if place == silent => {}
                Message::Register(register) => {
                    let answer = regack(register.topic_id, register.msg_id, ACCEPTED);
                    script.says(place, &answer);
                }
                Message::Publish(publish) => {
                    published += 1;
                    script.says(place, &puback(TopicId::NONE, publish.msg_id, ACCEPTED));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(published, 49, "in round {round}");
        script.wait(Duration::from_secs(1));
    }
    // And the broker is not kept waiting for it.
    assert!(script.engine.deliveries_held() <= 16);
}
