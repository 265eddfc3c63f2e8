//! The report as a picture: seconds as bars, one group for each workload and operation, each group on a scale of its own.

use std::fmt::{self, Write as _};

use super::{Report, Row, Summary, seconds};
use crate::{bench::Operation, tools::ToolName, workload::Workload};

const WIDTH: u32 = 960;
const MARGIN: u32 = 20;
const LABEL_WIDTH: u32 = 260;
const BAR_WIDTH: u32 = 500;
const BAR_HEIGHT: u32 = 14;
const LINE_HEIGHT: u32 = 20;
const TITLE_HEIGHT: u32 = 34;
const GROUP_TITLE_HEIGHT: u32 = 30;

/// Bars that stand below one title.
#[derive(Debug)]
struct Group<'a> {
    title: String,
    rows: Vec<&'a Row>,
}

pub(crate) fn render(report: &Report) -> String {
    let summary = report.summary();
    let groups: Vec<Group<'_>> = report
        .workloads
        .iter()
        .flat_map(|workload| groups_of(workload, &summary))
        .collect();
    let mut svg = String::new();
    write_all(&mut svg, report, &groups).expect("memory takes any text");
    svg
}

/// Which operations stand together: those that are read beside each other.
fn heading(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Start => None,
        Operation::Commit | Operation::FourCopies => Some("commit"),
        Operation::Verify => Some("verify"),
        Operation::ReadStored | Operation::Scrub | Operation::ScrubDamaged => Some("scrub"),
        Operation::Restore | Operation::RestoreDamaged => Some("restore"),
        Operation::Repair => Some("repair"),
    }
}

fn groups_of<'a>(workload: &Workload, summary: &'a Summary) -> Vec<Group<'a>> {
    ["commit", "verify", "scrub", "restore", "repair"]
        .into_iter()
        .map(|wanted| Group {
            title: format!("{}, {}: {wanted}", workload.kind, workload.files.describe()),
            rows: summary
                .of(workload.kind)
                .filter(|row| heading(row.operation) == Some(wanted))
                .collect(),
        })
        .filter(|group| !group.rows.is_empty())
        .collect()
}

