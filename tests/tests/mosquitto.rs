//! The gateway beside a real mosquitto.

mod flows;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use flows::Rig;
use shared::wire::{Disconnect, Message, QoS, TopicFilter, TopicRef};
use tests::{
    Credentials, Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse,
    SnNode, Stop,
};

/// Starts a broker and a gateway and runs `flow` on them.
fn with_rig(options: MosquittoOptions, flow: fn(&Rig) -> Result<()>) -> Result<()> {
    let broker = Mosquitto::start(options)?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["#"]))?;
    let gateway = Sandgrouse::beside(&broker)?;
    flow(&Rig {
        gateway: gateway.address(),
        probe,
    })
}

fn open() -> MosquittoOptions {
    MosquittoOptions::default()
}

fn locked() -> MosquittoOptions {
    MosquittoOptions {
        credentials: Some(Credentials {
            user: "sandgrouse".to_owned(),
            password: "drop by drop".to_owned(),
        }),
        ..Default::default()
    }
}

fn keeping() -> MosquittoOptions {
    MosquittoOptions {
        persistence: true,
        ..Default::default()
    }
}

#[test]
fn each_publication_arrives_once() -> Result<()> {
    with_rig(open(), Rig::each_publication_arrives_once)
}

#[test]
fn a_short_topic_is_its_own_name() -> Result<()> {
    with_rig(open(), Rig::a_short_topic_is_its_own_name)
}

#[test]
fn each_subscriber_gets_it_once() -> Result<()> {
    with_rig(open(), Rig::each_subscriber_gets_it_once)
}

#[test]
fn an_exact_subscription_uses_the_id_of_its_suback() -> Result<()> {
    with_rig(open(), Rig::an_exact_subscription_uses_the_id_of_its_suback)
}

#[test]
fn a_sleeping_node_collects_when_it_wakes() -> Result<()> {
    with_rig(open(), Rig::a_sleeping_node_collects_when_it_wakes)
}

#[test]
fn retained_publications_reach_every_new_subscriber() -> Result<()> {
    with_rig(
        open(),
        Rig::retained_publications_reach_every_new_subscriber,
    )
}

#[test]
fn a_broker_that_wants_user_and_password_is_served() -> Result<()> {
    with_rig(locked(), Rig::each_publication_arrives_once)?;
    with_rig(locked(), Rig::each_subscriber_gets_it_once)
}

#[test]
fn a_broker_that_speaks_tls_is_served() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions {
        tls: true,
        ..locked()
    })?;
    let mut subscriber = broker.client().subscriber("input/#")?;
    let gateway = Sandgrouse::beside(&broker)?;
    let mut node = SnNode::connect(gateway.address(), "tls")?;
    let topic = TopicRef::Normal(node.register("input/tls")?);
    node.publish(topic, QoS::AtLeastOnce, b"over TLS")?;
    subscriber.wait_for_line("input/tls over TLS", PATIENCE)?;
    Ok(())
}

#[test]
fn an_orderly_end_tells_the_nodes_and_flushes() -> Result<()> {
    let broker = Mosquitto::start(open())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["#"]))?;
    let mut gateway = Sandgrouse::beside(&broker)?;
    let mut node = SnNode::connect(gateway.address(), "told")?;
    let topic = TopicRef::Normal(node.register("last/words")?);
    node.publish(topic, QoS::AtLeastOnce, b"acknowledged")?;
    node.publish(topic, QoS::AtMostOnce, b"taken")?;
    // Its answer tells that what was sent before has been taken.
    node.ping()?;
    let status = gateway.stop(Stop::Orderly)?;
    assert_eq!(status.code(), Some(0));
    let unasked = Message::Disconnect(Disconnect { duration_s: None });
    node.socket().expect(PATIENCE, |m| *m == unasked)?;
    let mut payloads: Vec<_> = probe.wait_for(2, PATIENCE)?;
    payloads.sort_by_key(|one| one.qos);
    assert_eq!(payloads[0].payload, b"taken");
    assert_eq!(payloads[1].payload, b"acknowledged");
    Ok(())
}

