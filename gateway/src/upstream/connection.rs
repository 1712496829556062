//! One connection by rumqttc, with what rumqttc 0.25 needs to be kept from.
//!
//! - Its packet ids run in a ring as long as the window and skip none in use: a PUBLISH whose id
//!   is still open stops everything ("collision"), one whose id is open as PUBREL, and every
//!   SUBSCRIBE, is sent under an id in use. Here the next id is always known beforehand, and ids
//!   in use are skipped.
//! - A refusing PUBREC or PUBCOMP takes a place in its window for ever: the count is made anew.
//! - A PUBREL for a publication received on an earlier connection ends the connection, which
//!   the next one repeats: every packet id counts as received from the start.
//! - The window also holds back acknowledgements and subscriptions: ours is one smaller, so
//!   that it never closes.
//! - Cancelling `poll` can lose a request it has taken: it is only cancelled while none is on
//!   its way ([`Connection::is_idle`]).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Filter, Packet, PubRel, Publish, RetainForwardRule, Unsubscribe,
};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, MqttState, Request,
};
use shared::wire::QoS;
use thiserror::Error;

use super::deliveries::Ack;
use super::limits::{BrokerLimits, to_mqtt};
use super::subscriptions::Asked;
use crate::session::Publication;

/// A connection, from CONNECT to its end.
pub(super) struct Connection {
    client: AsyncClient,
    eventloop: EventLoop,
    origin: Origin,
    connack: Option<ConnAck>,
    limits: BrokerLimits,
    ids: PacketIds,
    avoided: BTreeSet<u16>,
    leaked: bool,
    /// Requests for what an earlier connection began, which rumqttc takes first.
    resumed: VecDeque<Sent>,
    /// Requests in rumqttc's channel.
    queued: VecDeque<Sent>,
}

/// What every connection starts from.
#[derive(Clone)]
pub(super) struct Origin {
    options: MqttOptions,
    state: MqttState,
    inflight_max: u16,
}

/// A request that has left, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A PUBLISH with a packet id.
    Publish(u16),
    /// A QoS 0 PUBLISH, and what it took of the queue.
    Fleeting(usize),
    /// A SUBSCRIBE.
    Subscribe(u16),
    /// An UNSUBSCRIBE.
    Unsubscribe(u16),
    /// A PUBACK or PUBREC.
    Ack(u16),
    /// A PUBREL for an exchange of an earlier connection.
    Release(u16),
    /// A DISCONNECT.
    Disconnect,
}

/// rumqttc did something other than it was asked; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the MQTT client lost count of its packets")]
pub(super) struct OutOfStep;

impl Origin {
    /// Prepares for connections with `options` and at most `inflight_max` open exchanges.
    pub(super) fn new(mut options: MqttOptions, inflight_max: u16) -> Self {
        let ids_max = inflight_max.saturating_add(1);
        options.set_outgoing_inflight_upper_limit(ids_max);
        let mut state = MqttState::new(ids_max, true);
        for packet_id in 1..=u16::MAX {
            let mut publish = empty_publish(QoS::ExactlyOnce);
            publish.pkid = packet_id;
            // It only notes the packet id: nothing in it can fail.
            let _ = state.handle_incoming_packet(Packet::Publish(publish));
            state.events.clear();
        }
        Self {
            options,
            state,
            inflight_max,
        }
    }
}

impl Connection {
    /// Creates a connection that is not made yet.
    pub(super) fn new(origin: &Origin) -> Self {
        let (client, mut eventloop) = AsyncClient::new(origin.options.clone(), CHANNEL_LEN);
        eventloop.state = origin.state.clone();
        Self {
            client,
            eventloop,
            origin: origin.clone(),
            connack: None,
            limits: BrokerLimits::default(),
            ids: PacketIds::default(),
            avoided: BTreeSet::new(),
            leaked: false,
            resumed: VecDeque::new(),
            queued: VecDeque::new(),
        }
    }

    /// Connects, and returns whether the broker has kept the session.
    ///
    /// # Cancellation Safety
    /// None: cancelled, the attempt is over and the connection is to be dropped.
    pub(super) async fn connect(&mut self) -> Result<bool, ConnectionError> {
        let connack = loop {
            if let Event::Incoming(Packet::ConnAck(connack)) = self.eventloop.poll().await? {
                break connack;
            }
        };
        self.limits = BrokerLimits::new(&connack, self.origin.inflight_max);
        self.ids = PacketIds::new(self.limits.ids_max);
        if self.eventloop.options.keep_alive().is_zero() {
            // Server Keep Alive 0 turns the broker's supervision off; rumqttc would ping
            // without a pause.
            self.eventloop
                .options
                .set_keep_alive(self.origin.options.keep_alive());
        }
        let session_present = connack.session_present;
        self.connack = Some(connack);
        Ok(session_present)
    }

