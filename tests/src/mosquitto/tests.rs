use super::*;
use crate::{MqttProbe, ProbeOptions};

fn user() -> Credentials {
    Credentials {
        user: "gateway".to_owned(),
        password: "s3cret words".to_owned(),
    }
}

#[test]
fn what_mosquitto_pub_sends_reaches_the_probe_and_mosquitto_sub() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["input/#"]))?;
    let mut subscriber = broker.client().subscriber("input/+/temperature")?;
    broker
        .client()
        .publish("input/antonio/temperature", "21.5", 1, false)?;
    let received = probe.wait_for(1, PATIENCE)?;
    assert_eq!(received[0].topic, "input/antonio/temperature");
    assert_eq!(&received[0].payload[..], b"21.5");
    assert_eq!(received[0].qos, 1);
    assert!(!received[0].retain);
    subscriber.wait_for_line("input/antonio/temperature 21.5", PATIENCE)?;
    Ok(())
}

#[test]
fn the_password_is_wanted() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions {
        credentials: Some(user()),
        ..Default::default()
    })?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["a"]))?;
    broker.client().publish("a", "1", 0, false)?;
    probe.wait_for(1, PATIENCE)?;
    let mut wrong = ProbeOptions::new(&broker, &["a"]);
    wrong.credentials = None;
    assert!(MqttProbe::start(wrong).is_err());
    Ok(())
}

#[test]
fn a_restart_keeps_port_and_queue() -> Result<()> {
    let mut broker = Mosquitto::start(MosquittoOptions {
        persistence: true,
        ..Default::default()
    })?;
    let port = broker.port();
    broker.client().publish("kept", "1", 1, true)?;
    broker.restart()?;
    assert_eq!(broker.port(), port);
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["kept"]))?;
    let received = probe.wait_for(1, PATIENCE)?;
    assert!(received[0].retain);
    Ok(())
}

#[test]
fn a_probe_outlives_a_broker_that_is_killed() -> Result<()> {
    let mut broker = Mosquitto::start(MosquittoOptions::default())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["a/#"]))?;
    broker.kill()?;
    broker.resume()?;
    probe.wait_for_subscription(2, PATIENCE)?;
    broker.client().publish("a/b", "1", 1, false)?;
    probe.wait_for(1, PATIENCE)?;
    Ok(())
}

#[test]
fn tls_is_spoken_with_a_certificate_for_localhost() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions {
        tls: true,
        ..Default::default()
    })?;
    let mut subscriber = broker.client().subscriber("a")?;
    broker.client().publish("a", "over TLS", 1, false)?;
    subscriber.wait_for_line("a over TLS", PATIENCE)?;
    Ok(())
}
