//! Finding gateways, and trying them in turn [MQTT-SN 1.2 §6.1].

use super::Client;
use super::address::{Destination, GatewayAddr, Transmit};
use super::event::Event;
use super::gateways::{Gateway, Heard, Source};
use super::state::State;
use super::stats::bump;
use crate::time::{Duration, Instant};
use crate::wire::{Advertise, GwInfo, Message, SearchGw};

/// A search under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// When SEARCHGW is to be sent; `None` is at once.
    send_at: Option<Instant>,
    /// The gap after the next SEARCHGW.
    gap: Duration,
    /// How often SEARCHGW is still to be sent.
    left: u8,
    repeat: bool,
}

/// What this node tells another one that searches [MQTT-SN 1.2 §6.1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sharing {
    #[default]
    Nothing,
    /// GWINFO at this time, unless someone else is faster.
    Planned { at: Instant, radius: u8 },
    /// GWINFO now.
    Due { radius: u8 },
}

impl Sharing {
    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Planned { at, .. } => Some(at),
            Self::Nothing | Self::Due { .. } => None,
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if let Self::Planned { at, radius } = *self
            && at <= now
        {
            *self = Self::Due { radius };
        }
    }
}

impl Search {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.send_at
    }

    /// Makes SEARCHGW due when its time has come; returns whether the search is over instead.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.send_at.is_none_or(|at| at > now) {
            return false;
        }
        if self.left > 0 {
            self.send_at = None;
        }
        self.left == 0
    }

    fn sent(&mut self, now: Instant, gap: Duration) {
        self.repeat = true;
        self.left = self.left.saturating_sub(1);
        self.gap = self.gap.saturating_mul(2);
        self.send_at = Some(now + gap);
    }
}

impl<const T: usize, const Q: usize, const P: usize> Client<T, Q, P> {
    /// Connects to the next gateway that may be tried; where there is none, searches or rests.
    pub(super) fn seek(&mut self, now: Instant) {
        self.seek_preferring(now, None);
    }

    /// Starts the next round: gateways that did not answer are tried again. One that did, and
    /// sent the node away, comes first, since it may have the session still.
    pub(super) fn next_round(&mut self, now: Instant) {
        let last = self.gateway.map(|gateway| gateway.addr);
        let preferred = last.filter(|addr| !self.gateways.has_failed(*addr));
        self.gateways.forgive();
        self.seek_preferring(now, preferred);
    }

    fn seek_preferring(&mut self, now: Instant, preferred: Option<GatewayAddr>) {
        self.gateways.purge(now);
        if let Some(gateway) = self.gateways.pick(now, preferred) {
            self.start_connect(gateway, false);
            return;
        }
        self.rounds = self.rounds.saturating_add(1);
        if self.config.discovery.is_some() {
            self.state = State::Searching(self.new_search(now));
        } else {
            self.back_off(now);
        }
    }

    /// Rests, with the radio off, before the next round.
    pub(super) fn back_off(&mut self, now: Instant) {
        let free_at = self.gateways.free_at(now).unwrap_or(now);
        self.state = State::BackingOff {
            until: self.rest_until(now).max(free_at),
        };
    }

    /// Returns when to try again after so many fruitless rounds.
    pub(super) fn rest_until(&mut self, now: Instant) -> Instant {
        let link = &self.config.link;
        now + link.jittered(link.back_off(self.rounds), &mut self.rng)
    }

    /// Keeps the gateway until `n_adv` advertisements were missed, and half a period longer
    /// for the last of them to come late [MQTT-SN 1.2 §6.1].
    pub(super) fn on_advertise(&mut self, now: Instant, from: GatewayAddr, heard: Advertise) {
        let period = Duration::from_secs(u64::from(heard.duration_s).max(1));
        let missed = period.saturating_mul(u64::from(self.config.link.n_adv));
        let gateway = Gateway {
            gw_id: Some(heard.gw_id),
            addr: from,
        };
        let expires = now + missed + period.percent(50);
        self.hear(now, gateway, Source::Advertise, expires);
    }

    pub(super) fn on_gw_info(&mut self, now: Instant, from: GatewayAddr, info: GwInfo<'_>) {
        // Someone has answered already [MQTT-SN 1.2 §6.1].
        self.sharing = Sharing::Nothing;
        // Only nodes send an address (D-05).
        let (source, addr) = match info.bare_addr() {
            [] => (Source::GwInfo, Some(from)),
            octets => (Source::Hearsay, GatewayAddr::new(octets)),
        };
        match addr {
            Some(addr) => {
                let gw_id = Some(info.gw_id);
                self.hear(now, Gateway { gw_id, addr }, source, now + GW_INFO_LIFETIME);
            }
            None => bump(&mut self.stats.bad.field),
        }
    }

