//! What each node may do, and how it is treated: the rules of admission (D-43, D-44).
//!
//! A rule is chosen by client id when a node connects, and again when the configuration is
//! read anew; the session keeps going by it in between.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use shared::time::Duration;
use shared::wire::QoS;

use super::port::{Binding, LinkId};
use super::settings::Senders;

/// The rules of admission, in their order: the first whose pattern fits a client id holds.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// The rules.
    pub rules: Vec<Arc<NodeRule>>,
    /// What holds for a client id that no rule names; `None` refuses it with code 03.
    pub others: Option<Arc<NodeRule>>,
}

impl Admission {
    /// Serves every node alike.
    #[must_use]
    pub fn open() -> Self {
        Self {
            rules: Vec::new(),
            others: Some(Arc::default()),
        }
    }

    /// Returns the rule that holds for a client id; `None` where it is not to be served (D-43).
    #[must_use]
    pub fn rule(&self, client_id: &str) -> Option<&Arc<NodeRule>> {
        self.rules
            .iter()
            .find(|rule| rule.nodes.fits(client_id))
            .or(self.others.as_ref())
            .filter(|rule| rule.can_name(client_id))
    }

    /// Returns the rule by which a client id is served at a place; `None` where it is not to be
    /// served there (D-44).
    #[must_use]
    pub fn admit(&self, client_id: &str, place: &Binding) -> Option<&Arc<NodeRule>> {
        self.rule(client_id).filter(|rule| rule.allows_place(place))
    }
}

/// What the nodes with certain client ids may do, and how they are treated.
#[derive(Clone, Debug)]
pub struct NodeRule {
    /// Whose rule it is.
    pub nodes: Pattern,
    /// The links they may be heard on; empty where the link does not matter.
    pub links: Vec<LinkId>,
    /// Where on the link: addresses, and node ids behind a forwarder (D-44).
    pub from: Senders,
    /// The filters of the topics they may publish to; `None` where all are allowed. `%c` stands
    /// for the client id.
    pub publish: Option<Vec<Arc<str>>>,
    /// The filters they may subscribe to what is covered by; `None` where all are allowed. `%c`
    /// stands for the client id.
    pub subscribe: Option<Vec<Arc<str>>>,
    /// The highest quality of service, either way: a publication above it is refused, a
    /// subscription granted less.
    pub qos_max: QoS,
    /// How much they may publish.
    pub quota: Quota,
    /// The longest message they can take, in octets, where it is less than the link's (D-41).
    pub mtu: Option<usize>,
    /// What their client stack cannot do (A.20).
    pub profile: Profile,
    /// Who goes first where not all can be served at once.
    pub priority: Priority,
    /// How much longer than D-17 says they may be silent: for sleeps beyond the 18 hours that
    /// the Duration field can say.
    pub grace: Duration,
    /// How often something must be heard of them; their silence is published as a status, and
    /// no ping is needed for that.
    pub expect_every: Option<Duration>,
    /// The most publications sent in one wake; the most important first, the rest waits for the
    /// next one (D-22).
    pub awake_messages_max: Option<u32>,
}

impl Default for NodeRule {
    fn default() -> Self {
        Self {
            nodes: Pattern::any(),
            links: Vec::new(),
            from: Senders::default(),
            publish: None,
            subscribe: None,
            qos_max: QoS::ExactlyOnce,
            quota: Quota::default(),
            mtu: None,
            profile: Profile::STANDARD,
            priority: Priority::Normal,
            grace: Duration::ZERO,
            expect_every: None,
            awake_messages_max: None,
        }
    }
}

impl NodeRule {
    /// Returns whether a node may be heard at a place.
    #[must_use]
    pub fn allows_place(&self, binding: &Binding) -> bool {
        (self.links.is_empty() || self.links.contains(&binding.link)) && self.from.contain(binding)
    }

    /// Returns whether the node with a client id may publish to a topic (D-43).
    #[must_use]
    pub fn may_publish(&self, client_id: &str, topic: &str) -> bool {
        self.publish.as_deref().is_none_or(|filters| {
            let mut filters = filters.iter().map(|filter| own(filter, client_id));
            filters.any(|filter| shared::topics::matches(&filter, topic))
        })
    }

    /// Returns whether the node with a client id may subscribe to a filter: whether one of the
    /// rule's covers it (D-43).
    #[must_use]
    pub fn may_subscribe(&self, client_id: &str, asked: &str) -> bool {
        self.subscribe.as_deref().is_none_or(|filters| {
            let mut filters = filters.iter().map(|filter| own(filter, client_id));
            filters.any(|filter| shared::topics::covers(&filter, asked))
        })
    }

    /// Returns the highest quality of service that a subscription is granted: the rule's, or the
    /// client stack's where that is less (A.20).
    #[must_use]
    pub fn granted_max(&self) -> QoS {
        self.qos_max.min(self.profile.qos_max)
    }

