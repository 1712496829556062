//! What a node is told by the person who installs it.

use core::fmt::{self, Write as _};
use core::ops::RangeInclusive;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};
use shared::client::{
    Config, ConfigError, GatewayAddr, LinkClock, TOPIC_NAME_LEN_MAX, Topic as ClientTopic,
};
use shared::time::Duration;
use shared::wire::{CLIENT_ID_LEN_MAX, NodeId, QoS, REGISTER_OVERHEAD, ShortName, TopicId};

use crate::node::StartError;
use crate::ports::Storage;
use crate::record::{Kind, RECORD_OVERHEAD, Record, RecordError};

/// The settings of one node, kept in its flash as a [record](crate::record) and written from a
/// host by the `node-settings` tool.
///
/// The defaults are those of [`Settings::new`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The node's name at the gateway, 1 to 23 characters.
    pub client_id: String<CLIENT_ID_LEN_MAX>,
    /// What the node's messages carry on a radio that several nodes share: the node id of the
    /// forwarder encapsulation [MQTT-SN 1.2 §5.5], 1 to 18 octets. `None` where the node has
    /// the line to itself, and over UDP.
    pub node_id: Option<Vec<u8, { NodeId::LEN_MAX }>>,
    /// Where readings are published; `None` is `readings/<client id>`.
    pub reading_topic: Option<Topic>,
    /// Where commands are confirmed; `None` is `status/<client id>`.
    pub status_topic: Option<Topic>,
    /// What the node subscribes to for commands, wildcards allowed; `None` is
    /// `cmd/<client id>`.
    pub command_topic: Option<Topic>,
    /// The quality of service of readings and confirmations, 0 to 2.
    pub qos: u8,
    /// Seconds from one reading to the next, 1 to 604,800; the `interval` command changes it.
    pub interval_s: u32,
    /// For how many seconds the gateway is told at most that the node sleeps, 1 to 65,535. Above
    /// the interval, a node that fails is noticed no sooner than this; below it, the node wakes
    /// in between to show that it is there.
    pub sleep_s: u16,
    /// The keep-alive time while the node is awake, in seconds.
    pub keep_alive_s: u16,
    /// Whether the node asks for a fresh session when it starts.
    pub clean: bool,
    /// Whether readings are sent without leaving sleep, which this gateway serves and which
    /// saves a CONNECT and a DISCONNECT for each reading; off for gateways that do not.
    pub publish_while_asleep: bool,
    /// Whether a real board sleeps between readings; off keeps its USB port alive for a look at
    /// its messages.
    pub light_sleep: bool,
    /// How long an answer is waited for, in milliseconds, 10 to 600,000: more than the link's
    /// worst round trip.
    pub retry_ms: u32,
    /// How often a request is repeated before the gateway counts as lost.
    pub retries: u8,
    /// The largest datagram that the link carries, in octets, 40 to 256. Topic names must fit it
    /// with the six octets of a REGISTER.
    pub mtu: u16,
    /// What the node's random choices start from; 0 derives it from the client id.
    pub seed: u64,
    /// After how many readings the node has done its work, 0 for never. For scenarios.
    pub readings_limit: u32,
    /// How many commands must have arrived, too, before it has. For scenarios.
    pub commands_awaited: u32,
    /// The radio of a real board; the emulated one has only its serial line.
    pub radio: RadioSettings,
}

/// A topic that the settings name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A full name, or a filter for commands.
    Name(String<TOPIC_NAME_LEN_MAX>),
    /// An id that the gateway's configuration knows too.
    Predefined(u16),
    /// A name of two octets.
    Short(String<2>),
}

/// Which radio a board uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RadioSettings {
    /// A serial radio on the board's UART pins.
    Serial {
        /// Bits per second, 300 to 3,000,000.
        baud: u32,
    },
    /// UDP over Wi-Fi.
    Udp {
        /// The gateway's IPv4 address.
        gateway: [u8; 4],
        /// The gateway's port.
        port: u16,
        /// The name of the wireless network.
        ssid: String<32>,
        /// Its password, empty for an open network.
        password: Secret,
    },
}

