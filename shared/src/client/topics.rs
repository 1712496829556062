//! The topics a node knows: names with their ids, and what it is subscribed to.

use heapless::{String, Vec};

use super::TOPIC_NAME_LEN_MAX;
use super::error::CommandError;
use super::event::Topic;
use crate::topics::{Filter, TopicName, matches};
use crate::wire::{QoS, ShortName, TopicId};

/// A table of `N` topics; an entry's place never changes, its content may be replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics<const N: usize> {
    entries: Vec<Entry, N, u8>,
    uses: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    key: Key,
    /// The normal id that holds in this session.
    pub(super) id: Option<TopicId>,
    pub(super) subscription: Subscription,
    /// Whether the application asked for an id ahead of any publication.
    pub(super) wanted: bool,
    /// Whether the application named it, not the gateway.
    owned: bool,
    used: u32,
}

/// What the application wants of a subscription, and what the gateway knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Subscription {
    #[default]
    None,
    /// SUBSCRIBE is to be sent, or on its way.
    Wanted(QoS),
    /// The gateway has taken it.
    Granted(QoS),
    /// UNSUBSCRIBE is to be sent, or on its way.
    Leaving,
}

#[derive(Clone, Debug)]
enum Key {
    Name(String<TOPIC_NAME_LEN_MAX, u8>),
    Predefined(TopicId),
    Short(ShortName),
}

/// What a new topic did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) index: u8,
    pub(super) evicted: bool,
}

impl<const N: usize> Topics<N> {
    pub(super) fn get(&self, index: u8) -> Option<&Entry> {
        self.entries.get(usize::from(index))
    }

    pub(super) fn get_mut(&mut self, index: u8) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(index))
    }

    pub(super) fn id(&self, index: u8) -> Option<TopicId> {
        self.get(index)?.id
    }

    pub(super) fn find(&self, topic: Topic<'_>) -> Option<u8> {
        self.position(|entry| entry.topic() == topic)
    }

    pub(super) fn find_id(&self, id: TopicId) -> Option<u8> {
        self.position(|entry| entry.id == Some(id))
    }

    pub(super) fn next_wanted(&self) -> Option<u8> {
        self.position(|entry| entry.wanted && entry.id.is_none())
    }

    pub(super) fn next_subscription(&self) -> Option<u8> {
        self.position(|entry| {
            matches!(
                entry.subscription,
                Subscription::Wanted(_) | Subscription::Leaving
            )
        })
    }

    /// Returns whether the node uses `name`, or has a subscription that matches it.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.find(Topic::Name(name)).is_some()
            || self.entries.iter().any(|entry| {
                !matches!(
                    entry.subscription,
                    Subscription::None | Subscription::Leaving
                ) && matches(entry.name(), name)
            })
    }

    /// Finds `topic` or makes room for it: in a free place, else in that of the topic unused
    /// for longest which nothing holds (`pinned`), one the gateway named before one the
    /// application did. What is put out comes back by another REGISTER when it is needed.
    pub(super) fn place(
        &mut self,
        topic: Topic<'_>,
        owned: bool,
        pinned: impl Fn(u8) -> bool,
    ) -> Result<Placed, CommandError> {
        if let Some(index) = self.find(topic) {
            self.touch(index, owned);
            return Ok(Placed {
                index,
                evicted: false,
            });
        }
        let key = Key::new(topic)?;
        let evicted = self.entries.is_full();
        let index = if evicted {
            self.least_needed(pinned).ok_or(CommandError::TopicsFull)?
        } else {
            self.entries.len().try_into().unwrap_or(u8::MAX)
        };
        let entry = Entry::new(key);
        match self.get_mut(index) {
            Some(place) => *place = entry,
            None => drop(self.entries.push(entry)),
        }
        self.touch(index, owned);
        Ok(Placed { index, evicted })
    }

    /// Gives a name its id, and takes the id from any other name.
    pub(super) fn bind(&mut self, index: u8, id: TopicId) {
        for entry in self.entries.iter_mut() {
            entry.id = entry.id.filter(|bound| *bound != id);
        }
        if let Some(entry) = self.get_mut(index) {
            entry.id = Some(id);
        }
    }

    pub(super) fn unbind(&mut self, index: u8) {
        if let Some(entry) = self.get_mut(index) {
            entry.id = None;
        }
    }

    /// Forgets what held in the last session only; subscriptions are to be made again.
    pub(super) fn forget_session(&mut self) {
        for entry in self.entries.iter_mut() {
            entry.id = None;
            if let Subscription::Granted(qos) = entry.subscription {
                entry.subscription = Subscription::Wanted(qos);
            }
        }
    }

    pub(super) fn touch(&mut self, index: u8, owned: bool) {
        self.uses = self.uses.wrapping_add(1);
        let uses = self.uses;
        if let Some(entry) = self.get_mut(index) {
            entry.used = uses;
            entry.owned |= owned;
        }
    }

    fn least_needed(&self, pinned: impl Fn(u8) -> bool) -> Option<u8> {
        (0..self.len())
            .filter(|index| !pinned(*index))
            .filter_map(|index| Some((index, self.get(index)?)))
            .filter(|(_, entry)| entry.subscription == Subscription::None && !entry.wanted)
            .min_by_key(|(_, entry)| (entry.owned, entry.used))
            .map(|(index, _)| index)
    }

    fn position(&self, is_it: impl Fn(&Entry) -> bool) -> Option<u8> {
        (0..self.len()).find(|index| self.get(*index).is_some_and(&is_it))
    }

    fn len(&self) -> u8 {
        self.entries.len().try_into().unwrap_or(u8::MAX)
    }
}

impl Entry {
    const fn new(key: Key) -> Self {
        Self {
            key,
            id: None,
            subscription: Subscription::None,
            wanted: false,
            owned: false,
            used: 0,
        }
    }

    pub(super) fn topic(&self) -> Topic<'_> {
        match &self.key {
            Key::Name(name) => Topic::Name(name),
            Key::Predefined(id) => Topic::Predefined(*id),
            Key::Short(name) => Topic::Short(*name),
        }
    }

    /// Returns the full name, empty for topics that have none.
    pub(super) fn name(&self) -> &str {
        match &self.key {
            Key::Name(name) => name,
            Key::Predefined(_) | Key::Short(_) => "",
        }
    }
}

impl Key {
    fn new(topic: Topic<'_>) -> Result<Self, CommandError> {
        Ok(match topic {
            Topic::Name(name) => {
                Self::Name(String::try_from(name).map_err(|_| CommandError::TooLong)?)
            }
            Topic::Predefined(id) => Self::Predefined(id),
            Topic::Short(name) => Self::Short(name),
        })
    }
}

/// Returns whether `topic` may be published on: no wildcards, no NUL, no reserved id (D-07).
pub(super) fn is_publishable(topic: Topic<'_>) -> bool {
    match topic {
        Topic::Name(name) => is_name(name),
        Topic::Predefined(id) => id.is_assignable(),
        Topic::Short(name) => name.as_str().is_some_and(is_name),
    }
}

/// Returns whether `topic` may be subscribed to; wildcards only in full names, in the places
/// that MQTT allows.
pub(super) fn is_subscribable(topic: Topic<'_>) -> bool {
    let Topic::Name(filter) = topic else {
        return is_publishable(topic);
    };
    Filter::new(filter).is_ok()
}

/// Returns whether `name` is a topic name.
pub(super) fn is_name(name: &str) -> bool {
    TopicName::new(name).is_ok()
}
