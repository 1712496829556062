//! What the broker's reason codes lead to (A.21), and what a publication says of itself.

mod fake_broker;
mod upstream_engine;

use std::time::Duration;

use fake_broker::{FakeBroker, Script};
use gateway::session::{Refusal, UpstreamEvent, UpstreamRequest};
use rumqttc::v5::mqttbytes::QoS as MqttQos;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAckReason, PublishProperties,
    SubscribeReasonCode,
};
use shared::wire::QoS;
use upstream_engine::{Engine, config, until};

/// Long enough for many of the shortest waits, and for none of the longest.
const A_WHILE: Duration = Duration::from_millis(200);

/// Starts an upstream that waits for 2 ms at first and for a minute at last.
fn impatient(broker: &FakeBroker) -> Engine {
    let mut config = config(broker);
    config.backoff_max = Duration::from_secs(60);
    Engine::start(&config, 0)
}

#[tokio::test]
async fn a21_a_reason_to_disconnect_that_passes_is_met_by_a_new_connection() {
    for reason in [
        DisconnectReasonCode::ServerShuttingDown,
        DisconnectReasonCode::ServerBusy,
        DisconnectReasonCode::UseAnotherServer,
        DisconnectReasonCode::ServerMoved,
    ] {
        let broker = FakeBroker::start(Script::default(), 0).await;
        let mut engine = impatient(&broker);
        engine.connected().await;
        broker.send(Packet::Disconnect(Disconnect::new(reason)));
        until(|| engine.stats().connects == 2).await;
    }
}

#[tokio::test]
async fn a21_who_is_taken_over_does_not_fight_and_other_reasons_are_given_time() {
    for reason in [
        DisconnectReasonCode::SessionTakenOver,
        DisconnectReasonCode::AdministrativeAction,
        DisconnectReasonCode::NotAuthorized,
        DisconnectReasonCode::QuotaExceeded,
        DisconnectReasonCode::ConnectionRateExceeded,
        DisconnectReasonCode::UnspecifiedError,
    ] {
        let broker = FakeBroker::start(Script::default(), 0).await;
        let mut engine = impatient(&broker);
        engine.connected().await;
        broker.send(Packet::Disconnect(Disconnect::new(reason)));
        until(|| engine.stats().disconnects == 1).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(engine.stats().connects, 1, "{reason:?}");
        // What is taken meanwhile is kept.
        engine.publish("t", QoS::AtLeastOnce, "x");
        assert_eq!(engine.stats().queue_len, 1);
    }
}

#[tokio::test]
async fn a21_a_refused_connection_is_tried_again_soon_where_the_reason_passes() {
    for (code, passes) in [
        (ConnectReturnCode::ServerUnavailable, true),
        (ConnectReturnCode::ServerBusy, true),
        (ConnectReturnCode::QuotaExceeded, true),
        (ConnectReturnCode::ConnectionRateExceeded, true),
        (ConnectReturnCode::UseAnotherServer, true),
        (ConnectReturnCode::ServerMoved, true),
        (ConnectReturnCode::NotAuthorized, false),
        (ConnectReturnCode::BadUserNamePassword, false),
        (ConnectReturnCode::ClientIdentifierNotValid, false),
        (ConnectReturnCode::UnspecifiedError, false),
        (ConnectReturnCode::QoSNotSupported, false),
    ] {
        let script = Script {
            refuse_connect: Some(code),
            ..Script::default()
        };
        let broker = FakeBroker::start(script, 0).await;
        let engine = impatient(&broker);
        if passes {
            until(|| engine.stats().failed_connects >= 3).await;
        } else {
            until(|| engine.stats().failed_connects == 1).await;
            tokio::time::sleep(A_WHILE / 4).await;
            assert_eq!(engine.stats().failed_connects, 1, "{code:?}");
        }
    }
}

