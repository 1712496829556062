mod gateway;
mod world;

use std::vec::Vec;

use self::world::{Inner, World};
use super::*;
use crate::outbox::OUTBOX_LEN;
use crate::record::RecordError;
use crate::state::SEQUENCE_BLOCK;

fn settings() -> Settings {
    Settings {
        interval_s: 60,
        retry_ms: 2000,
        seed: 1,
        ..Settings::new("node-1").unwrap()
    }
}

fn minutes(minutes: u64) -> Instant {
    Instant::from_millis(1000) + Duration::from_secs(60 * minutes)
}

/// So that the last cycle of a test is complete.
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

fn readings(world: &Inner) -> Vec<Reading> {
    payloads(world, "readings/node-1")
        .map(|payload| Reading::decode(payload).unwrap())
        .collect()
}

fn statuses(world: &Inner) -> Vec<Status> {
    payloads(world, "status/node-1")
        .map(|payload| Status::decode(payload).unwrap())
        .collect()
}

fn payloads<'a>(world: &'a Inner, topic: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let of_topic = move |(to, payload): &'a (std::string::String, Vec<u8>)| {
        (to == topic).then_some(payload.as_slice())
    };
    world.gateway.published.iter().filter_map(of_topic)
}

fn sequences(world: &World) -> Vec<u32> {
    world.with(|w| readings(w).iter().map(|r| r.sequence).collect())
}

#[test]
fn a_node_reports_once_an_interval_and_sleeps_in_between() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    let end = minutes(9) + HALF_A_MINUTE;
    assert_eq!(world.run(node.run(), end), None);
    world.with(|w| {
        let readings = readings(w);
        assert_eq!(readings.len(), 10);
        for (index, reading) in (0..).zip(&readings) {
            assert_eq!(reading.sequence, index);
            assert_eq!(reading.uptime_s, 1 + 60 * index);
            assert_eq!(reading.battery_mv, 3300);
        }
        assert_eq!(w.gateway.connects, 1);
        assert_eq!(w.gateway.sleeps, [180]);
        assert_eq!(w.gateway.pings, 10);
    });
    assert_eq!(node.stats().published, 10);
    assert_eq!(node.stats().sleeps, 10);
}

#[test]
fn a_gateway_that_wants_a_connection_for_each_reading_gets_one() {
    let settings = Settings {
        publish_while_asleep: false,
        ..settings()
    };
    let world = World::new(&settings, 1);
    world.with(|w| w.gateway.mailbox.push_back(b"#3 led on".to_vec()));
    let mut node = world.node();
    let end = minutes(9) + HALF_A_MINUTE;
    assert_eq!(world.run(node.run(), end), None);
    world.with(|w| {
        assert_eq!(readings(w).len(), 10);
        assert_eq!(statuses(w).len(), 1);
        // One for each reading, and one for the confirmation that was made asleep.
        assert_eq!(w.gateway.connects, 11);
        assert!(w.led);
    });
}

#[test]
fn commands_are_collected_carried_out_and_confirmed() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    world.with(|w| {
        w.gateway.mailbox.push_back(b"#7 interval 10".to_vec());
        w.gateway.mailbox.push_back(b"led on".to_vec());
        w.gateway.mailbox.push_back(b"dance".to_vec());
    });
    let end = minutes(1) - Duration::from_secs(5);
    assert_eq!(world.run(node.run(), end), None);
    world.with(|w| {
        assert!(w.led);
        let of = |s: &Status| (s.command_id, s.outcome, s.commands, s.interval_s, s.led);
        let statuses: Vec<_> = statuses(w).iter().map(of).collect();
        assert_eq!(
            statuses,
            [
                (7, Outcome::Done, 1, 10, false),
                (0, Outcome::Done, 2, 10, true),
                (0, Outcome::Unknown, 3, 10, true),
            ]
        );
        // At 0, 10, 20, 30, 40 and 50 seconds.
        assert_eq!(readings(w).len(), 6);
    });
}

