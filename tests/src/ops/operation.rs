//! What can happen to the gateway.

use std::fmt;

use shared::wire::{Message, QoS, ReturnCode};

use super::places::{Place, binding};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A node says something; where it is behind a forwarder that wraps it.
    Say {
        /// Where.
        place: Place,
        /// The message, or what looks like one.
        bytes: Vec<u8>,
    },
    /// A datagram comes in as it is.
    Raw {
        /// Where.
        place: Place,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// A node answers what the engine has said to it.
    Answer {
        /// Where.
        place: Place,
        /// How many messages ago that was.
        back: u8,
        /// How it answers.
        how: Reply,
    },
    /// A node repeats what it said last.
    Repeat {
        /// Where.
        place: Place,
        /// How many messages ago that was.
        back: u8,
        /// Whether it sets DUP where there is one.
        dup: bool,
    },
    /// The upstream tells something.
    Upstream(Event),
    /// The upstream gives the next requests back, as many as this.
    Full(u8),
    /// A link tells something.
    Link {
        /// Which.
        link: u16,
        /// What.
        what: LinkChange,
    },
    /// Time passes.
    Wait(Wait),
    /// The configuration is read anew, and is that of this seed.
    Reconfigure(u64),
    /// The gateway is told to end; it may be used on.
    Shutdown,
}

/// How a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As the protocol says, with success.
    Right,
    /// With this code, where there is one.
    Code(ReturnCode),
    /// Rightly, but to another message id.
    OtherId,
    /// Rightly, but for another topic id.
    OtherTopic,
    /// With the answer that belongs to another exchange.
    OtherKind,
}

/// What the upstream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is connected.
    Connected,
    /// It is not.
    Disconnected,
    /// An answer to a publication.
    Published {
        /// Which of those that wait.
        index: u8,
        /// 0 taken, 1 busy, otherwise denied.
        result: u8,
    },
    /// An answer to a publication that does not wait.
    PublishedUnknown(u64),
    /// An answer to a subscription.
    Subscribed {
        /// Which of those that wait.
        index: u8,
        /// Less than was asked for is granted.
        less: bool,
        /// 0 granted, 1 busy, otherwise denied.
        result: u8,
    },
    /// An answer to a subscription that does not wait.
    SubscribedUnknown(Vec<u8>),
    /// A publication.
    Delivery {
        /// The topic.
        topic: String,
        /// The octets of the payload.
        len: u16,
        /// The quality of service.
        qos: QoS,
        /// Whether it was retained.
        retain: bool,
        /// For how long it is worth delivering, in seconds.
        expiry_s: Option<u32>,
        /// The filters it was sent for.
        filters: Vec<String>,
    },
}

/// What a link tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// It is busy for so many milliseconds.
    Busy(u32),
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until the engine's next deadlines, as many as this, each of them met.
    Deadlines(u8),
    /// For so many milliseconds, every deadline met.
    Millis(u32),
    /// For so many milliseconds in which the gateway stands still: deadlines pass, and are only
    /// handled if `late` says so before the next input.
    Stall {
        /// How long.
        millis: u32,
        /// Whether the timeout is handled then.
        late: bool,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say { place, bytes } => match Message::parse(bytes) {
                Ok(message) => write!(f, "{} says {message:?}", binding(*place)),
                Err(error) => write!(f, "{} says {} ({error})", binding(*place), Hex(bytes)),
            },
            Self::Raw { place, bytes } => {
                write!(f, "{} sends {}", binding(*place), Hex(bytes))?;
                Message::parse(bytes).map_or(Ok(()), |message| write!(f, " {message:?}"))
            }
            Self::Answer { place, back, how } => {
                write!(f, "{} answers -{back} {how:?}", binding(*place))
            }
            Self::Repeat { place, back, dup } => {
                write!(f, "{} repeats -{back} dup={dup}", binding(*place))
            }
            Self::Upstream(event) => write!(f, "upstream {event:?}"),
            Self::Full(requests) => write!(f, "upstream full for {requests}"),
            Self::Link { link, what } => write!(f, "link{link} {what:?}"),
            Self::Wait(wait) => write!(f, "wait {wait:?}"),
            Self::Reconfigure(seed) => write!(f, "reconfigure {seed}"),
            Self::Shutdown => write!(f, "shutdown"),
        }
    }
}

struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
