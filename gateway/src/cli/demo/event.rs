//! What there is to see, as the view shows it and `--json` writes it.

use std::net::SocketAddr;

use app::Outcome;
use serde::Serialize;
use shared::fault::Fate;

/// How the demo is set up; the first line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Start {
    /// Where the embedded broker listens.
    pub(super) broker: SocketAddr,
    /// Where the gateway's link listens.
    pub(super) link: SocketAddr,
    pub(super) nodes: Vec<String>,
    pub(super) loss_percent: u8,
    pub(super) interval_s: u32,
    pub(super) seed: u64,
}

/// Something that happened to one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The gateway has taken the node in.
    Connected {
        /// Whether it had done so before: the node had lost it since.
        again: bool,
    },
    /// A reading has arrived at the broker.
    Reading {
        sequence: u32,
        celsius: f64,
        battery_mv: u16,
        #[serde(flatten)]
        arrival: Arrival,
    },
    /// A command was published for the node.
    Command {
        /// Its text, without the id.
        command: String,
        /// Its id, 0 where it has none.
        id: u32,
    },
    /// What the node says of a command has arrived at the broker.
    Confirmation {
        /// The command, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        id: u32,
        outcome: &'static str,
        interval_s: u32,
        led: bool,
        /// From the command's arrival at the broker to this one's, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
        #[serde(flatten)]
        arrival: Arrival,
    },
    /// A frame was lost.
    Lost {
        way: Way,
        message: &'static str,
        octets: usize,
        why: Loss,
    },
    /// A frame came through; only where all of them are asked for.
    Carried {
        way: Way,
        message: &'static str,
        octets: usize,
    },
    /// The node has gone to sleep.
    Asleep {
        for_ms: u64,
        /// How long it was awake, and what it sent and received meanwhile.
        awake_ms: u64,
        frames: u64,
        octets: u64,
    },
}

/// How a publication has come to the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Arrival {
    /// The length of its PUBLISH on the air.
    pub(super) octets: usize,
    /// How often the node had sent it by then.
    pub(super) transmissions: u32,
    /// From its first transmission on, in milliseconds.
    pub(super) took_ms: u64,
    /// Whether it had come before, and only this is then known.
    pub(super) duplicate: bool,
}

/// From the node or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    Up,
    Down,
}

/// Why a frame did not come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Loss {
    /// By chance.
    Chance,
    /// In a burst.
    Burst,
    /// Too many were on their way.
    Full,
    /// The node's radio was off when it came.
    RadioOff,
}

impl Loss {
    /// Returns why a frame is lost that the link has given this fate, or `None` if it is not.
    pub(super) const fn of(fate: Fate) -> Option<Self> {
        match fate {
            Fate::Carried { .. } => None,
            Fate::Lost => Some(Self::Chance),
            Fate::BurstLost => Some(Self::Burst),
            // The demo's links have neither windows nor outages, and take every length.
            Fate::OutOfContact | Fate::Partitioned | Fate::QueueFull | Fate::Oversize => {
                Some(Self::Full)
            }
        }
    }
}

/// Returns the word for what became of a command.
pub(super) const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Repeated => "repeated",
        Outcome::Unknown => "unknown",
        Outcome::Argument => "argument",
        Outcome::Storage => "storage",
    }
}
