//! The project's targets: ratios between what was measured side by side, and bounds of memory.

use serde::Serialize;

use super::{Report, Row, Summary};
use crate::{
    bench::Operation::{
        self, Commit, FourCopies, ReadStored, Repair, Restore, RestoreDamaged, Scrub, ScrubDamaged, Start,
    },
    tools::ToolName::{self, B3sum, Bfdb, Cp, Par2, Restic},
    workload::WorkloadKind::{self, Tier1, Tier2, Tier3, Tier4, Tree},
};

const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;

/// A target that could be measured in this run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) about: String,
    pub(super) wanted: String,
    pub(super) measured: String,
    pub(super) is_reached: bool,
}

/// Which way is better.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

/// All targets for which this run has the numbers.
pub(super) fn all(report: &Report, summary: &Summary) -> Vec<Target> {
    let numbers = Numbers { summary };
    let mut targets = Vec::new();
    targets.extend(numbers.of_commits());
    targets.extend(numbers.of_turbo(report));
    targets.extend(numbers.of_what_is_stored());
    targets.extend(numbers.of_memory());
    targets
}

/// Whether the targets are about files of the lengths that were measured.
pub(super) fn are_lengths_meant(report: &Report) -> bool {
    report.workloads.iter().all(|workload| {
        let files = &workload.files;
        match workload.kind {
            Tier1 => files.len_bytes == 5_000_000,
            Tier2 => files.len_bytes == 500_000_000,
            Tier3 => files.len_bytes == 4 << 30,
            Tier4 => files.len_bytes >= 10_000_000_000,
            Tree => files.count == 100_000,
        }
    })
}

#[derive(Debug)]
struct Numbers<'a> {
    summary: &'a Summary,
}

