//! Where the upstream broker is: `mqtt://host:port` or `mqtts://host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The address of a broker, and whether TLS is spoken to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Whether the connection is encrypted (`mqtts`).
    pub tls: bool,
    /// The host's name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The port of MQTT over TCP where the URL names none.
pub const DEFAULT_PORT: u16 = 1883;
/// The port of MQTT over TLS where the URL names none.
pub const DEFAULT_TLS_PORT: u16 = 8883;

impl FromStr for BrokerUrl {
    type Err = NotABrokerUrl;

    fn from_str(text: &str) -> Result<Self, NotABrokerUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(NotABrokerUrl::Scheme)?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(NotABrokerUrl::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(NotABrokerUrl::User);
        }
        let (host, port) = split_port(authority).ok_or(NotABrokerUrl::Host)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None if tls => Some(DEFAULT_TLS_PORT),
            None => Some(DEFAULT_PORT),
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.ok_or(NotABrokerUrl::Port)?,
        })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why a text is no address of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotABrokerUrl {
    /// The scheme is missing or unknown.
    #[error("it starts with neither mqtt:// nor mqtts://")]
    Scheme,
    /// The URL carries a user.
    #[error("user name and password have keys of their own")]
    User,
    /// The host is missing or holds what no host name holds.
    #[error("the host is missing or no host name")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(plain)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        for (text, tls, host, port) in [
            ("mqtt://broker.example", false, "broker.example", 1883),
            ("mqtts://broker.example/", true, "broker.example", 8883),
            ("mqtts://broker.example:9000", true, "broker.example", 9000),
            ("mqtt://192.0.2.1:1", false, "192.0.2.1", 1),
            ("mqtt://[2001:db8::1]", false, "2001:db8::1", 1883),
            ("mqtts://[::1]:4000", true, "::1", 4000),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!((url.tls, url.host.as_str(), url.port), (tls, host, port));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn refusals_say_why() {
        for (text, why) in [
            ("broker.example:1883", NotABrokerUrl::Scheme),
            ("http://broker.example", NotABrokerUrl::Scheme),
            ("mqtt://user:pass@broker", NotABrokerUrl::User),
            ("mqtt://", NotABrokerUrl::Host),
            ("mqtt://:1883", NotABrokerUrl::Host),
            ("mqtt://a b", NotABrokerUrl::Host),
            ("mqtt://broker/path", NotABrokerUrl::Host),
            ("mqtt://[::1", NotABrokerUrl::Host),
            ("mqtt://[::1]1883", NotABrokerUrl::Host),
            ("mqtt://broker:0", NotABrokerUrl::Port),
            ("mqtt://broker:65536", NotABrokerUrl::Port),
            ("mqtt://broker:", NotABrokerUrl::Port),
        ] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(why), "{text}");
        }
    }
}
