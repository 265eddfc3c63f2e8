//! Storage that keeps next to nothing of what is stored: for archives that are larger than any disk at hand.
//!
//! Extents keep their beginnings, the rest of what is written to them is counted and forgotten, and reads of it give zeros. Everything
//! else, the catalog and the journal among it, lies on the disk of the machine. So a commit does all of its work and calls, at any
//! length; only the disk is not there. What is read back behind the beginnings is damage, as it should be.

use std::{
    ffi::OsString,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bfdb::storage::{EntryInfo, FileAccess, HostStorage, Lock, Replace, Storage, StorageFile};

/// Bytes that every extent keeps.
pub const KEPT_LEN_BYTES: u64 = 256 * 1024;

/// What is free, whatever was written.
const FREE_LEN_BYTES: u64 = 1 << 50;

/// The disk of the machine, but for extents.
#[derive(Debug, Clone, Default)]
pub struct DiscardingStorage {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How long each extent would be.
    lengths: Mutex<std::collections::BTreeMap<PathBuf, Arc<AtomicU64>>>,
    written: AtomicU64,
}

impl DiscardingStorage {
    /// Returns how many bytes were written to extents.
    pub fn written_bytes(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    fn wrap(&self, path: &Path, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        if path.extension().is_none_or(|extension| extension != "bfx") {
            return inner;
        }
        let mut lengths = self.shared.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        let len_bytes = Arc::clone(lengths.entry(path.to_path_buf()).or_default());
        Arc::new(DiscardingFile {
            inner,
            len_bytes,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Storage for DiscardingStorage {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(path, HostStorage.open(path, access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(path, HostStorage.create_new(path)?))
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        let mut info = HostStorage.inspect(path)?;
        let lengths = self.shared.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(len_bytes) = lengths.get(path) {
            info.len_bytes = len_bytes.load(Ordering::Relaxed);
        }
        Ok(info)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        HostStorage.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        HostStorage.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        HostStorage.sync_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        HostStorage.rename(from, to, replace)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut lengths = self.shared.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        lengths.remove(path);
        HostStorage.remove_file(path)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(FREE_LEN_BYTES)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        HostStorage.canonical(path)
    }
}

/// An extent that keeps its beginning.
#[derive(Debug)]
struct DiscardingFile {
    inner: Arc<dyn StorageFile>,
    len_bytes: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl DiscardingFile {
    fn len(&self) -> u64 {
        self.len_bytes.load(Ordering::Relaxed)
    }

    fn reach(&self, end: u64) {
        self.len_bytes.fetch_max(end, Ordering::Relaxed);
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).expect("lengths are at most 64 bits")
}

impl StorageFile for DiscardingFile {
    fn info(&self) -> io::Result<EntryInfo> {
        let len_bytes = self.len();
        Ok(EntryInfo {
            len_bytes,
            allocated_bytes: len_bytes,
            ..self.inner.info()?
        })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let left = self.len().saturating_sub(offset);
        let count = left.min(as_u64(into.len()));
        let into = &mut into[..usize::try_from(count).expect("it fits the buffer")];
        into.fill(0);
        if offset < KEPT_LEN_BYTES && !into.is_empty() {
            let kept = usize::try_from(KEPT_LEN_BYTES - offset).unwrap_or(usize::MAX);
            let kept = kept.min(into.len());
            // Behind the end of what is kept there are zeros.
            self.inner.read_at(offset, &mut into[..kept])?;
        }
        Ok(into.len())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if offset < KEPT_LEN_BYTES {
            let kept = usize::try_from(KEPT_LEN_BYTES - offset).unwrap_or(usize::MAX);
            self.inner.write_all_at(offset, &bytes[..kept.min(bytes.len())])?;
        }
        self.reach(offset + as_u64(bytes.len()));
        self.shared
            .written
            .fetch_add(as_u64(bytes.len()), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.inner.set_len(len_bytes.min(KEPT_LEN_BYTES))?;
        self.len_bytes.store(len_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        self.inner.allocate(end_bytes.min(KEPT_LEN_BYTES))?;
        self.reach(end_bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.inner.try_lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        self.inner.try_lock_range(range, lock)
    }

    fn lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        self.inner.lock_range(range, lock)
    }

    fn unlock_range(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        self.inner.unlock_range(range)
    }

    fn is_range_locked(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        self.inner.is_range_locked(range)
    }
}

/// A source of as many bytes as anybody wants, the same at every reading: 4 KiB pages that differ in their first bytes, and look like
/// noise to whoever compresses.
#[derive(Debug)]
pub struct GeneratedSource {
    pattern: Vec<u8>,
    position: u64,
    len_bytes: u64,
}

/// Bytes that begin with their own number.
const PAGE_LEN_BYTES: u64 = 4096;

/// Pages after which the rest of a page is that of an earlier one again.
const PATTERN_PAGES: u64 = 4096;

impl GeneratedSource {
    /// Makes one of so many bytes.
    pub fn new(len_bytes: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = (0..PATTERN_PAGES * PAGE_LEN_BYTES / 8).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self {
            pattern: words.flatten().collect(),
            position: 0,
            len_bytes,
        }
    }

    /// Fills `into` with the bytes from `offset` on, as far as there are any; returns how many there are.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < into.len() {
            let at = offset + as_u64(filled);
            let (page, start) = (at / PAGE_LEN_BYTES, at % PAGE_LEN_BYTES);
            let left = self.len_bytes.saturating_sub(at).min(PAGE_LEN_BYTES - start);
            let rest = into.len() - filled;
            let count = usize::try_from(left).map_or(rest, |left| left.min(rest));
            if count == 0 {
                break;
            }
            let from = (page % PATTERN_PAGES) * PAGE_LEN_BYTES + start;
            let from = usize::try_from(from).expect("the pattern is in memory");
            into[filled..filled + count].copy_from_slice(&self.pattern[from..from + count]);
            for (index, byte) in page.to_le_bytes().into_iter().enumerate() {
                let place = as_u64(index)
                    .checked_sub(start)
                    .and_then(|at| usize::try_from(at).ok());
                if let Some(place) = place.filter(|place| *place < count) {
                    into[filled + place] = byte;
                }
            }
            filled += count;
        }
        filled
    }
}

impl io::Read for GeneratedSource {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, into);
        self.position += as_u64(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_generated_source_has_the_same_bytes_wherever_reading_begins() {
        let len = 3 * PAGE_LEN_BYTES + 77;
        let mut all = Vec::new();
        GeneratedSource::new(len)
            .read_to_end(&mut all)
            .expect("it is read");
        assert_eq!(as_u64(all.len()), len);
        assert_ne!(all[..4096], all[4096..8192], "pages differ");
        let source = GeneratedSource::new(len);
        for start in [0, 1, 7, 8, 9, 4095, 4096, 4100, 8191, 12_000] {
            let mut some = vec![0; 5000];
            let count = source.read_at(start, &mut some);
            let start = usize::try_from(start).expect("small");
            assert_eq!(
                some[..count],
                all[start..(start + 5000).min(all.len())],
                "from {start}"
            );
        }
    }
}