impl Numbers<'_> {
    fn row(&self, kind: WorkloadKind, operation: Operation, tool: ToolName) -> Option<&Row> {
        self.summary.find(kind, operation, tool)
    }

    fn wall(&self, kind: WorkloadKind, operation: Operation, tool: ToolName) -> Option<f64> {
        Some(self.row(kind, operation, tool)?.wall_seconds.median)
    }

    /// How many times as long the first takes as the second.
    fn times(
        &self,
        kind: WorkloadKind,
        (operation, tool): (Operation, ToolName),
        (of_operation, of_tool): (Operation, ToolName),
    ) -> Option<f64> {
        Some(self.wall(kind, operation, tool)? / self.wall(kind, of_operation, of_tool)?)
    }

    fn rate(&self, kind: WorkloadKind) -> Option<f64> {
        let row = self.row(kind, Commit, Bfdb)?;
        Some(row.bytes as f64 / row.wall_seconds.median)
    }

    fn of_commits(&self) -> impl Iterator<Item = Target> {
        let commit = (Commit, Bfdb);
        let cpu = self
            .row(Tier3, Commit, Bfdb)
            .map(|row| row.cpu_seconds / (row.bytes as f64 / GIB));
        let start = self.wall(Tier1, Start, Bfdb);
        let above_start = self.wall(Tier1, Commit, Bfdb).zip(start);
        let files = self.row(Tree, Commit, Bfdb);
        [
            target(
                "tier 3, commit: time of cp + fsync",
                (Bound::AtMost(0.4), "x"),
                self.times(Tier3, commit, (Commit, Cp)),
            ),
            target(
                "tier 3, commit: processor time for each GiB",
                (Bound::AtMost(0.4), "s"),
                cpu,
            ),
            target(
                "tier 2, commit",
                (Bound::Below(0.8), "s"),
                self.wall(Tier2, Commit, Bfdb),
            ),
            target(
                "tier 2, commit: time of four cp + fsync",
                (Bound::AtMost(0.5), "x"),
                self.times(Tier2, commit, (FourCopies, Cp)),
            ),
            target(
                "tier 1, commit: beyond a process that does nothing",
                (Bound::Below(10.0), "ms"),
                above_start.map(|(wall, start)| 1000.0 * (wall - start)),
            ),
            target(
                "tier 4, commit: rate of tier 3",
                (Bound::AtLeast(0.8), "x"),
                self.rate(Tier4)
                    .zip(self.rate(Tier3))
                    .map(|(four, three)| four / three),
            ),
            target(
                "small files, commit: rate of restic backup",
                (Bound::AtLeast(10.0), "x"),
                self.times(Tree, (Commit, Restic), commit),
            ),
            target(
                "small files, commit",
                (Bound::AtLeast(30_000.0), "files/s"),
                files.map(|row| row.files as f64 / row.wall_seconds.median),
            ),
        ]
        .into_iter()
        .flatten()
    }

    /// The target names par2cmdline-turbo: another par2 is slower, and to be faster than that says less.
    fn of_turbo(&self, report: &Report) -> Option<Target> {
        let is_turbo = report.machine.versions.get(&Par2)?.contains("turbo");
        let times = self.times(Tier3, (Commit, Par2), (Commit, Bfdb));
        target(
            "tier 3, commit: rate of par2cmdline-turbo -r10",
            (Bound::AtLeast(15.0), "x"),
            times.filter(|_| is_turbo),
        )
    }

    fn of_what_is_stored(&self) -> impl Iterator<Item = Target> {
        let commit = (Commit, Bfdb);
        [
            target(
                "tier 3, scrub from the disk: rate of reading the same bytes",
                (Bound::AtLeast(0.9), "x"),
                self.times(Tier3, (ReadStored, Cp), (Scrub, Bfdb)),
            ),
            target(
                "tier 3, scrub from the disk: rate of b3sum on the same bytes in memory",
                (Bound::AtLeast(0.85), "x"),
                self.times(Tier3, (Scrub, B3sum), (Scrub, Bfdb)),
            ),
            target(
                "tier 3, restore: time of cp + fsync",
                (Bound::AtMost(1.2), "x"),
                self.times(Tier3, (Restore, Bfdb), (Commit, Cp)),
            ),
            target(
                "tier 3, restore with 3 of 33 shards lost everywhere: rate of a healthy one",
                (Bound::AtLeast(0.6), "x"),
                self.times(Tier3, (Restore, Bfdb), (RestoreDamaged, Bfdb)),
            ),
            target(
                "tier 3, repair of 3 of 33 shards: rate of commit",
                (Bound::AtLeast(0.7), "x"),
                self.times(Tier3, commit, (Repair, Bfdb)),
            ),
        ]
        .into_iter()
        .flatten()
    }

    fn of_memory(&self) -> impl Iterator<Item = Target> {
        let of_commit = |kind| Some(self.row(kind, Commit, Bfdb)?.peak_memory_bytes as f64);
        let of_readers = self
            .summary
            .rows
            .iter()
            .filter(|row| row.tool == Bfdb)
            .filter(|row| matches!(row.operation, Scrub | ScrubDamaged | Restore | RestoreDamaged))
            .map(|row| row.peak_memory_bytes as f64)
            .reduce(f64::max);
        let mib = |bytes: Option<f64>| bytes.map(|bytes| bytes / MIB);
        [
            // 35 MB and 1 GB are decimal, as the targets have them.
            target(
                "tier 1, commit: memory",
                (Bound::Below(35.0), "MB"),
                of_commit(Tier1).map(|bytes| bytes / 1e6),
            ),
            target(
                "tier 2, commit: memory",
                (Bound::Below(35.0), "MB"),
                of_commit(Tier2).map(|bytes| bytes / 1e6),
            ),
            target(
                "tier 3, commit: memory",
                (Bound::Below(200.0), "MiB"),
                mib(of_commit(Tier3)),
            ),
            target(
                "tier 4, commit: memory",
                (Bound::Below(1000.0), "MB"),
                of_commit(Tier4).map(|bytes| bytes / 1e6),
            ),
            target(
                "scrub and restore of any of these: memory",
                (Bound::Below(128.0), "MiB"),
                mib(of_readers),
            ),
        ]
        .into_iter()
        .flatten()
    }
}

