//! The normal topic ids of one session (A.5).

use std::sync::Arc;

use shared::wire::TopicId;

/// The names that have ids; one table for each session, so that a stale id of one node can
/// never hit a topic of another [MQTT-SN 1.2 §7.3].
///
/// It is bounded by the settings. Where it is full, the name that the gateway chose by itself
/// for a wildcard match and that was unused for longest makes room: a filter over more topics
/// than the table holds goes on working, at the price of a REGISTER. Names that the node has
/// asked for or published on stay. A number is not given to another name before all the
/// others were: PUBLISH under way shall hit no topic, rather than a wrong one.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicTable {
    /// In the order of their ids.
    entries: Vec<Entry>,
    /// The places in `entries`, in the order of the names.
    by_name: Vec<u16>,
    /// How many numbers after the first are looked at next.
    next: u16,
    uses: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    id: TopicId,
    standing: Standing,
    /// Whether the node has asked for the id or published on it.
    of_node: bool,
    used: u32,
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

/// How much a table may hold, and what must stay in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The most names.
    pub(super) len_max: usize,
    /// The id that an exchange is using.
    pub(super) in_flight: Option<TopicId>,
}

impl TopicTable {
    /// The first normal id that is given out (D-06): above what clients use as pre-defined.
    pub(super) const FIRST: u16 = 1025;

    /// How many normal ids there are; FFFF is reserved.
    const NUMBERS: u16 = u16::MAX - Self::FIRST;

    /// Returns the id of a name that the node asks for, giving one out where there is none;
    /// `None` where the table is full of such names.
    pub(super) fn register(&mut self, name: &str, room: Room) -> Option<TopicId> {
        let id = self.offer(name, room)?;
        self.take(id);
        Some(id)
    }

    /// Returns the id of a name that the node is to be told, giving one out where there is
    /// none; `None` where the table is full of names that must stay.
    pub(super) fn offer(&mut self, name: &str, room: Room) -> Option<TopicId> {
        if let Some((id, _)) = self.find(name) {
            return Some(id);
        }
        while self.entries.len() >= room.len_max.min(usize::from(Self::NUMBERS)) {
            self.evict(room.in_flight)?;
        }
        let id = self.free_id();
        self.insert(name, id);
        self.touch(id);
        Some(id)
    }

    /// Returns the name of an id that the node uses: it stays from now on.
    pub(super) fn resolve(&mut self, id: TopicId) -> Option<&Arc<str>> {
        self.take(id);
        self.name(id)
    }

