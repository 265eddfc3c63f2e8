//! What was measured, put together: medians first, then tables, charts and verdicts made of them.

pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod svg;
mod targets;

use serde::Serialize;

use crate::{
    bench::{Operation, Sample},
    machine::Machine,
    tools::ToolName,
    workload::{Workload, WorkloadKind},
};

/// Everything that a run has found out.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) samples: Vec<Sample>,
}

/// All rounds of one operation of one tool on one workload.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    workload: WorkloadKind,
    operation: Operation,
    tool: ToolName,
    label: &'static str,
    /// Bytes of the source, whatever the operation read.
    bytes: u64,
    files: u64,
    wall_seconds: Spread,
    /// Median.
    cpu_seconds: f64,
    /// The most of all rounds; 0 where every one was over before it was looked at.
    peak_memory_bytes: u64,
    stored_bytes: Option<u64>,
    /// False when one round gave wrong bytes back.
    is_right: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Rows, and how to find one.
#[derive(Debug)]
struct Summary {
    rows: Vec<Row>,
}

impl Report {
    fn summary(&self) -> Summary {
        let mut rows = Vec::new();
        for workload in &self.workloads {
            let mut samples: Vec<&Sample> = self
                .samples
                .iter()
                .filter(|sample| sample.workload == workload.kind)
                .collect();
            // Stable, so rounds stay in order.
            samples.sort_by_key(|sample| (sample.operation, sample.tool));
            let same = |a: &&Sample, b: &&Sample| (a.operation, a.tool) == (b.operation, b.tool);
            rows.extend(samples.chunk_by(same).filter_map(|rounds| row(workload, rounds)));
        }
        Summary { rows }
    }
}

fn row(workload: &Workload, rounds: &[&Sample]) -> Option<Row> {
    let last = rounds.last()?;
    let all = |value: fn(&Sample) -> f64| -> Vec<f64> { rounds.iter().map(|sample| value(sample)).collect() };
    Some(Row {
        workload: workload.kind,
        operation: last.operation,
        tool: last.tool,
        label: last.label,
        bytes: workload.files.bytes(),
        files: workload.files.count,
        wall_seconds: Spread::of(all(|sample| sample.cost.wall_seconds)),
        cpu_seconds: Spread::of(all(|sample| sample.cost.cpu_seconds)).median,
        peak_memory_bytes: rounds
            .iter()
            .map(|sample| sample.cost.peak_memory_bytes)
            .max()
            .unwrap_or(0),
        stored_bytes: last.stored_bytes,
        is_right: rounds
            .iter()
            .filter_map(|sample| sample.is_right)
            .reduce(|a, b| a && b),
    })
}

impl Spread {
    /// Of at least one value; of an even number of them the median is the mean of the two in the middle.
    fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "no value was measured");
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self {
            median: f64::midpoint(low, high),
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

impl Summary {
    fn find(&self, workload: WorkloadKind, operation: Operation, tool: ToolName) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| (row.workload, row.operation, row.tool) == (workload, operation, tool))
    }

    fn of(&self, workload: WorkloadKind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.workload == workload)
    }

    /// What a row is compared with, and how many times as long the row takes.
    fn ratio(&self, row: &Row) -> Option<(&Row, f64)> {
        let (operation, tool) = row.operation.reference()?;
        let reference = self.find(row.workload, operation, tool)?;
        Some((reference, row.wall_seconds.median / reference.wall_seconds.median))
    }
}

/// Seconds with as many digits as mean something.
fn seconds(value: f64) -> String {
    if value < 0.1 {
        format!("{value:.4}")
    } else if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Cost, source::Files};

    /// Measurements of one workload: operation, tool, label and wall seconds of each round.
    pub(super) fn report_of(
        kind: WorkloadKind,
        measured: &[(Operation, ToolName, &'static str, &[f64])],
    ) -> Report {
        let sample = |(operation, tool, label), round: usize, wall_seconds| Sample {
            workload: kind,
            operation,
            tool,
            label,
            round: u32::try_from(round).expect("few"),
            cost: Cost {
                wall_seconds,
                cpu_seconds: wall_seconds / 2.0,
                peak_memory_bytes: 10_000_000 + 1_000_000 * u64::try_from(round).expect("few"),
            },
            stored_bytes: (operation == Operation::Commit).then_some(4_724_464_025),
            is_right: None,
        };
        Report {
            machine: Machine {
                processor: "Some CPU".to_owned(),
                threads: 2,
                memory_bytes: Some(24 << 30),
                system: "Linux 6".to_owned(),
                file_system: "ext4 on /dev/a (rw)".to_owned(),
                load_before: Some("0.10".to_owned()),
                versions: [(ToolName::Cp, "cp (GNU coreutils) 9.1".to_owned())].into(),
                missing: [(ToolName::Snapraid, "it is not installed".to_owned())].into(),
            },
            workloads: vec![Workload {
                kind,
                files: Files {
                    name: "file",
                    count: 1,
                    len_bytes: 4 << 30,
                    is_tree: false,
                },
                rounds: 3,
            }],
            samples: measured
                .iter()
                .flat_map(|(operation, tool, label, seconds)| {
                    seconds
                        .iter()
                        .enumerate()
                        .map(move |(round, wall)| sample((*operation, *tool, *label), round, *wall))
                })
                .collect(),
        }
    }

    #[test]
    fn medians_stand_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(
            spread(&[3.0]),
            Spread {
                median: 3.0,
                min: 3.0,
                max: 3.0
            }
        );
        assert_eq!(
            spread(&[9.0, 1.0, 2.0]),
            Spread {
                median: 2.0,
                min: 1.0,
                max: 9.0
            }
        );
        assert_eq!(
            spread(&[4.0, 1.0, 2.0, 100.0]),
            Spread {
                median: 3.0,
                min: 1.0,
                max: 100.0
            }
        );
    }

    #[test]
    fn rounds_become_one_row_and_rows_a_ratio() {
        let report = report_of(
            WorkloadKind::Tier3,
            &[
                (Operation::Commit, ToolName::Bfdb, "bfdb commit", &[1.0, 0.8, 5.0]),
                (Operation::Commit, ToolName::Cp, "cp + fsync", &[2.0, 2.5, 2.4]),
                (Operation::Verify, ToolName::Bfdb, "bfdb verify", &[1.0]),
            ],
        );
        let summary = report.summary();
        assert_eq!(summary.rows.len(), 3);
        // Commits come first, and cp comes before bfdb.
        assert_eq!(summary.rows[0].label, "cp + fsync");
        let commit = &summary.rows[1];
        assert_eq!((commit.wall_seconds.median, commit.cpu_seconds), (1.0, 0.5));
        assert_eq!(commit.peak_memory_bytes, 12_000_000);
        let (reference, ratio) = summary.ratio(commit).expect("cp was measured");
        assert_eq!(reference.tool, ToolName::Cp);
        assert!((ratio - 1.0 / 2.4).abs() < 1e-9, "{ratio}");
        assert!(
            summary.ratio(&summary.rows[2]).is_none(),
            "b3sum was not measured"
        );
    }

    #[test]
    fn one_wrong_round_makes_a_row_wrong() {
        let mut report = report_of(
            WorkloadKind::Tier3,
            &[(Operation::Restore, ToolName::Bfdb, "bfdb restore", &[1.0, 1.0])],
        );
        assert_eq!(report.summary().rows[0].is_right, None);
        report.samples[0].is_right = Some(false);
        report.samples[1].is_right = Some(true);
        assert_eq!(report.summary().rows[0].is_right, Some(false));
    }
}
