//! What the engine is told at its start: limits, link clocks, pre-defined topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::time::Duration;
use shared::wire::{NodeId, TopicId};

use super::address::{ForwarderRule, Prefix};
use super::policy::{Admission, Priority};
use super::port::{Binding, LinkId, Peer};

/// Everything the engine must know beforehand.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway's id in GWINFO.
    pub gw_id: u8,
    /// The most sessions kept, connected or not; a further CONNECT is answered with code 01.
    pub sessions_max: usize,
    /// The longest client id accepted, in octets (D-14).
    pub client_id_len_max: usize,
    /// How long a node may be silent whose CONNECT has Duration 0 (D-13).
    pub idle_max: Duration,
    /// How long the session of a node with clean = 0 is kept after it has gone.
    pub session_expiry: Duration,
    /// The most topic ids of one session.
    pub topics_max: usize,
    /// The most subscriptions of one session.
    pub subscriptions_max: usize,
    /// The most QoS 1 and 2 publications of one node that wait for the upstream (D-40).
    pub publish_window: usize,
    /// Whether a repetition at QoS 1 is answered and not published again: PUBLISH with DUP = 1
    /// that says the same as one just answered under the same message id (D-39).
    pub dedup_qos1: bool,
    /// How long the upstream may be away before requests are answered with code 01, and the
    /// gateway no longer makes itself known (D-36, A.6).
    pub outage_patience: Duration,
    /// What one node's mailbox may hold.
    pub mailbox: MailboxLimits,
    /// The most downlink publications that the broker is kept waiting for. Brokers send only so
    /// many without an answer (mosquitto: 20), and sleepers must not use them up for everyone.
    /// Beyond it the broker is answered for the oldest, which is then in memory alone.
    pub unanswered_max: usize,
    /// The pre-defined topic ids.
    pub predefined: BTreeMap<TopicId, Arc<str>>,
    /// The links, in the order of their [`LinkId`].
    pub links: Vec<LinkSettings>,
    /// Who may publish at QoS −1, and what (D-34); nobody where empty.
    pub qos_minus_one: Vec<QosMinusOneRule>,
    /// Whether QoS −1 is also taken with a topic name instead of an id (A.15), which some
    /// clients send and the standard does not know.
    pub qos_minus_one_long_names: bool,
    /// How long the upstream may be away before the nodes that listen are sent off (D-36), and
    /// no less than `outage_patience`; `None` keeps them.
    pub outage_disconnect: Option<Duration>,
    /// What becomes of wills (D-33).
    pub wills: WillMode,
    /// The first levels of the topics that the gateway itself publishes on.
    pub status_prefix: Arc<str>,
    /// Whether CONNECT out of sleep leaves flags and will as they were (D-30), for old fleets.
    pub wake_connect_ignores_flags: bool,
    /// Who may do what.
    pub admission: Admission,
    /// Which topics go down first, by filter; the first that matches holds, and a topic without
    /// one is [`Priority::Normal`].
    pub topic_priorities: Vec<(Arc<str>, Priority)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gw_id: 1,
            sessions_max: 10_000,
            client_id_len_max: 64,
            idle_max: Duration::from_secs(24 * 3600),
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            topics_max: 256,
            subscriptions_max: 64,
            publish_window: 4,
            dedup_qos1: false,
            outage_patience: Duration::from_secs(30),
            mailbox: MailboxLimits::default(),
            unanswered_max: 16,
            predefined: BTreeMap::new(),
            links: vec![LinkSettings::default()],
            qos_minus_one: Vec::new(),
            qos_minus_one_long_names: false,
            outage_disconnect: Some(Duration::from_secs(600)),
            wills: WillMode::Gateway,
            status_prefix: "sandgrouse".into(),
            wake_connect_ignores_flags: false,
            admission: Admission::open(),
            topic_priorities: Vec::new(),
        }
    }
}

/// Whether nodes can change their wills (D-33). The gateway keeps and publishes them either
/// way: the mode in which the broker does so needs an upstream connection for each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WillMode {
    /// WILLTOPICUPD and WILLMSGUPD are served.
    #[default]
    Gateway,
    /// Both are refused with code 03; the will that came with CONNECT stands.
    Off,
}

impl Settings {
    /// Returns the settings of a link, the default ones for a link that is not configured.
    pub(super) fn link(&self, link: LinkId) -> &LinkSettings {
        static FALLBACK: LinkSettings = LinkSettings::DEFAULT;
        self.links.get(usize::from(link.0)).unwrap_or(&FALLBACK)
    }

    /// Returns how important the publications of a topic are on their way down.
    pub(super) fn topic_priority(&self, topic: &str) -> Priority {
        self.topic_priorities
            .iter()
            .find(|(filter, _)| shared::topics::matches(filter, topic))
            .map_or(Priority::Normal, |(_, priority)| *priority)
    }

    /// Returns whether anything is taken from a place: its link is there, and its forwarder may
    /// send (D-35).
    pub(super) fn can_hear(&self, place: &Binding) -> bool {
        self.links
            .get(usize::from(place.link.0))
            .is_some_and(|link| place.node_id.is_none() || link.forwarders.allow(place.peer))
    }
}

