//! The gateway's side of the links: whether they carry anything, and how fast.

use std::collections::BTreeMap;

use gateway::session::{LinkEvent, LinkId};
use shared::rng::Rng;
use shared::time::{Duration, Instant};

use super::WorldConfig;
use super::place::LINKS;

/// All links.
pub(super) struct Links {
    rng: Rng,
    links: Vec<Link>,
    /// What waits for its turn on a slow link, or is being sent.
    air: BTreeMap<(Instant, u64), Frame>,
    frames: u64,
    octets_per_s: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    is_down: bool,
    turn_at: Option<Instant>,
    busy_until: Instant,
}

/// A frame on its way to a node, and whose it is.
pub(super) type Frame = (usize, Vec<u8>);

impl Links {
    pub(super) fn new(config: &WorldConfig, mut rng: Rng) -> Self {
        let links = (0..LINKS).map(|_| Link {
            is_down: false,
            turn_at: config
                .link_outages
                .then(|| Instant::from_millis(30_000 + rng.below(200_000))),
            busy_until: Instant::ZERO,
        });
        Self {
            links: links.collect(),
            rng,
            air: BTreeMap::new(),
            frames: 0,
            octets_per_s: config.octets_per_s,
        }
    }

    pub(super) fn carries(&self, link: LinkId) -> bool {
        !self.links[usize::from(link.0)].is_down
    }

    /// Returns when something is due; of what the links tell of themselves only where they are
    /// `heard`.
    pub(super) fn poll_timeout(&self, heard: bool) -> Option<Instant> {
        let turns = self
            .links
            .iter()
            .filter_map(|link| link.turn_at.filter(|_| heard));
        turns.chain(self.air.keys().map(|(at, _)| *at).next()).min()
    }

    /// From now on every link carries what it is given.
    pub(super) fn calm_down(&mut self, now: Instant) {
        for link in &mut self.links {
            link.turn_at = link.is_down.then_some(now);
        }
    }

    /// Returns what a link tells of itself next.
    pub(super) fn poll_event(&mut self, now: Instant, calm: bool) -> Option<(LinkId, LinkEvent)> {
        let due = |link: &Link| link.turn_at.is_some_and(|at| at <= now);
        let index = self.links.iter().position(due)?;
        let span_s = 1 + self.rng.below(90);
        let link = &mut self.links[index];
        link.is_down = !link.is_down;
        link.busy_until = now;
        let span_s = if link.is_down { span_s } else { span_s * 4 };
        link.turn_at = (!calm).then(|| now + Duration::from_secs(span_s));
        let event = if link.is_down {
            LinkEvent::Down
        } else {
            LinkEvent::Up
        };
        Some((LinkId(u16::try_from(index).unwrap_or(0)), event))
    }

    /// Takes a frame; returns until when the link is busy, where it is no faster than that.
    pub(super) fn send(&mut self, now: Instant, link: LinkId, frame: Frame) -> Option<Instant> {
        let state = &mut self.links[usize::from(link.0)];
        if state.is_down {
            return None;
        }
        let busy = self.octets_per_s.map(|octets_per_s| {
            let octets = u64::try_from(frame.1.len()).unwrap_or(0);
            let span = Duration::from_millis(1 + octets * 1000 / u64::from(octets_per_s));
            state.busy_until = state.busy_until.max(now) + span;
            state.busy_until
        });
        self.frames += 1;
        self.air.insert((busy.unwrap_or(now), self.frames), frame);
        busy
    }

    /// Returns the next frame that has been sent.
    pub(super) fn poll_sent(&mut self, now: Instant) -> Option<Frame> {
        let entry = self.air.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
