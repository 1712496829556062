//! How it went: a table, and whether anything is missing.

use std::fmt;

use serde::Serialize;
use shared::time::Instant;

use super::ledger::{Counts, Ledger};

/// The end of the demo; the last line of `--json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    nodes: Vec<Row>,
    total: Counts,
    /// What was acknowledged and did not arrive: node and publication.
    missing: Vec<String>,
    /// What was sent, but not acknowledged when the demo ended.
    unacknowledged: usize,
    #[serde(skip)]
    at: Instant,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    node: String,
    #[serde(flatten)]
    counts: Counts,
}

impl Summary {
    pub(super) fn of(names: &[String], ledgers: &[Ledger], at: Instant) -> Self {
        let each = || names.iter().zip(ledgers);
        let nodes: Vec<Row> = each()
            .map(|(name, ledger)| Row {
                node: name.clone(),
                counts: *ledger.counts(),
            })
            .collect();
        Self {
            total: nodes
                .iter()
                .fold(Counts::default(), |sum, row| sum.and(&row.counts)),
            missing: each()
                .flat_map(|(name, ledger)| {
                    let missing = ledger.missing().into_iter();
                    missing.map(move |what| format!("{name}: {what}"))
                })
                .collect(),
            unacknowledged: ledgers.iter().map(Ledger::unacknowledged).sum(),
            nodes,
            at,
        }
    }

    /// Returns whether all that was acknowledged has arrived.
    pub(super) fn is_good(&self) -> bool {
        self.missing.is_empty()
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts) -> fmt::Result {
        let width = self.name_width();
        let lost = counts.lost_up + counts.lost_down;
        let frames = counts.frames_up + counts.frames_down;
        writeln!(
            f,
            "  {name:width$}  {:>8}  {:>7}  {:>10}  {frames:>6}  {lost:>4}  {:>8}  {:>6}  {:>8}  {:>9}",
            counts.readings_sent,
            counts.readings_arrived,
            counts.duplicates,
            counts.repetitions,
            counts.octets,
            counts.commands,
            counts.confirmed,
        )
    }

    fn name_width(&self) -> usize {
        let names = self.nodes.iter().map(|row| row.node.len());
        names.max().unwrap_or(0).max(4)
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_millis() / 1000;
        let acknowledged = self.total.acknowledged;
        let missing = self.missing.len();
        match (acknowledged, missing) {
            (0, _) => write!(f, "No publication was acknowledged in {seconds} s.")?,
            (_, 0) => write!(
                f,
                "Good: all {acknowledged} readings and confirmations that were acknowledged in \
                 {seconds} s have arrived at the broker."
            )?,
            _ => write!(
                f,
                "NOT GOOD: {missing} of {acknowledged} readings and confirmations that were \
                 acknowledged in {seconds} s have not arrived at the broker:\n  {}",
                self.missing.join("\n  ")
            )?,
        }
        match self.unacknowledged {
            0 => Ok(()),
            1 => f.write_str("\n1 more was on its way when the demo ended."),
            more => write!(f, "\n{more} more were on their way when the demo ended."),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.name_width();
        writeln!(
            f,
            "  {:width$}  readings  arrived  duplicates  frames  lost  repeated  octets  commands  \
             confirmed",
            "node"
        )?;
        for row in &self.nodes {
            self.row(f, &row.node, &row.counts)?;
        }
        self.row(f, "all", &self.total)?;
        writeln!(f)?;
        self.verdict(f)
    }
}

impl Counts {
    const fn and(&self, other: &Self) -> Self {
        Self {
            readings_sent: self.readings_sent + other.readings_sent,
            readings_arrived: self.readings_arrived + other.readings_arrived,
            acknowledged: self.acknowledged + other.acknowledged,
            duplicates: self.duplicates + other.duplicates,
            frames_up: self.frames_up + other.frames_up,
            frames_down: self.frames_down + other.frames_down,
            lost_up: self.lost_up + other.lost_up,
            lost_down: self.lost_down + other.lost_down,
            repetitions: self.repetitions + other.repetitions,
            octets: self.octets + other.octets,
            commands: self.commands + other.commands,
            confirmed: self.confirmed + other.confirmed,
        }
    }
}
