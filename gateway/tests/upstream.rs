//! Uplink custody of the upstream, against a broker that cuts, forgets, refuses and falls silent.

mod fake_broker;
mod upstream_engine;

use std::time::Duration;

use fake_broker::{FakeBroker, Script, no_properties};
use gateway::session::{Refusal, UpstreamEvent};
use gateway::upstream::{Secret, Upstream};
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, ConnectReturnCode, DisconnectReasonCode, PubAckReason,
};
use shared::rng::Rng;
use shared::wire::QoS;
use upstream_engine::{Engine, config, publication, until};

/// The seeds to try: the one in `SEED`, or as many as `SEEDS` says.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(8),
    }
}

/// Publishes `count` times, round the topics `t/1/…` and `t/2/…`, one level each.
async fn publish_all(engine: &mut Engine, count: u64) {
    for n in 0..count {
        let qos = if n % 2 == 0 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        };
        let topic = format!("t/{}/{}", qos.level(), n % 5);
        engine.publish(&topic, qos, &n.to_string());
        if n % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Checks what the broker handed on: all of it, in order by topic, QoS 2 once if `once`.
fn judge(broker: &FakeBroker, count: u64, once: bool, context: &str) {
    let handed_on = broker.record(|record| {
        assert!(
            record.reused_ids.is_empty(),
            "{context}: {:?}",
            record.reused_ids
        );
        record.handed_on.clone()
    });
    let number = |payload: &[u8]| -> u64 { std::str::from_utf8(payload).unwrap().parse().unwrap() };
    for n in 0..count {
        let times = handed_on
            .iter()
            .filter(|(_, payload)| number(payload) == n)
            .count();
        assert!(times >= 1, "{context}: {n} is lost");
        if once && n % 2 == 1 {
            assert_eq!(times, 1, "{context}: {n} at QoS 2");
        }
    }
    let mut first = std::collections::BTreeMap::<&str, Vec<u64>>::new();
    for (topic, payload) in &handed_on {
        let numbers = first.entry(topic).or_default();
        if !numbers.contains(&number(payload)) {
            numbers.push(number(payload));
        }
    }
    for (topic, numbers) in first {
        assert!(numbers.is_sorted(), "{context}: {topic}: {numbers:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_over_cuts_while_the_session_is_kept() {
    for seed in seeds() {
        let script = Script {
            cut_ppm: 40_000,
            ..Script::default()
        };
        let broker = FakeBroker::start(script, seed).await;
        let mut engine = Engine::start(&config(&broker), seed);
        publish_all(&mut engine, 300).await;
        engine.all_published().await;
        let context = format!("SEED={seed}");
        assert!(engine.stats().disconnects > 0, "{context}");
        judge(&broker, 300, true, &context);
        assert_eq!(
            (engine.stats().queue_len, engine.stats().queue_bytes),
            (0, 0)
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_over_cuts_though_the_session_is_forgotten() {
    for seed in seeds() {
        let script = Script {
            cut_ppm: 40_000,
            keep_session: false,
            ..Script::default()
        };
        let broker = FakeBroker::start(script, seed).await;
        let mut engine = Engine::start(&config(&broker), seed);
        publish_all(&mut engine, 300).await;
        engine.all_published().await;
        judge(&broker, 300, false, &format!("SEED={seed}"));
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_session_is_sometimes_forgotten() {
    for seed in seeds() {
        let script = Script {
            cut_ppm: 20_000,
            ..Script::default()
        };
        let broker = FakeBroker::start(script, seed).await;
        let mut engine = Engine::start(&config(&broker), seed);
        let mut rng = Rng::new(seed);
        for _ in 0..6 {
            publish_all(&mut engine, 50).await;
            if rng.chance_ppm(500_000) {
                broker.forget_session();
            }
            broker.cut();
        }
        engine.all_published().await;
        judge_counts(&broker, 50, 6, seed);
    }
}

/// As [`judge`], for numbers that were published several times over.
fn judge_counts(broker: &FakeBroker, count: u64, rounds: usize, seed: u64) {
    for n in 0..count {
        let wanted = n.to_string();
        let times = broker.record(|record| {
            record
                .handed_on
                .iter()
                .filter(|(_, payload)| **payload == *wanted.as_bytes())
                .count()
        });
        assert!(times >= rounds, "SEED={seed}: {n} arrived {times} times");
    }
}

#[tokio::test]
async fn a_broker_that_cuts_after_a_few_publications_gets_them_all() {
    let script = Script {
        cut_after: Some(7),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    publish_all(&mut engine, 100).await;
    engine.all_published().await;
    judge(&broker, 100, true, "cut after 7");
    let repeated_without_dup = broker.record(|record| {
        record
            .seen
            .iter()
            .enumerate()
            .filter(|(at, seen)| {
                let before = &record.seen[..*at];
                !seen.dup && before.iter().any(|other| other.payload == seen.payload)
            })
            .count()
    });
    assert_eq!(
        repeated_without_dup, 0,
        "the session is kept: a repeat has DUP"
    );
}

#[tokio::test]
async fn a_broker_that_comes_late_gets_everything() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    broker.script(|script| script.refuse_connect = Some(ConnectReturnCode::ServerUnavailable));
    let mut engine = Engine::start(&config(&broker), 0);
    publish_all(&mut engine, 100).await;
    until(|| broker.record(|record| record.connects.len() >= 3)).await;
    assert!(engine.stats().failed_connects >= 2);
    broker.script(|script| script.refuse_connect = None);
    engine.all_published().await;
    judge(&broker, 100, true, "late");
}

#[tokio::test]
async fn a_full_queue_gives_back_and_recovers() {
    let script = Script {
        withhold_topic: Some("#".into()),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.queue_len_max = 10;
    let mut engine = Engine::start(&config, 0);
    for n in 0..10 {
        engine.publish("t", QoS::AtLeastOnce, &n.to_string());
    }
    assert!(
        engine
            .try_publish("t", QoS::AtLeastOnce, "too many")
            .is_err()
    );
    assert!(
        engine
            .try_publish("t", QoS::AtMostOnce, "too many")
            .is_err()
    );
    assert_eq!(engine.stats().queue_full, 2);
    until(|| broker.record(|record| record.seen.len() == 10)).await;
    broker.script(|script| script.withhold_topic = None);
    broker.release_acks(false);
    engine.all_published().await;
    engine.publish("t", QoS::AtLeastOnce, "room again");
    engine.all_published().await;

    config.queue_len_max = 100;
    config.queue_bytes_max = 1_000;
    broker.script(|script| script.withhold_topic = Some("#".into()));
    let mut engine = Engine::start(&config, 0);
    engine.publish("t", QoS::AtLeastOnce, &"x".repeat(600));
    assert!(
        engine
            .try_publish("t", QoS::AtLeastOnce, &"x".repeat(600))
            .is_err()
    );
    engine.publish("t", QoS::AtLeastOnce, &"x".repeat(300));
}

#[tokio::test]
async fn a_publication_larger_than_the_queue_passes_alone() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut config = config(&broker);
    config.queue_bytes_max = 100;
    let mut engine = Engine::start(&config, 0);
    engine.publish("t", QoS::AtLeastOnce, &"x".repeat(600));
    engine.all_published().await;
}

#[tokio::test]
async fn refusals_name_their_reason_and_stop_nothing() {
    let script = Script {
        refuse_topic: [
            ("full".to_owned(), PubAckReason::QuotaExceeded),
            ("secret".to_owned(), PubAckReason::NotAuthorized),
        ]
        .into(),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.inflight_max = 4;
    let mut engine = Engine::start(&config, 0);
    // Many more than the window: each refused PUBREC costs rumqttc a place in its own.
    for _ in 0..50 {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            engine.publish("full", qos, "x");
            engine.publish("secret", qos, "x");
        }
    }
    engine.publish("open", QoS::ExactlyOnce, "x");
    let results = engine.results().await;
    let count = |wanted| results.values().filter(|result| **result == wanted).count();
    assert_eq!(count(Err(Refusal::Busy)), 100);
    assert_eq!(count(Err(Refusal::Denied(0x87))), 100);
    assert_eq!(count(Ok(())), 1);
    assert_eq!(engine.stats().refused, 200);
    assert_eq!(engine.stats().connects, 1, "no connection was spent on it");
}

#[tokio::test]
async fn topics_that_are_no_topic_names_never_leave() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    for topic in ["", "a/+", "#", "a\0b"] {
        engine.publish(topic, QoS::AtLeastOnce, "x");
    }
    let results = engine.results().await;
    assert!(results.values().all(|r| *r == Err(Refusal::Denied(0x90))));
    assert!(broker.record(|record| record.seen.is_empty()));
}

#[tokio::test]
async fn a_packet_id_in_use_at_the_broker_is_changed() {
    let script = Script {
        ids_in_use: 5,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    publish_all(&mut engine, 20).await;
    engine.all_published().await;
    assert_eq!(broker.record(|record| record.seen.len()), 25);
    assert!(broker.record(|record| record.reused_ids.is_empty()));
}

#[tokio::test]
async fn acks_in_the_wrong_order_cost_nothing() {
    let script = Script {
        withhold_topic: Some("#".into()),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.inflight_max = 8;
    let mut engine = Engine::start(&config, 0);
    for n in 0..80 {
        engine.publish("t", QoS::AtLeastOnce, &n.to_string());
    }
    for round in 1..=10 {
        until(|| broker.record(|record| record.seen.len() == round * 8)).await;
        broker.release_acks(true);
    }
    engine.all_published().await;
    assert_eq!(engine.stats().connects, 1);
    assert!(broker.record(|record| record.reused_ids.is_empty()));
}

#[tokio::test]
async fn one_publication_without_an_answer_holds_up_no_other() {
    let script = Script {
        withhold_topic: Some("slow".into()),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.inflight_max = 4;
    let mut engine = Engine::start(&config, 0);
    engine.publish("slow", QoS::ExactlyOnce, "x");
    engine.publish("slow", QoS::AtLeastOnce, "x");
    for n in 0..100 {
        let qos = if n % 2 == 0 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        };
        engine.publish("fast", qos, &n.to_string());
    }
    engine.subscribe("down", QoS::AtLeastOnce);
    engine
        .wait_for(|events| {
            let published = events
                .iter()
                .filter(|event| matches!(event, UpstreamEvent::Published { .. }))
                .count();
            let subscribed = events
                .iter()
                .any(|event| matches!(event, UpstreamEvent::Subscribed { .. }));
            published == 100 && subscribed
        })
        .await;
    broker.release_acks(false);
    engine.all_published().await;
    assert!(broker.record(|record| record.reused_ids.is_empty()));
    assert_eq!(engine.stats().connects, 1);
}

#[tokio::test]
async fn the_brokers_receive_maximum_is_kept() {
    for receive_max in [1, 2, 5] {
        let script = Script {
            limits: Some(ConnAckProperties {
                receive_max: Some(receive_max),
                ..no_properties()
            }),
            cut_ppm: 10_000,
            ..Script::default()
        };
        let broker = FakeBroker::start(script, 1).await;
        let mut engine = Engine::start(&config(&broker), 1);
        engine.subscribe("down", QoS::AtLeastOnce);
        publish_all(&mut engine, 100).await;
        engine.all_published().await;
        judge(
            &broker,
            100,
            true,
            &format!("receive maximum {receive_max}"),
        );
        let open_max = broker.record(|record| record.open_max);
        assert!(
            open_max <= usize::from(receive_max),
            "{open_max} of {receive_max}"
        );
    }
}

#[tokio::test]
async fn a_connection_whose_packet_ids_are_all_in_use_is_left() {
    for receive_max in [1, 3] {
        let script = Script {
            limits: Some(ConnAckProperties {
                receive_max: Some(receive_max),
                ..no_properties()
            }),
            ids_in_use: 7,
            ..Script::default()
        };
        let broker = FakeBroker::start(script, 0).await;
        let mut engine = Engine::start(&config(&broker), 0);
        engine.publish("t", QoS::AtLeastOnce, "x");
        engine.publish("t", QoS::ExactlyOnce, "y");
        engine.all_published().await;
        let context = format!("receive maximum {receive_max}");
        assert_eq!(
            engine.stats().connects,
            1 + 7 / u64::from(receive_max),
            "{context}"
        );
    }
}

#[tokio::test]
async fn what_the_broker_cannot_take_is_refused_or_lowered() {
    let script = Script {
        limits: Some(ConnAckProperties {
            max_qos: Some(1),
            retain_available: Some(0),
            max_packet_size: Some(200),
            ..no_properties()
        }),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    let large = engine.publish("t", QoS::AtLeastOnce, &"x".repeat(250));
    let retained = engine.publish_with(gateway::session::Publication {
        retain: true,
        ..publication("t", QoS::AtLeastOnce, "x")
    });
    let lowered = engine.publish("t", QoS::ExactlyOnce, "x");
    let results = engine.results().await;
    assert_eq!(results[&large], Err(Refusal::Denied(0x95)));
    assert_eq!(results[&retained], Err(Refusal::Denied(0x9A)));
    assert_eq!(results[&lowered], Ok(()));
    assert_eq!(engine.stats().lowered_qos, 1);
    assert_eq!(engine.stats().connects, 1);
}

#[tokio::test]
async fn a_publication_that_ends_every_connection_is_given_up() {
    let script = Script {
        poison: Some(("poison".into(), DisconnectReasonCode::PayloadFormatInvalid)),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    for n in 0..20 {
        engine.publish("good", QoS::AtLeastOnce, &n.to_string());
    }
    let poison = engine.publish("poison", QoS::AtLeastOnce, "x");
    for n in 20..40 {
        engine.publish("good", QoS::AtLeastOnce, &n.to_string());
    }
    let results = engine.results().await;
    assert_eq!(results[&poison], Err(Refusal::Denied(0x99)));
    assert_eq!(results.values().filter(|r| r.is_ok()).count(), 40);
}

#[tokio::test]
async fn an_innocent_publication_does_not_pay_for_one_of_qos0() {
    let script = Script {
        poison: Some(("poison".into(), DisconnectReasonCode::PayloadFormatInvalid)),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    for n in 1..=10 {
        engine.publish("poison", QoS::AtMostOnce, "x");
        engine.publish("good", QoS::AtLeastOnce, &n.to_string());
        engine.all_published().await;
        assert_eq!(engine.stats().disconnects, n);
    }
}

#[tokio::test]
async fn qos0_is_sent_or_dropped_oldest_first() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    broker.script(|script| script.refuse_connect = Some(ConnectReturnCode::ServerBusy));
    let mut config = config(&broker);
    config.qos0_len_max = 3;
    let mut engine = Engine::start(&config, 0);
    for n in 0..10 {
        engine.publish("t", QoS::AtMostOnce, &n.to_string());
    }
    until(|| engine.stats().dropped_qos0 == 7).await;
    assert_eq!(engine.stats().queue_len, 3);
    broker.script(|script| script.refuse_connect = None);
    until(|| broker.record(|record| record.seen.len() == 3)).await;
    let payloads = broker.record(|record| {
        record
            .seen
            .iter()
            .map(|seen| seen.payload.clone())
            .collect::<Vec<_>>()
    });
    assert_eq!(payloads, ["7", "8", "9"]);
    until(|| engine.stats().queue_len == 0 && engine.stats().queue_bytes == 0).await;
}

#[tokio::test]
async fn a_broker_that_never_answers_connect_is_left() {
    let script = Script {
        dead: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.connect_timeout = Duration::from_millis(1_500);
    let began = std::time::Instant::now();
    let mut engine = Engine::start(&config, 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    until(|| engine.stats().failed_connects == 1).await;
    assert!(began.elapsed() >= config.connect_timeout);
    broker.script(|script| script.dead = false);
    engine.all_published().await;
}

#[tokio::test]
async fn a_half_open_broker_is_found_by_keep_alive() {
    let script = Script {
        dead_after_connack: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    engine.connected().await;
    until(|| engine.stats().disconnects == 1).await;
    broker.script(|script| script.dead_after_connack = false);
    engine.all_published().await;
}

#[tokio::test]
async fn a_broker_that_stops_reading_is_left() {
    let script = Script {
        deaf_after_connack: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.queue_bytes_max = 64 << 20;
    let mut engine = Engine::start(&config, 0);
    // More than the socket buffers of both sides hold.
    for _ in 0..32 {
        engine.publish("t", QoS::AtLeastOnce, &"x".repeat(1 << 20));
    }
    until(|| engine.stats().disconnects == 1).await;
    broker.script(|script| script.deaf_after_connack = false);
    engine.all_published().await;
}

#[tokio::test]
async fn closing_sends_what_is_taken_and_takes_leave() {
    let script = Script {
        delay: Duration::from_millis(1),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    publish_all(&mut engine, 100).await;
    assert_eq!(engine.upstream.close(Duration::from_secs(20)).await, 0);
    judge(&broker, 100, true, "closing");
    until(|| broker.record(|record| record.orderly_disconnects == 1)).await;
}

#[tokio::test]
async fn closing_ends_in_time_and_says_what_is_left() {
    let script = Script {
        withhold_topic: Some("#".into()),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    for n in 0..5 {
        engine.publish("t", QoS::AtLeastOnce, &n.to_string());
    }
    let began = std::time::Instant::now();
    assert_eq!(engine.upstream.close(Duration::from_millis(300)).await, 5);
    assert!(began.elapsed() < Duration::from_secs(3));
    until(|| broker.record(|record| record.orderly_disconnects == 1)).await;

    let script = Script {
        dead: true,
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    assert_eq!(engine.upstream.close(Duration::from_millis(300)).await, 1);
}

#[tokio::test]
async fn user_and_password_are_shown_and_a_wrong_one_is_not_tried_in_haste() {
    let script = Script {
        login: Some(("gateway".into(), "right".into())),
        ..Script::default()
    };
    let broker = FakeBroker::start(script, 0).await;
    let mut config = config(&broker);
    config.username = Some("gateway".into());
    config.password = Some(Secret::new("right"));
    let mut engine = Engine::start(&config, 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    engine.all_published().await;

    config.password = Some(Secret::new("wrong"));
    config.backoff_max = Duration::from_secs(60);
    let engine = Engine::start(&config, 0);
    until(|| engine.stats().failed_connects == 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(engine.stats().failed_connects, 1, "only a person can help");
}

#[tokio::test]
async fn the_session_is_asked_for_as_configured() {
    let broker = FakeBroker::start(Script::default(), 0).await;
    let mut engine = Engine::start(&config(&broker), 0);
    engine.connected().await;
    let (connect, _) = broker.record(|record| record.connects[0].clone());
    let properties = connect.properties.unwrap();
    assert!(!connect.clean_start);
    assert_eq!(connect.client_id, "gateway-under-test");
    assert_eq!(properties.session_expiry_interval, Some(7 * 24 * 3600));
    assert_eq!(properties.receive_maximum, Some(256));
}
