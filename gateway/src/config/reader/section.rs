//! What the settings ask of one table.

use super::super::error::Finding;
use super::super::schema::{self, Preset};
use super::super::value::FromValue;
use super::{Reader, join};

/// One table of the document, there or not.
pub(in crate::config) struct Section<'r, 'a> {
    pub(super) path: String,
    pub(super) reader: &'r mut Reader<'a>,
}

impl Section<'_, '_> {
    /// Returns the value of a key, or `default` where it is missing.
    pub(in crate::config) fn or<T: FromValue>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Returns the value of a key that must be there, or records that it is missing.
    pub(in crate::config) fn required<T: FromValue>(&mut self, key: &str) -> Option<T> {
        let path = join(&self.path, key);
        let broken = |finding: &Finding| finding.key == path;
        if !self.reader.values.contains_key(&path) && !self.reader.findings.iter().any(broken) {
            let span = self.reader.tables.get(&self.path).cloned();
            let allowed = schema::KEYS
                .iter()
                .find(|key| key.default == Preset::Required && matches_path(key.path, &path))
                .map_or(String::new(), |key| format!(": {}", key.rule.allowed()));
            let message = format!("missing, and must be there{allowed}");
            self.reader.find(span.unwrap_or(0..0), &path, message);
        }
        self.optional(key)
    }

    /// Returns the value of a key, where it is there and right.
    pub(in crate::config) fn optional<T: FromValue>(&mut self, key: &str) -> Option<T> {
        let path = join(&self.path, key);
        let (value, span) = self.reader.values.get(&path)?;
        let converted = T::from_value(value);
        if converted.is_none() {
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

    /// Records keys that exclude each other.
    pub(in crate::config) fn at_most_one(&mut self, keys: &[&str]) {
        let there = |key: &&&str| self.reader.values.contains_key(&join(&self.path, key));
        let present: Vec<&str> = keys.iter().filter(there).copied().collect();
        for key in present.iter().skip(1) {
            self.refuse(
                key,
                &format!("only one of {} may be there", keys.join(", ")),
            );
        }
    }

    /// Records one of two keys without the other.
    pub(in crate::config) fn both_or_none(&mut self, a: &str, b: &str) {
        let there = |key| self.reader.values.contains_key(&join(&self.path, key));
        match (there(a), there(b)) {
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
