//! What was asked for while a file was read.

use std::collections::BTreeMap;

use crate::config::value::Value;

/// What the settings were asked for while they were read, by paths with indices.
#[derive(Debug, Default)]
pub(in crate::config) struct Held {
    pub(super) notes: BTreeMap<String, Note>,
}

#[derive(Debug)]
pub(super) struct Note {
    pub(super) order: usize,
    pub(super) value: Value,
    pub(super) is_written: bool,
}

impl Held {
    /// Notes the value of a key; the first one stays.
    pub(in crate::config) fn note(&mut self, path: String, value: Value, is_written: bool) {
        let order = self.notes.len();
        self.notes.entry(path).or_insert(Note {
            order,
            value,
            is_written,
        });
    }

    /// Takes over what another document holds, as values that are not written.
    pub(in crate::config) fn append(&mut self, other: Self) {
        let mut notes: Vec<(String, Note)> = other.notes.into_iter().collect();
        notes.sort_by_key(|(_, note)| note.order);
        for (path, note) in notes {
            self.note(path, note.value, false);
        }
    }
}
