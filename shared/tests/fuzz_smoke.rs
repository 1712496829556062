//! A short run of the fuzz targets on a stable compiler, part of every test run.
//!
//! The inputs are the test vectors and seeded mutations of them: uniform octets would nearly all
//! fail at the length, so most inputs get a length that fits. `SEED` and `FUZZ_ITERATIONS`
//! in the environment replace the fixed ones. `shared/fuzz` runs the same bodies with coverage
//! guidance and no end.

// The workspace allows these in test functions only; every function here serves a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::cast_possible_truncation, unreachable_pub)]

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use serde::Deserialize;
use shared::rng::Rng;
use shared::wire::Message;

#[test]
fn parse_holds_for_mutated_datagrams() {
    smoke("parse", targets::parse);
}

#[test]
fn round_trip_holds_for_mutated_datagrams() {
    smoke("round_trip", targets::round_trip);
}

#[test]
fn seeds_are_the_vectors() {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        files.insert(name, std::fs::read(entry.path()).unwrap());
    }
    assert_eq!(files, vectors());
}

/// Runs a target over the vectors and then over mutations of them, and says what it ran.
fn smoke(name: &str, target: fn(&[u8])) {
    let seed = from_env("SEED").unwrap_or(SEED);
    let iterations = from_env("FUZZ_ITERATIONS").unwrap_or(ITERATIONS);
    let seeds: Vec<_> = vectors().into_values().collect();
    let mut rng = Rng::new(seed);
    let (start, mut accepted) = (Instant::now(), 0_u64);

    for datagram in &seeds {
        checked(seed, target, datagram);
    }
    for _ in 0..iterations {
        let datagram = mutated(&seeds, &mut rng);
        checked(seed, target, &datagram);
        accepted += u64::from(Message::parse(&datagram).is_ok());
    }

    let report = format!(
        "fuzz smoke: {name}, {} vectors and {iterations} mutations, {accepted} of them messages, \
         SEED={seed}, {:.1?}\n",
        seeds.len(),
        start.elapsed(),
    );
    // Past the harness, which keeps what passing tests print to itself: this is worth a line.
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    let range = iterations / 10..iterations * 9 / 10;
    assert!(
        iterations < 1000 || range.contains(&accepted),
        "the mutations no longer reach both outcomes: {accepted} of {iterations} accepted",
    );
}

fn checked(seed: u64, target: fn(&[u8]), datagram: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(datagram))) {
        let hex: String = datagram
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        eprintln!("SEED={seed} breaks a rule with the datagram {hex}");
        resume_unwind(panic);
    }
}

/// Makes a datagram: a vector with a few octets changed, cut, added or spliced, and mostly with
/// a length that fits.
fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut datagram = pick(seeds, rng).clone();
    for _ in 0..rng.below(4) {
        let at = rng.below(datagram.len() as u64) as usize;
        match rng.below(7) {
            0 => set(&mut datagram, at, rng.next_u64() as u8),
            1 => flip(&mut datagram, at, 1 << rng.below(8)),
            2 => datagram.truncate(at),
            3 => datagram.insert(at, rng.next_u64() as u8),
            4 => datagram.extend((0..rng.below(300)).map(|_| rng.next_u64() as u8)),
            5 => datagram.extend_from_slice(pick(seeds, rng)),
            _ => set(
                &mut datagram,
                at,
                [0x00, 0x01, 0x7F, 0xFE, 0xFF][rng.below(5) as usize],
            ),
        }
    }
    match rng.below(8) {
        0..5 => fit_length(&mut datagram),
        5 => wrap(&mut datagram, rng),
        _ => {}
    }
    datagram
}

fn set(datagram: &mut [u8], at: usize, value: u8) {
    if let Some(octet) = datagram.get_mut(at) {
        *octet = value;
    }
}

fn flip(datagram: &mut [u8], at: usize, bits: u8) {
    if let Some(octet) = datagram.get_mut(at) {
        *octet ^= bits;
    }
}

/// Makes the length field say how long the datagram is, in the form that it already has.
fn fit_length(datagram: &mut [u8]) {
    let len = u16::try_from(datagram.len()).unwrap();
    match datagram {
        [0x01, high, low, ..] => [*high, *low] = len.to_be_bytes(),
        [short, _, ..] => *short = u8::try_from(len).unwrap_or(0xFF),
        _ => {}
    }
}

/// Puts the datagram into an encapsulation.
fn wrap(datagram: &mut Vec<u8>, rng: &mut Rng) {
    fit_length(datagram);
    let node_id_len = rng.below(20) as u8;
    let mut outer = vec![3 + node_id_len, 0xFE, rng.next_u64() as u8];
    outer.extend((0..node_id_len).map(|_| rng.next_u64() as u8));
    outer.append(datagram);
    *datagram = outer;
}

fn pick<'a>(seeds: &'a [Vec<u8>], rng: &mut Rng) -> &'a Vec<u8> {
    &seeds[rng.below(seeds.len() as u64) as usize]
}

fn vectors() -> BTreeMap<String, Vec<u8>> {
    #[derive(Deserialize)]
    struct Vector {
        name: String,
        hex: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("data/vectors.json")).unwrap();
    vectors
        .into_iter()
        .map(|vector| (vector.name, from_hex(&vector.hex)))
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}

const SEED: u64 = 20_131_114;
const ITERATIONS: u64 = 1_000_000;
