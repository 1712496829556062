//! Who may publish without a connection, and the topics known without a registration.

use std::collections::BTreeMap;

use shared::wire::NodeId;

use super::admission::priority;
use super::link::{LinkConfig, LinkKind};
use super::reader::{Reader, Section};
use crate::session::{Prefix, Priority};

/// The topics that nodes name by an id that both sides know from their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsConfig {
    /// The topic names by their pre-defined ids, 1 to 65534 [MQTT-SN 1.2 §5.3.11].
    pub predefined: BTreeMap<u16, String>,
    /// What goes down early or late, by topic; the first filter that matches holds.
    pub priorities: Vec<TopicPriority>,
}

/// How early the publications on some topics go down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPriority {
    /// The topics, as an MQTT filter.
    pub filter: String,
    /// How early.
    pub priority: Priority,
}

/// Publications without a connection (D-34, A.15).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QosMinusOneConfig {
    /// Whether a topic name is taken where the standard wants an id.
    pub long_names: bool,
    /// Who may publish; nobody where there is no rule.
    pub allow: Vec<QosMinusOneRule>,
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

/// Topic names are not taken where nothing is configured: the standard does not know them.
pub const DEFAULT_LONG_NAMES: bool = false;

impl TopicsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let predefined = reader.section("topics").or("predefined", BTreeMap::new());
        let mut priorities: Vec<TopicPriority> = Vec::new();
        for index in 0..reader.length(PRIORITIES) {
            let mut section = reader.section(format!("{PRIORITIES}[{index}]"));
            let filter: Option<String> = section.required("filter");
            let word: Option<String> = section.required("priority");
            let (Some(filter), Some(priority)) = (filter, word.as_deref().and_then(priority))
            else {
                continue;
            };
            if let Some(earlier) = priorities.iter().position(|it| it.filter == filter) {
                let why = format!("it never holds: {PRIORITIES}[{earlier}] has the same filter");
                section.warn("filter", &why);
            }
            priorities.push(TopicPriority { filter, priority });
        }
        Self {
            predefined,
            priorities,
        }
    }
}

impl QosMinusOneConfig {
    pub(super) fn read(reader: &mut Reader<'_>, links: &[LinkConfig]) -> Self {
        let long_names = reader
            .section("qos_minus_one")
            .or("long_names", DEFAULT_LONG_NAMES);
        let mut allow = Vec::new();
        for index in 0..reader.length(ALLOW) {
            let mut section = reader.section(format!("{ALLOW}[{index}]"));
            let Some(rule) = QosMinusOneRule::read(&mut section) else {
                continue;
            };
            rule.check(links, &mut section);
            allow.push(rule);
        }
        Self { long_names, allow }
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

    /// Records what does not go with the link it is for.
    fn check(&self, links: &[LinkConfig], section: &mut Section<'_, '_>) {
        let link = links.iter().find(|link| link.name == self.link);
        match link.map(|link| &link.kind) {
            None => section.refuse("link", "no link has this name"),
            Some(LinkKind::Udp(_)) if self.from.is_empty() && self.node_ids.is_empty() => {
                section.refuse(
                    "link",
                    "on a UDP link the rule must say from, node_ids or both",
                );
            }
            Some(LinkKind::Serial(_)) => {
                section.refuse("from", "a serial link has no addresses");
            }
            Some(LinkKind::Udp(_)) => {}
        }
    }
}

const PRIORITIES: &str = "topics.priority";
const ALLOW: &str = "qos_minus_one.allow";
