//! What the settings ask of one table.

use std::ops::Range;

use super::super::error::Finding;
use super::super::schema::{self, Fallback};
use super::super::value::Setting;
use super::{Reader, join};

/// One table of the document, there or not.
pub(in crate::config) struct Section<'r, 'a> {
    pub(super) path: String,
    pub(super) reader: &'r mut Reader<'a>,
}

impl Section<'_, '_> {
    /// Returns the value of a key, or `default` where it is missing.
    pub(in crate::config) fn or<T: Setting>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or_else(|| {
            self.holds(key, &default);
            default
        })
    }

    /// Returns the value of a key, or that of `default`, where there is one.
    pub(in crate::config) fn or_nothing<T: Setting>(
        &mut self,
        key: &str,
        default: Option<T>,
    ) -> Option<T> {
        match default {
            Some(default) => Some(self.or(key, default)),
            None => self.optional(key),
        }
    }

    /// Notes that a value holds for a key, which is not written there or says where it is.
    pub(in crate::config) fn holds(&mut self, key: &str, value: &impl Setting) {
        let path = join(&self.path, key);
        self.reader.held.note(path, value.to_value(), false);
    }

    /// Returns the value of a key that must be there, or records that it is missing.
    pub(in crate::config) fn required<T: Setting>(&mut self, key: &str) -> Option<T> {
        let path = join(&self.path, key);
        let broken = |finding: &Finding| finding.key == path;
        if !self.reader.values.contains_key(&path) && !self.reader.findings.iter().any(broken) {
            let span = self.reader.tables.get(&self.path).cloned();
            let allowed = schema::KEYS
                .iter()
                .find(|key| key.default == Fallback::Required && matches_path(key.path, &path))
                .map_or(String::new(), |key| format!(": {}", key.rule.allowed()));
            let message = format!("missing, and must be there{allowed}");
            self.reader.find(span.unwrap_or(0..0), &path, message);
        }
        self.optional(key)
    }

    /// Returns the value of a key, where it is there and right.
    pub(in crate::config) fn optional<T: Setting>(&mut self, key: &str) -> Option<T> {
        let path = join(&self.path, key);
        let (value, span) = self.reader.values.get(&path)?;
        let converted = T::from_value(value);
        if let Some(converted) = &converted {
            let value = converted.to_value();
            self.reader.held.note(path, value, true);
        } else {
            // The schema lets a value pass that the settings cannot hold: a fault of ours that
            // must not turn into a default.
            let message = "the value fits no setting".to_owned();
            let span = span.clone();
            self.reader.find(span, &path, message);
        }
        converted
    }

    /// Records that a key may not be as it is, where it is there.
    pub(in crate::config) fn refuse(&mut self, key: &str, why: &str) {
        let path = join(&self.path, key);
        let Some((_, span)) = self.reader.values.get(&path) else {
            return;
        };
        let span = span.clone();
        self.reader.find(span, &path, why.to_owned());
    }

    /// Records that a key, or its table where the key is missing, may not be as it is.
    pub(in crate::config) fn refuse_here(&mut self, key: &str, why: &str) {
        let (path, span) = self.place(key);
        self.reader.find(span, &path, why.to_owned());
    }

    /// Records that a key, or its table where the key is missing, may not do what it seems to.
    pub(in crate::config) fn warn(&mut self, key: &str, why: &str) {
        let (key, span) = self.place(key);
        self.reader.warnings.push(Finding {
            span,
            key,
            message: why.to_owned(),
        });
    }

    /// Returns whether a key is written there.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.reader.values.contains_key(&join(&self.path, key))
    }

    /// Returns whether a table is written in this one.
    pub(in crate::config) fn has_table(&self, table: &str) -> bool {
        self.reader.has_table(&join(&self.path, table))
    }

    fn place(&self, key: &str) -> (String, Range<usize>) {
        let path = join(&self.path, key);
        let value = self.reader.values.get(&path).map(|(_, span)| span);
        let tables = &self.reader.tables;
        let span = value
            .or_else(|| tables.get(&path))
            .or_else(|| tables.get(&self.path));
        let span = span.cloned().unwrap_or(0..0);
        (path, span)
    }

    /// Records keys that exclude each other.
    pub(in crate::config) fn at_most_one(&mut self, keys: &[&str]) {
        let present: Vec<&str> = keys.iter().filter(|key| self.has(key)).copied().collect();
        for key in present.iter().skip(1) {
            self.refuse(
                key,
                &format!("only one of {} may be there", keys.join(", ")),
            );
        }
    }

    /// Records one of two keys without the other.
    pub(in crate::config) fn both_or_none(&mut self, a: &str, b: &str) {
        match (self.has(a), self.has(b)) {
            (true, false) => self.refuse(a, &format!("it needs {b} beside it")),
            (false, true) => self.refuse(b, &format!("it needs {a} beside it")),
            _ => {}
        }
    }

    /// Returns a variable of the environment.
    pub(in crate::config) fn environment(&self, variable: &str) -> Option<String> {
        (self.reader.environment)(variable)
    }
}

/// Returns whether `path`, with its indices, is the one that `schema_path` stands for.
fn matches_path(schema_path: &str, path: &str) -> bool {
    let mut plain = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = inside && c != ']';
        if !inside {
            plain.push(c);
        }
        inside = inside || c == '[';
    }
    plain == schema_path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_do_not_matter_to_the_schema() {
        assert!(matches_path("link[].name", "link[12].name"));
        assert!(matches_path("upstream.url", "upstream.url"));
        assert!(!matches_path("link[].name", "link.name"));
    }
}
