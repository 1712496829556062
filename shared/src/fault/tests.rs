//! The model against what it claims: determinism, rates near theory, order, bounds.

use std::vec;
use std::vec::Vec;

use rstest::rstest;

use super::*;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

type Link = FaultLink<64, 64>;

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Takes out whatever is in the link, with the time of each frame.
fn drain<const F: usize, const M: usize>(link: &mut FaultLink<F, M>) -> Vec<(Instant, Vec<u8>)> {
    let mut out = Vec::new();
    while let Some(due) = link.poll_timeout() {
        let frame = link.poll_deliver(due).expect("a frame is due at its time");
        out.push((due, frame.to_vec()));
    }
    assert_eq!(link.in_flight(), 0);
    out
}

/// Sends numbered frames every `gap` ms, taking out what is due in between.
fn run(link: &mut Link, frames: u32, gap: u64) -> (Vec<Fate>, Vec<(Instant, u32)>) {
    let (mut fates, mut out) = (Vec::new(), Vec::new());
    for number in 0..frames {
        let now = at(u64::from(number) * gap);
        while let Some(due) = link.poll_timeout().filter(|due| *due <= now) {
            out.push((due, link.poll_deliver(due).expect("due").to_vec()));
        }
        fates.push(link.send(now, &number.to_be_bytes()));
    }
    out.extend(drain(link));
    let numbered = out
        .into_iter()
        .map(|(due, frame)| (due, u32::from_be_bytes(frame.try_into().unwrap())))
        .collect();
    assert_accounts(link);
    (fates, numbered)
}

fn assert_accounts<const F: usize, const M: usize>(link: &FaultLink<F, M>) {
    let stats = link.stats();
    assert_eq!(
        stats.sent + stats.duplicated,
        stats.delivered + stats.missing() + u64::try_from(link.in_flight()).unwrap(),
        "{stats:?}"
    );
}

fn assert_near(what: &str, value: f64, expected: f64, tolerance: f64) {
    assert!(
        (value - expected).abs() <= expected * tolerance,
        "{what}: {value} is not within {tolerance} of {expected}"
    );
}

fn share(part: u64, whole: u32) -> f64 {
    f64::from(u32::try_from(part).unwrap()) / f64::from(whole)
}

// ---- determinism ----

#[test]
fn the_same_seed_gives_the_same_fates() {
    let world = |seed| run(&mut Link::new(FaultProfile::hostile(), seed), 3000, 7);
    for seed in 0..5 {
        assert_eq!(world(seed), world(seed), "SEED={seed}");
    }
    assert_ne!(world(1), world(2));
}

#[test]
fn a_further_fault_leaves_the_other_draws_as_they_were() {
    let lost = |profile| {
        let (fates, _) = run(&mut Link::new(profile, 9), 2000, 1000);
        fates
            .into_iter()
            .map(|fate| fate == Fate::Lost)
            .collect::<Vec<_>>()
    };
    let plain = lost(FaultProfile::lossy_20());
    assert!(plain.contains(&true) && plain.contains(&false));
    let more = lost(FaultProfile {
        corrupt_ppm: 300_000,
        duplicate_ppm: 300_000,
        reorder_ppm: 300_000,
        reorder_hold: ms(50),
        jitter: ms(500),
        ..FaultProfile::lossy_20()
    });
    assert_eq!(plain, more);
}

// ---- a good link ----

#[test]
fn a_perfect_link_gives_everything_at_once_and_in_order() {
    let mut link = Link::new(FaultProfile::perfect(), 1);
    let (fates, out) = run(&mut link, 5000, 3);
    assert!(
        fates
            .iter()
            .all(|fate| matches!(fate, Fate::Carried { .. }))
    );
    let expected: Vec<_> = (0..5000).map(|n| (at(u64::from(n) * 3), n)).collect();
    assert_eq!(out, expected);
    assert_eq!(link.stats().missing(), 0);
    assert_eq!(link.stats().octets_on_air, 20_000);
    assert_eq!(link.stats().octets_delivered, 20_000);
    assert_eq!(link.stats().airtime_us, 0);
}

