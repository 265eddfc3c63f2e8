//! The report for people: the machine, a table for each workload, and the targets.

use std::fmt::{self, Write as _};

use super::{
    Report, Row, Summary, seconds,
    targets::{self, Target},
};
use crate::{machine::Machine, tools::ToolName, workload::Workload};

const NOTES: &str = "\
Sources and repositories are read before each measurement, so they come from memory; but bfdb's verify and scrub let the system forget \
what they are about to read, and read it from the disk, as does what scrubs are compared with. Tools alternate within each round; the median is \
shown, with the fastest and the slowest round. Repositories and archives are empty and made before. Times of cp, par2, SnapRAID's fix and \
of what restic and Borg restore include the sync that these leave to others; the other tools sync by themselves. Processor time is user \
and system time, in steps of 10 ms. Memory is the peak of the process, which for b3sum has the file in it that it maps. Whatever is restored or repaired is compared with the source.

Damage: bfdb loses as many shards of each block as its code survives (3 of 33, or 3 of 4), every leaf of them; of small files every \
eleventh does. par2 and SnapRAID lose an eleventh of the source. restic and Borg find damage, and have nothing to repair it with.
";

pub(crate) fn render(report: &Report) -> String {
    let summary = report.summary();
    let mut text = String::new();
    write_all(&mut text, report, &summary).expect("memory takes any text");
    text
}

fn write_all(text: &mut String, report: &Report, summary: &Summary) -> fmt::Result {
    writeln!(text, "# bfdb beside other tools\n")?;
    write_machine(text, &report.machine)?;
    writeln!(text, "\n{NOTES}")?;
    for workload in &report.workloads {
        write_workload(text, workload, report.machine.memory_bytes, summary)?;
    }
    write_targets(text, report, &targets::all(report, summary))
}

fn write_machine(text: &mut String, machine: &Machine) -> fmt::Result {
    writeln!(text, "* {}, {} threads", machine.processor, machine.threads)?;
    if let Some(bytes) = machine.memory_bytes {
        writeln!(text, "* {:.1} GiB of memory", bytes as f64 / (1_u64 << 30) as f64)?;
    }
    writeln!(text, "* {}", machine.system)?;
    writeln!(text, "* {}", machine.file_system)?;
    if let Some(load) = &machine.load_before {
        writeln!(text, "* load before: {load}")?;
    }
    for (tool, version) in &machine.versions {
        writeln!(text, "* {tool}: {version}")?;
    }
    for (tool, reason) in &machine.missing {
        writeln!(text, "* {tool}: not measured, {reason}")?;
    }
    Ok(())
}

fn write_workload(
    text: &mut String,
    workload: &Workload,
    memory_bytes: Option<u64>,
    summary: &Summary,
) -> fmt::Result {
    writeln!(
        text,
        "## {}: {}, {} round{}\n",
        workload.kind,
        workload.files.describe(),
        workload.rounds,
        if workload.rounds == 1 { "" } else { "s" }
    )?;
    if memory_bytes.is_some_and(|memory| memory / 2 < workload.files.bytes()) {
        writeln!(
            text,
            "Not all that is read and written fits into memory at once, so a part of it comes from the disk.\n"
        )?;
    }
    writeln!(
        text,
        "| operation | command | seconds | fastest - slowest | MB/s of source | CPU s per GB | memory, MiB | room | time is |"
    )?;
    writeln!(text, "|---|---|---:|---:|---:|---:|---:|---:|---|")?;
    for row in summary.of(workload.kind) {
        write_row(text, row, summary)?;
    }
    writeln!(text)
}

