//! What a node is told before it starts: who it is, whom it talks to, and how patient it is.

use core::fmt;

use heapless::{String, Vec};

use super::GatewayAddr;
use super::topics::is_name;
use crate::time::Duration;
use crate::wire::{CLIENT_ID_LEN_MAX, Connect, Message, QoS, WillTarget};

/// The most gateways that a configuration may name and that the machine keeps a list of.
pub const GATEWAYS_MAX: usize = 4;

/// The most that repetitions may be moved at random, in hundredths.
const JITTER_PERCENT_MAX: u8 = 50;

/// The longest topic name or filter that a node keeps, in octets.
pub const TOPIC_NAME_LEN_MAX: usize = 64;

/// The longest will message that a node keeps, in octets.
pub const WILL_MESSAGE_LEN_MAX: usize = 64;

/// The configuration of a [`Client`](super::Client).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The node's name, 1 to 23 characters without control characters.
    pub client_id: String<CLIENT_ID_LEN_MAX>,
    /// The keep-alive time in seconds; 0 leaves supervision to the gateway (D-13).
    pub keep_alive_s: u16,
    /// Whether [`connect`](super::Client::connect) asks for a fresh session. A connection that
    /// the machine makes anew by itself always asks for the kept one.
    pub clean: bool,
    /// What the gateway publishes when the node is lost.
    pub will: Option<Will>,
    /// Gateways that are there without being looked for, in order of preference.
    pub gateways: Vec<GatewayAddr, GATEWAYS_MAX>,
    /// How to look for gateways; `None` uses [`Config::gateways`] only.
    pub discovery: Option<Discovery>,
    /// The clocks and counters of the link.
    pub link: LinkClock,
    /// The largest datagram that the link carries, in octets.
    pub mtu: usize,
    /// Whether requests are sent without leaving sleep (D-26).
    ///
    /// A gateway that serves a sleeping node saves it a CONNECT and a DISCONNECT for each
    /// reading. Where this is off, the machine connects first (clean = 0), as MQTT-SN 1.2
    /// §6.14 has it, and falls asleep again when nothing is left to send.
    pub publish_while_asleep: bool,
    /// Wakes in a row without an answer after which the gateway counts as lost.
    pub wakes_until_lost: u8,
    /// When a sleeping node wakes, and what a wake may cost.
    pub wake: WakePlan,
    /// Whether a name that the gateway registers is refused (code 03) where no subscription of
    /// this node asks for it.
    ///
    /// It keeps a small table free of what an earlier life of the node subscribed to. A gateway
    /// then holds that topic back for the rest of the session (D-37), so subscribe before
    /// [`connect`](super::Client::connect).
    pub refuse_unwanted: bool,
}

/// When a sleeping node wakes to collect what waits, and how much of that it takes at a time.
///
/// What a limit leaves at the gateway comes with the next wakes: the node goes back to sleep
/// without the PINGRESP, and the gateway notices by the missing acknowledgements (D-24). A
/// gateway that limits the wake itself spares both sides its repetitions, so the node's limits
/// are best set above the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakePlan {
    /// The earliest time to wake, in hundredths of the sleep, 50 to 90 (digest A.18).
    pub from_percent: u8,
    /// The latest, in hundredths of the sleep, up to 90. Between the two it is random, so that
    /// nodes that fell asleep together do not wake together.
    pub to_percent: u8,
    /// The most publications that one wake takes; `None` takes all.
    pub messages_max: Option<u16>,
    /// The longest that one wake lasts; `None` lets it last as long as something comes. Above
    /// the time that PINGREQ and its repetitions take, or it cuts those short, too.
    pub time_max: Option<Duration>,
}

/// Looking for gateways by SEARCHGW, GWINFO and ADVERTISE [MQTT-SN 1.2 §6.1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// How far SEARCHGW is broadcast, in hops; 0 is the whole network.
    pub radius: u8,
    /// Whether the node answers other nodes' SEARCHGW with the gateway it knows.
    pub answer_others: bool,
}

