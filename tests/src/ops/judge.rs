//! What must hold after every operation, whatever it was.
//!
//! The judge reads what the engine is given and what it says, as the links and the upstream
//! would, and the little that it remembers of each node is what the notices tell. Where that
//! does not show enough it asks [`Engine::sights`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use gateway::session::{
    Binding, DeliveryId, DropReason, Engine, Forwarders, LinkEvent, LinkId, LinkSettings, Notice,
    Output, Peer, PublicationId, Settings, Sight, UpstreamEvent,
};
use shared::time::Instant;
use shared::wire::{Message, MsgId, NodeId, QoS, TopicRef};

mod down;
mod names;
mod up;

/// What the engine is given.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Datagram(Binding, Bytes),
    Upstream(UpstreamEvent),
    Link(LinkId, LinkEvent),
    Settings(Box<Settings>),
    Timeout,
    Shutdown,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Judge {
    settings: Settings,
    limits: Limits,
    now: Instant,
    cause: Cause,
    /// Where something was heard that may be answered.
    spoken: BTreeSet<Binding>,
    nodes: BTreeMap<Arc<str>, Node>,
    /// When strangers were told that they are, or where the gateway is.
    told_off: BTreeMap<Binding, Instant>,
    told_where: BTreeMap<Binding, Instant>,
    uplinks: BTreeMap<PublicationId, Uplink>,
    last_publication: PublicationId,
    /// QoS 2 publications that the broker has taken and their node has not released.
    received: BTreeMap<(Arc<str>, MsgId), Said>,
    /// Those of them that were released; a late repetition is answered even so.
    released: BTreeSet<(Arc<str>, MsgId)>,
    /// QoS 1 publications that the broker has taken at some time.
    taken: BTreeSet<(Arc<str>, MsgId)>,
    /// Deliveries, and whether they were acknowledged.
    deliveries: BTreeMap<DeliveryId, bool>,
    /// What the broker has subscribed us to.
    filters: BTreeSet<Arc<str>>,
    /// Whether a filter may stay behind because the upstream gave its end back.
    leaks: bool,
}

/// What the outputs that follow come from.
#[derive(Clone, Debug, Default)]
struct Cause {
    /// A message, where it is one that may be served.
    heard: Option<(Binding, Bytes)>,
    /// The node that was bound there.
    bound: Option<Arc<str>>,
    /// A publication that the broker has taken.
    taken: Option<Uplink>,
    datagrams: u32,
    requests: u32,
    is_datagram: bool,
    is_configuration: bool,
    /// Whether a link that counted as dead is heard by this: everyone on it goes on.
    revives: bool,
}

#[derive(Clone, Debug)]
struct Uplink {
    client_id: Arc<str>,
    msg_id: MsgId,
    said: Said,
}

/// What a publication says, by which it is known under its message id.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    qos: QoS,
    topic: TopicRef,
    payload: Vec<u8>,
}

/// How much may be kept. A limit that is lowered makes nobody lose what is there already.
#[derive(Clone, Copy, Debug)]
struct Limits {
    sessions: usize,
    letters: usize,
    bytes: usize,
    topics: usize,
    granted: usize,
    uplinks: usize,
    unanswered: usize,
    /// Whether repetitions at QoS 1 may be known.
    dedup_qos1: bool,
}

