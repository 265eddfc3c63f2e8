//! The disk as its users see it: paths and handles.

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bfdb::{
    host::Machine,
    storage::{EntryInfo, FileAccess, Medium, Replace, Storage, StorageFile},
};

use super::{
    action::{Action, Name, Operation},
    disk::{Disk, normalized},
    faults::{Condition, Counts, FaultRule, LockSupport, OperationKind},
    file::{SimulatedFile, info_of},
    machine::{SimulatedClock, SimulatedRandomness},
    page::to_u64,
    state::State,
    timeline::{Marker, Timeline},
};

/// A disk in memory whose crashes can be enumerated. A clone is the same disk.
#[derive(Clone)]
pub struct SimulatedStorage {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Told whenever a lock may have become free.
    pub(super) unlocked: Condvar,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimulatedStorage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        out.debug_struct("SimulatedStorage")
            .field("operations", &state.log.len())
            .field("condition", &state.condition)
            .finish_non_exhaustive()
    }
}

impl Default for SimulatedStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedStorage {
    /// Returns an empty disk without a limit: the root directory and nothing in it.
    pub fn new() -> Self {
        Self::mount(Disk::new(), None)
    }

    /// Returns an empty disk with room for so many bytes in pages of 4 KiB. Names and directories cost nothing.
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        Self::mount(Disk::new(), Some(capacity_bytes))
    }

    pub(super) fn mount(disk: Disk, capacity_bytes: Option<u64>) -> Self {
        let shared = Shared {
            state: Mutex::new(State::new(disk, capacity_bytes)),
            unlocked: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Changes how many bytes the disk has room for; `None` for no limit. What is stored stays.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.shared.state().capacity_bytes = capacity_bytes;
    }

    /// Changes the state of the disk as a whole.
    pub fn set_condition(&self, condition: Condition) {
        self.shared.state().condition = condition;
        self.shared.unlocked.notify_all();
    }

    /// Changes what locks are worth from now on; a copy of the disk has all of them.
    pub fn set_lock_support(&self, lock_support: LockSupport) {
        self.shared.state().lock_support = lock_support;
    }

    /// Refuses to give back parts of files from now on, as some file systems do; a copy of the disk gives them back.
    pub fn refuse_holes(&self) {
        self.shared.state().has_no_holes = true;
    }

    /// Changes what kind of disk it says that it is; a copy of the disk is solid. Nothing takes longer for that, but files are stored
    /// in another order.
    pub fn set_medium(&self, medium: Medium) {
        self.shared.state().medium = medium;
    }

    /// Refuses to wait for locks from now on (EDEADLK): right where one thread plays all parts, and would wait for itself.
    pub fn refuse_waits(&self) {
        self.shared.state().refused_waits = Some(0);
    }

    /// Returns how many waits were refused.
    pub fn refused_waits(&self) -> u64 {
        self.shared.state().refused_waits.unwrap_or(0)
    }

    /// Adds a rule. Where several would spoil the same operation, the one added first does.
    pub fn add_rule(&self, rule: FaultRule) {
        self.shared.state().rules.push(rule);
    }

    /// Drops all rules. Bytes that were dropped stay so.
    pub fn clear_rules(&self) {
        self.shared.state().rules.clear();
    }

    /// Returns how many operations there were since the disk was made.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    /// Notes something in the timeline, behind the last mutating operation.
    pub fn marker(&self, tag: impl Into<String>) {
        let mut state = self.shared.state();
        let after_operation = to_u64(state.log.len());
        state.markers.push(Marker {
            after_operation,
            tag: tag.into(),
        });
    }

    /// Returns everything that happened since the disk was made, for crashing it anywhere in there.
    pub fn timeline(&self) -> Timeline {
        self.timeline_until(u64::MAX)
    }

    /// Returns the timeline up to an operation, without what came later.
    pub fn timeline_until(&self, last: u64) -> Timeline {
        let state = self.shared.state();
        let count = state.log.len().min(usize::try_from(last).unwrap_or(usize::MAX));
        let is_in_it = |marker: &&Marker| marker.after_operation <= last;
        Timeline::new(
            state.initial.clone(),
            state.log[..count].to_vec(),
            state.markers.iter().filter(is_in_it).cloned().collect(),
            state.capacity_bytes,
        )
    }

    /// Returns the operations behind one: cheap, where no image is wanted.
    pub fn operations_since(&self, number: u64) -> Vec<Operation> {
        let state = self.shared.state();
        let first = usize::try_from(number).unwrap_or(usize::MAX);
        state.log.get(first..).unwrap_or_default().to_vec()
    }

    /// Returns the first operation that the rule which was added first has spoiled: its number, or that of the last one
    /// before it where it has none.
    pub fn first_rule_fired(&self) -> Option<u64> {
        self.shared.state().first_rule_fired
    }

    /// Returns how many bytes all files take.
    pub fn allocated_bytes(&self) -> u64 {
        self.shared.state().live.allocated_bytes()
    }

    /// Returns a new disk with everything that readers see here, durable: the same files with an empty timeline, without
    /// handles, locks, rules and files that have no name.
    #[must_use]
    pub fn settled(&self) -> Self {
        let state = self.shared.state();
        let mut disk = state.live.clone();
        disk.drop_nameless();
        Self::mount(disk, state.capacity_bytes)
    }

    /// Returns a hash of all paths and what readers see there; equal disks have the same, whatever their history. Costs
    /// little for pages that any image was asked for before.
    pub fn fingerprint(&self) -> u128 {
        let disk = self.shared.state().live.clone();
        disk.fingerprint()
    }

    /// Returns the machine whose disk this is: its clock starts at 2001-09-09 and takes a step of a millisecond whenever
    /// it is asked, its randomness follows from `seed`.
    pub fn machine(&self, seed: u64) -> Machine {
        Machine {
            storage: Arc::new(self.clone()),
            clock: Arc::new(SimulatedClock::default()),
            randomness: Arc::new(SimulatedRandomness::new(seed)),
        }
    }

    fn readable(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shared.state();
        state.condition.admits_reading()?;
        Ok(state)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shared.state();
        state.condition.admits_changes()?;
        Ok(state)
    }
}

