//! The values that hold, written or not, and how two readings of them differ.

mod held;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::schema::{self, Applies, Key, List};
use super::value::Value;
pub(super) use held::Held;
use held::Note;

/// What holds for every key, whether it is written in the file or not. Tables of a list go by
/// what tells them apart, `link[radio]`, so that two readings can be compared although one
/// has a table more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    tables: Vec<Table>,
}

/// One table, with what holds in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    /// The path, with the identity of a table in a list.
    label: String,
    /// The list, where it is in one.
    list: Option<&'static str>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The path within the table.
    name: String,
    value: Value,
    is_written: bool,
    applies: Applies,
}

/// The value that holds for a key, as TOML writes it; a secret is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldValue {
    /// The path of the key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Whether it is written in the file, or a default, from a preset or from the environment.
    pub is_written: bool,
}

/// One difference between two readings; secrets are not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path of the key, or of the table that came or went.
    pub key: String,
    /// What held; `None` where nothing did.
    pub old: Option<String>,
    /// What holds now; `None` where nothing does.
    pub new: Option<String>,
    /// When it takes effect.
    pub applies: Applies,
}

impl Values {
    pub(super) fn new(held: Held) -> Self {
        let mut notes: Vec<(String, Note)> = held.notes.into_iter().collect();
        notes.sort_by_key(|(_, note)| note.order);
        let mut tables: Vec<Table> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (path, note) in notes {
            let (table, name) = split(&path);
            let schema_path = match list_path(table) {
                Some(list) => format!("{list}[].{name}"),
                None => path.clone(),
            };
            let Some(key) = schema::find(&schema_path) else {
                continue;
            };
            let place = *places.entry(table.to_owned()).or_insert_with(|| {
                tables.push(Table {
                    label: table.to_owned(),
                    list: find_list(table).map(|list| list.path),
                    entries: Vec::new(),
                });
                tables.len() - 1
            });
            tables[place].entries.push(Entry::new(name, key, note));
        }
        name_tables(&mut tables);
        Self { tables }
    }

    /// Returns what differs in `new`, in its order; what is only here comes last.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let old_tables = by_label(&self.tables);
        let new_tables = by_label(&new.tables);
        let mut changes = Vec::new();
        for table in &new.tables {
            match old_tables.get(table.label.as_str()) {
                Some(old) => old.changes(table, &mut changes),
                None => changes.push(table.change(None, Some(table.text()))),
            }
        }
        for table in &self.tables {
            if !new_tables.contains_key(table.label.as_str()) {
                changes.push(table.change(Some(table.text()), None));
            }
        }
        for list in schema::LISTS.iter().filter(|list| list.is_ordered) {
            changes.extend(self.order_change(new, list.path));
        }
        changes
    }

    /// Returns every key with the value that holds; keys that may be missing, and are, have none.
    pub fn iter(&self) -> impl Iterator<Item = HeldValue> {
        self.tables.iter().flat_map(|table| {
            table.entries.iter().map(|entry| HeldValue {
                key: format!("{}.{}", table.label, entry.name),
                value: entry.value.to_string(),
                is_written: entry.is_written,
            })
        })
    }

    /// Tells that tables which are in both readings have changed places.
    fn order_change(&self, new: &Self, list: &'static str) -> Option<Change> {
        let old_labels = self.labels(list);
        let new_labels = new.labels(list);
        let common = |labels: &[&str], others: &[&str]| -> Vec<String> {
            let others: BTreeSet<&str> = others.iter().copied().collect();
            let both = labels.iter().filter(|label| others.contains(**label));
            both.map(|label| (*label).to_owned()).collect()
        };
        let old_order = common(&old_labels, &new_labels);
        let new_order = common(&new_labels, &old_labels);
        (old_order != new_order).then(|| Change {
            key: list.to_owned(),
            old: Some(shortened(old_order.join(", "))),
            new: Some(shortened(new_order.join(", "))),
            applies: Applies::AtReload,
        })
    }

    fn labels(&self, list: &str) -> Vec<&str> {
        let inside = self.tables.iter().filter(|table| table.list == Some(list));
        inside.map(|table| table.label.as_str()).collect()
    }
}