/// A password: kept, sent, never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String<64>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Settings {
    /// Creates the default settings of the node `client_id`: QoS 1 readings every 60 s, sleep
    /// of 180 s, a serial radio at 57,600 Bd.
    ///
    /// # Errors
    /// [`SettingsError::ClientId`] where the name is longer than 23 octets.
    pub fn new(client_id: &str) -> Result<Self, SettingsError> {
        Ok(Self {
            client_id: String::try_from(client_id).map_err(|_| SettingsError::ClientId)?,
            ..Self::default()
        })
    }

    /// Reads and validates settings from a record at the front of `bytes`.
    ///
    /// # Errors
    /// Why there are none, or which are not valid.
    pub fn from_record(bytes: &[u8]) -> Result<Self, SettingsError> {
        let record = Record::parse(Kind::Settings, bytes).map_err(SettingsError::Record)?;
        Self::from_payload(record.payload)
    }

    /// Reads and validates the settings in `storage`.
    ///
    /// # Errors
    /// What the storage reports, or why there are no valid settings in it.
    pub async fn load<S: Storage>(storage: &mut S) -> Result<Self, StartError<S::Error>> {
        let mut buf = [0; SETTINGS_LEN_MAX];
        let len = storage
            .load(Kind::Settings, &mut buf)
            .await
            .map_err(StartError::Storage)?
            .ok_or(StartError::Settings(SettingsError::Record(
                RecordError::Absent,
            )))?;
        Self::from_payload(buf.get(..len).unwrap_or(&[])).map_err(StartError::Settings)
    }

    /// Reads and validates settings from the payload of a record.
    ///
    /// # Errors
    /// [`SettingsError::Encoding`], or which settings are not valid.
    pub fn from_payload(payload: &[u8]) -> Result<Self, SettingsError> {
        let settings: Self = postcard::from_bytes(payload).map_err(|_| SettingsError::Encoding)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Writes the settings as a record into `buf`, of [`SETTINGS_RECORD_LEN_MAX`] octets at
    /// most, and returns its length.
    ///
    /// # Errors
    /// Which settings are not valid, or [`SettingsError::Record`] where `buf` is too short.
    pub fn to_record(&self, buf: &mut [u8]) -> Result<usize, SettingsError> {
        self.validate()?;
        let mut payload = [0; SETTINGS_LEN_MAX];
        let payload =
            postcard::to_slice(self, &mut payload).map_err(|_| SettingsError::Encoding)?;
        let record = Record {
            counter: 0,
            payload,
        };
        record
            .emit(Kind::Settings, buf)
            .map_err(SettingsError::Record)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first one that is not valid.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let named = [
            (&self.reading_topic, false, SettingsError::ReadingTopic),
            (&self.status_topic, false, SettingsError::StatusTopic),
            (&self.command_topic, true, SettingsError::CommandTopic),
        ];
        for (topic, filter, error) in named {
            if topic.as_ref().is_some_and(|topic| !topic.is_valid(filter)) {
                return Err(error);
            }
        }
        check(valid_client_id(&self.client_id), SettingsError::ClientId)?;
        check(
            self.node_id.as_ref().is_none_or(|id| !id.is_empty()),
            SettingsError::NodeId,
        )?;
        check(self.qos <= 2, SettingsError::Qos)?;
        check(
            INTERVAL_S.contains(&self.interval_s),
            SettingsError::Interval,
        )?;
        check(self.sleep_s != 0, SettingsError::Sleep)?;
        check(RETRY_MS.contains(&self.retry_ms), SettingsError::Retry)?;
        check(MTU.contains(&self.mtu), SettingsError::Mtu)?;
        let topics = [
            self.reading_topic(),
            self.status_topic(),
            self.command_topic(),
        ];
        let longest = topics.iter().map(Topic::name_len).max().unwrap_or(0);
        check(
            longest + REGISTER_OVERHEAD <= usize::from(self.mtu),
            SettingsError::Mtu,
        )?;
        self.radio.validate()
    }

    /// Returns the configuration of the protocol machine. There is one gateway at the other
    /// end of the radio, so its address is empty.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn client_config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::new(&self.client_id)?.with_gateway(GatewayAddr::POINT_TO_POINT)?;
        config.keep_alive_s = self.keep_alive_s;
        config.clean = self.clean;
        config.mtu = usize::from(self.mtu);
        config.publish_while_asleep = self.publish_while_asleep;
        config.link = LinkClock {
            t_retry: Duration::from_millis(u64::from(self.retry_ms)),
            n_retry: self.retries,
            ..LinkClock::default()
        };
        Ok(config)
    }

    /// Returns the quality of service of what the node publishes.
    #[must_use]
    pub const fn publish_qos(&self) -> QoS {
        match self.qos {
            0 => QoS::AtMostOnce,
            2 => QoS::ExactlyOnce,
            _ => QoS::AtLeastOnce,
        }
    }

    /// Returns the node id of the forwarder encapsulation.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.node_id.as_ref().and_then(|id| NodeId::new(id))
    }

    /// Returns the topic of readings.
    #[must_use]
    pub fn reading_topic(&self) -> Topic {
        self.topic_or(&self.reading_topic, "readings/")
    }

    /// Returns the topic of confirmations.
    #[must_use]
    pub fn status_topic(&self) -> Topic {
        self.topic_or(&self.status_topic, "status/")
    }

    /// Returns the filter of commands.
    #[must_use]
    pub fn command_topic(&self) -> Topic {
        self.topic_or(&self.command_topic, "cmd/")
    }

    fn topic_or(&self, topic: &Option<Topic>, prefix: &str) -> Topic {
        topic.clone().unwrap_or_else(|| {
            let mut name = String::new();
            // The prefix and the longest client id fit by far.
            let _ = write!(name, "{prefix}{}", self.client_id);
            Topic::Name(name)
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            node_id: None,
            reading_topic: None,
            status_topic: None,
            command_topic: None,
            qos: 1,
            interval_s: 60,
            sleep_s: 180,
            keep_alive_s: 60,
            clean: false,
            publish_while_asleep: true,
            light_sleep: true,
            retry_ms: 10_000,
            retries: 3,
            mtu: 128,
            seed: 0,
            readings_limit: 0,
            commands_awaited: 0,
            radio: RadioSettings::Serial { baud: 57_600 },
        }
    }
}

