//! The table of decisions in the documentation, held against the tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../../docs/client-decisions.md");

/// The states of the node's machine (digest A.18), each of which has rows.
const STATES: [&str; 7] = [
    "OFF",
    "SEARCHING",
    "CONNECTING",
    "ACTIVE",
    "SLEEP_PENDING",
    "ASLEEP",
    "AWAKE",
];

/// The cells of each row that says something, in both tables.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    TABLE
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect::<Vec<_>>())
        .filter(|cells| cells.last() != Some(&"Tests"))
}

fn named_tests(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The functions of this folder that are tests.
fn tests_there_are() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut marked = false;
        for line in source.lines() {
            if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
                names.insert(rest.split('(').next().unwrap().to_owned());
            }
            marked = line == "#[test]" || (marked && line.starts_with("#["));
        }
    }
    names
}

#[test]
fn every_row_names_tests_that_there_are() {
    let there_are = tests_there_are();
    assert!(there_are.contains("every_row_names_tests_that_there_are"));
    let mut rows_seen = 0;
    for cells in rows() {
        rows_seen += 1;
        let [subject, _, tests] = cells[..] else {
            panic!("{cells:?} has not three cells");
        };
        let named = named_tests(tests);
        assert!(!named.is_empty(), "{subject} names no test");
        for name in named {
            assert!(
                there_are.contains(name),
                "{subject}: there is no test {name}"
            );
        }
    }
    assert!(rows_seen > 80, "only {rows_seen} rows were read");
}

#[test]
fn every_decision_has_a_row_or_is_the_gateways_alone() {
    let exempt = TABLE
        .lines()
        .find(|line| line.starts_with("Of a node nothing is asked"))
        .unwrap();
    for number in 1..=47 {
        let decision = format!("D-{number:02}");
        let has_row = rows().any(|cells| cells[0] == decision);
        let is_exempt = exempt.contains(&decision);
        assert!(has_row != is_exempt, "{decision}: {has_row}, {is_exempt}");
    }
}

#[test]
fn every_test_that_is_named_by_a_decision_is_in_the_row_of_it() {
    for name in tests_there_are() {
        let Some(number) = name.strip_prefix('d').and_then(|rest| rest.get(..2)) else {
            continue;
        };
        if !number.bytes().all(|octet| octet.is_ascii_digit()) {
            continue;
        }
        let decision = format!("D-{number}");
        let is_named = rows()
            .filter(|cells| cells[0] == decision)
            .any(|cells| named_tests(cells[2]).contains(&&*name));
        assert!(is_named, "{name} is not in the row of {decision}");
    }
}

#[test]
fn every_state_has_rows() {
    for state in STATES {
        assert!(
            rows().any(|cells| cells[0] == state || cells[0].starts_with(&format!("{state}, "))),
            "{state} has no row"
        );
    }
}
