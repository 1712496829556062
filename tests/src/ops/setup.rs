//! Gateways of all kinds: settings by seed.

use std::sync::Arc;

use gateway::session::{
    Admission, Discovery, Forwarders, LinkId, LinkSettings, MailboxLimits, NodeRule, Pattern,
    Priority, Profile, QosMinusOneRule, Quota, Senders, Settings, WillMode,
};
use shared::rng::Rng;
use shared::time::Duration;
use shared::wire::{NodeId, QoS, TopicId};

use super::places::PREDEFINED;

/// The gateway that a script is played against.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the engine is made with.
    pub settings: Settings,
    /// Chooses the engine's first message ids.
    pub rng_seed: u64,
}

impl Setup {
    /// Creates the setup of a seed. Every limit is small at times, so that it is hit, and as it
    /// would be otherwise.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5E77_1465);
        Self {
            settings: settings(&mut rng),
            rng_seed: rng.next_u64(),
        }
    }
}

pub(super) fn settings(rng: &mut Rng) -> Settings {
    let seconds = Duration::from_secs;
    let hour = seconds(3600);
    Settings {
        sessions_max: pick(rng, &[2, 4, 100]),
        topics_max: pick(rng, &[1, 3, 256]),
        subscriptions_max: pick(rng, &[1, 3, 64]),
        publish_window: pick(rng, &[1, 4]),
        idle_max: hour,
        session_expiry: pick(rng, &[seconds(60), hour]),
        dedup_qos1: maybe(rng, 30),
        outage_patience: seconds(30),
        mailbox: MailboxLimits {
            messages_max: pick(rng, &[1, 3, 10]),
            bytes_max: pick(rng, &[40, 200, 65_536]),
            age_max: pick(rng, &[seconds(20), hour]),
            qos0_max: pick(rng, &[0, 1, 5]),
            conflate_qos0: maybe(rng, 30),
        },
        unanswered_max: pick(rng, &[1, 4, usize::MAX]),
        predefined: PREDEFINED
            .map(|(id, name)| (TopicId(id), Arc::from(name)))
            .into(),
        links: links(rng),
        qos_minus_one: qos_minus_one(rng),
        qos_minus_one_long_names: maybe(rng, 50),
        outage_disconnect: maybe(rng, 50).then_some(seconds(60)),
        wills: if maybe(rng, 20) {
            WillMode::Off
        } else {
            WillMode::Gateway
        },
        wake_connect_ignores_flags: maybe(rng, 30),
        admission: admission(rng),
        topic_priorities: if maybe(rng, 40) {
            vec![
                ("t/2".into(), Priority::High),
                ("t/#".into(), Priority::Low),
            ]
        } else {
            Vec::new()
        },
        ..Settings::default()
    }
}

fn links(rng: &mut Rng) -> Vec<LinkSettings> {
    let mut link = |forwarders| LinkSettings {
        t_retry: Duration::from_secs(pick(rng, &[1, 10])),
        n_retry: pick(rng, &[0, 1, 3]),
        mtu: pick(rng, &[40, 64, 128, 1024]),
        forwarders,
        discovery: maybe(rng, 60).then_some(Discovery {
            advertise_every: maybe(rng, 50).then_some(Duration::from_secs(900)),
            standby_misses: maybe(rng, 30).then_some(2),
        }),
        dead_after: maybe(rng, 30).then_some(Duration::from_secs(120)),
        ..LinkSettings::default()
    };
    vec![
        link(Forwarders::Listed(Vec::new())),
        link(Forwarders::Anyone),
        link(Forwarders::Listed(vec!["10.0.9.0/24".parse().unwrap()])),
    ]
}

fn qos_minus_one(rng: &mut Rng) -> Vec<QosMinusOneRule> {
    if maybe(rng, 40) {
        return Vec::new();
    }
    let rule = |link, topic: &str| QosMinusOneRule {
        link: LinkId(link),
        from: Senders::default(),
        topics: vec![topic.into()],
        retain: link == 0,
        rate_per_s: 1,
        burst: 2,
    };
    vec![rule(0, "#"), rule(1, "pre/+")]
}

fn admission(rng: &mut Rng) -> Admission {
    let mut admission = Admission::open();
    if maybe(rng, 50) {
        return admission;
    }
    admission.rules = vec![
        Arc::new(rule(rng, "pump-1")),
        Arc::new(rule(rng, "pump-*")),
        Arc::new(rule(rng, "a")),
    ];
    if maybe(rng, 30) {
        admission.others = None;
    }
    admission
}

fn rule(rng: &mut Rng, nodes: &str) -> NodeRule {
    let filters = |rng: &mut Rng, filters: &[&str]| {
        maybe(rng, 30).then(|| filters.iter().map(|filter| Arc::from(*filter)).collect())
    };
    NodeRule {
        nodes: Pattern::new(nodes),
        links: if maybe(rng, 20) {
            vec![LinkId(0), LinkId(1)]
        } else {
            Vec::new()
        },
        from: Senders {
            addresses: Vec::new(),
            node_ids: if maybe(rng, 10) {
                NodeId::new(&[1]).into_iter().collect()
            } else {
                Vec::new()
            },
        },
        publish: filters(rng, &["t/#", "%c/#", "pre/a"]),
        subscribe: filters(rng, &["t/+", "%c/+", "pre/#", "#"]),
        qos_max: pick(
            rng,
            &[
                QoS::AtMostOnce,
                QoS::AtLeastOnce,
                QoS::ExactlyOnce,
                QoS::ExactlyOnce,
            ],
        ),
        quota: Quota {
            messages_per_min: maybe(rng, 20).then_some(3),
            bytes_per_day: maybe(rng, 20).then_some(200),
        },
        mtu: maybe(rng, 20).then_some(30),
        profile: pick(rng, &Profile::ALL),
        priority: pick(rng, &[Priority::Low, Priority::Normal, Priority::High]),
        grace: Duration::from_secs(pick(rng, &[0, 0, 600])),
        expect_every: maybe(rng, 30).then_some(Duration::from_secs(30)),
        awake_messages_max: maybe(rng, 30).then_some(1),
    }
}

pub(super) fn pick<T: Clone>(rng: &mut Rng, list: &[T]) -> T {
    let count = u64::try_from(list.len()).unwrap();
    list[usize::try_from(rng.below(count)).unwrap()].clone()
}

pub(super) fn maybe(rng: &mut Rng, percent: u32) -> bool {
    rng.chance_ppm(percent * 10_000)
}
