//! The broker above: a configured one, or the embedded one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use shared::time::Duration;

use super::reader::Section;
use super::url::BrokerUrl;

/// The upstream broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Where the broker is.
    pub url: BrokerUrl,
    /// The MQTT user name.
    pub username: Option<String>,
    /// The MQTT password, wherever it came from.
    pub password: Option<Secret>,
    /// Certificate authorities that the broker's certificate may come from, as PEM; the
    /// system's where none is given.
    pub ca_file: Option<PathBuf>,
    /// The certificate that the gateway shows, and its key.
    pub client_identity: Option<ClientIdentity>,
    /// The MQTT keep-alive.
    pub keep_alive: Duration,
    /// How long the broker keeps the gateway's session while it is away.
    pub session_expiry: Duration,
    /// How long TCP, TLS and the MQTT connection may take together.
    pub connect_timeout: Duration,
    /// The most publications sent and not yet acknowledged.
    pub inflight_max: u16,
    /// The most publications waiting for the broker.
    pub queue_len_max: usize,
    /// The most octets of topics and payloads waiting for the broker.
    pub queue_bytes_max: usize,
    /// The most QoS 0 publications kept while there is no connection.
    pub qos0_len_max: usize,
    /// The largest MQTT packet that the broker may send, in octets.
    pub packet_bytes_max: u32,
    /// The most octets from the broker that wait for the gateway.
    pub unfetched_bytes_max: usize,
    /// What the broker sends where several subscriptions match.
    pub overlapping: OverlappingSubscriptions,
    /// Whether every packet leaves at once.
    pub tcp_nodelay: bool,
    /// The first pause before a reconnection.
    pub reconnect_min: Duration,
    /// The longest pause before a reconnection.
    pub reconnect_max: Duration,
}

/// What a broker sends where several subscriptions of the gateway match a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverlappingSubscriptions {
    /// A copy for each: mosquitto, EMQX.
    #[default]
    Each,
    /// A single copy.
    Single,
}

impl OverlappingSubscriptions {
    fn read(section: &mut Section<'_, '_>) -> Self {
        let word = section.or("overlapping_subscriptions", DEFAULT_OVERLAPPING.to_owned());
        match word.as_str() {
            SINGLE => Self::Single,
            _ => Self::Each,
        }
    }
}

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate chain, the gateway's own certificate first.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The embedded broker; it runs where no upstream is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Where it listens for MQTT over TCP.
    pub listen: SocketAddr,
}

/// The environment variable that gives the upstream password over every other way.
pub const PASSWORD_VARIABLE: &str = "SANDGROUSE_UPSTREAM_PASSWORD";
/// The keep-alive where nothing is configured.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The session expiry where nothing is configured.
pub const DEFAULT_SESSION_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
/// The patience with a connection where nothing is configured.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The publications in flight where nothing is configured.
pub const DEFAULT_INFLIGHT_MAX: u16 = 64;
/// The waiting publications where nothing is configured.
pub const DEFAULT_QUEUE_LEN_MAX: usize = 10_000;
/// The waiting octets where nothing is configured.
pub const DEFAULT_QUEUE_BYTES_MAX: usize = 8_388_608;
/// The waiting QoS 0 publications where nothing is configured.
pub const DEFAULT_QOS0_LEN_MAX: usize = 1_000;
/// The largest packet where nothing is configured, in octets.
pub const DEFAULT_PACKET_BYTES_MAX: u32 = 131_072;
/// The octets that wait for the gateway where nothing is configured.
pub const DEFAULT_UNFETCHED_BYTES_MAX: usize = 16_777_216;
/// The words for [`OverlappingSubscriptions`].
pub const OVERLAPPING: &[&str] = &[DEFAULT_OVERLAPPING, SINGLE];
/// What the broker sends to overlapping subscriptions where nothing is configured.
pub const DEFAULT_OVERLAPPING: &str = "each";
const SINGLE: &str = "single";
/// Whether packets leave at once where nothing is configured.
pub const DEFAULT_TCP_NODELAY: bool = true;
/// The first pause before a reconnection where nothing is configured.
pub const DEFAULT_RECONNECT_MIN: Duration = Duration::from_millis(250);
/// The longest pause before a reconnection where nothing is configured.
pub const DEFAULT_RECONNECT_MAX: Duration = Duration::from_secs(30);
/// Where the embedded broker listens: this machine only.
pub const DEFAULT_BROKER_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883);

