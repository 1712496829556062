//! Topics that both sides know beforehand [MQTT-SN 1.2 §3, §6.7].

use super::{PredefinedError, TopicName};
use crate::wire::TopicId;

/// A pre-defined topic: an id that both sides know the name of, so that it never goes over
/// the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredefinedTopic<'a> {
    /// The id, 1 to 0xFFFE, in a number space of its own (D-06).
    pub id: TopicId,
    /// The topic name.
    pub name: &'a str,
}

/// A view of pre-defined topics, for the few dozen that a node knows; a lookup walks them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PredefinedTable<'a>(&'a [PredefinedTopic<'a>]);

impl<'a> PredefinedTable<'a> {
    /// Creates a view of `topics`, which [`Self::validate`] can check.
    #[must_use]
    pub const fn new(topics: &'a [PredefinedTopic<'a>]) -> Self {
        Self(topics)
    }

    /// Checks that every id may be assigned, every name is a topic name, and none is there
    /// twice.
    ///
    /// The time grows with the square of the entries: it is for start-up and for tests.
    ///
    /// # Errors
    /// [`PredefinedError`], naming the first entry at fault.
    pub fn validate(&self) -> Result<(), PredefinedError> {
        for (index, topic) in self.0.iter().enumerate() {
            let id = topic.id;
            if !id.is_assignable() {
                return Err(PredefinedError::ReservedId { index, id });
            }
            TopicName::new(topic.name).map_err(|error| PredefinedError::Name { index, error })?;
            let earlier = self.0.iter().take(index);
            if let Some(first) = earlier.clone().position(|other| other.id == id) {
                let second = index;
                return Err(PredefinedError::DuplicateId { first, second });
            }
            if let Some(first) = earlier.clone().position(|other| other.name == topic.name) {
                let second = index;
                return Err(PredefinedError::DuplicateName { first, second });
            }
        }
        Ok(())
    }

    /// Returns the name of an id.
    #[must_use]
    pub fn name_of(&self, id: TopicId) -> Option<&'a str> {
        let topic = self.0.iter().find(|topic| topic.id == id)?;
        Some(topic.name)
    }

    /// Returns the id of a name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<TopicId> {
        let topic = self.0.iter().find(|topic| topic.name == name)?;
        Some(topic.id)
    }

    /// Returns the topics in the order of the table.
    pub fn iter(&self) -> core::slice::Iter<'a, PredefinedTopic<'a>> {
        self.0.iter()
    }

    /// Returns the number of topics.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no topics.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &PredefinedTable<'a> {
    type Item = &'a PredefinedTopic<'a>;
    type IntoIter = core::slice::Iter<'a, PredefinedTopic<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
