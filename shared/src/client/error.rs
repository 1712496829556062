//! Why a command was not taken, and why a publication did not go out.

use core::fmt;

use crate::wire::ReturnCode;

/// Why the machine did not take a command; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The command needs a connection and there is none.
    NotConnected,
    /// The command needs a sleeping node and this one does not sleep.
    NotAsleep,
    /// The machine is connected or on its way there already.
    Busy,
    /// As many publications wait as the client has room for.
    QueueFull,
    /// As many topics are in use as the client has room for.
    TopicsFull,
    /// The name or payload is longer than the client keeps or than the link carries.
    TooLong,
    /// The name is empty, holds NUL, or a wildcard where none may be; a reserved topic id.
    InvalidTopic,
    /// QoS −1 with a full name, as a subscription or as a will.
    InvalidQoS,
    /// A sleep of zero seconds.
    InvalidDuration,
    /// QoS −1 while no gateway is known.
    NoGateway,
    /// A new will message while there is no will topic.
    NoWill,
}

/// Why a publication did not reach the gateway's custody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The gateway refused it with this code; 02 for a pre-defined id is a configuration fault.
    Refused(ReturnCode),
    /// The gateway refused to register the topic's name with this code.
    TopicRefused(ReturnCode),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "not connected",
            Self::NotAsleep => "not asleep",
            Self::Busy => "connected or connecting already",
            Self::QueueFull => "no room for another publication",
            Self::TopicsFull => "no room for another topic",
            Self::TooLong => "longer than the client keeps or the link carries",
            Self::InvalidTopic => "not a valid topic here",
            Self::InvalidQoS => "not a valid QoS here",
            Self::InvalidDuration => "sleep must last at least a second",
            Self::NoGateway => "no gateway is known",
            Self::NoWill => "there is no will",
        })
    }
}

impl core::error::Error for CommandError {}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "publication {code}"),
            Self::TopicRefused(code) => write!(f, "topic {code}"),
        }
    }
}

impl core::error::Error for PublishError {}
