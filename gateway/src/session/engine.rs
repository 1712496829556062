//! The engine: one machine for all nodes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use shared::rng::Rng;
use shared::time::Instant;
use shared::wire::{Forward, Message, MsgId, PingReq, QoS};

use super::links::Links;
use super::outage::UpstreamState;
use super::output::{DropReason, Notice, Output, Outputs, Stats};
use super::policy::Priority;
use super::port::{Binding, LinkId, Peer, UpstreamEvent, UpstreamRequest};
use super::quota::Meters;
use super::rate::{Answers, Buckets, Refusals};
use super::settings::Settings;
use super::slots::{SessionKey, Slots, TimerOwner, Timers};
use super::state::Session;
use super::subscription_tree::{RetainedWish, SubscriptionTree};
use super::watches::Watches;
use super::will::Handshake;

/// The gateway's protocol machine, sans-IO.
///
/// 1. Feed one input: [`Self::handle_datagram`], [`Self::handle_upstream`] or
///    [`Self::handle_timeout`].
/// 2. Drain [`Self::poll_output`] until it is empty; the order of the outputs is part of their
///    meaning. A request that the upstream could not take goes to [`Self::handle_not_taken`].
/// 3. Sleep until [`Self::poll_timeout`] or the next input.
///
/// A node is answered for a QoS 1 or 2 publication only after the broker has taken it, and the
/// broker for one to a node only after the node has it: nothing acknowledged on either side is
/// held in memory alone.
#[derive(Debug)]
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) slots: Slots,
    pub(super) timers: Timers,
    pub(super) out: Outputs,
    pub(super) tree: SubscriptionTree,
    pub(super) wishes: Vec<RetainedWish>,
    /// Who waits for the broker's answer to which filter, one entry for each answer to come;
    /// `None` where the node has gone or no longer waits.
    pub(super) subscribing: HashMap<Arc<str>, VecDeque<Option<SessionKey>>>,
    pub(super) handshakes: HashMap<Binding, Handshake>,
    pub(super) strangers: Answers<Binding>,
    pub(super) searches: Answers<Binding>,
    pub(super) refusals: Refusals<Binding>,
    /// What nodes without a session have published of late.
    pub(super) meters: Meters,
    /// When no session was found that could make room for a node, and of which priority.
    pub(super) none_displaceable: Option<(Instant, Priority)>,
    pub(super) searches_all: Answers<LinkId>,
    pub(super) anonymous: Buckets<(usize, Peer, Option<shared::wire::NodeId>)>,
    pub(super) rng: Rng,
    pub(super) retained_timer: Option<Instant>,
    pub(super) links: Links,
    pub(super) watches: Watches,
    pub(super) upstream: UpstreamState,
    /// When it was last told that the engine is served far too late.
    pub(super) late_told: Option<Instant>,
}

impl Engine {
    /// Creates an engine without sessions; the upstream counts as away since `now`.
    ///
    /// `rng` chooses the first message id towards each node, and when to advertise.
    #[must_use]
    pub fn new(settings: Settings, rng: Rng, now: Instant) -> Self {
        let mut engine = Self {
            settings,
            slots: Slots::default(),
            timers: Timers::default(),
            out: Outputs::default(),
            tree: SubscriptionTree::default(),
            wishes: Vec::new(),
            subscribing: HashMap::new(),
            handshakes: HashMap::new(),
            strangers: Answers::default(),
            searches: Answers::default(),
            refusals: Refusals::default(),
            meters: Meters::default(),
            none_displaceable: None,
            searches_all: Answers::default(),
            anonymous: Buckets::default(),
            rng,
            retained_timer: None,
            links: Links::default(),
            watches: Watches::default(),
            upstream: UpstreamState::away(now),
            late_told: None,
        };
        engine.arrange(now);
        engine
    }

    /// Goes by the settings as they are now, in what they ask for without a node.
    pub(super) fn arrange(&mut self, now: Instant) {
        self.arrange_links(now);
        self.arrange_watches(now);
        self.arm_outage();
    }

