//! A bounded cache of read-only file handles, least recently used goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::StorageFile;
use crate::units::ExtentId;

/// Open files by extent. The lock covers memory work only: files are opened and closed outside it.
#[derive(Debug)]
pub(super) struct Handles {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<ExtentId, (u64, Arc<dyn StorageFile>)>,
    /// Extents by the time of their last use.
    by_use: BTreeMap<u64, ExtentId>,
    uses: u64,
}

impl Handles {
    /// Makes a cache for `limit` files, one at least.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            state: Mutex::default(),
        }
    }

    pub(super) fn get(&self, extent: ExtentId) -> Option<Arc<dyn StorageFile>> {
        let mut state = self.locked();
        let (_, file) = state.take(extent)?;
        state.insert(extent, Arc::clone(&file));
        Some(file)
    }

    pub(super) fn put(&self, extent: ExtentId, file: &Arc<dyn StorageFile>) {
        let mut state = self.locked();
        let replaced = state.take(extent);
        state.insert(extent, Arc::clone(file));
        let oldest = if state.files.len() > self.limit {
            state.by_use.first_key_value()
        } else {
            None
        };
        let evicted = oldest
            .map(|(_, &extent)| extent)
            .and_then(|extent| state.take(extent));
        drop(state);
        drop((replaced, evicted)); // Closed here, unless a read is still on the way.
    }

    /// Closes all files; returns how many those were.
    pub(super) fn clear(&self) -> usize {
        let mut state = self.locked();
        let files = std::mem::take(&mut state.files);
        state.by_use.clear();
        drop(state);
        files.len()
    }

    pub(super) fn forget(&self, extent: ExtentId) {
        let forgotten = self.locked().take(extent);
        drop(forgotten);
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, extent: ExtentId) -> Option<(u64, Arc<dyn StorageFile>)> {
        let (used, file) = self.files.remove(&extent)?;
        let listed = self.by_use.remove(&used);
        assert!(listed == Some(extent), "every open file has one time of use");
        Some((used, file))
    }

    fn insert(&mut self, extent: ExtentId, file: Arc<dyn StorageFile>) {
        self.uses += 1;
        self.by_use.insert(self.uses, extent);
        self.files.insert(extent, (self.uses, file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{HostStorage, Storage as _};

    #[test]
    fn the_least_recently_used_file_is_closed_first() {
        let handles = Handles::new(2);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| {
            let path = directory.path().join(name);
            HostStorage.create_new(&path).expect("a new file")
        };
        let id = ExtentId::new;
        let first = file("first");
        handles.put(id(1), &first);
        handles.put(id(2), &file("second"));
        assert!(handles.get(id(1)).is_some(), "1 is younger than 2 now");
        handles.put(id(3), &file("third"));
        assert!(handles.get(id(2)).is_none(), "2 was the oldest");
        assert!(
            handles.get(id(1)).is_some_and(|kept| Arc::ptr_eq(&kept, &first)),
            "the same file is kept"
        );
        handles.forget(id(1));
        assert!(handles.get(id(1)).is_none(), "forgotten");
        assert_eq!(Arc::strong_count(&first), 1, "no handle is kept open");
        assert!(handles.get(id(3)).is_some(), "the others stay");
    }
}
