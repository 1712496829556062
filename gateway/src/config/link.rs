//! The links: where nodes and forwarders are heard.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use shared::frame::frame_len_max;
use shared::time::Duration;

use super::multicast::MulticastConfig;
use super::pacing::PacingConfig;
use super::presets::LinkPreset;
use super::reader::Section;
use crate::session::{Discovery, ForwarderRule, Tolerance};

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// The link's name in logs, counters and rules.
    pub name: String,
    /// The preset that stands for what is not said otherwise.
    pub preset: Option<&'static str>,
    /// The largest datagram either way, in octets (D-02).
    pub max_message: usize,
    /// How long an answer of a node is awaited (T_retry, [MQTT-SN 1.2 §7.2]).
    pub t_retry: Duration,
    /// How often an unanswered message is repeated (N_retry, [MQTT-SN 1.2 §7.2]).
    pub n_retry: u8,
    /// How much longer than it has announced a node may be silent (D-17).
    pub tolerance: Tolerance,
    /// How the gateway makes itself known on the link; `None` where it does not (D-09).
    pub discovery: Option<Discovery>,
    /// After how much silence of all its nodes the link itself is taken for dead; `None` where
    /// silence says nothing about the link.
    pub dead_after: Option<Duration>,
    /// How fast the link may be sent to; `None` where it says so by itself.
    pub pacing: Option<PacingConfig>,
    /// What the link is made of.
    pub kind: LinkKind,
}

/// What a link is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// A UDP socket.
    Udp(UdpConfig),
    /// A serial line.
    Serial(SerialConfig),
}

/// A UDP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpConfig {
    /// Where the socket listens, IPv4 or IPv6.
    pub listen: SocketAddr,
    /// Whether an IPv6 socket takes IPv4 too.
    pub dual_stack: bool,
    /// What is asked of the kernel for datagrams not yet read, in octets.
    pub receive_buffer_bytes: usize,
    /// The most datagrams that wait for a full socket.
    pub send_queue_max: usize,
    /// Who may send encapsulated messages (D-35).
    pub forwarders: Vec<ForwarderRule>,
    /// The groups on which the gateway makes itself known; `None` where it has none (D-09).
    pub multicast: Option<MulticastConfig>,
}

/// A serial line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialConfig {
    /// The device: `/dev/ttyUSB0`, `/dev/serial/by-id/…` or a pseudo-terminal.
    pub path: PathBuf,
    /// The bit rate of the line, in baud.
    pub baud: u32,
    /// The most octets of frames that wait for the line.
    pub write_queue_bytes: usize,
}

/// The name of the link that runs where none is configured.
pub const DEFAULT_LINK_NAME: &str = "udp";
/// Where the default link listens.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10_000);
/// The largest datagram where nothing is configured, in octets (D-02).
pub const DEFAULT_MAX_MESSAGE: usize = 1024;
/// The least that the largest datagram may be, in octets: room for what a gateway must be able
/// to say, and for publications of some octets. The slowest radios take 51.
pub const MAX_MESSAGE_FLOOR: usize = 32;
/// The ceiling of the largest datagram, in octets (D-02).
pub const MAX_MESSAGE_CEILING: usize = 1400;
/// T_retry where nothing is configured [MQTT-SN 1.2 §7.2].
pub const DEFAULT_T_RETRY: Duration = Duration::from_secs(10);
/// N_retry where nothing is configured [MQTT-SN 1.2 §7.2].
pub const DEFAULT_N_RETRY: u8 = 3;
/// The silence that is tolerated of nodes that announced up to a minute where nothing is
/// configured, in percent of what they announced [MQTT-SN 1.2 §7.2] (D-17).
pub const DEFAULT_TOLERANCE_SHORT_PERCENT: u32 = 150;
/// The silence that is tolerated of nodes that announced more than a minute where nothing is
/// configured, in percent of what they announced [MQTT-SN 1.2 §7.2] (D-17).
pub const DEFAULT_TOLERANCE_LONG_PERCENT: u32 = 110;
/// The receive buffer where nothing is configured, in octets: some 5,000 small datagrams,
/// each of which the kernel counts with 768 octets and more.
pub const DEFAULT_RECEIVE_BUFFER_BYTES: usize = 4_194_304;
/// The datagrams that wait for a full socket where nothing is configured.
pub const DEFAULT_SEND_QUEUE_MAX: usize = 1024;
/// The bit rate where nothing is configured: that of SiK telemetry radios.
pub const DEFAULT_BAUD: u32 = 57_600;
/// The octets that wait for a line where nothing is configured: 1.4 s at 57,600 baud.
pub const DEFAULT_WRITE_QUEUE_BYTES: usize = 8192;

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            name: DEFAULT_LINK_NAME.to_owned(),
            preset: None,
            max_message: DEFAULT_MAX_MESSAGE,
            t_retry: DEFAULT_T_RETRY,
            n_retry: DEFAULT_N_RETRY,
            tolerance: Tolerance {
                short_percent: DEFAULT_TOLERANCE_SHORT_PERCENT,
                long_percent: DEFAULT_TOLERANCE_LONG_PERCENT,
            },
            discovery: None,
            dead_after: None,
            pacing: None,
            kind: LinkKind::Udp(UdpConfig::default()),
        }
    }
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            dual_stack: false,
            receive_buffer_bytes: DEFAULT_RECEIVE_BUFFER_BYTES,
            send_queue_max: DEFAULT_SEND_QUEUE_MAX,
            forwarders: Vec::new(),
            multicast: None,
        }
    }
}

