//! How nodes find the gateway, and gateways each other: ADVERTISE, SEARCHGW and GWINFO
//! [MQTT-SN 1.2 §6.1] D-09.
//!
//! The gateway makes itself known only while it can serve who comes: once the upstream has been
//! there, and until it has been away for so long that CONNECT is refused (D-36). As a stand-by
//! it stays silent for as long as another gateway is heard.

use shared::time::{Duration, Instant};
use shared::wire::{Advertise, GwInfo, Message, SearchGw};

use super::engine::Engine;
use super::output::{DropReason, Notice};
use super::policy::Priority;
use super::port::{Binding, LinkId, Peer};
use super::settings::Discovery;

/// The longest random wait before an ADVERTISE that is not part of a sequence: gateways that
/// start together shall not speak together.
const FIRST_MAX: Duration = Duration::from_secs(5);

/// The shortest T_ADV. The standard asks for more than 15 minutes; a test wants less.
const ADVERTISE_EVERY_MIN: Duration = Duration::from_secs(1);

/// T_ADV of a gateway that has not said its own [MQTT-SN 1.2 §7.2].
const ADVERTISE_EVERY: Duration = Duration::from_secs(15 * 60);

/// How many ADVERTISEs a gateway must miss before it counts as gone (N_ADV), where the settings
/// do not say it.
const MISSES: u8 = 3;

/// The most other gateways that are kept in mind on one link.
pub(super) const OTHERS_MAX: usize = 16;

/// The time between two notices about another gateway with our id.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(600);

/// The greatest radius that an encapsulation can say [MQTT-SN 1.2 §5.5].
const FORWARD_RADIUS_MAX: u8 = 3;

/// The gateway's own ADVERTISEs on a link, and the other gateways there.
#[derive(Debug)]
pub(super) struct Discovering {
    next: Option<Instant>,
    /// Since when others could be heard.
    listens_since: Instant,
    /// Whether a stand-by gateway advertises in another's place.
    stands_in: bool,
    others: Vec<OtherGateway>,
    conflict_told: Option<Instant>,
}

/// Another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherGateway {
    gw_id: u8,
    binding: Binding,
    /// The time between its ADVERTISEs.
    every: Duration,
    /// When it counts as gone.
    expires: Instant,
}

impl Discovering {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            next: None,
            listens_since: now,
            stands_in: false,
            others: Vec::new(),
            conflict_told: None,
        }
    }

    /// Returns when the next ADVERTISE is due.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Notes that nothing could be heard of others before `now`.
    pub(super) const fn listen_from(&mut self, now: Instant) {
        self.listens_since = now;
    }

    /// Returns until when a stand-by gateway leaves it to others; `None` where it is no stand-by.
    fn stands_by_until(&self, discovery: Discovery) -> Option<Instant> {
        let misses = discovery.standby_misses?;
        let unheard = self.listens_since + gone_after(own_every(discovery), misses);
        let others = self.others.iter().map(|other| other.expires);
        Some(others.fold(unheard, Instant::max))
    }

    /// Keeps another gateway in mind; returns whether it is a new one, or `Err` where there is
    /// no room for it.
    fn keep(&mut self, now: Instant, heard: OtherGateway) -> Result<bool, ()> {
        self.others.retain(|other| other.expires > now);
        let same = |other: &&mut OtherGateway| {
            other.gw_id == heard.gw_id && other.binding == heard.binding
        };
        if let Some(known) = self.others.iter_mut().find(same) {
            *known = heard;
            return Ok(false);
        }
        // Newcomers make nobody forgotten: a flood of them must not hide the gateway that this
        // one stands by for.
        if self.others.len() >= OTHERS_MAX {
            return Err(());
        }
        self.others.push(heard);
        Ok(true)
    }

    fn every_of(&self, gw_id: u8, binding: Binding) -> Option<Duration> {
        let mut others = self.others.iter();
        let known = others.find(|other| other.gw_id == gw_id && other.binding == binding);
        known.map(|other| other.every)
    }
}

impl Engine {
    /// Has an ADVERTISE sent soon where none is due: at the start, and where the last one that
    /// was due was left out.
    pub(super) fn advertise_soon(&mut self, now: Instant, link: LinkId) {
        let Some(discovery) = self.settings.link(link).discovery else {
            return;
        };
        let wait = self.rng.duration_below(FIRST_MAX);
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        let discovering = &mut state.discovering;
        if discovery.advertise_every.is_none() || discovering.next.is_some() {
            return;
        }
        discovering.next = Some(now + wait);
        self.arm_link(link);
    }

    /// Sends the ADVERTISE that is due, if one is.
    pub(super) fn advertise_due(&mut self, now: Instant, link: LinkId) {
        let is_there = self.upstream_is_there(now);
        let wait = self.rng.duration_below(FIRST_MAX);
        let discovery = self.settings.link(link).discovery;
        let Some(state) = self.links.get_mut(link) else {
            return;
        };
        let is_up = state.is_up();
        let discovering = &mut state.discovering;
        if discovering.next.is_none_or(|at| at > now) {
            return;
        }
        discovering.next = None;
        let Some(discovery) = discovery.filter(|discovery| discovery.advertise_every.is_some())
        else {
            return;
        };
        // A.6, D-36: where there is no broker nobody shall come. The upstream's return, and the
        // link's, start it again.
        if !is_there || !is_up {
            return;
        }
        let stands_by_until = discovering.stands_by_until(discovery);
        if let Some(until) = stands_by_until.filter(|until| *until > now) {
            discovering.next = Some(until + wait);
            return;
        }
        let every = own_every(discovery);
        discovering.next = Some(now + every);
        if stands_by_until.is_some() && !std::mem::replace(&mut discovering.stands_in, true) {
            self.out.notice(Notice::StandsIn { link, yes: true });
        }
        let advertise = Message::Advertise(Advertise {
            gw_id: self.settings.gw_id,
            duration_s: u16::try_from(every.as_secs()).unwrap_or(u16::MAX),
        });
        self.out.broadcast(link, 0, &advertise);
    }

