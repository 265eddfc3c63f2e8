//! `recover`: settles what was interrupted, and goes on with commits or gives back what they have taken.
//!
//! Opening for writing settles what needs no decision: the catalog is brought forward, and commits that cannot go on are
//! rolled back. [`choice`] finds the others that are meant, [`work`] resumes them or gives them back.

mod choice;
mod work;

use bfdb::{
    archive::{Archive, UnfinishedCommit},
    catalog::Access,
    units::FileName,
};
use serde::Serialize;

use self::work::Work;
use crate::{
    arguments::{Advanced, values},
    context::Context,
    exit,
    failure::{Failure, commit_error},
    text,
};

/// Settle what was interrupted
///
/// Brings the catalog up to the journal, rolls back what cannot go on, and lists the commits that can: long files whose
/// commit was interrupted by a signal, a crash or a loss of power. --resume goes on with them from where they were, after
/// verifying that; --rollback gives back what they have taken. To commit such a file again under its name resumes it too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb recover                       list interrupted commits\n  \
    bfdb recover --resume              go on with all of them\n  \
    bfdb recover --resume movie.mkv    with one, by its name or its number\n  \
    bfdb recover --rollback 12         give back what commit 12 has taken\n  \
    bfdb recover --rollback --all\n\n\
    Exit codes: 0 done or nothing to do, 3 partly done, 1 failed, 11 another process works on it, 15 no such commit,\n\
    6 done, and a volume is away that files should lie on.")]
#[expect(clippy::struct_excessive_bools, reason = "a switch of the command line each")]
pub(crate) struct Arguments {
    /// Names or numbers of interrupted commits; a number that is also a name is that name
    #[arg(value_name = "NAME|NUMBER", value_parser = values::name_parser())]
    names: Vec<FileName>,
    /// Go on with the commits that are given, or with all that wait
    #[arg(long, conflicts_with = "rollback")]
    resume: bool,
    /// Give back what the commits that are given have taken, or the only one that waits
    #[arg(long)]
    rollback: bool,
    /// Give back what all that wait have taken
    #[arg(long, requires = "rollback", conflicts_with = "names")]
    all: bool,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    advanced: Advanced,
}

/// What to do with commits that were interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    List,
    Resume,
    RollBack,
}

impl Arguments {
    pub(crate) const fn progress_bytes(&self) -> Option<u64> {
        self.advanced.progress_bytes
    }

    fn action(&self) -> Result<Action, Failure> {
        match (self.resume, self.rollback, self.names.first()) {
            (true, _, _) => Ok(Action::Resume),
            (false, true, _) => Ok(Action::RollBack),
            (false, false, None) => Ok(Action::List),
            (false, false, Some(name)) => Err(Failure::usage(format!(
                "what is to be done with {name} has to be said: --resume or --rollback"
            ))),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "interrupted")]
struct Line {
    commit_id: u64,
    name: String,
    /// Other names that the same commit stores.
    others: u64,
    source: Option<String>,
    progress_bytes: Option<u64>,
    total_bytes: Option<u64>,
    resumable: bool,
    state: &'static str,
    begun_at: Option<String>,
    /// The same for people, to the second.
    #[serde(skip)]
    since: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// Commits that wait in the end.
    waiting: u64,
    /// Commits that a process works on in the end.
    running: u64,
    resumed: u64,
    rolled_back: u64,
    failed: u64,
    /// Bytes of the files that were stored.
    bytes: u64,
    seconds: f64,
    dry_run: bool,
    suggest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let action = arguments.action()?;
    let access = if arguments.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    context.with_archive(access, |archive| {
        if !arguments.dry_run {
            mend_journal(archive, context)?;
        }
        let unfinished = unfinished(archive, context)?;
        let mut work = Work::new(archive, arguments, context);
        match action {
            Action::List => list(&unfinished, context),
            Action::Resume => work.resume(&choice::to_resume(&arguments.names, &unfinished))?,
            Action::RollBack => {
                let chosen = choice::to_roll_back(arguments, &unfinished);
                work.roll_back(&chosen.map_err(|failure| suggest_names(failure, context))?)?;
            }
        }
        Ok(exit::worst(work.finish(action)?, context.catalog_code()))
    })
}

/// Mends what opening has not looked at, and says so.
fn mend_journal(archive: &Archive, context: &Context) -> Result<(), Failure> {
    let mended = archive.mend_journal();
    let mended = mended.map_err(|error| context.failure(&error, commit_error(&error)))?;
    if mended > 0 {
        let faults = text::count(mended, "fault");
        context.output.note(&format!(
            "{faults} of copies of the journal mended from the others"
        ));
    }
    Ok(())
}

fn suggest_names(failure: Failure, context: &Context) -> Failure {
    failure
        .suggest(context.command("recover", &[]))
        .suggest(context.command("recover --rollback --all", &[]))
}

fn unfinished(archive: &Archive, context: &Context) -> Result<Vec<UnfinishedCommit>, Failure> {
    let unfinished = archive.unfinished();
    unfinished.map_err(|error| context.failure(&error, commit_error(&error)))
}

fn list(unfinished: &[UnfinishedCommit], context: &Context) {
    for commit in unfinished {
        let line = Line::of(commit);
        context.output.json(&line);
        context.output.line(&line.for_people());
    }
}

impl Line {
    fn of(commit: &UnfinishedCommit) -> Self {
        let file = commit.resumable.as_ref();
        Self {
            commit_id: commit.commit.get(),
            name: commit.name.to_string(),
            others: commit.others,
            source: file.map(|file| text::path(&file.path)),
            progress_bytes: file.map(|file| file.done_bytes),
            total_bytes: file.map(|file| file.len_bytes),
            resumable: file.is_some(),
            state: if commit.is_running { "running" } else { "waiting" },
            begun_at: text::rfc3339(commit.begun_at),
            since: text::time(commit.begun_at),
        }
    }

    /// `commit 12  waiting  37.0 GiB of 100.0 GiB (37 %)  since 2024-06-01T12:00:00Z  movie.mkv, from /home/me/movie.mkv`
    fn for_people(&self) -> String {
        let done = match (self.progress_bytes, self.total_bytes) {
            (Some(done), Some(total)) => progress(done, total),
            _ => "cannot go on once it is interrupted".to_owned(),
        };
        let others = match self.others {
            0 => String::new(),
            others => format!(" and {}", text::count(others, "other")),
        };
        let source = self.source.as_ref();
        let from = source.map_or_else(String::new, |source| format!(", from {source}"));
        format!(
            "commit {}  {}  {done}  since {}  {}{others}{from}",
            self.commit_id, self.state, self.since, self.name
        )
    }
}

/// `8.0 MiB of 12.0 MiB (66 %)`
fn progress(done: u64, total: u64) -> String {
    let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
    format!("{} of {} ({percent} %)", text::size(done), text::size(total))
}
