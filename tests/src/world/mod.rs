//! A seeded world: nodes, lossy links, one gateway engine and a broker, in virtual time.
//!
//! Real [`Client`](shared::client::Client) machines talk to a real [`Engine`] through
//! [`FaultLink`](shared::fault::FaultLink)s, one for each direction of each node. The upstream with its broker, and the applications, are
//! models. The world steps from deadline to deadline, so hours pass in milliseconds, and the
//! same seed lives through the same history.
//!
//! 1. The applications publish, the remote side publishes for the nodes, everything that the
//!    configuration allows goes wrong.
//! 2. The faults stop; everything must come to rest within a bound of virtual time.
//! 3. One more publication for each topic must reach everyone who has asked for it.
//!
//! A promise that is broken ends the run with the seed to repeat it by.

mod broker;
mod config;
mod ledger;
mod links;
mod node;
mod place;
mod plan;
mod steps;
mod subject;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::session::{
    Ending, Engine, Forwarders, LinkSettings, MailboxLimits, NodeRule, Notice, Pattern, Priority,
    Settings,
};
use shared::fault::FaultProfile;
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::QoS;

use broker::Broker;
pub use config::WorldConfig;
pub use ledger::Counts;
use ledger::{Broken, Ledger};
use links::Links;
use node::Node;
use watch::Watch;

/// One history; see the module.
pub struct World {
    seed: u64,
    config: WorldConfig,
    now: Instant,
    engine: Engine,
    broker: Broker,
    nodes: Vec<Node>,
    watches: Vec<Watch>,
    ledger: Ledger,
    links: Links,
    /// When the gateway stands still next, and until when it does.
    stall_at: Option<Instant>,
    stall_until: Option<Instant>,
    /// When it last came to again.
    stalled_at: Option<Instant>,
    rng: Rng,
    down_topics: Vec<String>,
    down_at: Option<Instant>,
    traced: bool,
}

/// What a run has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was checked.
    pub counts: Counts,
    /// Datagrams given to the links.
    pub datagrams: u64,
    /// Datagrams that the links lost.
    pub lost: u64,
    /// How long everything took in virtual time.
    pub lived: Duration,
}

/// Says the seed where something else than the world's own checks panics.
struct Sign {
    seed: u64,
    name: &'static str,
}

impl Drop for Sign {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={} ({})", self.seed, self.name);
        }
    }
}

/// The most steps of one run.
const STEPS_MAX: u32 = 2_000_000;

/// The most steps without time passing.
const STEPS_AT_ONCE_MAX: u32 = 2000;

/// The steps between two looks into the engine.
const STEPS_BETWEEN_CHECKS: u32 = 64;

/// What one wake may send where rules hold.
const WAKE_MAX: u32 = 3;

/// How long after a stop of the gateway nobody can be lost by silence: less than the shortest
/// keep-alive.
const FRESH_CHANCE: Duration = Duration::from_secs(15);

/// How long everything may take to come to rest once the faults have stopped: several rests
/// after congestion, sleeps and keep-alives on end.
const REST_BOUND: Duration = Duration::from_secs(3600);

/// How long the last publications may take: the longest sleep, and what a full mailbox takes.
const PROBE_BOUND: Duration = Duration::from_secs(900);

impl World {
    /// Creates the world that `seed` says, at its first moment.
    #[must_use]
    pub fn new(seed: u64, config: WorldConfig) -> Self {
        let mut rng = Rng::new(seed);
        let nodes: Vec<_> = (0..config.nodes)
            .map(|index| Node::new(index, &config, rng.split()))
            .collect();
        Self {
            seed,
            config,
            now: Instant::ZERO,
            engine: Engine::new(settings(&config), rng.split(), Instant::ZERO),
            broker: Broker::new(&config, rng.split()),
            watches: nodes.iter().map(|_| Watch::default()).collect(),
            ledger: Ledger::new(nodes.len(), &config),
            links: Links::new(&config, rng.split()),
            stall_at: config.stalls.then(|| Instant::from_millis(60_000)),
            stall_until: None,
            stalled_at: None,
            nodes,
            rng,
            down_topics: subject::down_topics(config.nodes),
            down_at: Some(Instant::from_millis(5000)),
            traced: std::env::var_os("TRACE").is_some(),
        }
    }

