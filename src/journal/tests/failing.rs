//! The file system of the machine, but that chosen calls fail.

use std::{
    ffi::OsString,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::storage::{EntryInfo, FileAccess, HostStorage, Lock, Replace, Storage, StorageFile};

/// What is done to a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Open,
    Create,
    Read,
    Write,
    Allocate,
    Sync,
    SyncDirectory,
    List,
}

/// A call, as the log has it.
pub(super) type Logged = (Call, PathBuf);

type Decide = Box<dyn FnMut(Call, &Path) -> Option<io::ErrorKind> + Send>;

#[derive(Default)]
struct Shared {
    decide: Option<Decide>,
    log: Vec<Logged>,
}

#[derive(Clone, Default)]
pub(super) struct FailingStorage(Arc<Mutex<Shared>>);

impl std::fmt::Debug for FailingStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailingStorage")
    }
}

impl FailingStorage {
    /// From now on calls fail for which `decide` says so; a write that fails has written half of its bytes.
    pub(super) fn fail(&self, decide: impl FnMut(Call, &Path) -> Option<io::ErrorKind> + Send + 'static) {
        self.0.lock().expect("no panic").decide = Some(Box::new(decide));
    }

    pub(super) fn fail_nothing(&self) {
        self.0.lock().expect("no panic").decide = None;
    }

    /// Returns the calls since the last time.
    pub(super) fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut self.0.lock().expect("no panic").log)
    }

    fn call(&self, call: Call, path: &Path) -> io::Result<()> {
        let mut shared = self.0.lock().expect("no panic");
        shared.log.push((call, path.to_path_buf()));
        match shared.decide.as_mut().and_then(|decide| decide(call, path)) {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(FailingFile {
            storage: self.clone(),
            path: path.to_path_buf(),
            file,
        })
    }
}

impl Storage for FailingStorage {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        self.call(Call::Open, path)?;
        Ok(self.wrap(path, HostStorage.open(path, access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.call(Call::Create, path)?;
        Ok(self.wrap(path, HostStorage.create_new(path)?))
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        HostStorage.inspect(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.call(Call::List, directory)?;
        HostStorage.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Create, path)?;
        HostStorage.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.call(Call::SyncDirectory, path)
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        HostStorage.rename(from, to, replace)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        HostStorage.remove_file(path)
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(1234)
    }
}

#[derive(Debug)]
struct FailingFile {
    storage: FailingStorage,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
}

impl StorageFile for FailingFile {
    fn info(&self) -> io::Result<EntryInfo> {
        self.file.info()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.storage.call(Call::Read, &self.path)?;
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.storage.call(Call::Write, &self.path) {
            self.file.write_all_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        self.storage.call(Call::Allocate, &self.path)?;
        self.file.allocate(end_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.storage.call(Call::Sync, &self.path)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.storage.call(Call::Sync, &self.path)
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.file.try_lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        self.file.try_lock_range(range, lock)
    }
}
