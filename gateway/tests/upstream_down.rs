//! Subscriptions and downlink publications of the upstream.

mod fake_broker;
mod upstream_engine;

use std::time::Duration;

use fake_broker::{FakeBroker, Script};
use gateway::session::{
    Delivery, DeliveryId, Publication, Refusal, UpstreamEvent, UpstreamRequest,
};
use gateway::upstream::{Overlapping, UpstreamConfig};
use rumqttc::v5::mqttbytes::QoS as MqttQos;
use rumqttc::v5::mqttbytes::v5::{Packet, PubRel, RetainForwardRule, SubscribeReasonCode};
use shared::wire::QoS;
use upstream_engine::{Engine, config, until};

fn subscribed(events: &[UpstreamEvent]) -> Vec<(String, Result<QoS, Refusal>)> {
    events
        .iter()
        .filter_map(|event| match event {
            UpstreamEvent::Subscribed { filter, result } => Some((filter.to_string(), *result)),
            _ => None,
        })
        .collect()
}

fn deliveries(events: &[UpstreamEvent]) -> Vec<(Option<DeliveryId>, Publication)> {
    events
        .iter()
        .filter_map(|event| match event {
            UpstreamEvent::Delivery(Delivery {
                id, publication, ..
            }) => Some((*id, publication.clone())),
            _ => None,
        })
        .collect()
}

async fn deliveries_of(
    engine: &mut Engine,
    count: usize,
) -> Vec<(Option<DeliveryId>, Publication)> {
    engine
        .wait_for(|events| deliveries(events).len() >= count)
        .await;
    deliveries(&engine.events)
}

async fn reconnected(engine: &mut Engine, broker: &FakeBroker) {
    let before = engine.stats().connects;
    broker.cut();
    until(|| engine.stats().connects > before).await;
}

#[tokio::test]
async fn subscriptions_are_answered_one_by_one() {
    let script = Script {
        refuse_filter: [
            ("secret/#".to_owned(), SubscribeReasonCode::NotAuthorized),
            ("many/#".to_owned(), SubscribeReasonCode::QuotaExceeded),
            (
                "lowered".to_owned(),
                SubscribeReasonCode::Success(MqttQos::AtMostOnce),
            ),
        ]
        .into(),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    for filter in ["a/+", "secret/#", "many/#", "lowered", "not/#/a/filter", ""] {
        engine.subscribe(filter, QoS::ExactlyOnce);
    }
    engine
        .wait_for(|events| subscribed(events).len() == 6)
        .await;
    let answers: std::collections::BTreeMap<_, _> =
        subscribed(&engine.events).into_iter().collect();
    assert_eq!(answers["a/+"], Ok(QoS::ExactlyOnce));
    assert_eq!(answers["lowered"], Ok(QoS::AtMostOnce));
    assert_eq!(answers["secret/#"], Err(Refusal::Denied(0x87)));
    assert_eq!(answers["many/#"], Err(Refusal::Busy));
    assert_eq!(answers["not/#/a/filter"], Err(Refusal::Denied(0x8F)));
    assert_eq!(answers[""], Err(Refusal::Denied(0x8F)));
    assert_eq!(engine.stats().refused_subscriptions, 2);

    // Again, to be sent the retained messages again.
    engine.subscribe("a/+", QoS::ExactlyOnce);
    engine
        .wait_for(|events| subscribed(events).len() == 7)
        .await;
    broker.record(|record| {
        let asked = record
            .subscribed
            .iter()
            .filter(|(filter, ..)| filter == "a/+");
        assert!(
            asked
                .clone()
                .all(|(.., rule)| *rule == RetainForwardRule::OnEverySubscribe)
        );
        assert_eq!(asked.count(), 2);
    });
}

#[tokio::test]
async fn subscriptions_survive_a_kept_session_and_are_made_again_in_a_new_one() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut config = config(&broker);
    // With an identifier each, they would not fit one packet.
    config.overlapping = Overlapping::Single;
    let mut engine = Engine::start(&config, 0);
    for n in 0..40 {
        engine.subscribe(&format!("f/{n}"), QoS::AtLeastOnce);
    }
    engine
        .wait_for(|events| subscribed(events).len() == 40)
        .await;
    engine.request(UpstreamRequest::Unsubscribe {
        filter: "f/7".into(),
    });
    until(|| broker.record(|record| record.unsubscribed == ["f/7"])).await;
    assert!(
        broker.record(|record| record.subscribe_packets) <= 4,
        "batched"
    );

    reconnected(&mut engine, &broker).await;
    engine.publish("t", QoS::AtLeastOnce, "x");
    engine.all_published().await;
    assert_eq!(broker.record(|record| record.subscribed.len()), 40);

    broker.forget_session();
    reconnected(&mut engine, &broker).await;
    until(|| broker.record(|record| record.subscribed.len() == 79)).await;
    broker.record(|record| {
        let again = &record.subscribed[40..];
        assert!(
            again
                .iter()
                .all(|(.., rule)| *rule == RetainForwardRule::OnNewSubscribe)
        );
        assert!(again.iter().all(|(filter, ..)| filter != "f/7"));
    });
    engine.listen(Duration::from_millis(50)).await;
    assert_eq!(subscribed(&engine.events).len(), 40, "answered once");
}

