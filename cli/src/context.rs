//! What every command works with: the archive it is for, what it may use, and where it prints.

use std::{
    borrow::Cow,
    error::Error,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bfdb::{
    archive::{Archive, ArchiveOptions, OpenOptions, RecoveryReport, Resources},
    catalog::Access,
    error::{CatalogError, OpenError},
    host::{ArchiveLayout, SessionLife, glance_at_sessions},
    units::FileName,
    volume::IoMode,
};

use crate::{
    arguments::{ARCHIVE_VARIABLE, DEFAULT_ARCHIVE, Global, IoChoice},
    exit,
    failure::{Failure, Meaning, catalog_error, close_error, open_error},
    interrupt::Interrupt,
    output::{Loudness, Output, ProgressForm, Warning},
    progress::Progress,
    text,
};

/// The surroundings of a command.
pub(crate) struct Context<'a> {
    archive: PathBuf,
    resources: Resources,
    /// Set when an archive was opened whose catalog is an old copy.
    is_catalog_old: AtomicBool,
    pub(crate) output: &'a Output,
    pub(crate) interrupt: &'a Interrupt,
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: Global, output: &'a Output, interrupt: &'a Interrupt) -> Self {
        let defaults = Resources::default();
        let resources = Resources {
            threads: global.threads,
            memory_bytes: global.memory.unwrap_or(defaults.memory_bytes),
            io: match global.io {
                IoChoice::Auto => IoMode::Auto,
                IoChoice::Buffered => IoMode::Buffered,
            },
            ..defaults
        };
        Self {
            archive: global.archive,
            resources,
            is_catalog_old: AtomicBool::new(false),
            output,
            interrupt,
        }
    }

    /// Returns the directory of the archive.
    pub(crate) fn archive(&self) -> &Path {
        &self.archive
    }

    /// Returns how it is called in messages.
    pub(crate) fn archive_text(&self) -> String {
        text::path(&self.archive)
    }

    /// Begins to show progress.
    pub(crate) fn progress(&self, verb: &'static str, total_bytes: Option<u64>) -> Progress<'a> {
        Progress::new(self.output, self.interrupt, verb, total_bytes)
    }

    /// Returns a total for progress, computed only where progress is shown.
    pub(crate) fn total_for_progress(&self, total: impl FnOnce() -> Option<u64>) -> Option<u64> {
        if self.output.progress() == ProgressForm::Nothing {
            return None;
        }
        total()
    }

    /// Checks between pieces of work whether to go on.
    ///
    /// # Errors
    /// That the command was interrupted.
    pub(crate) fn check_interrupt(&self) -> Result<(), Failure> {
        if self.interrupt.is_set() {
            return Err(self.interrupted(""));
        }
        Ok(())
    }

    /// Says that the command was asked to end and did; `done` says what is done, empty where that is nothing that lasts.
    pub(crate) fn interrupted(&self, done: &str) -> Failure {
        let message = if done.is_empty() {
            "interrupted".to_owned()
        } else {
            format!("interrupted: {done}")
        };
        Failure::new(self.interrupt.exit_code(), message)
    }

    /// Spells a command that does something to the same archive: `verify` and its options, then names.
    pub(crate) fn command(&self, command: &str, names: &[&FileName]) -> String {
        let from_variable = std::env::var_os(ARCHIVE_VARIABLE);
        let is_found_again = match &from_variable {
            Some(variable) => self.archive == Path::new(variable),
            None => self.archive == Path::new(DEFAULT_ARCHIVE),
        };
        let archive = self.archive_text();
        let mut words = vec![Cow::Borrowed("bfdb")];
        if !is_found_again {
            words.extend([Cow::Borrowed("-a"), text::shell_word(&archive)]);
        }
        words.push(Cow::Borrowed(command));
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        if names.iter().any(|name| name.starts_with('-')) {
            words.push(Cow::Borrowed("--"));
        }
        words.extend(names.iter().map(|name| text::shell_word(name)));
        words.join(" ")
    }

    /// Opens the archive, does something with it and closes it.
    ///
    /// # Errors
    /// Why it could not be opened, what the work failed with, or why it could not be closed.
    pub(crate) fn with_archive(
        &self,
        access: Access,
        work: impl FnOnce(&Archive) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let archive = self.try_open(access).map_err(|error| self.open_failure(&error))?;
        self.finish(archive, work)
    }

    /// Does something with an open archive and closes it.
    pub(crate) fn finish(
        &self,
        archive: Archive,
        work: impl FnOnce(&Archive) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let worked = work(&archive);
        let closed = archive.close().map_err(|error| {
            let headline = format!("{} was not closed cleanly, nothing is lost", self.archive_text());
            Failure::of(&error, close_error(&error)).under(headline)
        });
        match (worked, closed) {
            (worked, Ok(())) => worked,
            // Both are told; the work's own failure decides.
            (Ok(0), Err(closed)) => Err(closed),
            (worked, Err(closed)) => {
                self.output.failure(&closed);
                worked
            }
        }
    }

    /// Opens the archive and tells what opening has settled.
    ///
    /// # Errors
    /// The library's error as it is.
    pub(crate) fn try_open(&self, access: Access) -> Result<Archive, OpenError> {
        let options = OpenOptions {
            access,
            resources: self.resources,
        };
        let (archive, report) = Archive::open(&self.archive, &options)?;
        self.tell_recovery(report);
        if report.is_catalog_old && !self.is_catalog_old.swap(true, Ordering::Relaxed) {
            let place = self.archive_text();
            self.output.warning(&Warning {
                message: format!(
                    "the catalog of {place} is an old copy: newer files are on its volumes, but not in it"
                ),
                suggest: Vec::new(),
            });
        }
        if self.output.loudness() == Loudness::Verbose {
            let id = archive.id();
            self.output
                .note(&format!("opened archive {id} at {}", self.archive_text()));
        }
        Ok(archive)
    }

    /// Returns what the state of the catalog adds to the exit code of a command that speaks of the archive as a whole.
    pub(crate) fn catalog_code(&self) -> u8 {
        if self.is_catalog_old.load(Ordering::Relaxed) {
            exit::CATALOG_DAMAGED
        } else {
            exit::SUCCESS
        }
    }

    /// Makes the archive.
    pub(crate) fn create(&self) -> Result<Archive, Failure> {
        let options = ArchiveOptions {
            resources: self.resources,
            ..ArchiveOptions::default()
        };
        Archive::create(&self.archive, &options).map_err(|error| self.creation_failure(&error))
    }

    /// Puts into words why an archive cannot be made.
    pub(crate) fn creation_failure(&self, error: &OpenError) -> Failure {
        if matches!(error, OpenError::Host { .. }) && open_error(error) == Meaning::NoArchive {
            // It was not looked for, so that it is not there is no failure.
            let headline = format!("no archive can be made at {}", self.archive_text());
            return Failure::of(error, Meaning::Failed).under(headline);
        }
        self.open_failure(error)
    }

    /// Puts into words why an archive was not opened or made.
    pub(crate) fn open_failure(&self, error: &OpenError) -> Failure {
        let meaning = open_error(error);
        let failure = Failure::of(error, meaning);
        let place = self.archive_text();
        match (error, meaning) {
            (OpenError::NotFound { .. }, _) => {
                Failure::new(failure.code, format!("there is no archive at {place}"))
                    .suggest(self.command("init", &[]))
            }
            (OpenError::NotAnArchive { .. }, _) => Failure::new(
                failure.code,
                format!("{place} is not an archive: it holds neither a catalog nor volumes"),
            ),
            (OpenError::Host { .. }, Meaning::NoArchive) => {
                failure.under(format!("{place} is not an archive"))
            }
            (_, Meaning::Locked) => {
                let mut failure = failure.under(format!("the archive {place} is locked"));
                failure.causes.extend(self.living_writers());
                failure
            }
            _ => self.explain(failure, meaning),
        }
    }

    /// Puts an error into words, with what its meaning adds.
    pub(crate) fn failure(&self, error: &dyn Error, meaning: Meaning) -> Failure {
        self.explain(Failure::of(error, meaning), meaning)
    }

    /// Puts into words that the catalog could not be asked.
    pub(crate) fn catalog_failure(&self, error: &CatalogError) -> Failure {
        self.failure(error, catalog_error(error))
    }

    /// Adds what there is to know where a catalog has to be rebuilt, an archive is too new, or a name is not there.
    pub(crate) fn explain(&self, failure: Failure, meaning: Meaning) -> Failure {
        let place = self.archive_text();
        match meaning {
            Meaning::CatalogDamaged => failure.under(format!(
                "the catalog of {place} has to be rebuilt; the data is still on its volumes"
            )),
            Meaning::NewerFormat => failure.under(format!(
                "{place} needs a newer version of bfdb; nothing was changed"
            )),
            Meaning::NoSuchName => failure.suggest(self.command("ls", &[])),
            Meaning::Interrupted => self.interrupted(""),
            Meaning::Failed | Meaning::NoArchive | Meaning::Locked | Meaning::Lost => failure,
        }
    }

    fn tell_recovery(&self, report: RecoveryReport) {
        let message = match report {
            RecoveryReport {
                dead_sessions: 0,
                extents_released: 0,
                ..
            } => return,
            RecoveryReport {
                extents_released: 0, ..
            } => "a writer that was interrupted had nothing unfinished; nothing was lost".to_owned(),
            RecoveryReport { dead_sessions, .. } if dead_sessions > 1 => {
                format!(
                    "{dead_sessions} interrupted commits were rolled back; what was committed is untouched"
                )
            }
            _ => "an interrupted commit was rolled back; what was committed is untouched".to_owned(),
        };
        self.output.note(&message);
    }

    /// Says who works in the archive, as far as session files tell.
    fn living_writers(&self) -> Vec<String> {
        let layout = ArchiveLayout::new(&self.archive);
        let seen = glance_at_sessions(layout.machine(), &layout.sessions()).unwrap_or_default();
        let living = seen
            .into_iter()
            .filter(|session| session.life == SessionLife::Live);
        living
            .filter_map(|session| session.info)
            .map(|info| format!("process {} on {} is writing", info.pid, info.host_name))
            .collect()
    }

    /// Warns of something, also under `-q`.
    pub(crate) fn warn(&self, message: String, suggest: Vec<String>) {
        self.output.warning(&Warning { message, suggest });
    }
}