#[test]
fn frames_of_the_same_moment_come_out_as_they_went_in() {
    let mut link = Link::new(FaultProfile::perfect(), 1);
    for number in 0..64_u8 {
        link.send(at(5), &[number]);
    }
    assert_eq!(link.poll_deliver(at(4)), None);
    assert_eq!(link.poll_timeout(), Some(at(5)));
    for number in 0..64_u8 {
        assert_eq!(link.poll_deliver(at(5)).unwrap(), [number]);
    }
    assert_eq!(link.poll_deliver(at(5)), None);
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn delay_and_jitter_stay_in_their_band_and_keep_the_order() {
    let profile = FaultProfile {
        delay: ms(100),
        jitter: ms(80),
        ..FaultProfile::perfect()
    };
    let mut link = Link::new(profile, 2);
    let (_, out) = run(&mut link, 4000, 10);
    let numbers: Vec<_> = out.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..4000).collect::<Vec<_>>());
    let delays: Vec<_> = out
        .iter()
        .map(|(due, number)| due.since(at(u64::from(*number) * 10)).as_millis())
        .collect();
    assert!(delays.iter().all(|delay| (100..=180).contains(delay)));
    assert!(delays.iter().any(|delay| *delay < 110));
    assert!(delays.iter().any(|delay| *delay > 170));
}

// ---- loss ----

#[rstest]
#[case(FaultProfile::lossy_20(), 0.2, 0.01)]
#[case(FaultProfile::bursty(), 0.2, 0.03)]
#[case(FaultProfile::lossy_serial(), 0.2, 0.02)]
#[case(FaultProfile::lora(7), 0.05, 0.03)]
#[case(FaultProfile::sat_geo(), 0.006, 0.3)] // some eighty spells of rain make a wide spread
fn the_loss_is_what_theory_says(
    #[case] profile: FaultProfile,
    #[case] expected: f64,
    #[case] tolerance: f64,
) {
    let theory = f64::from(profile.mean_loss_ppm()) / f64::from(PPM);
    assert_near("theory", theory, expected, 0.01);
    let frames = 400_000;
    let mut link = Link::new(profile, 3);
    run(&mut link, frames, 200);
    let stats = *link.stats();
    assert_eq!(stats.dropped_full, 0);
    assert_near("loss", share(stats.missing(), frames), theory, tolerance);
}

#[test]
fn bursts_are_as_long_and_as_many_as_theory_says() {
    let model = GilbertElliott {
        enter_ppm: 20_000,
        exit_ppm: 125_000,
        loss_good_ppm: 0,
        loss_bad_ppm: 1_000_000,
    };
    let profile = FaultProfile {
        burst: Some(model),
        ..FaultProfile::perfect()
    };
    let frames = 300_000;
    let (fates, _) = run(&mut Link::new(profile, 4), frames, 1);
    let lost: Vec<_> = fates.iter().map(|fate| *fate == Fate::BurstLost).collect();
    let losses = lost.iter().filter(|lost| **lost).count();
    let bursts = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
    let (losses, bursts) = (losses as f64, bursts as f64);
    assert_near("loss", losses / f64::from(frames), 20.0 / 145.0, 0.03);
    assert_near("mean burst length", losses / bursts, 8.0, 0.03);
    assert_near(
        "bursts",
        bursts / f64::from(frames),
        0.02 * 125.0 / 145.0,
        0.03,
    );
}

#[test]
fn a_channel_with_elliotts_losses_has_them_in_both_states() {
    let model = GilbertElliott {
        enter_ppm: 100_000,
        exit_ppm: 300_000,
        loss_good_ppm: 40_000,
        loss_bad_ppm: 600_000,
    };
    assert_eq!(model.mean_loss_ppm(), 180_000);
    let mut channel = channel::BurstChannel::new(Rng::new(5));
    let lost = (0..300_000).filter(|_| channel.loses_next(&model)).count();
    assert_near("loss", lost as f64 / 300_000.0, 0.18, 0.02);
}

#[rstest]
#[case(0, 0)]
#[case(PPM, PPM)]
#[case(u32::MAX, PPM)]
fn certain_loss_is_certain(#[case] loss_ppm: u32, #[case] mean: u32) {
    let profile = FaultProfile {
        loss_ppm,
        ..FaultProfile::perfect()
    };
    assert_eq!(profile.mean_loss_ppm(), mean);
    let mut link = Link::new(profile, 6);
    run(&mut link, 1000, 1);
    assert_eq!(link.stats().lost, if mean == 0 { 0 } else { 1000 });
}

