//! The topics of a world.

use shared::client::Topic;
use shared::wire::{ShortName, TopicId};

/// A topic or filter as the node names it.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Name(String),
    Predefined(TopicId),
    Short(ShortName),
}

impl Subject {
    pub(super) fn topic(&self) -> Topic<'_> {
        match self {
            Self::Name(name) => Topic::Name(name),
            Self::Predefined(id) => Topic::Predefined(*id),
            Self::Short(name) => Topic::Short(*name),
        }
    }

    /// Returns the full name that it stands for.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Short(name) => short_text(*name),
            Self::Predefined(TopicId(id)) => match id {
                100..200 => format!("pre/up/{}", id - 100),
                _ => format!("pre/down/{}", id.wrapping_sub(200)),
            },
        }
    }
}

impl From<Topic<'_>> for Subject {
    fn from(topic: Topic<'_>) -> Self {
        match topic {
            Topic::Name(name) => Self::Name(name.to_owned()),
            Topic::Predefined(id) => Self::Predefined(id),
            Topic::Short(name) => Self::Short(name),
        }
    }
}

/// The pre-defined topic a node publishes on.
pub(super) fn predefined_up(node: u8) -> (TopicId, String) {
    (TopicId(100 + u16::from(node)), format!("pre/up/{node}"))
}

/// The pre-defined topic a node may subscribe to.
pub(super) fn predefined_down(node: u8) -> (TopicId, String) {
    (TopicId(200 + u16::from(node)), format!("pre/down/{node}"))
}

pub(super) fn short(node: u8, kind: u8) -> ShortName {
    ShortName([b'a' + node, kind])
}

fn short_text(name: ShortName) -> String {
    name.as_str().unwrap_or_default().to_owned()
}

/// The topics that publications for nodes are sent on.
pub(super) fn down_topics(nodes: u8) -> Vec<String> {
    let mut topics = vec!["down/all".to_owned(), "down/all/sub".to_owned()];
    for node in 0..nodes {
        topics.push(format!("down/{node}/cmd"));
        topics.push(format!("down/{node}/a"));
        topics.push(format!("down/{node}/b"));
        topics.push(predefined_down(node).1);
        topics.push(short_text(short(node, b'd')));
    }
    topics
}
