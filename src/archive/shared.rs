//! What every operation of one open archive shares.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::{
    buffer::{AlignedBuffer, BUFFER_ALIGN_BYTES, BufferPool},
    catalog::{Access, Catalog, CatalogReader, TransactionSize},
    error::{BufferError, CommitError, HostError, OpenError, VolumeError},
    geometry::{FileGeometry, Policy, Tier},
    host::{ArchiveLayout, ExcludedDirectories, Machine, Session, SessionInfo},
    journal::Journal,
    storage::Medium,
    units::{ArchiveId, SessionId, Timestamp, to_u64, to_usize},
    volume::IoMode,
};

use super::{
    Resources,
    left_behind::LeftBehind,
    media::Media,
    met::MetLog,
    order::Arms,
    own_session::OwnSession,
    team::{Member, work_together},
    volumes::Volumes,
};

/// Bytes of each shard that one strip holds, for codes with more than one data shard.
pub(super) const CODED_STRIP_LEN_BYTES: u64 = 256 * 1024;

/// Bytes of each shard that one strip holds of all blocks that are worked on at once, where blocks are grouped.
const GROUPED_STRIP_LEN_BYTES: u64 = 512 * 1024;

/// Blocks of a group that are worked on at once at least.
const MIN_BLOCKS_TOGETHER: usize = 4;

/// Bytes that one strip holds of a replicated block.
pub(super) const REPLICA_STRIP_LEN_BYTES: u64 = 2 * 1024 * 1024;

/// Bytes that a caller reads or compares at a time, outside the workers.
pub(super) const STAGING_LEN_BYTES: u64 = 4 << 20;

/// Threads that prepare and write batches at most: the transaction that ends each is a single thread's work. Measured on two
/// processors, 100 000 files of 1 KiB: eight threads take 2.2 s and 81 MB, two take 1.5 s and 48 MB.
const MAX_BATCH_THREADS: usize = 4;

/// Mends of the journal by one open archive: more than a disk has bad days, few enough where one fails every time.
const MAX_MENDS: u32 = 16;

/// Such pieces that are kept for the next callers.
const STAGING_BUFFERS: u64 = 4;

/// The parts of an open archive; `Archive`, snapshots and readers hold it together.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: ArchiveLayout,
    pub(super) catalog: Arc<Catalog>,
    pub(super) access: Access,
    media: Media,
    /// Damage that reads have met.
    pub(super) met: MetLog,
    /// What kind of disk everything is on; `None` where the system is asked.
    pub(super) medium: Option<Medium>,
    pub(super) arms: Arc<Arms>,
    /// Bytes of a file after which a commit notes how far it has come; shorter files are not resumed.
    pub(super) progress_bytes: u64,
    /// Memory of the teams.
    pool: BufferPool,
    /// Memory of callers, who wait for workers and for slow streams while they hold it; so nobody waits for it.
    staging: BufferPool,
    /// Threads for short pieces of work of whoever comes: none of them ever waits for memory, for a stream or for another.
    pub(super) workers: rayon::ThreadPool,
    /// Made by the first commit.
    session: OwnSession,
    /// Commits of this process that wait for somebody to end them.
    pub(super) left: Arc<LeftBehind>,
    /// How often copies of the journal are still mended while the archive is open.
    mends: AtomicU32,
    /// How long the journal has become, as far as this process has heard, and at which length to look whether a checkpoint is
    /// due.
    pub(super) journal_bytes: AtomicU64,
    pub(super) checkpoint_from_bytes: AtomicU64,
    /// How much longer than at the last checkpoint it is to be for a new one.
    pub(super) checkpoint_bytes: u64,
}

/// What is needed to put the parts together.
pub(super) struct SharedParts {
    pub(super) layout: ArchiveLayout,
    pub(super) catalog: Arc<Catalog>,
    pub(super) access: Access,
    pub(super) media: Media,
    pub(super) resources: Resources,
}

