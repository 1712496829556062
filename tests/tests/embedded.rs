//! The gateway with its embedded broker: what it does without any configuration of an upstream.

mod flows;

use anyhow::Result;
use flows::Rig;
use tests::{MosquittoClient, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, Stop};

/// Starts a gateway with its own broker and runs `flow` on it.
fn with_rig(flow: impl FnOnce(&Rig) -> Result<()>) -> Result<()> {
    let (gateway, mqtt_port) = Sandgrouse::alone()?;
    let probe = MqttProbe::start(ProbeOptions::at(mqtt_port, &["#"]))?;
    flow(&Rig {
        gateway: gateway.address(),
        probe,
    })
}

#[test]
fn each_publication_arrives_once() -> Result<()> {
    with_rig(Rig::each_publication_arrives_once)
}

#[test]
fn a_short_topic_is_its_own_name() -> Result<()> {
    with_rig(Rig::a_short_topic_is_its_own_name)
}

#[test]
fn each_subscriber_gets_it_once() -> Result<()> {
    with_rig(Rig::each_subscriber_gets_it_once)
}

#[test]
fn an_exact_subscription_uses_the_id_of_its_suback() -> Result<()> {
    with_rig(Rig::an_exact_subscription_uses_the_id_of_its_suback)
}

#[test]
fn a_sleeping_node_collects_when_it_wakes() -> Result<()> {
    with_rig(Rig::a_sleeping_node_collects_when_it_wakes)
}

#[test]
fn retained_publications_reach_every_new_subscriber() -> Result<()> {
    with_rig(Rig::retained_publications_reach_every_new_subscriber)
}

#[test]
fn the_clients_of_mosquitto_work_with_the_embedded_broker() -> Result<()> {
    let (_gateway, mqtt_port) = Sandgrouse::alone()?;
    let client = MosquittoClient::at(mqtt_port);
    let mut subscriber = client.subscriber("a/#")?;
    client.publish("a/b", "by mosquitto_pub", 2, false)?;
    subscriber.wait_for_line("a/b by mosquitto_pub", PATIENCE)?;
    Ok(())
}

#[test]
fn an_orderly_end_is_exit_code_0() -> Result<()> {
    let (mut gateway, _) = Sandgrouse::alone()?;
    assert_eq!(gateway.stop(Stop::Orderly)?.code(), Some(0));
    Ok(())
}
