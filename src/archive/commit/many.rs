//! Storing many sources.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::mpsc::{Receiver, channel},
};

use rayon::{
    Scope,
    prelude::{ParallelIterator as _, ParallelSlice as _},
};

use super::{
    CommitOutcome,
    batch::{Batch, Entry},
    commit_large,
    decide::{Decision, decide},
    find_file,
    prepare::{Preparation, Prepared},
    publish::Published,
};
use crate::{
    archive::{CommitObserver, shared::Shared},
    catalog::FileRecord,
    error::CommitError,
    host::{ExcludedDirectories, Place},
    units::FileName,
};

/// Sources that are looked at together; each may keep a directory of its own open.
const WINDOW_LEN: usize = 256;

/// Sources that one worker looks at, one after another: they are done before waking another worker pays off.
const RUN_LEN: usize = 64;

/// Bytes of content that are read together: enough for the largest file of a batch.
const WINDOW_LEN_BYTES: usize = 2 << 20;

/// Something to store, and the name to store it under.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name.
    pub name: FileName,
    /// Where it is.
    pub place: Place,
}

/// What happens to a name that is taken by something else than the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameConflict {
    /// The source is refused.
    Refuse,
    /// The source takes its place, and nothing of it stays, no kept version either.
    Replace,
    /// The source takes its place. A file or link that is replaced stays as a kept version of the name, and of the kept
    /// versions of the name the newest stay: so many, and with 0 as with [`Self::Replace`].
    ReplaceAndKeep {
        /// How many versions are kept beside the one that has the name.
        versions: u32,
    },
}

impl NameConflict {
    /// Returns how many versions of a name are kept beside the one that has it.
    pub(super) const fn kept_versions(self) -> u32 {
        match self {
            Self::Refuse | Self::Replace => 0,
            Self::ReplaceAndKeep { versions } => versions,
        }
    }
}

/// How many sources are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitAllOptions {
    /// What happens to a name that is taken by other content. The same content is nothing to do, whatever this says.
    pub name_conflict: NameConflict,
}

impl Default for CommitAllOptions {
    fn default() -> Self {
        Self {
            name_conflict: NameConflict::Refuse,
        }
    }
}

/// Stores many sources.
pub(in crate::archive) fn commit_all(
    shared: &Shared,
    sources: &mut dyn Iterator<Item = Source>,
    options: CommitAllOptions,
    observer: &dyn CommitObserver,
) -> Result<(), CommitError> {
    let own = shared.own_directories()?;
    let own_workers = shared.start_batch_workers();
    let workers = own_workers.as_ref().unwrap_or(&shared.workers);
    workers.in_place_scope(|scope| {
        let mut committer = Committer {
            shared,
            workers,
            has_own_workers: own_workers.is_some(),
            options,
            observer,
            scope,
            batch: Batch::default(),
            in_flight: None,
            own,
        };
        let stored = committer.store_all(sources);
        // What was on its way is told of, whatever else has failed.
        let settled = committer.settle();
        stored.and(settled)
    })
}

/// Sources on their way: some being looked at, some waiting in a batch, and one batch being stored beside.
struct Committer<'a, 'scope> {
    shared: &'scope Shared,
    /// Threads that look at sources and store a batch beside.
    workers: &'a rayon::ThreadPool,
    /// Where they are those of others too, a batch is stored by the caller: it waits, and calls observers.
    has_own_workers: bool,
    options: CommitAllOptions,
    observer: &'scope dyn CommitObserver,
    scope: &'a Scope<'scope>,
    batch: Batch,
    in_flight: Option<InFlight>,
    own: ExcludedDirectories,
}

/// A batch that is being stored.
struct InFlight {
    names: BTreeSet<FileName>,
    stored: Receiver<Stored>,
}

/// What became of a batch.
type Stored = Result<Vec<(Source, Published)>, CommitError>;

