//! What the upstream must be told: broker, credentials, limits, clocks.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// The broker, how to reach it, and every limit of the connection.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// The broker's host name or address.
    pub host: String,
    /// The broker's TCP port.
    pub port: u16,
    /// TLS, where the broker is to be reached by it.
    pub tls: Option<TlsConfig>,
    /// The MQTT client id. It must not change between runs: the broker's session hangs on it.
    pub client_id: String,
    /// The user name, where the broker wants one.
    pub username: Option<String>,
    /// The password, where the broker wants one.
    pub password: Option<Secret>,
    /// How often the broker is pinged; silence of half as long again ends the connection.
    /// At least [`KEEP_ALIVE_MIN`].
    pub keep_alive: Duration,
    /// How long TCP, TLS and CONNACK may take together; at least one second.
    pub connect_timeout: Duration,
    /// Publications sent and not yet acknowledged, 1 to [`INFLIGHT_LIMIT`]. The broker's
    /// Receive Maximum lowers it.
    pub inflight_max: u16,
    /// Publications taken and not yet acknowledged, sent or not.
    pub queue_len_max: usize,
    /// Bytes of topic and payload taken and not yet acknowledged.
    pub queue_bytes_max: usize,
    /// QoS 0 publications kept while there is no connection; the oldest is dropped.
    pub qos0_len_max: usize,
    /// The wait before the first new connection.
    pub backoff_min: Duration,
    /// The longest wait between connections.
    pub backoff_max: Duration,
    /// How long the broker keeps the session when the gateway is gone, in whole seconds.
    pub session_expiry: Duration,
    /// Whether the first connection begins a new session. Right for an engine that starts
    /// without memory: the old session's subscriptions are nobody's, and what they bring down
    /// is paid for.
    pub first_clean: bool,
    /// Downlink publications the broker may send before it waits for acknowledgements.
    pub receive_maximum: u16,
    /// The largest MQTT packet the broker may send, in bytes.
    pub max_packet_size: u32,
    /// Bytes of topic and payload the broker has sent and the engine has not fetched. Beyond it
    /// QoS 0 is dropped, and nothing more is read from the broker.
    pub unfetched_bytes_max: usize,
    /// What the broker sends where several subscriptions match a publication.
    pub overlapping: Overlapping,
    /// Whether every packet leaves at once. Off, small packets wait for the broker's TCP
    /// acknowledgement and share segments: fewer bytes on a metered link, more delay.
    pub tcp_nodelay: bool,
}

impl UpstreamConfig {
    /// Returns the defaults for a broker at `host` and `port` and for one `client_id`.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            client_id: client_id.into(),
            username: None,
            password: None,
            keep_alive: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            inflight_max: 64,
            queue_len_max: 10_000,
            queue_bytes_max: 8 * 1024 * 1024,
            qos0_len_max: 1_000,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            session_expiry: Duration::from_hours(7 * 24),
            first_clean: false,
            receive_maximum: 256,
            max_packet_size: 128 * 1024,
            unfetched_bytes_max: 16 * 1024 * 1024,
            overlapping: Overlapping::Each,
            tcp_nodelay: true,
        }
    }

    /// Checks what can be checked without a broker.
    ///
    /// # Errors
    /// [`UpstreamConfigError::Value`] with the first field that is out of its bounds.
    pub fn validate(&self) -> Result<(), UpstreamConfigError> {
        let wrong = |field, allowed| Err(UpstreamConfigError::Value { field, allowed });
        if self.host.is_empty() || self.host.contains(['[', ']', '/']) {
            return wrong("host", "a host name or an address without port or brackets");
        }
        if self.tls.is_some() && self.host.parse::<Ipv6Addr>().is_ok() {
            // rumqttc uses one string as the TCP address, where an IPv6 literal needs
            // brackets, and as the TLS server name, where it must not have them.
            return wrong("host", "a host name or an IPv4 address where TLS is used");
        }
        if self.port == 0 {
            return wrong("port", "1 to 65535");
        }
        if self.client_id.is_empty() || self.client_id.len() > STRING_MAX {
            return wrong("client_id", "1 to 65535 bytes");
        }
        if self.password.is_some() && self.username.is_none() {
            return wrong("username", "set where there is a password");
        }
        self.validate_clocks()?;
        if self.inflight_max == 0 || self.inflight_max > INFLIGHT_LIMIT {
            return wrong("inflight_max", "1 to 1024");
        }
        if self.queue_len_max == 0 {
            return wrong("queue_len_max", "at least 1");
        }
        if self.queue_bytes_max == 0 {
            return wrong("queue_bytes_max", "at least 1");
        }
        if self.receive_maximum == 0 {
            return wrong("receive_maximum", "1 to 65535");
        }
        if self.max_packet_size < PACKET_SIZE_MIN {
            return wrong("max_packet_size", "at least 1024");
        }
        if self.unfetched_bytes_max == 0 {
            return wrong("unfetched_bytes_max", "at least 1");
        }
        Ok(())
    }

    fn validate_clocks(&self) -> Result<(), UpstreamConfigError> {
        let wrong = |field, allowed| Err(UpstreamConfigError::Value { field, allowed });
        if self.keep_alive < KEEP_ALIVE_MIN || self.keep_alive.as_secs() > u64::from(u16::MAX) {
            return wrong("keep_alive", "5 s to 65535 s");
        }
        if self.connect_timeout < Duration::from_secs(1) {
            return wrong("connect_timeout", "at least 1 s");
        }
        if self.backoff_min.is_zero() || self.backoff_max < self.backoff_min {
            return wrong("backoff_max", "at least backoff_min, which is above zero");
        }
        Ok(())
    }
}