#[test]
fn the_report_command_brings_a_reading_at_once() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    world.with(|w| w.gateway.mailbox.push_back(b"#1 report".to_vec()));
    assert_eq!(world.run(node.run(), Instant::from_millis(11_000)), None);
    assert_eq!(sequences(&world), [0, 1]);
}

#[test]
fn a_command_that_comes_again_is_confirmed_and_not_repeated() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    world.with(|w| {
        w.gateway.mailbox.push_back(b"#4 report".to_vec());
        w.gateway.mailbox.push_back(b"#4 report".to_vec());
    });
    assert_eq!(world.run(node.run(), Instant::from_millis(11_000)), None);
    world.with(|w| {
        let outcomes: Vec<_> = statuses(w).iter().map(|s| s.outcome).collect();
        assert_eq!(outcomes, [Outcome::Done, Outcome::Repeated]);
        assert_eq!(readings(w).len(), 2);
    });
}

#[test]
fn readings_wait_while_the_gateway_is_away() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    let away = minutes(5) - Duration::from_secs(10);
    assert_eq!(world.run(node.run(), away), None);
    world.with(|w| w.gateway.away = true);
    assert_eq!(world.run(node.run(), minutes(20)), None);
    world.with(|w| w.gateway.away = false);
    assert_eq!(world.run(node.run(), minutes(40)), None);
    let sequences = sequences(&world);
    assert!(sequences.len() >= 40);
    assert!(sequences.iter().copied().eq(0..sequences.len() as u32));
    assert!(node.stats().gateway_losses >= 1);
    assert_eq!(node.stats().dropped, 0);
}

#[test]
fn a_long_absence_costs_the_oldest_readings_and_they_are_counted() {
    let world = World::new(&settings(), 1);
    world.with(|w| w.gateway.away = true);
    let mut node = world.node();
    assert_eq!(world.run(node.run(), minutes(100)), None);
    world.with(|w| w.gateway.away = false);
    assert_eq!(world.run(node.run(), minutes(130)), None);
    let sequences = sequences(&world);
    let dropped = node.stats().dropped;
    assert!(dropped > 0);
    assert_eq!(sequences.len() as u32 + dropped, node.stats().readings);
    // The newest all came, in order.
    let newest = &sequences[sequences.len() - OUTBOX_LEN..];
    assert!(newest.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_gateway_that_forgot_the_node_is_connected_to_anew() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    assert_eq!(
        world.run(node.run(), minutes(3) - Duration::from_secs(9)),
        None
    );
    world.with(|w| w.gateway.forget());
    world.with(|w| w.gateway.mailbox.push_back(b"#9 led on".to_vec()));
    assert_eq!(world.run(node.run(), minutes(8)), None);
    let sequences = sequences(&world);
    assert!(sequences.len() >= 8, "{sequences:?}");
    assert!(sequences.iter().copied().eq(0..sequences.len() as u32));
    world.with(|w| {
        assert!(w.gateway.connects >= 2);
        assert!(w.led);
    });
}

#[test]
fn a_restart_keeps_interval_and_numbers() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    world.with(|w| w.gateway.mailbox.push_back(b"#2 interval 30".to_vec()));
    assert_eq!(world.run(node.run(), minutes(2)), None);
    let before = sequences(&world);
    drop(node);

    let mut node = world.node();
    world.with(|w| {
        w.gateway.published.clear();
        // The command again, since its acknowledgement was lost.
        w.gateway.mailbox.push_back(b"#2 interval 30".to_vec());
    });
    assert_eq!(
        world.run(node.run(), minutes(4) - Duration::from_secs(5)),
        None
    );
    let after = sequences(&world);
    assert_eq!(
        after,
        [
            SEQUENCE_BLOCK,
            SEQUENCE_BLOCK + 1,
            SEQUENCE_BLOCK + 2,
            SEQUENCE_BLOCK + 3
        ]
    );
    assert!(before.iter().all(|number| *number < SEQUENCE_BLOCK));
    world.with(|w| {
        let status = statuses(w)[0];
        assert_eq!(status.outcome, Outcome::Repeated);
        assert_eq!(status.boots, 2);
        // A write for the numbers of each start, and one for the command.
        assert_eq!(w.saves, 3);
    });
}