/// A verdict, where there is something to judge.
fn target(about: &str, (bound, unit): (Bound, &str), measured: Option<f64>) -> Option<Target> {
    let measured = measured?;
    let (wanted, is_reached) = match bound {
        Bound::AtMost(most) => (format!("at most {most} {unit}"), measured <= most),
        Bound::Below(end) => (format!("below {end} {unit}"), measured < end),
        Bound::AtLeast(least) => (format!("at least {least} {unit}"), measured >= least),
    };
    let digits = if measured < 100.0 { 3 } else { 0 };
    Some(Target {
        about: about.to_owned(),
        wanted,
        measured: format!("{measured:.digits$} {unit}"),
        is_reached,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::report_of, *};

    fn verdicts(report: &Report) -> Vec<(String, String, bool)> {
        all(report, &report.summary())
            .into_iter()
            .map(|target| (target.about, target.measured, target.is_reached))
            .collect()
    }

    #[test]
    fn ratios_have_the_right_way_up() {
        let report = report_of(
            Tier3,
            &[
                (Commit, Cp, "cp + fsync", &[2.0]),
                (Commit, Bfdb, "bfdb commit", &[1.0]),
                (ReadStored, Cp, "reading", &[0.8]),
                (Scrub, B3sum, "b3sum", &[0.9]),
                (Scrub, Bfdb, "bfdb scrub", &[1.0]),
                (Restore, Bfdb, "bfdb restore", &[3.0]),
                (RestoreDamaged, Bfdb, "bfdb restore", &[4.0]),
                (Repair, Bfdb, "bfdb repair", &[2.0]),
            ],
        );
        let expected = [
            ("tier 3, commit: time of cp + fsync", "0.500 x", false),
            ("tier 3, commit: processor time for each GiB", "0.125 s", true),
            (
                "tier 3, scrub from the disk: rate of reading the same bytes",
                "0.800 x",
                false,
            ),
            (
                "tier 3, scrub from the disk: rate of b3sum on the same bytes in memory",
                "0.900 x",
                true,
            ),
            ("tier 3, restore: time of cp + fsync", "1.500 x", false),
            (
                "tier 3, restore with 3 of 33 shards lost everywhere: rate of a healthy one",
                "0.750 x",
                true,
            ),
            (
                "tier 3, repair of 3 of 33 shards: rate of commit",
                "0.500 x",
                false,
            ),
            ("tier 3, commit: memory", "9.537 MiB", true),
            ("scrub and restore of any of these: memory", "9.537 MiB", true),
        ];
        let expected =
            expected.map(|(about, measured, is_reached)| (about.to_owned(), measured.to_owned(), is_reached));
        assert_eq!(verdicts(&report), expected);
        assert!(
            are_lengths_meant(&report),
            "4 GiB are what tier 3 is measured with"
        );
    }

    #[test]
    fn other_lengths_than_meant_are_noticed() {
        let mut report = report_of(Tier2, &[(Commit, Bfdb, "bfdb commit", &[0.1])]);
        assert!(!are_lengths_meant(&report), "tier 2 with 4 GiB");
        report.workloads[0].files.len_bytes = 500_000_000;
        assert!(are_lengths_meant(&report), "tier 2 with 500 MB");
    }

    #[test]
    fn only_the_fast_par2_is_a_target() {
        let mut report = report_of(
            Tier3,
            &[
                (Commit, Par2, "par2 create -r10", &[20.0]),
                (Commit, Bfdb, "bfdb commit", &[1.0]),
            ],
        );
        let has_target = |report: &Report| verdicts(report).iter().any(|verdict| verdict.0.contains("turbo"));
        report.machine.versions = [(Par2, "par2cmdline version 0.8.1".to_owned())].into();
        assert!(!has_target(&report), "a target of another par2");
        report.machine.versions = [(Par2, "par2cmdline-turbo version 1.2.0".to_owned())].into();
        assert!(has_target(&report), "no target of par2cmdline-turbo");
    }

    #[test]
    fn what_was_not_measured_is_no_target() {
        assert_eq!(
            verdicts(&report_of(Tier3, &[(Commit, Cp, "cp + fsync", &[2.0])])),
            []
        );
    }
}
