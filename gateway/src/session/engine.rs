//! The engine: one machine for all nodes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use shared::rng::Rng;
use shared::time::Instant;
use shared::wire::{Disconnect, Forward, GwInfo, Message, MsgId, PingReq, QoS};

use super::output::{DropReason, Notice, Output, Outputs, Stats};
use super::port::{Binding, LinkEvent, LinkId, Peer, UpstreamEvent, UpstreamRequest};
use super::rate::{Answers, Buckets};
use super::settings::Settings;
use super::slots::{SessionKey, Slots, TimerOwner, Timers};
use super::state::{Session, State};
use super::subscription_tree::{RetainedWish, SubscriptionTree};
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
    pub(super) anonymous: Buckets<(usize, Peer, Option<shared::wire::NodeId>)>,
    pub(super) rng: Rng,
    /// Until when links are busy with what they were given already.
    busy: HashMap<LinkId, Instant>,
    /// Since when the upstream has been away.
    upstream_away_since: Option<Instant>,
}

impl Engine {
    /// Creates an engine without sessions; the upstream counts as away since `now`.
    ///
    /// `rng` chooses the first message id towards each node.
    #[must_use]
    pub fn new(settings: Settings, rng: Rng, now: Instant) -> Self {
        Self {
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
            anonymous: Buckets::default(),
            rng,
            busy: HashMap::new(),
            upstream_away_since: Some(now),
        }
    }

