//! Where a gateway is, and where a datagram goes.

use core::fmt;

use crate::octets::Octets;

/// The address of a gateway on the node's link, 0 to 18 octets that only the driver can read.
///
/// A point-to-point radio uses the empty address, UDP the address and port as octets (6 or
/// 18). An address learnt from another node's GWINFO has no port (D-05): 4 or 16 octets, to
/// which the driver adds the link's usual port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayAddr(Octets<{ Self::LEN_MAX }>);

/// One datagram to send; its octets are at the front of the buffer given to
/// [`poll_transmit`](super::Client::poll_transmit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// Its length in octets.
    pub len: usize,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To everyone within `radius` hops; 0 is the whole network.
    Broadcast {
        /// The reach in hops.
        radius: u8,
    },
    /// To one gateway.
    Gateway(GatewayAddr),
}

impl GatewayAddr {
    /// The longest address, in octets: IPv6 and a port.
    pub const LEN_MAX: usize = 18;

    /// The address of the one gateway of a link that has no addresses.
    pub const POINT_TO_POINT: Self = Self(Octets::EMPTY);

    /// Creates an address, or returns `None` where `octets` has more than [`Self::LEN_MAX`].
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        Octets::new(octets).map(Self)
    }

    /// Returns the octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl GatewayAddr {
    /// Returns the octets without the port, as GWINFO carries them (D-05).
    pub(super) fn without_port(&self) -> &[u8] {
        let octets = self.as_bytes();
        match octets.len() {
            6 | 18 => octets.get(..octets.len() - 2).unwrap_or(octets),
            _ => octets,
        }
    }

    /// Returns whether the port is not known: the address came from another node (D-05).
    pub(super) const fn lacks_port(&self) -> bool {
        matches!(self.0.len(), 4 | 16)
    }

    /// Returns whether both are the address of one gateway: they are the same, or one lacks
    /// the port only.
    pub(super) fn is_same_gateway(&self, other: &Self) -> bool {
        self == other
            || ((self.lacks_port() || other.lacks_port())
                && self.without_port() == other.without_port())
    }

    /// Returns whether a datagram from `sender` comes from this address: it is the same, or
    /// this one lacks the port only.
    pub(super) fn is_sender(&self, sender: &Self) -> bool {
        self == sender || (self.lacks_port() && self.is_same_gateway(sender))
    }
}

impl fmt::Debug for GatewayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayAddr({})", self.0)
    }
}