/// What is known of a node from outside.
#[derive(Clone, Debug)]
struct Node {
    binding: Option<Binding>,
    radio: Radio,
    /// The exchange that its PUBLISH or PUBREL has opened and nothing has ended.
    exchange: Option<MsgId>,
    /// The one that was open when the node connected anew or something was dropped; it may go
    /// on where it was.
    resumed: Option<MsgId>,
    /// The REGISTER that was not answered.
    register: Option<MsgId>,
    /// Pings of it that may still be answered.
    pings: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Radio {
    Active,
    Asleep,
    Awake,
    Gone,
}

impl Judge {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            limits: Limits::of(settings),
            now: Instant::ZERO,
            cause: Cause::default(),
            spoken: BTreeSet::new(),
            nodes: BTreeMap::new(),
            told_off: BTreeMap::new(),
            told_where: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            last_publication: PublicationId(0),
            received: BTreeMap::new(),
            released: BTreeSet::new(),
            taken: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            filters: BTreeSet::new(),
            leaks: false,
        }
    }

    /// Takes note of what the engine is about to be given; returns what meets what.
    pub(super) fn before(
        &mut self,
        now: Instant,
        input: &Input,
        engine: &Engine,
    ) -> Vec<(&'static str, &'static str)> {
        self.now = now;
        self.cause = Cause::default();
        match input {
            Input::Datagram(from, datagram) => {
                self.cause.is_datagram = true;
                let Some((binding, inner)) = self.speaker(*from, datagram) else {
                    return vec![("malformed", "any")];
                };
                self.spoken.insert(binding);
                self.cause.bound = self.bound(&binding);
                self.cause.heard = Some((binding, inner.clone()));
                let Ok(message) = Message::parse(&inner) else {
                    return vec![("malformed", "any")];
                };
                self.heard(binding, &message);
                meetings(&binding, &message, engine)
            }
            Input::Upstream(event) => {
                self.told(event);
                vec![(names::event(event), "any")]
            }
            Input::Settings(settings) => {
                self.cause.is_configuration = true;
                self.limits.widen(settings);
                self.settings = Settings::clone(settings);
                vec![("settings", "any")]
            }
            Input::Shutdown => vec![("shutdown", "any")],
            Input::Link(..) => vec![("link", "any")],
            Input::Timeout => vec![("timeout", "any")],
        }
    }

    /// Judges one output.
    pub(super) fn output(&mut self, output: &Output) -> Result<(), String> {
        match output {
            Output::Transmit {
                binding, datagram, ..
            } => self.said(*binding, datagram),
            Output::Broadcast { link, datagram, .. } => self.broadcast(*link, datagram),
            Output::Upstream(request) => self.requested(request),
            Output::Notice(notice) => {
                self.noticed(notice);
                Ok(())
            }
        }
    }

    /// Judges what has become of the sessions.
    pub(super) fn after(&mut self, engine: &Engine) -> Result<(), String> {
        let sights = engine.sights();
        for sight in &sights {
            self.compare(sight)?;
            self.check_bounds(sight)?;
        }
        let kept: BTreeSet<&Arc<str>> = sights.iter().map(|sight| &sight.client_id).collect();
        let lost: Vec<Arc<str>> = self
            .nodes
            .keys()
            .filter(|id| !kept.contains(id))
            .cloned()
            .collect();
        for client_id in lost {
            if self.nodes[&client_id].radio != Radio::Gone {
                return Err(format!(
                    "the session of {client_id} has gone without a notice"
                ));
            }
            self.nodes.remove(&client_id);
            self.wipe(&client_id);
        }
        if sights.len() > self.limits.sessions {
            return Err(format!("{} sessions", sights.len()));
        }
        if engine.deliveries_held() > self.limits.unanswered {
            return Err(format!("{} deliveries held", engine.deliveries_held()));
        }
        let owners = sights.len() + engine.handshake_places().len();
        if engine.timers_len() > TIMERS_FREE + owners * TIMERS_EACH {
            return Err(format!(
                "{} timers for {owners} owners",
                engine.timers_len()
            ));
        }
        Ok(())
    }

    /// Returns how many timers may be left when all nodes are gone.
    pub(super) const fn timers_at_rest(&self) -> usize {
        TIMERS_FREE
    }

    /// Judges what is left when all nodes are gone.
    pub(super) fn at_rest(&self) -> Result<(), String> {
        if let Some((id, _)) = self.deliveries.iter().find(|(_, done)| !**done) {
            return Err(format!("{id:?} was never acknowledged"));
        }
        if !self.leaks && !self.filters.is_empty() {
            return Err(format!("still subscribed to {:?}", self.filters));
        }
        Ok(())
    }

    /// Returns where a datagram is heard and the bare message; `None` where it is to be dropped
    /// without a word.
    fn speaker(&self, from: Binding, datagram: &Bytes) -> Option<(Binding, Bytes)> {
        let Message::Forward(forward) = Message::parse(datagram).ok()? else {
            return Some((from, datagram.clone()));
        };
        let allowed = match &self.link(from.link).forwarders {
            Forwarders::Anyone => true,
            Forwarders::Listed(rules) => match from.peer {
                Peer::Socket(address) => rules.iter().any(|rule| rule.allows(address)),
                Peer::Line => false,
            },
        };
        let node_id = NodeId::new(forward.node_id).filter(|_| allowed)?;
        let inner = Message::parse(forward.inner).ok()?;
        let nested = matches!(inner, Message::Forward(_));
        let binding = Binding {
            node_id: Some(node_id),
            ..from
        };
        (!nested).then(|| (binding, datagram.slice_ref(forward.inner)))
    }

    fn link(&self, link: LinkId) -> LinkSettings {
        let configured = self.settings.links.get(usize::from(link.0));
        configured.cloned().unwrap_or_default()
    }

    fn bound(&self, binding: &Binding) -> Option<Arc<str>> {
        let mut nodes = self.nodes.iter();
        let (client_id, _) = nodes.find(|(_, node)| node.binding == Some(*binding))?;
        Some(Arc::clone(client_id))
    }

    fn node_at(&mut self, binding: &Binding) -> Option<&mut Node> {
        let mut nodes = self.nodes.values_mut();
        nodes.find(|node| node.binding == Some(*binding))
    }

    fn noticed(&mut self, notice: &Notice) {
        match notice {
            Notice::Connected {
                client_id,
                binding,
                resumed,
            } => {
                if !resumed {
                    self.wipe(client_id);
                }
                let node = self
                    .nodes
                    .entry(Arc::clone(client_id))
                    .or_insert(Node::GONE);
                *node = Node {
                    binding: Some(*binding),
                    radio: Radio::Active,
                    resumed: node.exchange.or(node.resumed).filter(|_| *resumed),
                    ..Node::GONE
                };
            }
            Notice::Asleep { client_id, .. } => {
                if let Some(node) = self.nodes.get_mut(client_id) {
                    node.radio = Radio::Asleep;
                }
            }
            Notice::LinkHeard { .. } => self.cause.revives = true,
            Notice::Moved { client_id, binding } => {
                // Who sleeps may have lost its place to another.
                if let Some(former) = self.node_at(binding)
                    && former.radio == Radio::Asleep
                {
                    former.binding = None;
                }
                if let Some(node) = self.nodes.get_mut(client_id) {
                    node.binding = Some(*binding);
                }
            }
            Notice::Ended { client_id, .. } => {
                if let Some(node) = self.nodes.get_mut(client_id) {
                    *node = Node {
                        resumed: node.exchange.or(node.resumed),
                        ..Node::GONE
                    };
                }
            }
            Notice::Dropped {
                client_id: Some(client_id),
                reason,
                ..
            } if ends_exchange(*reason) => {
                if let Some(node) = self.nodes.get_mut(client_id) {
                    // Or it was another one, and the exchange goes on.
                    node.resumed = node.exchange.or(node.resumed);
                    (node.exchange, node.register) = (None, None);
                }
            }
            _ => {}
        }
    }

    /// A session has lost its memory.
    fn wipe(&mut self, client_id: &Arc<str>) {
        self.received.retain(|(owner, _), _| owner != client_id);
        self.released.retain(|(owner, _)| owner != client_id);
        self.taken.retain(|(owner, _)| owner != client_id);
        self.uplinks
            .retain(|_, uplink| uplink.client_id != *client_id);
    }

    /// Compares what the notices told with what the session is.
    fn compare(&mut self, sight: &Sight) -> Result<(), String> {
        let client_id = &sight.client_id;
        let Some(node) = self.nodes.get_mut(client_id) else {
            return Err(format!("nothing told of the session of {client_id}"));
        };
        if node.radio == Radio::Awake && sight.state == "asleep" {
            // D-24: it did not answer, and is not told so.
            node.radio = Radio::Asleep;
        }
        let told = match node.radio {
            Radio::Active => "active",
            Radio::Asleep => "asleep",
            Radio::Awake => "awake",
            Radio::Gone => "gone",
        };
        if told != sight.state || node.binding != sight.binding {
            return Err(format!(
                "{client_id} was told to be {told}, {node:?}, and is {sight:?}"
            ));
        }
        Ok(())
    }

    fn check_bounds(&self, sight: &Sight) -> Result<(), String> {
        let limits = &self.limits;
        let bounds = [
            // What is in flight, or was and came back, is beside the mailbox.
            ("letters", sight.letters, limits.letters + 1),
            (
                "bytes",
                sight.bytes,
                limits.bytes.saturating_add(LETTER_LEN_MAX),
            ),
            ("topics", sight.topics, limits.topics),
            ("granted", sight.granted.len(), limits.granted),
            ("asked", sight.asked, PENDING_MAX),
            ("uplinks", sight.uplinks, limits.uplinks),
        ];
        for (what, count, max) in bounds {
            if count > max {
                return Err(format!("{} has {count} {what} of {max}", sight.client_id));
            }
        }
        match sight
            .granted
            .iter()
            .find(|filter| !self.filters.contains(*filter))
        {
            Some(filter) if !self.leaks => Err(format!(
                "{} is subscribed to {filter}, the gateway is not",
                sight.client_id
            )),
            _ => Ok(()),
        }
    }
}