    /// Answers SEARCHGW to who asked, and to everyone on the link (D-09), both at a bounded
    /// rate.
    pub(super) fn search(
        &mut self,
        now: Instant,
        binding: Binding,
        search: SearchGw,
        octets: usize,
    ) {
        let Some(discovery) = self.settings.link(binding.link).discovery else {
            let reason = DropReason::Unexpected;
            return self.out.dropped(Some(binding), None, reason, octets);
        };
        let stands_by = self.links.get(binding.link).is_some_and(|state| {
            let until = state.discovering.stands_by_until(discovery);
            until.is_some_and(|until| until > now)
        });
        if stands_by || !self.upstream_is_there(now) || !self.searches.allow(now, binding) {
            self.out.stats.replies_withheld += 1;
            return;
        }
        // [MQTT-SN 1.2 §6.1] Only clients give an address.
        let info = Message::GwInfo(GwInfo {
            gw_id: self.settings.gw_id,
            gw_addr: &[],
        });
        self.out.transmit_within(
            Priority::Normal,
            &binding,
            forward_radius(search.radius),
            &info,
        );
        // Who is heard on a line by no name of its own was answered so that all have heard it.
        let all_have_heard = binding.peer == Peer::Line && binding.node_id.is_none();
        if !all_have_heard && self.searches_all.allow(now, binding.link) {
            self.out.broadcast(binding.link, search.radius, &info);
        }
    }

    /// Handles ADVERTISE of another gateway.
    pub(super) fn hear_advertise(
        &mut self,
        now: Instant,
        binding: Binding,
        advertise: Advertise,
        octets: usize,
    ) {
        let every = Duration::from_secs(u64::from(advertise.duration_s));
        self.hear_gateway(now, binding, advertise.gw_id, Some(every), octets);
    }

    /// Handles GWINFO: of another gateway, or of a client that knows one.
    pub(super) fn hear_info(
        &mut self,
        now: Instant,
        binding: Binding,
        info: &GwInfo<'_>,
        octets: usize,
    ) {
        // What a client knows of a gateway is no sign of that gateway.
        if info.gw_addr.is_empty() {
            self.hear_gateway(now, binding, info.gw_id, None, octets);
        }
    }

    fn hear_gateway(
        &mut self,
        now: Instant,
        binding: Binding,
        gw_id: u8,
        every: Option<Duration>,
        octets: usize,
    ) {
        let link = binding.link;
        let own_id = self.settings.gw_id;
        let (Some(discovery), Some(state)) =
            (self.settings.link(link).discovery, self.links.get_mut(link))
        else {
            let reason = DropReason::Unexpected;
            return self.out.dropped(Some(binding), None, reason, octets);
        };
        let discovering = &mut state.discovering;
        if gw_id == own_id {
            let told = discovering.conflict_told;
            if told.is_none_or(|told| now.since(told) >= CONFLICT_INTERVAL) {
                discovering.conflict_told = Some(now);
                self.out.notice(Notice::GatewayIdTaken { gw_id, binding });
            }
            return;
        }
        let every = every
            .filter(|every| *every > Duration::ZERO)
            .or_else(|| discovering.every_of(gw_id, binding))
            .unwrap_or_else(|| own_every(discovery));
        let misses = discovery.standby_misses.unwrap_or(MISSES);
        let heard = OtherGateway {
            gw_id,
            binding,
            every,
            expires: now + gone_after(every, misses),
        };
        let yields = std::mem::take(&mut discovering.stands_in);
        match discovering.keep(now, heard) {
            Ok(true) => self.out.notice(Notice::OtherGateway { gw_id, binding }),
            Ok(false) => {}
            Err(()) => {
                let reason = DropReason::GatewaysFull;
                self.out.dropped(Some(binding), None, reason, octets);
            }
        }
        if yields {
            self.out.notice(Notice::StandsIn { link, yes: false });
        }
    }
}

fn own_every(discovery: Discovery) -> Duration {
    discovery
        .advertise_every
        .unwrap_or(ADVERTISE_EVERY)
        .max(ADVERTISE_EVERY_MIN)
}

/// Returns how long after its last ADVERTISE a gateway counts as gone, with some room for clocks
/// and links.
fn gone_after(every: Duration, misses: u8) -> Duration {
    every.saturating_mul(misses.max(1).into()).percent(110)
}

/// Returns a radius as the encapsulation can say it: what is wider goes through the whole
/// network (A.16).
const fn forward_radius(radius: u8) -> u8 {
    if radius > FORWARD_RADIUS_MAX {
        0
    } else {
        radius
    }
}
