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
//! - It does not see a DISCONNECT of one octet, as mosquitto sends it: a connection that is taken
//!   over then looks like one that was lost, and the back-off has to do without the reason.
//! - Of a PUBLISH with several Subscription Identifiers it may take some for payload:
//!   `subscriptions::may_be_garbled`.
//! - Cancelling `poll` can lose a request it has taken: it is only cancelled while none is on
//!   its way ([`Connection::is_idle`]).

mod origin;
mod packet_ids;
mod requests;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, Publish};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop};
use shared::wire::QoS;
use thiserror::Error;
use tokio::time::timeout;

pub(super) use self::origin::Origin;
use self::packet_ids::PacketIds;
pub(super) use self::requests::Sent;
use super::limits::{BrokerLimits, to_mqtt};

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

/// rumqttc did something other than it was asked; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the MQTT client lost count of its packets")]
pub(super) struct OutOfStep;

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
        let connack = timeout(self.origin.connect_timeout, self.connack()).await??;
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

    async fn connack(&mut self) -> Result<ConnAck, ConnectionError> {
        loop {
            if let Event::Incoming(Packet::ConnAck(connack)) = self.eventloop.poll().await? {
                return Ok(connack);
            }
        }
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
}

fn empty_publish(qos: QoS) -> Publish {
    Publish::new(String::new(), to_mqtt(qos), Bytes::new(), None)
}

/// Requests handed to rumqttc and not yet sent: enough to keep it busy, few enough that an
/// acknowledgement does not wait long behind publications.
const AHEAD_MAX: usize = 32;

// One more than is ever used, for the DISCONNECT.
const CHANNEL_LEN: usize = AHEAD_MAX + 1;