fn write_row(text: &mut String, row: &Row, summary: &Summary) -> fmt::Result {
    let wall = row.wall_seconds;
    let gigabytes = row.bytes as f64 / 1e9;
    let does_nothing = row.operation.reference().is_none();
    let (rate, cpu) = if does_nothing {
        ("-".to_owned(), "-".to_owned())
    } else {
        (
            format!("{:.0}", 1000.0 * gigabytes / wall.median),
            format!("{:.2}", row.cpu_seconds / gigabytes),
        )
    };
    let room = row.stored_bytes.map_or("-".to_owned(), |stored| {
        format!("{:.2} x", stored as f64 / row.bytes as f64)
    });
    let mut verdict = summary.ratio(row).map_or("-".to_owned(), |(reference, ratio)| {
        if std::ptr::eq(reference, row) {
            "-".to_owned()
        } else {
            format!("{ratio:.2} x {}", reference.label)
        }
    });
    if row.is_right == Some(false) {
        "WRONG BYTES".clone_into(&mut verdict);
    }
    // What was over before it was looked at is not known.
    let memory = match row.peak_memory_bytes {
        0 => "-".to_owned(),
        bytes => format!("{:.0}", bytes as f64 / (1_u64 << 20) as f64),
    };
    let command = if row.tool == ToolName::Bfdb {
        format!("**{}**", row.label)
    } else {
        row.label.to_owned()
    };
    writeln!(
        text,
        "| {} | {command} | {} | {} - {} | {rate} | {cpu} | {memory} | {room} | {verdict} |",
        row.operation,
        seconds(wall.median),
        seconds(wall.min),
        seconds(wall.max),
    )
}

fn write_targets(text: &mut String, report: &Report, targets: &[Target]) -> fmt::Result {
    if targets.is_empty() {
        return Ok(());
    }
    writeln!(text, "## Targets\n")?;
    if !targets::are_lengths_meant(report) {
        writeln!(
            text,
            "The targets are about files of other lengths: these verdicts say how the program works, not how bfdb is.\n"
        )?;
    }
    writeln!(text, "| target | wanted | measured | reached |")?;
    writeln!(text, "|---|---|---:|---|")?;
    for target in targets {
        let reached = if target.is_reached { "yes" } else { "**no**" };
        writeln!(
            text,
            "| {} | {} | {} | {reached} |",
            target.about, target.wanted, target.measured
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::report_of, *};
    use crate::{bench::Operation, workload::WorkloadKind};

    fn sample_report() -> Report {
        report_of(
            WorkloadKind::Tier3,
            &[
                (Operation::Start, ToolName::Bfdb, "bfdb --version", &[0.002]),
                (Operation::Commit, ToolName::Cp, "cp + fsync", &[2.0, 2.5, 1.5]),
                (Operation::Commit, ToolName::Bfdb, "bfdb commit", &[1.0, 0.8, 5.0]),
                (Operation::Restore, ToolName::Restic, "restic restore", &[30.0]),
            ],
        )
    }

    #[test]
    fn a_row_has_every_number_in_its_column() {
        let text = render(&sample_report());
        for line in [
            "| start | **bfdb --version** | 0.0020 | 0.0020 - 0.0020 | - | - | 10 | - | - |",
            "| commit | cp + fsync | 2.00 | 1.50 - 2.50 | 2147 | 0.23 | 11 | 1.10 x | - |",
            "| commit | **bfdb commit** | 1.00 | 0.80 - 5.00 | 4295 | 0.12 | 11 | 1.10 x | 0.50 x cp + fsync |",
            "| restore | restic restore | 30.0 | 30.0 - 30.0 | 143 | 3.49 | 10 | - | 15.00 x cp + fsync |",
            "| tier 3, commit: time of cp + fsync | at most 0.4 x | 0.500 x | **no** |",
            "* cp: cp (GNU coreutils) 9.1",
            "* SnapRAID: not measured, it is not installed",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no line {line}\nin\n{text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_into_memory_is_said() {
        let mut report = sample_report();
        assert!(!render(&report).contains("Not all"), "4 GiB fit into 24");
        report.machine.memory_bytes = Some(6 << 30);
        assert!(render(&report).contains("Not all"), "4 GiB and a copy fit into 6");
    }

    #[test]
    fn wrong_bytes_are_shown_in_place_of_a_ratio() {
        let mut report = sample_report();
        assert!(!render(&report).contains("WRONG"), "nothing was wrong");
        let last = report.samples.last_mut().expect("measurements");
        last.is_right = Some(false);
        let text = render(&report);
        assert!(
            text.contains("| restic restore | 30.0 | 30.0 - 30.0 | 143 | 3.49 | 10 | - | WRONG BYTES |"),
            "{text}"
        );
    }

    #[test]
    fn tables_have_as_many_cells_in_every_line() {
        let text = render(&sample_report());
        let tables: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        for table in tables.chunk_by(|a, b| a.matches('|').count() == b.matches('|').count()) {
            assert!(table.len() > 2, "a line that fits into no table: {table:?}");
        }
    }
}