/// What one node's mailbox may hold (D-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// The most publications.
    pub messages_max: usize,
    /// The most octets, topic names and payloads together.
    pub bytes_max: usize,
    /// The longest time a publication waits.
    pub age_max: Duration,
    /// The most publications at QoS 0; the newest are kept.
    pub qos0_max: usize,
    /// Whether of the publications at QoS 0 only the newest of each topic is kept.
    pub conflate_qos0: bool,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self {
            messages_max: 100,
            bytes_max: 64 * 1024,
            age_max: Duration::from_secs(24 * 3600),
            qos0_max: 20,
            conflate_qos0: false,
        }
    }
}

/// The clocks and limits of one link.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// How long the gateway waits for a node's answer; must exceed the link's worst round trip.
    pub t_retry: Duration,
    /// How often the gateway repeats itself before it takes the node for unresponsive (D-18).
    pub n_retry: u8,
    /// The longest datagram of the link, in octets (D-02, D-41).
    pub mtu: usize,
    /// Who may send encapsulated messages (D-35).
    pub forwarders: Forwarders,
    /// How much longer than it has announced a node may be silent.
    pub tolerance: Tolerance,
    /// How the gateway makes itself known; `None` where it does not (D-09).
    pub discovery: Option<Discovery>,
    /// For how long nothing at all may be heard on the link before the link itself is taken for
    /// dead, and no node of it for lost; `None` where silence says nothing about the link. It
    /// must be shorter than what the nodes' supervision takes, and longer than all of them
    /// together are ever silent.
    pub dead_after: Option<Duration>,
}

/// How much longer than it has announced a node may be silent, in percent of the announced
/// duration [MQTT-SN 1.2 §7.2] D-17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Up to a minute.
    pub short_percent: u32,
    /// Above a minute.
    pub long_percent: u32,
}

impl Tolerance {
    const SHORT_MAX: Duration = Duration::from_secs(60);
    const DEFAULT: Self = Self {
        short_percent: 150,
        long_percent: 110,
    };
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the gateway makes itself known on a link [MQTT-SN 1.2 §6.1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The time between two ADVERTISEs (T_ADV); `None` only answers SEARCHGW.
    pub advertise_every: Option<Duration>,
    /// As a stand-by gateway: advertise only once so many ADVERTISEs of another gateway in a row
    /// have not come (N_ADV).
    pub standby_misses: Option<u8>,
}

impl LinkSettings {
    const DEFAULT: Self = Self {
        t_retry: Duration::from_secs(10),
        n_retry: 3,
        mtu: 1024,
        forwarders: Forwarders::Listed(Vec::new()),
        tolerance: Tolerance::DEFAULT,
        discovery: Some(Discovery {
            advertise_every: None,
            standby_misses: None,
        }),
        dead_after: None,
    };
}

impl LinkSettings {
    /// Returns how long a peer that keeps to the link's clock goes on repeating itself.
    pub(super) const fn repetitions_span(&self) -> Duration {
        self.t_retry.saturating_mul(self.n_retry as u64)
    }

    /// Returns how long a node may be silent that is to be heard every `duration`
    /// [MQTT-SN 1.2 §7.2] D-17: the link's factor above it, but never less than the node's
    /// repetitions take.
    pub(super) fn tolerated(&self, duration: Duration) -> Duration {
        let percent = if duration <= Tolerance::SHORT_MAX {
            self.tolerance.short_percent
        } else {
            self.tolerance.long_percent
        };
        duration
            .percent(percent.into())
            .max(duration + self.repetitions_span())
    }
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Who may send encapsulated messages on a link (D-35).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarders {
    /// Whoever is on the link: right for a serial line, whose far end is the forwarder.
    Anyone,
    /// The peers with these addresses.
    Listed(Vec<ForwarderRule>),
}

impl Forwarders {
    pub(super) fn allow(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Anyone, _) => true,
            (Self::Listed(_), Peer::Line) => false,
            (Self::Listed(list), Peer::Socket(address)) => {
                list.iter().any(|rule| rule.allows(address))
            }
        }
    }
}

/// One entry of the QoS −1 allow list: from where, on which topics, how fast (D-34).
#[derive(Clone, Debug)]
pub struct QosMinusOneRule {
    /// The link it holds for.
    pub link: LinkId,
    /// Which senders on the link.
    pub from: Senders,
    /// The topic filters a publication must match one of.
    pub topics: Vec<Arc<str>>,
    /// Whether the sender may set the retain flag; it is cleared otherwise.
    pub retain: bool,
    /// Publications a second that one source may send in the long run.
    pub rate_per_s: u32,
    /// Publications that one source may send at once.
    pub burst: u32,
}

/// A set of senders on a link: a sender must satisfy both parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// The addresses; empty where the address does not matter.
    pub addresses: Vec<Prefix>,
    /// The nodes behind a forwarder or a shared radio; empty where the node does not matter.
    pub node_ids: Vec<NodeId>,
}

impl Senders {
    /// Returns whether a place is one of theirs.
    #[must_use]
    pub fn contain(&self, binding: &Binding) -> bool {
        let address = self.addresses.is_empty()
            || matches!(binding.peer, Peer::Socket(address)
                if self.addresses.iter().any(|prefix| prefix.contains(address.ip())));
        let node_id = self.node_ids.is_empty()
            || binding
                .node_id
                .is_some_and(|node_id| self.node_ids.contains(&node_id));
        address && node_id
    }
}
