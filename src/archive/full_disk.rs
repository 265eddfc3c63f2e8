//! Tests of operations on a volume that fills up: at any call, and for real, without a file system of its own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Archive, ArchiveOptions, CommitOptions,
    media::Media,
    shared::{Shared, SharedParts},
    volumes::announce_epoch,
};
use crate::{
    catalog::{Access, Catalog, CatalogOptions, Check},
    error::{CommitError, VolumeError},
    host::ArchiveLayout,
    merkle::ChainHash,
    units::{ExtentId, FileName, VolumeId, to_u64},
    volume::{ExtentStat, ExtentWriter, MemoryVolume, SlotBytes, SlotIndex, Volume},
};

/// A volume that somebody else fills behind the back of who has asked for its free space: from a call on, every other one
/// that needs room finds none.
#[derive(Debug)]
struct Filling {
    inner: MemoryVolume,
    calls_left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct FillingWriter {
    inner: Arc<dyn ExtentWriter>,
    calls_left: Arc<AtomicU64>,
}

fn take_room(calls_left: &AtomicU64, volume: VolumeId, extent: ExtentId) -> Result<(), VolumeError> {
    let less = |left: u64| left.checked_sub(1);
    match calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
        Ok(_) => Ok(()),
        Err(_) => Err(VolumeError::Full {
            volume,
            extent,
            needed_bytes: 1,
            free_bytes: 0,
        }),
    }
}

impl Filling {
    fn wrap(&self, inner: Arc<dyn ExtentWriter>) -> Arc<dyn ExtentWriter> {
        Arc::new(FillingWriter {
            inner,
            calls_left: Arc::clone(&self.calls_left),
        })
    }
}

impl Volume for Filling {
    fn id(&self) -> VolumeId {
        self.inner.id()
    }

    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        take_room(&self.calls_left, self.id(), extent)?;
        let writer = self.inner.create_extent(extent, header, capacity_bytes)?;
        Ok(self.wrap(writer))
    }

    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        Ok(self.wrap(self.inner.resume_extent(extent, end_bytes)?))
    }

    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        self.inner.read_at(extent, offset, into)
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        self.inner.extents()
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        self.inner.remove_extent(extent)
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        self.inner.free_bytes()
    }

    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError> {
        self.inner.read_slot(slot, into)
    }

    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError> {
        self.inner.write_slot(slot, bytes)
    }
}

impl ExtentWriter for FillingWriter {
    fn volume(&self) -> VolumeId {
        self.inner.volume()
    }