    /// What the broker allows.
    pub(super) fn limits(&self) -> BrokerLimits {
        self.limits
    }

    /// The keep-alive interval agreed on.
    pub(super) fn keep_alive(&self) -> std::time::Duration {
        self.eventloop.options.keep_alive()
    }

    /// Moves the connection on until there is an event.
    ///
    /// # Cancellation Safety
    /// Safe while [`Self::is_idle`]: then it only waits for the broker or the keep-alive clock,
    /// and writes answers that fit the write buffer. Not safe otherwise.
    pub(super) async fn poll(&mut self) -> Result<Event, ConnectionError> {
        self.eventloop.poll().await
    }

    /// Takes an event that came in before the connection was lost.
    pub(super) fn poll_leftover(&mut self) -> Option<Event> {
        self.eventloop.state.events.pop_front()
    }

    /// Takes a request that was not known to have left before the connection was lost.
    pub(super) fn poll_unsent(&mut self) -> Option<Sent> {
        self.resumed.pop_front().or_else(|| self.queued.pop_front())
    }

    /// Returns whether no request is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.resumed.is_empty()
    }

    /// Returns whether another request may be made now.
    pub(super) fn has_room(&mut self) -> bool {
        if self.leaked {
            // Requests on their way count on the ids they were given, which start anew; with
            // a single id there is nothing to count on, and nothing leaves before.
            if !self.is_idle() && self.limits.ids_max > 1 {
                return false;
            }
            self.recount();
        }
        self.queued.len() < AHEAD_MAX
    }

    /// Returns the packet id that the next PUBLISH, SUBSCRIBE or UNSUBSCRIBE will have, or
    /// `None` where none is free now.
    pub(super) fn next_id(&mut self, in_use: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..self.limits.ids_max {
            let id = self.ids.peek();
            if !in_use(id) && !self.avoided.contains(&id) {
                return Some(id);
            }
            if !self.is_idle() {
                return None;
            }
            self.skip_id();
        }
        None
    }

    /// Publishes, at QoS 1 and 2 under the id [`Self::next_id`] has returned.
    pub(super) fn publish(
        &mut self,
        publication: &Publication,
        qos: QoS,
        sent: Sent,
    ) -> Result<(), OutOfStep> {
        let (topic, payload) = (publication.topic.as_ref(), publication.payload.clone());
        self.client
            .try_publish(topic, to_mqtt(qos), publication.retain, payload)
            .map_err(|_| OutOfStep)?;
        if let Sent::Publish(_) = sent {
            self.ids.advance();
        }
        self.queued.push_back(sent);
        Ok(())
    }

    /// Publishes again what an earlier connection has published under `id`.
    pub(super) fn publish_again(&mut self, id: u16, publication: &Publication, qos: QoS) {
        let mut publish = Publish::new(
            publication.topic.as_ref(),
            to_mqtt(qos),
            publication.payload.clone(),
            None,
        );
        publish.retain = publication.retain;
        publish.dup = true;
        publish.pkid = id;
        self.eventloop.pending.push_back(Request::Publish(publish));
        self.resumed.push_back(Sent::Publish(id));
    }

    /// Releases again what an earlier connection has released.
    pub(super) fn release_again(&mut self, id: u16) {
        let release = Request::PubRel(PubRel::new(id, None));
        self.eventloop.pending.push_back(release);
        self.resumed.push_back(Sent::Release(id));
    }

    /// Subscribes, under the id [`Self::next_id`] has returned.
    pub(super) fn subscribe(&mut self, id: u16, batch: &[Asked]) -> Result<(), OutOfStep> {
        let filters = batch.iter().map(|asked| {
            let mut filter = Filter::new(asked.filter.as_ref(), to_mqtt(asked.qos));
            if !asked.retained {
                filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
            }
            filter
        });
        self.client
            .try_subscribe_many(filters)
            .map_err(|_| OutOfStep)?;
        self.ids.advance();
        self.queued.push_back(Sent::Subscribe(id));
        Ok(())
    }

    /// Unsubscribes, under the id [`Self::next_id`] has returned.
    pub(super) fn unsubscribe(&mut self, id: u16, filter: &Arc<str>) -> Result<(), OutOfStep> {
        self.client
            .try_unsubscribe(filter.as_ref())
            .map_err(|_| OutOfStep)?;
        self.ids.advance();
        self.queued.push_back(Sent::Unsubscribe(id));
        Ok(())
    }

    /// Acknowledges a downlink publication.
    pub(super) fn acknowledge(&mut self, ack: Ack) -> Result<(), OutOfStep> {
        let mut publish = empty_publish(ack.qos);
        publish.pkid = ack.packet_id;
        self.client.try_ack(&publish).map_err(|_| OutOfStep)?;
        self.queued.push_back(Sent::Ack(ack.packet_id));
        Ok(())
    }

    /// Ends the connection in order; the session stays for as long as agreed.
    pub(super) fn disconnect(&mut self) -> Result<(), OutOfStep> {
        self.client.try_disconnect().map_err(|_| OutOfStep)?;
        self.queued.push_back(Sent::Disconnect);
        Ok(())
    }

    /// Notes what rumqttc says it has sent; returns the request, where it was one of ours.
    ///
    /// # Errors
    /// [`OutOfStep`] where it should have sent something else.
    pub(super) fn sent(&mut self, outgoing: &Outgoing) -> Result<Option<Sent>, OutOfStep> {
        for queue in [&mut self.resumed, &mut self.queued] {
            if queue.front().is_some_and(|sent| sent.is(outgoing)) {
                return Ok(queue.pop_front());
            }
        }
        match outgoing {
            // Answers to the broker and pings, which rumqttc sends by itself.
            Outgoing::PubRel(_) | Outgoing::PubComp(_) | Outgoing::PingReq => Ok(None),
            _ => Err(OutOfStep),
        }
    }

    /// Leaves `id` alone for the rest of the connection: the broker says it is in use.
    pub(super) fn avoid(&mut self, id: u16) {
        self.avoided.insert(id);
    }

    /// Notes an answer by which rumqttc loses a place in its window.
    pub(super) fn leaked(&mut self) {
        self.leaked = true;
    }

    /// Passes over the next packet id, by a packet that is made and never sent.
    fn skip_id(&mut self) {
        let nothing = Request::Unsubscribe(Unsubscribe::default());
        if let Ok(Some(_)) = self.eventloop.state.handle_outgoing_packet(nothing) {
            self.eventloop.state.events.pop_back();
        }
        self.ids.advance();
    }

    /// Makes rumqttc count its open exchanges anew.
    fn recount(&mut self) {
        let old = &mut self.eventloop.state;
        let mut state = self.origin.state.clone();
        state.await_pingresp = old.await_pingresp;
        let events = std::mem::take(&mut old.events);
        // Neither can fail: the broker's CONNACK has passed before, and the requests are those
        // that were open, each under its own id.
        if let Some(connack) = &self.connack {
            let _ = state.handle_incoming_packet(Packet::ConnAck(connack.clone()));
        }
        for request in old.clean() {
            let _ = state.handle_outgoing_packet(request);
        }
        state.events = events;
        *old = state;
        self.ids = PacketIds::new(self.limits.ids_max);
        self.leaked = false;
    }
}