impl Topic {
    /// Returns the topic as the protocol machine takes it.
    #[must_use]
    pub fn as_client(&self) -> ClientTopic<'_> {
        match self {
            Self::Name(name) => ClientTopic::Name(name),
            Self::Predefined(id) => ClientTopic::Predefined(TopicId(*id)),
            Self::Short(name) => match *name.as_bytes() {
                [a, b] => ClientTopic::Short(ShortName([a, b])),
                // Not valid, and refused as a name of this length.
                _ => ClientTopic::Name(name),
            },
        }
    }

    /// Returns the octets of the name that REGISTER or SUBSCRIBE carries.
    fn name_len(&self) -> usize {
        match self {
            Self::Name(name) => name.len(),
            Self::Predefined(_) | Self::Short(_) => 0,
        }
    }

    fn is_valid(&self, filter: bool) -> bool {
        let wild = |name: &str| name.contains(['+', '#']);
        match self {
            Self::Name(name) => !name.is_empty() && !name.contains('\0') && (filter || !wild(name)),
            Self::Predefined(id) => TopicId(*id).is_assignable(),
            Self::Short(name) => name.len() == 2 && !wild(name),
        }
    }
}

impl RadioSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        match self {
            Self::Serial { baud } => check(BAUD.contains(baud), SettingsError::Baud),
            Self::Udp { port, ssid, .. } => {
                check(*port != 0, SettingsError::Port)?;
                check(!ssid.is_empty(), SettingsError::Ssid)
            }
        }
    }
}

/// Why settings cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is no whole record of settings.
    Record(RecordError),
    /// The record holds something else than this firmware's settings.
    Encoding,
    /// `client_id`.
    ClientId,
    /// `node_id`.
    NodeId,
    /// `reading_topic`.
    ReadingTopic,
    /// `status_topic`.
    StatusTopic,
    /// `command_topic`.
    CommandTopic,
    /// `qos`.
    Qos,
    /// `interval_s`.
    Interval,
    /// `sleep_s`.
    Sleep,
    /// `retry_ms`.
    Retry,
    /// `mtu`.
    Mtu,
    /// `radio.serial.baud`.
    Baud,
    /// `radio.udp.port`.
    Port,
    /// `radio.udp.ssid`.
    Ssid,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(error) => return error.fmt(f),
            Self::Encoding => "the record does not hold this firmware's settings",
            Self::ClientId => "client_id: 1 to 23 characters, none a control one",
            Self::NodeId => "node_id: 1 to 18 octets, or left out",
            Self::ReadingTopic => "reading_topic: a topic without wildcards",
            Self::StatusTopic => "status_topic: a topic without wildcards",
            Self::CommandTopic => "command_topic: a topic or filter",
            Self::Qos => "qos: 0, 1 or 2",
            Self::Interval => "interval_s: 1 to 604800 seconds",
            Self::Sleep => "sleep_s: 1 to 65535 seconds",
            Self::Retry => "retry_ms: 10 to 600000 milliseconds",
            Self::Mtu => "mtu: 40 to 256 octets, and six more than the longest topic name",
            Self::Baud => "radio.serial.baud: 300 to 3000000 bits per second",
            Self::Port => "radio.udp.port: 1 to 65535",
            Self::Ssid => "radio.udp.ssid: 1 to 32 octets",
        })
    }
}

impl core::error::Error for SettingsError {}

const fn check(valid: bool, error: SettingsError) -> Result<(), SettingsError> {
    if valid { Ok(()) } else { Err(error) }
}

fn valid_client_id(id: &str) -> bool {
    !id.is_empty() && !id.chars().any(char::is_control)
}

/// The reporting intervals that a node takes, in seconds: up to a week.
pub const INTERVAL_S: RangeInclusive<u32> = 1..=7 * 86_400;

/// The most octets of settings without the head of their record.
pub const SETTINGS_LEN_MAX: usize = 448;

/// The most octets of a record of settings.
pub const SETTINGS_RECORD_LEN_MAX: usize = SETTINGS_LEN_MAX + RECORD_OVERHEAD;

/// The largest datagram that a node sends or takes, in octets.
pub const DATAGRAM_LEN_MAX: usize = 256;

const RETRY_MS: RangeInclusive<u32> = 10..=600_000;
/// From the longest message that every node sends, a PUBLISH of a status, in round figures.
const MTU: RangeInclusive<u16> = 40..=256;
const BAUD: RangeInclusive<u32> = 300..=3_000_000;

#[cfg(test)]
mod tests;