impl Committer<'_, '_> {
    fn store_all(&mut self, sources: &mut dyn Iterator<Item = Source>) -> Result<(), CommitError> {
        let mut waiting: VecDeque<Source> = VecDeque::new();
        let mut window_len = WINDOW_LEN;
        loop {
            let missing = window_len.saturating_sub(waiting.len());
            waiting.extend(sources.take(missing));
            if self.observer.is_cancelled() {
                return Err(CommitError::Cancelled);
            }
            if waiting.is_empty() {
                return self.launch();
            }
            let window: Vec<Source> = waiting.drain(..window_len.min(waiting.len())).collect();
            let looked_at = window.len();
            let behind = self.store_window(window)?;
            // Opening again what does not fit costs more than a short window.
            window_len = if behind.is_empty() {
                WINDOW_LEN.min(2 * window_len)
            } else {
                (looked_at - behind.len()).max(1)
            };
            behind
                .into_iter()
                .rev()
                .for_each(|source| waiting.push_front(source));
        }
    }

    /// Looks at sources and stores them, or puts them into the batch; returns those that have to wait for memory.
    fn store_window(&mut self, window: Vec<Source>) -> Result<Vec<Source>, CommitError> {
        let preparation = Preparation::new(self.shared, &self.own, WINDOW_LEN_BYTES);
        let prepare = |run: &[Source]| preparation.prepare_run(run);
        let prepared: Vec<_> = self
            .workers
            .install(|| window.par_chunks(RUN_LEN).flat_map_iter(prepare).collect());
        let names: Vec<&FileName> = window.iter().map(|source| &source.name).collect();
        let is_repeated = self.find_repeated(&names);
        let stored = self.shared.catalog.read()?.find_files(&names)?;
        let found = stored.into_iter().zip(is_repeated);
        let mut waiting: Vec<Source> = Vec::new();
        for ((source, prepared), (stored, is_repeated)) in window.into_iter().zip(prepared).zip(found) {
            // The last of a name is what stays, so none overtakes the one before it.
            let is_behind = is_repeated && waiting.iter().any(|first| first.name == source.name);
            match prepared {
                Ok(Prepared::Later) => waiting.push(source),
                _ if is_behind => waiting.push(source),
                Ok(prepared) if is_repeated => {
                    // It is compared with the one before as that was stored, not as the name was found.
                    self.launch()?;
                    self.settle()?;
                    let stored = find_file(self.shared, &source.name)?;
                    self.store_source(source, prepared, stored.as_ref())?;
                }
                Ok(prepared) => self.store_source(source, prepared, stored.as_ref())?,
                Err(error) => self.tell(&source, Err(error))?,
            }
        }
        Ok(waiting)
    }

    /// Says of each name whether it was given before and what became of it may not be in the catalog yet.
    fn find_repeated(&self, names: &[&FileName]) -> Vec<bool> {
        let is_on_its_way = |name: &FileName| {
            let in_flight = self.in_flight.as_ref();
            self.batch.has(name) || in_flight.is_some_and(|batch| batch.names.contains(name))
        };
        let mut seen: BTreeSet<&FileName> = BTreeSet::new();
        let mut is_repeated = Vec::with_capacity(names.len());
        for &name in names {
            is_repeated.push(!seen.insert(name) || is_on_its_way(name));
        }
        is_repeated
    }

    fn store_source(
        &mut self,
        source: Source,
        prepared: Prepared,
        stored: Option<&FileRecord>,
    ) -> Result<(), CommitError> {
        match decide(prepared, stored, self.options.name_conflict) {
            Ok(Decision::Unchanged(receipt)) => self.tell(&source, Ok(CommitOutcome::Unchanged(receipt))),
            Ok(Decision::Batch(what)) => {
                // What waits in a batch is read already: it need not keep its directory open.
                let place = Place::of_path(source.place.path());
                let source = Source { place, ..source };
                self.batch.push(Entry { source, what });
                if self.batch.is_full() {
                    self.launch()
                } else {
                    Ok(())
                }
            }
            Ok(Decision::Alone) => {
                // What would wait for a long file is stored before it. Others do not break a batch.
                if is_long(&source, self.shared.progress_bytes) {
                    self.launch()?;
                }
                // One commit at a time, so that they go on in the same extents.
                self.settle()?;
                let result = commit_large(self.shared, &source, self.options.name_conflict, self.observer);
                self.tell(&source, result)
            }
            Err(error) => self.tell(&source, Err(error)),
        }
    }