/// The clocks and counters of one link [MQTT-SN 1.2 §7.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkClock {
    /// How long an answer is waited for; above the link's worst round trip.
    pub t_retry: Duration,
    /// How often a request is repeated before the gateway counts as lost.
    pub n_retry: u8,
    /// How often a wake's PINGREQ is sent in all before the node goes back to sleep.
    pub n_wake: u8,
    /// How long a kind of request rests after code 01 (congestion).
    pub t_wait: Duration,
    /// How long the machine stays away from a gateway that refused it for good (code 03).
    pub t_refused: Duration,
    /// The upper bound of the random delay before SEARCHGW.
    pub t_search_gw: Duration,
    /// The upper bound of the random delay before a node's GWINFO.
    pub t_gw_info: Duration,
    /// Missed ADVERTISEs after which a gateway is dropped from the list.
    pub n_adv: u8,
    /// How far repetitions are moved at random, in hundredths either way.
    pub jitter_percent: u8,
}

/// What the gateway publishes when a node is lost [MQTT-SN 1.2 §6.3].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Will {
    /// The topic name.
    pub topic: String<TOPIC_NAME_LEN_MAX>,
    /// The quality of service, 0 to 2.
    pub qos: QoS,
    /// Whether the broker retains it.
    pub retain: bool,
    /// The payload.
    pub message: Vec<u8, WILL_MESSAGE_LEN_MAX>,
}

/// What is wrong with a [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The client id is empty, longer than 23 characters or holds control characters.
    ClientId,
    /// Neither is a gateway named nor discovery switched on.
    NoGateway,
    /// The will's topic is empty or too long, holds a wildcard, or its QoS is −1.
    Will,
    /// A message that the configuration makes necessary is longer than the MTU.
    Mtu,
    /// A time of the link's clock, or the longest time of a wake, is zero.
    ZeroTime,
    /// `n_wake`, `n_adv`, `wakes_until_lost` or the messages of a wake are zero.
    ZeroCount,
    /// The jitter exceeds 50 %.
    Jitter,
    /// The times to wake are not within 50 and 90 % of the sleep, or out of order.
    Wake,
    /// More than [`GATEWAYS_MAX`] gateways are named.
    Gateways,
}

impl Config {
    /// Creates a configuration for the node `client_id` with the defaults and no gateway yet.
    ///
    /// The defaults: keep-alive 300 s, clean = 0, no will, no discovery, MTU 128 octets,
    /// requests are sent while asleep, 3 wakes without an answer lose the gateway, wakes at 80
    /// to 90 % of the sleep and without limits, every name of the gateway's is taken.
    ///
    /// # Errors
    /// [`ConfigError::ClientId`] where the name is longer than 23 octets.
    pub fn new(client_id: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            client_id: String::try_from(client_id).map_err(|_| ConfigError::ClientId)?,
            keep_alive_s: 300,
            clean: false,
            will: None,
            gateways: Vec::new(),
            discovery: None,
            link: LinkClock::default(),
            mtu: 128,
            publish_while_asleep: true,
            wakes_until_lost: 3,
            wake: WakePlan::default(),
            refuse_unwanted: false,
        })
    }

    /// Returns the configuration with one more fixed gateway.
    ///
    /// # Errors
    /// [`ConfigError::Gateways`] where [`GATEWAYS_MAX`] are named already.
    pub fn with_gateway(mut self, addr: GatewayAddr) -> Result<Self, ConfigError> {
        self.gateways
            .push(addr)
            .map_err(|_| ConfigError::Gateways)?;
        Ok(self)
    }
}

