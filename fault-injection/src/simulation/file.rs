//! An open file of a simulated disk.

use std::{
    fmt, io,
    ops::{Bound, Range as ByteSpan},
    path::Path,
    sync::{Arc, MutexGuard, PoisonError},
};

use bfdb::{
    error::FileKind,
    storage::{EntryInfo, FileAccess, FileIdentity, Lock, LockHandle, LockRange, StorageFile},
};

use super::{
    action::{Action, Inode},
    disk::{Disk, NodeKind},
    faults::{EBADF, EDEADLK, ENOLCK, Fault, LockSupport, OperationKind},
    page::{to_u64, to_usize},
    state::State,
    storage::Shared,
};

/// What `info` calls the device: all simulated disks are the same one.
const DEVICE: u64 = 0xBF;

/// Files end before this, as on the host.
const MAX_FILE_BYTES: u64 = (1 << 63) - 1;

/// An open file of a simulated disk.
pub(super) struct SimulatedFile {
    shared: Arc<Shared>,
    inode: Inode,
    handle: LockHandle,
    access: FileAccess,
    path: Arc<Path>,
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SimulatedFile")
            .field("path", &self.path)
            .field("inode", &self.inode)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.shared.state().close_handle(self.inode, self.handle);
        self.shared.unlocked.notify_all();
    }
}

impl SimulatedFile {
    /// Makes a handle; the state is that of the shared storage and holds the file.
    pub(super) fn open(
        shared: &Arc<Shared>,
        state: &mut State,
        inode: Inode,
        (path, access): (&Path, FileAccess),
    ) -> Arc<dyn StorageFile> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            inode,
            handle: state.open_handle(inode),
            access,
            path: path.into(),
        })
    }

    fn asked(
        &self,
        kind: OperationKind,
        range: ByteSpan<u64>,
    ) -> io::Result<(MutexGuard<'_, State>, Option<Fault>)> {
        let mut state = self.shared.state();
        state.condition.admits_reading()?;
        let fault = state.ask(kind, &self.path, range)?;
        Ok((state, fault))
    }

    /// Returns the state for a change of the file; `refusal` is what a handle for reading gets.
    fn writable(&self, refusal: io::Error, end_bytes: Option<u64>) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shared.state();
        state.condition.admits_changes()?;
        if self.access == FileAccess::Read {
            return Err(refusal);
        }
        if end_bytes.is_none_or(|end| end > MAX_FILE_BYTES) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(state)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        state.condition.admits_changes()?;
        state.perform(&self.path, Action::SyncFile { inode: self.inode })
    }
}

/// What a lock is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockedPart {
    Whole,
    Range,
}

impl SimulatedFile {
    /// Says whether a lock is kept, or only granted.
    fn keeps_locks(&self, part: LockedPart) -> io::Result<bool> {
        match (self.shared.state().lock_support, part) {
            (LockSupport::Full, _) | (LockSupport::WholeFiles, LockedPart::Whole) => Ok(true),
            (LockSupport::Pretended, _) => Ok(false),
            (LockSupport::None, _) | (LockSupport::WholeFiles, LockedPart::Range) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            (LockSupport::Refused, _) => Err(io::Error::from_raw_os_error(ENOLCK)),
        }
    }
}