#[test]
fn a_channel_that_never_turns_stays_good() {
    let still = GilbertElliott {
        enter_ppm: 0,
        exit_ppm: 0,
        loss_good_ppm: 70,
        loss_bad_ppm: PPM,
    };
    assert_eq!(still.mean_loss_ppm(), 70);
}

// ---- copies, order, corruption ----

#[test]
fn copies_come_after_their_frame_and_are_counted() {
    let profile = FaultProfile {
        duplicate_ppm: 250_000,
        delay: ms(20),
        jitter: ms(30),
        ..FaultProfile::perfect()
    };
    let frames = 20_000;
    let mut link = Link::new(profile, 7);
    let (_, out) = run(&mut link, frames, 5);
    let stats = *link.stats();
    assert_near("copies", share(stats.duplicated, frames), 0.25, 0.05);
    assert_eq!(stats.delivered, u64::from(frames) + stats.duplicated);
    // Nothing overtakes: the numbers never fall, and each is there once or twice.
    assert!(out.is_sorted_by_key(|(_, number)| *number));
    assert!(out.chunk_by(|a, b| a.1 == b.1).all(|run| run.len() <= 2));
    assert_eq!(stats.octets_on_air, u64::from(frames) * 4);
}

#[test]
fn held_back_frames_are_overtaken_and_nothing_else_is() {
    let profile = FaultProfile {
        reorder_ppm: 100_000,
        reorder_hold: ms(35),
        delay: ms(10),
        jitter: ms(10),
        ..FaultProfile::perfect()
    };
    let frames = 10_000;
    let mut link = Link::new(profile, 8);
    let (fates, out) = run(&mut link, frames, 10);
    assert_near("held back", share(link.stats().reordered, frames), 0.1, 0.1);
    assert!(out.is_sorted_by_key(|(due, _)| *due));
    assert!(!out.is_sorted_by_key(|(_, number)| *number));
    let held = |number: u32| match fates[usize::try_from(number).unwrap()] {
        Fate::Carried { reordered, .. } => reordered,
        _ => false,
    };
    let in_time: Vec<_> = out.iter().map(|(_, n)| *n).filter(|n| !held(*n)).collect();
    assert!(in_time.is_sorted());
    assert_eq!(out.len(), usize::try_from(frames).unwrap());
}

