//! What is printed: a table and a chart for people, JSON for machines.

use std::fmt::Write as _;

use serde::Serialize;

use crate::judge::{NodeVerdict, Verdict};

/// One run of a scenario, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The scenario.
    pub scenario: &'static str,
    /// The rig.
    pub rig: &'static str,
    /// What every random choice was drawn from.
    pub seed: u64,
    /// How long the run took, in seconds.
    pub duration_s: f64,
    /// What the judge found.
    pub verdict: Verdict,
    /// When readings came to the broker, per node: one character for each sixtieth of the run,
    /// its height their number.
    pub arrivals: Vec<String>,
}

/// Returns the table of one run, its chart and its failures.
#[must_use]
pub fn table(report: &RunReport) -> String {
    let mut text = format!(
        "{} on the {} rig, seed {}: {} in {:.1} s\n",
        report.scenario,
        report.rig,
        report.seed,
        if report.verdict.passed {
            "PASSED"
        } else {
            "FAILED"
        },
        report.duration_s
    );
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(report.verdict.nodes.iter().map(row));
    rows.push(total(&rows[1..]));
    text.push_str(&aligned(&rows));
    for (node, line) in report.verdict.nodes.iter().zip(&report.arrivals) {
        let _ = writeln!(text, "  {:<10} {line}", node.name);
    }
    for failure in &report.verdict.failures {
        let _ = writeln!(text, "  FAILED: {failure}");
    }
    for node in &report.verdict.nodes {
        for failure in &node.failures {
            let _ = writeln!(text, "  FAILED: {}: {failure}", node.name);
        }
    }
    text
}

/// Returns a bar for each of `columns` equal parts of the time, whose height is the number of
/// `moments` (as shares of the time, 0 to 1) in it.
#[must_use]
pub fn chart(moments: &[f64], columns: usize) -> String {
    let mut counts = vec![0_usize; columns];
    for moment in moments {
        // A share of the time, cut to the chart's columns.
        let column = (moment.clamp(0.0, 1.0) * columns as f64) as usize;
        if let Some(count) = counts.get_mut(column.min(columns.saturating_sub(1))) {
            *count += 1;
        }
    }
    let bar = |count: usize| BARS[count.min(BARS.len() - 1)];
    counts.into_iter().map(bar).collect()
}

fn row(node: &NodeVerdict) -> [String; COLUMNS] {
    let of_air = |value: fn(&crate::air::Tally) -> u64| {
        let air = node.air.as_ref();
        air.map_or("-".to_owned(), |air| value(air).to_string())
    };
    [
        node.name.clone(),
        node.sent.map_or("-".to_owned(), |sent| sent.to_string()),
        node.arrived.to_string(),
        node.duplicates.to_string(),
        format!("{}/{}", node.commands_done, node.commands_sent),
        of_air(|air| air.wakes),
        of_air(|air| air.up_retries),
        of_air(|air| air.down_retries),
        of_air(|air| air.up_frames),
        of_air(|air| air.up_lost),
        of_air(|air| air.down_frames),
        of_air(|air| air.down_lost),
        of_air(|air| air.up_octets),
        of_air(|air| air.down_octets),
    ]
}

/// Sums the columns that hold numbers.
fn total(rows: &[[String; COLUMNS]]) -> [String; COLUMNS] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| &row[column]);
        let numbers: Option<Vec<u64>> = cells.map(|cell| cell.parse().ok()).collect();
        match (column, numbers) {
            (0, _) => "all".to_owned(),
            (_, Some(numbers)) => numbers.iter().sum::<u64>().to_string(),
            (_, None) => String::new(),
        }
    })
}

fn aligned(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

const COLUMNS: usize = 14;
const HEAD: [&str; COLUMNS] = [
    "node",
    "sent",
    "arrived",
    "dupl.",
    "cmds",
    "wakes",
    "retries up",
    "down",
    "frames up",
    "lost",
    "down",
    "lost",
    "bytes up",
    "down",
];
const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::air::Tally;
    use crate::judge::{NodeEnd, NodeRecord, Recording, judge};

    fn report() -> RunReport {
        let node = |name: &str, arrived: Vec<u32>| NodeRecord {
            name: name.to_owned(),
            readings_expected: 2,
            arrived,
            end: NodeEnd::Finished,
            air: Some(Tally {
                up_octets: 100,
                ..Tally::default()
            }),
            ..NodeRecord::default()
        };
        let recording = Recording {
            nodes: vec![node("node-1", vec![1, 2]), node("node-2", vec![1])],
            ..Recording::default()
        };
        RunReport {
            scenario: "lossy-serial",
            rig: "virtual",
            seed: 7,
            duration_s: 1.5,
            verdict: judge(&recording),
            arrivals: vec![chart(&[0.0, 0.5], 4), chart(&[0.9, 0.95], 4)],
        }
    }

    #[test]
    fn the_table_sums_up_and_names_failures() {
        let text = table(&report());
        assert!(text.contains("seed 7: FAILED in 1.5 s"), "{text}");
        assert!(text.contains("node-2: 1 readings are missing"), "{text}");
        let all = text.lines().find(|line| line.starts_with("  all")).unwrap();
        let cells: Vec<&str> = all.split_whitespace().collect();
        assert_eq!((cells[2], cells[cells.len() - 2]), ("3", "200"), "{text}");
    }

    #[test]
    fn the_chart_has_a_column_for_each_part_of_the_time() {
        assert_eq!(chart(&[0.0, 0.5], 4), "▁·▁·");
        assert_eq!(chart(&[0.9, 0.95, 1.0], 4), "···▃");
        assert_eq!(chart(&[], 3), "···");
    }

    #[test]
    fn the_json_holds_the_verdict() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["verdict"]["passed"], false);
        assert_eq!(value["verdict"]["nodes"][0]["air"]["up_octets"], 100);
    }
}
