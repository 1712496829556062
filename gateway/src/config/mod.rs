//! The configuration: one TOML file, and defaults that serve without one.
//!
//! [`schema::KEYS`] is the one table of all keys. [`Config::load`] refuses what it does not
//! hold, says file, line, column, key, value and what is allowed, and reports everything that
//! is wrong at once. The types here are plain settings; the driver turns them into those of
//! the engine, the links and the upstream.

mod duration;
mod error;
mod gateway;
mod link;
mod log;
mod multicast;
mod pacing;
mod presets;
mod reader;
mod rules;
pub mod schema;
mod upstream;
mod url;
mod value;

use std::path::{Path, PathBuf};

pub use crate::session::{ForwarderRule, NotAPrefix, Prefix};
pub use duration::{format_duration, parse_duration};
pub use error::{ConfigError, Problem, Problems};
pub use gateway::*;
pub use link::*;
pub use log::*;
pub use multicast::*;
pub use pacing::*;
pub use presets::*;
pub use rules::*;
pub use upstream::*;
pub use url::*;
pub use value::{Rule, Value};

use reader::Reader;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The gateway itself.
    pub gateway: GatewayConfig,
    /// The links, one at least.
    pub links: Vec<LinkConfig>,
    /// The upstream broker; the embedded one serves where there is none.
    pub upstream: Option<UpstreamConfig>,
    /// The embedded broker.
    pub broker: BrokerConfig,
    /// The topics known without a registration.
    pub topics: TopicsConfig,
    /// Who may publish at QoS −1.
    pub qos_minus_one: Vec<QosMinusOneRule>,
    /// The log.
    pub log: LogConfig,
}

impl Default for Config {
    /// Returns what runs without a file: UDP on 0.0.0.0:10000 and the embedded broker.
    fn default() -> Self {
        Self {
            gateway: GatewayConfig::default(),
            links: vec![LinkConfig::default()],
            upstream: None,
            broker: BrokerConfig::default(),
            topics: TopicsConfig::default(),
            qos_minus_one: Vec::new(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// Reads a file. Relative paths in it start at its folder; the password may come from
    /// the environment ([`PASSWORD_VARIABLE`]).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] where the file cannot be read, and [`ConfigError::Invalid`] with
    /// everything that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let source = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let environment = |variable: &str| std::env::var(variable).ok();
        Self::parse(&source, path, &environment)
    }

    /// Reads a text as if it stood in the file at `path`, in the given environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn parse(
        source: &str,
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let base = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        let mut reader = Reader::new(source, &base, environment);
        let config = Self::read(&mut reader);
        let findings = reader.into_findings();
        if findings.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Invalid(Problems {
            file: path.display().to_string(),
            list: findings.into_iter().map(|it| it.locate(source)).collect(),
        }))
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let links = read_links(reader);
        let has_upstream = reader.has_table("upstream");
        Self {
            gateway: GatewayConfig::read(&mut reader.section("gateway")),
            upstream: has_upstream
                .then(|| UpstreamConfig::read(&mut reader.section("upstream")))
                .flatten(),
            broker: BrokerConfig::read(&mut reader.section("broker")),
            topics: TopicsConfig::read(&mut reader.section("topics")),
            qos_minus_one: read_rules(reader, &links),
            log: LogConfig::read(&mut reader.section("log")),
            links,
        }
    }
}

fn read_links(reader: &mut Reader<'_>) -> Vec<LinkConfig> {
    if !reader.has_list("link") {
        return vec![LinkConfig::default()];
    }
    let mut links: Vec<LinkConfig> = Vec::new();
    for index in 0..reader.length("link") {
        let mut section = reader.section(format!("link[{index}]"));
        let Some(link) = LinkConfig::read(&mut section) else {
            continue;
        };
        for other in &links {
            if other.name == link.name {
                section.refuse("name", "another link has this name");
            }
            match (&other.kind, &link.kind) {
                (LinkKind::Udp(a), LinkKind::Udp(b)) if a.listen == b.listen => {
                    section.refuse("listen", "another link listens there");
                }
                (LinkKind::Serial(a), LinkKind::Serial(b)) if a.path == b.path => {
                    section.refuse("path", "another link has this device");
                }
                _ => {}
            }
        }
        links.push(link);
    }
    if reader.length("link") == 0 {
        reader.refuse_list("link", "at least one link must be there");
    }
    links
}

fn read_rules(reader: &mut Reader<'_>, links: &[LinkConfig]) -> Vec<QosMinusOneRule> {
    let mut rules = Vec::new();
    for index in 0..reader.length(RULES) {
        let mut section = reader.section(format!("{RULES}[{index}]"));
        let Some(rule) = QosMinusOneRule::read(&mut section) else {
            continue;
        };
        match links
            .iter()
            .find(|link| link.name == rule.link)
            .map(|link| &link.kind)
        {
            None => section.refuse("link", "no link has this name"),
            Some(LinkKind::Udp(_)) if rule.from.is_empty() && rule.node_ids.is_empty() => {
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
        rules.push(rule);
    }
    rules
}

const RULES: &str = "qos_minus_one.allow";