#[rstest]
#[case(1)]
#[case(2)]
#[case(8)]
fn corrupted_frames_differ_in_a_bounded_number_of_bits(#[case] bits_max: u8) {
    let profile = FaultProfile {
        corrupt_ppm: 500_000,
        corrupt_bits_max: bits_max,
        ..FaultProfile::perfect()
    };
    let mut link = Link::new(profile, 9);
    let sent = [0x5A; 20];
    let mut seen = vec![0_u32; usize::from(bits_max) + 1];
    for number in 0..4000 {
        let fate = link.send(at(number), &sent);
        let got = link.poll_deliver(at(number)).unwrap();
        let flipped: u32 = got
            .iter()
            .zip(sent)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert!(flipped <= u32::from(bits_max));
        let Fate::Carried { corrupted, .. } = fate else {
            panic!("{fate:?}");
        };
        assert_eq!(flipped > 0, corrupted);
        seen[usize::try_from(flipped).unwrap()] += 1;
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
    assert_near("corrupted", share(link.stats().corrupted, 4000), 0.5, 0.05);
}

#[test]
fn a_frame_without_a_bit_cannot_be_corrupted() {
    let profile = FaultProfile {
        corrupt_ppm: PPM,
        ..FaultProfile::perfect()
    };
    let mut link = Link::new(profile, 1);
    link.send(at(0), &[]);
    assert_eq!(link.stats().corrupted, 0);
    assert_eq!(link.poll_deliver(at(0)).unwrap(), []);
}

// ---- the line ----

const fn slow(bits_per_second: u32) -> FaultProfile {
    FaultProfile {
        airtime: Airtime::Linear {
            bits_per_second,
            bits_per_octet: 10,
            overhead_us: 0,
        },
        ..FaultProfile::perfect()
    }
}

#[test]
fn a_line_sends_one_frame_at_a_time() {
    // 10 octets of 10 bits at 1000 bit/s take 100 ms each.
    let mut link = Link::new(slow(1000), 1);
    assert_eq!(link.airtime(10), ms(100));
    for now in [0, 0, 50, 1000] {
        link.send(at(now), &[1; 10]);
    }
    let dues: Vec<_> = drain(&mut link).iter().map(|(due, _)| *due).collect();
    assert_eq!(dues, [at(100), at(200), at(300), at(1100)]);
    assert_eq!(link.stats().airtime_us, 400_000);
}

#[test]
fn parts_of_a_millisecond_are_not_lost_on_a_fast_line() {
    // 32 octets at 115,200 baud take 2.78 ms: a thousand of them 2.78 s, not 3.
    let mut link = FaultLink::<1000, 32>::new(slow(115_200), 1);
    for _ in 0..1000 {
        link.send(at(0), &[1; 32]);
    }
    let (last, _) = drain(&mut link).pop().unwrap();
    assert_eq!(last, at(2778));
}

#[test]
fn lost_frames_keep_the_line_all_the_same() {
    let profile = FaultProfile {
        loss_ppm: PPM,
        ..slow(1000)
    };
    let mut link = Link::new(profile, 1);
    assert_eq!(link.send(at(0), &[1; 10]), Fate::Lost);
    link.set_profile(slow(1000));
    link.send(at(0), &[2; 10]);
    assert_eq!(drain(&mut link), [(at(200), vec![2; 10])]);
    assert_eq!(link.stats().octets_on_air, 20);
}

#[rstest]
#[case::frames(FaultProfile { queue_frames: 3, ..slow(1000) })]
#[case::octets(FaultProfile { queue_octets: 35, ..slow(1000) })]
#[case::lost_too(FaultProfile { queue_frames: 3, loss_ppm: PPM, ..slow(1000) })]
fn the_queue_is_bounded_until_the_line_is_free(#[case] profile: FaultProfile) {
    let mut link = Link::new(profile, 1);
    for _ in 0..3 {
        assert_ne!(link.send(at(0), &[1; 10]), Fate::QueueFull);
    }
    assert_eq!(link.send(at(0), &[1; 10]), Fate::QueueFull);
    // The first has left the line at 100 ms, delivered or not.
    assert_eq!(link.send(at(99), &[1; 10]), Fate::QueueFull);
    assert_ne!(link.send(at(100), &[1; 10]), Fate::QueueFull);
    assert_eq!(link.send(at(100), &[1; 10]), Fate::QueueFull);
    assert_eq!(link.stats().dropped_full, 3);
    assert_eq!(link.stats().octets_on_air, 40);
    assert_accounts(&link);
}

#[test]
fn the_memory_is_bounded_by_the_frames_on_their_way() {
    let profile = FaultProfile {
        delay: ms(1000),
        duplicate_ppm: PPM,
        ..FaultProfile::perfect()
    };
    let mut link = FaultLink::<5, 8>::new(profile, 1);
    let fates: Vec<_> = (0..4).map(|now| link.send(at(now), &[1])).collect();
    let copies: Vec<_> = fates
        .iter()
        .map(|fate| {
            matches!(
                fate,
                Fate::Carried {
                    duplicated: true,
                    ..
                }
            )
        })
        .collect();
    // The third frame takes the last place, so that its copy finds none.
    assert_eq!(copies, [true, true, false, false]);
    assert_eq!(fates[3], Fate::QueueFull);
    assert_accounts(&link);
    assert_eq!(drain(&mut link).len(), 5);
    assert_accounts(&link);
}

#[test]
fn a_frame_above_the_mtu_is_dropped_and_counted() {
    let mut link = FaultLink::<4, 8>::new(FaultProfile::perfect(), 1);
    assert_eq!(link.send(at(0), &[0; 9]), Fate::Oversize);
    assert!(matches!(link.send(at(0), &[0; 8]), Fate::Carried { .. }));
    assert_eq!(link.stats().dropped_oversize, 1);
    assert_eq!(link.stats().octets_on_air, 8);
    assert_accounts(&link);
}

// Semtech's formula by hand: symbols and their length.
#[rstest]
#[case(7, 20, 56_576)] // 12.25 + 8 + 7 · 5 symbols of 1.024 ms
#[case(9, 20, 185_344)] // 12.25 + 8 + 5 · 5 of 4.096 ms
#[case(10, 20, 370_688)] // 12.25 + 8 + 5 · 5 of 8.192 ms
#[case(11, 20, 741_376)] // 12.25 + 8 + 5 · 5 of 16.384 ms, low data rate
#[case(12, 20, 1_318_912)] // 12.25 + 8 + 4 · 5 of 32.768 ms, low data rate
#[case(12, 0, 663_552)] // 12.25 + 8 + 0 of 32.768 ms
fn the_time_on_air_of_lora_is_the_data_sheets(
    #[case] spreading_factor: u8,
    #[case] len: usize,
    #[case] expected_us: u64,
) {
    let airtime = Airtime::LoRa(LoRa::eu868(spreading_factor));
    assert_eq!(airtime.micros(len), expected_us);
    assert_eq!(airtime.of(len), ms(expected_us.div_ceil(1000)));
}

#[test]
fn the_time_on_air_never_overflows() {
    for (_, profile) in PRESETS {
        let short = profile.airtime.micros(1);
        assert!(profile.airtime.micros(usize::MAX) >= short);
    }
    let nothing = Airtime::Linear {
        bits_per_second: 0,
        bits_per_octet: u32::MAX,
        overhead_us: u32::MAX,
    };
    assert!(nothing.micros(usize::MAX) > 0);
    let mut link = Link::new(
        FaultProfile {
            airtime: nothing,
            delay: Duration::from_millis(u64::MAX),
            ..FaultProfile::hostile()
        },
        1,
    );
    link.send(Instant::from_millis(u64::MAX), &[1; 64]);
    link.send(Instant::from_millis(u64::MAX), &[1; 64]);
    assert_accounts(&link);
}

// ---- contact ----

const WINDOWS: ContactWindows = ContactWindows {
    period: Duration::from_secs(100),
    open: Duration::from_secs(10),
    offset: Duration::from_secs(30),
};

#[rstest]
#[case(0, false, 30_000)]
#[case(29_999, false, 30_000)]
#[case(30_000, true, 30_000)]
#[case(39_999, true, 39_999)]
#[case(40_000, false, 130_000)]
#[case(130_000, true, 130_000)]
#[case(1_035_000, true, 1_035_000)]
fn windows_open_and_close(#[case] now: u64, #[case] open: bool, #[case] next: u64) {
    assert_eq!(WINDOWS.is_open(at(now)), open);
    assert_eq!(WINDOWS.next_open(at(now)), at(next));
}

#[rstest]
#[case(0, 10)]
#[case(10, 10)]
#[case(10, 11)]
fn windows_without_a_gap_are_always_open(#[case] period: u64, #[case] open: u64) {
    let windows = ContactWindows {
        period: ms(period),
        open: ms(open),
        offset: ms(3),
    };
    assert!((0..40).all(|now| windows.is_open(at(now))));
    assert_eq!(windows.next_open(at(7)), at(7));
}

#[test]
fn windows_that_never_open_never_do() {
    let windows = ContactWindows {
        open: Duration::ZERO,
        ..WINDOWS
    };
    assert!((0..200).all(|now| !windows.is_open(at(now * 1000))));
}

#[test]
fn frames_outside_of_the_windows_are_lost() {
    let profile = FaultProfile {
        windows: Some(WINDOWS),
        ..FaultProfile::perfect()
    };
    let mut link = Link::new(profile, 1);
    let (fates, out) = run(&mut link, 1000, 1000);
    let carried = |fate: &Fate| matches!(fate, Fate::Carried { .. });
    for (second, fate) in fates.iter().enumerate() {
        assert_eq!(
            carried(fate),
            (30..40).contains(&(second % 100)),
            "{second} s"
        );
    }
    assert_eq!(out.len(), 100);
    assert_eq!(link.stats().out_of_contact, 900);
}

#[test]
fn a_frame_must_be_wholly_inside_a_window() {
    // 1 s on the air: sent at 39 s it ends with the window, half a second later it does not.
    let profile = FaultProfile {
        windows: Some(WINDOWS),
        ..slow(100)
    };
    for (start, inside) in [
        (29_500, false),
        (30_000, true),
        (39_000, true),
        (39_500, false),
    ] {
        let mut link = Link::new(profile, 1);
        let fate = link.send(at(start), &[1; 10]);
        assert_eq!(matches!(fate, Fate::Carried { .. }), inside, "{start}");
    }
    // Sent in time, but the line is busy until the window has closed.
    let mut link = Link::new(profile, 1);
    link.send(at(38_500), &[1; 10]);
    assert_eq!(link.send(at(38_500), &[1; 10]), Fate::OutOfContact);
}

#[test]
fn a_partition_cuts_off_and_joins_again() {
    let mut link = Link::new(FaultProfile::perfect(), 1);
    link.set_partitioned(true);
    assert_eq!(link.send(at(0), &[1]), Fate::Partitioned);
    link.set_partitioned(false);
    assert!(matches!(link.send(at(1), &[2]), Fate::Carried { .. }));
    assert_eq!(link.stats().partitioned, 1);
}

#[test]
fn an_outage_takes_what_it_touches() {
    let outage = Outage {
        from: at(1000),
        until: at(2000),
    };
    let profile = FaultProfile {
        outage: Some(outage),
        ..slow(1000)
    };
    // 100 ms on the air.
    for (start, lost) in [
        (800, false),
        (950, true),
        (1500, true),
        (1999, true),
        (2000, false),
    ] {
        let fate = Link::new(profile, 1).send(at(start), &[1; 10]);
        assert_eq!(fate == Fate::Partitioned, lost, "{start}");
    }
}

// ---- presets ----

#[test]
fn every_preset_is_found_by_its_name_once() {
    for (name, profile) in PRESETS {
        assert_eq!(FaultProfile::preset(name), Some(*profile));
        let same = PRESETS.iter().filter(|(other, _)| other == name);
        assert_eq!(same.count(), 1, "{name}");
    }
    assert_eq!(FaultProfile::preset("none"), None);
}

#[test]
fn every_preset_carries_most_of_what_it_is_given_in_contact() {
    for (name, profile) in PRESETS {
        let profile = FaultProfile {
            windows: None,
            ..*profile
        };
        let mut link = Link::new(profile, 11);
        run(&mut link, 2000, 5000);
        let stats = link.stats();
        assert_eq!(stats.dropped_full, 0, "{name}");
        assert!(stats.delivered >= 1300, "{name}: {stats:?}");
    }
}

/// Random profiles and traffic: every frame is accounted for, the bounds hold, and frames
/// come out no earlier than they may.
#[test]
fn any_profile_accounts_for_every_frame() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let profile = random_profile(&mut rng);
        let mut link = FaultLink::<8, 16>::new(profile, seed);
        let mut now = Instant::ZERO;
        for _ in 0..200 {
            now += rng.duration_below(ms(60));
            let len = usize::try_from(rng.below(18)).unwrap();
            if let Fate::Carried { due, .. } = link.send(now, &[0xA5; 18][..len]) {
                assert!(due >= now + profile.delay, "SEED={seed}");
            }
            while link.poll_deliver(now).is_some() {}
            assert!(
                link.poll_timeout().is_none_or(|due| due > now),
                "SEED={seed}"
            );
            assert!(link.in_flight() <= 8, "SEED={seed}");
        }
        assert_accounts(&link);
        drain(&mut link);
        assert_accounts(&link);
    }
}