impl StorageFile for SimulatedFile {
    fn info(&self) -> io::Result<EntryInfo> {
        let (state, _) = self.asked(OperationKind::Inspect, 0..0)?;
        info_of(&state.live, self.inode)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let wanted = offset..offset.saturating_add(to_u64(into.len()));
        let (state, fault) = self.asked(OperationKind::Read, wanted)?;
        let len = match fault {
            Some(Fault::Short { len_bytes }) => into
                .len()
                .min(usize::try_from(len_bytes.max(1)).unwrap_or(usize::MAX)),
            _ => into.len(),
        };
        let content = state.live.content(self.inode).ok_or(io::ErrorKind::NotFound)?;
        let read = content.read(offset, &mut into[..len]);
        if let Some(Fault::FlipBit { offset: flipped, bit }) = fault
            && flipped >= offset
            && flipped - offset < to_u64(read)
        {
            into[to_usize(flipped - offset)] ^= 1 << (bit % 8);
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let end = offset.checked_add(to_u64(bytes.len()));
        let mut state = self.writable(io::Error::from_raw_os_error(EBADF), end)?;
        state.write(&self.path, self.inode, (offset, bytes))
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.writable(io::ErrorKind::InvalidInput.into(), Some(len_bytes))?;
        let inode = self.inode;
        state.perform(&self.path, Action::SetLen { inode, len_bytes })
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        let mut state = self.writable(io::Error::from_raw_os_error(EBADF), Some(end_bytes))?;
        state.allocate(&self.path, self.inode, 0..end_bytes)
    }

    fn allocate_from(&self, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
        let mut state = self.writable(io::Error::from_raw_os_error(EBADF), Some(end_bytes))?;
        state.allocate(&self.path, self.inode, start_bytes.min(end_bytes)..end_bytes)
    }

    fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        let end = offset.checked_add(len_bytes);
        let mut state = self.writable(io::Error::from_raw_os_error(EBADF), end)?;
        state.punch(&self.path, self.inode, offset..offset + len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        if !self.keeps_locks(LockedPart::Whole)? {
            return Ok(true);
        }
        let (mut state, _) = self.asked(OperationKind::Lock, 0..0)?;
        let is_taken = state.locks.try_lock(self.inode, self.handle, lock);
        drop(state);
        // An exchange may have freed what others wait for.
        self.shared.unlocked.notify_all();
        Ok(is_taken)
    }

    fn unlock(&self) -> io::Result<()> {
        if !self.keeps_locks(LockedPart::Whole)? {
            return Ok(());
        }
        let (mut state, _) = self.asked(OperationKind::Lock, 0..0)?;
        state.locks.unlock(self.inode, self.handle);
        drop(state);
        self.shared.unlocked.notify_all();
        Ok(())
    }

    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        if !self.keeps_locks(LockedPart::Range)? {
            return Ok(true);
        }
        let range = LockRange::new(range)?;
        let (mut state, _) = self.asked(OperationKind::Lock, 0..0)?;
        let is_taken = state.locks.try_lock_range(self.inode, self.handle, range, lock);
        drop(state);
        // An exchange may have freed what others wait for.
        self.shared.unlocked.notify_all();
        Ok(is_taken)
    }

    fn lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        if !self.keeps_locks(LockedPart::Range)? {
            return Ok(());
        }
        let range = LockRange::new(range)?;
        let (mut state, _) = self.asked(OperationKind::Lock, 0..0)?;
        while !state.locks.try_lock_range(self.inode, self.handle, range, lock) {
            if let Some(refused) = &mut state.refused_waits {
                *refused += 1;
                return Err(io::Error::from_raw_os_error(EDEADLK));
            }
            state = self
                .shared
                .unlocked
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.condition.admits_reading()?;
        }
        drop(state);
        self.shared.unlocked.notify_all();
        Ok(())
    }

    fn unlock_range(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        if !self.keeps_locks(LockedPart::Range)? {
            return Ok(());
        }
        let range = LockRange::new(range)?;
        let (mut state, _) = self.asked(OperationKind::Lock, 0..0)?;
        state.locks.unlock_range(self.inode, self.handle, range);
        drop(state);
        self.shared.unlocked.notify_all();
        Ok(())
    }

    fn is_range_locked(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        if !self.keeps_locks(LockedPart::Range)? {
            return Ok(false);
        }
        let range = LockRange::new(range)?;
        let (state, _) = self.asked(OperationKind::Lock, 0..0)?;
        Ok(state.locks.is_range_locked(self.inode, self.handle, range))
    }

    fn forget_cached(&self, _offset: u64, _len_bytes: u64) {
        self.shared.state().forget(self.inode);
    }
}

/// Returns what is known of a file or a directory.
pub(super) fn info_of(disk: &Disk, inode: Inode) -> io::Result<EntryInfo> {
    let node = disk.node(inode).ok_or(io::ErrorKind::NotFound)?;
    let (kind, len_bytes, allocated_bytes) = match &node.kind {
        NodeKind::File(content) => (FileKind::Regular, content.len_bytes(), content.allocated_bytes()),
        NodeKind::Directory(_) => (FileKind::Directory, 0, 0),
    };
    Ok(EntryInfo {
        kind,
        len_bytes,
        allocated_bytes,
        links: node.links,
        id: FileIdentity {
            device: DEVICE,
            file: inode,
        },
    })
}
