//! What counts as passed: a recording in, a verdict out, nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::air::Tally;

/// What was seen of one run.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The nodes.
    pub nodes: Vec<NodeRecord>,
    /// Frames that the rig itself lost; a run with any says nothing.
    pub rig_lost: u64,
    /// The end of the gateway's log; it is shown where the run failed, and not judged.
    pub gateway_log: String,
}

/// What was seen of one node.
#[derive(Clone, Debug, Default)]
pub struct NodeRecord {
    /// The node's client id.
    pub name: String,
    /// The readings that it was to take.
    pub readings_expected: u32,
    /// The numbers of the readings, in the order they came to the broker.
    pub arrived: Vec<u32>,
    /// When each of them came, as the time since the first thing that was seen.
    pub arrived_at: Vec<Duration>,
    /// What came on its topics and was not what a node publishes.
    pub unreadable: u32,
    /// The ids of the commands that were sent to it.
    pub commands_sent: Vec<u32>,
    /// The ids of the commands that it confirmed as carried out.
    pub commands_confirmed: Vec<u32>,
    /// How it ended.
    pub end: NodeEnd,
    /// What was seen on the air, where the rig can see it.
    pub air: Option<Tally>,
}

impl Recording {
    /// Returns a chart of the arrivals of each node, all on one time scale.
    #[must_use]
    pub fn charts(&self, columns: usize) -> Vec<String> {
        let times = self.nodes.iter().flat_map(|node| &node.arrived_at);
        let span = times.max().map_or(0.0, Duration::as_secs_f64);
        let chart = |node: &NodeRecord| {
            let share = |at: &Duration| at.as_secs_f64() / span.max(f64::MIN_POSITIVE);
            let shares: Vec<f64> = node.arrived_at.iter().map(share).collect();
            crate::report::chart(&shares, columns)
        };
        self.nodes.iter().map(chart).collect()
    }
}

/// How a node ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeEnd {
    /// It had done its work and said so.
    Finished,
    /// It is a board that goes on for ever.
    Endless,
    /// It was still at work when the time was up.
    #[default]
    Unfinished,
    /// It ended by itself, for this reason.
    Failed(String),
}

/// What the judge has found.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Whether everything that was promised was kept.
    pub passed: bool,
    /// The nodes, in the order of the recording.
    pub nodes: Vec<NodeVerdict>,
    /// Promises broken that are nobody's in particular.
    pub failures: Vec<Failure>,
}

/// What the judge has found of one node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeVerdict {
    /// The node's client id.
    pub name: String,
    /// Readings that were expected.
    pub expected: u32,
    /// Different readings that the node has put on the air, where the rig can see it.
    pub sent: Option<u64>,
    /// Different readings that came to the broker.
    pub arrived: u32,
    /// Readings that came once more.
    pub duplicates: u32,
    /// Commands that were sent.
    pub commands_sent: u32,
    /// Commands that were carried out.
    pub commands_done: u32,
    /// What was seen on the air.
    pub air: Option<Tally>,
    /// Promises broken.
    pub failures: Vec<Failure>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Readings never came; the first few of their numbers.
    Missing {
        /// How many.
        count: u32,
        /// The first of them.
        first: Vec<u32>,
    },
    /// More different readings came than the node was to take.
    Surplus(u32),
    /// A reading came for the first time after a later one.
    OutOfOrder {
        /// The reading that came late.
        reading: u32,
        /// The reading before which it belongs.
        after: u32,
    },
    /// Something came that no node publishes.
    Unreadable(u32),
    /// A command was never carried out.
    CommandLost(u32),
    /// The node did not finish.
    Node(NodeEnd),
    /// The rig lost frames of its own, beside the simulated losses.
    RigLost(u64),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { count, first } => {
                write!(f, "{count} readings are missing, first of all {first:?}")
            }
            Self::Surplus(count) => write!(f, "{count} readings too many"),
            Self::OutOfOrder { reading, after } => {
                write!(f, "reading {reading} first came after reading {after}")
            }
            Self::Unreadable(count) => write!(f, "{count} payloads that no node publishes"),
            Self::CommandLost(id) => write!(f, "command {id} was not carried out"),
            Self::Node(NodeEnd::Failed(reason)) => write!(f, "the node failed: {reason}"),
            Self::Node(_) => f.write_str("the node did not finish in time"),
            Self::RigLost(count) => write!(f, "the rig itself lost {count} frames"),
        }
    }
}

/// Judges a run: every reading at least once, in order per node; every command carried out.
#[must_use]
pub fn judge(recording: &Recording) -> Verdict {
    let nodes: Vec<NodeVerdict> = recording.nodes.iter().map(judge_node).collect();
    let mut failures = Vec::new();
    if recording.rig_lost > 0 {
        failures.push(Failure::RigLost(recording.rig_lost));
    }
    let passed = failures.is_empty() && nodes.iter().all(|node| node.failures.is_empty());
    Verdict {
        // A run without nodes proves nothing.
        passed: passed && !nodes.is_empty(),
        nodes,
        failures,
    }
}