    fn extent(&self) -> ExtentId {
        self.inner.extent()
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        take_room(&self.calls_left, self.volume(), self.extent())?;
        self.inner.preallocate(end_bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        take_room(&self.calls_left, self.volume(), self.extent())?;
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.inner.sync()
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        self.inner.truncate(end_bytes)
    }

    fn seal(&self) -> Result<(), VolumeError> {
        self.inner.seal()
    }
}

/// An archive whose volume is in memory and has so much room.
struct Small {
    archive: Archive,
    calls_left: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

impl Small {
    fn new(capacity_bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("a.bfdb");
        let options = ArchiveOptions::default();
        let made = Archive::create(&root, &options).expect("an archive");
        made.close().expect("a clean end");
        let layout = ArchiveLayout::new(root);
        let catalog = Catalog::open(
            &layout.machine().storage,
            &layout.catalog(),
            Access::Write,
            Check::Always,
            CatalogOptions::default(),
        )
        .expect("its catalog");
        let record = catalog
            .read()
            .and_then(|reader| reader.volumes())
            .expect("its volumes");
        let calls_left = Arc::new(AtomicU64::new(u64::MAX));
        let volume = Filling {
            inner: MemoryVolume::new(record[0].id, capacity_bytes),
            calls_left: Arc::clone(&calls_left),
        };
        let epoch = catalog
            .read()
            .and_then(|reader| reader.epoch())
            .expect("its epoch");
        announce_epoch(&volume, catalog.archive().id, (epoch, ChainHash::NONE)).expect("a slot");
        let catalog = Arc::new(catalog);
        let use_of = (Access::Write, options.resources.io);
        let media = Media::find(&layout, &catalog, use_of, Vec::new()).expect("a journal");
        let volume: Arc<dyn Volume> = Arc::new(volume);
        let shared = Shared::new(SharedParts {
            layout,
            media: media.with_only(&catalog, volume),
            catalog,
            access: Access::Write,
            resources: options.resources,
        });
        let archive = Archive {
            shared: Arc::new(shared.expect("threads")),
        };
        Self {
            archive,
            calls_left,
            _dir: dir,
        }
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<(), CommitError> {
        let options = CommitOptions::default();
        self.archive
            .commit(&file_name(name), content, to_u64(content.len()), &options)
            .map(drop)
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let snapshot = self.archive.snapshot().expect("a snapshot");
        let reader = snapshot.open_file(&file_name(name), Arc::new(()));
        let mut content = Vec::new();
        std::io::copy(&mut reader.expect("the file"), &mut content).expect("its bytes");
        content
    }

    /// What the volume holds, and that it is what the catalog says: no extent is longer than its row, owned, or unknown.
    fn extents(&self) -> Vec<(ExtentId, u64)> {
        let shared = &self.archive.shared;
        let stats = shared.volumes().members()[0].volume.extents().expect("a list");
        let found: Vec<_> = stats.iter().map(|stat| (stat.extent, stat.len_bytes)).collect();
        let rows = shared
            .catalog
            .read()
            .and_then(|reader| reader.extents())
            .expect("the rows");
        assert!(
            rows.iter().all(|row| row.owner.is_none()),
            "nothing is left owned"
        );
        let rows: Vec<_> = rows.iter().map(|row| (row.id, row.end_bytes)).collect();
        assert_eq!(found, rows, "extents end where their rows say");
        found
    }
}

fn file_name(name: &str) -> FileName {
    name.parse().expect("a name")
}

#[test]
fn a_volume_that_fills_up_refuses_with_numbers_as_often_as_it_is_asked_and_loses_nothing() {
    let small = Small::new(19 << 20);
    let content = vec![7; 1_000_000];
    let mut stored = 0;
    while small.put(&stored.to_string(), &content).is_ok() {
        stored += 1;
        assert!(stored < 10, "the volume has no end");
    }
    assert!(stored > 2, "{stored} files fit");
    let before = small.extents();
    for attempt in 0..10 {
        match small.put("too much", &content) {
            Err(CommitError::Full {
                needed_bytes,
                free_bytes,
                ..
            }) => assert!(needed_bytes > free_bytes, "attempt {attempt}"),
            other => panic!("{other:?} at attempt {attempt}"),
        }
        assert_eq!(small.extents(), before, "attempt {attempt} takes no room");
    }
    small.put("small", b"what fits is stored").expect("there is room");
    for index in 0..stored {
        assert!(small.get(&index.to_string()) == content);
    }
    drop(small.archive.remove(&file_name("0")).expect("a removal"));
    assert_eq!(small.get("small"), b"what fits is stored");
    assert_eq!(small.archive.scrub(&()).expect("a scrub").damage, []);
}

#[test]
fn a_volume_that_is_filled_by_others_at_any_call_leaves_nothing_behind_and_works_once_there_is_room() {
    let small = Small::new(1 << 30);
    let lengths = [10, 1_000_000, 11_000_000];
    let first = vec![1; 70_000];
    small.put("first", &first).expect("there is room");
    for len in lengths {
        let content = vec![2; len];
        let before = small.extents();
        let mut calls = 0;
        loop {
            small.calls_left.store(calls, Ordering::SeqCst);
            match small.put(&len.to_string(), &content) {
                Ok(()) => break,
                Err(error) => {
                    let is_full = matches!(&error, CommitError::Full { needed_bytes, .. } if *needed_bytes > 0)
                        || matches!(&error, CommitError::Volume { source } if source.is_full());
                    assert!(is_full, "{error:?} after {calls} calls");
                }
            }
            assert_eq!(small.extents(), before, "full after {calls} calls of {len} bytes");
            calls += 1;
        }
        assert!(calls > 4, "{calls} calls needed room");
        small.calls_left.store(u64::MAX, Ordering::SeqCst);
        assert!(small.get(&len.to_string()) == content);
    }
    assert!(small.get("first") == first);
    assert_eq!(small.archive.scrub(&()).expect("a scrub").damage, []);
}
