//! Sequences of operations against the gateway's engine, right and wrong ones, by seed.
//!
//! `OPS_SECONDS=600` goes on for so long instead of a fixed number of seeds, `SEED=n` plays
//! that seed alone, `SEEDS=n` sets how many are played. For ten minutes with every check of
//! debug builds at the speed of release:
//!
//! ```sh
//! CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true OPS_SECONDS=600 \
//!     cargo test --release -p tests --test operations -- --nocapture
//! ```

use std::time::{Duration, Instant};

use tests::ops::{Coverage, try_seed};

/// The seeds that are played unless the environment says otherwise.
const SEEDS: u64 = 400;

/// The operations of one seed.
const OPERATIONS: usize = 400;

/// Plays the seed, and says how it went wrong.
fn play(seed: u64, sum: &mut Coverage) {
    match try_seed(seed, OPERATIONS) {
        Ok(coverage) => *sum += &coverage,
        Err(failure) => panic!("{failure}"),
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

#[test]
fn no_sequence_of_operations_breaks_a_promise() {
    let mut sum = Coverage::default();
    if let Some(seed) = number("SEED") {
        play(seed, &mut sum);
        return;
    }
    match number("OPS_SECONDS") {
        Some(seconds) => play_for(Duration::from_secs(seconds), &mut sum),
        None => (0..number("SEEDS").unwrap_or(SEEDS)).for_each(|seed| play(seed, &mut sum)),
    }
    println!("{sum}");
    assert_deep(&sum);
}

fn play_for(span: Duration, sum: &mut Coverage) {
    let start = Instant::now();
    let mut told = start;
    for seed in 0.. {
        if start.elapsed() >= span {
            println!("{seed} seeds");
            return;
        }
        play(seed, sum);
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            println!(
                "{} s: {seed} seeds, {} operations",
                start.elapsed().as_secs(),
                sum.operations
            );
        }
    }
}

/// Every message has met every state, and what a node says most has met every stage of an
/// exchange: a generator that no longer gets there proves nothing.
fn assert_deep(sum: &Coverage) {
    let answers = ["REGACK", "PUBACK", "PUBREC", "PUBCOMP"];
    let common = [
        "CONNECT",
        "PUBLISH 0",
        "PUBLISH 1",
        "PUBLISH 2",
        "SUBSCRIBE",
        "PINGREQ",
        "PINGREQ(id)",
        "DISCONNECT(d)",
    ];
    let others = [
        "REGISTER",
        "PUBLISH -1",
        "PUBREL",
        "UNSUBSCRIBE",
        "DISCONNECT",
        "WILLTOPIC",
        "WILLMSG",
        "WILLTOPICUPD",
        "WILLMSGUPD",
        "SEARCHGW",
        "a gateway's",
    ];
    let states = ["stranger", "handshake", "active", "asleep", "awake"];
    let stages = [
        "register",
        "publish",
        "release",
        "unresponsive",
        "paused",
        "with a will",
        "uplinks",
        "subscribing",
    ];
    let pairs = |messages: &[&'static str], states: &[&'static str]| {
        let pairs = messages
            .iter()
            .flat_map(|what| states.iter().map(|state| (*what, *state)));
        pairs.collect::<Vec<_>>()
    };
    let met = [
        pairs(&answers, &states),
        pairs(&answers, &stages),
        pairs(&common, &states),
        pairs(&common, &stages),
        pairs(&others, &states),
    ];
    let events = [
        "connected",
        "disconnected",
        "published",
        "subscribed",
        "delivery",
        "delivery 0",
        "retained",
        "link",
        "timeout",
        "shutdown",
        "settings",
        "malformed",
    ];
    let missing: Vec<_> = met
        .concat()
        .into_iter()
        .chain(events.map(|event| (event, "any")))
        .filter(|(what, state)| sum.met(what, state) == 0)
        .collect();
    assert!(missing.is_empty(), "never met: {missing:?}\n{sum}");
}