impl Config {
    /// Checks what a machine relies on.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let id = &self.client_id;
        if id.is_empty() || id.chars().any(char::is_control) {
            return Err(ConfigError::ClientId);
        }
        if self.gateways.is_empty() && self.discovery.is_none() {
            return Err(ConfigError::NoGateway);
        }
        self.link.validate()?;
        self.wake.validate()?;
        if self.wakes_until_lost == 0 {
            return Err(ConfigError::ZeroCount);
        }
        if let Some(will) = &self.will {
            will.validate(self.mtu)?;
        }
        let connect = Message::Connect(Connect {
            will: false,
            clean: false,
            protocol_id: Connect::PROTOCOL_ID,
            duration_s: 0,
            client_id: id.as_bytes(),
        });
        if connect.encoded_len() > self.mtu {
            return Err(ConfigError::Mtu);
        }
        Ok(())
    }
}

impl Will {
    /// Returns the will as WILLTOPIC and WILLTOPICUPD carry it.
    pub(super) fn target(&self) -> WillTarget<'_> {
        WillTarget {
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_bytes(),
        }
    }

    fn validate(&self, mtu: usize) -> Result<(), ConfigError> {
        if !is_name(&self.topic) || self.qos == QoS::MinusOne {
            return Err(ConfigError::Will);
        }
        let topic = Message::WillTopic(Some(self.target()));
        let message = Message::WillMsg(&self.message);
        if topic.encoded_len().max(message.encoded_len()) > mtu {
            return Err(ConfigError::Mtu);
        }
        Ok(())
    }
}

impl WakePlan {
    fn validate(&self) -> Result<(), ConfigError> {
        let in_order = self.from_percent <= self.to_percent;
        if !in_order || self.from_percent < 50 || self.to_percent > 90 {
            return Err(ConfigError::Wake);
        }
        if self.messages_max == Some(0) {
            return Err(ConfigError::ZeroCount);
        }
        if self.time_max == Some(Duration::ZERO) {
            return Err(ConfigError::ZeroTime);
        }
        Ok(())
    }
}

impl Default for WakePlan {
    fn default() -> Self {
        Self {
            from_percent: 80,
            to_percent: 90,
            messages_max: None,
            time_max: None,
        }
    }
}

impl LinkClock {
    fn validate(&self) -> Result<(), ConfigError> {
        let times = [
            self.t_retry,
            self.t_wait,
            self.t_refused,
            self.t_search_gw,
            self.t_gw_info,
        ];
        if times.contains(&Duration::ZERO) {
            return Err(ConfigError::ZeroTime);
        }
        if self.n_wake == 0 || self.n_adv == 0 {
            return Err(ConfigError::ZeroCount);
        }
        if self.jitter_percent > JITTER_PERCENT_MAX {
            return Err(ConfigError::Jitter);
        }
        Ok(())
    }
}

impl Default for LinkClock {
    /// The standard's values (digest A.17): 10 s, 3 repetitions, 5 min after congestion.
    fn default() -> Self {
        Self {
            t_retry: Duration::from_secs(10),
            n_retry: 3,
            n_wake: 3,
            t_wait: Duration::from_secs(300),
            t_refused: Duration::from_secs(3600),
            t_search_gw: Duration::from_secs(5),
            t_gw_info: Duration::from_secs(5),
            n_adv: 3,
            jitter_percent: 20,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientId => "the client id must have 1 to 23 characters, none a control one",
            Self::NoGateway => "name a gateway or switch discovery on",
            Self::Will => "the will needs a topic without wildcards and a QoS of 0 to 2",
            Self::Mtu => "a message of this configuration is longer than the MTU",
            Self::ZeroTime => "no time of the link's clock or of a wake may be zero",
            Self::ZeroCount => {
                "n_wake, n_adv, wakes_until_lost and a wake's messages must not be zero"
            }
            Self::Jitter => "the jitter must not exceed 50 %",
            Self::Wake => "the node wakes at 50 to 90 % of its sleep",
            Self::Gateways => "too many gateways are named",
        })
    }
}

impl core::error::Error for ConfigError {}