    /// Returns how many names have an id.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn name(&self, id: TopicId) -> Option<&Arc<str>> {
        Some(&self.entries.get(self.place(id)?)?.name)
    }

    pub(super) fn find(&self, name: &str) -> Option<(TopicId, Standing)> {
        let at = self.search(name).ok()?;
        let entry = &self.entries[usize::from(self.by_name[at])];
        Some((entry.id, entry.standing))
    }

    pub(super) fn set_standing(&mut self, id: TopicId, standing: Standing) {
        if let Some(place) = self.place(id) {
            self.entries[place].standing = standing;
        }
    }

    /// Forgets that the node knows an id, if it did.
    pub(super) fn unconfirm(&mut self, id: TopicId) {
        if let Some(place) = self.place(id)
            && self.entries[place].standing == Standing::Confirmed
        {
            self.entries[place].standing = Standing::Unconfirmed;
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

    /// Notes that an id was used towards the node.
    pub(super) fn touch(&mut self, id: TopicId) {
        if self.uses == u32::MAX {
            self.entries.iter_mut().for_each(|entry| entry.used = 0);
            self.uses = 0;
        }
        self.uses += 1;
        if let Some(place) = self.place(id) {
            self.entries[place].used = self.uses;
        }
    }

    /// Forgets all names. Their ids are not given out again at once: a PUBLISH that was under
    /// way when the session began anew shall hit no topic, rather than a wrong one.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.by_name.clear();
    }

    fn take(&mut self, id: TopicId) {
        if let Some(place) = self.place(id) {
            self.entries[place].of_node = true;
        }
    }

    fn insert(&mut self, name: &str, id: TopicId) {
        let place = self.entries.partition_point(|entry| entry.id < id);
        let at = self.search(name).unwrap_or_else(|at| at);
        for later in &mut self.by_name {
            *later += u16::from(usize::from(*later) >= place);
        }
        let number = u16::try_from(place).expect("the table is bounded by the ids");
        self.by_name.insert(at, number);
        let entry = Entry {
            name: name.into(),
            id,
            standing: Standing::Unconfirmed,
            of_node: false,
            used: 0,
        };
        self.entries.insert(place, entry);
    }

    /// Puts out the name unused for longest that the gateway alone has chosen, one that the
    /// node did not want last of all.
    fn evict(&mut self, in_flight: Option<TopicId>) -> Option<()> {
        let (place, _) = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| !entry.of_node && Some(entry.id) != in_flight)
            .min_by_key(|(_, entry)| (entry.standing == Standing::Suppressed, entry.used))?;
        self.by_name.retain(|at| usize::from(*at) != place);
        for later in &mut self.by_name {
            *later -= u16::from(usize::from(*later) > place);
        }
        self.entries.remove(place);
        Some(())
    }

    /// Returns the number whose turn it is, of those that are free; there is one.
    fn free_id(&mut self) -> TopicId {
        loop {
            let id = TopicId(Self::FIRST + self.next);
            self.next = (self.next + 1) % Self::NUMBERS;
            if self.place(id).is_none() {
                return id;
            }
        }
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        self.by_name
            .binary_search_by(|at| (*self.entries[usize::from(*at)].name).cmp(name))
    }

    fn place(&self, id: TopicId) -> Option<usize> {
        self.entries
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn room(len_max: usize) -> Room {
        Room {
            len_max,
            in_flight: None,
        }
    }

    fn name(table: &TopicTable, id: u16) -> Option<&str> {
        table.name(TopicId(id)).map(|name| &**name)
    }

    #[test]
    fn ids_start_above_the_predefined_ones_and_are_stable() {
        let mut table = TopicTable::default();
        assert_eq!(table.register("a", room(2)), Some(TopicId(1025)));
        assert_eq!(table.register("b", room(2)), Some(TopicId(1026)));
        assert_eq!(table.register("a", room(2)), Some(TopicId(1025)));
        assert_eq!(table.register("c", room(2)), None);
        assert_eq!(name(&table, 1026), Some("b"));
        assert_eq!(name(&table, 5), None);
        assert_eq!(name(&table, 1027), None);
    }

    #[test]
    fn ids_of_a_forgotten_table_name_nothing() {
        let mut table = TopicTable::default();
        table.register("a", room(2));
        table.register("b", room(2));
        table.clear();
        assert_eq!(table.register("c", room(2)), Some(TopicId(1027)));
        assert_eq!(table.register("d", room(2)), Some(TopicId(1028)));
        assert_eq!(table.register("e", room(2)), None);
        assert_eq!(name(&table, 1025), None);
        assert_eq!(name(&table, 1027), Some("c"));
        for _ in 0..70_000 {
            table.clear();
            assert!(table.register("x", room(2)).is_some());
        }
    }

    #[test]
    fn the_last_id_is_below_the_reserved_one() {
        let mut table = TopicTable::default();
        let mut last = None;
        for _ in 0..usize::from(TopicTable::NUMBERS) {
            table.clear();
            last = table.register("x", room(usize::MAX));
        }
        assert_eq!(last, Some(TopicId(0xFFFE)));
        assert_eq!(table.register("y", room(usize::MAX)), Some(TopicId(1025)));
    }

    #[test]
    fn what_the_gateway_chose_makes_room_under_a_number_of_its_own() {
        let mut table = TopicTable::default();
        for topic in ["a", "b", "c"] {
            table.offer(topic, room(3));
        }
        table.touch(TopicId(1025));
        assert_eq!(table.offer("d", room(3)), Some(TopicId(1028)));
        assert_eq!(name(&table, 1026), None);
        assert_eq!(name(&table, 1025), Some("a"));
        // An exchange is using it.
        let room = Room {
            len_max: 3,
            in_flight: Some(TopicId(1027)),
        };
        assert_eq!(table.offer("e", room), Some(TopicId(1029)));
        assert_eq!(name(&table, 1027), Some("c"));
        assert_eq!(name(&table, 1025), None);
    }

    #[test]
    fn what_the_node_named_or_used_stays() {
        let mut table = TopicTable::default();
        table.register("asked", room(3));
        table.offer("used", room(3));
        table.offer("chosen", room(3));
        table.resolve(TopicId(1026));
        table.touch(TopicId(1027));
        assert_eq!(table.register("new", room(3)), Some(TopicId(1028)));
        assert_eq!(name(&table, 1027), None);
        assert_eq!(table.offer("more", room(3)), None);
        assert_eq!(name(&table, 1025), Some("asked"));
        assert_eq!(name(&table, 1026), Some("used"));
    }

    #[test]
    fn what_the_node_did_not_want_is_kept_in_mind_for_longest() {
        let mut table = TopicTable::default();
        let unwanted = table.offer("unwanted", room(2)).unwrap();
        table.set_standing(unwanted, Standing::Suppressed);
        table.offer("b", room(2));
        table.offer("c", room(2));
        assert_eq!(
            table.find("unwanted"),
            Some((unwanted, Standing::Suppressed))
        );
        assert_eq!(table.find("b"), None);
    }

    #[test]
    fn a_wildcard_over_any_number_of_topics_never_ends() {
        let mut table = TopicTable::default();
        let mut given = BTreeMap::new();
        for n in 0..200_000_u32 {
            let topic = format!("t/{n}");
            let id = table.offer(&topic, room(16)).unwrap();
            if let Some(before) = given.insert(id, n) {
                assert!(n - before > 60_000, "{id:?} again after {before} at {n}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_name_is_found_under_its_id_and_the_other_way(
            steps in proptest::collection::vec((0..40_u8, any::<bool>(), any::<bool>()), 1..200),
            start in 0..TopicTable::NUMBERS,
        ) {
            let mut table = TopicTable { next: start, ..TopicTable::default() };
            for (topic, of_node, touched) in steps {
                let topic = format!("t{topic}");
                let id = if of_node {
                    table.register(&topic, room(12))
                } else {
                    table.offer(&topic, room(12))
                };
                if let Some(id) = id {
                    if touched {
                        table.touch(id);
                    }
                    prop_assert_eq!(table.find(&topic).map(|(id, _)| id), Some(id));
                }
                prop_assert!(table.entries.len() <= 12);
                prop_assert!(table.entries.is_sorted_by(|a, b| a.id < b.id));
                for entry in &table.entries {
                    prop_assert!(entry.id.0 >= TopicTable::FIRST && entry.id.0 < u16::MAX);
                    prop_assert_eq!(table.find(&entry.name).map(|(id, _)| id), Some(entry.id));
                    prop_assert_eq!(table.name(entry.id), Some(&entry.name));
                }
            }
        }
    }
}
