//! Where a gateway is, and where a datagram goes.

use core::fmt;

/// The address of a gateway on the node's link, 0 to 18 octets that only the driver can read.
///
/// A point-to-point radio uses the empty address, UDP the address and port as octets (6 or
/// 18). An address learnt from another node's GWINFO has no port (D-05): 4 or 16 octets, to
/// which the driver adds the link's usual port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayAddr {
    len: u8,
    octets: [u8; Self::LEN_MAX],
}

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
    pub const POINT_TO_POINT: Self = Self {
        len: 0,
        octets: [0; Self::LEN_MAX],
    };

    /// Creates an address, or returns `None` where `octets` has more than [`Self::LEN_MAX`].
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut kept = [0; Self::LEN_MAX];
        kept.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(Self {
            len: u8::try_from(octets.len()).ok()?,
            octets: kept,
        })
    }

    /// Returns the octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or(&[])
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

    /// Returns whether a datagram from `sender` comes from this address: it is the same, or
    /// this one came from a GWINFO and lacks the port only.
    pub(super) fn is_sender(&self, sender: &Self) -> bool {
        let port_missing = matches!(self.len, 4 | 16) && self.as_bytes() == sender.without_port();
        self == sender || port_missing
    }
}

impl fmt::Debug for GatewayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayAddr(")?;
        self.as_bytes()
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}
