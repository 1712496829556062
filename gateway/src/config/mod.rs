//! The configuration: one TOML file, and defaults that serve without one.
//!
//! [`schema::KEYS`] is the one table of all keys. [`Config::load`] refuses what it does not
//! hold, says file, line, column, key, value and what is allowed, and reports everything that
//! is wrong at once. The types here are plain settings; the driver turns them into those of
//! the engine, the links and the upstream.
//!
//! Of several sources the first in this order holds: the environment, for the password alone;
//! what is written in the file; the preset of a link, for its clocks and its pacing; the default
//! in the table of keys. [`Values`] tells what holds for each key, and how two readings differ.
//!
//! What cannot be meant is refused, with its place. What is allowed and does nothing - a rule
//! for nodes behind one that takes them all, a priority for topics that have one - is warned of
//! ([`Reading::warnings`]).
//!
//! A running gateway reads its file anew on SIGHUP. Each key says in the table whether a change
//! holds at once or waits for a start ([`schema::Applies`]). Links keep their places until then,
//! whatever their order in the file; tables in lists are told apart by a key of theirs
//! ([`schema::LISTS`]), so that one more or less is one change.

mod admission;
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
mod values;

use std::path::{Path, PathBuf};

pub use crate::session::{ForwarderRule, NotAPrefix, Prefix};
pub use admission::*;
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
pub use values::{Change, HeldValue, Values};

use error::Finding;
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
    /// Which nodes are served, and how.
    pub admission: AdmissionConfig,
    /// The topics known without a registration, and those that go first.
    pub topics: TopicsConfig,
    /// Who may publish at QoS −1.
    pub qos_minus_one: QosMinusOneConfig,
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
            admission: AdmissionConfig::default(),
            topics: TopicsConfig::default(),
            qos_minus_one: QosMinusOneConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// A configuration with what was seen while it was read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The settings.
    pub config: Config,
    /// What holds for each key, written or not.
    pub values: Values,
    /// What is allowed and does not do what it seems to.
    pub warnings: Problems,
}

impl Reading {
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

    /// Returns what holds where there is no file: the defaults.
    #[must_use]
    pub fn of_nothing() -> Self {
        let mut reader = Reader::new("", Path::new(""), &|_| None);
        let config = Config::read(&mut reader);
        Self {
            config,
            values: Values::new(reader.finish().held),
            warnings: Problems {
                file: String::new(),
                list: Vec::new(),
            },
        }
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
        let config = Config::read(&mut reader);
        let outcome = reader.finish();
        let located = |findings: Vec<Finding>| Problems {
            file: path.display().to_string(),
            list: findings.into_iter().map(|it| it.locate(source)).collect(),
        };
        if !outcome.findings.is_empty() {
            return Err(ConfigError::Invalid(located(outcome.findings)));
        }
        Ok(Self {
            config,
            values: Values::new(outcome.held),
            warnings: located(outcome.warnings),
        })
    }
}

impl Config {
    /// Reads a file, as [`Reading::load`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Reading::load`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Reading::load(path).map(|reading| reading.config)
    }

    /// Reads a text, as [`Reading::parse`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Reading::parse`].
    pub fn parse(
        source: &str,
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Reading::parse(source, path, environment).map(|reading| reading.config)
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let gateway = GatewayConfig::read(&mut reader.section("gateway"));
        let links = read_links(reader);
        let has_upstream = reader.has_table("upstream");
        Self {
            gateway,
            upstream: has_upstream
                .then(|| UpstreamConfig::read(&mut reader.section("upstream")))
                .flatten(),
            broker: BrokerConfig::read(&mut reader.section("broker")),
            admission: AdmissionConfig::read(reader, &links),
            topics: TopicsConfig::read(reader),
            qos_minus_one: QosMinusOneConfig::read(reader, &links),
            log: LogConfig::read(&mut reader.section("log")),
            links,
        }
    }
}

fn read_links(reader: &mut Reader<'_>) -> Vec<LinkConfig> {
    if !reader.has_list("link") {
        return read_default_links(reader);
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
                // Each socket that asks for port 0 is given one of its own.
                (LinkKind::Udp(a), LinkKind::Udp(b))
                    if a.listen == b.listen && a.listen.port() != 0 =>
                {
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

/// Reads the link that runs where none is configured, and what holds for its keys.
fn read_default_links(reader: &mut Reader<'_>) -> Vec<LinkConfig> {
    let source = format!(
        "[[link]]\nname = \"{DEFAULT_LINK_NAME}\"\ntype = \"udp\"\nlisten = \"{DEFAULT_LISTEN}\"\n"
    );
    let mut defaults = Reader::new(&source, Path::new(""), &|_| None);
    let links = read_links(&mut defaults);
    reader.adopt(defaults.finish().held);
    links
}