impl UpstreamConfig {
    /// Creates the settings for the broker at `url`, all others at their defaults.
    #[must_use]
    pub const fn new(url: BrokerUrl) -> Self {
        Self {
            url,
            username: None,
            password: None,
            ca_file: None,
            client_identity: None,
            keep_alive: DEFAULT_KEEP_ALIVE,
            session_expiry: DEFAULT_SESSION_EXPIRY,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            inflight_max: DEFAULT_INFLIGHT_MAX,
            queue_len_max: DEFAULT_QUEUE_LEN_MAX,
            queue_bytes_max: DEFAULT_QUEUE_BYTES_MAX,
            qos0_len_max: DEFAULT_QOS0_LEN_MAX,
            packet_bytes_max: DEFAULT_PACKET_BYTES_MAX,
            unfetched_bytes_max: DEFAULT_UNFETCHED_BYTES_MAX,
            overlapping: OverlappingSubscriptions::Each,
            tcp_nodelay: DEFAULT_TCP_NODELAY,
            reconnect_min: DEFAULT_RECONNECT_MIN,
            reconnect_max: DEFAULT_RECONNECT_MAX,
        }
    }

    /// Reads the upstream, or records what is missing.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let default = Self::new(section.required("url")?);
        let identity = (
            section.optional("client_cert_file"),
            section.optional("client_key_file"),
        );
        let read = Self {
            username: section.optional("username"),
            password: read_password(section),
            ca_file: section.optional("ca_file"),
            client_identity: match identity {
                (Some(cert_file), Some(key_file)) => Some(ClientIdentity {
                    cert_file,
                    key_file,
                }),
                _ => None,
            },
            keep_alive: section.or("keep_alive", default.keep_alive),
            session_expiry: section.or("session_expiry", default.session_expiry),
            connect_timeout: section.or("connect_timeout", default.connect_timeout),
            inflight_max: section.or("inflight_max", default.inflight_max),
            queue_len_max: section.or("queue_len_max", default.queue_len_max),
            queue_bytes_max: section.or("queue_bytes_max", default.queue_bytes_max),
            qos0_len_max: section.or("qos0_len_max", default.qos0_len_max),
            packet_bytes_max: section.or("packet_bytes_max", default.packet_bytes_max),
            unfetched_bytes_max: section.or("unfetched_bytes_max", default.unfetched_bytes_max),
            overlapping: OverlappingSubscriptions::read(section),
            tcp_nodelay: section.or("tcp_nodelay", default.tcp_nodelay),
            reconnect_min: section.or("reconnect_min", default.reconnect_min),
            reconnect_max: section.or("reconnect_max", default.reconnect_max),
            ..default
        };
        read.check(section);
        Some(read)
    }

    fn check(&self, section: &mut Section<'_, '_>) {
        section.both_or_none("client_cert_file", "client_key_file");
        if !self.url.tls {
            for key in ["ca_file", "client_cert_file", "client_key_file"] {
                section.refuse(key, "certificates need TLS: write mqtts:// in url");
            }
        }
        if self.url.tls && self.url.host.contains(':') {
            // The certificate is checked against the host, and authorities vouch for names.
            section.refuse("url", "TLS needs a host name or an IPv4 address");
        }
        if self.password.is_some() && self.username.is_none() {
            for key in PASSWORD_KEYS {
                section.refuse(key, "a password needs a username");
            }
        }
        if self.reconnect_min > self.reconnect_max {
            section.refuse("reconnect_min", "it is longer than reconnect_max");
            section.refuse("reconnect_max", "it is shorter than reconnect_min");
        }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            listen: DEFAULT_BROKER_LISTEN,
        }
    }
}

impl BrokerConfig {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        Self {
            listen: section.or("listen", DEFAULT_BROKER_LISTEN),
        }
    }
}

impl Secret {
    /// Hides a text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, for the one place that must have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The ways to give the password; one of them at most.
const PASSWORD_KEYS: [&str; 3] = ["password", "password_file", "password_env"];

fn read_password(section: &mut Section<'_, '_>) -> Option<Secret> {
    let password = find_password(section);
    if let Some(password) = &password {
        section.holds(PASSWORD_KEYS[0], password);
    }
    password
}

fn find_password(section: &mut Section<'_, '_>) -> Option<Secret> {
    section.at_most_one(&PASSWORD_KEYS);
    if let Some(password) = section.environment(PASSWORD_VARIABLE) {
        return Some(Secret::new(password));
    }
    if let Some(variable) = section.optional::<String>("password_env") {
        let password = section.environment(&variable);
        if password.is_none() {
            section.refuse("password_env", "the environment has no such variable");
        }
        return password.map(Secret::new);
    }
    if let Some(path) = section.optional::<PathBuf>("password_file") {
        return match std::fs::read_to_string(&path) {
            // An editor ends the file with a line feed that is no part of the password.
            Ok(text) => Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                section.refuse("password_file", &format!("cannot be read: {error}"));
                None
            }
        };
    }
    section.optional("password")
}