    /// Returns whether a client id may stand for `%c`: as a part of one level, so that it cannot
    /// make a filter match what the rule does not mean. `+` and `#` would, `/` would move what
    /// follows, and `$` at the front would open the broker's own topics.
    fn can_name(&self, client_id: &str) -> bool {
        let filters = [&self.publish, &self.subscribe];
        let mut filters = filters.into_iter().flatten().flatten();
        let is_plain = !client_id.starts_with('$') && !client_id.contains(['/', '+', '#']);
        is_plain || !filters.any(|filter| filter.contains(CLIENT_ID))
    }
}

/// Stands for the client id in a rule's filters.
const CLIENT_ID: &str = "%c";

/// Returns a rule's filter as it reads for one node.
fn own<'f>(filter: &'f str, client_id: &str) -> Cow<'f, str> {
    if filter.contains(CLIENT_ID) {
        Cow::Owned(filter.replace(CLIENT_ID, client_id))
    } else {
        Cow::Borrowed(filter)
    }
}

/// A pattern of client ids: `*` stands for any characters, also none, `?` for any one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Creates a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// Creates the pattern that fits every client id.
    #[must_use]
    pub fn any() -> Self {
        Self::new("*")
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the one client id that fits, where the pattern has no wildcard.
    #[must_use]
    pub fn single(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(&*self.0)
    }

    /// Returns whether a client id fits, character by character: case matters (A.14).
    #[must_use]
    pub fn fits(&self, client_id: &str) -> bool {
        let (mut pattern, mut text) = (self.0.chars(), client_id.chars());
        // Only the last star can matter: whatever an earlier one took more is its to take.
        let mut star = None;
        while !text.as_str().is_empty() {
            let (own, found) = (pattern.next(), text.clone().next());
            if own == Some('*') {
                star = Some((pattern.clone(), text.clone()));
            } else if own.is_some() && (own == Some('?') || own == found) {
                text.next();
            } else {
                let Some((after, taken)) = &mut star else {
                    return false;
                };
                taken.next();
                (pattern, text) = (after.clone(), taken.clone());
            }
        }
        pattern.all(|c| c == '*')
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much one node may publish; what goes beyond is refused with code 01 (D-42). Neither its
/// will nor what the gateway publishes about it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Publications in a minute; so many may also come at once.
    pub messages_per_min: Option<u32>,
    /// Octets of topics and payloads in any 24 hours. Those of the 25th hour back count as well:
    /// they are counted by the hour.
    pub bytes_per_day: Option<u64>,
}

impl Quota {
    /// Publishes as much as it likes.
    pub const UNLIMITED: Self = Self {
        messages_per_min: None,
        bytes_per_day: None,
    };
}

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After all others.
    Low,
    /// In its turn.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// What a client stack cannot do, and how the gateway spares it (A.20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The name in the configuration.
    pub name: &'static str,
    /// Whether PUBLISH may carry DUP = 1.
    pub takes_dup: bool,
    /// The highest quality of service that it knows.
    pub qos_max: QoS,
    /// Whether it takes REGISTER from the gateway; without, it cannot use wildcards.
    pub takes_register: bool,
    /// Whether PUBLISH may name a pre-defined or short topic that it has subscribed to so.
    pub takes_other_ids: bool,
    /// Whether PUBLISH may have no payload.
    pub takes_empty_payload: bool,
    /// Whether it forgets nothing over CONNECT, and is told each topic id only once in a session.
    pub registers_once: bool,
    /// Whether a topic is given up where its REGISTER was never answered.
    pub gives_up_register: bool,
}

impl Profile {
    /// Complete MQTT-SN 1.2.
    pub const STANDARD: Self = Self {
        name: "standard",
        takes_dup: true,
        qos_max: QoS::ExactlyOnce,
        takes_register: true,
        takes_other_ids: true,
        takes_empty_payload: true,
        registers_once: false,
        gives_up_register: false,
    };
    /// RIOT's emcute: reads PUBLISH only with flags made of QoS 1, Retain and the short type.
    pub const EMCUTE: Self = Self {
        name: "emcute",
        takes_dup: false,
        qos_max: QoS::AtLeastOnce,
        takes_register: false,
        takes_other_ids: false,
        ..Self::STANDARD
    };
    /// RIOT's asymcute: leaves REGISTER unanswered, and has no QoS 2.
    pub const ASYMCUTE: Self = Self {
        name: "asymcute",
        qos_max: QoS::AtLeastOnce,
        takes_register: false,
        gives_up_register: true,
        ..Self::STANDARD
    };
    /// Zephyr's `mqtt_sn`: drops empty payloads, and spends a slot on every REGISTER.
    pub const ZEPHYR: Self = Self {
        name: "zephyr",
        takes_empty_payload: false,
        registers_once: true,
        gives_up_register: true,
        ..Self::STANDARD
    };
    /// Paho's embedded C client: nothing to spare it.
    pub const PAHO: Self = Self {
        name: "paho",
        ..Self::STANDARD
    };