fn random_profile(rng: &mut Rng) -> FaultProfile {
    let mut ppm = |most| u32::try_from(rng.below(most)).unwrap();
    let (loss_ppm, corrupt_ppm) = (ppm(300_000), ppm(300_000));
    let (duplicate_ppm, reorder_ppm) = (ppm(500_000), ppm(500_000));
    let burst = GilbertElliott {
        enter_ppm: ppm(200_000),
        exit_ppm: ppm(600_000),
        loss_good_ppm: ppm(100_000),
        loss_bad_ppm: ppm(1_000_000),
    };
    let bits_per_second = 1 + ppm(100_000);
    FaultProfile {
        loss_ppm,
        burst: rng.chance_ppm(500_000).then_some(burst),
        delay: rng.duration_below(ms(100)),
        jitter: rng.duration_below(ms(100)),
        duplicate_ppm,
        reorder_ppm,
        reorder_hold: rng.duration_below(ms(500)),
        corrupt_ppm,
        corrupt_bits_max: rng.next_u64().to_be_bytes()[0],
        windows: rng.chance_ppm(300_000).then_some(ContactWindows {
            period: rng.duration_below(ms(3000)),
            open: rng.duration_below(ms(3000)),
            offset: rng.duration_below(ms(9000)),
        }),
        outage: None,
        airtime: match rng.below(3) {
            0 => Airtime::None,
            1 => Airtime::LoRa(LoRa::eu868(7)),
            _ => Airtime::Linear {
                bits_per_second,
                bits_per_octet: 8,
                overhead_us: 700,
            },
        },
        queue_frames: 1 + rng.next_u16() % 10,
        queue_octets: 16 + u32::from(rng.next_u16() % 100),
    }
}