#[tokio::test]
async fn a21_nobody_subscribing_is_no_refusal() {
    let script = Script {
        refuse_topic: [("t".to_owned(), PubAckReason::NoMatchingSubscribers)].into(),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    engine.publish("t", QoS::ExactlyOnce, "x");
    engine.all_published().await;
    assert_eq!(broker.record(|record| record.handed_on.len()), 2);
}

#[tokio::test]
async fn a21_every_refusal_of_a_publication_keeps_its_code() {
    let codes = [
        (PubAckReason::QuotaExceeded, Refusal::Busy),
        (PubAckReason::UnspecifiedError, Refusal::Denied(0x80)),
        (
            PubAckReason::ImplementationSpecificError,
            Refusal::Denied(0x83),
        ),
        (PubAckReason::NotAuthorized, Refusal::Denied(0x87)),
        (PubAckReason::TopicNameInvalid, Refusal::Denied(0x90)),
        (PubAckReason::PayloadFormatInvalid, Refusal::Denied(0x99)),
    ];
    let topics = codes.map(|(reason, refusal)| (format!("{refusal:?}"), reason));
    let script = Script {
        refuse_topic: topics.into(),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    for (_, refusal) in codes {
        let id = engine.publish(&format!("{refusal:?}"), QoS::AtLeastOnce, "x");
        assert_eq!(engine.results().await[&id], Err(refusal));
    }
}

#[tokio::test]
async fn a21_a_subscription_under_a_packet_id_in_use_is_asked_for_again() {
    let script = Script {
        subscription_ids_in_use: 2,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.subscribe("a", QoS::AtLeastOnce);
    let answer = UpstreamEvent::Subscribed {
        filter: "a".into(),
        result: Ok(QoS::AtLeastOnce),
    };
    engine.wait_for(|events| events.contains(&answer)).await;
    broker.record(|record| {
        let mut ids: Vec<u16> = record.identifiers.iter().map(|(_, id, _)| *id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3, "each under another one");
    });

    broker.script(|script| script.subscription_ids_in_use = 1);
    engine.request(UpstreamRequest::Unsubscribe { filter: "a".into() });
    until(|| broker.record(|record| record.unsubscribed == ["a", "a"])).await;
    engine.listen(Duration::from_millis(50)).await;
    let answers = |event: &&UpstreamEvent| matches!(event, UpstreamEvent::Subscribed { .. });
    assert_eq!(engine.events.iter().filter(answers).count(), 1);
    assert_eq!(engine.stats().connects, 1);
}

#[tokio::test]
async fn a21_a_refused_subscription_keeps_its_code() {
    for (code, refusal) in [
        (SubscribeReasonCode::QuotaExceeded, Refusal::Busy),
        (SubscribeReasonCode::Unspecified, Refusal::Denied(0x80)),
        (
            SubscribeReasonCode::ImplementationSpecific,
            Refusal::Denied(0x83),
        ),
        (SubscribeReasonCode::NotAuthorized, Refusal::Denied(0x87)),
        (
            SubscribeReasonCode::TopicFilterInvalid,
            Refusal::Denied(0x8F),
        ),
        (
            SubscribeReasonCode::SharedSubscriptionsNotSupported,
            Refusal::Denied(0x9E),
        ),
        (
            SubscribeReasonCode::WildcardSubscriptionsNotSupported,
            Refusal::Denied(0xA2),
        ),
    ] {
        let script = Script {
            refuse_filter: [("a".to_owned(), code)].into(),
            ..Script::default()
        };
        let broker = FakeBroker::start(script, 0).await;
        let mut engine = Engine::start(&config(&broker), 0);
        engine.subscribe("a", QoS::AtLeastOnce);
        let answer = UpstreamEvent::Subscribed {
            filter: "a".into(),
            result: Err(refusal),
        };
        engine.wait_for(|events| events.contains(&answer)).await;
    }
}

#[tokio::test]
async fn the_time_a_publication_is_worth_delivering_is_handed_on() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    for (packet_id, expiry) in [(1, Some(90)), (2, Some(u32::MAX)), (3, None)] {
        let properties = PublishProperties {
            message_expiry_interval: expiry,
            ..PublishProperties::default()
        };
        broker.deliver_with(packet_id, "x", properties);
        let is_delivery = |event: &&UpstreamEvent| matches!(event, UpstreamEvent::Delivery(_));
        let count = usize::from(packet_id);
        engine
            .wait_for(|events| events.iter().filter(is_delivery).count() == count)
            .await;
        let Some(UpstreamEvent::Delivery(delivery)) = engine.events.iter().rfind(is_delivery)
        else {
            unreachable!("it was waited for");
        };
        let seconds = expiry.map(u64::from).map(shared::time::Duration::from_secs);
        assert_eq!(delivery.expiry, seconds);
    }
}

#[tokio::test]
async fn what_the_engine_does_not_fetch_is_bounded_and_none_of_qos1_is_lost() {
    const COUNT: u16 = 200;
    const EACH: usize = 64 * 1024;
    const LIMIT: usize = 20 * EACH;
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut config = config(&broker);
    config.unfetched_bytes_max = LIMIT;
    let mut engine = Engine::start(&config, 0);
    engine.connected().await;
    let payload = "x".repeat(EACH);
    for packet_id in 1..=COUNT {
        broker.deliver(packet_id, MqttQos::AtLeastOnce, "d", &payload, false);
        broker.deliver(0, MqttQos::AtMostOnce, "d", "fleeting", false);
    }
    until(|| engine.stats().read_pauses > 0).await;
    tokio::time::sleep(A_WHILE).await;
    let stats = engine.stats();
    // rumqttc reads up to ten packets at once.
    assert!(stats.unfetched_bytes < LIMIT + 11 * EACH, "{stats:?}");
    assert!(stats.unfetched_bytes >= LIMIT, "{stats:?}");

    // What has been asked for meanwhile is done afterwards.
    engine.publish("t", QoS::AtLeastOnce, "up");
    engine
        .wait_for(|events| {
            let reliable = |event: &&UpstreamEvent| {
                matches!(event, UpstreamEvent::Delivery(delivery) if delivery.id.is_some())
            };
            events.iter().filter(reliable).count() == usize::from(COUNT)
        })
        .await;
    engine.all_published().await;
    let stats = engine.stats();
    assert_eq!((stats.connects, stats.unfetched_bytes), (1, 0), "{stats:?}");
}

#[tokio::test]
async fn a_clogged_upstream_closes_in_time() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut config = config(&broker);
    config.unfetched_bytes_max = 1;
    let mut engine = Engine::start(&config, 0);
    engine.connected().await;
    broker.deliver(1, MqttQos::AtLeastOnce, "d", "x", false);
    until(|| engine.stats().read_pauses > 0).await;
    engine.publish("t", QoS::AtLeastOnce, "last");
    let began = std::time::Instant::now();
    use gateway::upstream::Upstream;
    assert_eq!(engine.upstream.close(Duration::from_secs(20)).await, 0);
    assert!(began.elapsed() < Duration::from_secs(10));
}
