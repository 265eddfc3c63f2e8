//! Journals of four copies in a directory, on a storage that fails on demand.

mod damage;
mod failing;
mod failures;
mod forks;
mod model;
mod plain;

use std::{path::Path, sync::Arc};

use failing::FailingStorage;

use super::*;
use crate::{
    storage::{FileAccess, HostStorage},
    units::Epoch,
};

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([7; 16]);

fn places(root: &Path, count: u8) -> Vec<CopyPlace> {
    (0..count)
        .map(|copy| CopyPlace {
            volume: 0,
            volume_id: VolumeId::from_bytes([9; 16]),
            copy,
            directory: root.join("journal").join(format!("c{copy}")),
        })
        .collect()
}

/// A directory, a storage on it, and a journal of four copies.
struct Bench {
    root: tempfile::TempDir,
    storage: Arc<FailingStorage>,
    journal: Journal,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let storage = Arc::new(FailingStorage::default());
        let journal = open(&storage, root.path());
        Self {
            root,
            storage,
            journal,
        }
    }

    /// With a state behind records of epoch 1 to `count`, whose bodies are [`body`].
    fn with_records(count: u64) -> (Self, JournalState) {
        let bench = Self::new();
        let mut state = bench.journal.create().expect("a new journal");
        for epoch in 1..=count {
            state = bench.journal.append(&state, &body(epoch)).expect("an append");
        }
        (bench, state)
    }

    /// Another process: nothing is remembered, nothing fails.
    fn reopen(&mut self) {
        self.storage = Arc::new(FailingStorage::default());
        self.journal = open(&self.storage, self.root.path());
    }

    fn path(&self, copy: u8, segment: u32) -> PathBuf {
        layout::segment_path(&self.journal.places[usize::from(copy)].directory, segment)
    }
}

fn open(storage: &Arc<FailingStorage>, root: &Path) -> Journal {
    let storage: Arc<dyn Storage> = Arc::<FailingStorage>::clone(storage);
    Journal::new(storage, ARCHIVE, places(root, 4))
}

/// What the record of an epoch says: of a length of its own, in one to three sectors.
fn body(epoch: u64) -> Vec<u8> {
    let len = usize::try_from(epoch * 1777 % 9000).expect("small");
    let first = u8::try_from(epoch % 200).expect("small") + 1;
    (first..=250).cycle().take(len + 1).collect()
}

fn read_file(path: &Path) -> Vec<u8> {
    let file = HostStorage.open(path, FileAccess::Read).expect("a segment");
    let len = file.info().expect("its length").len_bytes;
    let mut bytes = vec![0; usize::try_from(len).expect("small")];
    file.read_exact_at(0, &mut bytes).expect("its bytes");
    bytes
}

fn write_file(path: &Path, bytes: &[u8]) {
    let file = HostStorage
        .open(path, FileAccess::ReadWrite)
        .or_else(|_| HostStorage.create_new(path))
        .expect("a segment");
    file.set_len(u64::try_from(bytes.len()).expect("small"))
        .and_then(|()| file.write_all_at(0, bytes))
        .expect("written");
}

/// The chain of a scan is the records 1 to `count`, and each can be read.
fn assert_chain(journal: &Journal, scan: &Scan, count: u64) {
    assert_eq!(scan.head.map(|head| head.epoch.get()), Some(count), "{scan:?}");
    assert_eq!(scan.first_epoch, Some(Epoch::new(1)), "{scan:?}");
    assert_eq!(scan.forks, []);
    for epoch in 1..=count {
        let record = journal
            .read(scan, Epoch::new(epoch))
            .expect("a record of the chain");
        assert_eq!(record.body, body(epoch), "record {epoch}");
    }
}
