//! Overlapping subscriptions: which of several copies of a publication is for whom.

mod fake_broker;
mod upstream_engine;

use std::collections::BTreeMap;

use fake_broker::{FakeBroker, Script, no_properties};
use gateway::session::{Delivery, UpstreamEvent, UpstreamRequest};
use gateway::upstream::Overlapping;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, PublishProperties};
use shared::wire::QoS;
use upstream_engine::{Engine, config, until};

fn deliveries(engine: &Engine) -> Vec<Delivery> {
    let deliveries = engine.events.iter().filter_map(|event| match event {
        UpstreamEvent::Delivery(delivery) => Some(delivery.clone()),
        _ => None,
    });
    deliveries.collect()
}

async fn next_delivery(engine: &mut Engine) -> Delivery {
    let before = deliveries(engine).len();
    let more = |events: &[UpstreamEvent]| {
        let is_delivery = |event: &&UpstreamEvent| matches!(event, UpstreamEvent::Delivery(_));
        events.iter().filter(is_delivery).count() > before
    };
    engine.wait_for(more).await;
    deliveries(engine)[before].clone()
}

async fn subscribe(engine: &mut Engine, filters: &[&str]) {
    let answers = |events: &[UpstreamEvent]| {
        let is_answer = |e: &&UpstreamEvent| matches!(e, UpstreamEvent::Subscribed { .. });
        events.iter().filter(is_answer).count()
    };
    let before = answers(&engine.events);
    for filter in filters {
        engine.subscribe(filter, QoS::ExactlyOnce);
    }
    engine
        .wait_for(|events| answers(events) == before + filters.len())
        .await;
}

/// Returns the last identifier of each filter, as the broker knows it.
fn identifiers(broker: &FakeBroker) -> BTreeMap<String, Option<usize>> {
    broker.record(|record| {
        let known = record.identifiers.iter();
        known.map(|(filter, _, id)| (filter.clone(), *id)).collect()
    })
}

fn with_ids(ids: &[usize]) -> PublishProperties {
    PublishProperties {
        subscription_identifiers: ids.to_vec(),
        ..PublishProperties::default()
    }
}

fn texts(delivery: &Delivery) -> Vec<&str> {
    delivery.filters.iter().map(|filter| &**filter).collect()
}

#[tokio::test]
async fn each_copy_names_its_subscription() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    subscribe(&mut engine, &["#", "+", "d"]).await;
    let ids = identifiers(&broker);
    for (packet_id, filter) in [(1, "+"), (2, "#"), (3, "d")] {
        broker.deliver_with(packet_id, "x", with_ids(&[ids[filter].unwrap()]));
        assert_eq!(texts(&next_delivery(&mut engine).await), [filter]);
    }
    broker.deliver_with(4, "x", with_ids(&[]));
    assert!(next_delivery(&mut engine).await.filters.is_empty());
    assert!(broker.record(|record| record.strange_filters.is_empty()));
}

#[tokio::test]
async fn identifiers_stay_over_reconnections() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    subscribe(&mut engine, &["#", "d"]).await;
    let ids = identifiers(&broker);
    for forget in [false, true] {
        let connects = engine.stats().connects;
        if forget {
            broker.forget_session();
        }
        broker.cut();
        until(|| engine.stats().connects > connects).await;
        let made = if forget { 4 } else { 2 };
        until(|| broker.record(|record| record.subscribed.len()) == made).await;
        assert_eq!(identifiers(&broker), ids);
        broker.deliver_with(7, "x", with_ids(&[ids["d"].unwrap()]));
        assert_eq!(texts(&next_delivery(&mut engine).await), ["d"]);
    }
}

#[tokio::test]
async fn a_copy_for_a_subscription_that_has_ended_is_for_nobody() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    subscribe(&mut engine, &["#", "d"]).await;
    let ended = identifiers(&broker)["d"];
    engine.request(UpstreamRequest::Unsubscribe { filter: "d".into() });
    until(|| broker.record(|record| record.unsubscribed == ["d"])).await;
    // Its answer comes after that to UNSUBSCRIBE.
    subscribe(&mut engine, &["other"]).await;
    broker.deliver_with(1, "late", with_ids(&[ended.unwrap()]));
    until(|| engine.stats().unwanted_deliveries == 1).await;
    until(|| broker.record(|record| record.acks.len() == 1)).await;
    subscribe(&mut engine, &["d"]).await;
    assert_ne!(identifiers(&broker)["d"], ended);
    assert!(deliveries(&engine).is_empty());
}

#[tokio::test]
async fn a_broker_without_identifiers_is_taken_to_send_one_copy() {
    let script = Script {
        limits: Some(ConnAckProperties {
            subscription_identifiers_available: Some(0),
            ..no_properties()
        }),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    subscribe(&mut engine, &["#", "d"]).await;
    assert!(identifiers(&broker).values().all(Option::is_none));
    broker.deliver_with(1, "x", with_ids(&[]));
    assert!(next_delivery(&mut engine).await.filters.is_empty());

    // The next one knows them: what the session has without is made again, with.
    broker.script(|script| script.limits = None);
    broker.cut();
    until(|| identifiers(&broker).values().all(Option::is_some)).await;
}

#[tokio::test]
async fn a_broker_that_refuses_identifiers_is_asked_without() {
    let script = Script {
        refuse_identifiers: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    subscribe(&mut engine, &["#", "d"]).await;
    for event in &engine.events {
        if let UpstreamEvent::Subscribed { filter, result } = event {
            assert_eq!(*result, Ok(QoS::ExactlyOnce), "{filter}");
        }
    }
    assert!(identifiers(&broker).values().all(Option::is_none));
    assert_eq!(engine.stats().refused_subscriptions, 0);
}

#[tokio::test]
async fn a_broker_that_merges_copies_is_found_out() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    subscribe(&mut engine, &["#", "+", "d"]).await;
    broker.deliver_with(1, "{}", with_ids(&[1, 2]));
    let whole = next_delivery(&mut engine).await;
    assert_eq!(
        (&whole.publication.payload[..], whole.filters.len()),
        (&b"{}"[..], 0)
    );
    assert_eq!(engine.stats().merged_deliveries, 1);
    until(|| identifiers(&broker).values().all(Option::is_none)).await;

    // Queued before: rumqttc takes the third identifier for payload.
    broker.deliver_with(2, "{}", with_ids(&[1, 2, 3]));
    until(|| engine.stats().unusable_deliveries == 1).await;
    until(|| broker.record(|record| record.acks.len() == 1)).await;
    broker.deliver_with(3, "after", with_ids(&[]));
    assert_eq!(
        next_delivery(&mut engine).await.publication.payload,
        "after"
    );
}

#[tokio::test]
async fn one_copy_for_all_needs_no_identifiers() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut config = config(&broker);
    config.overlapping = Overlapping::Single;
    let mut engine = Engine::start(&config, 0);
    subscribe(&mut engine, &["#", "d"]).await;
    assert!(identifiers(&broker).values().all(Option::is_none));
    broker.deliver_with(1, "x", with_ids(&[1]));
    assert!(next_delivery(&mut engine).await.filters.is_empty());
}