    /// Handles a datagram that came in over a link. What is kept of it is copied: `datagram` may
    /// be a slice of a larger buffer.
    ///
    /// `from` names the link and the peer; its `node_id` is `None`, an encapsulated message
    /// brings its own. Any bytes are fine: what is not a message is dropped and counted.
    pub fn handle_datagram(&mut self, now: Instant, from: Binding, datagram: &[u8]) {
        self.out.stats.datagrams_in += 1;
        self.link_heard(now, from.link);
        match Message::parse(datagram) {
            Ok(Message::Forward(forward)) => self.unwrap(now, from, forward, datagram),
            Ok(message) => self.handle_message(now, from, message, datagram),
            Err(error) => {
                let reason = DropReason::Malformed(error);
                self.out.dropped(Some(from), None, reason, datagram.len());
            }
        }
    }

    /// Handles what the upstream tells.
    pub fn handle_upstream(&mut self, now: Instant, event: UpstreamEvent) {
        match event {
            UpstreamEvent::Connected => self.upstream_connected(now),
            UpstreamEvent::Disconnected => self.upstream_disconnected(now),
            UpstreamEvent::Published { id, result } => {
                if !self.status_answered(now, id, result) {
                    self.published(now, id, result);
                }
            }
            UpstreamEvent::Subscribed { filter, result } => self.subscribed(now, &filter, result),
            UpstreamEvent::Delivery(delivery) => self.deliver(now, delivery),
        }
    }

    /// Handles a request that the upstream gave back because its queue is full.
    ///
    /// The node is not answered and will repeat itself (D-42: code 01 is for what lasts).
    pub fn handle_not_taken(&mut self, request: &UpstreamRequest) {
        match request {
            UpstreamRequest::Publish { id, publication } => {
                let octets = publication.payload.len();
                self.status_not_taken(*id);
                let owner = self.out.take_uplink(*id);
                let session = owner.and_then(|key| self.slots.get_mut(key));
                let client_id = session.map(|session| {
                    let before = session.uplinks.len();
                    session.uplinks.retain(|uplink| uplink.id != *id);
                    if session.uplinks.len() < before {
                        session.meter.refund(publication.topic.len() + octets);
                    }
                    Arc::clone(&session.client_id)
                });
                self.out
                    .dropped(None, client_id.as_ref(), DropReason::UpstreamFull, octets);
            }
            UpstreamRequest::Subscribe { filter, .. } => self.forget_pending(filter),
            UpstreamRequest::Unsubscribe { filter } => {
                self.out
                    .dropped(None, None, DropReason::UpstreamFull, filter.len());
            }
            UpstreamRequest::Acknowledge(_) => {
                self.out.dropped(None, None, DropReason::UpstreamFull, 0);
            }
        }
    }

