//! When a sleeping node wakes, and what a wake may cost.

use shared::client::{Config, Event, Phase, WakePlan};
use shared::wire::{Message, MsgId, QoS};

use crate::rig::{Rig, config, is_about, publish, register, secs, sends, tells};
use crate::sleep::sends_wake;

fn with_wake(wake: WakePlan) -> Config {
    Config { wake, ..config() }
}

#[test]
fn a18_wakes_when_the_plan_says() {
    let mut waits = Vec::new();
    for seed in 0..100 {
        let mut rig = Rig::seeded(
            with_wake(WakePlan {
                from_percent: 50,
                to_percent: 60,
                ..WakePlan::default()
            }),
            seed,
        );
        rig.connects();
        rig.falls_asleep(1000);
        waits.push(rig.timeout());
        sends_wake(&mut rig);
        rig.hears(Message::PingResp);
        tells!(rig, Event::WakeFinished);
        waits.push(rig.timeout());
    }
    waits.sort();
    assert_eq!((waits[0], waits[199]), (secs(500), secs(600)));
}

/// A node in a wake that takes so many publications, and knows `cmd/a` as 5.
fn awake(messages_max: u16) -> Rig {
    let mut rig = Rig::connected(with_wake(WakePlan {
        messages_max: Some(messages_max),
        ..WakePlan::default()
    }));
    rig.hears(register(5, 1, "cmd/a"));
    sends!(rig, Message::RegAck(_));
    rig.falls_asleep(600);
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    rig
}

#[test]
fn d24_a_wake_takes_no_more_messages_than_it_may() {
    let mut rig = awake(2);
    rig.hears(publish(QoS::AtMostOnce, 5, 0, b"1"));
    tells!(rig, Event::Received(_));
    rig.is_still();
    rig.is_in(Phase::Awake);
    rig.hears(publish(QoS::AtLeastOnce, 5, 2, b"2"));
    tells!(rig, Event::Received(_));
    // What was taken is acknowledged before the radio goes off.
    sends!(rig, Message::PubAck(_));
    rig.is_in(Phase::Awake);
    assert!(rig.transmit().is_none());
    tells!(rig, Event::WakeCut);
    rig.is_in(Phase::Asleep);
    assert!(rig.node.is_quiet());
    assert_eq!(rig.node.stats().wakes_cut, 1);

    // The next wake takes the rest.
    let slept = rig.timeout();
    assert!(slept >= secs(480) && slept <= secs(540), "{slept}");
    sends_wake(&mut rig);
    rig.hears(publish(QoS::AtMostOnce, 5, 0, b"3"));
    tells!(rig, Event::Received(_));
    rig.hears(Message::PingResp);
    tells!(rig, Event::WakeFinished);
}

#[test]
fn d24_a_wake_ends_after_the_last_step_of_qos_2() {
    let mut rig = awake(1);
    rig.hears(publish(QoS::ExactlyOnce, 5, 2, b"1"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubRec(_));
    rig.is_still();
    rig.is_in(Phase::Awake);
    rig.hears(Message::PubRel(MsgId(2)));
    sends!(rig, Message::PubComp(_));
    assert!(rig.transmit().is_none());
    tells!(rig, Event::WakeCut);

    // Where that does not come, the wake does not wait on.
    let mut rig = awake(1);
    rig.hears(publish(QoS::ExactlyOnce, 5, 2, b"1"));
    tells!(rig, Event::Received(_));
    sends!(rig, Message::PubRec(_));
    is_about(rig.timeout(), secs(10));
    tells!(rig, Event::WakeCut);
    rig.is_still();
    rig.is_in(Phase::Asleep);
}

#[test]
fn d24_a_wake_lasts_no_longer_than_it_may() {
    let mut rig = Rig::asleep(
        with_wake(WakePlan {
            time_max: Some(secs(25)),
            ..WakePlan::default()
        }),
        600,
    );
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    let started = rig.now;
    for id in 1..=3 {
        rig.now += secs(7);
        rig.node.handle_timeout(rig.now);
        rig.hears(register(id, id, "cmd/a"));
        sends!(rig, Message::RegAck(_));
        rig.is_still();
    }
    rig.timeout();
    assert_eq!(rig.now, started + secs(25));
    tells!(rig, Event::WakeCut);
    rig.is_still();
    assert!(rig.node.is_quiet());
    assert!(rig.timeout() >= secs(480));
    // The time begins anew.
    sends_wake(&mut rig);
    is_about(rig.timeout(), secs(10));
    sends_wake(&mut rig);
}

#[test]
fn d24_a_wake_that_was_cut_before_anything_came_was_in_vain() {
    let mut rig = Rig::asleep(
        with_wake(WakePlan {
            time_max: Some(secs(5)),
            ..WakePlan::default()
        }),
        600,
    );
    rig.node.wake().unwrap();
    sends_wake(&mut rig);
    assert_eq!(rig.timeout(), secs(5));
    tells!(rig, Event::WakeFailed { in_a_row: 1 });
    rig.is_still();
    assert_eq!(rig.node.stats().wakes_cut, 0);
}