#[tokio::test]
async fn a_subscription_lost_to_a_passing_refusal_is_won_back() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.subscribe("a/#", QoS::AtLeastOnce);
    engine
        .wait_for(|events| subscribed(events).len() == 1)
        .await;
    broker.script(|script| {
        let refused = ("a/#".to_owned(), SubscribeReasonCode::QuotaExceeded);
        script.refuse_filter = [refused].into();
    });
    broker.forget_session();
    reconnected(&mut engine, &broker).await;
    until(|| engine.stats().refused_subscriptions >= 3).await;
    broker.script(|script| script.refuse_filter.clear());
    let refused = engine.stats().refused_subscriptions;
    until(|| broker.record(|record| record.subscribed.len() as u64 > 1 + refused)).await;
    engine.listen(Duration::from_millis(50)).await;
    assert_eq!(engine.stats().connects, 2);
    assert_eq!(subscribed(&engine.events).len(), 1, "answered once");
}

#[tokio::test]
async fn a_subscription_is_answered_though_the_connection_is_cut() {
    for seed in 0..5 {
        let broker = FakeBroker::start(Script::default(), seed).await;
        let mut engine = Engine::start(&config(&broker), seed);
        for n in 0..30 {
            engine.subscribe(&format!("f/{n}"), QoS::AtLeastOnce);
            if n % 7 == 0 {
                broker.cut();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        engine
            .wait_for(|events| subscribed(events).len() == 30)
            .await;
    }
}

#[tokio::test]
async fn the_engine_acknowledges_and_not_before() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    broker.deliver(1, MqttQos::AtLeastOnce, "d/1", "one", true);
    broker.deliver(2, MqttQos::ExactlyOnce, "d/2", "two", false);
    broker.deliver(0, MqttQos::AtMostOnce, "d/0", "nought", false);
    let got = deliveries_of(&mut engine, 3).await;
    assert_eq!(&*got[0].1.topic, "d/1");
    assert_eq!((got[0].1.qos, got[0].1.retain), (QoS::AtLeastOnce, true));
    assert_eq!((got[1].1.qos, got[1].1.retain), (QoS::ExactlyOnce, false));
    assert_eq!((got[2].0, got[2].1.qos), (None, QoS::AtMostOnce));
    engine.listen(Duration::from_millis(100)).await;
    assert!(broker.record(|record| record.acks.is_empty()));

    for id in [got[1].0, got[0].0] {
        engine.request(UpstreamRequest::Acknowledge(id.unwrap()));
    }
    until(|| broker.record(|record| record.acks.len() == 3)).await;
    broker.record(|record| {
        assert!(matches!(&record.acks[0], Packet::PubRec(ack) if ack.pkid == 2));
        assert!(
            record
                .acks
                .iter()
                .any(|ack| matches!(ack, Packet::PubAck(ack) if ack.pkid == 1))
        );
        assert!(
            record
                .acks
                .iter()
                .any(|ack| matches!(ack, Packet::PubComp(ack) if ack.pkid == 2))
        );
    });
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_under_a_new_name() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    broker.deliver(5, MqttQos::AtLeastOnce, "d", "x", false);
    let first = deliveries_of(&mut engine, 1).await[0].0.unwrap();
    reconnected(&mut engine, &broker).await;
    let second = deliveries_of(&mut engine, 2).await[1].0.unwrap();
    assert_ne!(first, second);
    engine.request(UpstreamRequest::Acknowledge(first));
    until(|| engine.stats().late_acks == 1).await;
    engine.listen(Duration::from_millis(50)).await;
    assert!(
        broker.record(|record| record.acks.is_empty()),
        "the late one is not sent"
    );
    engine.request(UpstreamRequest::Acknowledge(second));
    until(|| broker.record(|record| record.acks.len() == 1)).await;
    reconnected(&mut engine, &broker).await;
    engine.listen(Duration::from_millis(50)).await;
    assert_eq!(deliveries(&engine.events).len(), 2);
}

#[tokio::test]
async fn qos2_comes_down_exactly_once_over_cuts() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    for round in 0..20_u16 {
        let packet_id = 100 + round;
        broker.deliver(
            packet_id,
            MqttQos::ExactlyOnce,
            "d",
            &round.to_string(),
            false,
        );
        let got = deliveries_of(&mut engine, usize::from(round) + 1).await;
        let id = got.last().unwrap().0.unwrap();
        // The engine answers before the cut, in the middle, or after it.
        match round % 3 {
            0 => {
                engine.request(UpstreamRequest::Acknowledge(id));
                reconnected(&mut engine, &broker).await;
            }
            1 => {
                broker.cut();
                engine.request(UpstreamRequest::Acknowledge(id));
            }
            _ => {
                reconnected(&mut engine, &broker).await;
                engine.request(UpstreamRequest::Acknowledge(id));
            }
        }
        until(|| {
            broker.record(|record| {
                record.acks.iter().any(
                    |ack| matches!(ack, Packet::PubComp(complete) if complete.pkid == packet_id),
                )
            })
        })
        .await;
    }
    engine.listen(Duration::from_millis(50)).await;
    let payloads: Vec<String> = deliveries(&engine.events)
        .into_iter()
        .map(|(_, publication)| String::from_utf8(publication.payload.to_vec()).unwrap())
        .collect();
    let wanted: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(payloads, wanted);
    assert_eq!(engine.stats().late_acks, 0);
}

