//! The model: frames in at one end, what is left of them out at the other.

use std::collections::VecDeque;

use shared::fault::{Fate, FaultLink, FaultProfile, FaultStats};
use shared::frame::{FrameReader, split};
use shared::rng::Rng;
use shared::time::Instant;
use shared::wire::{Message, NodeId};

use super::tally::Listener;
use super::{FrameSplitter, Tally};

/// The longest frame on the air, in octets: the largest datagram of a node with its framing.
pub const FRAME_LEN_MAX: usize = 320;

/// Frames that may be on their way in one direction of one node.
const FRAMES_MAX: usize = 64;

type Line = FaultLink<FRAMES_MAX, FRAME_LEN_MAX>;

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node at this position.
    Node(usize),
    /// The gateway.
    Gateway,
}

/// Where a frame comes out.
pub type Destination = Source;

/// The air between a gateway and the nodes that share its radio; sans-IO.
///
/// 1. Feed bytes with [`Self::handle_bytes`].
/// 2. Drain [`Self::poll_deliver`].
/// 3. Wait until [`Self::poll_timeout`] or the next bytes, and start again.
#[derive(Debug)]
pub struct Air {
    nodes: Vec<Station>,
    gateway: FrameSplitter,
    ready: VecDeque<(Destination, Vec<u8>)>,
}

/// One node, with both directions of its air.
#[derive(Debug)]
struct Station {
    id: NodeId,
    splitter: FrameSplitter,
    up: Line,
    down: Line,
    air: Listener,
}

impl Air {
    /// Creates the air for the nodes of the given node ids; every direction of every node has
    /// faults of its own, all of them drawn from `seed`.
    #[must_use]
    pub fn new(profile: FaultProfile, seed: u64, node_ids: &[NodeId]) -> Self {
        let mut rng = Rng::new(seed);
        let stations = node_ids.iter().map(|&id| Station {
            id,
            splitter: FrameSplitter::default(),
            up: Line::new(profile, rng.next_u64()),
            down: Line::new(profile, rng.next_u64()),
            air: Listener::default(),
        });
        Self {
            nodes: stations.collect(),
            gateway: FrameSplitter::default(),
            ready: VecDeque::new(),
        }
    }

    /// Takes bytes from the line of `source`.
    pub fn handle_bytes(&mut self, now: Instant, source: Source, bytes: &[u8]) {
        for &byte in bytes {
            match source {
                Source::Node(index) => {
                    if let Some(station) = self.nodes.get_mut(index)
                        && let Some(frame) = station.splitter.push(byte)
                    {
                        station.node_sends(now, &frame);
                    }
                }
                Source::Gateway => {
                    if let Some(frame) = self.gateway.push(byte) {
                        self.gateway_sends(now, &frame);
                    }
                }
            }
        }
    }

    /// Returns a frame that has come out at `now`, and where; call until `None`.
    pub fn poll_deliver(&mut self, now: Instant) -> Option<(Destination, Vec<u8>)> {
        for (index, station) in self.nodes.iter_mut().enumerate() {
            while let Some(frame) = station.up.poll_deliver(now) {
                with_message(&frame, |_, message| station.air.gateway_gets(message));
                self.ready.push_back((Source::Gateway, frame.to_vec()));
            }
            while let Some(frame) = station.down.poll_deliver(now) {
                with_message(&frame, |node_id, message| {
                    if node_id.is_none_or(|id| id == station.id) {
                        station.air.node_gets(message);
                    }
                });
                self.ready.push_back((Source::Node(index), frame.to_vec()));
            }
        }
        self.ready.pop_front()
    }

    /// Returns when the next frame comes out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lines = self.nodes.iter().flat_map(|node| [&node.up, &node.down]);
        lines.filter_map(FaultLink::poll_timeout).min()
    }

    /// Returns what was seen, node by node.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.nodes
            .iter()
            .map(|node| node.air.tally.clone())
            .collect()
    }

    /// Returns what the faults did, summed over all directions.
    #[must_use]
    pub fn fault_stats(&self) -> Vec<FaultStats> {
        let lines = self.nodes.iter().flat_map(|node| [&node.up, &node.down]);
        lines.map(|line| *line.stats()).collect()
    }

    fn gateway_sends(&mut self, now: Instant, frame: &[u8]) {
        let addressee = node_id_of(frame);
        for station in &mut self.nodes {
            let fate = station.down.send(now, frame);
            // A frame without a node id, a broadcast, is for everybody.
            if addressee.is_none_or(|id| id == station.id) {
                station.air.tally.down_frames += 1;
                station.air.tally.down_octets += frame.len() as u64;
                station.air.tally.down_lost += u64::from(!arrives_whole(fate));
                with_message(frame, |_, message| station.air.gateway_sends(message));
            }
        }
    }
}

