//! The books of the demo: what each node sent, what the air took, and what arrived.
//!
//! The books are kept from outside: from the frames at the node's radio and from what a
//! client of the broker receives. What the gateway says of itself is not asked.

use std::collections::{HashMap, HashSet, VecDeque};

use app::command::Command;
use app::{Reading, Status};
use serde::Serialize;
use shared::time::{Duration, Instant};
use shared::wire::{Message, MsgId, Publish, ReturnCode};

use super::event::{Arrival, Event, Way, outcome_word};

/// The books of one node.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    counts: Counts,
    /// What the node has sent and what is not both acknowledged and arrived.
    open: HashMap<Vec<u8>, Publication>,
    /// The payloads of those that have a message id.
    in_flight: HashMap<MsgId, Vec<u8>>,
    /// What was said since the node woke: the same again is a repetition.
    said: HashSet<(Way, Vec<u8>)>,
    commands: VecDeque<Given>,
    was_connected: bool,
    is_subscribed: bool,
    wake: Option<Wake>,
}

/// What one node has done and had done to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Readings sent at least once.
    pub(super) readings_sent: u64,
    /// Readings that have arrived at the broker.
    pub(super) readings_arrived: u64,
    /// Publications, confirmations included, that the gateway has acknowledged.
    pub(super) acknowledged: u64,
    /// Publications that have arrived at the broker more than once.
    pub(super) duplicates: u64,
    /// Frames sent by the node.
    pub(super) frames_up: u64,
    /// Frames sent to the node.
    pub(super) frames_down: u64,
    /// Frames of the node that were lost.
    pub(super) lost_up: u64,
    /// Frames to the node that were lost.
    pub(super) lost_down: u64,
    /// Frames, either way, that had been sent before.
    pub(super) repetitions: u64,
    /// Octets of all frames, lost ones included.
    pub(super) octets: u64,
    /// Commands published for the node.
    pub(super) commands: u64,
    /// Commands it has confirmed.
    pub(super) confirmed: u64,
}

/// A publication of the node, by its payload.
#[derive(Clone, Copy, Debug)]
struct Publication {
    first_sent: Instant,
    transmissions: u32,
    octets: usize,
    acknowledged: bool,
    arrived: bool,
}

/// A command that was published for the node.
#[derive(Clone, Debug)]
struct Given {
    id: u32,
    command: String,
    since: Instant,
    confirmed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wake {
    since: Instant,
    frames: u64,
    octets: u64,
}

impl Ledger {
    /// Returns the counts.
    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns whether a command would reach the node.
    pub(super) const fn is_subscribed(&self) -> bool {
        self.is_subscribed
    }

    /// Returns what was acknowledged and has not arrived, in words.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.open.iter().filter(|(_, it)| it.is_missing());
        let mut names: Vec<_> = missing.map(|(payload, _)| name(payload)).collect();
        names.sort();
        names
    }

