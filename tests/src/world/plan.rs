//! What the nodes of a world are like.

use shared::client::{Config, Discovery, GatewayAddr, LinkClock, Will};
use shared::rng::Rng;
use shared::time::Duration;
use shared::wire::QoS;

use super::WorldConfig;
use super::ledger::Ledger;
use super::place::LINKS;
use super::subject::{Subject, predefined_down, short};

/// What a node is and does, chosen by the seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How long it sleeps at a time; `None` keeps it active.
    pub(super) sleeps_s: Option<u16>,
    pub(super) publishes_while_asleep: bool,
    pub(super) moves: bool,
    pub(super) forwarded: bool,
    /// Whether it is heard on any link.
    pub(super) roams: bool,
    pub(super) reboots: bool,
    pub(super) clean: bool,
    pub(super) discovers: bool,
    pub(super) will: bool,
    pub(super) keep_alive_s: u16,
    pub(super) publish_gap: Duration,
    pub(super) moody: bool,
    /// Whether it leaves topics and comes back to them.
    pub(super) unsubscribes: bool,
}

impl Plan {
    pub(super) fn new(config: &WorldConfig, rng: &mut Rng) -> Self {
        let sleep_s = u16::try_from(20 + rng.below(100)).unwrap_or(60);
        let keep_alive_s = u16::try_from(20 + rng.below(100)).unwrap_or(60);
        let publish_gap = Duration::from_millis(3000 + rng.below(25_000));
        let mut maybe = |percent: u32| rng.chance_ppm(percent * 10_000);
        let restless = config.restless;
        let sleeps = maybe(60);
        Self {
            sleeps_s: sleeps.then_some(sleep_s),
            publishes_while_asleep: maybe(50),
            moves: (maybe(50) || config.roaming) && restless && sleeps,
            forwarded: maybe(35),
            roams: config.roaming && maybe(70),
            reboots: maybe(30) && restless,
            clean: maybe(40) && restless && !config.has_late_requests(),
            discovers: maybe(20),
            will: maybe(30),
            keep_alive_s,
            publish_gap,
            moody: maybe(50) && restless,
            unsubscribes: restless && !config.has_late_requests(),
        }
    }
}

impl Plan {
    /// Returns a link that the node may be heard on.
    pub(super) fn link(&self, rng: &mut Rng) -> u16 {
        let (first, count) = match (self.roams, self.forwarded) {
            (true, _) => (0, LINKS),
            (false, true) => (1, LINKS - 1),
            (false, false) => (0, 1),
        };
        first + u16::try_from(rng.below(u64::from(count))).unwrap_or(0)
    }
}

pub(super) fn subscriptions(node: u8, rng: &mut Rng) -> Vec<(Subject, QoS)> {
    let mut list = vec![Subject::Name(format!("down/{node}/cmd"))];
    let others = [
        Subject::Name(format!("down/{node}/+")),
        Subject::Name("down/all".to_owned()),
        Subject::Name("down/all/#".to_owned()),
        Subject::Predefined(predefined_down(node).0),
        Subject::Short(short(node, b'd')),
    ];
    for other in others {
        // Two names to publish on, and two places for names that match a wildcard, fit beside.
        if list.len() < 4 && rng.chance_ppm(500_000) {
            list.push(other);
        }
    }
    let mut qos = || match rng.below(4) {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    list.into_iter().map(|it| (it, qos())).collect()
}

pub(super) fn client_config(index: u8, plan: &Plan, config: &WorldConfig) -> Config {
    let mut client = Config::new(&format!("node{index}")).unwrap();
    if plan.discovers {
        client.discovery = Some(Discovery::default());
    } else {
        client = client.with_gateway(GatewayAddr::POINT_TO_POINT).unwrap();
    }
    client.keep_alive_s = plan.keep_alive_s;
    client.clean = plan.clean;
    client.publish_while_asleep = plan.publishes_while_asleep;
    client.link = LinkClock {
        t_retry: config.t_retry,
        t_wait: Duration::from_secs(20),
        t_refused: Duration::from_secs(60),
        ..LinkClock::default()
    };
    client.will = plan.will.then(|| will(index));
    client
}

fn will(index: u8) -> Will {
    let mut will = Will {
        qos: QoS::AtLeastOnce,
        ..Will::default()
    };
    will.topic.push_str(&format!("will/{index}")).unwrap();
    will.message
        .extend_from_slice(&Ledger::will_payload(index))
        .unwrap();
    will
}