#[tokio::test]
async fn releases_of_an_earlier_life_are_answered() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    broker.owe_release(7);
    broker.owe_release(40_000);
    let mut engine = Engine::start(&config(&broker), 0);
    until(|| broker.record(|record| record.acks.len() == 2)).await;
    broker.send(Packet::PubRel(PubRel::new(41_000, None)));
    until(|| broker.record(|record| record.acks.len() == 3)).await;
    engine.publish("t", QoS::AtLeastOnce, "x");
    engine.all_published().await;
    assert_eq!(engine.stats().connects, 1);
}

#[tokio::test]
async fn a_completion_the_broker_has_forgotten_is_one() {
    let script = Script {
        unknown_releases: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.inflight_max = 2;
    let mut engine = Engine::start(&config, 0);
    for n in 0..30 {
        engine.publish("t", QoS::ExactlyOnce, &n.to_string());
    }
    engine.all_published().await;
    assert_eq!(engine.stats().connects, 1);
}

#[tokio::test]
async fn a_stalled_engine_costs_qos0_only() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    for _ in 0..12_000 {
        broker.deliver(0, MqttQos::AtMostOnce, "d", "x", false);
    }
    broker.deliver(3, MqttQos::AtLeastOnce, "d", "kept", false);
    until(|| engine.stats().dropped_deliveries == 2_000).await;
    let got = deliveries_of(&mut engine, 10_001).await;
    assert!(got.last().unwrap().0.is_some());
    broker.deliver(0, MqttQos::AtMostOnce, "d", "room again", false);
    deliveries_of(&mut engine, 10_002).await;
}

#[tokio::test]
async fn a_first_clean_connection_leaves_an_old_session_behind_and_later_ones_go_on() {
    let script = Script {
        keep_session: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 1);
    engine.subscribe("old/#", QoS::AtLeastOnce);
    until(|| broker.record(|record| record.subscribed.len() == 1)).await;
    drop(engine);
    let config = UpstreamConfig {
        first_clean: true,
        ..config(&broker)
    };
    let mut engine = Engine::start(&config, 2);
    until(|| broker.record(|record| record.connects.len() == 2)).await;
    reconnected(&mut engine, &broker).await;
    let clean = broker.record(|record| {
        let starts = record.connects.iter();
        starts
            .map(|(connect, _)| connect.clean_start)
            .collect::<Vec<_>>()
    });
    assert_eq!(clean, [false, true, false]);
}