impl Table {
    fn changes(&self, new: &Self, changes: &mut Vec<Change>) {
        let find = |entries: &'_ [Entry], name: &str| {
            let found = entries.iter().find(|entry| entry.name == name);
            found.map(|entry| entry.value.clone())
        };
        for entry in &new.entries {
            let old = find(&self.entries, &entry.name);
            self.entry_changes(entry, old, Some(&entry.value), changes);
        }
        for entry in &self.entries {
            if find(&new.entries, &entry.name).is_none() {
                self.entry_changes(entry, Some(entry.value.clone()), None, changes);
            }
        }
    }

    fn entry_changes(
        &self,
        entry: &Entry,
        old: Option<Value>,
        new: Option<&Value>,
        changes: &mut Vec<Change>,
    ) {
        if old.as_ref() == new {
            return;
        }
        let key = format!("{}.{}", self.label, entry.name);
        let change = |key, old: Option<String>, new: Option<String>| Change {
            key,
            old: old.map(shortened),
            new: new.map(shortened),
            applies: entry.applies,
        };
        if let (Some(Value::Topics(old)), Some(Value::Topics(new))) = (&old, new) {
            // Of a long table only what differs is of interest.
            let ids: BTreeSet<u16> = old.keys().chain(new.keys()).copied().collect();
            for id in ids.into_iter().filter(|id| old.get(id) != new.get(id)) {
                let text = |topics: &BTreeMap<u16, String>| {
                    topics
                        .get(&id)
                        .map(|name| Value::Text(name.clone()).to_string())
                };
                changes.push(change(format!("{key}.{id}"), text(old), text(new)));
            }
            return;
        }
        let old = old.map(|value| value.to_string());
        changes.push(change(key, old, new.map(ToString::to_string)));
    }

    /// Returns the change that the whole table is.
    fn change(&self, old: Option<String>, new: Option<String>) -> Change {
        let waits = self
            .entries
            .iter()
            .any(|entry| entry.applies == Applies::AtStart);
        Change {
            key: self.label.clone(),
            old: old.map(shortened),
            new: new.map(shortened),
            applies: if waits {
                Applies::AtStart
            } else {
                Applies::AtReload
            },
        }
    }

    /// Returns what is written in the table, on one line; all of it where nothing is.
    fn text(&self) -> String {
        let is_written = self.entries.iter().any(|entry| entry.is_written);
        let written = self
            .entries
            .iter()
            .filter(|entry| entry.is_written == is_written);
        let pairs: Vec<String> = written
            .map(|entry| format!("{} = {}", entry.name, entry.value))
            .collect();
        format!("{{ {} }}", pairs.join(", "))
    }
}

impl Entry {
    fn new(name: &str, key: &Key, note: Note) -> Self {
        Self {
            name: name.to_owned(),
            value: note.value,
            is_written: note.is_written,
            applies: key.applies,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(
            f,
            "{}: {} -> {}",
            self.key,
            shown(&self.old),
            shown(&self.new)
        )
    }
}

/// Splits the path of a key behind its table: `link[0]` and `name`, `gateway` and `mailbox.age_max`.
fn split(path: &str) -> (&str, &str) {
    let end = path.find("].").map(|at| at + 1).or_else(|| path.find('.'));
    end.map_or((path, ""), |end| (&path[..end], &path[end + 1..]))
}

/// Returns the path of the list that a table is in.
fn list_path(table: &str) -> Option<&str> {
    table.split_once('[').map(|(list, _)| list)
}

fn find_list(table: &str) -> Option<&'static List> {
    let path = list_path(table)?;
    schema::LISTS.iter().find(|list| list.path == path)
}

/// Gives tables in lists what tells them apart in the place of their index.
fn name_tables(tables: &mut [Table]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for table in tables {
        let Some(list) = find_list(&table.label) else {
            continue;
        };
        let identity = table
            .entries
            .iter()
            .find(|entry| entry.name == list.identity);
        let Some(Value::Text(identity)) = identity.map(|entry| &entry.value) else {
            continue;
        };
        let count = counts
            .entry(format!("{}[{identity}]", list.path))
            .or_default();
        *count += 1;
        table.label = match count {
            1 => format!("{}[{identity}]", list.path),
            count => format!("{}[{identity} ({count})]", list.path),
        };
    }
}

fn by_label(tables: &[Table]) -> HashMap<&str, &Table> {
    tables
        .iter()
        .map(|table| (table.label.as_str(), table))
        .collect()
}

fn shortened(text: String) -> String {
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    let start: String = text.chars().take(SHOWN_MAX).collect();
    format!("{start}…")
}

/// The most characters of a value that a change shows.
const SHOWN_MAX: usize = 200;