impl Station {
    fn node_sends(&mut self, now: Instant, frame: &[u8]) {
        let fate = self.up.send(now, frame);
        self.air.tally.up_frames += 1;
        self.air.tally.up_octets += frame.len() as u64;
        self.air.tally.up_lost += u64::from(!arrives_whole(fate));
        with_message(frame, |_, message| self.air.node_sends(message));
    }
}

const fn arrives_whole(fate: Fate) -> bool {
    matches!(
        fate,
        Fate::Carried {
            corrupted: false,
            ..
        }
    )
}

fn node_id_of(frame: &[u8]) -> Option<NodeId> {
    let mut node_id = None;
    with_message(frame, |id, _| node_id = id);
    node_id
}

/// Calls `look` with the message in a frame, if the frame is whole and holds one.
fn with_message(frame: &[u8], look: impl FnOnce(Option<NodeId>, &Message<'_>)) {
    let mut reader = FrameReader::<FRAME_LEN_MAX>::new();
    let mut bytes = frame;
    if let Some(datagram) = reader.feed(&mut bytes)
        && let Ok((node_id, message)) = split(datagram)
        && let Ok(message) = Message::parse(message)
    {
        look(node_id, &message);
    }
}

#[cfg(test)]
mod tests {
    use shared::frame::{Lead, encode_message};
    use shared::wire::{MsgId, PingReq};

    use super::*;

    fn id(octet: u8) -> NodeId {
        NodeId::new(&[octet]).unwrap()
    }

    fn frame(node_id: Option<NodeId>, message: &Message<'_>) -> Vec<u8> {
        let mut datagram = [0; 64];
        let len = message.emit(&mut datagram).unwrap();
        let mut frame = [0; FRAME_LEN_MAX];
        let node_id = node_id.as_ref();
        let len = encode_message(node_id, &datagram[..len], Lead::Delimiter, &mut frame);
        frame[..len.unwrap()].to_vec()
    }

    fn deliveries(air: &mut Air) -> Vec<(Destination, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(due) = air.poll_timeout() {
            all.extend(std::iter::from_fn(|| air.poll_deliver(due)));
        }
        all
    }

    const WAKE: Message<'static> = Message::PingReq(PingReq { client_id: b"n1" });

    #[test]
    fn a_nodes_frame_reaches_the_gateway_as_it_was() {
        let mut air = Air::new(FaultProfile::perfect(), 1, &[id(1), id(2)]);
        let frame = frame(Some(id(2)), &WAKE);
        for part in frame.chunks(3) {
            air.handle_bytes(Instant::ZERO, Source::Node(1), part);
        }
        assert_eq!(deliveries(&mut air), [(Source::Gateway, frame.clone())]);
        let tallies = air.tallies();
        assert_eq!((tallies[0].up_frames, tallies[1].up_frames), (0, 1));
        assert_eq!(tallies[1].up_octets, frame.len() as u64);
    }

    #[test]
    fn every_node_hears_the_gateway_but_one_is_meant() {
        let mut air = Air::new(FaultProfile::perfect(), 1, &[id(1), id(2)]);
        let frame = frame(Some(id(2)), &Message::PubRel(MsgId(4)));
        air.handle_bytes(Instant::ZERO, Source::Gateway, &frame);
        let heard = deliveries(&mut air);
        let at = |index| (Source::Node(index), frame.clone());
        assert_eq!(heard, [at(0), at(1)]);
        let down: Vec<u64> = air.tallies().iter().map(|t| t.down_frames).collect();
        assert_eq!(down, [0, 1]);
    }

    #[test]
    fn losses_follow_the_profile_and_the_seed() {
        let run = |seed| {
            let mut air = Air::new(FaultProfile::lossy_20(), seed, &[id(1)]);
            let frame = frame(Some(id(1)), &WAKE);
            let mut now = Instant::ZERO;
            for _ in 0..2_000 {
                now = Instant::from_millis(now.as_millis() + 100);
                air.handle_bytes(now, Source::Node(0), &frame);
                while air.poll_deliver(now).is_some() {}
            }
            air.tallies()[0].up_lost
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!((320..=480).contains(&run(7)), "{} of 2000", run(7));
    }
}