impl Shared {
    pub(super) fn new(parts: SharedParts) -> Result<Self, OpenError> {
        let threads = match parts.resources.threads {
            // Workers wait for the disk most of the time. Measured on two processors, 1 GiB of tier 3: 1.4 s with two
            // workers, 1.0 s with four, 0.8 s with eight.
            0 => std::thread::available_parallelism().map_or(2, usize::from) * 4,
            threads => threads,
        };
        let policy = parts.catalog.archive().policy;
        let strip = to_usize(strip_buffer_len_bytes(&policy));
        let largest = strip.max(to_usize(grouped_strip_len_bytes(&policy)));
        let catalog = parts.catalog;
        let budget_bytes = parts.resources.memory_bytes.max(largest);
        // A worker without a buffer would only wait for one.
        let threads = threads.min(budget_bytes / strip).max(1);
        Ok(Self {
            layout: parts.layout,
            session: OwnSession::none(&catalog),
            catalog,
            access: parts.access,
            met: MetLog::new(parts.access),
            media: parts.media,
            medium: parts.resources.medium,
            arms: Arc::default(),
            progress_bytes: parts.resources.progress_bytes,
            pool: BufferPool::new(budget_bytes),
            staging: BufferPool::new(to_usize(STAGING_LEN_BYTES * STAGING_BUFFERS)),
            workers: thread_pool("worker", threads)?,
            left: Arc::default(),
            mends: AtomicU32::new(MAX_MENDS),
            journal_bytes: AtomicU64::new(0),
            checkpoint_from_bytes: AtomicU64::new(parts.resources.checkpoint_bytes),
            checkpoint_bytes: parts.resources.checkpoint_bytes,
        })
    }

    pub(super) fn archive_id(&self) -> ArchiveId {
        self.catalog.archive().id
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.catalog.archive().policy
    }

    /// Returns the volumes as they were looked at last.
    pub(super) fn volumes(&self) -> Arc<Volumes> {
        self.media.volumes()
    }

    /// Returns how bytes of extents are moved.
    pub(super) const fn io(&self) -> IoMode {
        self.media.io()
    }

    /// Returns the journal, on the volumes that were there when they were looked at last.
    pub(super) fn journal(&self) -> Arc<Journal> {
        self.media.journal()
    }

    /// Looks at the volumes again where the catalog has others than those that are in use.
    pub(super) fn keep_up_with(&self, reader: &CatalogReader) -> Result<(), OpenError> {
        self.media.keep_up_with(&self.layout, &self.catalog, reader)
    }

    /// Looks at the volumes again: something has failed that may have to do with one that is not there any more.
    pub(super) fn look_at_volumes(&self) -> Result<(), OpenError> {
        self.media.look_again(&self.layout, &self.catalog)
    }

    /// Says whether something has failed because a volume went away, and others can do without it. The volumes are looked at
    /// again for that, so that the next attempt goes elsewhere.
    pub(super) fn has_lost_volume(&self, error: &VolumeError) -> bool {
        let Some(volume) = error.volume() else {
            return false;
        };
        if self.volumes().members().len() == 1 || self.look_at_volumes().is_err() {
            return false;
        }
        let volumes = self.volumes();
        volumes.writable(volume).is_none() && volumes.for_files().next().is_some()
    }

    /// Returns the directories of the archive and its volumes: they are never a source.
    pub(super) fn own_directories(&self) -> Result<ExcludedDirectories, CommitError> {
        let volumes = self.volumes();
        let there = volumes.readable().map(|member| member.path.clone());
        let paths = there.chain([self.layout.root().to_path_buf()]);
        Ok(ExcludedDirectories::of_paths(paths)?)
    }

