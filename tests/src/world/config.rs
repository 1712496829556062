//! What a world is like: its link, its length, its mishaps.

use shared::fault::{FaultProfile, GilbertElliott};
use shared::time::Duration;

/// The configuration of a [`World`](super::World).
#[derive(Clone, Copy, Debug)]
pub struct WorldConfig {
    /// Printed with the seed where a promise is broken.
    pub name: &'static str,
    /// What each direction of each node's link does to datagrams.
    pub link: FaultProfile,
    /// The nodes.
    pub nodes: u8,
    /// How long the applications publish and the faults last.
    pub work: Duration,
    /// Whether the broker goes away at times.
    pub broker_outages: bool,
    /// Publications the broker refuses as busy, in ppm.
    pub refused_ppm: u32,
    /// Publications and subscriptions the upstream gives back, in ppm.
    pub not_taken_ppm: u32,
    /// Whether applications disconnect, wake early and leave their sleep at times, and nodes
    /// move, reboot, and use clean sessions.
    pub restless: bool,
    /// Whether nodes go from one kind of link to another, each with a clock and an MTU of its
    /// own, and from forwarder to forwarder.
    pub roaming: bool,
    /// Whether links go down at times, with a word to the engine.
    pub link_outages: bool,
    /// How fast links to nodes are, where they are slow.
    pub octets_per_s: Option<u32>,
    /// Whether the gateway stands still at times, and finds everything late.
    pub stalls: bool,
    /// Whether nodes are served by rules: what they may do, who goes first, how much a wake
    /// sends, how often they must be heard.
    pub rules: bool,
    /// How long the broker may be away before the nodes are sent off.
    pub send_off: Option<Duration>,
    /// The retry clock of both sides; above the worst round trip.
    pub t_retry: Duration,
}

impl WorldConfig {
    /// Nothing is lost, and nobody does anything unusual.
    #[must_use]
    pub const fn calm(name: &'static str) -> Self {
        Self {
            name,
            link: FaultProfile {
                delay: Duration::from_millis(20),
                jitter: Duration::from_millis(100),
                ..FaultProfile::perfect()
            },
            nodes: 6,
            work: Duration::from_secs(15 * 60),
            broker_outages: false,
            refused_ppm: 0,
            not_taken_ppm: 0,
            restless: false,
            roaming: false,
            link_outages: false,
            octets_per_s: None,
            stalls: false,
            rules: false,
            send_off: None,
            t_retry: Duration::from_secs(3),
        }
    }

    /// Like [`Self::calm`], with this many datagrams of a hundred lost one by one.
    #[must_use]
    pub const fn lossy(name: &'static str, percent: u32) -> Self {
        let mut config = Self::calm(name);
        config.link.loss_ppm = percent * 10_000;
        config
    }

    /// Adds bursts: nothing gets through for five datagrams on end, a fifth of the time.
    #[must_use]
    pub const fn with_bursts(mut self) -> Self {
        self.link.burst = Some(GilbertElliott {
            enter_ppm: 50_000,
            exit_ppm: 200_000,
            loss_good_ppm: 0,
            loss_bad_ppm: 1_000_000,
        });
        self
    }

    /// Adds copies: one datagram of ten arrives twice.
    #[must_use]
    pub const fn with_copies(mut self) -> Self {
        self.link.duplicate_ppm = 100_000;
        self
    }

    /// Adds reordering: one datagram of ten is held back for `hold`.
    #[must_use]
    pub const fn with_reordering(mut self, hold: Duration) -> Self {
        self.link.reorder_ppm = 100_000;
        self.link.reorder_hold = hold;
        self
    }

    /// Adds a delay of `delay` to each direction, and as much again at random.
    #[must_use]
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.link.delay = delay;
        self.link.jitter = delay;
        self.t_retry = Duration::from_millis(delay.as_millis() * 4 + 1000);
        self
    }

    /// Adds a broker that is away at times, refuses at times, and an upstream that is full at
    /// times.
    #[must_use]
    pub const fn with_broker_trouble(mut self) -> Self {
        self.broker_outages = true;
        self.refused_ppm = 20_000;
        self.not_taken_ppm = 50_000;
        self
    }

    /// Adds nodes that move, reboot, disconnect, and use clean sessions.
    #[must_use]
    pub const fn with_restless_nodes(mut self) -> Self {
        self.restless = true;
        self
    }

    /// Adds nodes that go from link to link.
    #[must_use]
    pub const fn with_roaming_nodes(mut self) -> Self {
        self.restless = true;
        self.roaming = true;
        self
    }

    /// Adds links that go down at times.
    #[must_use]
    pub const fn with_link_outages(mut self) -> Self {
        self.link_outages = true;
        self
    }

    /// Makes the way to the nodes slow, with a retry clock above what queues there.
    #[must_use]
    pub const fn at_speed(mut self, octets_per_s: u32, t_retry: Duration) -> Self {
        self.octets_per_s = Some(octets_per_s);
        self.t_retry = t_retry;
        self
    }

    /// Adds a gateway that stands still at times.
    #[must_use]
    pub const fn with_stalls(mut self) -> Self {
        self.stalls = true;
        self
    }

    /// Adds rules of admission, and priorities.
    #[must_use]
    pub const fn with_rules(mut self) -> Self {
        self.rules = true;
        self
    }

    /// Has nodes sent off when the broker has been away for so long.
    #[must_use]
    pub const fn sending_off(mut self, after: Duration) -> Self {
        self.broker_outages = true;
        self.send_off = Some(after);
        self
    }

    /// Makes the link another one, with a retry clock above its worst round trip.
    #[must_use]
    pub const fn over(mut self, link: FaultProfile, t_retry: Duration) -> Self {
        self.link = link;
        self.t_retry = t_retry;
        self
    }

    /// Returns whether copies that the network makes may come when all is over: then an
    /// exchange at QoS 2 may happen twice.
    #[must_use]
    pub const fn has_late_copies(&self) -> bool {
        self.link.reorder_ppm > 0 && self.link.duplicate_ppm > 0
    }

    /// Returns whether a first transmission may come after later requests of its node.
    ///
    /// A CONNECT of a clean session that does so ends that session behind the node's back, and
    /// an UNSUBSCRIBE undoes the SUBSCRIBE after it; MQTT-SN 1.2 has nothing to tell by. Nodes
    /// use neither in such a world.
    #[must_use]
    pub const fn has_late_requests(&self) -> bool {
        let late = self.link.reorder_hold.as_millis() >= self.t_retry.as_millis();
        self.has_late_copies() || (self.link.reorder_ppm > 0 && late)
    }
}
