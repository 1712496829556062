//! Another configuration for a running gateway: what of it can be taken, and by whom.

use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, GatewayConfig, LinkConfig, LinkKind, LogConfig};
use crate::session::Reconfigured;

/// Reaches a running gateway from elsewhere.
#[derive(Clone, Debug)]
pub struct GatewayHandle {
    reloads: mpsc::Sender<Reload>,
}

impl GatewayHandle {
    pub(super) fn new() -> (Self, mpsc::Receiver<Reload>) {
        // One at a time: who reloads waits until it is done.
        let (reloads, inbox) = mpsc::channel(1);
        (Self { reloads }, inbox)
    }

    /// Has the gateway go by another configuration, as far as a running one can: its upstream,
    /// its broker and its links stay those it was started with. Returns what became of the
    /// sessions, or `None` where the gateway has stopped.
    pub async fn reload(&self, config: Config) -> Option<Reconfigured> {
        let (answer, done) = oneshot::channel();
        let config = Box::new(config);
        self.reloads.send(Reload { config, answer }).await.ok()?;
        done.await.ok()
    }
}

/// A configuration on its way to the driver.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) config: Box<Config>,
    pub(super) answer: oneshot::Sender<Reconfigured>,
}

/// Returns what of `new` a gateway can go by that was started with `started`.
///
/// Links keep their places, whatever the order of `new` is: sessions and rules know them by
/// it. A link that is new waits for a start, and until then a rule for it holds nowhere.
pub(super) fn applicable(started: &Config, new: Config) -> Config {
    let links = started.links.iter().map(|link| {
        let same =
            |other: &&LinkConfig| other.name == link.name && other.kind.name() == link.kind.name();
        match new.links.iter().find(same) {
            Some(new) => clocks_of(link, new),
            None => link.clone(),
        }
    });
    Config {
        links: links.collect(),
        gateway: GatewayConfig {
            client_id: started.gateway.client_id.clone(),
            ..new.gateway
        },
        upstream: started.upstream.clone(),
        broker: started.broker,
        log: LogConfig {
            format: started.log.format,
            ..new.log
        },
        ..new
    }
}

