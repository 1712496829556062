//! From the text to values: the walk over the document.

mod section;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use section::Section;

use super::error::Finding;
use super::schema::{self, Key};
use super::value::{Rule, Value};
use super::values::Held;

/// The environment, as far as the configuration may look at it.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The values of a document that passed their rules, and everything that did not.
pub(super) struct Reader<'a> {
    base: &'a Path,
    source: &'a str,
    environment: Environment<'a>,
    values: BTreeMap<String, (Value, Range<usize>)>,
    /// Every table that is there, with its span.
    tables: BTreeMap<String, Range<usize>>,
    /// How many tables an array of tables has.
    lengths: BTreeMap<String, (usize, Range<usize>)>,
    findings: Vec<Finding>,
    /// What is allowed and does nothing.
    warnings: Vec<Finding>,
    held: Held,
}

/// What was found in a document.
pub(super) struct Outcome {
    /// What is wrong, in the order of the document.
    pub(super) findings: Vec<Finding>,
    /// What is allowed and does nothing, in the order of the document.
    pub(super) warnings: Vec<Finding>,
    /// The values that were asked for, written or not.
    pub(super) held: Held,
}

impl<'a> Reader<'a> {
    /// Walks over a document; relative paths in it start at `base`.
    pub(super) fn new(source: &'a str, base: &'a Path, environment: Environment<'a>) -> Self {
        let mut reader = Self {
            base,
            source,
            environment,
            values: BTreeMap::new(),
            tables: BTreeMap::new(),
            lengths: BTreeMap::new(),
            findings: Vec::new(),
            warnings: Vec::new(),
            held: Held::default(),
        };
        let (document, errors) = DeTable::parse_recoverable(source);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            reader.find(span, "", error.message().replace('\n', ", "));
        }
        // A document that is not TOML is not judged further: what it lacks may stand where
        // the parser lost its way.
        if errors.is_empty() {
            reader.walk(document.get_ref(), "", "", None);
        }
        reader
    }

    /// Returns the table at a path, whether it is there or not.
    pub(super) fn section<'r>(&'r mut self, path: impl Into<String>) -> Section<'r, 'a> {
        Section {
            path: path.into(),
            reader: self,
        }
    }

    /// Returns whether a table is there.
    pub(super) fn has_table(&self, path: &str) -> bool {
        self.tables.contains_key(path)
    }

    /// Returns whether an array of tables is there.
    pub(super) fn has_list(&self, path: &str) -> bool {
        self.lengths.contains_key(path)
    }

    /// Returns the length of an array of tables.
    pub(super) fn length(&self, path: &str) -> usize {
        self.lengths.get(path).map_or(0, |(length, _)| *length)
    }

    /// Records that an array of tables may not be as it is.
    pub(super) fn refuse_list(&mut self, path: &str, why: &str) {
        if let Some((_, span)) = self.lengths.get(path) {
            self.find(span.clone(), path, why.to_owned());
        }
    }

    /// Returns what was found.
    pub(super) fn finish(mut self) -> Outcome {
        self.findings.sort_by_key(|finding| finding.span.start);
        self.warnings.sort_by_key(|warning| warning.span.start);
        Outcome {
            findings: self.findings,
            warnings: self.warnings,
            held: self.held,
        }
    }

    /// Takes what holds in another document for what holds where this one says nothing.
    pub(super) fn adopt(&mut self, held: Held) {
        self.held.append(held);
    }

    /// Walks over a table, which belongs to a link of a type where one is given.
    fn walk(
        &mut self,
        table: &DeTable<'_>,
        schema_path: &str,
        path: &str,
        link_type: Option<&str>,
    ) {
        let link_type = match schema_path {
            "link[]" => table.get("type").and_then(|value| value.get_ref().as_str()),
            _ => link_type,
        };
        for (name, value) in table {
            let schema_path = join(schema_path, name.get_ref());
            let path = join(path, name.get_ref());
            if let Some(key) = schema::find(&schema_path) {
                if let (Some(wanted), Some(actual)) = (key.link_type, link_type)
                    && wanted != actual
                {
                    let message = format!("belongs to links of type \"{wanted}\" only");
                    self.find(name.span(), &path, message);
                    continue;
                }
                self.leaf(key, value, path);
            } else {
                self.branch(name.span(), value, (&schema_path, &path), link_type);
            }
        }
    }

    fn leaf(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, path: String) {
        match key.rule.read(value, self.base) {
            Ok(read) => {
                self.values.insert(path, (read, value.span()));
            }
            Err(broken) => {
                let shown = match key.rule {
                    Rule::Secret => "…".to_owned(),
                    _ => shorten_text(self.source.get(broken.span.clone()).unwrap_or("")),
                };
                let why = broken.why.map_or(String::new(), |why| format!("{why}; "));
                let message = format!(
                    "{shown} is not allowed; {why}allowed: {}",
                    key.rule.allowed()
                );
                self.find(broken.span, &path, message);
            }
        }
    }

    fn branch(
        &mut self,
        name: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        (schema_path, path): (&str, &str),
        link_type: Option<&str>,
    ) {
        let inner = |suffix| {
            let start = format!("{schema_path}{suffix}.");
            schema::KEYS.iter().any(|key| key.path.starts_with(&start))
        };
        if inner("") {
            match value.get_ref().as_table() {
                Some(table) => {
                    self.tables.insert(path.to_owned(), name);
                    self.walk(table, schema_path, path, link_type);
                }
                None => self.find(value.span(), path, format!("must be a table: [{path}]")),
            }
        } else if inner("[]") {
            self.array(value, schema_path, path);
        } else {
            self.unknown(name, schema_path, path);
        }
    }

    fn array(&mut self, value: &Spanned<DeValue<'_>>, schema_path: &str, path: &str) {
        let message = || format!("must be an array of tables: [[{path}]]");
        let Some(items) = value.get_ref().as_array() else {
            return self.find(value.span(), path, message());
        };
        let length = (items.len(), value.span());
        self.lengths.insert(path.to_owned(), length);
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.get_ref().as_table() {
                Some(table) => {
                    self.tables.insert(path.clone(), item.span());
                    self.walk(table, &format!("{schema_path}[]"), &path, None);
                }
                None => self.find(item.span(), &path, message()),
            }
        }
    }

    fn unknown(&mut self, span: Range<usize>, schema_path: &str, path: &str) {
        let (table, name) = schema_path.rsplit_once('.').unwrap_or(("", schema_path));
        let known = schema::names_in(table);
        let close = |known: &&&str| distance(name, known) <= name.len().div_ceil(3);
        let nearest = known.iter().min_by_key(|known| distance(name, known));
        let guess = nearest.filter(close);
        let guess = guess.map_or(String::new(), |known| format!(" (did you mean {known}?)"));
        let message = format!("unknown key{guess}; allowed are {}", known.join(", "));
        self.find(span, path, message);
    }

    fn find(&mut self, span: Range<usize>, key: &str, message: String) {
        self.findings.push(Finding {
            span,
            key: key.to_owned(),
            message,
        });
    }
}

fn join(table: &str, name: &str) -> String {
    if table.is_empty() {
        return name.to_owned();
    }
    format!("{table}.{name}")
}

/// Returns how many letters must change, appear or go to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn shorten_text(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    if line.chars().count() <= SHOWN_MAX && line.len() == text.len() {
        return line.to_owned();
    }
    let start: String = line.chars().take(SHOWN_MAX).collect();
    format!("{start}…")
}

/// The most characters of a value that an error shows.
const SHOWN_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_letters() {
        assert_eq!(distance("buad", "baud"), 2);
        assert_eq!(distance("listne", "listen"), 2);
        assert_eq!(distance("baud", "baud"), 0);
        assert_eq!(distance("", "baud"), 4);
    }
}
