//! The node's MQTT-SN 1.2 machine, sans-IO.
//!
//! (Interface first: the bodies follow.)

mod address;
mod config;
mod error;
mod event;
mod stats;

pub use address::{Destination, GatewayAddr, Transmit};
pub use config::{
    Config, ConfigError, Discovery, GATEWAYS_MAX, LinkClock, TOPIC_NAME_LEN_MAX,
    WILL_MESSAGE_LEN_MAX, Will,
};
pub use error::{CommandError, PublishError};
pub use event::{Event, Received, RequestClass, Session, Token, Topic, WillPart};
pub use stats::{BadStats, ClientStats, RetryStats};

use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::QoS;

/// The MQTT-SN machine of one node, with room for `TOPICS` names and filters, `QUEUE`
/// publications waiting, and payloads of `PAYLOAD` octets.
#[derive(Clone, Debug)]
pub struct Client<const TOPICS: usize, const QUEUE: usize, const PAYLOAD: usize> {
    config: Config,
    rng: Rng,
    stats: ClientStats,
}

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected and not trying to.
    Off,
    /// Looking for a gateway.
    Searching,
    /// CONNECT is under way.
    Connecting,
    /// Connected.
    Active,
    /// DISCONNECT is under way.
    Disconnecting,
    /// DISCONNECT with a duration is under way.
    SleepPending,
    /// Asleep: the radio may be off.
    Asleep,
    /// PINGREQ with the client id is under way; the gateway delivers what waits.
    Awake,
    /// Waiting before the next attempt to connect: the radio may be off.
    BackingOff,
}

impl<const TOPICS: usize, const QUEUE: usize, const PAYLOAD: usize> Client<TOPICS, QUEUE, PAYLOAD> {
    /// Creates a machine that is off.
    ///
    /// # Errors
    /// What is wrong with `config`.
    pub fn new(config: Config, rng: Rng) -> Result<Self, ConfigError> {
        Ok(Self {
            config,
            rng,
            stats: ClientStats::default(),
        })
    }

    /// Starts to connect, and to stay connected: from now on the machine finds, tries and
    /// changes gateways by itself. A sleeping node leaves its sleep.
    ///
    /// # Errors
    /// [`CommandError::Busy`] where it is connected or connecting.
    pub fn connect(&mut self, now: Instant) -> Result<(), CommandError> {
        let _ = now;
        Ok(())
    }

    /// Ends the connection, or the attempt to have one. What is queued stays queued.
    ///
    /// # Errors
    /// [`CommandError::NotConnected`] where it is off.
    pub fn disconnect(&mut self) -> Result<(), CommandError> {
        Ok(())
    }

    /// Goes to sleep for `duration_s` seconds, again and again, once nothing is left to send.
    /// After a wake, or a connection it had to make in between, the machine falls asleep
    /// again by itself, until [`connect`](Self::connect) or [`disconnect`](Self::disconnect).
    ///
    /// # Errors
    /// [`CommandError::NotConnected`], [`CommandError::InvalidDuration`].
    pub fn sleep(&mut self, duration_s: u16) -> Result<(), CommandError> {
        let _ = duration_s;
        Ok(())
    }

    /// Wakes to collect what waits at the gateway, earlier than
    /// [`poll_timeout`](Self::poll_timeout) would.
    ///
    /// # Errors
    /// [`CommandError::NotAsleep`].
    pub fn wake(&mut self) -> Result<(), CommandError> {
        Ok(())
    }

    /// Asks for a topic id ahead of the first publication.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`], [`CommandError::TooLong`], [`CommandError::TopicsFull`].
    pub fn register(&mut self, name: &str) -> Result<(), CommandError> {
        let _ = name;
        Ok(())
    }

    /// Queues a publication; in any state. QoS −1 is sent at once and without a connection.
    ///
    /// # Errors
    /// [`CommandError::QueueFull`], [`CommandError::TopicsFull`], [`CommandError::TooLong`],
    /// [`CommandError::InvalidTopic`], [`CommandError::InvalidQoS`], [`CommandError::NoGateway`].
    pub fn publish(
        &mut self,
        topic: Topic<'_>,
        qos: QoS,
        retain: bool,
        payload: &[u8],
    ) -> Result<Token, CommandError> {
        let _ = (topic, qos, retain, payload);
        Ok(Token(0))
    }

    /// Subscribes, now or as soon as there is a connection; renewed in every new session.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`], [`CommandError::InvalidQoS`], [`CommandError::TooLong`],
    /// [`CommandError::TopicsFull`].
    pub fn subscribe(&mut self, topic: Topic<'_>, qos: QoS) -> Result<(), CommandError> {
        let _ = (topic, qos);
        Ok(())
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`] where there is none.
    pub fn unsubscribe(&mut self, topic: Topic<'_>) -> Result<(), CommandError> {
        let _ = topic;
        Ok(())
    }

    /// Changes topic, QoS and retain flag of the will, or deletes the will.
    ///
    /// # Errors
    /// [`CommandError::InvalidTopic`], [`CommandError::InvalidQoS`], [`CommandError::TooLong`].
    pub fn update_will_topic(
        &mut self,
        target: Option<(&str, QoS, bool)>,
    ) -> Result<(), CommandError> {
        let _ = target;
        Ok(())
    }

    /// Changes the message of the will.
    ///
    /// # Errors
    /// [`CommandError::NoWill`], [`CommandError::TooLong`].
    pub fn update_will_message(&mut self, message: &[u8]) -> Result<(), CommandError> {
        let _ = message;
        Ok(())
    }

    /// Takes one datagram from the link.
    pub fn handle_datagram(&mut self, now: Instant, from: GatewayAddr, datagram: &[u8]) {
        let _ = (now, from, datagram);
    }

    /// Does what is due at `now`; call it at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Writes the next datagram into `buf`, which has at least the MTU's octets.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let _ = (now, buf);
        None
    }

    /// Returns the next event. Taking [`Event::Received`] makes room for the next one.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        None
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due next; for a sleeping node
    /// the latest time to wake.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Returns where the machine stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::Off
    }

    /// Returns whether nothing is under way: the radio may be off until
    /// [`poll_timeout`](Self::poll_timeout).
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        true
    }

    /// Returns how many publications wait or are in flight.
    #[must_use]
    pub fn queued(&self) -> usize {
        0
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &ClientStats {
        &self.stats
    }
}
