//! Subscriptions of different nodes that overlap at the broker: each node gets a publication
//! once, although the broker sends a copy for each of them [MQTT 5 §3.3.4].

use std::time::Duration;

use anyhow::{Result, ensure};
use shared::wire::{QoS, TopicFilter};
use tests::{
    Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnNode, config,
    free_udp_port,
};

#[test]
fn each_node_gets_it_once_from_mosquitto() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let gateway = Sandgrouse::beside(&broker)?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["none"]))?;
    once_each(&gateway, &probe)
}

#[test]
fn each_node_gets_it_once_from_the_embedded_broker() -> Result<()> {
    let (gateway, mqtt_port) = Sandgrouse::alone()?;
    let probe = MqttProbe::start(ProbeOptions::at(mqtt_port, &["none"]))?;
    once_each(&gateway, &probe)
}

/// The test sees what it is for: taken for a broker of single copies, mosquitto makes nodes get
/// things twice.
#[test]
fn without_identifiers_the_copies_would_be_taken_for_publications() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let udp_port = free_udp_port()?;
    let single =
        config::udp_with_broker(udp_port, &broker) + "overlapping_subscriptions = \"single\"\n";
    let gateway = Sandgrouse::with_config(udp_port, single)?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["none"]))?;
    ensure!(once_each(&gateway, &probe).is_err(), "mosquitto sends one");
    Ok(())
}

fn once_each(gateway: &Sandgrouse, probe: &MqttProbe) -> Result<()> {
    let filters: [&[&str]; 4] = [&["a/#"], &["a/b"], &["+/b", "a/+"], &["#", "a/b", "a/#"]];
    let mut nodes = Vec::new();
    for (number, filters) in filters.iter().enumerate() {
        let mut node = SnNode::connect(gateway.address(), &format!("node-{number}"))?;
        for filter in *filters {
            node.subscribe(TopicFilter::Name(filter.as_bytes()), QoS::ExactlyOnce)?;
        }
        nodes.push(node);
    }
    for number in 0..9_u8 {
        probe.publish("a/b", number.to_string().as_bytes(), number % 3, false)?;
    }
    for node in &mut nodes {
        let mut got: Vec<Vec<u8>> = Vec::new();
        while let Some(delivery) = node.delivery(if got.len() < 9 { PATIENCE } else { QUIET })? {
            got.push(delivery.payload);
        }
        // At different QoS they may overtake each other.
        got.sort();
        let expected: Vec<Vec<u8>> = (0..9).map(|n| n.to_string().into_bytes()).collect();
        ensure!(got == expected, "{got:?}");
    }
    Ok(())
}

const QUIET: Duration = Duration::from_millis(300);