impl Limits {
    const fn of(settings: &Settings) -> Self {
        Self {
            sessions: settings.sessions_max,
            letters: settings.mailbox.messages_max,
            bytes: settings.mailbox.bytes_max,
            topics: settings.topics_max,
            granted: settings.subscriptions_max,
            uplinks: settings.publish_window,
            unanswered: settings.unanswered_max,
            dedup_qos1: settings.dedup_qos1,
        }
    }

    fn widen(&mut self, settings: &Settings) {
        let other = Self::of(settings);
        *self = Self {
            sessions: self.sessions.max(other.sessions),
            letters: self.letters.max(other.letters),
            bytes: self.bytes.max(other.bytes),
            topics: self.topics.max(other.topics),
            granted: self.granted.max(other.granted),
            uplinks: self.uplinks.max(other.uplinks),
            unanswered: self.unanswered.max(other.unanswered),
            dedup_qos1: self.dedup_qos1 || other.dedup_qos1,
        };
    }
}

impl Node {
    const GONE: Self = Self {
        binding: None,
        radio: Radio::Gone,
        exchange: None,
        resumed: None,
        register: None,
        pings: 0,
    };
}

/// Returns whether the publication in flight may have been dropped.
const fn ends_exchange(reason: DropReason) -> bool {
    !matches!(
        reason,
        DropReason::Malformed(_)
            | DropReason::Unexpected
            | DropReason::Stranger
            | DropReason::NoMsgId
            | DropReason::Window
            | DropReason::UpstreamFull
            | DropReason::UpstreamRefused
            | DropReason::MailboxFull
    )
}

