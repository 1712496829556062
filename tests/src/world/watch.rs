//! What the engine hears and says to one node, seen from the wire.

use std::collections::BTreeSet;

use gateway::session::Binding;
use shared::time::Instant;
use shared::wire::{Message, ReturnCode};

/// The wire between the engine and one node: whether the node may be listening, and how much
/// is sent.
#[derive(Debug, Default)]
pub(super) struct Watch {
    listening: Listening,
    /// The clean flag of the last CONNECT that the engine heard.
    pub(super) connect_clean: bool,
    /// The clean flag of the session the engine has.
    pub(super) session_clean: bool,
    /// Where the engine hears the node.
    pub(super) place: Option<Binding>,
    /// What was published since the last ping, by the heads of the payloads.
    in_wake: BTreeSet<Vec<u8>>,
    to_node: Rate,
    from_node: Rate,
}

/// What the engine must know of a node's radio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listening {
    #[default]
    Unknown,
    Active,
    /// It has asked to sleep and was not answered yet.
    SleepAsked,
    Asleep,
    /// It has pinged and was not answered yet.
    Awake,
}

/// The most datagrams to or from one node in a minute.
const PER_MINUTE_MAX: u32 = 600;

impl Watch {
    /// The engine hears a message of the node.
    pub(super) fn heard(&mut self, message: &Message<'_>) {
        match message {
            Message::Connect(connect) => {
                self.connect_clean = connect.clean;
                self.listening = Listening::Unknown;
            }
            Message::Disconnect(disconnect) if disconnect.duration_s.unwrap_or(0) > 0 => {
                self.listening = Listening::SleepAsked;
            }
            Message::Disconnect(_) => self.listening = Listening::Unknown,
            Message::PingReq(_) if self.listening == Listening::Asleep => {
                self.in_wake.clear();
                self.listening = Listening::Awake;
            }
            Message::PingReq(ping) if !ping.client_id.is_empty() => {
                self.in_wake.clear();
                self.listening = match self.listening {
                    Listening::Active => Listening::Active,
                    _ => Listening::Awake,
                };
            }
            _ => {}
        }
    }

    /// The engine takes the node for asleep.
    pub(super) const fn falls_asleep(&mut self) {
        self.listening = Listening::Asleep;
    }

    /// The engine says something to the node.
    ///
    /// `wake_max` is the most that may be published in one wake.
    pub(super) fn said(&mut self, message: &Message<'_>, wake_max: usize) -> Result<(), String> {
        match (message, self.listening) {
            (Message::ConnAck(ack), _) if ack.return_code == ReturnCode::Accepted => {
                self.listening = Listening::Active;
            }
            // Whether it lets the node sleep or does not know it, nobody can tell from this.
            (Message::Disconnect(_), _) => self.listening = Listening::Unknown,
            (Message::PingResp, Listening::Awake) => self.listening = Listening::Asleep,
            (Message::Publish(_) | Message::Register(_), Listening::Asleep) => {
                return Err(format!("{message:?} went to a node that is asleep"));
            }
            (Message::Publish(publish), Listening::Awake) => {
                let head = publish.payload.iter().take(5).copied();
                self.in_wake.insert(head.collect());
                if self.in_wake.len() > wake_max {
                    return Err(format!("{message:?} is beyond what a wake may send"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn count_to_node(&mut self, now: Instant) -> Result<(), String> {
        self.to_node.count(now, "to")
    }

    pub(super) fn count_from_node(&mut self, now: Instant) -> Result<(), String> {
        self.from_node.count(now, "from")
    }
}

#[derive(Debug, Default)]
struct Rate {
    minute: u64,
    count: u32,
}

impl Rate {
    fn count(&mut self, now: Instant, way: &str) -> Result<(), String> {
        let minute = now.as_millis() / 60_000;
        if minute != self.minute {
            *self = Self { minute, count: 0 };
        }
        self.count += 1;
        if self.count > PER_MINUTE_MAX {
            return Err(format!(
                "more than {PER_MINUTE_MAX} datagrams {way} a node in a minute"
            ));
        }
        Ok(())
    }
}
