//! Which rule of admission holds for a node, and what it allows.

use std::sync::Arc;

use serde_json::{Value, json};

use super::CheckError;
use crate::config::{CLIENT_ID_MARK, Config, LinkConfig, LinkKind, format_duration, priority_name};
use crate::driver::admission;
use crate::session::{NodeRule, Quota};

/// What a configuration says about one node.
pub(super) struct Answer<'a> {
    config: &'a Config,
    client_id: &'a str,
    link: Option<&'a LinkConfig>,
    /// The place of the rule that fits; `None` where none does.
    place: Option<usize>,
    /// What holds, or why the node is refused.
    verdict: Result<Arc<NodeRule>, String>,
}

impl<'a> Answer<'a> {
    /// Asks the configuration about a node, on one of its links or on any.
    ///
    /// # Errors
    ///
    /// [`CheckError::NoLink`] where the configuration has no such link.
    pub(super) fn new(
        config: &'a Config,
        client_id: &'a str,
        link: Option<&str>,
    ) -> Result<Self, CheckError> {
        let link = link.map(|name| find_link(config, name)).transpose()?;
        let admission = admission(config);
        let fits = |rule: &Arc<NodeRule>| rule.nodes.fits(client_id);
        let place = admission.rules.iter().position(fits);
        let verdict = match admission.rule(client_id) {
            Some(rule) => Ok(Arc::clone(rule)),
            // The rule that fits does not take it: `%c` must not widen a filter.
            None if place.is_some() => Err(format!(
                "it has a /, + or #, or begins with $, and cannot stand for {CLIENT_ID_MARK}"
            )),
            None => Err("no rule fits, and others are refused".to_owned()),
        };
        let mut answer = Self {
            config,
            client_id,
            link,
            place,
            verdict,
        };
        if let Some(why) = answer.refusal() {
            answer.verdict = Err(why);
        }
        Ok(answer)
    }

    /// Returns why the node is refused although a rule holds, if it is.
    fn refusal(&self) -> Option<String> {
        let len_max = self.config.gateway.client_id_len_max;
        let len = self.client_id.len();
        if len == 0 || len > len_max {
            return Some(format!(
                "its client id has {len} octets; gateway.client_id_len_max is {len_max}"
            ));
        }
        let link = self.link?;
        let rule = self.config.admission.rules.get(self.place?)?;
        if !rule.links.is_empty() && !rule.links.contains(&link.name) {
            let links = rule.links.join(", ");
            return Some(format!("not on the link {}, only on {links}", link.name));
        }
        let is_serial = matches!(link.kind, LinkKind::Serial(_));
        (is_serial && !rule.from.is_empty()).then(|| {
            format!(
                "the rule says from, and the link {} has no addresses",
                link.name
            )
        })
    }

