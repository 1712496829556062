//! Bytes that are not messages, and messages that make no sense: the gateway goes on serving.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::rng::Rng;
use shared::wire::{QoS, TopicRef};
use tests::{MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnNode, SnSocket, seed};

#[test]
fn ten_thousand_random_and_mutated_datagrams_leave_it_serving() -> Result<()> {
    let mut rng = Rng::new(seed(20_131_114));
    let valid = vectors("valid")?;
    survives(|number| {
        let mut bytes = match number % 4 {
            0 => random(&mut rng),
            _ => mutated(&mut rng, &valid),
        };
        bytes.truncate(DATAGRAM_LEN_MAX);
        (number < 10_000).then_some(bytes)
    })
}

#[test]
fn the_invalid_vectors_leave_it_serving() -> Result<()> {
    let mut invalid = vectors("invalid")?.into_iter();
    ensure!(invalid.len() == 18, "{} invalid vectors", invalid.len());
    survives(|_| invalid.next())
}

#[test]
fn a_flood_of_one_bad_datagram_leaves_few_log_lines() -> Result<()> {
    survives(|number| (number < 10_000).then(|| vec![0x05, 0xFF, 1, 2, 3]))
}

/// Sends what `next` gives until it ends, while a good node checks that it is served.
fn survives(mut next: impl FnMut(usize) -> Option<Vec<u8>>) -> Result<()> {
    let (mut gateway, mqtt_port) = Sandgrouse::alone()?;
    let probe = MqttProbe::start(ProbeOptions::at(mqtt_port, &["good/#"]))?;
    let mut good = SnNode::connect(gateway.address(), "good")?;
    let topic = TopicRef::Normal(good.register("good/before")?);
    good.publish(topic, QoS::AtLeastOnce, b"before")?;
    let before = gateway.usage()?;
    let lines_before = gateway.process().log().line_count();

    let attackers: Vec<SnSocket> = (0..ATTACKERS)
        .map(|_| SnSocket::open(gateway.address()))
        .collect::<Result<_>>()?;
    let mut sent = 0;
    while let Some(bytes) = next(sent) {
        attackers[sent % ATTACKERS].send_bytes(&bytes)?;
        sent += 1;
        // In step with the gateway: what the kernel drops would test nothing.
        if sent.is_multiple_of(50) {
            good.ping().with_context(|| format!("after {sent}"))?;
        }
    }
    good.ping().with_context(|| format!("after all {sent}"))?;

    // It still serves the node it knew, and a new one.
    good.publish(topic, QoS::ExactlyOnce, b"after")?;
    let mut new = SnNode::connect(gateway.address(), "new")?;
    let topic = TopicRef::Normal(new.register("good/new")?);
    new.publish(topic, QoS::AtLeastOnce, b"new")?;
    let received = probe.wait_for(3, PATIENCE)?;
    let payloads: Vec<&[u8]> = received.iter().map(|one| &one.payload[..]).collect();
    ensure!(
        payloads == [&b"before"[..], b"after", b"new"],
        "{received:?}"
    );

    ensure!(gateway.udp_drops()? == 0, "the kernel dropped datagrams");
    let lines = gateway.process().log().line_count() - lines_before;
    ensure!(
        lines <= LOG_LINES_MAX,
        "{lines} log lines for {sent} datagrams:\n{}",
        gateway.process().log().tail(10)
    );
    let grown_kib = gateway.usage()?.rss_kib.saturating_sub(before.rss_kib);
    ensure!(grown_kib < MEMORY_GROWTH_MAX_KIB, "{grown_kib} KiB more");
    ensure!(gateway.process().try_wait()?.is_none(), "it has ended");
    Ok(())
}

/// Returns the frames of a class from the table of test vectors.
fn vectors(class: &str) -> Result<Vec<Vec<u8>>> {
    let path = tests::workspace_root().join("shared/tests/data/vectors.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let all: Vec<Value> = serde_json::from_str(&text)?;
    all.iter()
        .filter(|vector| vector["class"] == class)
        .map(|vector| octets(vector["hex"].as_str().context("hex")?))
        .collect()
}

fn octets(hex: &str) -> Result<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| {
            let pair = hex.get(at..at + 2).context("an odd number of digits")?;
            Ok(u8::from_str_radix(pair, 16)?)
        })
        .collect()
}

fn random(rng: &mut Rng) -> Vec<u8> {
    let len = below(rng, 300);
    (0..len).map(|_| octet(rng)).collect()
}

/// Returns a valid frame with up to four changes, half of the time with its length set right
/// again, so that the change reaches the session behind the parser.
fn mutated(rng: &mut Rng, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = valid[below(rng, valid.len())].clone();
    for _ in 0..=below(rng, 4) {
        let at = below(rng, bytes.len().max(1));
        match below(rng, 5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(rng, 8),
            1 if !bytes.is_empty() => bytes[at] = octet(rng),
            2 => bytes.insert(at.min(bytes.len()), octet(rng)),
            3 if bytes.len() > 1 => bytes.truncate(at),
            _ => bytes.extend_from_slice(&valid[below(rng, valid.len())]),
        }
    }
    let short = u8::try_from(bytes.len()).ok();
    if let (Some(len @ 2..), true) = (short, rng.chance_ppm(500_000)) {
        bytes[0] = len;
    }
    bytes
}

fn octet(rng: &mut Rng) -> u8 {
    rng.next_u16().to_be_bytes()[0]
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

/// Sockets that the datagrams come from.
const ATTACKERS: usize = 8;
/// The longest datagram that is sent, in octets.
const DATAGRAM_LEN_MAX: usize = 1_400;
/// Lines that may tell of the whole attack: drops are logged at a bounded rate.
const LOG_LINES_MAX: u64 = 500;
/// Memory that the attack may cost, in KiB: sessions of nodes that were made up by chance.
const MEMORY_GROWTH_MAX_KIB: u64 = 32 * 1024;