fn judge_node(node: &NodeRecord) -> NodeVerdict {
    let first_arrivals = first_arrivals(&node.arrived);
    let lost: Vec<u32> = node
        .commands_sent
        .iter()
        .filter(|id| !node.commands_confirmed.contains(id))
        .copied()
        .collect();
    let mut failures = completeness(&first_arrivals, node.readings_expected);
    failures.extend(disorder(&first_arrivals));
    if node.unreadable > 0 {
        failures.push(Failure::Unreadable(node.unreadable));
    }
    failures.extend(lost.iter().copied().map(Failure::CommandLost));
    if !matches!(node.end, NodeEnd::Finished | NodeEnd::Endless) {
        failures.push(Failure::Node(node.end.clone()));
    }
    NodeVerdict {
        name: node.name.clone(),
        expected: node.readings_expected,
        sent: node.air.as_ref().map(|air| air.sent_below("readings/")),
        arrived: count(first_arrivals.len()),
        duplicates: count(node.arrived.len() - first_arrivals.len()),
        commands_sent: count(node.commands_sent.len()),
        commands_done: count(node.commands_sent.len() - lost.len()),
        air: node.air.clone(),
        failures,
    }
}

/// Returns the readings in the order they first came.
fn first_arrivals(arrived: &[u32]) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let first = arrived.iter().filter(|&&number| seen.insert(number));
    first.copied().collect()
}

/// Checks that the readings are `expected` numbers on end: what the node counts from is its
/// own affair, but it leaves nothing out.
fn completeness(arrivals: &[u32], expected: u32) -> Vec<Failure> {
    let Some(&lowest) = arrivals.iter().min() else {
        return missing((1..=expected).collect());
    };
    let wanted = lowest..lowest.saturating_add(expected);
    let surplus = arrivals.iter().filter(|number| !wanted.contains(number));
    let surplus = count(surplus.count());
    let absent = wanted.filter(|number| !arrivals.contains(number));
    let mut failures = missing(absent.collect());
    if surplus > 0 {
        failures.push(Failure::Surplus(surplus));
    }
    failures
}

fn missing(numbers: Vec<u32>) -> Vec<Failure> {
    if numbers.is_empty() {
        return Vec::new();
    }
    vec![Failure::Missing {
        count: count(numbers.len()),
        first: numbers.into_iter().take(LISTED_MAX).collect(),
    }]
}

fn disorder(arrivals: &[u32]) -> Option<Failure> {
    let pairs = arrivals.windows(2);
    pairs.into_iter().find_map(|pair| match *pair {
        [after, reading] if reading < after => Some(Failure::OutOfOrder { reading, after }),
        _ => None,
    })
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Missing readings that a failure lists.
const LISTED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeRecord {
        NodeRecord {
            name: "n".to_owned(),
            readings_expected: 5,
            arrived: vec![1, 2, 3, 4, 5],
            commands_sent: vec![7],
            commands_confirmed: vec![7],
            end: NodeEnd::Finished,
            ..NodeRecord::default()
        }
    }

    fn failures(change: impl FnOnce(&mut NodeRecord)) -> Vec<Failure> {
        let mut node = node();
        change(&mut node);
        let verdict = judge(&Recording {
            nodes: vec![node],
            ..Recording::default()
        });
        let failures = verdict.nodes[0].failures.clone();
        assert_eq!(verdict.passed, failures.is_empty());
        failures
    }

    #[test]
    fn a_clean_run_passes() {
        assert_eq!(failures(|_| ()), []);
    }

    #[test]
    fn duplicates_are_allowed_and_counted() {
        let mut with_duplicates = node();
        with_duplicates.arrived = vec![1, 1, 2, 3, 2, 4, 5, 5];
        let verdict = judge_node(&with_duplicates);
        assert_eq!(verdict.failures, []);
        assert_eq!((verdict.arrived, verdict.duplicates), (5, 3));
    }

    #[test]
    fn numbers_may_start_anywhere() {
        assert_eq!(failures(|n| n.arrived = vec![64, 65, 66, 67, 68]), []);
        assert_eq!(failures(|n| n.arrived = vec![0, 1, 2, 3, 4]), []);
    }

    #[test]
    fn a_gap_is_a_missing_reading() {
        let found = failures(|n| n.arrived = vec![1, 2, 4, 5]);
        assert_eq!(
            found,
            [Failure::Missing {
                count: 1,
                first: vec![3]
            }]
        );
    }

    #[test]
    fn a_missing_end_and_a_missing_everything_are_noticed() {
        let found = failures(|n| n.arrived = vec![1, 2, 3]);
        assert!(matches!(found[..], [Failure::Missing { count: 2, .. }]));
        let found = failures(|n| n.arrived.clear());
        assert!(matches!(found[..], [Failure::Missing { count: 5, .. }]));
    }

    #[test]
    fn more_than_expected_is_noticed() {
        let found = failures(|n| n.arrived.push(6));
        assert_eq!(found, [Failure::Surplus(1)]);
    }

    #[test]
    fn a_first_arrival_behind_a_later_one_is_out_of_order() {
        let found = failures(|n| n.arrived = vec![1, 3, 2, 4, 5]);
        assert_eq!(
            found,
            [Failure::OutOfOrder {
                reading: 2,
                after: 3
            }]
        );
    }

    #[test]
    fn commands_nodes_and_the_rig_are_judged_too() {
        assert_eq!(
            failures(|n| n.commands_confirmed.clear()),
            [Failure::CommandLost(7)]
        );
        assert_eq!(
            failures(|n| n.end = NodeEnd::Unfinished),
            [Failure::Node(NodeEnd::Unfinished)]
        );
        assert_eq!(failures(|n| n.unreadable = 2), [Failure::Unreadable(2)]);
        let verdict = judge(&Recording {
            nodes: vec![node()],
            rig_lost: 1,
            ..Recording::default()
        });
        assert!(!verdict.passed);
    }

    #[test]
    fn nothing_at_all_does_not_pass() {
        assert!(!judge(&Recording::default()).passed);
    }
}
