//! The table of decisions names a test for each, and every test that it names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("../docs/decisions.md");

/// The decisions of the digest: D-01 to D-47.
const DECISIONS: u8 = 47;

/// Where tests are.
const SOURCES: [&str; 4] = ["gateway/src", "gateway/tests", "shared", "tests"];

#[test]
fn every_decision_has_its_row() {
    let rows = rows();
    let wanted: BTreeSet<String> = (1..=DECISIONS).map(|n| format!("D-{n:02}")).collect();
    let found: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(found, wanted);
    for (decision, tests) in rows {
        assert!(!tests.is_empty(), "{decision} names no test");
    }
}

#[test]
fn every_test_of_the_table_is_there() {
    let tests = tests_of_the_sources();
    assert!(tests.len() > 300, "the sources were not found");
    let missing: Vec<String> = rows()
        .into_iter()
        .flat_map(|(decision, named)| named.into_iter().map(move |test| (decision.clone(), test)))
        .filter(|(_, test)| !tests.contains(test))
        .map(|(decision, test)| format!("{decision}: {test}"))
        .collect();
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
}

/// Returns the tests of each decision, as `file::test`.
fn rows() -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in TABLE.lines().filter(|line| line.starts_with("| D-")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let decision = cells.next().unwrap_or_default().to_owned();
        let proof = cells.nth(1).unwrap_or_default();
        let tests = proof.split('`').skip(1).step_by(2).map(str::to_owned);
        let twice = rows.insert(decision.clone(), tests.collect());
        assert!(twice.is_none(), "{decision} has two rows");
    }
    rows
}

/// Returns every test function of the sources, as `file::test`.
fn tests_of_the_sources() -> BTreeSet<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tests = BTreeSet::new();
    for folder in SOURCES {
        collect(&top.join(folder), &mut tests);
    }
    tests
}

fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            tests.extend(test_names(&text).map(|name| format!("{stem}::{name}")));
        }
    }
}

/// Returns the functions that an attribute makes tests of.
fn test_names(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            is_test |= line.contains("test") || line.contains("rstest");
            return None;
        }
        let name = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ")
            .and_then(|rest| rest.split(['(', '<']).next());
        let found = name.filter(|_| is_test);
        if !line.is_empty() && !line.starts_with("//") {
            is_test = false;
        }
        found
    })
}