    pub(super) fn on_search_gw(&mut self, now: Instant, search: SearchGw) {
        let Some(discovery) = self.config.discovery else {
            bump(&mut self.stats.unexpected);
            return;
        };
        match &mut self.state {
            // Someone asks the same: its answer is ours too [MQTT-SN 1.2 §6.1].
            State::Searching(own) if !own.repeat && search.radius == discovery.radius => {
                own.sent(now, self.config.link.jittered(own.gap, &mut self.rng));
            }
            State::Active { .. } if discovery.answer_others => self.plan_gw_info(now, search),
            _ => {}
        }
    }

    /// Plans to tell of the gateway this node is connected to, where that can be told: its id
    /// is known, and it has an address. Without one, GWINFO would name this node.
    fn plan_gw_info(&mut self, now: Instant, search: SearchGw) {
        let tellable = self
            .gateway
            .is_some_and(|own| own.gw_id.is_some() && own.addr != GatewayAddr::POINT_TO_POINT);
        if tellable && self.sharing == Sharing::Nothing {
            let delay = self.rng.duration_below(self.config.link.t_gw_info);
            self.sharing = Sharing::Planned {
                at: now + delay + TICK,
                radius: search.radius,
            };
        }
    }

    pub(super) fn send_search(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let radius = self.config.discovery?.radius;
        let State::Searching(search) = &mut self.state else {
            return None;
        };
        if search.send_at.is_some() {
            return None;
        }
        if search.repeat {
            bump(&mut self.stats.retries.search);
        }
        search.sent(now, self.config.link.jittered(search.gap, &mut self.rng));
        let written = Message::SearchGw(SearchGw { radius }).emit(buf);
        self.account(now, Destination::Broadcast { radius }, written)
    }

    /// Tells another node, as far as it asked, of the gateway this one is connected to.
    pub(super) fn send_gw_info(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let Sharing::Due { radius } = self.sharing else {
            return None;
        };
        self.sharing = Sharing::Nothing;
        let gateway = self.gateway?;
        let info = GwInfo {
            gw_id: gateway.gw_id?,
            gw_addr: gateway.addr.without_port(),
        };
        let written = Message::GwInfo(info).emit(buf);
        self.account(now, Destination::Broadcast { radius }, written)
    }

    fn hear(&mut self, now: Instant, gateway: Gateway, source: Source, expires: Instant) {
        let add = self.config.discovery.is_some();
        let heard = self.gateways.hear(now, gateway, source, expires, add);
        if let Some(own) = &mut self.gateway
            && own.addr.is_same_gateway(&gateway.addr)
        {
            own.gw_id = gateway.gw_id;
        }
        match heard {
            Heard::NoRoom => bump(&mut self.stats.gateways_dropped),
            Heard::New => self.tell(Event::GatewayFound {
                gw_id: gateway.gw_id.unwrap_or_default(),
                addr: gateway.addr,
            }),
            Heard::Again | Heard::Revived => {}
        }
        let waiting = matches!(self.state, State::Searching(_) | State::BackingOff { .. });
        if waiting
            && matches!(heard, Heard::New | Heard::Revived)
            && let Some(gateway) = self.gateways.pick(now, None)
        {
            self.start_connect(gateway, false);
        }
    }

    /// Searches thoroughly once, shortly in later rounds or where a gateway may come back: a
    /// node out of reach must not listen all the time.
    fn new_search(&mut self, now: Instant) -> Search {
        let link = &self.config.link;
        let first = self.rounds <= 1 && self.gateways.first().is_none();
        Search {
            send_at: Some(now + self.rng.duration_below(link.t_search_gw) + TICK),
            gap: link.t_search_gw,
            left: if first { link.tries_max() } else { 2 },
            repeat: false,
        }
    }
}

/// The smallest step of time: what is planned lies ahead.
const TICK: Duration = Duration::from_millis(1);

/// How long a gateway known only by GWINFO stays in the list: three times the shortest T_ADV
/// the standard allows, 15 minutes [MQTT-SN 1.2 §7.2].
const GW_INFO_LIFETIME: Duration = Duration::from_secs(3 * 15 * 60);
