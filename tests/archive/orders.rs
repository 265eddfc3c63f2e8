//! Large files are moved column by column, or shard by shard where disks rotate: what is stored and restored is the same.

use std::{collections::BTreeMap, fs};

use bfdb::{
    archive::{Resources, RestoreOptions, ScrubDepth, ScrubOptions},
    error::{ReadError, RestoreError},
    geometry::{BlockGeometry, FileGeometry, Policy},
    host::RestoreTarget,
    storage::Medium,
};

use crate::{
    damage::chart::frames_of,
    stop_after::StopAfter,
    support::{
        DATA, LEAF, PARITY, SEGMENTED_BELOW, Store, edge_lengths, grouped_policy, name, painted, small_policy,
    },
};

/// Long enough for three groups, the last of them short.
const GROUPED: u64 = 9 * DATA as u64 * 2 * LEAF - 3 * LEAF - 77;

fn store(policy: Policy, medium: Medium) -> Store {
    let resources = Resources {
        medium: Some(medium),
        ..Resources::default()
    };
    Store::in_memory(policy, resources)
}

fn lengths() -> Vec<u64> {
    let mut lengths = edge_lengths();
    lengths.extend([SEGMENTED_BELOW + 20 * LEAF + 333, GROUPED]);
    lengths
}

/// What the frames of a file carry: leaf tables stand for payloads, parity among them.
fn payloads(store: &Store, len: u64) -> BTreeMap<(u64, u16), Vec<u8>> {
    let contents = BTreeMap::from([(len.to_string(), painted(len, len))]);
    let read = |frame: crate::damage::chart::Frame| {
        let extent = fs::read(&frame.extent).unwrap();
        let payload = frame.layout.payload();
        let start = frame.offset + payload.start();
        let bytes = &extent[start as usize..][..payload.len() as usize];
        ((frame.block, frame.shard), bytes.to_vec())
    };
    frames_of(store, &contents).into_iter().map(read).collect()
}

#[test]
fn both_orders_store_the_same_payloads_in_every_tier_and_at_every_edge() {
    for policy in [small_policy(), grouped_policy()] {
        let stores = [Medium::Solid, Medium::Rotating].map(|medium| store(policy, medium));
        for len in lengths() {
            let content = painted(len, len);
            stores
                .iter()
                .for_each(|store| store.put_file(&len.to_string(), &content));
            let [columns, shards] = &stores;
            assert!(shards.get(&len.to_string()).unwrap() == content, "{len} bytes");
            let stored = payloads(shards, len);
            assert!(!stored.is_empty() || len == 0, "{len} bytes are stored");
            assert!(payloads(columns, len) == stored, "{len} bytes are stored alike");
        }
        let deep = ScrubOptions {
            depth: ScrubDepth::Deep,
            ..ScrubOptions::default()
        };
        let [_, shards] = &stores;
        let report = shards.archive.scrub_with(&deep, &()).unwrap();
        assert_eq!((report.damage, report.journal), (vec![], vec![]));
        assert!(report.blocks_encoded > 0, "parity was encoded again");
    }
}

#[test]
fn a_file_is_stored_shard_by_shard_where_disks_rotate_and_only_there() {
    let len = SEGMENTED_BELOW + 20 * LEAF + 333;
    let content = painted(len, 1);
    let geometry = FileGeometry::new(len, &small_policy());
    let data_shards = |block: &BlockGeometry| {
        let shards = block.shards().filter(|shard| block.is_data(*shard));
        shards.filter(|shard| block.is_present(*shard)).count()
    };
    let shards: usize = geometry.blocks().map(|block| data_shards(&block)).sum();
    for (medium, pieces) in [
        (Medium::Solid, geometry.block_count() as usize),
        (Medium::Rotating, shards),
    ] {
        let store = store(small_policy(), medium);
        let source = store.source("source", &content);
        let counted = StopAfter::never();
        drop(
            store
                .archive
                .commit_path(&name("file"), &source, &counted)
                .unwrap(),
        );
        assert_eq!(counted.events() as usize, pieces, "{medium:?}: {pieces} pieces");
    }
}

/// Restores a file; the same archive says the same of it whatever the order.
fn restored(store: &Store, file: &str) -> Result<Vec<u8>, RestoreError> {
    let out = store.dir.path().join("out");
    let target = RestoreTarget::open(&out).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    let receipt = snapshot.restore(&name(file), &target, &RestoreOptions::default(), &());
    let content = receipt.map(|_| fs::read(out.join(file)).unwrap());
    fs::remove_dir_all(out).unwrap();
    content
}

#[test]
fn a_file_is_restored_shard_by_shard_around_as_many_lost_lanes_as_its_code_survives() {
    for policy in [small_policy(), grouped_policy()] {
        for len in lengths().into_iter().filter(|len| *len >= SEGMENTED_BELOW) {
            let store = store(policy, Medium::Rotating);
            let content = painted(len, 5);
            store.put_file("file", &content);
            assert!(restored(&store, "file").unwrap() == content, "{len} bytes, whole");
            let extents = store.extents();
            for lost in &extents[..usize::from(PARITY)] {
                fs::remove_file(lost).unwrap();
            }
            assert!(
                restored(&store, "file").unwrap() == content,
                "{len} bytes, with {PARITY} lanes lost"
            );
            fs::remove_file(&extents[usize::from(PARITY)]).unwrap();
            match restored(&store, "file") {
                Err(RestoreError::Read {
                    source: ReadError::Lost { bad, tolerated, .. },
                }) => assert_eq!((bad, tolerated), (PARITY + 1, PARITY), "{len} bytes"),
                other => panic!("{len} bytes: {:?}", other.map(|content| content.len())),
            }
        }
    }
}