/// Returns a link with the clocks and limits of `new` that the engine keeps.
fn clocks_of(link: &LinkConfig, new: &LinkConfig) -> LinkConfig {
    let mut kind = link.kind.clone();
    if let (LinkKind::Udp(udp), LinkKind::Udp(new)) = (&mut kind, &new.kind) {
        udp.forwarders.clone_from(&new.forwarders);
    }
    LinkConfig {
        name: link.name.clone(),
        max_message: link.max_message,
        pacing: link.pacing,
        kind,
        ..new.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::time::Duration;

    use super::*;
    use crate::config::Rule;
    use crate::config::format_duration;
    use crate::config::schema::{Applies, KEYS, Key};

    const LAN: &str = "[[link]]\nname = \"lan\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n";
    const LINKS: &str = concat!(
        "[[link]]\nname = \"lan\"\ntype = \"udp\"\nlisten = \"0.0.0.0:1\"\n",
        "[[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"/dev/x\"\n",
    );
    const GROUPS: &str = "multicast.groups = [\"225.1.1.1:1883\"]\n";
    const RADIO: &str = "[[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"/dev/x\"\n";

    fn parse(source: &str) -> Config {
        let nothing = |_: &str| None;
        Config::parse(source, Path::new("test.toml"), &nothing)
            .unwrap_or_else(|error| panic!("{source}\n{error}"))
    }

    /// Returns a value that the rule of a key takes, other than the default.
    fn other_value(key: &Key) -> String {
        let span = |span: &Duration| format!("\"{}\"", format_duration(*span));
        let candidates = match &key.rule {
            Rule::Integer { min, max } => vec![max.to_string(), min.to_string()],
            Rule::Boolean => vec!["true".to_owned(), "false".to_owned()],
            Rule::Duration { min, max } | Rule::DurationOrNever { min, max } => {
                vec![span(max), span(min)]
            }
            Rule::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect(),
            Rule::Text { .. } | Rule::ClientIds | Rule::TopicFilter | Rule::TopicPrefix => {
                vec!["\"radio\"".to_owned()]
            }
            Rule::SocketAddress => vec!["\"127.0.0.1:4\"".to_owned()],
            Rule::Device => vec!["\"/dev/y\"".to_owned()],
            Rule::Forwarders | Rule::Prefixes => vec!["[\"10.0.0.0/8\"]".to_owned()],
            Rule::NodeIds => vec!["[\"01\"]".to_owned()],
            Rule::Groups => vec!["[\"225.1.1.1:1883\"]".to_owned()],
            Rule::Names => vec!["[\"lan\"]".to_owned()],
            Rule::TopicFilters | Rule::NodeFilters => vec!["[\"x\"]".to_owned()],
            Rule::PredefinedTopics => vec!["{ 9 = \"x\" }".to_owned()],
            Rule::BrokerUrl | Rule::Secret | Rule::File => {
                panic!("{} is outside of [upstream]", key.path)
            }
        };
        let default = key.default.toml();
        let mut others = candidates.into_iter();
        others
            .find(|value| Some(value) != default.as_ref())
            .unwrap()
    }

    /// Returns a file in which a key has its default, and the same file with another value.
    fn with_and_without(key: &Key, value: &str) -> (String, String) {
        let Some(end) = key.path.find("].") else {
            let (table, name) = key.path.split_once('.').unwrap();
            return (String::new(), format!("[{table}]\n{name} = {value}\n"));
        };
        let (list, name) = (&key.path[..end - 1], &key.path[end + 2..]);
        let (before, mut table) = match list {
            "link" if key.link_type == Some("serial") => ("", RADIO.to_owned()),
            "link" => ("", LAN.to_owned()),
            "node" => (LINKS, "[[node]]\nmatch = \"pump\"\n".to_owned()),
            "topics.priority" => (
                "",
                "[[topics.priority]]\nfilter = \"a\"\npriority = \"normal\"\n".to_owned(),
            ),
            _ => (
                LINKS,
                format!("[[{list}]]\nlink = \"lan\"\nnode_ids = [\"07\"]\ntopics = [\"a\"]\n"),
            ),
        };
        // What some keys need beside them.
        table += match name {
            "advertise_every" | "multicast.interface" | "multicast.hops_max" => GROUPS,
            // Groups alone would turn discovery on.
            "multicast.groups" => "discovery = true\n",
            "standby_misses" => "discovery = true\nadvertise_every = \"1h\"\n",
            _ if name.starts_with("pacing.") => {
                "pacing.rate_bytes_per_s = 1000000\npacing.queue_bytes_max = 100000\n"
            }
            _ => "",
        };
        if name == "standby_misses" {
            table += GROUPS;
        }
        let own = format!("{name} = ");
        let others: String = table
            .lines()
            .filter(|line| !line.starts_with(&own))
            .map(|line| format!("{line}\n"))
            .collect();
        (
            format!("{before}{table}"),
            format!("{before}{others}{own}{value}\n"),
        )
    }

    #[test]
    fn the_table_of_keys_tells_what_a_running_gateway_takes() {
        let mut count = 0;
        for key in KEYS.iter().filter(|key| !key.path.starts_with("upstream.")) {
            // Of other kinds: another socket, and a word for several keys.
            if ["link[].type", "link[].preset"].contains(&key.path) {
                continue;
            }
            let (without, with) = with_and_without(key, &other_value(key));
            let (started, new) = (parse(&without), parse(&with));
            assert_ne!(started, new, "{with}");
            let taken = applicable(&started, new.clone());
            match key.applies {
                Applies::AtReload => assert_eq!(taken, new, "{with}"),
                Applies::AtStart => assert_eq!(taken, started, "{with}"),
            }
            count += 1;
        }
        assert!(count > 60, "{count}");
    }

    #[test]
    fn the_broker_stays() {
        let own = parse("[broker]\nlisten = \"127.0.0.1:5\"\n");
        let upstream = parse("[upstream]\nurl = \"mqtt://h\"\n[gateway]\nid = 7\n");
        let taken = applicable(&own, upstream.clone());
        assert_eq!((taken.upstream, taken.broker), (None, own.broker));
        assert_eq!(taken.gateway.id, 7);
        let taken = applicable(&upstream, own);
        assert_eq!(taken.upstream, upstream.upstream);
    }

    #[test]
    fn links_keep_their_places_and_their_sockets() {
        let started = parse(&format!("{LAN}{RADIO}"));
        let other = "[[link]]\nname = \"wan\"\ntype = \"udp\"\nlisten = \"0.0.0.0:2\"\n";
        let rule = "[[node]]\nmatch = \"a\"\nlinks = [\"wan\", \"radio\"]\n";
        let new = format!("{other}{RADIO}preset = \"lora-sf9\"\n{LAN}n_retry = 7\n{rule}");
        let taken = applicable(&started, parse(&new));
        let names: Vec<&str> = taken.links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lan", "radio"]);
        assert_eq!(taken.links[0].n_retry, 7);
        let radio = &taken.links[1];
        assert_eq!(radio.t_retry, Duration::from_secs(150));
        assert_eq!(radio.max_message, started.links[1].max_message);
        assert_eq!(radio.pacing, None);
        // Of the links that the rule names one is not open yet.
        let links = &crate::driver::settings::engine(&taken).admission.rules[0].links;
        assert_eq!(links[1].0, 1);
        assert!(usize::from(links[0].0) >= taken.links.len());
        // A link that has gone from the file goes with the gateway.
        let taken = applicable(&started, parse(LAN));
        assert_eq!(taken.links, started.links);
        // The same name for something else is another link.
        let socket = LAN.replace("lan", "radio");
        assert_eq!(applicable(&started, parse(&socket)).links, started.links);
    }
}
