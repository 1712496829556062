//! Nodes and gateway, end to end over bad links, in virtual time.
//!
//! Every run checks every promise; a test is named after the one its links put at risk most.
//! A failure prints the seed and the world's name. `SEED=n` runs that seed alone, `SEEDS=n`
//! sets how many are run, and `TRACE=1` prints every message.

use shared::fault::FaultProfile;
use shared::time::Duration;
use tests::world::{Counts, World, WorldConfig};

/// The seeds of each world, unless `SEEDS` says otherwise.
const SEEDS: u64 = 10;

/// Runs `config` with all seeds.
fn holds(config: WorldConfig) {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("SEED and SEEDS must be numbers"))
    };
    let range = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
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
    let happened = [
        ("a link went down", config.link_outages, sum.link_outages),
        ("the gateway stood still", config.stalls, sum.stalls),
        ("a node moved", config.roaming, sum.moves),
        (
            "a node was sent off",
            config.send_off.is_some(),
            sum.sent_off,
        ),
        ("a link was slow", config.octets_per_s.is_some(), sum.queued),
        ("a status was told", config.rules, sum.statuses),
    ];
    for (what, planned, times) in happened {
        assert!(!planned || times > 0, "{what}: never");
    }
    assert!(
        sum.late_copies * 100 <= exactly_once,
        "copies are not told from new publications"
    );
}

#[test]
fn nothing_is_lost_doubled_or_reordered_without_faults() {
    holds(WorldConfig::calm("calm"));
}

#[test]
fn qos_1_is_never_lost_at_any_loss() {
    holds(WorldConfig::lossy("loss of 10 %", 10));
    holds(WorldConfig::lossy("loss of 30 %", 30));
    holds(WorldConfig::lossy("loss of 50 %", 50));
}

#[test]
fn qos_2_is_exactly_once_through_bursts() {
    holds(WorldConfig::calm("bursts").with_bursts());
    holds(WorldConfig::lossy("bursts, loss of 30 %", 30).with_bursts());
}

#[test]
fn copies_are_told_from_new_publications() {
    holds(WorldConfig::calm("copies").with_copies());
    holds(WorldConfig::lossy("copies, loss of 10 %", 10).with_copies());
}

#[test]
fn order_is_kept_where_datagrams_overtake_each_other() {
    let second = Duration::from_secs(1);
    holds(WorldConfig::calm("reordering").with_reordering(second));
    holds(WorldConfig::lossy("reordering, loss of 30 %", 30).with_reordering(second));
}

#[test]
fn datagrams_slower_than_their_repetition_do_not_count_twice() {
    let hold = Duration::from_secs(5);
    holds(WorldConfig::lossy("late, loss of 10 %", 10).with_reordering(hold));
    let config = WorldConfig::lossy("late copies, loss of 10 %", 10);
    holds(config.with_copies().with_reordering(hold));
}

#[test]
fn a_slow_link_is_no_broken_link() {
    let config = WorldConfig::lossy("delay, loss of 10 %", 10);
    holds(config.with_delay(Duration::from_secs(2)));
    let seconds = Duration::from_secs;
    holds(WorldConfig::calm("LoRa").over(FaultProfile::lora(9), seconds(8)));
    holds(WorldConfig::calm("GEO").over(FaultProfile::sat_geo(), seconds(5)));
    let serial = FaultProfile {
        // The line's checksum drops what is corrupt.
        corrupt_ppm: 0,
        ..FaultProfile::lossy_serial()
    };
    holds(WorldConfig::calm("serial").over(serial, seconds(2)));
}

#[test]
fn what_is_acknowledged_survives_the_brokers_outages() {
    holds(WorldConfig::calm("outages").with_broker_trouble());
    holds(WorldConfig::lossy("outages, loss of 30 %", 30).with_broker_trouble());
}

#[test]
fn sessions_survive_sleep_moves_and_reboots() {
    holds(WorldConfig::calm("restless").with_restless_nodes());
    let config = WorldConfig::lossy("restless, loss of 30 %", 30);
    holds(config.with_restless_nodes());
}

#[test]
fn everything_holds_at_once() {
    let config = WorldConfig::lossy("everything", 10)
        .with_bursts()
        .with_broker_trouble()
        .with_restless_nodes();
    holds(config);
    let second = Duration::from_secs(1);
    holds(config.with_reordering(second));
    holds(config.with_copies().with_reordering(second));
}

#[test]
fn every_promise_holds_at_any_loss_with_copies_and_reordering() {
    let second = Duration::from_secs(1);
    for (name, percent) in [
        ("all faults, no loss", 0),
        ("all faults, loss of 10 %", 10),
        ("all faults, loss of 30 %", 30),
        ("all faults, loss of 50 %", 50),
    ] {
        let config = WorldConfig::lossy(name, percent);
        holds(
            config
                .with_copies()
                .with_reordering(second)
                .with_restless_nodes(),
        );
    }
}

#[test]
fn nodes_keep_their_sessions_from_link_to_link() {
    holds(WorldConfig::calm("roaming").with_roaming_nodes());
    holds(WorldConfig::lossy("roaming, loss of 30 %", 30).with_roaming_nodes());
}

#[test]
fn a_link_that_goes_down_loses_nobody() {
    holds(WorldConfig::calm("link outages").with_link_outages());
    let config = WorldConfig::lossy("link outages, loss of 10 %", 10);
    holds(config.with_link_outages().with_roaming_nodes());
}

#[test]
fn a_slow_radio_is_not_flooded() {
    let seconds = Duration::from_secs;
    holds(WorldConfig::calm("200 octets/s").at_speed(200, seconds(10)));
    holds(WorldConfig::lossy("100 octets/s, loss of 10 %", 10).at_speed(100, seconds(20)));
}

#[test]
fn a_gateway_that_stands_still_loses_nobody() {
    holds(WorldConfig::calm("stalls").with_stalls());
    let config = WorldConfig::lossy("stalls, loss of 30 %", 30);
    holds(config.with_stalls().with_restless_nodes());
}

#[test]
fn rules_priorities_and_budgets_break_no_promise() {
    holds(WorldConfig::calm("rules").with_rules());
    let config = WorldConfig::lossy("rules, loss of 30 %", 30);
    holds(config.with_rules().with_restless_nodes());
}

#[test]
fn nodes_that_are_sent_off_come_back() {
    let after = Duration::from_secs(20);
    holds(WorldConfig::calm("sent off").sending_off(after));
    let config = WorldConfig::lossy("sent off, loss of 30 %", 30);
    holds(config.sending_off(after).with_restless_nodes());
}

#[test]
fn everything_new_holds_at_once() {
    let config = WorldConfig::lossy("everything new", 10)
        .with_broker_trouble()
        .with_roaming_nodes()
        .with_link_outages()
        .with_stalls()
        .with_rules()
        .sending_off(Duration::from_secs(20));
    holds(config);
    holds(config.with_bursts().at_speed(300, Duration::from_secs(10)));
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
