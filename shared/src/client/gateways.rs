//! The gateways a node knows, and which one to try next [MQTT-SN 1.2 §6.1, §6.13].

use heapless::Vec;

use super::address::GatewayAddr;
use super::config::GATEWAYS_MAX;
use crate::time::Instant;

/// A gateway the node may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gateway {
    /// Its id; a configured gateway's becomes known by hearing it.
    pub(super) gw_id: Option<u8>,
    pub(super) addr: GatewayAddr,
}

/// The list of known gateways, in order of preference.
#[derive(Clone, Debug, Default)]
pub(super) struct Gateways(Vec<Known, GATEWAYS_MAX, u8>);

#[derive(Clone, Debug)]
struct Known {
    gateway: Gateway,
    /// When it drops out of the list unless heard again; a configured one never does.
    expires: Option<Instant>,
    /// Whether it advertises itself, so that its own period says how long to keep it.
    advertises: bool,
    /// Until when it has asked to be left alone.
    held_until: Option<Instant>,
    /// Whether it has not answered in this round.
    failed: bool,
}

/// How a gateway was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By its ADVERTISE.
    Advertise,
    /// By its own GWINFO.
    GwInfo,
    /// By the GWINFO of another node.
    Hearsay,
}

/// What hearing of a gateway has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Again,
    Revived,
    New,
    NoRoom,
}

impl Gateways {
    pub(super) fn configured(addrs: &[GatewayAddr]) -> Self {
        Self(
            addrs
                .iter()
                .take(GATEWAYS_MAX)
                .map(|addr| Known {
                    gateway: Gateway {
                        gw_id: None,
                        addr: *addr,
                    },
                    expires: None,
                    advertises: false,
                    held_until: None,
                    failed: false,
                })
                .collect(),
        )
    }

    /// Returns the first gateway that may be tried now, `preferred` before the others.
    pub(super) fn pick(&self, now: Instant, preferred: Option<GatewayAddr>) -> Option<Gateway> {
        let mut usable = self.0.iter().filter(|known| known.is_usable(now));
        let first = usable.clone().next();
        usable
            .find(|known| preferred == Some(known.gateway.addr))
            .or(first)
            .map(|known| known.gateway)
    }

    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = Gateway> {
        let kept = self.0.iter().filter(move |known| !known.has_expired(now));
        kept.map(|known| known.gateway)
    }

    pub(super) fn first(&self) -> Option<Gateway> {
        self.0.first().map(|known| known.gateway)
    }

    pub(super) fn fail(&mut self, addr: GatewayAddr) {
        self.with(addr, |known| known.failed = true);
    }

    pub(super) fn has_failed(&self, addr: GatewayAddr) -> bool {
        self.0
            .iter()
            .any(|known| known.gateway.addr == addr && known.failed)
    }

    pub(super) fn hold(&mut self, addr: GatewayAddr, until: Instant) {
        self.with(addr, |known| known.held_until = Some(until));
    }

    /// Learns the full address of a gateway whose port was not known.
    pub(super) fn move_to(&mut self, addr: GatewayAddr, full: GatewayAddr) {
        self.with(addr, |known| known.gateway.addr = full);
    }

    pub(super) fn forgive(&mut self) {
        self.0.iter_mut().for_each(|known| known.failed = false);
    }

    /// Returns when the first gateway may be tried if all have asked to be left alone, `now`
    /// if one has not, and `None` if there are none.
    pub(super) fn free_at(&self, now: Instant) -> Option<Instant> {
        self.0
            .iter()
            .map(|known| known.held_until.unwrap_or(now))
            .min()
    }

    pub(super) fn purge(&mut self, now: Instant) {
        self.0.retain(|known| !known.has_expired(now));
    }

    /// Takes note of a gateway that was heard of, and keeps it until `expires`. A new one is
    /// only kept where `add` says so.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        heard: Gateway,
        source: Source,
        expires: Instant,
        add: bool,
    ) -> Heard {
        if let Some(known) = self
            .0
            .iter_mut()
            .find(|known| known.gateway.addr.is_same_gateway(&heard.addr))
        {
            return known.hear(now, heard, source, expires);
        }
        if !add {
            return Heard::Again;
        }
        if self.0.is_full() {
            // One that fell silent and was only heard of gives way to one that speaks.
            self.0.retain(|known| {
                let gone = known.failed || known.has_expired(now);
                !(gone && known.expires.is_some())
            });
        }
        let known = Known {
            gateway: heard,
            expires: Some(expires),
            advertises: source == Source::Advertise,
            held_until: None,
            failed: false,
        };
        self.0.push(known).map_or(Heard::NoRoom, |()| Heard::New)
    }

    fn with(&mut self, addr: GatewayAddr, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.0.iter_mut().find(|known| known.gateway.addr == addr) {
            change(known);
        }
    }
}

impl Known {
    /// What another node says of a gateway does not overrule what this one found out: that it
    /// was silent, and when it advertised itself.
    fn hear(&mut self, now: Instant, heard: Gateway, source: Source, expires: Instant) -> Heard {
        self.gateway.gw_id = heard.gw_id;
        if self.has_expired(now) || source == Source::Advertise || !self.advertises {
            self.expires = self.expires.and(Some(expires));
        }
        if source == Source::Hearsay {
            return Heard::Again;
        }
        self.advertises |= source == Source::Advertise;
        if self.gateway.addr.lacks_port() {
            self.gateway.addr = heard.addr;
        }
        if core::mem::take(&mut self.failed) {
            Heard::Revived
        } else {
            Heard::Again
        }
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn is_usable(&self, now: Instant) -> bool {
        !self.failed && !self.has_expired(now) && self.held_until.is_none_or(|until| until <= now)
    }
}
