//! Who may do what: the rules for nodes, and what holds for the others.
//!
//! ```toml
//! [admission]
//! others = "refuse"                  # who is not named below is not served
//!
//! [[node]]                           # the first rule that fits a client id holds
//! match = "pump-*"
//! links = ["radio"]
//! publish = ["pumps/%c/#"]           # %c is the client id
//! qos_max = 1
//! ```
//!
//! What a rule does not say is not limited. A rule is not inherited from: of two that fit, the
//! second one means nothing for that node.

mod covers;

use shared::time::Duration;
use shared::wire::{NodeId, QoS};

use super::link::{LinkConfig, LinkKind};
use super::reader::{Reader, Section};
use crate::session::{Pattern, Prefix, Priority, Profile, Quota};
use covers::covers;

/// Who is served, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// The rules, in their order: the first that fits a client id holds.
    pub rules: Vec<NodeConfig>,
    /// What becomes of nodes that no rule names.
    pub others: Others,
}

/// What becomes of nodes that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They are served, without limits of their own.
    #[default]
    Serve,
    /// They are refused.
    Refuse,
}

/// What the nodes with certain client ids may do, and how they are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Whose rule it is.
    pub nodes: Pattern,
    /// The names of the links they may be heard on; empty where the link does not matter.
    pub links: Vec<String>,
    /// The addresses they may send from; empty where the address does not matter.
    pub from: Vec<Prefix>,
    /// The node ids they may have; empty where the node id does not matter.
    pub node_ids: Vec<NodeId>,
    /// The filters of the topics they may publish to, `%c` for the client id; `None` where all
    /// are allowed.
    pub publish: Option<Vec<String>>,
    /// The filters of the topics they may subscribe to, `%c` for the client id; `None` where
    /// all are allowed.
    pub subscribe: Option<Vec<String>>,
    /// The highest quality of service, either way.
    pub qos_max: QoS,
    /// How much one of them may publish.
    pub quota: Quota,
    /// The longest message they can take, in octets, where it is less than the link's.
    pub mtu: Option<usize>,
    /// What their client stack cannot do.
    pub profile: Profile,
    /// Who goes first.
    pub priority: Priority,
    /// How much longer than announced they may be silent.
    pub grace: Duration,
    /// How often something must be heard of them.
    pub expect_every: Option<Duration>,
    /// The most publications sent in one wake.
    pub awake_messages_max: Option<u32>,
}

/// What stands for the client id in the filters of a rule.
pub const CLIENT_ID_MARK: &str = "%c";
/// What may become of the nodes that no rule names.
pub const OTHERS: &[&str] = &[OTHERS_SERVE, OTHERS_REFUSE];
/// The nodes that no rule names are served where nothing is configured.
pub const OTHERS_SERVE: &str = "serve";
/// The nodes that no rule names may be refused.
pub const OTHERS_REFUSE: &str = "refuse";
/// Nodes may use every quality of service where nothing is configured.
pub const DEFAULT_QOS_MAX: u8 = 2;
/// The profile where none is configured: complete MQTT-SN 1.2.
pub const DEFAULT_PROFILE: &str = Profile::STANDARD.name;
/// The profiles.
pub const PROFILES: &[&str] = &profile_names();
/// The priorities, the most important last.
pub const PRIORITIES: &[&str] = &[PRIORITY_LOW, DEFAULT_PRIORITY, PRIORITY_HIGH];
/// The priority where none is configured.
pub const DEFAULT_PRIORITY: &str = "normal";
const PRIORITY_LOW: &str = "low";
const PRIORITY_HIGH: &str = "high";
/// The grace where none is configured (D-17).
pub const DEFAULT_GRACE: Duration = Duration::ZERO;
impl NodeConfig {
    /// Creates a rule without limits for the nodes that a pattern fits.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self {
            nodes: Pattern::new(pattern),
            links: Vec::new(),
            from: Vec::new(),
            node_ids: Vec::new(),
            publish: None,
            subscribe: None,
            qos_max: QoS::ExactlyOnce,
            quota: Quota::default(),
            mtu: None,
            profile: Profile::STANDARD,
            priority: Priority::Normal,
            grace: DEFAULT_GRACE,
            expect_every: None,
            awake_messages_max: None,
        }
    }

    /// Reads a rule, or records what is missing.
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let default = Self::new(&section.required::<String>("match")?);
        Some(Self {
            links: section.or("links", Vec::new()),
            from: section.or("from", Vec::new()),
            node_ids: section.or("node_ids", Vec::new()),
            publish: section.optional("publish"),
            subscribe: section.optional("subscribe"),
            qos_max: read_qos(section),
            quota: Quota {
                messages_per_min: section.optional("messages_per_min"),
                bytes_per_day: section.optional("bytes_per_day"),
            },
            mtu: section.optional("mtu"),
            profile: read_profile(section),
            priority: priority(&section.or("priority", DEFAULT_PRIORITY.to_owned()))?,
            grace: section.or("grace", default.grace),
            expect_every: section.optional("expect_every"),
            awake_messages_max: section.optional("max_awake_messages"),
            ..default
        })
    }

    /// Records what does not go with the links there are.
    fn check(&self, links: &[LinkConfig], section: &mut Section<'_, '_>) {
        let find = |name: &String| links.iter().find(|link| link.name == *name);
        for name in self.links.iter().filter(|name| find(name).is_none()) {
            let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
            let why = format!(
                "no link has the name \"{name}\"; there are {}",
                names.join(", ")
            );
            section.refuse("links", &why);
        }
        let named: Vec<&LinkConfig> = self.links.iter().filter_map(find).collect();
        let heard_on: Vec<&LinkConfig> = match self.links.is_empty() {
            true => links.iter().collect(),
            false => named,
        };
        let is_serial = |link: &&LinkConfig| matches!(link.kind, LinkKind::Serial(_));
        if !self.from.is_empty() && !heard_on.is_empty() && heard_on.iter().all(is_serial) {
            section.refuse("from", "a serial link has no addresses");
        }
    }
}