    /// Returns the answer for people.
    pub(super) fn text(&self) -> String {
        let verdict = match &self.verdict {
            Ok(_) => "served".to_owned(),
            Err(why) => format!("refused: {why}"),
        };
        let mut text = format!("{}: {verdict}\n", self.client_id);
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("  {name:<9} {value}\n"));
        };
        line("rule", self.rule_text());
        if let Ok(rule) = &self.verdict {
            for (name, value) in self.lines(rule) {
                line(name, value);
            }
        }
        text
    }

    fn rule_text(&self) -> String {
        match self.place {
            Some(place) => {
                let pattern = &self.config.admission.rules[place].nodes;
                format!("node[{place}], match = \"{pattern}\"")
            }
            None => "none; admission.others holds".to_owned(),
        }
    }

    fn lines(&self, rule: &NodeRule) -> Vec<(&'static str, String)> {
        let any = |list: Vec<String>, all: &str| match list.is_empty() {
            true => all.to_owned(),
            false => list.join(", "),
        };
        let topics = |filters| {
            let none = || "nothing".to_owned();
            self.filters(filters)
                .map_or("all topics".to_owned(), |list| {
                    if list.is_empty() {
                        none()
                    } else {
                        list.join(", ")
                    }
                })
        };
        let mut lines = vec![
            ("links", any(self.links(rule), "all")),
            ("from", any(strings(&rule.from.addresses), "any address")),
            ("node ids", any(strings(&rule.from.node_ids), "any")),
            ("publish", topics(&rule.publish)),
            ("subscribe", topics(&rule.subscribe)),
            ("QoS", format!("up to {}", rule.qos_max.level())),
            ("quota", quota_text(rule.quota)),
            ("messages", self.mtu_text(rule)),
            ("profile", rule.profile.name.to_owned()),
            ("priority", priority_name(rule.priority).to_owned()),
        ];
        lines.push(("silence", silence_text(rule)));
        let wake = match rule.awake_messages_max {
            Some(count) => format!("{count} publications at most, then the rest waits"),
            None => "all that waits is sent".to_owned(),
        };
        lines.push(("wake", wake));
        lines
    }

    fn mtu_text(&self, rule: &NodeRule) -> String {
        match self.mtu(rule) {
            Some(mtu) => format!("up to {mtu} octets"),
            None => "as long as the link takes".to_owned(),
        }
    }

    /// Returns the longest message, as far as it is known without a link.
    fn mtu(&self, rule: &NodeRule) -> Option<usize> {
        let link = self.link.map(|link| link.max_message);
        rule.mtu.into_iter().chain(link).min()
    }

    fn links(&self, rule: &NodeRule) -> Vec<String> {
        let names = rule.links.iter().map(|link| {
            let link = self.config.links.get(usize::from(link.0));
            link.map_or_else(String::new, |link| link.name.clone())
        });
        names.collect()
    }

    /// Returns filters as they read for the node.
    fn filters(&self, filters: &Option<Vec<Arc<str>>>) -> Option<Vec<String>> {
        let filters = filters.as_ref()?.iter();
        Some(
            filters
                .map(|it| it.replace(CLIENT_ID_MARK, self.client_id))
                .collect(),
        )
    }

    /// Returns the answer for machines.
    pub(super) fn json(&self) -> Value {
        let rule = self.place.map(|place| {
            let pattern = self.config.admission.rules[place].nodes.as_str();
            json!({ "index": place, "match": pattern })
        });
        let mut node = json!({
            "client_id": self.client_id,
            "link": self.link.map(|link| link.name.as_str()),
            "served": self.verdict.is_ok(),
            "why": self.verdict.as_ref().err(),
            "rule": rule,
        });
        if let Ok(rule) = &self.verdict {
            node["allows"] = json!({
                "links": self.links(rule),
                "from": strings(&rule.from.addresses),
                "node_ids": strings(&rule.from.node_ids),
                "publish": self.filters(&rule.publish),
                "subscribe": self.filters(&rule.subscribe),
                "qos_max": rule.qos_max.level(),
                "messages_per_min": rule.quota.messages_per_min,
                "bytes_per_day": rule.quota.bytes_per_day,
                "mtu": self.mtu(rule),
                "profile": rule.profile.name,
                "priority": priority_name(rule.priority),
                "grace": format_duration(rule.grace),
                "expect_every": rule.expect_every.map(format_duration),
                "max_awake_messages": rule.awake_messages_max,
            });
        }
        json!({ "node": node })
    }
}

fn find_link<'a>(config: &'a Config, name: &str) -> Result<&'a LinkConfig, CheckError> {
    let found = config.links.iter().find(|link| link.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = config.links.iter().map(|link| link.name.as_str()).collect();
        CheckError::NoLink {
            name: name.to_owned(),
            links: names.join(", "),
        }
    })
}

fn strings(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn quota_text(quota: Quota) -> String {
    let messages = quota
        .messages_per_min
        .map(|count| format!("{count} publications a minute"));
    let bytes = quota
        .bytes_per_day
        .map(|count| format!("{count} octets a day"));
    let parts: Vec<String> = messages.into_iter().chain(bytes).collect();
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(", ")
}

fn silence_text(rule: &NodeRule) -> String {
    let grace = format_duration(rule.grace);
    match rule.expect_every {
        Some(span) => format!(
            "{grace} longer than announced, told as a status after {}",
            format_duration(span)
        ),
        None => format!("{grace} longer than announced"),
    }
}
