//! A thousand nodes at once, each with one QoS 1 publication in flight.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tests::load::{self, LoadOptions};
use tests::{Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse};

#[test]
fn a_thousand_clients_lose_no_datagram() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["load/#"]))?;
    let gateway = Sandgrouse::beside(&broker)?;
    let mut options = LoadOptions::new(gateway.address(), CLIENTS);
    options.publications_max = EACH;
    options.duration = Duration::from_secs(60);
    // Nothing is lost on the loopback, so a repetition means a datagram the kernel dropped.
    options.retry = PATIENCE;
    let report = load::run(&options)?;

    let expected = CLIENTS as u64 * EACH;
    assert_eq!((report.acknowledged, report.refused), (expected, 0));
    assert_eq!(report.retries, 0, "{report:?}");
    assert_eq!(gateway.udp_drops()?, 0);
    let received = probe.wait_for(CLIENTS * EACH as usize, PATIENCE)?;
    assert_eq!(received.len() as u64, expected, "each once");
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for one in received {
        let number = String::from_utf8(one.payload)?.trim().parse()?;
        numbers.entry(one.topic).or_default().push(number);
    }
    assert_eq!(numbers.len(), CLIENTS);
    for (topic, numbers) in numbers {
        assert_eq!(numbers, [1, 2, 3], "{topic}");
    }
    Ok(())
}

const CLIENTS: usize = 1_000;
const EACH: u64 = 3;
