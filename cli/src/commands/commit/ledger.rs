//! What became of each source of a commit, and of all of them together.

use bfdb::{geometry::Tier, merkle::RootHash};
use serde::Serialize;

use super::Source;
use crate::{context::Context, exit, failure::Failure, output::Loudness, progress::Stopwatch, text};

/// Prints each result as it comes and counts.
pub(super) struct Ledger<'a> {
    context: &'a Context<'a>,
    mood: Mood,
    stopwatch: Stopwatch,
    files: u64,
    unchanged: u64,
    failed: u64,
    bytes: u64,
    stored_bytes: u64,
    /// The worst that any file failed with.
    code: u8,
}

/// Whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Real,
    DryRun,
}

/// What is stored of a source, or would be.
pub(super) struct Stored {
    pub(super) is_new: bool,
    pub(super) len_bytes: u64,
    pub(super) tier: Tier,
    /// `None` where a dry run has not read the source.
    pub(super) root: Option<RootHash>,
    /// What it takes on the volumes.
    pub(super) taken_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    name: Option<String>,
    source: String,
    length: Option<u64>,
    tier: Option<u8>,
    root: Option<String>,
    stored_bytes: Option<u64>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    unchanged: u64,
    failed: u64,
    bytes: u64,
    stored_bytes: u64,
    seconds: f64,
    dry_run: bool,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            mood: Mood::Real,
            stopwatch: Stopwatch::start(),
            files: 0,
            unchanged: 0,
            failed: 0,
            bytes: 0,
            stored_bytes: 0,
            code: exit::SUCCESS,
        }
    }

    pub(super) fn of_dry_run(context: &'a Context<'a>) -> Self {
        Self {
            mood: Mood::DryRun,
            ..Self::new(context)
        }
    }

    pub(super) fn stored(&mut self, source: &Source, stored: &Stored) {
        self.files += 1;
        self.unchanged += u64::from(!stored.is_new);
        self.bytes += stored.len_bytes;
        self.stored_bytes += stored.taken_bytes;
        let output = self.context.output;
        output.json(&FileLine {
            length: Some(stored.len_bytes),
            tier: Some(stored.tier.number()),
            root: stored.root.map(|root| root.to_string()),
            stored_bytes: Some(stored.taken_bytes),
            result: if stored.is_new { "committed" } else { "unchanged" },
            ..self.line_of(source)
        });
        let verb = match (self.mood, stored.is_new) {
            (Mood::Real, true) => "committed",
            (Mood::DryRun, true) => "would commit",
            (_, false) => "unchanged",
        };
        let mut parts = vec![format!(
            "{verb}  tier {}  {:>10}  {}",
            stored.tier,
            text::size(stored.len_bytes),
            source.name.as_ref().map_or_else(String::new, ToString::to_string)
        )];
        if let (Loudness::Verbose, Some(root)) = (output.loudness(), stored.root) {
            parts.push(format!("{root}  {} stored", text::size(stored.taken_bytes)));
        }
        output.summary(&parts.join("  "));
        output.flush();
    }

    pub(super) fn failed(&mut self, source: &Source, failure: &Failure) {
        self.failed += 1;
        // That a file failed is said by the counts below; what every file would fail with is said here.
        if failure.code != exit::FAILED {
            self.code = exit::worst(self.code, failure.code);
        }
        self.context.output.json(&FileLine {
            result: "failed",
            error: Some(failure.in_one_line()),
            ..self.line_of(source)
        });
        self.context.output.failure(failure);
    }

    /// Prints the sums and returns the exit code.
    pub(super) fn finish(self) -> u8 {
        let output = self.context.output;
        output.json(&Summary {
            files: self.files,
            unchanged: self.unchanged,
            failed: self.failed,
            bytes: self.bytes,
            stored_bytes: self.stored_bytes,
            seconds: self.stopwatch.seconds(),
            dry_run: self.mood == Mood::DryRun,
        });
        let (files, bytes) = (text::count(self.files, "file"), text::size(self.bytes));
        let taken = text::size(self.stored_bytes);
        let mut parts = vec![match self.mood {
            Mood::DryRun => format!("would store {files}, {bytes} as {taken}"),
            Mood::Real => format!(
                "{files}, {bytes} stored as {taken} in {}",
                text::duration(self.stopwatch.elapsed())
            ),
        }];
        for (count, word) in [(self.unchanged, "unchanged"), (self.failed, "failed")] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        output.summary(&parts.join(", "));
        let code = match (self.failed, self.files) {
            (0, _) => exit::SUCCESS,
            (_, 0) => exit::FAILED,
            _ => exit::PARTLY_DONE,
        };
        exit::worst(self.code, code)
    }

    fn line_of(&self, source: &Source) -> FileLine {
        FileLine {
            name: source.name.as_ref().map(ToString::to_string),
            source: text::path(&source.path),
            length: None,
            tier: None,
            root: None,
            stored_bytes: None,
            result: "",
            error: None,
            dry_run: self.mood == Mood::DryRun,
        }
    }
}
