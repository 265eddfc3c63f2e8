//! Resuming commits and giving them back, one after another.

use std::collections::BTreeSet;

use bfdb::{
    archive::{Archive, CommitOutcome, CommitReceipt, Event, Observer, UnfinishedCommit},
    error::CommitError,
    geometry::Tier,
    units::FileName,
};
use serde::Serialize;

use super::{Action, Arguments, Summary, choice::Chosen, progress, unfinished};
use crate::{
    commands::{commit::risks, tolerance::ToleranceFields},
    context::Context,
    exit,
    failure::{Failure, Meaning, commit_error},
    progress::{Progress, Stopwatch},
    text,
};

/// What is done with one commit after another, and what it came to.
pub(super) struct Work<'a> {
    archive: &'a Archive,
    context: &'a Context<'a>,
    stopwatch: Stopwatch,
    summary: Summary,
    /// Tiers of the files that were stored.
    tiers: BTreeSet<Tier>,
    /// Whether any has failed with nothing more to say about it.
    has_failed: bool,
    /// The worst that any other has failed with.
    code: u8,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    commit_id: Option<u64>,
    name: String,
    source: Option<String>,
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

/// A commit while it goes on: hands events on.
struct Resuming<'a> {
    context: &'a Context<'a>,
    progress: Progress<'a>,
}

