//! A client that was not written here: `mqtt-sn-12` from PyPI against the gateway.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{
    Credentials, Mosquitto, MosquittoClient, MosquittoOptions, PATIENCE, PythonClient, Sandgrouse,
};

#[test]
fn the_python_client_works_with_the_embedded_broker() -> Result<()> {
    let (gateway, mqtt_port) = Sandgrouse::alone()?;
    publishes_and_listens(&gateway, &MosquittoClient::at(mqtt_port))
}

#[test]
fn the_python_client_works_with_a_mosquitto_that_wants_a_password() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions {
        credentials: Some(Credentials {
            user: "sandgrouse".to_owned(),
            password: "drop by drop".to_owned(),
        }),
        ..Default::default()
    })?;
    let gateway = Sandgrouse::beside(&broker)?;
    publishes_and_listens(&gateway, &broker.client())
}

/// The client publishes at QoS 0, 1 and 2 and gets what is published below `output/`;
/// `mosquitto_sub` and `mosquitto_pub` are at the other end.
fn publishes_and_listens(gateway: &Sandgrouse, mqtt: &MosquittoClient) -> Result<()> {
    let mut subscriber = mqtt.subscriber("input/+/temperature")?;
    let port = gateway.address().port().to_string();
    let mut client = PythonClient::find()?.run("client.py", &[&port, "2"])?;

    client.wait_for_line("subscribed", PATIENCE)?;
    for qos in 0..=2 {
        let line = format!("input/antonio/temperature at QoS {qos}");
        subscriber.wait_for_line(&line, PATIENCE)?;
    }
    mqtt.publish("output/valve/7", "open", 1, false)?;
    mqtt.publish("output/lamp", "on", 0, false)?;
    client.wait_for_line("done", PATIENCE)?;
    ensure!(
        client.wait(PATIENCE)?.success(),
        "{}",
        client.log().tail(20)
    );
    let mut received = client.log().all("received ");
    received.sort();
    ensure!(
        received == ["received output/lamp on", "received output/valve/7 open"],
        "{received:?}"
    );

    // Long enough for a repetition to show.
    std::thread::sleep(Duration::from_millis(300));
    let printed = subscriber.log().all("input/antonio/temperature at QoS");
    ensure!(printed.len() == 3, "each once: {printed:?}");
    Ok(())
}
