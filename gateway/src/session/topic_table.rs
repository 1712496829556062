//! The normal topic ids of one session (A.5).

use std::sync::Arc;

use shared::wire::TopicId;

/// Normal ids in the order they were given out; one table for each session, so that a stale
/// id of one node can never hit a topic of another [MQTT-SN 1.2 §7.3].
#[derive(Clone, Debug, Default)]
pub(super) struct TopicTable {
    entries: Vec<Entry>,
    /// How many ids earlier tables of the session have used up.
    spent: u16,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    standing: Standing,
}

/// Whether the node knows an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The node must be told by REGISTER before the id is used towards it.
    Unconfirmed,
    /// The node asked for the id or has acknowledged it.
    Confirmed,
    /// The node does not want the topic (D-37).
    Suppressed,
}

impl TopicTable {
    /// The first normal id that is given out (D-06): above what clients use as pre-defined.
    pub(super) const FIRST: u16 = 1025;

    /// The ids spent after which numbering begins again, half of all there are.
    const SPENT_MAX: u16 = 32_000;

    /// Returns the id of `name`, giving one out where there is none; `None` where the table
    /// holds `len_max` names already.
    pub(super) fn register(&mut self, name: &str, len_max: usize) -> Option<TopicId> {
        if let Some((id, _)) = self.find(name) {
            return Some(id);
        }
        let ids = usize::from(u16::MAX - Self::FIRST - self.spent);
        if self.entries.len() >= len_max.min(ids) {
            return None;
        }
        self.entries.push(Entry {
            name: name.into(),
            standing: Standing::Unconfirmed,
        });
        Some(self.id(self.entries.len() - 1))
    }

    /// Returns how many names have an id.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn name(&self, id: TopicId) -> Option<&Arc<str>> {
        Some(&self.entries.get(self.index(id)?)?.name)
    }

    pub(super) fn find(&self, name: &str) -> Option<(TopicId, Standing)> {
        let index = self.entries.iter().position(|entry| &*entry.name == name)?;
        Some((self.id(index), self.entries[index].standing))
    }

    pub(super) fn set_standing(&mut self, id: TopicId, standing: Standing) {
        if let Some(entry) = self.index(id).and_then(|index| self.entries.get_mut(index)) {
            entry.standing = standing;
        }
    }

    /// Forgets what the node knows: it may have restarted, or may have changed its mind on
    /// what it did not want (A.14).
    pub(super) fn unconfirm_all(&mut self) {
        for entry in &mut self.entries {
            entry.standing = Standing::Unconfirmed;
        }
    }

    /// Forgets what the node did not want: it may have changed its mind.
    pub(super) fn unsuppress_all(&mut self) {
        for entry in &mut self.entries {
            if entry.standing == Standing::Suppressed {
                entry.standing = Standing::Unconfirmed;
            }
        }
    }

    /// Forgets all names. Their ids are not given out again at once: a PUBLISH that was under
    /// way when the session began anew shall hit no topic, rather than a wrong one.
    pub(super) fn clear(&mut self) {
        let used = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        let spent = self.spent.saturating_add(used);
        self.spent = if spent < Self::SPENT_MAX { spent } else { 0 };
        self.entries.clear();
    }

    fn index(&self, id: TopicId) -> Option<usize> {
        Some(usize::from(id.0.checked_sub(Self::FIRST + self.spent)?))
    }

    fn id(&self, index: usize) -> TopicId {
        let index = u16::try_from(index).expect("the table is bounded by the ids");
        TopicId(Self::FIRST + self.spent + index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_start_above_the_predefined_ones_and_are_stable() {
        let mut table = TopicTable::default();
        assert_eq!(table.register("a", 2), Some(TopicId(1025)));
        assert_eq!(table.register("b", 2), Some(TopicId(1026)));
        assert_eq!(table.register("a", 2), Some(TopicId(1025)));
        assert_eq!(table.register("c", 2), None);
        assert_eq!(table.name(TopicId(1026)).map(|name| &**name), Some("b"));
        assert_eq!(table.name(TopicId(5)), None);
        assert_eq!(table.name(TopicId(1027)), None);
    }

    #[test]
    fn ids_of_a_forgotten_table_name_nothing() {
        let mut table = TopicTable::default();
        table.register("a", 2);
        table.register("b", 2);
        table.clear();
        assert_eq!(table.register("c", 2), Some(TopicId(1027)));
        assert_eq!(table.register("d", 2), Some(TopicId(1028)));
        assert_eq!(table.register("e", 2), None);
        assert_eq!(table.name(TopicId(1025)), None);
        assert_eq!(table.name(TopicId(1027)).map(|name| &**name), Some("c"));
        for _ in 0..70_000 {
            table.clear();
            assert!(table.register("x", 2).is_some());
        }
    }

    #[test]
    fn the_last_id_is_below_the_reserved_one() {
        let mut table = TopicTable::default();
        let mut last = None;
        for n in 0..70_000 {
            let Some(id) = table.entries.len().checked_sub(n).map(|_| n) else {
                break;
            };
            let entry = Entry {
                name: "x".into(),
                standing: Standing::Unconfirmed,
            };
            if table.entries.len() < usize::from(u16::MAX - TopicTable::FIRST) {
                table.entries.push(entry);
                last = Some(table.id(id));
            }
        }
        assert_eq!(last, Some(TopicId(0xFFFE)));
        assert_eq!(table.register("new", usize::MAX), None);
    }
}