    /// Handles the deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note_lateness(now);
        self.meet_deadlines(now);
    }

    pub(super) fn meet_deadlines(&mut self, now: Instant) {
        while let Some(owner) = self.timers.pop_due(now) {
            match owner {
                TimerOwner::Session(key) => self.session_timeout(now, key),
                TimerOwner::Handshake(binding) => self.handshake_timeout(now, binding),
                TimerOwner::Retained => self.retained_timeout(now),
                TimerOwner::Link(link) => self.link_timeout(now, link),
                TimerOwner::Outage => self.outage_timeout(now),
                TimerOwner::Watch(key) => self.watch_timeout(now, key),
            }
        }
    }

    /// Returns the next thing to do, in order; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.poll()
    }

    /// Returns when [`Self::handle_timeout`] is due; too early is harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns the numbers of the work so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.out.stats
    }

    /// Returns how many sessions are kept, connected or not.
    #[must_use]
    pub fn sessions_len(&self) -> usize {
        self.slots.len()
    }

    /// Returns how many publications of nodes wait for the broker's answer.
    #[must_use]
    pub fn uplinks_pending(&self) -> usize {
        self.out.uplinks_pending()
    }

    /// Returns how many downlink publications the broker waits for an answer to.
    #[must_use]
    pub fn deliveries_held(&self) -> usize {
        self.out.deliveries_held()
    }

    fn unwrap(&mut self, now: Instant, from: Binding, forward: Forward<'_>, datagram: &[u8]) {
        // [MQTT-SN 1.2 §5.5] D-35
        let allowed = self.settings.link(from.link).forwarders.allow(from.peer);
        let node_id = shared::wire::NodeId::new(forward.node_id);
        let (true, Some(node_id)) = (allowed, node_id) else {
            self.out
                .dropped(Some(from), None, DropReason::NotAForwarder, datagram.len());
            return;
        };
        let binding = Binding {
            node_id: Some(node_id),
            ..from
        };
        match Message::parse(forward.inner) {
            Ok(Message::Forward(_)) => {
                let reason = DropReason::NotAForwarder;
                self.out
                    .dropped(Some(binding), None, reason, datagram.len());
            }
            Ok(message) => self.handle_message(now, binding, message, datagram),
            Err(error) => {
                let reason = DropReason::Malformed(error);
                self.out
                    .dropped(Some(binding), None, reason, datagram.len());
            }
        }
    }

    fn handle_message(
        &mut self,
        now: Instant,
        binding: Binding,
        message: Message<'_>,
        datagram: &[u8],
    ) {
        match message {
            Message::Connect(connect) => self.connect(now, binding, &connect, datagram.len()),
            Message::WillTopic(target) => self.will_topic(now, binding, target, datagram.len()),
            Message::WillMsg(bytes) => self.will_message(now, binding, bytes, datagram.len()),
            Message::SearchGw(search) => self.search(now, binding, search, datagram.len()),
            Message::Advertise(advertise) => {
                self.hear_advertise(now, binding, advertise, datagram.len());
            }
            Message::GwInfo(info) => self.hear_info(now, binding, &info, datagram.len()),
            Message::PingReq(ping) if !ping.client_id.is_empty() => {
                self.wake(now, binding, ping.client_id, datagram.len());
            }
            Message::Publish(publish)
                if publish.qos == QoS::MinusOne && self.slots.by_binding(&binding).is_none() =>
            {
                self.publish_minus_one(now, binding, &publish, datagram.len());
            }
            Message::ConnAck(_)
            | Message::WillTopicReq
            | Message::WillMsgReq
            | Message::SubAck(_)
            | Message::UnsubAck(_)
            | Message::PingResp
            | Message::WillTopicResp(_)
            | Message::WillMsgResp(_)
            | Message::Forward(_) => {
                self.out
                    .dropped(Some(binding), None, DropReason::Unexpected, datagram.len());
            }
            _ => match self.slots.by_binding(&binding) {
                Some(key) => self.handle_session(now, key, message),
                None => self.answer_stranger(now, binding, datagram.len()),
            },
        }
    }

    /// Handles a message of a node that has a session and is bound to it.
    fn handle_session(&mut self, now: Instant, key: SessionKey, message: Message<'_>) {
        self.heard(now, key);
        match message {
            Message::Register(register) => self.register(key, &register),
            Message::Publish(publish) => self.publish(now, key, &publish),
            Message::PubRel(msg_id) => self.release(now, key, msg_id),
            Message::Subscribe(subscribe) => self.subscribe(now, key, &subscribe),
            Message::Unsubscribe(unsubscribe) => self.unsubscribe(key, &unsubscribe),
            Message::RegAck(ack) => self.register_acknowledged(now, key, ack),
            Message::PubAck(ack) => self.publish_acknowledged(now, key, ack),
            Message::PubRec(msg_id) => self.publish_received(now, key, msg_id),
            Message::PubComp(msg_id) => self.publish_completed(key, msg_id),
            Message::PingReq(PingReq { .. }) => self.ping(now, key),
            Message::Disconnect(disconnect) => self.disconnect(now, key, disconnect),
            Message::WillTopicUpd(target) => self.will_topic_update(key, target),
            Message::WillMsgUpd(bytes) => self.will_message_update(key, bytes),
            _ => {}
        }
        self.pump(now, key);
        self.reschedule(key);
    }

    /// Sends a message to a session's node; silence where it has no place.
    pub(super) fn send(&mut self, key: SessionKey, message: &Message<'_>) {
        if let Some(session) = self.slots.get(key)
            && let Some(binding) = session.binding
        {
            self.out
                .transmit_as(session.rule.priority, &binding, message);
        }
    }

    pub(super) fn new_session(&mut self, client_id: Arc<str>, now: Instant) -> SessionKey {
        let first = MsgId(self.rng.next_u16() >> 1);
        let mut session = Session::new(client_id, now, first);
        session.meter = self.meters.take(&session.client_id);
        self.slots.insert(session)
    }

    pub(super) fn tell(&mut self, key: SessionKey, notice: impl FnOnce(Arc<str>) -> Notice) {
        if let Some(session) = self.slots.get(key) {
            let client_id = Arc::clone(&session.client_id);
            self.out.notice(notice(client_id));
        }
    }
}
