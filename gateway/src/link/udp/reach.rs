//! Whether a socket's network is there at all.
//!
//! UDP says little about that, so both ways need more than one sign.
//!
//! ```text
//!           sends fail for 5 s and nothing works, or the own address has gone
//!   there ────────────────────────────────────────────────────────────────────► gone
//!     ◄──────────────────────────────────────────────────────────────────────────
//!           something was sent or heard, or a route and the address are back
//! ```

use std::io;
use std::net::SocketAddr;

use nix::libc::{EADDRNOTAVAIL, ENETDOWN, ENETUNREACH};
use shared::time::{Duration, Instant};

use crate::session::LinkEvent;

/// What sends and looks have told of the network.
#[derive(Debug, Default)]
pub(super) struct Reach {
    is_gone: bool,
    failing: Option<Failing>,
    /// How often in a row the own address was not there.
    address_missing: u32,
}

/// Sends that failed in a row.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    count: u32,
    last: SocketAddr,
}

/// What the host says when it is looked at.
pub(super) trait Host {
    /// Returns whether the address that the link listens on is one of the host's.
    fn has_own_address(&self) -> bool;
    /// Returns whether a datagram to there would find a way.
    fn has_route(&self, to: SocketAddr) -> bool;
}

impl Reach {
    /// Returns whether an error means that the network is not there, rather than one peer.
    pub(super) fn is_the_networks(error: &io::Error) -> bool {
        matches!(
            error.raw_os_error(),
            Some(ENETDOWN | ENETUNREACH | EADDRNOTAVAIL)
        )
    }

    /// Notes a send that the network has failed.
    pub(super) fn failed(&mut self, now: Instant, to: SocketAddr) {
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            count: 0,
            last: to,
        });
        failing.count = failing.count.saturating_add(1);
        failing.last = to;
    }

    /// Notes that something was sent; the next look tells the driver.
    pub(super) const fn sent(&mut self) {
        self.failing = None;
    }

    /// Notes that something was heard; returns what the driver must be told before that.
    pub(super) fn heard(&mut self) -> Option<LinkEvent> {
        self.failing = None;
        self.address_missing = 0;
        self.turn(false)
    }

    /// Returns whether there is anything that a datagram would change.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.is_gone || self.failing.is_some()
    }

    /// Looks at the host; returns what the driver must be told.
    pub(super) fn look(&mut self, now: Instant, host: &impl Host) -> Option<LinkEvent> {
        if host.has_own_address() {
            self.address_missing = 0;
        } else {
            self.address_missing = self.address_missing.saturating_add(1);
        }
        if self.address_missing >= LOOKS {
            return self.turn(true);
        }
        let Some(failing) = self.failing else {
            return (self.address_missing == 0).then(|| self.turn(false))?;
        };
        if host.has_route(failing.last) {
            self.failing = None;
            return self.turn(false);
        }
        let for_long = now.since(failing.since) >= PATIENCE && failing.count >= SENDS;
        for_long.then(|| self.turn(true))?
    }

    fn turn(&mut self, is_gone: bool) -> Option<LinkEvent> {
        let has_turned = self.is_gone != is_gone;
        self.is_gone = is_gone;
        let event = if is_gone {
            LinkEvent::Down
        } else {
            LinkEvent::Up
        };
        has_turned.then_some(event)
    }
}

/// The sends that must have failed before the network is taken for gone.
const SENDS: u32 = 3;
/// For how long they must have failed: a route that is being changed is back before that.
const PATIENCE: Duration = Duration::from_secs(5);
/// The looks in a row that must have missed the own address.
const LOOKS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Seen {
        address: bool,
        route: bool,
    }

    impl Host for Seen {
        fn has_own_address(&self) -> bool {
            self.address
        }

        fn has_route(&self, _: SocketAddr) -> bool {
            self.route
        }
    }

    const FINE: Seen = Seen {
        address: true,
        route: true,
    };
    const NO_ROUTE: Seen = Seen {
        route: false,
        ..FINE
    };
    const NO_ADDRESS: Seen = Seen {
        address: false,
        ..FINE
    };

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn to() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 1))
    }

    #[test]
    fn sends_that_fail_for_long_mean_that_the_network_is_gone() {
        let mut reach = Reach::default();
        for secs in 0..5 {
            reach.failed(at(secs), to());
            assert_eq!(reach.look(at(secs), &NO_ROUTE), None, "{secs}");
        }
        assert_eq!(reach.look(at(5), &NO_ROUTE), Some(LinkEvent::Down));
        assert_eq!(reach.look(at(6), &NO_ROUTE), None);
        // Nothing is sent while it is gone, and yet the way back is found.
        assert_eq!(reach.look(at(7), &FINE), Some(LinkEvent::Up));
        assert_eq!(reach.look(at(8), &FINE), None);
    }

    #[test]
    fn one_thing_that_works_clears_all_doubt() {
        let mut reach = Reach::default();
        for secs in 0..5 {
            reach.failed(at(secs), to());
        }
        assert!(reach.is_in_doubt());
        reach.sent();
        assert!(!reach.is_in_doubt());
        reach.failed(at(5), to());
        assert_eq!(reach.look(at(20), &NO_ROUTE), None, "one send is no sign");
        for secs in 20..26 {
            reach.failed(at(secs), to());
        }
        assert_eq!(reach.look(at(26), &NO_ROUTE), Some(LinkEvent::Down));
        assert_eq!(reach.heard(), Some(LinkEvent::Up));
        assert_eq!(reach.heard(), None);
    }

    #[test]
    fn a_route_that_is_there_again_is_no_doubt() {
        let mut reach = Reach::default();
        for secs in 0..9 {
            reach.failed(at(secs), to());
        }
        assert_eq!(reach.look(at(9), &FINE), None);
        assert!(!reach.is_in_doubt());
    }

    #[test]
    fn an_address_that_has_gone_takes_the_link_down() {
        let mut reach = Reach::default();
        assert_eq!(reach.look(at(0), &NO_ADDRESS), None, "one look is no sign");
        assert_eq!(reach.look(at(1), &NO_ADDRESS), Some(LinkEvent::Down));
        assert_eq!(reach.look(at(2), &NO_ADDRESS), None);
        assert_eq!(reach.look(at(3), &FINE), Some(LinkEvent::Up));
        assert_eq!(reach.look(at(4), &NO_ADDRESS), None);
        assert_eq!(reach.look(at(5), &FINE), None);
    }

    #[test]
    fn one_peer_that_cannot_be_reached_is_not_the_network() {
        for (code, is) in [
            (ENETUNREACH, true),
            (ENETDOWN, true),
            (EADDRNOTAVAIL, true),
            (nix::libc::EHOSTUNREACH, false),
            (nix::libc::ECONNREFUSED, false),
            (nix::libc::EMSGSIZE, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(Reach::is_the_networks(&error), is, "{error}");
        }
    }
}
