//! Every byte of every extent file, counted anew from the frames that stand in it.

use std::{collections::BTreeMap, fs};

use bfdb::{
    catalog::{Access, Catalog, CatalogOptions, CatalogReader, Check, ExtentRecord, ExtentState},
    format::{ClaimedFrame, EXTENT_HEADER_LEN_BYTES, FRAME_HEADER_LEN_BYTES, FramePlace},
    host::Machine,
    units::ExtentId,
};
use bfdb_fault_injection::Seeded;

use super::{compact, eager, gentle, remove, replace, space};
use crate::support::{Store, painted};

/// Compares what the archive says of its room with what is in its files: frames that live are there, whole; frames that are
/// there and do not live are dead; what was given back reads as zeros.
pub fn recounted(store: &Store) {
    let machine = Machine::default();
    let path = store.root().join("catalog.redb");
    let options = CatalogOptions::default();
    let catalog = Catalog::open(&machine.storage, &path, Access::Read, Check::Always, options).unwrap();
    let reader = catalog.read().unwrap();
    let files: BTreeMap<ExtentId, Vec<u8>> = (store.extents().into_iter())
        .map(|path| {
            let id = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (ExtentId::new(id), fs::read(path).unwrap())
        })
        .collect();
    let said = space(&store.archive);
    let (mut live, mut dead, mut freed, mut overhead, mut reserved) = (0, 0, 0, 0, 0);
    for extent in reader.extents().unwrap() {
        let Some(bytes) = files.get(&extent.id) else {
            assert!(
                extent.state == ExtentState::Dropped || extent.end_bytes == 0,
                "there is no file of {extent:?}"
            );
            continue;
        };
        let state = states(store, &reader, (&extent, bytes));
        let count = |wanted| state.iter().map(|state| u64::from(*state == wanted)).sum::<u64>();
        assert_eq!(count(b'l'), extent.live_bytes, "{extent:?}");
        live += count(b'l');
        dead += count(b'd');
        freed += count(b'f');
        overhead += count(b'o');
        reserved += bytes.len() as u64 - extent.end_bytes;
    }
    assert_eq!(
        (live, dead, freed, overhead, reserved),
        (
            said.live_bytes,
            said.dead_bytes,
            said.freed_bytes,
            said.overhead_bytes,
            said.reserved_bytes
        )
    );
    let all: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(
        all,
        live + dead + freed + overhead + reserved,
        "each byte is in exactly one state"
    );
    assert_eq!(said.unknown_bytes, 0);
}

/// Says of each byte of an extent in which state it is: o for overhead, l for live, f for given back, d for dead.
fn states(store: &Store, reader: &CatalogReader, (extent, bytes): (&ExtentRecord, &[u8])) -> Vec<u8> {
    let end = usize::try_from(extent.end_bytes).unwrap();
    let mut state = vec![b'd'; end];
    state[..EXTENT_HEADER_LEN_BYTES.min(end)].fill(b'o');
    for place in reader.shards_of_extent(extent.id, None, usize::MAX).unwrap() {
        let at = usize::try_from(place.offset).unwrap();
        let frame = ClaimedFrame::parse(&bytes[at..at + FRAME_HEADER_LEN_BYTES]).unwrap();
        let frame = frame.check_place(&FramePlace {
            archive: store.archive.id(),
            volume: extent.volume,
            extent: extent.id,
            offset: place.offset,
        });
        let len = usize::try_from(frame.unwrap().layout().total_len_bytes()).unwrap();
        assert!(
            state[at..at + len].iter().all(|state| *state == b'd'),
            "{place:?}"
        );
        state[at..at + len].fill(b'l');
    }
    for range in reader.freed_of(extent.id).unwrap() {
        let range = usize::try_from(range.start()).unwrap()..usize::try_from(range.end()).unwrap();
        assert!(
            state[range.clone()].iter().all(|state| *state == b'd'),
            "{range:?}"
        );
        assert!(
            bytes[range.clone()].iter().all(|byte| *byte == 0),
            "{range:?} is no hole"
        );
        state[range].fill(b'f');
    }
    state
}

#[test]
fn every_byte_has_one_state_behind_commits_removals_replacements_failures_and_compaction() {
    for seed in 0..6 {
        let store = Store::new();
        let mut seeded = Seeded::new(seed);
        let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for step in 0..40 {
            let file = format!("f{}", seeded.below(6));
            let content = painted([300, 5_000, 60_000, 150_000][seeded.index(4)], step);
            match seeded.below(7) {
                0 if stored.remove(&file).is_some() => remove(&store.archive, &file),
                1 => {
                    // Shorter than was said: undone.
                    let name = crate::support::name("failed");
                    let len = content.len() as u64 + 1;
                    let failed = store.archive.commit(
                        &name,
                        &content[..],
                        len,
                        &bfdb::archive::CommitOptions::default(),
                    );
                    assert!(failed.is_err());
                }
                2 => drop(compact(&store.archive, &eager())),
                3 => drop(compact(&store.archive, &gentle())),
                _ => {
                    replace(&store.archive, &file, &content);
                    stored.insert(file, content);
                }
            }
            recounted(&store);
        }
        for (file, content) in stored {
            assert!(store.get(&file).unwrap() == content, "{file} of seed {seed}");
        }
        super::assert_whole(&store.archive);
    }
}