impl Observer for Resuming<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::GoingOn {
            name,
            done_bytes,
            len_bytes,
        } = event
        {
            self.progress.skip(done_bytes);
            self.context.output.going_on(name, done_bytes, len_bytes);
        }
        self.progress.event(event);
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(archive: &'a Archive, arguments: &Arguments, context: &'a Context<'a>) -> Self {
        Self {
            archive,
            context,
            stopwatch: Stopwatch::start(),
            summary: Summary {
                dry_run: arguments.dry_run,
                ..Summary::default()
            },
            tiers: BTreeSet::new(),
            has_failed: false,
            code: exit::SUCCESS,
        }
    }

    /// Goes on with each; what fails for one does not stop the rest.
    pub(super) fn resume(&mut self, chosen: &[Chosen]) -> Result<(), Failure> {
        let bytes = |of: fn(&UnfinishedCommit) -> u64| {
            let commits = chosen.iter().map(|chosen| match chosen {
                Chosen::Commit(commit) => of(commit),
                Chosen::Unknown(_) => 0,
            });
            commits.sum()
        };
        let resuming = Resuming {
            context: self.context,
            progress: self.context.progress("stored", Some(bytes(len_bytes))),
        };
        resuming.progress.skip(bytes(done_bytes));
        for chosen in chosen {
            let Some(commit) = self.known(chosen) else {
                continue;
            };
            if self.context.interrupt.is_set() {
                return Err(self.interrupted());
            }
            if self.summary.dry_run {
                self.summary.resumed += 1;
                self.tell(commit, ("would resume", "committed"));
                continue;
            }
            // It says itself from where it goes on.
            resuming.progress.unskip(done_bytes(commit));
            match self.archive.resume(commit.commit, &resuming) {
                Ok(outcome) => self.resumed(commit, &outcome),
                Err(CommitError::Interrupted { name, done_bytes, .. }) => {
                    return Err(self.interrupted_within(&name, done_bytes));
                }
                Err(CommitError::Cancelled) => return Err(self.interrupted()),
                Err(error) => {
                    let failure = self.why_not_resumed(commit, &error)?;
                    self.fail(Some(commit), &commit.name, &failure);
                }
            }
            resuming.progress.add_entry();
        }
        Ok(())
    }

    /// Gives back what each has taken.
    pub(super) fn roll_back(&mut self, chosen: &[Chosen]) -> Result<(), Failure> {
        for chosen in chosen {
            let Some(commit) = self.known(chosen) else {
                continue;
            };
            if self.context.interrupt.is_set() {
                return Err(self.interrupted());
            }
            if self.summary.dry_run {
                self.summary.rolled_back += 1;
                self.tell(commit, ("would roll back", "rolled_back"));
                continue;
            }
            match self.archive.roll_back(commit.commit) {
                Ok(()) => {
                    self.summary.rolled_back += 1;
                    self.tell(commit, ("rolled back", "rolled_back"));
                }
                Err(error) => {
                    let meaning = commit_error(&error);
                    let mut failure = Failure::of(&error, meaning);
                    if !matches!(meaning, Meaning::Locked | Meaning::NoSuchCommit) {
                        let (number, name) = (commit.commit, &commit.name);
                        failure = failure.under(format!("commit {number} of {name} was not rolled back"));
                    }
                    let failure = self.context.explain(failure, meaning);
                    self.fail(Some(commit), &commit.name, &failure);
                }
            }
        }
        Ok(())
    }

    /// Prints the sums and returns the exit code.
    pub(super) fn finish(mut self, action: Action) -> Result<u8, Failure> {
        let left = unfinished(self.archive, self.context)?;
        for commit in &left {
            *(if commit.is_running {
                &mut self.summary.running
            } else {
                &mut self.summary.waiting
            }) += 1;
        }
        if self.summary.waiting > 0 && action == Action::List {
            self.summary.suggest = vec![
                self.context.command("recover --resume", &[]),
                match &left.iter().find(|commit| !commit.is_running) {
                    Some(commit) => self.context.command("recover --rollback", &[&commit.name]),
                    None => self.context.command("recover --rollback --all", &[]),
                },
            ];
        }
        self.summary.seconds = self.stopwatch.seconds();
        self.context.output.json(&self.summary);
        for line in self.lines(action) {
            self.context.output.summary(&line);
        }
        let done = self.summary.resumed + self.summary.rolled_back;
        if !self.tiers.is_empty() {
            let risks = risks::warn(self.archive, (&self.tiers, &[]), self.context)?;
            self.code = exit::worst(self.code, risks);
        }
        let code = match (self.has_failed, done) {
            (false, _) => exit::SUCCESS,
            (true, 0) => exit::FAILED,
            (true, _) => exit::PARTLY_DONE,
        };
        Ok(exit::worst(self.code, code))
    }

    fn lines(&self, action: Action) -> Vec<String> {
        let Summary {
            waiting,
            running,
            resumed,
            rolled_back,
            failed,
            ..
        } = self.summary;
        if resumed + rolled_back + failed > 0 {
            let elapsed = text::duration(self.stopwatch.elapsed());
            let mut parts = match (action, self.summary.dry_run) {
                (Action::RollBack, true) => vec![format!("would roll back {}", commits(rolled_back))],
                (Action::RollBack, false) => vec![format!("{} rolled back", commits(rolled_back))],
                (_, true) => vec![format!("would resume {}", commits(resumed))],
                (_, false) => {
                    let bytes = text::size(self.summary.bytes);
                    vec![format!("{} resumed, {bytes} in {elapsed}", commits(resumed))]
                }
            };
            if failed > 0 {
                parts.push(format!("{failed} failed"));
            }
            return vec![parts.join(", ")];
        }
        let is_anything_left = waiting > 0 || (running > 0 && action == Action::List);
        if is_anything_left {
            let next = self.summary.suggest.iter();
            return next.map(|command| format!("next: {command}")).collect();
        }
        vec![if self.context.has_settled() {
            "nothing else to recover".to_owned()
        } else {
            "nothing to recover".to_owned()
        }]
    }

    /// Returns the commit, or tells that there is none.
    fn known<'u>(&mut self, chosen: &Chosen<'u>) -> Option<&'u UnfinishedCommit> {
        match chosen {
            Chosen::Commit(commit) if commit.is_running => {
                let error = CommitError::InProgress {
                    commit: commit.commit,
                    name: commit.name.clone(),
                };
                let failure = Failure::of(&error, commit_error(&error));
                self.fail(Some(commit), &commit.name, &failure);
                None
            }
            Chosen::Commit(commit) => Some(commit),
            Chosen::Unknown(name) => {
                let message = format!("no unfinished commit has the name or number {name}");
                let failure = Failure::new(exit::NO_SUCH_NAME, message);
                let failure = self.context.explain(failure, Meaning::NoSuchCommit);
                self.fail(None, name, &failure);
                None
            }
        }
    }

    fn resumed(&mut self, commit: &UnfinishedCommit, outcome: &CommitOutcome) {
        let receipt: &CommitReceipt = outcome.receipt();
        self.summary.resumed += 1;
        self.summary.bytes += receipt.len_bytes;
        let (verb, result) = match outcome {
            CommitOutcome::Committed(_) => ("committed", "committed"),
            CommitOutcome::Replaced(_) => ("replaced", "committed"),
            CommitOutcome::Unchanged(_) => ("unchanged", "unchanged"),
        };
        self.tiers.extend(receipt.tolerance.map(|_| receipt.tier));
        let output = self.context.output;
        output.json(&FileLine {
            tolerance: receipt.tolerance.map(ToleranceFields::from),
            tier: Some(receipt.tier.number()),
            root: Some(receipt.root.to_string()),
            stored_bytes: Some(receipt.stored_bytes),
            replaced: matches!(outcome, CommitOutcome::Replaced(_)),
            ..self.line_of(Some(commit), &commit.name, result)
        });
        let (tier, size) = (receipt.tier, text::size(receipt.len_bytes));
        output.summary(&format!("{verb}  tier {tier}  {size:>10}  {}", receipt.name));
        output.flush();
    }

    /// Prints what was done with a commit, or would be.
    fn tell(&self, commit: &UnfinishedCommit, (verb, result): (&str, &'static str)) {
        let output = self.context.output;
        output.json(&self.line_of(Some(commit), &commit.name, result));
        output.summary(&in_words(verb, commit));
        output.flush();
    }

    /// Says why a commit did not go on, and what has become of it.
    fn why_not_resumed(&self, commit: &UnfinishedCommit, error: &CommitError) -> Result<Failure, Failure> {
        let meaning = commit_error(error);
        let failure = if let CommitError::Source { source } = error {
            // The host's error names the source itself.
            Failure::of(source, meaning)
        } else {
            Failure::of(error, meaning)
        };
        if matches!(
            meaning,
            Meaning::Locked | Meaning::NoSuchCommit | Meaning::Unsettled
        ) {
            return Ok(self.context.explain(failure, meaning));
        }
        let (number, name) = (commit.commit, &commit.name);
        let left = unfinished(self.archive, self.context)?;
        if left.iter().any(|left| left.commit == number) {
            let headline = format!("{name} was not stored; commit {number} still waits");
            let rollback = self.context.command("recover --rollback", &[name]);
            return Ok(self
                .context
                .explain(failure.under(headline), meaning)
                .suggest(rollback));
        }
        let headline = format!("{name} was not stored, and what commit {number} had taken was given back");
        Ok(self.context.explain(failure.under(headline), meaning))
    }

    fn fail(&mut self, commit: Option<&UnfinishedCommit>, name: &FileName, failure: &Failure) {
        self.summary.failed += 1;
        if failure.code == exit::FAILED {
            self.has_failed = true;
        } else {
            self.code = exit::worst(self.code, failure.code);
        }
        self.context.output.json(&FileLine {
            error: Some(failure.in_one_line()),
            ..self.line_of(commit, name, "failed")
        });
        self.context.output.failure(failure);
    }

    fn interrupted(&self) -> Failure {
        let Summary {
            resumed, rolled_back, ..
        } = self.summary;
        let done = match (resumed, rolled_back) {
            (0, 0) => "nothing was changed".to_owned(),
            (0, rolled_back) => format!("{} rolled back", commits(rolled_back)),
            (resumed, _) => format!("{} resumed", commits(resumed)),
        };
        self.context.interrupted(&done)
    }

    fn interrupted_within(&self, name: &FileName, done_bytes: u64) -> Failure {
        let mut failure = self.context.interrupted_within(name, done_bytes);
        if self.summary.resumed > 0 {
            let resumed = commits(self.summary.resumed);
            failure.message = format!("{}; before it {resumed} resumed", failure.message);
        }
        failure
    }

    fn line_of(&self, commit: Option<&UnfinishedCommit>, name: &FileName, result: &'static str) -> FileLine {
        let file = commit.and_then(|commit| commit.resumable.as_ref());
        FileLine {
            commit_id: commit.map(|commit| commit.commit.get()),
            name: name.to_string(),
            source: file.map(|file| text::path(&file.path)),
            length: file.map(|file| file.len_bytes),
            result,
            dry_run: self.summary.dry_run,
            ..FileLine::default()
        }
    }
}

fn len_bytes(commit: &UnfinishedCommit) -> u64 {
    commit.resumable.as_ref().map_or(0, |file| file.len_bytes)
}

fn done_bytes(commit: &UnfinishedCommit) -> u64 {
    commit.resumable.as_ref().map_or(0, |file| file.done_bytes)
}

fn commits(number: u64) -> String {
    text::count(number, "commit")
}

/// `rolled back  8.0 MiB of 12.0 MiB (66 %)  movie.mkv`
fn in_words(verb: &str, commit: &UnfinishedCommit) -> String {
    let done = match &commit.resumable {
        Some(file) => progress(file.done_bytes, file.len_bytes),
        None => "-".to_owned(),
    };
    format!("{verb}  {done}  {}", commit.name)
}
