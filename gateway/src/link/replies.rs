//! From which of our addresses each peer expects its answers.
//!
//! A socket that listens on every address would answer from the one that the routing table
//! prefers. A node that sent to another one, over a second interface or a VPN, does not take
//! that answer for its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// The addresses that the latest peers sent to; the oldest are forgotten by halves.
#[derive(Debug, Default)]
pub(super) struct Replies {
    young: HashMap<SocketAddr, IpAddr>,
    old: HashMap<SocketAddr, IpAddr>,
}

impl Replies {
    /// Notes that `peer` sent to `own`.
    pub(super) fn learn(&mut self, peer: SocketAddr, own: IpAddr) {
        // Nothing can be sent from a group's address or from everyone's.
        if own.is_multicast() || own == IpAddr::from([255; 4]) {
            return;
        }
        if self.young.len() >= YOUNG_MAX && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(peer, own);
    }

    /// Returns the address that `peer` sent to last, as far as it is remembered.
    pub(super) fn source(&self, peer: &SocketAddr) -> Option<IpAddr> {
        let source = self.young.get(peer).or_else(|| self.old.get(peer));
        source.copied()
    }

    /// Forgets what was learned of `peer`.
    pub(super) fn forget(&mut self, peer: &SocketAddr) {
        self.young.remove(peer);
        self.old.remove(peer);
    }
}

/// The peers after which a new half begins: 16,384 and as many old ones take about 2 MB.
const YOUNG_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_peers_are_remembered_and_no_more() {
        let own = IpAddr::from([192, 0, 2, 1]);
        let peer = |n: u32| SocketAddr::from((n.to_be_bytes(), 1000));
        let count = u32::try_from(YOUNG_MAX).unwrap() * 3;
        let mut replies = Replies::default();
        for n in 0..count {
            replies.learn(peer(n), own);
        }
        assert_eq!(replies.source(&peer(0)), None);
        assert_eq!(replies.source(&peer(count - 1)), Some(own));
        assert!(replies.young.len() + replies.old.len() <= 2 * YOUNG_MAX);
        replies.forget(&peer(count - 1));
        assert_eq!(replies.source(&peer(count - 1)), None);
    }

    #[test]
    fn nobody_answers_from_a_group() {
        let mut replies = Replies::default();
        let peer = SocketAddr::from(([192, 0, 2, 9], 1000));
        for own in ["224.0.0.1", "ff02::1", "255.255.255.255"] {
            replies.learn(peer, own.parse().unwrap());
            assert_eq!(replies.source(&peer), None, "{own}");
        }
    }
}