    /// Every profile there is.
    pub const ALL: [Self; 5] = [
        Self::STANDARD,
        Self::EMCUTE,
        Self::ASYMCUTE,
        Self::ZEPHYR,
        Self::PAHO,
    ];

    /// Returns whether the ids of a session stay as the node knows them when it connects again
    /// with clean = 0: it remembers them, or could not be told again (A.20).
    #[must_use]
    pub const fn keeps_ids(&self) -> bool {
        self.registers_once || !self.takes_register
    }

    /// Returns the profile with a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_client_ids() {
        let fits = |pattern, client_id| Pattern::new(pattern).fits(client_id);
        for (pattern, client_id) in [
            ("*", ""),
            ("*", "pump-1"),
            ("pump-*", "pump-"),
            ("pump-*", "pump-17"),
            ("*-7", "pump-17-7"),
            ("p*m*-1", "pump-m-1"),
            ("pump-?", "pump-é"),
            ("pump-??", "pump-17"),
        ] {
            assert!(fits(pattern, client_id), "{pattern} {client_id}");
        }
        for (pattern, client_id) in [
            ("", "a"),
            ("pump", "pump-1"),
            ("pump-?", "pump-17"),
            ("pump-?", "pump-"),
            ("Pump-*", "pump-1"),
            ("*-7", "pump-71"),
        ] {
            assert!(!fits(pattern, client_id), "{pattern} {client_id}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_is_decided_at_once() {
        let pattern = Pattern::new(&"*a".repeat(200));
        assert!(!pattern.fits(&"a".repeat(199)));
        assert!(pattern.fits(&"a".repeat(200)));
    }

    #[test]
    fn the_first_rule_that_fits_holds() {
        let rule = |pattern: &str, priority| {
            Arc::new(NodeRule {
                nodes: Pattern::new(pattern),
                priority,
                ..NodeRule::default()
            })
        };
        let mut admission = Admission {
            rules: vec![
                rule("pump-1", Priority::High),
                rule("pump-*", Priority::Low),
            ],
            others: None,
        };
        let priority = |admission: &Admission, id| admission.rule(id).map(|rule| rule.priority);
        assert_eq!(priority(&admission, "pump-1"), Some(Priority::High));
        assert_eq!(priority(&admission, "pump-10"), Some(Priority::Low));
        assert_eq!(priority(&admission, "valve"), None);
        admission.others = Admission::open().others;
        assert_eq!(priority(&admission, "valve"), Some(Priority::Normal));
    }

    fn filters(filters: &[&str]) -> Option<Vec<Arc<str>>> {
        Some(filters.iter().map(|filter| Arc::from(*filter)).collect())
    }

    #[test]
    fn d43_a_rule_names_the_client_in_its_filters() {
        let rule = NodeRule {
            publish: filters(&["up/%c/#", "all"]),
            subscribe: filters(&["down/%c/+", "fleet/#"]),
            ..NodeRule::default()
        };
        for (topic, allowed) in [
            ("up/a/x", true),
            ("up/a", true),
            ("all", true),
            ("up/b/x", false),
            ("up/%c/x", false),
            ("other", false),
        ] {
            assert_eq!(rule.may_publish("a", topic), allowed, "{topic}");
        }
        for (filter, allowed) in [
            ("down/a/x", true),
            ("down/a/+", true),
            ("fleet/+/x", true),
            ("down/a/#", false),
            ("down/+/x", false),
            ("down/b/x", false),
            ("#", false),
        ] {
            assert_eq!(rule.may_subscribe("a", filter), allowed, "{filter}");
        }
        let open = NodeRule::default();
        assert!(open.may_publish("a", "x") && open.may_subscribe("a", "#"));
        let closed = NodeRule {
            publish: filters(&[]),
            subscribe: filters(&[]),
            ..NodeRule::default()
        };
        assert!(!closed.may_publish("a", "x") && !closed.may_subscribe("a", "x"));
    }

    #[test]
    fn d43_a_client_id_cannot_widen_the_filters_of_its_rule() {
        let admission = |publish, subscribe| Admission {
            rules: Vec::new(),
            others: Some(Arc::new(NodeRule {
                publish,
                subscribe,
                ..NodeRule::default()
            })),
        };
        for client_id in ["+", "#", "a/b", "a+", "/", "$SYS", "$share/g"] {
            let named = [
                admission(filters(&["up/%c"]), None),
                admission(None, filters(&["x", "%c/#"])),
            ];
            for admission in named {
                assert!(admission.rule(client_id).is_none(), "{client_id}");
            }
            let unnamed = admission(filters(&["up/#"]), filters(&["%d"]));
            assert!(unnamed.rule(client_id).is_some(), "{client_id}");
        }
        let named = admission(filters(&["up/%c"]), None);
        assert!(named.rule("a$-%c").is_some());
    }
}