/// What a broker sends where several subscriptions of ours match a publication; MQTT 5 leaves
/// it the choice [MQTT 5 §3.3.4].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlapping {
    /// A copy for each: mosquitto, EMQX, the embedded broker. Subscriptions carry an identifier,
    /// by which the copies are told from repetitions; it costs two octets or more in each
    /// publication from the broker. A broker that turns out to send a single copy, or to know no
    /// identifiers, is served as by [`Self::Single`].
    #[default]
    Each,
    /// A single copy.
    Single,
}

/// How the broker's certificate is checked, and who we say we are.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust; without one, the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate chain and key to show to the broker.
    pub client: Option<ClientIdentity>,
}

/// A client certificate and its key.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// PEM file of the certificate chain, our own first.
    pub cert_file: PathBuf,
    /// PEM file of the private key.
    pub key_file: PathBuf,
}

/// A text that must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself; the name marks the places that may see it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Why the upstream cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamConfigError {
    /// A value is out of its bounds.
    #[error("upstream {field}: must be {allowed}")]
    Value {
        /// The field of [`UpstreamConfig`].
        field: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A certificate or key file cannot be used.
    #[error("upstream tls: {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no certificate authorities to trust.
    #[error("upstream tls: no certificate authorities found on this system; name a CA file")]
    NoSystemRoots,
    /// TLS refuses the certificate, the key, or both together.
    #[error("upstream tls: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// The shortest keep-alive interval: what rumqttc accepts.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(5);

/// The largest `inflight_max`: rumqttc reserves about 200 bytes for each.
pub const INFLIGHT_LIMIT: u16 = 1024;

const STRING_MAX: usize = u16::MAX as usize;
const PACKET_SIZE_MIN: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        UpstreamConfig::new("localhost", 1883, "gw")
            .validate()
            .unwrap();
    }

    #[test]
    fn a_password_is_not_printed() {
        let mut config = UpstreamConfig::new("localhost", 1883, "gw");
        config.username = Some("u".into());
        config.password = Some(Secret::new("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        let field = |change: fn(&mut UpstreamConfig)| {
            let mut config = UpstreamConfig::new("localhost", 1883, "gw");
            change(&mut config);
            match config.validate() {
                Err(UpstreamConfigError::Value { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(field(|c| c.host = "[::1]".into()), "host");
        assert_eq!(field(|c| c.client_id.clear()), "client_id");
        assert_eq!(
            field(|c| c.keep_alive = Duration::from_secs(4)),
            "keep_alive"
        );
        assert_eq!(field(|c| c.inflight_max = 0), "inflight_max");
        assert_eq!(field(|c| c.inflight_max = 1025), "inflight_max");
        assert_eq!(field(|c| c.password = Some(Secret::new("x"))), "username");
        assert_eq!(field(|c| c.backoff_max = Duration::ZERO), "backoff_max");
        assert_eq!(
            field(|c| {
                c.host = "::1".into();
                c.tls = Some(TlsConfig::default());
            }),
            "host"
        );
    }
}
