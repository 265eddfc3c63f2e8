//! What became of each source of a commit, and of all of them together.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bfdb::{
    archive::{Archive, CommitOutcome, CommitReceipt, HealthClass, HealthQuery, HealthState},
    catalog::EntryKind,
    geometry::{Tier, Tolerance},
    host::SkipReason,
    merkle::RootHash,
    units::FileName,
};
use serde::Serialize;

use super::{Arguments, risks};
use crate::{
    commands::{
        entry::{Counts, kind_name, target},
        tolerance::ToleranceFields,
    },
    context::Context,
    exit,
    failure::Failure,
    output::Loudness,
    progress::Stopwatch,
    text,
};

/// A ledger that whoever finds sources and whoever stores them write into.
pub(super) struct SharedLedger<'a>(Mutex<Ledger<'a>>);

/// Prints each result as it comes and counts.
pub(super) struct Ledger<'a> {
    context: &'a Context<'a>,
    is_dry_run: bool,
    stopwatch: Stopwatch,
    /// Names of the files and links that were given: a line for people is printed for these, and under `-v` for all.
    given: BTreeSet<FileName>,
    /// Stored files that have lost bytes, as far as they are known.
    lost: BTreeSet<FileName>,
    /// Tiers of the files that were stored now.
    tiers: BTreeSet<Tier>,
    sums: Sums,
    /// The worst that any source failed with.
    code: u8,
}

#[derive(Debug, Default, Serialize)]
struct Sums {
    #[serde(flatten)]
    counts: Counts,
    unchanged: u64,
    replaced: u64,
    failed: u64,
    skipped: u64,
    excluded: u64,
    bytes: u64,
    stored_bytes: u64,
}

/// A source, and the name that it was to get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'s> {
    pub(super) path: &'s Path,
    /// `None` for a path that gives no name.
    pub(super) name: Option<&'s FileName>,
}

/// What is stored of a source, or would be.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) change: Change,
    pub(super) kind: EntryKind,
    pub(super) len_bytes: u64,
    pub(super) tier: Tier,
    /// `None` where a dry run has not read the source.
    pub(super) root: Option<RootHash>,
    /// What it takes on the volumes.
    pub(super) taken_bytes: u64,
    /// What may be lost of it; `None` for what has no bytes, and for what was not stored now.
    pub(super) tolerance: Option<Tolerance>,
}

/// What a source has changed in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    New,
    /// It is in the place of what had its name.
    Replaced,
    Nothing,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    name: Option<String>,
    source: String,
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    length: Option<u64>,
    tier: Option<u8>,
    root: Option<String>,
    stored_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<ToleranceFields>,
    result: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replaced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary<'s> {
    #[serde(flatten)]
    sums: &'s Sums,
    seconds: f64,
    dry_run: bool,
}

/// Lost files that are looked up before a commit.
const MOST_LOST: usize = 10_000;

impl Stored {
    pub(super) fn of(outcome: &CommitOutcome) -> Self {
        let (change, receipt): (_, &CommitReceipt) = match outcome {
            CommitOutcome::Committed(receipt) => (Change::New, receipt),
            CommitOutcome::Replaced(receipt) => (Change::Replaced, receipt),
            CommitOutcome::Unchanged(receipt) => (Change::Nothing, receipt),
        };
        Self {
            change,
            kind: receipt.kind.clone(),
            len_bytes: receipt.len_bytes,
            tier: receipt.tier,
            root: Some(receipt.root),
            taken_bytes: receipt.stored_bytes,
            tolerance: receipt.tolerance,
        }
    }
}