    /// Lives through the whole history.
    ///
    /// # Panics
    /// Where a promise is broken, with the seed.
    #[must_use]
    pub fn run(mut self) -> Report {
        let _sign = Sign {
            seed: self.seed,
            name: self.config.name,
        };
        let outcome = self.live();
        if let Err(broken) = outcome {
            let (seed, name, now) = (self.seed, self.config.name, self.now);
            panic!(
                "SEED={seed} ({name}) at {now}: {broken}\n{:#?}",
                self.config
            );
        }
        let mut report = Report {
            counts: self.ledger.counts,
            lived: self.now.since(Instant::ZERO),
            ..Report::default()
        };
        for node in &self.nodes {
            for stats in [node.up.stats(), node.down.stats()] {
                report.datagrams += stats.sent;
                report.lost += stats.missing();
            }
        }
        report
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.live_until(Instant::ZERO + self.config.work, |_| false)?;
        self.calm_down();
        if !self.live_until(self.now + REST_BOUND, Self::is_at_rest)? {
            return Err(self.unrest());
        }
        let first_probe = self.ledger.downlinks_len();
        self.probe();
        self.live_until(self.now + PROBE_BOUND, |world| {
            world.is_at_rest() && world.ledger.missing_since(first_probe).is_none()
        })?;
        self.check_probe(first_probe)?;
        if !self.is_at_rest() {
            return Err(self.unrest());
        }
        self.check_baseline()?;
        self.ledger.close()
    }

    /// Steps until `end`, or until `done` holds; returns whether it does.
    fn live_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> Result<bool, Broken> {
        let mut at_once = 0;
        for step in 0..STEPS_MAX {
            if done(self) {
                return Ok(true);
            }
            let next = self.next_deadline().filter(|next| *next <= end);
            let Some(next) = next else {
                self.now = end;
                return Ok(false);
            };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            if at_once > STEPS_AT_ONCE_MAX {
                return Err("time stands still".to_owned());
            }
            self.now = self.now.max(next);
            self.step()?;
            if step % STEPS_BETWEEN_CHECKS == 0 {
                self.check_memory()?;
            }
        }
        Err(format!("more than {STEPS_MAX} steps"))
    }
}