#[test]
fn a_broker_restart_loses_nothing_that_was_acknowledged() -> Result<()> {
    let mut broker = Mosquitto::start(keeping())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["load/#"]))?;
    let gateway = Sandgrouse::beside(&broker)?;
    let acknowledged = under_load(gateway.address(), || {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(500));
            broker.stop()?;
            std::thread::sleep(Duration::from_millis(700));
            broker.resume()?;
        }
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    })?;
    all_arrive(&probe, &acknowledged)
}

#[test]
fn a_killed_gateway_loses_nothing_that_was_acknowledged() -> Result<()> {
    let broker = Mosquitto::start(open())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["load/#"]))?;
    let mut gateway = Sandgrouse::beside(&broker)?;
    let acknowledged = under_load(gateway.address(), || {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(500));
            gateway.stop(Stop::Kill)?;
            gateway.resume()?;
        }
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    })?;
    all_arrive(&probe, &acknowledged)
}

#[test]
fn a_node_out_of_reach_gets_it_when_it_is_back() -> Result<()> {
    let broker = Mosquitto::start(open())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["#"]))?;
    let gateway = Sandgrouse::beside(&broker)?;
    let mut node = SnNode::connect(gateway.address(), "fading")?;
    node.subscribe(TopicFilter::Name(b"orders/fading"), QoS::AtLeastOnce)?;
    node.set_acknowledges(false);
    probe.publish("orders/fading", b"1", 1, false)?;
    let first = node.deliveries(1, PATIENCE)?;
    ensure!(!first[0].dup, "{first:?}");
    node.set_acknowledges(true);
    // [MQTT-SN 1.2 §6.13] D-18: the gateway repeats it, marked as a repetition.
    let second = node.deliveries(1, PATIENCE)?;
    ensure!(second[0].dup && second[0].payload == b"1", "{second:?}");
    Ok(())
}

/// Runs `disturbance` while nodes publish numbers at QoS 1, and returns the `topic number` of
/// everything that was acknowledged to them.
fn under_load(
    gateway: SocketAddr,
    disturbance: impl FnOnce() -> Result<()>,
) -> Result<BTreeSet<String>> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let ended = &ended;
                scope.spawn(move || write_until(gateway, number, ended))
            })
            .collect();
        let disturbed = disturbance();
        ended.store(true, Ordering::Relaxed);
        let mut acknowledged = BTreeSet::new();
        for writer in writers {
            let written = writer.join().expect("a writer panicked")?;
            ensure!(written.len() > 10, "hardly any load: {}", written.len());
            acknowledged.extend(written);
        }
        disturbed.map(|()| acknowledged)
    })
}

/// Publishes 1, 2, 3 … and connects again whenever the gateway does not know the node.
fn write_until(gateway: SocketAddr, number: usize, ended: &AtomicBool) -> Result<Vec<String>> {
    let name = format!("writer-{number}");
    let mut node = SnNode::new(gateway, &name)?;
    node.set_retry(Duration::from_millis(500));
    let mut topic = None;
    let mut acknowledged = Vec::new();
    let mut count = 0;
    let start = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        ensure!(start.elapsed() < Duration::from_secs(60), "no end in sight");
        let Some(id) = topic else {
            topic = reconnect(&mut node, &name).ok();
            continue;
        };
        count += 1;
        let payload = format!("{count:06}");
        match node.publish(id, QoS::AtLeastOnce, payload.as_bytes()) {
            Ok(()) => acknowledged.push(format!("load/{name} {payload}")),
            Err(_) => topic = None,
        }
    }
    Ok(acknowledged)
}

fn reconnect(node: &mut SnNode, name: &str) -> Result<TopicRef> {
    node.open_session(false)?;
    Ok(TopicRef::Normal(node.register(&format!("load/{name}"))?))
}

/// Waits until everything in `acknowledged` has been seen by the probe.
fn all_arrive(probe: &MqttProbe, acknowledged: &BTreeSet<String>) -> Result<()> {
    let start = Instant::now();
    loop {
        let arrived: BTreeSet<String> = probe
            .received()
            .iter()
            .map(|one| format!("{} {}", one.topic, String::from_utf8_lossy(&one.payload)))
            .collect();
        let missing: Vec<_> = acknowledged.difference(&arrived).collect();
        if missing.is_empty() {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{} of {} acknowledged publications are lost: {:?} …",
            missing.len(),
            acknowledged.len(),
            &missing[..missing.len().min(5)]
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Nodes that publish at the same time.
const WRITERS: usize = 4;
