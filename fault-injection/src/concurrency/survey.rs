//! Operations that look at everything: listings with their sums, scrubs, verifications.

use bfdb::{
    Archive, FileInfo,
    archive::{RepairOptions, RepairReport, ScrubOptions, ScrubSelection},
    catalog::Totals,
    error::ScrubError,
    plan::Budget,
};

use super::{
    answers::wrong,
    content::{len_bytes, number_at},
    hand::{Hand, parsed},
    line::{Asked, Told},
};
use crate::crashes::{setting::explained, view::count, violation::Promise};

/// Bytes that a scrub with a budget reads.
const SCRUBBED_BYTES: u64 = 20_000;

impl Hand<'_> {
    /// Lists everything, one page and so one moment; sums have to agree where nobody has published meanwhile.
    pub(super) fn list(&self) {
        let number = self.recorder.number();
        self.recorder.begin(number, self.epoch(), Asked::List);
        let before = self.epoch();
        let listed = list(self.archive);
        let moment = (super::recorder::now(), self.epoch());
        let told = match listed {
            Ok((entries, counted)) => {
                let totals = self.archive.snapshot().and_then(|snapshot| snapshot.totals());
                let is_still = before.is_some() && before == self.epoch();
                match totals {
                    Err(error) => wrong(Promise::Totals, &explained(&error)),
                    Ok(totals) if is_still && !is_sum(&totals, counted) => {
                        wrong(Promise::Totals, &format!("{totals:?}, counted {counted:?}"))
                    }
                    Ok(_) => Told::Listed(entries),
                }
            }
            Err(told) => told,
        };
        self.recorder.end(number, moment, told);
    }

    /// Verifies one file.
    pub(super) fn verify(&self, name: &str) {
        let asked = Asked::See {
            name: name.to_owned(),
        };
        self.tell(asked, || {
            let snapshot = match self.archive.snapshot() {
                Ok(snapshot) => snapshot,
                Err(error) => return wrong(Promise::Whole, &explained(&error)),
            };
            match snapshot.verify(Some(&parsed(name)), &()) {
                Ok(report) if report.damage.is_empty() => Told::Done,
                Ok(report) => wrong(Promise::Whole, &format!("{:?}", report.damage)),
                Err(ScrubError::NotFound { .. }) => Told::Missing,
                Err(error) => wrong(Promise::Whole, &explained(&error)),
            }
        });
    }

    /// Verifies everything by names.
    pub(super) fn verify_all(&self) {
        self.tell(Asked::Other("verify".to_owned()), || {
            let snapshot = match self.archive.snapshot() {
                Ok(snapshot) => snapshot,
                Err(error) => return wrong(Promise::Whole, &explained(&error)),
            };
            match snapshot.verify(None, &()) {
                Ok(report) if report.damage.is_empty() => Told::Done,
                Ok(report) => wrong(Promise::Whole, &format!("{:?}", report.damage)),
                Err(error) => wrong(Promise::Whole, &explained(&error)),
            }
        });
    }

    /// Verifies everything in the order of the disk, and the journal.
    pub(super) fn scrub(&self) {
        self.tell(Asked::Other("scrub".to_owned()), || {
            match self.archive.scrub(&()) {
                Ok(report) if report.damage.is_empty() && report.journal.is_empty() => Told::Done,
                Ok(report) => wrong(Promise::Whole, &format!("{report:?}")),
                Err(error) => wrong(Promise::Whole, &explained(&error)),
            }
        });
    }

    /// Verifies some of what was never verified.
    pub(super) fn scrub_new(&self) {
        self.tell(Asked::Other("scrub-new".to_owned()), || {
            let options = ScrubOptions {
                selection: ScrubSelection::New,
                budget: Budget {
                    bytes: Some(SCRUBBED_BYTES),
                    time: None,
                },
                ..ScrubOptions::default()
            };
            match self.archive.scrub_with(&options, &()) {
                Ok(report) if report.damage.is_empty() => Told::Done,
                Ok(report) => wrong(Promise::Whole, &format!("{report:?}")),
                Err(error) => wrong(Promise::Whole, &explained(&error)),
            }
        });
    }

    /// Repairs what is damaged: nothing.
    pub(super) fn repair(&self) {
        self.tell(Asked::Other("repair".to_owned()), || {
            match self.archive.repair(&RepairOptions::default(), &()) {
                Ok(report) if report == RepairReport::default() => Told::Done,
                Ok(report) => wrong(Promise::Whole, &format!("{report:?}")),
                Err(error) => wrong(Promise::Whole, &explained(&error)),
            }
        });
    }
}

/// Lists names and which content each has.
fn list(archive: &Archive) -> Result<(Vec<(String, u64)>, Totals), Told> {
    let refused = |error: &dyn std::error::Error| wrong(Promise::Content, &explained(error));
    let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
    let mut entries = Vec::new();
    let mut counted = Totals::default();
    for info in snapshot.files(None) {
        let info = info.map_err(|error| refused(&error))?;
        count(&mut counted, &info);
        entries.push(entry(&info).ok_or_else(|| wrong(Promise::Content, &format!("{info:?}")))?);
    }
    Ok((entries, counted))
}

fn entry(info: &FileInfo) -> Option<(String, u64)> {
    let content = number_at(info.modified_at)?;
    (info.len_bytes == len_bytes(content)).then(|| (info.name.to_string(), content))
}

/// Compares sums; blocks are counted by a scrub.
fn is_sum(totals: &Totals, counted: Totals) -> bool {
    let counted = Totals {
        blocks: totals.blocks,
        ..counted
    };
    *totals == counted
}
