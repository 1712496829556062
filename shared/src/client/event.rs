//! What the machine tells the application.

use super::{GatewayAddr, PublishError};
use crate::time::Instant;
use crate::wire::{QoS, ReturnCode, ShortName, TopicId};

/// Something the application may want to know; names and payloads borrow from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A gateway was heard of for the first time.
    GatewayFound {
        /// Its id.
        gw_id: u8,
        /// Its address.
        addr: GatewayAddr,
    },
    /// The gateway took the connection.
    Connected {
        /// What became of the session.
        session: Session,
    },
    /// The gateway refused the connection; the machine goes on by itself, with another
    /// gateway or later. [`disconnect`](super::Client::disconnect) ends that.
    Refused {
        /// Why.
        code: ReturnCode,
    },
    /// A name has a topic id now.
    Registered {
        /// The name.
        name: &'a str,
        /// The id.
        topic_id: TopicId,
    },
    /// The gateway gives a name no topic id.
    RegisterFailed {
        /// The name.
        name: &'a str,
        /// Why.
        code: ReturnCode,
    },
    /// A publication is done: at QoS 1 and 2 the gateway has it, at QoS 0 and −1 it was sent.
    Published {
        /// Which one.
        token: Token,
    },
    /// A publication was given up. At QoS 0 this may follow its `Published`.
    PublishFailed {
        /// Which one.
        token: Token,
        /// Why.
        reason: PublishError,
    },
    /// A subscription holds. Comes again when the machine renews it in a new session.
    Subscribed {
        /// The topic or filter.
        topic: Topic<'a>,
        /// The granted quality of service, at most the requested one.
        qos: QoS,
    },
    /// The gateway refused a subscription.
    SubscribeFailed {
        /// The topic or filter.
        topic: Topic<'a>,
        /// Why.
        code: ReturnCode,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// The topic or filter.
        topic: Topic<'a>,
    },
    /// A publication for this node. Its acknowledgement leaves with the `poll_transmit` that
    /// follows, so whatever must survive a power cut is stored before that.
    Received(Received<'a>),
    /// The gateway has taken a change of the will.
    WillUpdated {
        /// Which half.
        part: WillPart,
    },
    /// The gateway refused a change of the will; it holds from the next connection on.
    WillUpdateFailed {
        /// Which half.
        part: WillPart,
        /// Why.
        code: ReturnCode,
    },
    /// The gateway is congested (code 01): this kind of request rests.
    Held {
        /// The kind.
        class: RequestClass,
        /// Until when.
        until: Instant,
    },
    /// The node may power down until [`poll_timeout`](super::Client::poll_timeout).
    Asleep {
        /// Whether the gateway has confirmed it.
        confirmed: bool,
    },
    /// A wake is over: the gateway has nothing more, the node may power down again.
    WakeFinished,
    /// A wake has reached a limit of [`WakePlan`](super::WakePlan): the gateway keeps the rest,
    /// the node may power down again.
    WakeCut,
    /// A wake had no answer; the node may power down until the next try.
    WakeFailed {
        /// How many in a row.
        in_a_row: u8,
    },
    /// The gateway does not answer, or no longer knows the node; the machine connects anew by
    /// itself and loses nothing that was queued.
    GatewayLost,
    /// The connection has ended as the application asked.
    Disconnected {
        /// Whether the gateway has confirmed it.
        confirmed: bool,
    },
}

/// What became of the session with the gateway, as far as the node can tell: CONNACK does not
/// say it in MQTT-SN 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// The session the node had before it slept: topic ids and subscriptions hold.
    Resumed,
    /// A new one, or one the gateway may have lost: the machine registers names again when
    /// they are used, and renews every subscription.
    Renewed,
}

/// A publication for this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its topic; a [`Topic::Name`] has no wildcards.
    pub topic: Topic<'a>,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its quality of service, 0 to 2.
    pub qos: QoS,
    /// Whether the broker had retained it.
    pub retain: bool,
    /// Whether it may have been delivered before; only at QoS 1.
    pub dup: bool,
}

/// A topic as the application names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// A full name, or in a subscription a filter; the machine registers it where needed.
    Name(&'a str),
    /// An id that both sides know beforehand.
    Predefined(TopicId),
    /// A two-octet name.
    Short(ShortName),
}

/// Names one publication between [`publish`](super::Client::publish) and its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub(super) u32);

/// A half of the will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WillPart {
    /// Topic, quality of service and retain flag.
    Topic,
    /// The message.
    Message,
}

/// A kind of request; one of each is in flight at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestClass {
    /// REGISTER.
    Register,
    /// PUBLISH at any QoS above −1.
    Publish,
    /// SUBSCRIBE and UNSUBSCRIBE.
    Subscribe,
    /// WILLTOPICUPD and WILLMSGUPD.
    Will,
}
