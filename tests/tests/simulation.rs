//! Nodes and gateway, end to end over bad links, in virtual time.
//!
//! Every run checks every promise; a test is named after the one its links put at risk most.
//! A failure prints the seed and the world's name. `SEED=n` runs that seed alone, `SEEDS=n`
//! sets how many are run, and `TRACE=1` prints every message.

use shared::fault::FaultProfile;
use shared::time::Duration;
use tests::world::{Counts, World, WorldConfig};

/// Runs `config` with `seeds` seeds.
fn holds(config: WorldConfig, seeds: u64) {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("SEED and SEEDS must be numbers"))
    };
    let range = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(seeds),
    };
    let runs = range.end - range.start;
    let (mut sum, mut datagrams, mut lost) = (Counts::default(), 0, 0);
    for seed in range {
        let report = World::new(seed, config).run();
        sum += report.counts;
        datagrams += report.datagrams;
        lost += report.lost;
    }
    println!(
        "{}: {runs} runs, {datagrams} datagrams, {lost} lost, {sum:?}",
        config.name
    );
    let exactly_once = sum.up_2_strict + sum.down_2;
    assert!(
        sum.up_1 > 0 && sum.down_owed > 0 && exactly_once > 0,
        "nothing was checked"
    );
    assert!(
        sum.late_copies * 100 <= exactly_once,
        "copies are not told from new publications"
    );
}

#[test]
fn nothing_is_lost_doubled_or_reordered_without_faults() {
    holds(WorldConfig::calm("calm"), 16);
}

#[test]
fn qos_1_is_never_lost_at_any_loss() {
    holds(WorldConfig::lossy("loss of 10 %", 10), 16);
    holds(WorldConfig::lossy("loss of 30 %", 30), 16);
    holds(WorldConfig::lossy("loss of 50 %", 50), 16);
}

#[test]
fn qos_2_is_exactly_once_through_bursts() {
    holds(WorldConfig::calm("bursts").with_bursts(), 16);
    holds(
        WorldConfig::lossy("bursts, loss of 30 %", 30).with_bursts(),
        40,
    );
}

#[test]
fn copies_are_told_from_new_publications() {
    holds(WorldConfig::calm("copies").with_copies(), 16);
    holds(
        WorldConfig::lossy("copies, loss of 10 %", 10).with_copies(),
        40,
    );
}

#[test]
fn order_is_kept_where_datagrams_overtake_each_other() {
    let second = Duration::from_secs(1);
    holds(WorldConfig::calm("reordering").with_reordering(second), 16);
    holds(
        WorldConfig::lossy("reordering, loss of 30 %", 30).with_reordering(second),
        40,
    );
}

#[test]
fn datagrams_slower_than_their_repetition_do_not_count_twice() {
    let hold = Duration::from_secs(5);
    holds(
        WorldConfig::lossy("late, loss of 10 %", 10).with_reordering(hold),
        40,
    );
    let config = WorldConfig::lossy("late copies, loss of 10 %", 10);
    holds(config.with_copies().with_reordering(hold), 16);
}

#[test]
fn a_slow_link_is_no_broken_link() {
    let config = WorldConfig::lossy("delay, loss of 10 %", 10);
    holds(config.with_delay(Duration::from_secs(2)), 16);
    let seconds = Duration::from_secs;
    holds(
        WorldConfig::calm("LoRa").over(FaultProfile::lora(9), seconds(8)),
        20,
    );
    holds(
        WorldConfig::calm("GEO").over(FaultProfile::sat_geo(), seconds(5)),
        20,
    );
    let serial = FaultProfile {
        // The line's checksum drops what is corrupt.
        corrupt_ppm: 0,
        ..FaultProfile::lossy_serial()
    };
    holds(WorldConfig::calm("serial").over(serial, seconds(2)), 16);
}

#[test]
fn what_is_acknowledged_survives_the_brokers_outages() {
    holds(WorldConfig::calm("outages").with_broker_trouble(), 16);
    holds(
        WorldConfig::lossy("outages, loss of 30 %", 30).with_broker_trouble(),
        40,
    );
}

#[test]
fn sessions_survive_sleep_moves_and_reboots() {
    holds(WorldConfig::calm("restless").with_restless_nodes(), 16);
    let config = WorldConfig::lossy("restless, loss of 30 %", 16);
    holds(config.with_restless_nodes(), 16);
}

#[test]
fn everything_holds_at_once() {
    let config = WorldConfig::lossy("everything", 10)
        .with_bursts()
        .with_broker_trouble()
        .with_restless_nodes();
    holds(config, 16);
    let second = Duration::from_secs(1);
    holds(config.with_reordering(second), 16);
    holds(config.with_copies().with_reordering(second), 16);
}

#[test]
fn the_same_seed_lives_through_the_same_history() {
    let config = WorldConfig::lossy("twice", 30)
        .with_broker_trouble()
        .with_restless_nodes();
    let [first, second] = [7, 7].map(|seed| World::new(seed, config).run());
    assert_eq!(first, second);
    assert_ne!(first, World::new(8, config).run());
}
