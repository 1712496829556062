//! The configuration: what is taken, what is refused, and how it is said.

mod changes;
mod example;
mod links;
mod nodes;
mod reading;
mod upstream;

use std::path::Path;

use gateway::config::{Config, ConfigError, Problem, Reading};

fn parse(source: &str) -> Result<Config, ConfigError> {
    parse_in(source, &[])
}

fn parse_in(source: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::parse(source, Path::new("test.toml"), &variable)
}

fn problems(source: &str) -> Vec<Problem> {
    match parse(source) {
        Err(ConfigError::Invalid(problems)) => problems.list,
        other => panic!("{source}\n{other:?}"),
    }
}

/// Asserts one problem: its place, its key and parts of what is said.
fn refused(source: &str, place: (usize, usize), key: &str, parts: &[&str]) {
    let list = problems(source);
    assert_eq!(list.len(), 1, "{source}\n{list:#?}");
    let problem = &list[0];
    assert_eq!((problem.line, problem.column), place, "{problem}\n{source}");
    assert_eq!(problem.key, key, "{problem}");
    for part in parts {
        assert!(problem.message.contains(part), "{part:?} in {problem}");
    }
}

fn reading(source: &str) -> Reading {
    let nothing = |_: &str| None;
    Reading::parse(source, Path::new("test.toml"), &nothing).unwrap_or_else(|e| panic!("{e}"))
}