/// The longest topic and payload of a delivery.
const LETTER_LEN_MAX: usize = 1200;

/// The most SUBSCRIBEs of a node that wait for the broker.
const PENDING_MAX: usize = 4;

/// Timers that belong to the engine, or to subscribers who wait for retained messages.
const TIMERS_FREE: usize = 64;

/// Timers that belong to one session or handshake.
const TIMERS_EACH: usize = 3;

/// Returns the states that a message meets.
fn meetings(
    binding: &Binding,
    message: &Message<'_>,
    engine: &Engine,
) -> Vec<(&'static str, &'static str)> {
    let what = names::message(message);
    let sights = engine.sights();
    let mut met = Vec::new();
    if engine.handshake_places().contains(binding) {
        met.push((what, "handshake"));
    }
    let Some(sight) = sights.iter().find(|sight| sight.binding == Some(*binding)) else {
        met.push((what, "stranger"));
        return met;
    };
    met.push((what, sight.state));
    if let Some(stage) = sight.in_flight {
        met.push((what, stage));
    }
    let flags = [
        (sight.unresponsive, "unresponsive"),
        (sight.paused, "paused"),
        (sight.will, "with a will"),
        (sight.uplinks > 0, "uplinks"),
        (sight.asked > 0, "subscribing"),
    ];
    let flags = flags.into_iter().filter(|(holds, _)| *holds);
    met.extend(flags.map(|(_, flag)| (what, flag)));
    met
}

#[cfg(test)]
mod tests;