impl AdmissionConfig {
    pub(super) fn read(reader: &mut Reader<'_>, links: &[LinkConfig]) -> Self {
        let others = read_others(&mut reader.section("admission"));
        let mut rules: Vec<NodeConfig> = Vec::new();
        for index in 0..reader.length(NODES) {
            let mut section = reader.section(format!("{NODES}[{index}]"));
            let Some(rule) = NodeConfig::read(&mut section) else {
                continue;
            };
            rule.check(links, &mut section);
            let earlier = rules.iter().position(|it| covers(&it.nodes, &rule.nodes));
            if let Some(earlier) = earlier {
                let pattern = &rules[earlier].nodes;
                let why = format!(
                    "the rule never holds: {NODES}[{earlier}], which comes before it, takes all \
                     that it fits with \"{pattern}\""
                );
                section.warn("match", &why);
            }
            rules.push(rule);
        }
        if others == Others::Refuse && rules.is_empty() {
            let why = "nobody is served: there is no [[node]]";
            reader.section("admission").warn("others", why);
        }
        Self { rules, others }
    }
}

/// Returns the priority with a name.
pub(super) fn priority(word: &str) -> Option<Priority> {
    match word {
        PRIORITY_LOW => Some(Priority::Low),
        DEFAULT_PRIORITY => Some(Priority::Normal),
        PRIORITY_HIGH => Some(Priority::High),
        _ => None,
    }
}

/// Returns the name of a priority.
#[must_use]
pub const fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => PRIORITY_LOW,
        Priority::Normal => DEFAULT_PRIORITY,
        Priority::High => PRIORITY_HIGH,
    }
}

fn read_others(section: &mut Section<'_, '_>) -> Others {
    match section.or("others", OTHERS_SERVE.to_owned()).as_str() {
        OTHERS_REFUSE => Others::Refuse,
        _ => Others::Serve,
    }
}

fn read_qos(section: &mut Section<'_, '_>) -> QoS {
    match section.or("qos_max", DEFAULT_QOS_MAX) {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn read_profile(section: &mut Section<'_, '_>) -> Profile {
    let name = section.or("profile", DEFAULT_PROFILE.to_owned());
    Profile::by_name(&name).unwrap_or(Profile::STANDARD)
}

const fn profile_names() -> [&'static str; Profile::ALL.len()] {
    let mut names = [""; Profile::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Profile::ALL[index].name;
        index += 1;
    }
    names
}

const NODES: &str = "node";
