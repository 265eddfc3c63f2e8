//! What every command works with: the archive it is for, what it may use, and where it prints.

use std::{
    borrow::Cow,
    error::Error,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, MetDamage, OpenOptions, RebuildOptions, RebuildReport, RecoveryReport,
        Resources,
    },
    catalog::Access,
    error::{CatalogError, OpenError},
    geometry::Policy,
    host::{ArchiveLayout, Machine, SessionLife, glance_at_sessions},
    storage::Medium,
    units::FileName,
    volume::IoMode,
};

use crate::{
    arguments::{
        ARCHIVE_VARIABLE, Command, DEFAULT_ARCHIVE, DiskChoice, Global, IoChoice, VOLUME_VARIABLE,
        volumes::split,
    },
    exit,
    failure::{Failure, Meaning, catalog_error, close_error, of_place, open_error},
    interrupt::Interrupt,
    output::{Loudness, Output, ProgressForm, Warning},
    progress::Progress,
    recovered::Recovered,
    text,
};

/// The surroundings of a command.
pub(crate) struct Context<'a> {
    archive: PathBuf,
    /// Directories of volumes: to make, or where they may be.
    volumes: Vec<PathBuf>,
    resources: Resources,
    /// Set when an archive was opened whose catalog does not know everything.
    is_catalog_incomplete: AtomicBool,
    /// Set when opening has settled something.
    has_settled: AtomicBool,
    /// Whether the command is `recover` itself.
    is_recovering: bool,
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
                IoChoice::Direct => IoMode::Direct,
                IoChoice::Buffered => IoMode::Buffered,
            },
            medium: match global.disk {
                DiskChoice::Auto => None,
                DiskChoice::Solid => Some(Medium::Solid),
                DiskChoice::Rotating => Some(Medium::Rotating),
            },
            ..defaults
        };
        Self {
            archive: global.archive,
            volumes: global.volume,
            resources,
            is_catalog_incomplete: AtomicBool::new(false),
            has_settled: AtomicBool::new(false),
            is_recovering: false,
            output,
            interrupt,
        }
    }

    /// Adds what a command says of itself.
    pub(crate) fn for_command(mut self, command: &Command) -> Self {
        if let Some(bytes) = command.progress_bytes() {
            self.resources.progress_bytes = bytes;
        }
        self.is_recovering = matches!(command, Command::Recover(_));
        self
    }

    /// Says whether the command is the one that others suggest where something is to be settled.
    pub(crate) const fn is_recovering(&self) -> bool {
        self.is_recovering
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

    /// Says that the command was asked to end within a commit that can go on, and how.
    pub(crate) fn interrupted_within(&self, name: &FileName, done_bytes: u64) -> Failure {
        let done = text::size(done_bytes);
        self.interrupted(&format!(
            "{done} of {name} are stored, and it can go on from there"
        ))
        .suggest(self.command("recover --resume", &[name]))
        .suggest(self.command("recover --rollback", &[name]))
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
        let volumes: Vec<String> = self.volumes.iter().map(|path| text::path(path)).collect();
        let from_variable = std::env::var_os(VOLUME_VARIABLE).unwrap_or_default();
        if split(&from_variable) != self.volumes {
            words.extend(
                volumes
                    .iter()
                    .flat_map(|volume| [Cow::Borrowed("--volume"), text::shell_word(volume)]),
            );
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

    /// Opens the archive to read bytes. An old catalog is brought forward first, where the archive can be written: what it says of
    /// places that a repair has left since would be taken for loss.
    ///
    /// # Errors
    /// As for [`Self::with_archive`].
    pub(crate) fn with_archive_to_read(
        &self,
        work: impl FnOnce(&Archive) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let opened = self
            .open(Access::Read)
            .map_err(|error| self.open_failure(&error))?;
        let (archive, report) = opened;
        if !report.is_catalog_old || report.is_forked {
            return self.finish(self.told(archive, &report), work);
        }
        // What cannot be closed cleanly is settled by whoever opens it next.
        let closed = archive.close().is_ok();
        if closed && let Ok(writer) = self.try_open(Access::Write) {
            match writer.close() {
                Ok(()) | Err(_) => {}
            }
        }
        self.with_archive(Access::Read, work)
    }

    /// Opens the archive so that what is found is remembered, where it can be written, and so that it is read, where not.
    ///
    /// # Errors
    /// As for [`Self::with_archive`].
    pub(crate) fn with_archive_to_note(
        &self,
        work: impl FnOnce(&Archive) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let refused = match self.try_open(Access::Write) {
            Ok(archive) => return self.finish(archive, work),
            Err(error) => error,
        };
        let Ok(archive) = self.try_open(Access::Read) else {
            return Err(self.open_failure(&refused));
        };
        let cause = self.open_failure(&refused);
        let message = format!("what is found is not remembered: {}", cause.message);
        self.warn(message, Vec::new());
        self.finish(archive, work)
    }

    /// Does something with an open archive and closes it.
    pub(crate) fn finish(
        &self,
        archive: Archive,
        work: impl FnOnce(&Archive) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let worked = work(&archive);
        let met = archive.take_met_damage();
        let closed = archive.close().map_err(|error| {
            let headline = format!("{} was not closed cleanly, nothing is lost", self.archive_text());
            Failure::of(&error, close_error(&error)).under(headline)
        });
        self.note(&met);
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

    /// Remembers damage that a command has met that only reads; where that cannot be, a scrub finds it.
    fn note(&self, met: &MetDamage) {
        if met.is_empty() {
            return;
        }
        let noted = || -> Result<(), Box<dyn Error>> {
            let archive = self.try_open(Access::Write)?;
            archive.note_damage(met)?;
            Ok(archive.close()?)
        };
        if let Err(error) = noted()
            && self.output.loudness() == Loudness::Verbose
        {
            self.output
                .note(&format!("the damage is not remembered: {error}"));
        }
    }

    /// Opens the archive and tells what opening has settled.
    ///
    /// # Errors
    /// The library's error as it is.
    pub(crate) fn try_open(&self, access: Access) -> Result<Archive, OpenError> {
        let (archive, report) = self.open(access)?;
        Ok(self.told(archive, &report))
    }

    /// Makes the catalog again and opens the archive for writing.
    ///
    /// # Errors
    /// The library's error as it is.
    pub(crate) fn rebuild(&self, options: RebuildOptions) -> Result<(Archive, RebuildReport), OpenError> {
        let opening = self.opening(Access::Write);
        let progress = self.progress("scanned", None);
        let machine = Machine::default();
        let (archive, report) =
            Archive::rebuild_catalog_with(&machine, &self.archive, &opening, options, &progress)?;
        self.warn_of_catalog(&report.recovery);
        Ok((archive, report))
    }

    fn open(&self, access: Access) -> Result<(Archive, RecoveryReport), OpenError> {
        Archive::open(&self.archive, &self.opening(access))
    }

    fn opening(&self, access: Access) -> OpenOptions {
        OpenOptions {
            access,
            resources: self.resources,
            volumes: self.volumes.clone(),
        }
    }

    /// Tells what opening has settled.
    fn told(&self, archive: Archive, report: &RecoveryReport) -> Archive {
        if let Some(recovered) = Recovered::of(report, self) {
            self.has_settled.store(true, Ordering::Relaxed);
            self.output.recovered(&recovered);
        }
        self.warn_of_catalog(report);
        if self.output.loudness() == Loudness::Verbose {
            let id = archive.id();
            self.output
                .note(&format!("opened archive {id} at {}", self.archive_text()));
        }
        archive
    }

    /// Says whether opening has settled something, which was told then.
    pub(crate) fn has_settled(&self) -> bool {
        self.has_settled.load(Ordering::Relaxed)
    }

    /// Returns what the state of the catalog adds to the exit code of a command that speaks of the archive as a whole.
    pub(crate) fn catalog_code(&self) -> u8 {
        if self.is_catalog_incomplete.load(Ordering::Relaxed) {
            exit::CATALOG_DAMAGED
        } else {
            exit::SUCCESS
        }
    }

    /// Returns the directories of volumes: to make with a new archive, or where they may be.
    pub(crate) fn volumes(&self) -> &[PathBuf] {
        &self.volumes
    }

    /// Makes the archive.
    pub(crate) fn create(&self, policy: Policy) -> Result<Archive, Failure> {
        let made = Archive::create(&self.archive, &self.creation(policy));
        made.map_err(|error| self.creation_failure(&error))
    }

    /// Refuses what making the archive would refuse.
    pub(crate) fn check_creation(&self, policy: Policy) -> Result<(), Failure> {
        let checked = Archive::check_creation(&self.archive, &self.creation(policy));
        checked.map_err(|error| self.creation_failure(&error))
    }

    fn creation(&self, policy: Policy) -> ArchiveOptions {
        ArchiveOptions {
            policy,
            volumes: self.volumes.clone(),
            resources: self.resources,
        }
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
        if let Some(failure) = of_place(error, self) {
            return failure;
        }
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

    /// Adds what to do about it, where the meaning says that.
    pub(crate) fn explain(&self, failure: Failure, meaning: Meaning) -> Failure {
        let place = self.archive_text();
        match meaning {
            Meaning::CatalogDamaged => failure.under(format!(
                "the catalog of {place} cannot be used; the data is still on its volumes: make it again \
                 from the journal there, or put a copy of catalog.redb back, which is brought forward by itself"
            ))
            .suggest(self.command("catalog rebuild", &[])),
            Meaning::JournalMissing => failure.under(format!(
                "no catalog can be made for {place}: name with --volume a volume that has a copy of the journal; \
                 where there is none, a deep scan finds the files on the volumes, and gives them other names"
            ))
            .suggest(self.command("catalog rebuild --deep-scan", &[])),
            Meaning::Forked => failure.under(format!(
                "parts of two archives are mixed in {place}; nothing was changed: put the catalog and the volumes of one \
                 of them back"
            )),
            Meaning::VolumeOld => failure.under(format!(
                "an old copy of a volume of {place} was put back, and nothing is written to it: put the newest copy \
                 back; what is there can be read"
            ))
            .suggest(self.command("volume ls", &[])),
            Meaning::Unsettled | Meaning::NoSuchCommit => failure.suggest(self.command("recover", &[])),
            Meaning::NewerFormat => failure.under(format!(
                "{place} needs a newer version of bfdb; nothing was changed"
            )),
            Meaning::NoSuchName => failure.suggest(self.command("ls", &[])),
            Meaning::Interrupted => self.interrupted(""),
            Meaning::Failed | Meaning::NoArchive | Meaning::Locked | Meaning::Lost => failure,
        }
    }

    /// Warns, once, of a catalog that does not know everything that is stored.
    fn warn_of_catalog(&self, report: &RecoveryReport) {
        let is_incomplete = report.is_catalog_old || report.is_forked || report.is_catalog_damaged;
        if !is_incomplete || self.is_catalog_incomplete.swap(true, Ordering::Relaxed) {
            return;
        }
        let place = self.archive_text();
        if report.is_forked {
            let message =
                format!("parts of two archives are mixed in {place}, and newer files are not shown");
            self.warn(message, Vec::new());
        } else if report.is_catalog_damaged {
            let message = format!(
                "the catalog of {place} is damaged: what is shown may be old, or lack something; put a copy of catalog.redb \
                 back, which is brought forward from the journal by itself"
            );
            self.warn(message, Vec::new());
        } else {
            let message = format!(
                "the catalog of {place} is an old copy: newer files are on its volumes, but not in it"
            );
            self.warn(message, vec![self.command("recover", &[])]);
        }
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
