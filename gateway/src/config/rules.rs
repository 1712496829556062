//! Who may publish without a connection, and the topics known without a registration.

use std::collections::BTreeMap;

use shared::wire::NodeId;

use super::reader::Section;
use crate::session::Prefix;

/// The topics that nodes name by an id that both sides know from their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsConfig {
    /// The topic names by their pre-defined ids, 1 to 65534 [MQTT-SN 1.2 §5.3.11].
    pub predefined: BTreeMap<u16, String>,
}

/// Who may publish at QoS −1, and where (D-34). Without a rule nobody may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QosMinusOneRule {
    /// The name of the link.
    pub link: String,
    /// The addresses allowed; empty where the address does not matter.
    pub from: Vec<Prefix>,
    /// The nodes allowed behind a forwarder or on a radio; empty where the node does not
    /// matter. A sender must satisfy both; a rule without either is for serial links only.
    pub node_ids: Vec<NodeId>,
    /// The topics allowed, as MQTT filters.
    pub topics: Vec<String>,
    /// Whether what is published may be retained by the broker.
    pub retain: bool,
    /// How many publications a second one source may send for long.
    pub rate_per_s: u32,
    /// How many publications one source may send at once.
    pub burst: u32,
}

/// The rate of a source where nothing is configured, in publications a second.
pub const DEFAULT_RATE_PER_S: u32 = 1;
/// The burst of a source where nothing is configured, in publications.
pub const DEFAULT_BURST: u32 = 10;

impl TopicsConfig {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        Self {
            predefined: section.or("predefined", BTreeMap::new()),
        }
    }
}

impl QosMinusOneRule {
    /// Reads a rule, or records what is missing.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let link = section.required("link");
        let topics = section.required("topics");
        Some(Self {
            link: link?,
            from: section.or("from", Vec::new()),
            node_ids: section.or("node_ids", Vec::new()),
            topics: topics?,
            retain: section.or("retain", false),
            rate_per_s: section.or("rate_per_s", DEFAULT_RATE_PER_S),
            burst: section.or("burst", DEFAULT_BURST),
        })
    }
}
