//! Address prefixes: who may do what from where.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The addresses that share their leading bits: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Returns an address of the prefix.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns how many leading bits all addresses share.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// Returns whether `address` lies within the prefix. An IPv4 address that a dual-stack
    /// socket shows as `::ffff:a.b.c.d` counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same_bits(
                u128::from(own.to_bits()) << 96,
                u128::from(other.to_bits()) << 96,
                self.bits,
            ),
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                same_bits(own.to_bits(), other.to_bits(), self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| NotAPrefix)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits
            .map_or(Ok(bits_max), str::parse)
            .map_err(|_| NotAPrefix)?;
        if bits > bits_max {
            return Err(NotAPrefix);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Who may send encapsulated messages: a prefix, and the port where one is given (D-35).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForwarderRule {
    /// The addresses.
    pub prefix: Prefix,
    /// The only source port, or any.
    pub port: Option<u16>,
}

impl ForwarderRule {
    /// Returns whether `peer` is meant by the rule.
    #[must_use]
    pub fn allows(&self, peer: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == peer.port()) && self.prefix.contains(peer.ip())
    }
}

impl FromStr for ForwarderRule {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let prefix = address.ip().to_string().parse()?;
            let port = Some(address.port());
            return Ok(Self { prefix, port });
        }
        let prefix = text.parse()?;
        Ok(Self { prefix, port: None })
    }
}

impl fmt::Display for ForwarderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.prefix.address, port)),
            None => self.prefix.fmt(f),
        }
    }
}

/// The text names no address and no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address, nor a prefix")]
pub struct NotAPrefix;

fn same_bits(a: u128, b: u128, bits: u8) -> bool {
    // A shift by the full width is no number: no bits to compare are always the same.
    (a ^ b)
        .checked_shr(128 - u32::from(bits))
        .is_none_or(|rest| rest == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_what_shares_their_bits() {
        for (prefix, address, inside) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.168.1.9", "192.168.1.9", true),
            ("192.168.1.9", "192.168.1.8", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdab::1", true),
            ("fd00::/8", "fe80::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.168.1.128/25", "192.168.1.127", false),
            ("192.168.1.128/25", "192.168.1.200", true),
        ] {
            let parsed: Prefix = prefix.parse().unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                inside,
                "{prefix} {address}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/129",
            "host",
            "1.2.3.4/",
            "1.2.3.4/-1",
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(NotAPrefix), "{text}");
        }
    }

    #[test]
    fn a_forwarder_may_be_held_to_its_port() {
        let rule: ForwarderRule = "192.168.1.9:10000".parse().unwrap();
        assert!(rule.allows("192.168.1.9:10000".parse().unwrap()));
        assert!(!rule.allows("192.168.1.9:10001".parse().unwrap()));
        assert_eq!(rule.to_string(), "192.168.1.9:10000");
        let rule: ForwarderRule = "[fd00::9]:10000".parse().unwrap();
        assert!(rule.allows("[fd00::9]:10000".parse().unwrap()));
        let rule: ForwarderRule = "192.168.0.0/16".parse().unwrap();
        assert!(rule.allows("192.168.77.1:4711".parse().unwrap()));
        assert!(!rule.allows("10.1.1.1:4711".parse().unwrap()));
    }
}