    /// Returns memory for one piece that a caller moves, at most [`STAGING_LEN_BYTES`] as a rule, never waiting: as many
    /// callers as hold one, as many there are.
    pub(super) fn staging_buffer(&self, len: usize) -> Result<AlignedBuffer, BufferError> {
        match self.staging.try_take(len) {
            Ok(Some(kept)) => Ok(kept),
            Ok(None) | Err(BufferError::OverBudget { .. }) => {
                BufferPool::new(len.next_multiple_of(BUFFER_ALIGN_BYTES)).take(len)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns what the archive asks for files, time and randomness.
    pub(super) fn machine(&self) -> &Machine {
        self.layout.machine()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.machine().now()
    }

    /// Returns the session of this process, whose lock is held before its first transaction.
    pub(super) fn session(&self) -> Result<SessionId, CommitError> {
        if self.access == Access::Read {
            return Err(CommitError::ReadOnly);
        }
        Ok(self.session.id(|| self.make_session())?)
    }

    fn make_session(&self) -> Result<Session, HostError> {
        let machine = self.machine();
        let id = SessionId::new(u64::from_le_bytes(machine.random_bytes()?));
        let about = SessionInfo::of_this_process("write", machine.clock.as_ref());
        let create = || Session::create(machine, &self.layout.sessions(), id, &about);
        match create() {
            // Who copies an archive may leave out directories that are empty.
            Err(error) if error.is_not_found() => {
                self.layout.create_directories()?;
                create()
            }
            made => made,
        }
    }

    /// Does the work of one operation on threads of its own, as many as an operation may have and there are pieces.
    pub(super) fn work_together<R: Send>(
        &self,
        pieces: usize,
        work: impl Fn(&Member<'_>) -> R + Sync,
    ) -> Vec<R> {
        let threads = self.workers.current_num_threads().min(pieces);
        work_together((&self.pool, threads), work)
    }

    /// Returns how many threads prepare and write batches of small files.
    pub(super) fn batch_threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        match self.workers.current_num_threads() {
            1 => 1,
            threads => threads.min(processors()).min(MAX_BATCH_THREADS),
        }
    }

    /// Starts threads for one caller's batches. Where the system has no more threads there are none, and
    /// [`workers`](Self::workers) serve.
    pub(super) fn start_batch_workers(&self) -> Option<rayon::ThreadPool> {
        thread_pool("batch", self.batch_threads()).ok()
    }

    /// Says whether the catalog takes knowledge that nothing depends on: it is open for writing, and there is room. A full disk
    /// that is met in the middle of a transaction costs more than what is not noted.
    pub(super) fn takes_notes(&self, size: TransactionSize) -> bool {
        let has_room = || {
            let free = self.layout.free_bytes();
            free.is_ok_and(|free| free >= size.room_bytes())
        };
        self.access == Access::Write && has_room()
    }

    /// Notes that something was published that the catalog may not have.
    pub(super) fn keep_session(&self) {
        self.session.keep();
    }

    /// Says whether copies of the journal are to be mended once more.
    pub(super) fn takes_a_mend(&self) -> bool {
        self.mends
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }

    /// Ends the session, if one was made and nothing is left of it, and closes the catalog.
    pub(super) fn close(self) -> Result<(), crate::error::CloseError> {
        let Self { session, catalog, .. } = self;
        let settled = session.take_settled();
        drop(session);
        // While the session is there, a catalog that was not closed is verified by the next writer.
        Arc::into_inner(catalog)
            .expect("the session alone has shared it")
            .close()?;
        settled.map_or(Ok(()), Session::end)?;
        Ok(())
    }
}

fn thread_pool(kind: &'static str, threads: usize) -> Result<rayon::ThreadPool, OpenError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |index| format!("bfdb-{kind}-{index}"))
        .build()
        .map_err(|_source| OpenError::Threads { threads })
}

/// Returns the memory that one worker needs for one strip of the widest code.
fn strip_buffer_len_bytes(policy: &Policy) -> u64 {
    let longest = |shape: crate::units::CodeShape| {
        let strip = strip_len_bytes(shape).max(policy.leaf().bytes());
        if shape.is_replication() {
            strip
        } else {
            strip * u64::from(shape.total())
        }
    };
    let strips = policy.tiers().map(|tier| longest(policy.shape(tier)));
    strips.max().expect("there are tiers")
}

/// Returns the memory that a strip of a grouped file takes, of all blocks that are worked on at once.
fn grouped_strip_len_bytes(policy: &Policy) -> u64 {
    if !policy.tiers().any(|tier| tier == Tier::Grouped) {
        return 0;
    }
    let grouped = policy.parts().grouped;
    let together = u64::from(grouped.parity.next_power_of_two()).max(to_u64(MIN_BLOCKS_TOGETHER));
    let row = (GROUPED_STRIP_LEN_BYTES / together).max(policy.leaf().bytes());
    together * row * u64::from(grouped.shape.total())
}

/// Returns how many bytes of each shard one strip holds.
pub(super) fn strip_len_bytes(shape: crate::units::CodeShape) -> u64 {
    if shape.is_replication() {
        REPLICA_STRIP_LEN_BYTES
    } else {
        CODED_STRIP_LEN_BYTES
    }
}

/// Returns how many blocks of a file are worked on at once: where they are grouped as many as the sums of outer parity are added to best.
pub(super) fn blocks_together(geometry: &FileGeometry) -> usize {
    match geometry.parts().outer_parity {
        0 => 1,
        parity => usize::from(parity.next_power_of_two()).max(MIN_BLOCKS_TOGETHER),
    }
}

/// Returns how many bytes of each shard one strip of a file holds: where several blocks are worked on at once less of each.
pub(super) fn strip_len_bytes_of(geometry: &FileGeometry) -> u64 {
    match blocks_together(geometry) {
        1 => strip_len_bytes(geometry.shape()),
        together => (GROUPED_STRIP_LEN_BYTES / to_u64(together)).max(geometry.leaf().bytes()),
    }
}

/// Returns how many strips a file has, near enough: more threads have nothing to do.
pub(super) fn strip_count(geometry: &FileGeometry) -> usize {
    let shape = geometry.shape();
    let data_bytes = strip_len_bytes(shape) * u64::from(shape.data());
    usize::try_from(geometry.len_bytes().div_ceil(data_bytes)).unwrap_or(usize::MAX)
}