fn write_all(svg: &mut String, report: &Report, groups: &[Group<'_>]) -> fmt::Result {
    let height = groups.iter().fold(2 * MARGIN + TITLE_HEIGHT, |height, group| {
        let lines = u32::try_from(group.rows.len()).expect("few rows");
        height + GROUP_TITLE_HEIGHT + LINE_HEIGHT * lines
    });
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(
        svg,
        r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##
    )?;
    let mut y = MARGIN;
    let machine = format!(
        "Seconds, shorter is better. {}, {} threads, {}",
        report.machine.processor, report.machine.threads, report.machine.file_system
    );
    write_text(svg, (MARGIN, y + 10), "#24292f", &machine)?;
    y += TITLE_HEIGHT;
    for group in groups {
        writeln!(svg, r#"<g font-weight="bold">"#)?;
        write_text(svg, (MARGIN, y + 14), "#24292f", &group.title)?;
        writeln!(svg, "</g>")?;
        y += GROUP_TITLE_HEIGHT - 8;
        let slowest = group
            .rows
            .iter()
            .map(|row| row.wall_seconds.max)
            .fold(f64::MIN_POSITIVE, f64::max);
        for row in &group.rows {
            write_bar(svg, row, y, f64::from(BAR_WIDTH) / slowest)?;
            y += LINE_HEIGHT;
        }
        y += 8;
    }
    writeln!(svg, "</svg>")
}

/// A bar of the median, with a line from the fastest to the slowest round.
fn write_bar(svg: &mut String, row: &Row, y: u32, pixels_per_second: f64) -> fmt::Result {
    let left = f64::from(MARGIN + LABEL_WIDTH);
    let wall = row.wall_seconds;
    let at = |value: f64| left + value * pixels_per_second;
    let (color, is_wrong) = (color(row.tool), row.is_right == Some(false));
    write_text(svg, (MARGIN + 10, y + 11), "#24292f", &label(row))?;
    let width = (at(wall.median) - left).max(1.0);
    writeln!(
        svg,
        r#"<rect x="{left}" y="{y}" width="{width:.1}" height="{BAR_HEIGHT}" fill="{color}"/>"#
    )?;
    let middle = f64::from(y) + f64::from(BAR_HEIGHT) / 2.0;
    writeln!(
        svg,
        r##"<path d="M{:.1} {middle}H{:.1}" stroke="#24292f" stroke-opacity="0.6"/>"##,
        at(wall.min),
        at(wall.max)
    )?;
    let shown = if is_wrong {
        format!("{} s, WRONG BYTES", seconds(wall.median))
    } else {
        format!("{} s", seconds(wall.median))
    };
    let text_color = if is_wrong { "#cf222e" } else { "#24292f" };
    writeln!(
        svg,
        r#"<text x="{:.1}" y="{}" fill="{text_color}">{}</text>"#,
        at(wall.max.max(wall.median)) + 6.0,
        y + 11,
        escaped(&shown)
    )
}

fn label(row: &Row) -> String {
    match row.operation {
        Operation::ScrubDamaged | Operation::RestoreDamaged => format!("{}, damaged", row.label),
        Operation::Start
        | Operation::Commit
        | Operation::FourCopies
        | Operation::Verify
        | Operation::ReadStored
        | Operation::Scrub
        | Operation::Restore
        | Operation::Repair => row.label.to_owned(),
    }
}

/// bfdb stands out, what it is compared with is grey, and the others lie between.
fn color(tool: ToolName) -> &'static str {
    match tool {
        ToolName::Bfdb => "#0969da",
        ToolName::Cp | ToolName::B3sum => "#8c959f",
        ToolName::Par2 | ToolName::Restic | ToolName::Borg | ToolName::Snapraid => "#d4a72c",
    }
}

fn write_text(svg: &mut String, (x, y): (u32, u32), color: &str, text: &str) -> fmt::Result {
    writeln!(
        svg,
        r#"<text x="{x}" y="{y}" fill="{color}">{}</text>"#,
        escaped(text)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::report_of, *};
    use crate::workload::WorkloadKind;

    fn sample_report() -> Report {
        report_of(
            WorkloadKind::Tier3,
            &[
                (Operation::Start, ToolName::Bfdb, "bfdb --version", &[0.002]),
                (Operation::Commit, ToolName::Cp, "cp + fsync", &[2.0]),
                (Operation::Commit, ToolName::Bfdb, "bfdb commit", &[0.5, 1.0, 4.0]),
                (Operation::RestoreDamaged, ToolName::Bfdb, "bfdb restore", &[3.0]),
            ],
        )
    }

    #[test]
    fn bars_are_as_long_as_their_medians_on_the_scale_of_their_group() {
        let svg = render(&sample_report());
        // The slowest round took 4 s and has the whole width; so 2 s are half of it, and the median of 1 s a quarter.
        assert!(
            svg.contains(r##"width="250.0" height="14" fill="#8c959f""##),
            "{svg}"
        );
        assert!(
            svg.contains(r##"width="125.0" height="14" fill="#0969da""##),
            "{svg}"
        );
        assert!(
            svg.contains(r#"d="M342.5 "#) && svg.contains(r#"H780.0""#),
            "no line of rounds:\n{svg}"
        );
        // Another group, another scale.
        assert!(
            svg.contains(r##"width="500.0" height="14" fill="#0969da""##),
            "{svg}"
        );
        assert!(svg.contains("bfdb restore, damaged"), "{svg}");
        assert!(
            !svg.contains("--version"),
            "a process that does nothing has a bar"
        );
    }

    #[test]
    fn it_is_well_formed_whatever_the_machine_is_called() {
        let mut report = sample_report();
        report.machine.processor = "A<B> & Sons".to_owned();
        let svg = render(&report);
        assert!(svg.contains("A&lt;B&gt; &amp; Sons"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        let height: u32 = svg
            .split("height=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .and_then(|digits| digits.parse().ok())
            .expect("a height");
        let lowest = svg
            .split(" y=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse::<u32>().ok())
            .max();
        assert!(
            lowest.expect("something is drawn") + MARGIN <= height,
            "it is cut off at {height}"
        );
    }

    #[test]
    fn wrong_bytes_are_seen() {
        let mut report = sample_report();
        report.samples.last_mut().expect("measurements").is_right = Some(false);
        assert!(render(&report).contains("WRONG BYTES"));
    }
}
