//! The groups of a UDP link: where nodes look for gateways (D-09).

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::reader::Section;

/// The groups on which a UDP link makes its gateway known (D-09).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastConfig {
    /// The groups with their ports, IPv4 and IPv6: `225.1.1.1:1883`, `[ff02::1:883]:1883`.
    /// Each needs a socket of the link that speaks its protocol.
    pub groups: Vec<SocketAddr>,
    /// The network on which the groups are joined and sent to; where nothing is said, that of
    /// the address the link listens on, or the one that the kernel prefers.
    pub interface: Option<NetInterface>,
    /// The most routers plus one that a datagram to a group may pass, whatever radius was
    /// asked for; 1 stays in the network of the link.
    pub hops_max: u8,
}

/// The hop limit where nothing is configured: discovery stays in its own network (D-09).
pub const DEFAULT_HOPS_MAX: u8 = 1;

impl MulticastConfig {
    /// Creates the settings of some groups, all others at their defaults.
    #[must_use]
    pub fn new(groups: impl Into<Vec<SocketAddr>>) -> Self {
        Self {
            groups: groups.into(),
            interface: None,
            hops_max: DEFAULT_HOPS_MAX,
        }
    }

    /// Returns the hop limit for a radius; 0 means the whole network [MQTT-SN 1.2 §5.3.9].
    #[must_use]
    pub const fn hops(&self, radius: u8) -> u8 {
        if radius == 0 || radius > self.hops_max {
            self.hops_max
        } else {
            radius
        }
    }

    /// Returns why a link cannot use these groups that listens at `listen`, if it cannot.
    #[must_use]
    pub fn trouble(&self, listen: SocketAddr, dual_stack: bool) -> Option<GroupTrouble> {
        self.groups.iter().find_map(|group| {
            let speaks = match group {
                SocketAddr::V4(_) => listen.is_ipv4() || dual_stack && listen.ip().is_unspecified(),
                SocketAddr::V6(_) => listen.is_ipv6(),
            };
            match (group.ip().is_multicast(), group.port(), speaks) {
                (false, ..) => Some(GroupTrouble::NoGroup(*group)),
                (_, 0, _) => Some(GroupTrouble::NoPort(*group)),
                (.., false) => Some(GroupTrouble::OtherFamily(*group)),
                _ => None,
            }
        })
    }
}

impl MulticastConfig {
    /// Reads the groups of a link that listens at `listen`.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        listen: SocketAddr,
        dual_stack: bool,
    ) -> Option<Self> {
        let groups: Vec<SocketAddr> = section.or("multicast.groups", Vec::new());
        if groups.is_empty() {
            for key in ["multicast.interface", "multicast.hops_max"] {
                if section.has(key) {
                    section.warn(key, "it does nothing without multicast.groups");
                }
            }
            return None;
        }
        let interface: Option<String> = section.optional("multicast.interface");
        let read = Self {
            groups,
            interface: interface.map(|text| {
                let Ok(interface) = text.parse();
                interface
            }),
            hops_max: section.or("multicast.hops_max", DEFAULT_HOPS_MAX),
        };
        if let Some(trouble) = read.trouble(listen, dual_stack) {
            section.refuse("multicast.groups", &trouble.to_string());
        }
        Some(read)
    }
}

/// Why a link cannot use a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupTrouble {
    /// The address is not one of a group.
    NoGroup(SocketAddr),
    /// The port is missing.
    NoPort(SocketAddr),
    /// The link's socket cannot send to it.
    OtherFamily(SocketAddr),
}

impl fmt::Display for GroupTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGroup(group) => write!(
                f,
                "{group} is no multicast group: take one of 224.0.0.0/4 or ff00::/8, such as \
                 225.1.1.1:1883"
            ),
            Self::NoPort(group) => write!(f, "{group} has no port: nodes send to one"),
            Self::OtherFamily(group) => write!(
                f,
                "{group} cannot be sent to from the address that the link listens on: IPv4 \
                 groups need an IPv4 address, or \"[::]\" with dual_stack, and IPv6 groups an \
                 IPv6 address"
            ),
        }
    }
}

/// A network interface, as an operator may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetInterface {
    /// The one that has this address.
    Address(IpAddr),
    /// The one of this name: `eth0`.
    Name(String),
    /// The one of this number, from 1 on.
    Index(u32),
}

impl FromStr for NetInterface {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let address = text.parse().map(Self::Address);
        let index = || text.parse().map(Self::Index);
        Ok(address
            .or_else(|_| index())
            .unwrap_or_else(|_| Self::Name(text.to_owned())))
    }
}

impl fmt::Display for NetInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Index(index) => index.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_an_address_a_number_or_a_name() {
        for (text, expected) in [
            ("eth0", NetInterface::Name("eth0".to_owned())),
            ("3", NetInterface::Index(3)),
            ("10.1.2.3", NetInterface::Address([10, 1, 2, 3].into())),
            ("::1", NetInterface::Address("::1".parse().unwrap())),
        ] {
            let Ok(interface) = text.parse::<NetInterface>();
            assert_eq!(interface, expected);
            assert_eq!(interface.to_string(), text);
        }
    }

    #[test]
    fn d09_the_radius_is_the_hop_limit_up_to_the_configured_one() {
        let config = MulticastConfig {
            hops_max: 4,
            ..MulticastConfig::new([])
        };
        for (radius, hops) in [(0, 4), (1, 1), (3, 3), (4, 4), (5, 4), (255, 4)] {
            assert_eq!(config.hops(radius), hops, "{radius}");
        }
        assert_eq!(MulticastConfig::new([]).hops(0), 1);
    }

    #[test]
    fn a_group_must_be_one_that_the_socket_can_send_to() {
        let check = |group: &str, listen: &str, dual_stack| {
            let config = MulticastConfig::new([group.parse().unwrap()]);
            config.trouble(listen.parse().unwrap(), dual_stack)
        };
        let (v4, v6) = ("225.1.1.1:1883", "[ff02::1:883]:1883");
        assert_eq!(check(v4, "0.0.0.0:10000", false), None);
        assert_eq!(check(v6, "[::]:10000", false), None);
        assert_eq!(check(v4, "[::]:10000", true), None);
        for (group, listen, dual_stack, text) in [
            (v4, "[::]:10000", false, "dual_stack"),
            (v4, "[::1]:10000", true, "dual_stack"),
            (v6, "0.0.0.0:10000", false, "an IPv6 address"),
            ("10.0.0.1:1883", "0.0.0.0:10000", false, "224.0.0.0/4"),
            ("225.1.1.1:0", "0.0.0.0:10000", false, "no port"),
        ] {
            let trouble = check(group, listen, dual_stack).unwrap().to_string();
            assert!(trouble.contains(text) && trouble.contains(group.split(':').next().unwrap()));
        }
    }
}