impl<'a> SharedLedger<'a> {
    pub(super) fn new(ledger: Ledger<'a>) -> Self {
        Self(Mutex::new(ledger))
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Ledger<'a>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prints the sums and returns the exit code.
    pub(super) fn finish(&self) -> u8 {
        self.with(Ledger::finish)
    }

    /// Tells what ended everything before its end, and what was done until then; returns the exit code.
    pub(super) fn give_up(&self, failure: &Failure) -> u8 {
        self.with(|ledger| ledger.give_up(failure))
    }

    /// Says that the command was interrupted, and what was done until then.
    pub(super) fn interrupted(&self) -> Failure {
        self.with(|ledger| {
            let done = ledger.done_in_words();
            let done = match (ledger.is_dry_run, ledger.sums.counts.total()) {
                (true, _) => String::new(),
                (false, 0) => "nothing was stored".to_owned(),
                (false, _) => format!("{done}, each wholly; the same command again stores the rest"),
            };
            ledger.context.interrupted(&done)
        })
    }

    /// Says that the command was interrupted within a long file, which can go on, and what else was done until then.
    pub(super) fn interrupted_within(&self, name: &FileName, done_bytes: u64) -> Failure {
        self.with(|ledger| {
            let mut failure = ledger.context.interrupted_within(name, done_bytes);
            if ledger.sums.counts.total() > 0 {
                failure.message = format!("{}; before it {}", failure.message, ledger.done_in_words());
            }
            failure
        })
    }
}

impl<'a> Ledger<'a> {
    pub(super) fn new(arguments: &Arguments, context: &'a Context<'a>) -> Self {
        Self {
            context,
            is_dry_run: arguments.dry_run,
            stopwatch: Stopwatch::start(),
            given: BTreeSet::new(),
            lost: BTreeSet::new(),
            tiers: BTreeSet::new(),
            sums: Sums::default(),
            code: exit::SUCCESS,
        }
    }

    /// Looks up which files have lost bytes: that one of them is unchanged is no good news.
    pub(super) fn look_up_lost(&mut self, archive: &Archive) {
        let query = HealthQuery {
            classes: [HealthClass::State(HealthState::Lost)].into(),
            ..HealthQuery::default()
        };
        // What cannot be looked up does not stop a commit.
        let Ok(snapshot) = archive.snapshot() else { return };
        let lost = snapshot.health(&query).flatten().take(MOST_LOST);
        let lost = lost.map(|health| health.file).filter(|file| !file.is_kept);
        self.lost = lost.map(|file| file.name).collect();
    }

    /// The stored file has the name, the length and the content, and cannot be read.
    fn warn_of_lost(&mut self, name: &FileName) {
        self.code = exit::worst(self.code, exit::LOST);
        let message = format!(
            "{name} is stored and unchanged, and has lost bytes: what is in the archive cannot be read"
        );
        let import = self.context.command("repair --import DIR", &[name]);
        let anew = self.context.command("rm", &[name]);
        self.context.warn(message, vec![import, anew]);
    }

    /// Warns, at the end, of what was stored with fewer volumes than ought to be, and beside its source.
    pub(super) fn warn_of_risks(&mut self, archive: &Archive, sources: &[PathBuf]) {
        if self.tiers.is_empty() {
            return;
        }
        match risks::warn(archive, (&self.tiers, sources), self.context) {
            Ok(code) => self.code = exit::worst(self.code, code),
            Err(failure) => {
                self.note_code(&failure);
                self.context.output.failure(&failure);
            }
        }
    }

    /// Asks for a line for a file or link.
    pub(super) fn expect(&mut self, name: &FileName) {
        self.given.insert(name.clone());
    }

    pub(super) fn stored(&mut self, subject: &Subject, stored: &Stored) {
        self.sums.counts.add(&stored.kind);
        self.sums.unchanged += u64::from(stored.change == Change::Nothing);
        if stored.change == Change::Nothing
            && let Some(name) = subject.name.filter(|name| self.lost.contains(*name))
        {
            self.warn_of_lost(name);
        }
        self.sums.replaced += u64::from(stored.change == Change::Replaced);
        self.tiers.extend(stored.tolerance.map(|_| stored.tier));
        self.sums.bytes += stored.len_bytes;
        self.sums.stored_bytes += stored.taken_bytes;
        let is_file = stored.kind == EntryKind::File;
        let output = self.context.output;
        output.json(&FileLine {
            kind: Some(kind_name(&stored.kind)),
            target: target(&stored.kind),
            length: Some(stored.len_bytes),
            tier: is_file.then(|| stored.tier.number()),
            root: stored.root.filter(|_| is_file).map(|root| root.to_string()),
            stored_bytes: Some(stored.taken_bytes),
            tolerance: stored.tolerance.map(ToleranceFields::from),
            result: match stored.change {
                Change::New | Change::Replaced => "committed",
                Change::Nothing => "unchanged",
            },
            replaced: stored.change == Change::Replaced,
            ..self.line_of(subject)
        });
        let is_given = subject.name.is_some_and(|name| self.given.contains(name));
        if is_given || output.loudness() == Loudness::Verbose {
            output.summary(&self.text_of(subject, stored));
        }
        output.flush();
    }