    /// Handles a datagram that came in over a link. What is kept of it is copied: `datagram` may
    /// be a slice of a larger buffer.
    ///
    /// `from` names the link and the peer; its `node_id` is `None`, an encapsulated message
    /// brings its own. Any bytes are fine: what is not a message is dropped and counted.
    pub fn handle_datagram(&mut self, now: Instant, from: Binding, datagram: &[u8]) {
        self.out.stats.datagrams_in += 1;
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
            UpstreamEvent::Connected => self.upstream_away_since = None,
            UpstreamEvent::Disconnected => {
                self.upstream_away_since.get_or_insert(now);
            }
            UpstreamEvent::Published { id, result } => self.published(now, id, result),
            UpstreamEvent::Subscribed { filter, result } => self.subscribed(now, &filter, result),
            UpstreamEvent::Delivery(delivery) => self.deliver(now, delivery),
        }
    }

    /// Handles what a link tells of itself.
    pub fn handle_link(&mut self, _now: Instant, link: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Up | LinkEvent::Down => {
                self.busy.remove(&link);
            }
            LinkEvent::BusyUntil(until) => {
                self.busy.insert(link, until);
            }
        }
    }

    /// Returns when a link is free for what is sent to it now.
    pub(super) fn link_free_at(&self, now: Instant, link: LinkId) -> Instant {
        self.busy.get(&link).map_or(now, |until| now.max(*until))
    }

    /// Handles a request that the upstream gave back because its queue is full.
    ///
    /// The node is not answered and will repeat itself (D-42: code 01 is for what lasts).
    pub fn handle_not_taken(&mut self, request: &UpstreamRequest) {
        match request {
            UpstreamRequest::Publish { id, publication } => {
                let octets = publication.payload.len();
                let owner = self.out.take_uplink(*id);
                let session = owner.and_then(|key| self.slots.get_mut(key));
                let client_id = session.map(|session| {
                    session.uplinks.retain(|uplink| uplink.id != *id);
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
        while let Some((at, owner)) = self.timers.pop_due(now) {
            match owner {
                TimerOwner::Session(key) => self.session_timeout(now, at, key),
                TimerOwner::Handshake(binding) => self.handshake_timeout(now, binding),
                TimerOwner::Retained => self.wishes.retain(|wish| wish.until > now),
            }
        }
    }

    /// Tells the nodes that listen that the gateway goes away. No will is published: the nodes
    /// are well.
    pub fn shutdown(&mut self) {
        for key in self.slots.keys() {
            let Some(session) = self.slots.get(key) else {
                continue;
            };
            if session.listens()
                && let Some(binding) = session.binding
            {
                self.out.transmit(
                    &binding,
                    &Message::Disconnect(Disconnect { duration_s: None }),
                );
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
            Message::Connect(connect) => self.connect(now, binding, &connect),
            Message::WillTopic(target) => self.will_topic(now, binding, target, datagram.len()),
            Message::WillMsg(bytes) => self.will_message(now, binding, bytes, datagram.len()),
            Message::SearchGw(_) => self.search(now, binding),
            Message::PingReq(ping) if !ping.client_id.is_empty() => {
                self.wake(now, binding, ping.client_id, datagram.len());
            }
            Message::Publish(publish) if publish.qos == QoS::MinusOne => {
                self.publish_minus_one(now, binding, &publish, datagram.len());
            }
            Message::Advertise(_)
            | Message::GwInfo(_)
            | Message::ConnAck(_)
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

    /// Notes that a node is there: its supervision restarts, its CONNECT is over.
    fn heard(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.last_connect = None;
        session.unresponsive = false;
        session.restart_supervision(now, &self.settings);
    }

    /// Answers a node that has no session here, at a bounded rate [MQTT-SN 1.2 §6.12] D-28.
    pub(super) fn answer_stranger(&mut self, now: Instant, binding: Binding, octets: usize) {
        self.out
            .dropped(Some(binding), None, DropReason::Stranger, octets);
        if self.strangers.allow(now, binding) {
            self.out.transmit(
                &binding,
                &Message::Disconnect(Disconnect { duration_s: None }),
            );
        } else {
            self.out.stats.replies_withheld += 1;
        }
    }

    fn search(&mut self, now: Instant, binding: Binding) {
        // [MQTT-SN 1.2 §6.1] D-09
        if self.searches.allow(now, binding) {
            let info = GwInfo {
                gw_id: self.settings.gw_id,
                gw_addr: &[],
            };
            self.out.transmit(&binding, &Message::GwInfo(info));
        } else {
            self.out.stats.replies_withheld += 1;
        }
    }

    fn session_timeout(&mut self, now: Instant, at: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        if session.timer != Some(at) {
            return;
        }
        session.timer = None;
        if session.deadline <= now {
            self.silent_too_long(now, key);
        } else {
            session.end_pauses(now);
            self.expire_pending(now, key);
            self.repeat(now, key);
            // The mail of those who do not listen expires as well.
            self.expire_letters(now, key);
            self.pump(now, key);
        }
        self.reschedule(key);
    }

    fn silent_too_long(&mut self, now: Instant, key: SessionKey) {
        match self.slots.get(key).map(|session| session.state) {
            Some(State::Gone) => self.forget(key),
            Some(_) => self.lose(now, key),
            None => {}
        }
    }

    /// Arms the session's timer where the pending one would fire too late.
    pub(super) fn reschedule(&mut self, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let next = session.next_deadline();
        if session.timer.is_none_or(|timer| next < timer) {
            session.timer = Some(next);
            self.timers.push(next, TimerOwner::Session(key));
        }
    }

    /// Sends a message to a session's node; silence where it has no place.
    pub(super) fn send(&mut self, key: SessionKey, message: &Message<'_>) {
        if let Some(binding) = self.slots.get(key).and_then(|session| session.binding) {
            self.out.transmit(&binding, message);
        }
    }

    /// Returns whether the upstream has been away for longer than nodes shall wait (D-36).
    pub(super) fn upstream_out(&self, now: Instant) -> bool {
        self.upstream_away_since
            .is_some_and(|since| now.since(since) > self.settings.outage_patience)
    }

    pub(super) fn new_session(&mut self, client_id: Arc<str>, now: Instant) -> SessionKey {
        let first = MsgId(self.rng.next_u16() >> 1);
        self.slots.insert(Session::new(client_id, now, first))
    }

    pub(super) fn tell(&mut self, key: SessionKey, notice: impl FnOnce(Arc<str>) -> Notice) {
        if let Some(session) = self.slots.get(key) {
            let client_id = Arc::clone(&session.client_id);
            self.out.notice(notice(client_id));
        }
    }
}
