//! What a key takes, and how that is said.

use shared::time::Duration;
use shared::wire::NodeId;

use super::super::duration::format_duration;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A whole number within bounds.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// `true` or `false`.
    Boolean,
    /// A text that is not empty, up to so many octets.
    Text {
        /// The longest, in octets.
        len_max: usize,
    },
    /// A text that is never shown.
    Secret,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A duration within bounds.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A duration within bounds, or the word "never".
    DurationOrNever {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// An address and a port.
    SocketAddress,
    /// Multicast groups with their ports.
    Groups,
    /// The URL of a broker.
    BrokerUrl,
    /// A file that can be read.
    File,
    /// A device, which may appear later.
    Device,
    /// Addresses, prefixes, or addresses with a port.
    Forwarders,
    /// Addresses or prefixes.
    Prefixes,
    /// Node ids in hexadecimal.
    NodeIds,
    /// MQTT topic filters, one at least.
    TopicFilters,
    /// MQTT topic filters in which `%c` stands for a client id; also none.
    NodeFilters,
    /// One MQTT topic filter.
    TopicFilter,
    /// The first levels of topics.
    TopicPrefix,
    /// A pattern of client ids.
    ClientIds,
    /// Names of links.
    Names,
    /// Topic names by their pre-defined ids.
    PredefinedTopics,
}

impl Rule {
    /// The longest text of [`Self::TopicPrefix`], in octets: the rest of a topic must fit behind.
    pub const TOPIC_PREFIX_LEN_MAX: usize = 128;

    /// The longest text of [`Self::ClientIds`], in octets.
    pub const CLIENT_IDS_LEN_MAX: usize = 256;

    /// Returns the type of the value as TOML knows it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Boolean => "boolean",
            Self::Forwarders
            | Self::Prefixes
            | Self::NodeIds
            | Self::TopicFilters
            | Self::NodeFilters
            | Self::Groups
            | Self::Names => "array of strings",
            Self::PredefinedTopics => "table of strings",
            _ => "string",
        }
    }

    /// Returns what is allowed, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Text { len_max } => format!("a text of 1 to {len_max} octets"),
            Self::Secret => "a text".to_owned(),
            Self::Choice(words) => words.map_words(),
            Self::Duration { min, max } => format!(
                "a duration from \"{}\" to \"{}\", in ms, s, m, h or d",
                format_duration(*min),
                format_duration(*max)
            ),
            Self::DurationOrNever { min, max } => format!(
                "\"never\" or a duration from \"{}\" to \"{}\", in ms, s, m, h or d",
                format_duration(*min),
                format_duration(*max)
            ),
            Self::SocketAddress => {
                "an address and a port, such as \"0.0.0.0:10000\" or \"[::]:10000\"".to_owned()
            }
            Self::Groups => {
                "multicast groups and ports, such as \"225.1.1.1:1883\" or \"[ff02::1:883]:1883\""
                    .to_owned()
            }
            Self::BrokerUrl => "\"mqtt://host:port\" or \"mqtts://host:port\"".to_owned(),
            Self::File => "the path of a file that can be read".to_owned(),
            Self::Device => "the path of a serial device".to_owned(),
            Self::Forwarders => {
                "addresses \"192.168.1.9\", prefixes \"10.0.0.0/8\" or sockets \"192.168.1.9:10000\""
                    .to_owned()
            }
            Self::Prefixes => "addresses \"192.168.1.9\" or prefixes \"10.0.0.0/8\"".to_owned(),
            Self::NodeIds => format!(
                "node ids in hexadecimal, such as \"0a1b\", up to {} octets",
                NodeId::LEN_MAX
            ),
            Self::TopicFilters => "one or more topic filters, such as \"input/#\"".to_owned(),
            Self::NodeFilters => {
                "topic filters, such as \"nodes/%c/#\", each %c being the client id".to_owned()
            }
            Self::TopicFilter => "a topic filter, such as \"alarms/#\"".to_owned(),
            Self::TopicPrefix => format!(
                "topic levels without + and #, such as \"sandgrouse\" or \"site/gw-1\", up to {} \
                 octets, neither beginning with $ nor with / at an end",
                Self::TOPIC_PREFIX_LEN_MAX
            ),
            Self::ClientIds => format!(
                "a client id of up to {} octets, * in it for any characters, ? for one",
                Self::CLIENT_IDS_LEN_MAX
            ),
            Self::Names => "names of links".to_owned(),
            Self::PredefinedTopics => {
                "ids from 1 to 65534, each with a topic name without + and #".to_owned()
            }
        }
    }
}

trait Words {
    fn map_words(&self) -> String;
}

impl Words for [&str] {
    fn map_words(&self) -> String {
        let quoted: Vec<String> = self.iter().map(|word| format!("\"{word}\"")).collect();
        quoted.join(" or ")
    }
}
