//! What opening an archive for writing has settled, told in one line.

use bfdb::archive::RecoveryReport;
use serde::Serialize;

use crate::{context::Context, text};

/// A line about what was settled, on standard error.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "recovered")]
pub(crate) struct Recovered {
    pub(crate) message: String,
    /// Changes that the journal had and the catalog had not.
    records: u64,
    rolled_back: u64,
    waiting: u64,
    /// Faults of copies of the journal, which are whole again.
    journal_findings: u64,
    /// A publication that may have been made and is lost.
    lost_epoch: Option<u64>,
    pub(crate) suggest: Vec<String>,
}

impl Recovered {
    /// Returns nothing where there was nothing to settle: that commits wait is told when they begin to.
    pub(crate) fn of(report: &RecoveryReport, context: &Context) -> Option<Self> {
        let message = message(report)?;
        let suggest = if report.commits_waiting > 0 && !context.is_recovering() {
            vec![context.command("recover", &[])]
        } else {
            Vec::new()
        };
        Some(Self {
            message,
            records: report.records_rolled_forward,
            rolled_back: report.commits_rolled_back,
            waiting: report.commits_waiting,
            journal_findings: report.journal_findings,
            lost_epoch: report.lost_epoch.map(bfdb::units::Epoch::get),
            suggest,
        })
    }
}

fn message(report: &RecoveryReport) -> Option<String> {
    let mut parts = Vec::new();
    if report.records_rolled_forward > 0 {
        let changes = text::count(report.records_rolled_forward, "change");
        parts.push(format!("{changes} brought into the catalog from the journal"));
    }
    if report.journal_findings > 0 {
        let faults = text::count(report.journal_findings, "fault");
        parts.push(format!("{faults} of the journal mended"));
    }
    if report.commits_rolled_back > 0 {
        let commits = text::count(report.commits_rolled_back, "interrupted commit");
        parts.push(format!("{commits} rolled back"));
    } else if report.extents_released > 0 {
        parts.push("room of an interrupted commit taken back".to_owned());
    }
    let is_news = !parts.is_empty() || report.dead_sessions > 0;
    if is_news && report.commits_waiting > 0 {
        let commits = text::count(report.commits_waiting, "interrupted commit");
        parts.push(format!("{commits} can go on"));
    }
    if is_news && parts.is_empty() {
        parts.push("a writer that was interrupted had nothing unfinished".to_owned());
    }
    let outcome = match report.lost_epoch {
        None => "nothing that was committed is lost".to_owned(),
        Some(epoch) => {
            format!(
                "what was committed last, in epoch {epoch}, is lost unless another copy of the journal has it"
            )
        }
    };
    is_news.then(|| format!("recovered: {}; {outcome}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_settled_is_told_in_one_line_and_nothing_is_silence() {
        let nothing = RecoveryReport::default();
        assert_eq!(message(&nothing), None);
        let waiting = RecoveryReport {
            commits_waiting: 2,
            ..RecoveryReport::default()
        };
        assert_eq!(message(&waiting), None, "it waited before");
        let idle = RecoveryReport {
            dead_sessions: 1,
            ..RecoveryReport::default()
        };
        assert_eq!(
            message(&idle).as_deref(),
            Some(
                "recovered: a writer that was interrupted had nothing unfinished; nothing that was committed is lost"
            )
        );
        let lost = RecoveryReport {
            journal_findings: 4,
            lost_epoch: Some(bfdb::units::Epoch::new(5)),
            ..RecoveryReport::default()
        };
        assert_eq!(
            message(&lost).as_deref(),
            Some(
                "recovered: 4 faults of the journal mended; what was committed last, in epoch 5, is lost unless another copy of the journal has it"
            )
        );
        let everything = RecoveryReport {
            dead_sessions: 3,
            extents_released: 8,
            commits_rolled_back: 1,
            commits_waiting: 2,
            records_rolled_forward: 5,
            journal_findings: 4,
            ..RecoveryReport::default()
        };
        assert_eq!(
            message(&everything).as_deref(),
            Some(
                "recovered: 5 changes brought into the catalog from the journal, 4 faults of the journal mended, \
                 1 interrupted commit rolled back, 2 interrupted commits can go on; nothing that was committed is lost"
            )
        );
    }
}