    fn text_of(&self, subject: &Subject, stored: &Stored) -> String {
        let verb = match (self.is_dry_run, stored.change) {
            (false, Change::New) => "committed",
            (false, Change::Replaced) => "replaced",
            (true, Change::New) => "would commit",
            (true, Change::Replaced) => "would replace",
            (_, Change::Nothing) => "unchanged",
        };
        let name = subject.name.map_or_else(String::new, ToString::to_string);
        let (tier, size) = match &stored.kind {
            EntryKind::File => (format!("tier {}", stored.tier), text::size(stored.len_bytes)),
            EntryKind::Directory => ("dir".to_owned(), "-".to_owned()),
            EntryKind::SymbolicLink { .. } => ("link".to_owned(), "-".to_owned()),
        };
        let mut line = format!("{verb}  {tier:<6}  {size:>10}  {name}");
        if let Some(target) = target(&stored.kind) {
            line = format!("{line} -> {target}");
        }
        match (self.context.output.loudness(), stored.root, &stored.kind) {
            (Loudness::Verbose, Some(root), EntryKind::File) => {
                format!("{line}  {root}  {} stored", text::size(stored.taken_bytes))
            }
            _ => line,
        }
    }

    pub(super) fn failed(&mut self, subject: &Subject, failure: &Failure) {
        self.sums.failed += 1;
        self.note_code(failure);
        self.context.output.json(&FileLine {
            result: "failed",
            error: Some(failure.in_one_line()),
            ..self.line_of(subject)
        });
        self.context.output.failure(failure);
    }

    /// Something in a tree that is nothing to store.
    pub(super) fn skipped(&mut self, path: &Path, why: SkipReason) {
        self.sums.skipped += 1;
        self.context.output.skipped(path, &why.to_string());
    }

    /// Something that a pattern has left out, with everything below it.
    pub(super) fn left_out(&mut self) {
        self.sums.excluded += 1;
    }

    fn finish(&mut self) -> u8 {
        let output = self.context.output;
        output.json(&Summary {
            sums: &self.sums,
            seconds: self.stopwatch.seconds(),
            dry_run: self.is_dry_run,
        });
        let elapsed = text::duration(self.stopwatch.elapsed());
        let mut parts = vec![if self.is_dry_run {
            self.done_in_words()
        } else {
            format!("{} in {elapsed}", self.done_in_words())
        }];
        for (count, word) in [
            (self.sums.unchanged, "unchanged"),
            (self.sums.replaced, "replaced"),
            (self.sums.failed, "failed"),
            (self.sums.skipped, "skipped"),
            (self.sums.excluded, "excluded"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        output.summary(&parts.join(", "));
        self.exit_code()
    }

    fn give_up(&mut self, failure: &Failure) -> u8 {
        self.sums.failed += 1;
        self.note_code(failure);
        self.context.output.failure(failure);
        self.context.output.summary(&self.done_in_words());
        self.exit_code()
    }

    fn exit_code(&self) -> u8 {
        let code = match (self.sums.failed, self.sums.counts.total()) {
            (0, _) => exit::SUCCESS,
            (_, 0) => exit::FAILED,
            _ => exit::PARTLY_DONE,
        };
        exit::worst(self.code, code)
    }

    /// That a source failed is said by the counts; what every source would fail with is said here.
    fn note_code(&mut self, failure: &Failure) {
        if failure.code != exit::FAILED {
            self.code = exit::worst(self.code, failure.code);
        }
    }

    fn done_in_words(&self) -> String {
        let (counts, bytes) = (self.sums.counts.in_words(), text::size(self.sums.bytes));
        let taken = text::size(self.sums.stored_bytes);
        if self.is_dry_run {
            format!("would store {counts}, {bytes} as {taken}")
        } else {
            format!("{counts}, {bytes} stored as {taken}")
        }
    }

    fn line_of(&self, subject: &Subject) -> FileLine {
        FileLine {
            name: subject.name.map(ToString::to_string),
            source: text::path(subject.path),
            kind: None,
            target: None,
            length: None,
            tier: None,
            root: None,
            stored_bytes: None,
            tolerance: None,
            result: "",
            replaced: false,
            error: None,
            dry_run: self.is_dry_run,
        }
    }
}
