//! What client stacks cannot do is not asked of them (A.20).

use super::*;

/// An active node with subscriptions to `filter` and a pre-defined topic, whose client stack has
/// been configured since: it would be granted not all of them now.
fn node(profile: Profile, filter: &str) -> Script {
    let mut script = Script::with(|settings| settings.idle_max = Duration::from_secs(86_400));
    script.says(NODE, &endless("a"));
    script.hears(NODE, &connack(ACCEPTED));
    script.subscribed(NODE, filter, QoS::ExactlyOnce);
    script.subscribed_to(NODE, TopicRef::Predefined(TopicId(7)), QoS::AtLeastOnce);
    script.rule("a", |rule| rule.profile = profile);
    script
}

#[test]
fn a20_emcute_never_hears_dup() {
    for (profile, dup) in [(Profile::EMCUTE, false), (Profile::PAHO, true)] {
        let mut script = node(profile, "t");
        script.delivery(1, "t", "x", QoS::AtLeastOnce);
        let msg_id = script.hears_publish("x", false);
        script.wait(T_RETRY);
        assert_eq!(script.hears_publish("x", dup), msg_id);
    }
}

#[test]
fn a20_the_quality_of_service_is_what_the_stack_and_the_rule_allow() {
    let mut script = node(Profile::ASYMCUTE, "t");
    script.delivery(1, "t", "x", QoS::ExactlyOnce);
    let publish = |script: &mut Script| {
        script.hears_some(|message| match message {
            Message::Publish(publish) => Some((publish.qos, publish.msg_id)),
            _ => None,
        })
    };
    let (qos, msg_id) = publish(&mut script);
    assert_eq!(qos, QoS::AtLeastOnce);
    script.says(NODE, &puback(TopicId::NONE, msg_id, ACCEPTED));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.rule("a", |rule| rule.qos_max = QoS::AtMostOnce);
    script.delivery(2, "t", "y", QoS::ExactlyOnce);
    assert_eq!(publish(&mut script), (QoS::AtMostOnce, MsgId::NONE));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
}

#[test]
fn a20_zephyr_is_sent_no_empty_payload() {
    let mut script = node(Profile::ZEPHYR, "t");
    script.delivery(1, "t", "", QoS::AtLeastOnce);
    script.delivery(0, "t", "", QoS::AtMostOnce);
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::Profile; 2]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    let mut script = node(Profile::STANDARD, "t");
    script.delivery(1, "t", "", QoS::AtLeastOnce);
    script.accepts_publish(NODE, "", false);
}

#[test]
fn a20_who_takes_no_register_is_sent_only_what_it_named() {
    for profile in [Profile::EMCUTE, Profile::ASYMCUTE] {
        let mut script = node(profile, "#");
        script.subscribed(NODE, "t", QoS::AtLeastOnce);
        script.delivery(1, "new", "x", QoS::AtLeastOnce);
        script.hears_nothing();
        assert_eq!(script.drops(), [DropReason::Profile]);
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
        script.delivery(2, "t", "y", QoS::AtLeastOnce);
        let msg_id = script.hears_publish("y", false);
        // It has forgotten the topic, and cannot be told it again.
        let unknown = puback(TopicId::NONE, msg_id, ReturnCode::InvalidTopicId);
        script.says(NODE, &unknown);
        script.hears_nothing();
        assert_eq!(script.drops(), [DropReason::Profile]);
        script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    }
}

#[test]
fn a20_emcute_reads_normal_ids_only() {
    for (profile, ready) in [(Profile::EMCUTE, false), (Profile::ASYMCUTE, true)] {
        let mut script = node(profile, "t");
        script.delivery(0, "pre/seven", "x", QoS::AtMostOnce);
        if ready {
            script.hears_publish("x", false);
        } else {
            assert_eq!(script.drops(), [DropReason::Profile]);
        }
        let id = script.registered(NODE, "pre/seven");
        script.delivery(0, "pre/seven", "y", QoS::AtMostOnce);
        let topic = script.hears_some(|message| match message {
            Message::Publish(publish) => Some(publish.topic),
            _ => None,
        });
        assert_eq!(topic == TopicRef::Normal(id), !ready);
    }
}

#[test]
fn a20_a_topic_whose_register_is_never_answered_is_given_up() {
    let mut script = node(Profile::ZEPHYR, "#");
    script.registered(NODE, "known");
    script.delivery(1, "new", "x", QoS::AtLeastOnce);
    script.delivery(2, "new", "y", QoS::AtLeastOnce);
    script.delivery(3, "known", "z", QoS::AtLeastOnce);
    for _ in 0..4 {
        script.hears_register("new");
        script.wait(T_RETRY);
    }
    assert_eq!(script.drops(), [DropReason::Unacknowledged; 2]);
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(1)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(2)));
    script.hears_nothing();
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.accepts_publish(NODE, "z", false);
    script.delivery(4, "new", "late", QoS::AtLeastOnce);
    script.hears_nothing();
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(3)));
    script.requests(&UpstreamRequest::Acknowledge(DeliveryId(4)));
}

#[test]
fn a20_a_publication_that_is_not_answered_is_not_given_up_as_a_topic() {
    let mut script = node(Profile::ZEPHYR, "t");
    script.delivery(1, "t", "x", QoS::AtLeastOnce);
    script.hears_publish("x", false);
    script.wait(T_RETRY.saturating_mul(4));
    assert_eq!(script.drops(), []);
    script.sent.clear();
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
    script.accepts_publish(NODE, "x", true);
}
