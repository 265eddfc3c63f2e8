//! What became of each entry of a restore, and of all of them together.

use std::collections::BTreeSet;

use bfdb::{
    archive::{FileInfo, RestoreReceipt, Snapshot},
    catalog::EntryKind,
    error::{HostError, ReadError, RestoreError},
    units::{ByteRange, FileName},
};
use serde::Serialize;

use super::Arguments;
use crate::{
    commands::{
        damage::{DamageLog, read_failure},
        entry::{Counts, kind_name, target},
    },
    context::Context,
    exit,
    failure::{Failure, Meaning, as_pairs, of_absence, restore_error},
    output::{Form, Loudness},
    progress::Stopwatch,
    text,
    volumes::Volumes,
};

/// Prints each result as it comes and counts.
pub(super) struct Ledger<'a> {
    arguments: &'a Arguments,
    context: &'a Context<'a>,
    stopwatch: Stopwatch,
    /// Names that were given: a line for people is printed for these, and under `-v` for all.
    named: BTreeSet<&'a FileName>,
    counts: Counts,
    bytes: u64,
    partial: u64,
    failed: u64,
    /// The worst that anything failed with.
    code: u8,
    /// Files with lost bytes. They are verified in the end, so that all their lost ranges can be named: while others are
    /// still being restored, the workers that it takes are theirs.
    lost: Vec<(FileName, ReadError)>,
    volumes: &'a Volumes,
    /// Whether it was said how to replace what is in the way of everything: once is enough for a tree.
    has_suggested_overwrite: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    name: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    length: u64,
    root: Option<String>,
    path: String,
    result: &'static str,
    #[serde(serialize_with = "as_pairs", skip_serializing_if = "Vec::is_empty")]
    lost: Vec<ByteRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    bytes: u64,
    partial: u64,
    failed: u64,
    seconds: f64,
    dry_run: bool,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(arguments: &'a Arguments, volumes: &'a Volumes, context: &'a Context<'a>) -> Self {
        Self {
            arguments,
            context,
            stopwatch: Stopwatch::start(),
            named: arguments.names.iter().collect(),
            counts: Counts::default(),
            bytes: 0,
            partial: 0,
            failed: 0,
            code: exit::SUCCESS,
            lost: Vec::new(),
            volumes,
            has_suggested_overwrite: false,
        }
    }

    /// A name that is not there.
    pub(super) fn missing(&mut self, failure: &Failure) {
        self.failed += 1;
        self.code = exit::worst(self.code, failure.code);
        self.context.output.failure(failure);
    }

    /// An entry that is there again, or would be; `not_kept` is what its file system would not take.
    pub(super) fn restored(&mut self, entry: &FileInfo, not_kept: &[HostError], log: &DamageLog) {
        self.counts.add(&entry.kind);
        self.bytes += entry.len_bytes;
        self.warn_of_not_kept(&entry.name, not_kept);
        log.warn_about(&entry.name, self.context);
        let line = self.line_of(entry);
        let output = self.context.output;
        let is_named = entry.kind != EntryKind::Directory && self.named.contains(&entry.name);
        if is_named || output.loudness() == Loudness::Verbose {
            let verb = if line.dry_run { "would restore" } else { "restored" };
            let size = match entry.kind {
                EntryKind::File => text::size(entry.len_bytes),
                EntryKind::Directory | EntryKind::SymbolicLink { .. } => kind_name(&entry.kind).to_owned(),
            };
            output.summary(&format!("{verb}  {size:>10}  {}", line.path));
        }
        output.json(&line);
        output.flush();
    }

    /// A file of which bytes are lost and the others are there again.
    pub(super) fn restored_in_part(&mut self, entry: &FileInfo, receipt: RestoreReceipt, log: &DamageLog) {
        self.partial += 1;
        log.forget(&entry.name);
        self.warn_of_not_kept(&entry.name, &receipt.not_kept);
        let path = text::path(&self.arguments.path_of(&receipt.restored_as));
        let failure = self.lost_bytes(entry, &receipt.lost, &format!("the rest is in {path}"));
        self.note_code(&failure);
        self.context.output.json(&FileLine {
            result: "partial",
            path,
            lost: receipt.lost,
            ..self.line_of(entry)
        });
        self.context.output.failure(&failure);
        self.context.output.flush();
    }

    pub(super) fn failed(&mut self, entry: &FileInfo, error: RestoreError, log: &DamageLog) {
        self.failed += 1;
        log.forget(&entry.name);
        let failure = self.failure(&error, entry);
        self.note_code(&failure);
        let lost = if let RestoreError::NothingLeft { len_bytes, .. } = &error {
            whole(*len_bytes)
        } else {
            Vec::new()
        };
        self.context.output.json(&FileLine {
            result: "failed",
            lost,
            error: Some(failure.in_one_line()),
            ..self.line_of(entry)
        });
        if let RestoreError::Read {
            source: source @ ReadError::Lost { .. },
        } = error
        {
            self.lost.push((entry.name.clone(), source));
        } else {
            self.context.output.failure(&failure);
        }
        self.context.output.flush();
    }

    /// Names all that is lost, prints the sums and returns the exit code.
    pub(super) fn finish(mut self, snapshot: &Snapshot) -> u8 {
        for (name, error) in std::mem::take(&mut self.lost) {
            let failure = read_failure(&error, &name, snapshot, self.context);
            self.note_code(&failure);
            let version = self.arguments.asked.words();
            let again = format!("restore{version} --partial -o {}", self.output_word());
            let failure = failure.suggest(self.context.command(&again, &[&name]));
            self.context.output.failure(&failure);
        }
        self.context.output.json(&Summary {
            counts: self.counts,
            bytes: self.bytes,
            partial: self.partial,
            failed: self.failed,
            seconds: self.stopwatch.seconds(),
            dry_run: self.arguments.dry_run,
        });
        let (done, bytes) = (self.counts.in_words(), text::size(self.bytes));
        let mut line = if self.arguments.dry_run {
            format!("would have restored: {done}, {bytes}")
        } else {
            let elapsed = text::duration(self.stopwatch.elapsed());
            format!("{done}, {bytes} restored in {elapsed}")
        };
        if self.partial > 0 {
            line = format!("{line}, {} in part", self.partial);
        }
        if self.failed > 0 {
            line = format!("{line}, {} failed", self.failed);
        }
        self.context.output.summary(&line);
        let code = match (self.failed, self.counts.total()) {
            (0, _) => exit::SUCCESS,
            // Why is said by a code of its own.
            (_, 0) if self.code != exit::SUCCESS => self.code,
            (_, 0) => exit::FAILED,
            _ => exit::PARTLY_DONE,
        };
        exit::worst(self.code, code)
    }

    /// What an interruption leaves, and how to go on.
    pub(super) fn left_in_words(&self) -> String {
        if self.arguments.dry_run {
            return String::new();
        }
        if self.counts.total() + self.partial == 0 {
            return "nothing was restored".to_owned();
        }
        let (done, bytes) = (self.counts.in_words(), text::size(self.bytes));
        let again = if self.arguments.overwrite {
            "the same command again"
        } else {
            "the same command with --overwrite"
        };
        if self.partial > 0 {
            let partial = self.partial;
            return format!(
                "{done}, {bytes} restored, each wholly, and {partial} in part; {again} restores everything but parts \
                 that are there"
            );
        }
        format!("{done}, {bytes} restored, each wholly; {again} restores everything")
    }

    fn failure(&mut self, error: &RestoreError, entry: &FileInfo) -> Failure {
        let meaning = restore_error(error);
        let name = &entry.name;
        match error {
            RestoreError::Read { source } => of_absence(source, name, self.volumes, self.context)
                .unwrap_or_else(|| self.context.failure(source, meaning)),
            RestoreError::NothingLeft { len_bytes, .. } => {
                self.lost_bytes(entry, &whole(*len_bytes), "nothing was restored")
            }
            RestoreError::Host { source } => {
                let failure = Failure::of(source, meaning);
                let is_in_place = matches!(source, HostError::DirectoryInPlace { .. });
                if let HostError::Exists { path } = source {
                    if *path == self.arguments.path_of(name) && !self.arguments.keeps(name) {
                        return self.suggest_overwrite(failure, name);
                    }
                    let again = format!("restore{} --partial -o DIR", self.arguments.asked.words());
                    let elsewhere = self.context.command(&again, &[name]);
                    let never = format!("{name} was not restored: what is named .partial is never replaced");
                    return failure.under(never).suggest(elsewhere);
                }
                if matches!(source, HostError::NotDirectory { .. }) {
                    // It names something above, which is in the way of others too.
                    return failure.under(format!("{name} was not restored"));
                }
                if is_in_place && entry.kind == EntryKind::File {
                    let again = format!("cat{}", self.arguments.asked.words());
                    let elsewhere = self.context.command(&again, &[name]);
                    return failure.suggest(format!("{elsewhere} > FILE"));
                }
                // The host's error names the place.
                failure
            }
            RestoreError::Cancelled | RestoreError::TargetInsideArchive { .. } | _ => {
                Failure::of(error, meaning).under(format!("{name} was not restored"))
            }
        }
    }

    /// A file that has lost bytes, in one line however many there are; `outcome` says what became of the others.
    fn lost_bytes(&self, entry: &FileInfo, lost: &[ByteRange], outcome: &str) -> Failure {
        let bytes: u64 = lost.iter().map(|range| range.len()).sum();
        let (name, len, ranges) = (&entry.name, entry.len_bytes, text::ranges(lost));
        let message = format!("{name}: {bytes} of {len} bytes are lost: {ranges}; {outcome}");
        let mut failure = Failure::new(exit::LOST, message);
        // People have them in the line.
        if self.context.output.form() == Form::Json {
            failure.ranges = lost.to_vec();
        }
        failure
    }

    fn warn_of_not_kept(&self, name: &FileName, not_kept: &[HostError]) {
        for error in not_kept {
            let why = Failure::of(error, Meaning::Failed).in_one_line();
            self.context.warn(format!("{name}: {why}"), Vec::new());
        }
    }

    /// The directory to restore into, for a shell.
    fn output_word(&self) -> String {
        text::shell_word(&text::path(&self.arguments.output)).into_owned()
    }

    /// Says how to replace what is in the way: of a name that was given that alone, otherwise of everything.
    fn suggest_overwrite(&mut self, failure: Failure, name: &FileName) -> Failure {
        let names: Vec<&FileName> = if self.named.contains(name) {
            vec![name]
        } else if std::mem::replace(&mut self.has_suggested_overwrite, true) {
            return failure;
        } else {
            self.arguments.names.iter().collect()
        };
        let partial = if self.arguments.partial { " --partial" } else { "" };
        let version = self.arguments.asked.words();
        let again = format!("restore{version} --overwrite{partial} -o {}", self.output_word());
        failure.suggest(self.context.command(&again, &names))
    }

    /// That something failed is said by the counts; what is worse than that is said here.
    fn note_code(&mut self, failure: &Failure) {
        if failure.code != exit::FAILED {
            self.code = exit::worst(self.code, failure.code);
        }
    }

    fn line_of(&self, entry: &FileInfo) -> FileLine {
        FileLine {
            name: entry.name.to_string(),
            kind: kind_name(&entry.kind),
            target: target(&entry.kind),
            length: entry.len_bytes,
            root: (entry.kind == EntryKind::File).then(|| entry.root.to_string()),
            path: text::path(&self.arguments.path_of(&entry.name)),
            result: "restored",
            lost: Vec::new(),
            error: None,
            dry_run: self.arguments.dry_run,
        }
    }
}

/// All bytes of a file.
fn whole(len_bytes: u64) -> Vec<ByteRange> {
    ByteRange::at(0, len_bytes).into_iter().collect()
}