impl SerialConfig {
    /// Creates the settings of the line at `path`, all others at their defaults.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            baud: DEFAULT_BAUD,
            write_queue_bytes: DEFAULT_WRITE_QUEUE_BYTES,
        }
    }
}

impl LinkKind {
    /// Returns the name of the kind as the configuration spells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Udp(_) => UDP,
            Self::Serial(_) => SERIAL,
        }
    }

    /// Records what does not go with datagrams of up to `max_message` octets.
    fn check(&self, max_message: usize, section: &mut Section<'_, '_>) {
        let Self::Serial(serial) = self else { return };
        // A frame that never fits the queue would be dropped each time it is sent.
        let frame_len = frame_len_max(max_message);
        if serial.write_queue_bytes < frame_len {
            let why = format!(
                "{} is too small: a frame of max_message = {max_message} takes up to \
                 {frame_len} octets; allowed: {frame_len} and more, or a smaller max_message",
                serial.write_queue_bytes
            );
            section.refuse("write_queue_bytes", &why);
        }
    }
}

/// The `type` of UDP links.
pub(super) const UDP: &str = "udp";
/// The `type` of serial links.
pub(super) const SERIAL: &str = "serial";

impl LinkConfig {
    /// Reads a link, or records what is missing.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = section.required("name");
        let kind: Option<String> = section.required("type");
        let kind = match kind?.as_str() {
            SERIAL => LinkKind::Serial(SerialConfig::read(section)?),
            _ => LinkKind::Udp(UdpConfig::read(section)?),
        };
        let preset: Option<String> = section.optional("preset");
        let preset = preset.as_deref().and_then(LinkPreset::by_name);
        let default = preset.map_or_else(Self::default, Self::of_preset);
        let max_message = section.or("max_message", default.max_message);
        kind.check(max_message, section);
        Some(Self {
            name: name?,
            preset: default.preset,
            max_message,
            t_retry: section.or("t_retry", default.t_retry),
            n_retry: section.or("n_retry", default.n_retry),
            tolerance: read_tolerance(section, default.tolerance),
            discovery: read_discovery(section, &kind),
            dead_after: section.or("dead_after", default.dead_after),
            pacing: PacingConfig::read(section, default.pacing, max_message),
            kind,
        })
    }

    /// Returns what is usual on one kind of link, with the name and the socket of the default one.
    fn of_preset(preset: &'static LinkPreset) -> Self {
        Self {
            preset: Some(preset.name),
            max_message: preset.max_message,
            t_retry: preset.t_retry,
            n_retry: preset.n_retry,
            tolerance: preset.tolerance,
            dead_after: preset.dead_after,
            pacing: preset.pacing,
            ..Self::default()
        }
    }
}

fn read_tolerance(section: &mut Section<'_, '_>, default: Tolerance) -> Tolerance {
    Tolerance {
        short_percent: section.or("tolerance_short_percent", default.short_percent),
        long_percent: section.or("tolerance_long_percent", default.long_percent),
    }
}

/// Reads how the gateway makes itself known.
///
/// D-09: off on routed networks, which a UDP socket without a group is taken for. A serial line
/// has nobody on it but nodes.
fn read_discovery(section: &mut Section<'_, '_>, kind: &LinkKind) -> Option<Discovery> {
    let can_broadcast = match kind {
        LinkKind::Udp(udp) => udp.multicast.is_some(),
        LinkKind::Serial(_) => true,
    };
    let is_on = section.or("discovery", can_broadcast);
    let advertise_every: Option<Duration> = section.or("advertise_every", None);
    let standby_misses = section.optional("standby_misses");
    if advertise_every.is_some() && !can_broadcast {
        section.refuse(
            "advertise_every",
            "a UDP link needs multicast.groups for it",
        );
    } else if advertise_every.is_some() && !is_on {
        section.refuse("advertise_every", "discovery is off on this link");
    }
    if advertise_every.is_none() && standby_misses.is_some() {
        section.warn("standby_misses", "it does nothing without advertise_every");
    }
    is_on.then_some(Discovery {
        advertise_every,
        standby_misses,
    })
}

impl UdpConfig {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let default = Self::default();
        let listen = section.required("listen")?;
        let dual_stack = section.or("dual_stack", default.dual_stack);
        Some(Self {
            listen,
            dual_stack,
            receive_buffer_bytes: section.or("receive_buffer_bytes", default.receive_buffer_bytes),
            send_queue_max: section.or("send_queue_max", default.send_queue_max),
            forwarders: section.or("forwarders", default.forwarders),
            multicast: MulticastConfig::read(section, listen, dual_stack),
        })
    }
}

impl SerialConfig {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let default = Self::new(section.required::<PathBuf>("path")?);
        Some(Self {
            baud: section.or("baud", default.baud),
            write_queue_bytes: section.or("write_queue_bytes", default.write_queue_bytes),
            ..default
        })
    }
}