    /// Returns how many publications were sent, but not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        let open = self.open.values();
        open.filter(|it| !it.acknowledged && !it.arrived).count()
    }

    /// Notes a frame that was put on the air.
    pub(super) fn sent(&mut self, now: Instant, way: Way, frame: &[u8]) {
        let counts = &mut self.counts;
        match way {
            Way::Up => counts.frames_up += 1,
            Way::Down => counts.frames_down += 1,
        }
        let octets = frame.len() as u64;
        counts.octets += octets;
        let wake = self.wake.get_or_insert(Wake::at(now));
        wake.frames += 1;
        wake.octets += octets;
        let Ok(message) = Message::parse(frame) else {
            return;
        };
        let repeats = !self.said.insert((way, without_dup(message)));
        if repeats || matches!(message, Message::Publish(publish) if publish.dup) {
            self.counts.repetitions += 1;
        }
        if let (Way::Up, Message::Publish(publish)) = (way, message) {
            self.published(now, &publish, frame.len());
        }
    }

    /// Notes a frame that was lost.
    pub(super) const fn lost(&mut self, way: Way) {
        match way {
            Way::Up => self.counts.lost_up += 1,
            Way::Down => self.counts.lost_down += 1,
        }
    }

    /// Notes a frame that the node has read, and returns what that means.
    pub(super) fn heard(&mut self, frame: &[u8]) -> Option<Event> {
        match Message::parse(frame).ok()? {
            Message::ConnAck(ack) if ack.return_code == ReturnCode::Accepted => {
                let again = std::mem::replace(&mut self.was_connected, true);
                Some(Event::Connected { again })
            }
            Message::SubAck(ack) if ack.return_code == ReturnCode::Accepted => {
                self.is_subscribed = true;
                None
            }
            Message::PubAck(ack) if ack.return_code == ReturnCode::Accepted => {
                let payload = self.in_flight.remove(&ack.msg_id)?;
                let publication = self.open.get_mut(&payload)?;
                publication.acknowledged = true;
                self.counts.acknowledged += 1;
                if publication.arrived {
                    self.open.remove(&payload);
                }
                None
            }
            _ => None,
        }
    }

    /// Notes what the broker has on the node's reading topic.
    pub(super) fn reading(&mut self, now: Instant, payload: &[u8]) -> Option<Event> {
        let reading = Reading::decode(payload).ok()?;
        let arrival = self.arrived(now, payload);
        if !arrival.duplicate {
            self.counts.readings_arrived += 1;
        }
        Some(Event::Reading {
            sequence: reading.sequence,
            celsius: f64::from(reading.value_milli) / 1000.0,
            battery_mv: reading.battery_mv,
            arrival,
        })
    }

    /// Notes what the broker has on the node's status topic.
    pub(super) fn status(&mut self, now: Instant, payload: &[u8]) -> Option<Event> {
        let status = Status::decode(payload).ok()?;
        let arrival = self.arrived(now, payload);
        let id = status.command_id;
        // Commands without an id are confirmed in the order in which they were given.
        let waiting = |it: &&mut Given| it.id == id && !it.confirmed && !arrival.duplicate;
        let first = self.commands.iter_mut().find(waiting);
        let after_ms = first.map(|given| {
            given.confirmed = true;
            self.counts.confirmed += 1;
            now.since(given.since).as_millis()
        });
        let latest = |it: &&Given| it.id == id && it.confirmed;
        Some(Event::Confirmation {
            id,
            outcome: outcome_word(status.outcome),
            interval_s: status.interval_s,
            led: status.led,
            after_ms,
            command: self
                .commands
                .iter()
                .rev()
                .find(latest)
                .map(|given| given.command.clone()),
            arrival,
        })
    }

    /// Notes what the broker has on the node's command topic, whoever published it.
    pub(super) fn command(&mut self, now: Instant, payload: &[u8]) -> Event {
        let id = Command::parse(payload).id;
        let text = String::from_utf8_lossy(payload);
        let command = match text.split_once(' ') {
            Some((_, rest)) if id != 0 => rest.to_owned(),
            _ => text.into_owned(),
        };
        self.counts.commands += 1;
        if self.commands.len() == COMMANDS_MAX {
            self.commands.pop_front();
        }
        self.commands.push_back(Given {
            id,
            command: command.clone(),
            since: now,
            confirmed: false,
        });
        Event::Command { command, id }
    }

    /// Notes that the node sleeps for `span`, and returns what its wake came to.
    pub(super) fn fell_asleep(&mut self, now: Instant, span: Duration) -> Event {
        let wake = self.wake.take().unwrap_or(Wake::at(now));
        self.said.clear();
        Event::Asleep {
            for_ms: span.as_millis(),
            awake_ms: now.since(wake.since).as_millis(),
            frames: wake.frames,
            octets: wake.octets,
        }
    }

    /// Notes that the node has woken.
    pub(super) const fn woke(&mut self, now: Instant) {
        self.wake = Some(Wake::at(now));
    }

    fn published(&mut self, now: Instant, publish: &Publish<'_>, octets: usize) {
        let payload = publish.payload.to_vec();
        self.in_flight.insert(publish.msg_id, payload.clone());
        let is_reading = Reading::decode(&payload).is_ok();
        let publication = self.open.entry(payload).or_insert(Publication {
            first_sent: now,
            transmissions: 0,
            octets,
            acknowledged: false,
            arrived: false,
        });
        self.counts.readings_sent += u64::from(is_reading && publication.transmissions == 0);
        publication.transmissions += 1;
    }

    fn arrived(&mut self, now: Instant, payload: &[u8]) -> Arrival {
        let Some(publication) = self.open.get_mut(payload).filter(|it| !it.arrived) else {
            self.counts.duplicates += 1;
            return Arrival {
                duplicate: true,
                ..Arrival::default()
            };
        };
        publication.arrived = true;
        let arrival = Arrival {
            octets: publication.octets,
            transmissions: publication.transmissions,
            took_ms: now.since(publication.first_sent).as_millis(),
            duplicate: false,
        };
        if publication.acknowledged {
            self.open.remove(payload);
        }
        arrival
    }
}

impl Publication {
    const fn is_missing(&self) -> bool {
        self.acknowledged && !self.arrived
    }
}

impl Wake {
    const fn at(since: Instant) -> Self {
        Self {
            since,
            frames: 0,
            octets: 0,
        }
    }
}

/// Returns the message's octets as they were before it became a repetition.
fn without_dup(message: Message<'_>) -> Vec<u8> {
    let first = match message {
        Message::Publish(publish) => Message::Publish(Publish {
            dup: false,
            ..publish
        }),
        other => other,
    };
    let mut octets = vec![0; first.encoded_len()];
    // The buffer is as long as the message says, and it was a message before.
    let len = first.emit(&mut octets).unwrap_or(0);
    octets.truncate(len);
    octets
}

fn name(payload: &[u8]) -> String {
    // A status never reads as a reading: it has seven fields, each with one closing octet.
    match Reading::decode(payload) {
        Ok(reading) => format!("reading {}", reading.sequence),
        Err(_) => "a confirmation".to_owned(),
    }
}

/// The commands to a node that are remembered; then the oldest is forgotten.
const COMMANDS_MAX: usize = 64;

#[cfg(test)]
mod tests;
