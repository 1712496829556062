//! The pacer on a virtual clock.

use std::collections::{BTreeMap, VecDeque};

use shared::fault::LoRa;
use shared::rng::Rng;
use shared::time::Duration;
use shared::wire::NodeId;

use super::*;
use crate::config::{HOUR_US, LinkPreset};
use crate::session::{LinkId, Peer};

fn node(id: u8) -> Target {
    Target::Node(Binding {
        link: LinkId(0),
        peer: Peer::Line,
        node_id: NodeId::new(&[id]),
    })
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// REGACK, which is nobody's repetition as long as the numbers differ.
fn datagram(number: u16, len: usize) -> Vec<u8> {
    let mut octets = vec![0x55; len];
    octets[..2].copy_from_slice(&number.to_be_bytes());
    octets
}

fn nothing_evicted(to: Target, waiting: &Waiting) {
    panic!("{to:?} {waiting:?}");
}

/// A line of 1000 octets a second without any overhead.
fn line() -> PacingConfig {
    PacingConfig {
        rate_bytes_per_s: Some(1000),
        frame_overhead_bytes: 0,
        ..PacingConfig::default()
    }
}

struct Bench {
    pacer: Pacer,
    now: u64,
    numbers: u16,
}

impl Bench {
    fn new(config: PacingConfig) -> Self {
        Self {
            pacer: Pacer::new(config, 100),
            now: 0,
            numbers: 0,
        }
    }

    /// Queues a datagram of ten octets and returns its number.
    fn push(&mut self, to: u8, priority: Priority) -> u16 {
        self.numbers += 1;
        self.pacer
            .push(
                node(to),
                priority,
                &datagram(self.numbers, 10),
                nothing_evicted,
            )
            .unwrap();
        self.numbers
    }

    /// Lets time pass from deadline to deadline; returns who was sent what and when.
    fn run(&mut self) -> Vec<(u64, Target, u16)> {
        let mut sent = Vec::new();
        loop {
            while let Some((to, octets)) = self.pacer.poll_transmit(at(self.now)) {
                sent.push((self.now, to, u16::from_be_bytes([octets[0], octets[1]])));
            }
            let Some(next) = self.pacer.poll_timeout() else {
                return sent;
            };
            assert!(
                next > at(self.now),
                "a deadline that does nothing at {next}"
            );
            self.now = next.as_millis();
        }
    }

    fn order(&mut self) -> Vec<u16> {
        self.run()
            .into_iter()
            .map(|(_, _, number)| number)
            .collect()
    }
}

#[test]
fn frames_follow_each_other_at_the_rate() {
    let mut bench = Bench::new(line());
    for _ in 0..4 {
        bench.push(1, Priority::Normal);
    }
    let times: Vec<u64> = bench.run().iter().map(|sent| sent.0).collect();
    assert_eq!(times, [0, 10, 20, 30]);
    // A pause earns nothing.
    bench.now = 1000;
    for _ in 0..2 {
        bench.push(1, Priority::Normal);
    }
    let times: Vec<u64> = bench.run().iter().map(|sent| sent.0).collect();
    assert_eq!(times, [1000, 1010]);
}

#[test]
fn a_burst_goes_at_once_and_is_paid_for() {
    let mut bench = Bench::new(PacingConfig {
        burst_bytes: 20,
        ..line()
    });
    for _ in 0..5 {
        bench.push(1, Priority::Normal);
    }
    let times: Vec<u64> = bench.run().iter().map(|sent| sent.0).collect();
    assert_eq!(times, [0, 0, 0, 10, 20]);
}

#[test]
fn the_guard_leaves_room_for_an_answer() {
    let mut bench = Bench::new(PacingConfig {
        guard: Duration::from_millis(50),
        // Says nothing beside a guard.
        burst_bytes: 1000,
        ..line()
    });
    bench.push(1, Priority::Normal);
    bench.push(1, Priority::Normal);
    let times: Vec<u64> = bench.run().iter().map(|sent| sent.0).collect();
    // 10 ms on the air and 50 ms for the answer.
    assert_eq!(times, [0, 60]);

    bench.now = 1000;
    bench.pacer.heard(at(1000));
    bench.push(1, Priority::Normal);
    assert_eq!(bench.run()[0].0, 1050);
    bench.now = 2000;
    bench.push(1, Priority::Normal);
    assert_eq!(bench.run()[0].0, 2000);
}

#[test]
fn nodes_that_never_pause_hold_the_gateway_back_for_a_bounded_time() {
    let mut bench = Bench::new(PacingConfig {
        guard: Duration::from_millis(50),
        ..line()
    });
    bench.push(1, Priority::Normal);
    bench.run();
    bench.now = 1000;
    bench.pacer.heard(at(1000));
    bench.push(1, Priority::Normal);
    let mut sent_at = None;
    for now in (1000..3000).step_by(20) {
        if bench.pacer.poll_transmit(at(now)).is_some() {
            sent_at = Some(now);
            break;
        }
        bench.pacer.heard(at(now));
    }
    assert_eq!(sent_at, Some(1400));
}

#[test]
fn bindings_take_turns_and_keep_their_order() {
    let mut bench = Bench::new(line());
    // Node 1 floods; nodes 2 and 3 have two datagrams each.
    let first: Vec<u16> = (0..5).map(|_| bench.push(1, Priority::Normal)).collect();
    let second: Vec<u16> = (0..2).map(|_| bench.push(2, Priority::Normal)).collect();
    let third: Vec<u16> = (0..2).map(|_| bench.push(3, Priority::Normal)).collect();
    assert_eq!(
        bench.order(),
        [
            first[0], second[0], third[0], first[1], second[1], third[1], first[2], first[3],
            first[4]
        ]
    );
}

#[test]
fn an_important_datagram_overtakes_others_and_pulls_its_own_along() {
    let mut bench = Bench::new(line());
    let low = bench.push(1, Priority::Low);
    let normal = bench.push(2, Priority::Normal);
    let before = bench.push(3, Priority::Low);
    let high = bench.push(3, Priority::High);
    let after = bench.push(3, Priority::Low);
    assert_eq!(bench.order(), [before, high, normal, low, after]);
}

#[test]
fn a_repetition_of_what_waits_is_not_queued() {
    let mut bench = Bench::new(line());
    let publish = |flags| [8, 0x0C, flags, 0, 5, 0, 7, 1];
    let mut push = |to, octets: &[u8]| {
        let priority = Priority::Normal;
        bench
            .pacer
            .push(node(to), priority, octets, nothing_evicted)
    };
    assert_eq!(push(1, &publish(0x20)), Ok(()));
    assert_eq!(push(1, &publish(0xA0)), Err(DropReason::Coalesced));
    assert_eq!(push(2, &publish(0xA0)), Ok(()));
    // Two publications at QoS 0 are two.
    assert_eq!(push(1, &[8, 0x0C, 0, 0, 5, 0, 0, 1]), Ok(()));
    assert_eq!(push(1, &[8, 0x0C, 0, 0, 5, 0, 0, 1]), Ok(()));
    assert_eq!(bench.pacer.queue.len(), 4);
    // What is on its way may be lost and is repeated.
    assert!(bench.pacer.poll_transmit(at(0)).is_some());
    let again = bench
        .pacer
        .push(node(1), Priority::Normal, &publish(0xA0), nothing_evicted);
    assert_eq!(again, Ok(()));
}

#[test]
fn d22_what_came_after_a_pingresp_gets_one_of_its_own() {
    let mut bench = Bench::new(line());
    let mut push = |octets: &[u8]| {
        let priority = Priority::Normal;
        bench.pacer.push(node(1), priority, octets, nothing_evicted)
    };
    assert_eq!(push(&[2, 0x17]), Ok(()));
    assert_eq!(push(&[2, 0x17]), Err(DropReason::Coalesced));
    assert_eq!(push(&[8, 0x0C, 0x20, 0, 5, 0, 7, 1]), Ok(()));
    assert_eq!(push(&[2, 0x17]), Ok(()));
    assert_eq!(bench.pacer.queue.len(), 3);
}

#[test]
fn a_full_queue_drops_the_least_important_and_of_those_the_newest() {
    let mut pacer = Pacer::new(
        PacingConfig {
            queue_bytes_max: 40,
            ..line()
        },
        20,
    );
    let mut evicted = Vec::new();
    let mut push = |number, priority, len| {
        let octets = datagram(number, len);
        let to = node(u8::try_from(number).unwrap());
        pacer.push(to, priority, &octets, |_, waiting| {
            evicted.push(u16::from_be_bytes([
                waiting.datagram[0],
                waiting.datagram[1],
            ]));
        })
    };
    for number in 1..=2 {
        assert_eq!(push(number, Priority::Low, 10), Ok(()));
    }
    assert_eq!(push(3, Priority::Normal, 10), Ok(()));
    assert_eq!(push(4, Priority::Low, 10), Ok(()));
    // Nothing is less important.
    assert_eq!(push(5, Priority::Low, 10), Err(DropReason::QueueFull));
    assert_eq!(push(6, Priority::Normal, 20), Ok(()));
    // The rest is not enough to make room: nothing is dropped for nothing.
    assert_eq!(push(7, Priority::Normal, 20), Err(DropReason::QueueFull));
    assert_eq!(push(8, Priority::High, 20), Ok(()));
    assert_eq!(evicted, [4, 2, 1, 6]);
    let mut left = Vec::new();
    pacer.clear(|_, waiting| left.push(waiting.datagram[1]));
    assert_eq!(left, [8, 3]);
    assert!(pacer.is_empty() && pacer.queue.flows.is_empty());
}

#[test]
fn busy_until_is_when_the_last_frame_is_through() {
    let mut bench = Bench::new(PacingConfig {
        guard: Duration::from_millis(50),
        ..line()
    });
    assert_eq!(bench.pacer.busy_until(at(0)), None);
    for _ in 0..3 {
        bench.push(1, Priority::Normal);
    }
    let told = bench.pacer.busy_until(at(0)).unwrap();
    let last = bench.run().last().unwrap().0;
    assert_eq!(told, at(last + 10));
    assert_eq!(bench.pacer.busy_until(at(last)), Some(told));
    assert_eq!(bench.pacer.busy_until(told), None);
}

#[test]
fn busy_until_knows_the_duty_cycle() {
    let preset = LinkPreset::by_name("lora-sf12").unwrap();
    let config = preset.pacing.unwrap();
    let mut bench = Bench {
        pacer: Pacer::new(config, preset.max_message),
        now: 0,
        numbers: 0,
    };
    for _ in 0..30 {
        bench.push(1, Priority::Normal);
    }
    let told = bench.pacer.busy_until(at(0)).unwrap().as_millis();
    let last = bench.run().last().unwrap().0 + config.airtime_us(10) / 1000;
    assert!(last > 3_600_000, "{last}");
    // It does not know how large the last one is.
    assert!((last..last + 60_000).contains(&told), "{told} {last}");
}

/// One frame that went out: when, its octets and its time on the air.
struct Sent {
    at_us: u64,
    octets: u64,
    airtime_us: u64,
}

/// Runs one random link with random traffic and holds everything against its settings.
fn world(seed: u64) {
    let mut rng = Rng::new(seed);
    let max_message = 20 + usize::try_from(rng.below(200)).unwrap();
    let config = random_config(&mut rng, max_message);
    assert_eq!(config.trouble(max_message), None, "{config:?}");
    let mut pacer = Pacer::new(config, max_message);
    let mut expected: BTreeMap<Target, VecDeque<Bytes>> = BTreeMap::new();
    let mut sent: Vec<Sent> = Vec::new();
    let mut now = 0;
    let mut number = 0_u16;
    let end = HOUR_US / 1000 * 3;
    let mut arrival = 0;
    while now < end || !pacer.is_empty() {
        if now == arrival && now < end {
            for _ in 0..rng.below(20) {
                number = number.wrapping_add(1);
                let len = 2 + usize::try_from(rng.below(max_message as u64 - 1)).unwrap();
                let to = node(u8::try_from(rng.below(5)).unwrap());
                let priority = [Priority::Low, Priority::Normal, Priority::High]
                    [usize::try_from(rng.below(3)).unwrap()];
                let octets = datagram(number, len);
                let taken = pacer.push(to, priority, &octets, |to, waiting| {
                    let queue = expected.get_mut(&to).unwrap();
                    queue.retain(|other| *other != waiting.datagram);
                });
                match taken {
                    Ok(()) => expected.entry(to).or_default().push_back(octets.into()),
                    Err(reason) => assert_eq!(reason, DropReason::QueueFull),
                }
                assert!(pacer.queue.octets() <= config.queue_bytes_max);
            }
            if rng.chance_ppm(300_000) {
                pacer.heard(at(now));
            }
            arrival += 1 + rng.below(60_000);
        }
        let told = pacer.busy_until(at(now));
        assert!(told.is_some() || pacer.is_empty());
        while let Some((to, octets)) = pacer.poll_transmit(at(now)) {
            let first = expected.get_mut(&to).and_then(VecDeque::pop_front);
            assert_eq!(first.as_ref(), Some(&octets), "the order of a binding");
            sent.push(Sent {
                at_us: now * 1000,
                octets: (octets.len() + config.frame_overhead_bytes) as u64,
                airtime_us: config.airtime_us(octets.len()),
            });
        }
        let next = pacer.poll_timeout().map_or(u64::MAX, Instant::as_millis);
        assert!(next > now, "a deadline that does nothing");
        now = if now < end { next.min(arrival) } else { next };
        if now == u64::MAX {
            break;
        }
    }
    assert!(
        expected.values().all(VecDeque::is_empty),
        "all of it went out"
    );
    assert!(!sent.is_empty());
    check_rate(&config, &sent);
    check_duty(&config, max_message, &sent);
    check_gaps(&config, &sent);
}

fn random_config(rng: &mut Rng, max_message: usize) -> PacingConfig {
    let is_lora = rng.chance_ppm(500_000);
    let spreading_factor = u8::try_from(7 + rng.below(3)).unwrap();
    let rate = u32::try_from(20 + rng.below(2000)).unwrap();
    PacingConfig {
        rate_bytes_per_s: (!is_lora || rng.chance_ppm(300_000)).then_some(rate),
        lora: is_lora.then(|| LoRa::eu868(spreading_factor)),
        frame_overhead_bytes: usize::try_from(rng.below(30)).unwrap(),
        frame_time: Duration::from_millis(rng.below(2) * rng.below(500)),
        burst_bytes: u32::try_from(rng.below(2) * rng.below(1000)).unwrap(),
        duty_cycle_permille: [1000, 100, 50][usize::try_from(rng.below(3)).unwrap()],
        duty_burst: Duration::from_millis(rng.below(2) * rng.below(10_000)),
        guard: Duration::from_millis(rng.below(2) * rng.below(300)),
        queue_bytes_max: max_message + 30 + usize::try_from(rng.below(4000)).unwrap(),
    }
}

/// In no window more octets than the rate and the burst allow, but for the last frame.
fn check_rate(config: &PacingConfig, sent: &[Sent]) {
    let Some(rate) = config.rate_bytes_per_s else {
        return;
    };
    for (first, begin) in sent.iter().enumerate() {
        let mut octets = 0;
        // A window that is longer than this has been looked at in parts.
        for frame in sent[first..].iter().take(200) {
            let span_us = frame.at_us - begin.at_us;
            let allowed = span_us * u64::from(rate) / 1_000_000 + u64::from(config.burst_bytes);
            assert!(
                octets <= allowed + 1,
                "{octets} > {allowed} within {span_us} us"
            );
            octets += frame.octets;
        }
    }
}

/// In no hour more time on the air than its share. Windows need to begin at frames only: a
/// window with more would have one that begins so and has no less.
fn check_duty(config: &PacingConfig, max_message: usize, sent: &[Sent]) {
    if config.duty_cycle_permille == 1000 {
        return;
    }
    let on_air_within = |begin: u64, end: u64, frame: &Sent| {
        let from = frame.at_us.max(begin);
        let until = (frame.at_us + frame.airtime_us).min(end);
        until.saturating_sub(from)
    };
    for (first, start) in sent.iter().enumerate() {
        for begin in [start.at_us, start.at_us + start.airtime_us / 2] {
            let end = begin + HOUR_US;
            let frames = sent[first..].iter().take_while(|frame| frame.at_us < end);
            let on_air: u64 = frames.map(|frame| on_air_within(begin, end, frame)).sum();
            let share = config.duty_hour_us();
            assert!(on_air <= share, "{on_air} us of {share} us, {max_message}");
        }
    }
}

/// Between two frames at least the first one's time and the guard, where one goes at a time.
fn check_gaps(config: &PacingConfig, sent: &[Sent]) {
    if config.one_at_a_time() {
        for pair in sent.windows(2) {
            let end = pair[0].at_us + pair[0].airtime_us + config.guard.as_millis() * 1000;
            assert!(pair[1].at_us >= end);
        }
    }
}

#[test]
fn no_traffic_exceeds_rate_guard_or_duty_cycle_and_every_binding_keeps_its_order() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..60,
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| world(seed));
        if let Err(panic) = result {
            println!("SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Keeps a regulated link busy for hours; returns its share of the first one and of all, in
/// thousandths.
fn saturate(config: PacingConfig, max_message: usize) -> (u64, u64) {
    let mut pacer = Pacer::new(config, max_message);
    let mut sent = Vec::new();
    // After a silence, when the whole budget is there.
    let (mut now, end) = (HOUR_US / 1000, HOUR_US / 1000 * 3);
    let begin = now;
    while now < end {
        for number in 0..3 {
            let octets = datagram(number, max_message);
            let _ = pacer.push(node(1), Priority::Normal, &octets, nothing_evicted);
        }
        while pacer.poll_transmit(at(now)).is_some() {
            sent.push(Sent {
                at_us: now * 1000,
                octets: 0,
                airtime_us: config.airtime_us(max_message),
            });
        }
        now = pacer.poll_timeout().unwrap().as_millis();
    }
    check_duty(&config, max_message, &sent);
    let within = |from: &Sent| -> u64 {
        let frames = sent.iter().filter(|frame| frame.at_us >= from.at_us);
        let frames = frames.take_while(|frame| frame.at_us < from.at_us + HOUR_US);
        frames.map(|frame| frame.airtime_us).sum()
    };
    let most = within(&sent[0]);
    let all: u64 = sent.iter().map(|frame| frame.airtime_us).sum();
    let hours = (end - begin) / (HOUR_US / 1000);
    (most * 1000 / HOUR_US, all / hours * 1000 / HOUR_US)
}

#[test]
fn a_radio_that_never_rests_uses_its_share_of_each_hour_and_no_more() {
    for preset in LinkPreset::ALL {
        let Some(config) = preset.pacing.filter(|it| it.lora.is_some()) else {
            continue;
        };
        let (most, mean) = saturate(config, preset.max_message);
        // Whole frames only: of 36 s, twelve frames at spreading factor 12.
        assert!((9..=10).contains(&most), "{} {most}", preset.name);
        assert!((7..=10).contains(&mean), "{} {mean}", preset.name);
    }
    // With a large burst, most goes at once and little steadily.
    let config = LinkPreset::by_name("lora-sf7").unwrap().pacing.unwrap();
    let config = PacingConfig {
        duty_cycle_permille: 500,
        duty_burst: Duration::from_secs(1200),
        queue_bytes_max: 10_000,
        ..config
    };
    let (most, mean) = saturate(config, 222);
    assert!((490..=500).contains(&most), "{most}");
    assert!((200..400).contains(&mean), "{mean}");
}

#[test]
fn a_flooding_binding_does_not_slow_the_others() {
    let mut bench = Bench::new(line());
    for _ in 0..200 {
        bench.push(1, Priority::Normal);
    }
    let others: Vec<u16> = (2..10).map(|to| bench.push(to, Priority::Normal)).collect();
    let order = bench.order();
    // One frame of the flood before each round of the others.
    for number in others {
        let place = order.iter().position(|sent| *sent == number).unwrap();
        assert!(place < 10, "{place}");
    }
}