#[test]
fn a_limited_node_ends_when_all_is_sent_and_its_commands_have_come() {
    let settings = Settings {
        readings_limit: 5,
        commands_awaited: 1,
        ..settings()
    };
    let world = World::new(&settings, 1);
    let mut node = world.node();
    assert_eq!(world.run(node.run(), minutes(10)), None);
    assert_eq!(sequences(&world), [0, 1, 2, 3, 4]);
    world.with(|w| w.gateway.mailbox.push_back(b"#1 led on".to_vec()));
    let stats = world.run(node.run(), minutes(20)).unwrap().unwrap();
    assert!(stats.is_complete());
    assert_eq!(stats.readings, 5);
    assert_eq!(stats.published, 6);
    assert_eq!(stats.commands, 1);
}

#[test]
fn on_a_lossy_link_every_reading_and_command_arrives() {
    for seed in 0..200 {
        let settings = Settings {
            readings_limit: 20,
            commands_awaited: 2,
            retries: 5,
            seed,
            ..settings()
        };
        let world = World::new(&settings, seed);
        world.with(|w| {
            w.loss_ppm = 200_000;
            w.gateway.mailbox.push_back(b"#1 led on".to_vec());
            w.gateway.mailbox.push_back(b"#2 report".to_vec());
        });
        let mut node = world.node();
        let stats = world
            .run(node.run(), minutes(24 * 60))
            .unwrap_or_else(|| panic!("SEED={seed}: not done after a day"))
            .unwrap();
        assert!(stats.is_complete(), "SEED={seed}: {stats:?}");
        let mut sequences = sequences(&world);
        sequences.dedup();
        assert!(
            sequences.iter().copied().eq(0..stats.readings),
            "SEED={seed}: {sequences:?}"
        );
        world.with(|w| {
            assert!(w.led, "SEED={seed}");
            for id in [1, 2] {
                let confirmed = statuses(w).iter().any(|s| s.command_id == id);
                assert!(confirmed, "SEED={seed}: command {id}");
            }
        });
    }
}

#[test]
fn a_radio_that_cannot_be_switched_on_is_tried_with_each_reading_only() {
    let world = World::new(&settings(), 1);
    let mut node = world.node();
    assert_eq!(world.run(node.run(), minutes(2) + HALF_A_MINUTE), None);
    assert_eq!(sequences(&world), [0, 1, 2]);
    // Longer than the gateway was told that the node sleeps: the protocol machine wants to
    // wake, and must wait.
    world.with(|w| (w.radio_broken, w.power_ups) = (true, 0));
    assert_eq!(world.run(node.run(), minutes(12) + HALF_A_MINUTE), None);
    // One at the start of this call, and one for each of ten readings.
    assert_eq!(world.with(|w| w.power_ups), 11);
    assert_eq!(node.stats().radio_errors, 11);
    world.with(|w| w.radio_broken = false);
    assert_eq!(world.run(node.run(), minutes(13) + HALF_A_MINUTE), None);
    assert!(sequences(&world).iter().copied().eq(0..14));
}

#[test]
fn without_settings_there_is_no_node() {
    let world = World::new(&settings(), 1);
    world.with(|w| w.storage[0] = None);
    let start = world.run(Node::start(world.parts()), minutes(1)).unwrap();
    let Err(error) = start else {
        panic!("started without settings");
    };
    let absent = SettingsError::Record(RecordError::Absent);
    assert_eq!(error, StartError::Settings(absent));
}

#[test]
fn nodes_differ_in_their_random_choices_from_start_to_start() {
    let state = |boots| State {
        boots,
        ..State::default()
    };
    let named = |id| Settings {
        seed: 0,
        ..Settings::new(id).unwrap()
    };
    let first = rng(&named("a"), &state(1)).next_u64();
    assert_ne!(first, rng(&named("a"), &state(2)).next_u64());
    assert_ne!(first, rng(&named("b"), &state(1)).next_u64());
    assert_eq!(first, rng(&named("a"), &state(1)).next_u64());
}