    /// Begins to store the batch, once the one before is stored.
    fn launch(&mut self) -> Result<(), CommitError> {
        self.settle()?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let (shared, conflict, observer) = (self.shared, self.options.name_conflict, self.observer);
        let (sender, receiver) = channel();
        self.in_flight = Some(InFlight {
            names: batch.take_names(),
            stored: receiver,
        });
        // Nobody listens only where the caller has panicked.
        let store = move || match sender.send(batch.store(shared, conflict, observer)) {
            Ok(()) | Err(_) => {}
        };
        if self.has_own_workers {
            self.scope.spawn(move |_| store());
        } else {
            store();
        }
        Ok(())
    }

    /// Waits for the batch that is being stored, and tells what became of it.
    fn settle(&mut self) -> Result<(), CommitError> {
        let Some(in_flight) = self.in_flight.take() else {
            return Ok(());
        };
        let stored = in_flight
            .stored
            .recv()
            .expect("storing a batch ends with a result");
        for (source, outcome) in stored? {
            self.tell(&source, outcome)?;
        }
        Ok(())
    }

    /// Tells what became of a source; an error that concerns more than this one is returned instead.
    fn tell(&self, source: &Source, result: Published) -> Result<(), CommitError> {
        match result {
            Err(error) if !concerns_one_source(&error) => Err(error),
            result => {
                self.observer.source_done(source, result);
                Ok(())
            }
        }
    }
}

/// Says whether a source takes so long that others should not wait for it.
fn is_long(source: &Source, len_bytes: u64) -> bool {
    source
        .place
        .inspect()
        .is_ok_and(|(_, identity)| identity.len_bytes >= len_bytes)
}

/// Says whether others may be stored all the same.
const fn concerns_one_source(error: &CommitError) -> bool {
    match error {
        CommitError::NameTaken { .. }
        | CommitError::KindTaken { .. }
        | CommitError::LinkTaken { .. }
        | CommitError::DirectoryInUse { .. }
        | CommitError::NotFound { .. }
        | CommitError::NoSuchVersion { .. }
        | CommitError::VersionInUse { .. }
        | CommitError::RenamedIntoItself { .. }
        | CommitError::NewNameTaken { .. }
        | CommitError::NewNameTooLong { .. }
        | CommitError::SourceInsideArchive { .. }
        | CommitError::NoSuchCommit { .. }
        | CommitError::CheckpointOvertaken
        | CommitError::CheckpointLost { .. }
        | CommitError::InProgress { .. }
        | CommitError::NotResumable { .. }
        | CommitError::SourceLength { .. }
        | CommitError::SourceRead { .. }
        | CommitError::Source { .. }
        // A smaller one may still fit.
        | CommitError::Full { others: 0, .. } => true,
        CommitError::Full { .. }
        | CommitError::NoVolume
        | CommitError::LastVolume { .. }
        | CommitError::NoRoomToDrain { .. }
        | CommitError::VolumeNotDrained { .. }
        | CommitError::Volumes { .. }
        | CommitError::ReadOnly
        | CommitError::OwnershipLost { .. }
        | CommitError::Cancelled
        | CommitError::Interrupted { .. }
        | CommitError::NotVisibleYet { .. }
        | CommitError::Journal { .. }
        | CommitError::Append { .. }
        | CommitError::Publication { .. }
        | CommitError::Volume { .. }
        | CommitError::Catalog { .. }
        | CommitError::Memory { .. }
        | CommitError::Host { .. } => false,
    }
}