impl World {
    fn note(&mut self, notice: &Notice) -> Result<(), Broken> {
        if self.traced {
            eprintln!("{} {notice:?}", self.now);
        }
        match notice {
            Notice::Dropped {
                client_id: Some(client_id),
                reason,
                octets,
                ..
            } => self.ledger.dropped(index_of(client_id), *reason, *octets),
            Notice::Connected {
                client_id,
                binding,
                resumed,
            } => {
                let index = index_of(client_id);
                let watch = &mut self.watches[usize::from(index)];
                watch.session_clean = watch.connect_clean;
                let former = watch.place.replace(*binding);
                let moved = former.is_some_and(|former| former != *binding);
                self.ledger.counts.moves += u64::from(moved);
                if !resumed {
                    self.wipe(index);
                }
            }
            Notice::Asleep { client_id, .. } => {
                self.watches[usize::from(index_of(client_id))].falls_asleep();
            }
            Notice::Ended { client_id, how } => {
                let index = index_of(client_id);
                self.ledger.counts.sent_off += u64::from(*how == Ending::UpstreamOut);
                if *how == Ending::Lost {
                    self.check_loss(index)?;
                    self.ledger.will_due(index);
                }
                if self.watches[usize::from(index)].session_clean && *how != Ending::TakenOver {
                    self.wipe(index);
                }
            }
            Notice::Moved { client_id, binding } => {
                self.watches[usize::from(index_of(client_id))].place = Some(*binding);
                self.ledger.counts.moves += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// No node is lost for what is not its own silence.
    fn check_loss(&self, index: u8) -> Result<(), Broken> {
        let place = self.watches[usize::from(index)].place;
        if place.is_some_and(|place| !self.links.carries(place.link)) {
            return Err(format!(
                "node {index} was lost, and it was its link that is down"
            ));
        }
        let stalled_at = self.stalled_at;
        if stalled_at.is_some_and(|at| self.now.since(at) < FRESH_CHANCE) {
            return Err(format!("node {index} was lost for a stop of the gateway"));
        }
        Ok(())
    }

    /// The engine keeps no more than it may, and what it keeps agrees.
    fn check_memory(&self) -> Result<(), Broken> {
        self.engine.assert_consistent();
        let limits = MailboxLimits::default();
        let full = self.engine.sessions().find(|session| {
            session.mailbox_len > limits.messages_max + 1
                || session.mailbox_bytes > limits.bytes_max + 128
        });
        if let Some(session) = full {
            return Err(format!("too much is kept: {session:?}"));
        }
        let nodes = self.nodes.len();
        if self.engine.sessions_len() > nodes || self.engine.timers_len() > TIMERS_MAX + 3 * nodes {
            return Err(format!(
                "{} sessions and {} timers for {nodes} nodes",
                self.engine.sessions_len(),
                self.engine.timers_len()
            ));
        }
        Ok(())
    }

    /// Nothing has stayed behind but what belongs to nodes that are there.
    fn check_baseline(&self) -> Result<(), Broken> {
        self.check_memory()?;
        let qos0_max = MailboxLimits::default().qos0_max;
        let waits = |waiting: usize| waiting > qos0_max;
        if let Some(session) = self.engine.sessions().find(|it| waits(it.mailbox_len)) {
            return Err(format!("it all came to rest, but for {session:?}"));
        }
        let handshakes = self.engine.handshake_places();
        if !handshakes.is_empty() {
            return Err(format!("handshakes are left at {handshakes:?}"));
        }
        Ok(())
    }

    fn wipe(&mut self, index: u8) {
        self.ledger.wiped(index);
        self.nodes[usize::from(index)].granted.clear();
    }

    /// Returns who must get a publication on `topic`, and at which QoS.
    fn owed(&self, topic: &str) -> BTreeMap<u8, QoS> {
        self.nodes
            .iter()
            .filter_map(|node| {
                let granted = node.granted.iter();
                let matching = granted.filter(|(filter, _)| shared::topics::matches(filter, topic));
                Some((node.index, matching.map(|(_, qos)| *qos).max()?))
            })
            .collect()
    }

    fn publish_down(&mut self) {
        let count = u64::try_from(self.down_topics.len()).unwrap_or(1);
        let place = usize::try_from(self.rng.below(count)).unwrap_or(0);
        let topic = self.down_topics[place].clone();
        let qos = match self.rng.below(4) {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        self.publish_on(&topic, qos);
    }

    fn publish_on(&mut self, topic: &str, qos: QoS) -> usize {
        let padding = usize::try_from(self.rng.below(40)).unwrap_or(0);
        let payload = self.ledger.announce(topic, qos, padding);
        if let Some((qos, id)) = self.broker.publish(self.now, topic, payload, qos) {
            self.ledger.sent(qos, id);
        }
        self.ledger.downlinks_len() - 1
    }

    fn calm_down(&mut self) {
        let quiet = FaultProfile {
            delay: Duration::from_millis(20),
            ..FaultProfile::perfect()
        };
        self.down_at = None;
        self.stall_at = None;
        self.broker.calm_down(self.now);
        self.links.calm_down(self.now);
        for node in &mut self.nodes {
            node.up.set_profile(quiet);
            node.down.set_profile(quiet);
            node.calm_down(self.now);
        }
    }

    fn is_at_rest(&self) -> bool {
        self.nodes.iter().all(Node::is_done)
            && self.broker.is_idle()
            && self.engine.deliveries_held() == 0
            && self.engine.uplinks_pending() == 0
    }

    fn unrest(&self) -> Broken {
        let nodes: Vec<_> = self.nodes.iter().filter(|node| !node.is_done()).collect();
        format!(
            "no rest: {} deliveries held, {} uplinks pending, broker idle: {}, nodes: {nodes:?}",
            self.engine.deliveries_held(),
            self.engine.uplinks_pending(),
            self.broker.is_idle(),
        )
    }

    /// Publishes once more on every topic.
    fn probe(&mut self) {
        for topic in self.down_topics.clone() {
            self.publish_on(&topic, QoS::AtLeastOnce);
        }
    }

    /// Whoever asked for a topic at QoS 1 or above has got its last publication.
    fn check_probe(&self, first: usize) -> Result<(), Broken> {
        for (place, topic) in self.down_topics.iter().enumerate() {
            for node in &self.nodes {
                let sure = node.wants_surely(topic);
                if sure && !self.ledger.has_received(first + place, node.index) {
                    return Err(format!("{topic} does not reach {node:?} any more"));
                }
            }
        }
        Ok(())
    }
}

/// Timers that are no node's: of links, of subscribers that wait, of the upstream.
const TIMERS_MAX: usize = 16;

fn settings(config: &WorldConfig) -> Settings {
    let link = |percent, mtu, forwarders| LinkSettings {
        t_retry: config
            .t_retry
            .percent(if config.roaming { percent } else { 100 }),
        mtu: if config.roaming { mtu } else { 128 },
        forwarders,
        dead_after: config.link_outages.then(|| Duration::from_secs(240)),
        ..LinkSettings::default()
    };
    let forwarders = place::FORWARDERS.parse().expect("a prefix");
    let links = vec![
        link(100, 128, Forwarders::Listed(Vec::new())),
        link(200, 96, Forwarders::Anyone),
        link(100, 128, Forwarders::Anyone),
        link(150, 112, Forwarders::Listed(vec![forwarders])),
    ];
    let predefined = (0..config.nodes)
        .flat_map(|node| [subject::predefined_up(node), subject::predefined_down(node)])
        .map(|(id, name)| (id, Arc::from(name)))
        .collect();
    let mut settings = Settings {
        predefined,
        links,
        // The judge wants every acknowledgement to mean that each taker has it.
        unanswered_max: usize::MAX,
        ..Settings::default()
    };
    if let Some(after) = config.send_off {
        settings.outage_patience = after;
        settings.outage_disconnect = Some(after);
    }
    if config.rules {
        rules(&mut settings);
    }
    settings
}

/// Serves the nodes by rules under which they may do all that they do, one by one.
fn rules(settings: &mut Settings) {
    let filters = |list: &[&str]| Some(list.iter().map(|filter| Arc::from(*filter)).collect());
    let rule = |nodes: &str, priority| {
        Arc::new(NodeRule {
            nodes: Pattern::new(nodes),
            publish: filters(&["up/#", "pre/up/+", "will/+", "+"]),
            subscribe: filters(&["down/all/#", "down/+/+", "pre/down/+", "+"]),
            priority,
            grace: Duration::from_secs(10),
            expect_every: Some(Duration::from_secs(60)),
            awake_messages_max: Some(WAKE_MAX),
            ..NodeRule::default()
        })
    };
    settings.admission.rules = vec![
        rule("node0", Priority::Low),
        rule("node1", Priority::High),
        rule("node?", Priority::Normal),
    ];
    settings.admission.others = None;
    settings.topic_priorities = vec![
        ("down/+/a".into(), Priority::High),
        ("down/all/#".into(), Priority::Low),
    ];
}

fn index_of(client_id: &str) -> u8 {
    client_id
        .strip_prefix("node")
        .and_then(|index| index.parse().ok())
        .unwrap_or_else(|| panic!("no node is called {client_id}"))
}