impl Sent {
    fn is(self, outgoing: &Outgoing) -> bool {
        match (self, outgoing) {
            (Self::Publish(a), Outgoing::Publish(b))
            | (Self::Subscribe(a), Outgoing::Subscribe(b))
            | (Self::Unsubscribe(a), Outgoing::Unsubscribe(b))
            | (Self::Ack(a), Outgoing::PubAck(b) | Outgoing::PubRec(b))
            | (Self::Release(a), Outgoing::PubRel(b)) => a == *b,
            (Self::Fleeting(_), Outgoing::Publish(0))
            | (Self::Disconnect, Outgoing::Disconnect) => true,
            _ => false,
        }
    }
}

/// rumqttc's packet ids: 1 to `max`, round and round.
#[derive(Debug, Default)]
struct PacketIds {
    last: u16,
    max: u16,
}

impl PacketIds {
    fn new(max: u16) -> Self {
        Self { last: 0, max }
    }

    fn peek(&self) -> u16 {
        self.last + 1
    }

    fn advance(&mut self) {
        let id = self.peek();
        self.last = if id == self.max { 0 } else { id };
    }
}

fn empty_publish(qos: QoS) -> Publish {
    Publish::new(String::new(), to_mqtt(qos), Bytes::new(), None)
}

/// Requests handed to rumqttc and not yet sent: enough to keep it busy, few enough that an
/// acknowledgement does not wait long behind publications.
const AHEAD_MAX: usize = 32;

// One more than is ever used, for the DISCONNECT.
const CHANNEL_LEN: usize = AHEAD_MAX + 1;