impl Storage for SimulatedStorage {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = match access {
            FileAccess::Read => self.readable()?,
            FileAccess::ReadWrite => self.writable()?,
        };
        let inode = state.live.find(path)?;
        if state.live.is_directory(inode) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        state.ask_to_open(path, access)?;
        Ok(SimulatedFile::open(
            &self.shared,
            &mut state,
            inode,
            (path, access),
        ))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.writable()?;
        let name = free_place(&state.live, path)?;
        let inode = state.live.next_inode();
        state.perform(&path.into(), Action::CreateFile { name, inode })?;
        Ok(SimulatedFile::open(
            &self.shared,
            &mut state,
            inode,
            (path, FileAccess::ReadWrite),
        ))
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        let mut state = self.readable()?;
        let inode = state.live.find(path)?;
        state.ask(OperationKind::Inspect, path, 0..0)?;
        info_of(&state.live, inode)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let mut state = self.readable()?;
        let inode = state.live.find(directory)?;
        let names = state.live.list(inode)?;
        state.ask(OperationKind::List, directory, 0..0)?;
        Ok(names)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        let name = free_place(&state.live, path)?;
        let inode = state.live.next_inode();
        state.perform(&path.into(), Action::CreateDirectory { name, inode })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        let inode = state.live.find(path)?;
        if !state.live.is_directory(inode) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        state.perform(&path.into(), Action::SyncDirectory { inode })
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        let mut state = self.writable()?;
        let (old, found) = state.live.place(from)?;
        // Both directories are looked up before the name is.
        let (new, taken) = state.live.place(to)?;
        let inode = found.ok_or(io::ErrorKind::NotFound)?;
        if state.live.is_directory(inode) {
            // Directories of an archive keep their names; what a crash leaves of a moved one is not modelled.
            return Err(io::ErrorKind::Unsupported.into());
        }
        match (taken, replace) {
            (Some(_), Replace::Never) => return Err(io::ErrorKind::AlreadyExists.into()),
            // Two names of one file both stay: POSIX wants it so.
            (Some(taken), Replace::File) if taken == inode => return Ok(()),
            (Some(_), Replace::File) if normalized(from)?.starts_with(normalized(to)?) => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            (Some(taken), Replace::File) if state.live.is_directory(taken) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Some(_), Replace::File) | (None, _) => {}
        }
        state.perform(
            &from.into(),
            Action::Rename {
                from: old,
                to: new,
                inode,
            },
        )
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        let (name, found) = state.live.place(path)?;
        if state.live.is_directory(found.ok_or(io::ErrorKind::NotFound)?) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.perform(&path.into(), Action::Remove { name })
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.readable()?;
        state.live.find(path)?;
        state.ask(OperationKind::FreeSpace, path, 0..0)?;
        Ok(state.free_bytes())
    }

    fn medium(&self, _: &Path) -> Medium {
        self.shared.state().medium
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.readable()?;
        state.live.find(path)?;
        normalized(path)
    }
}

fn free_place(live: &Disk, path: &Path) -> io::Result<Name> {
    match live.place(path) {
        Ok((name, None)) => Ok(name),
        Ok((_, Some(_))) => Err(io::ErrorKind::AlreadyExists.into()),
        // The root is taken, whatever is wanted there.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error),
    }
}
