//! What goes in comes back.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::Arc,
};

use bfdb::{
    archive::{CommitOutcome, CommitReceipt, RestoreOptions},
    catalog::Access,
    geometry::Tier,
    host::RestoreTarget,
};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

use crate::damage::chart::descriptors_of;
use crate::support::{SEGMENTED_BELOW, Store, TINY_BELOW, edge_lengths, name, open, painted};

#[test]
fn every_edge_length_comes_back_from_a_file_and_from_a_stream() {
    let store = Store::new();
    for len in edge_lengths() {
        let content = painted(len, 1);
        store.put_file(&format!("file/{len}"), &content);
        store.put(&format!("stream/{len}"), &content);
        assert!(
            store.get(&format!("file/{len}")).unwrap() == content,
            "file of {len} bytes"
        );
        assert!(
            store.get(&format!("stream/{len}")).unwrap() == content,
            "stream of {len} bytes"
        );
    }
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(report.damage, [], "what was just written is whole");
    let verified = store.archive.snapshot().unwrap().verify(None, &()).unwrap();
    assert_eq!(
        (verified.damage.len(), verified.files),
        (0, 2 * edge_lengths().len() as u64)
    );
    let descriptors = descriptors_of(&store.extent_bytes());
    let of_descriptors: u64 = descriptors
        .iter()
        .map(|frame| frame.layout.total_len_bytes())
        .sum();
    assert_eq!(
        (
            verified.blocks + verified.files,
            verified.bytes_read + of_descriptors
        ),
        (report.blocks, report.bytes_read),
        "both read every file, and a scrub the descriptor of each commit as well"
    );
}

#[test]
fn a_file_and_a_stream_of_the_same_content_are_encoded_alike() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW + 12_345, 3);
    store.put_file("file", &content);
    store.put("stream", &content);
    let digests = |file: &str| {
        let info = store
            .archive
            .snapshot()
            .unwrap()
            .file(&name(file))
            .unwrap()
            .unwrap();
        (info.root, info.tier, info.block_count)
    };
    assert_eq!(digests("file"), digests("stream"));
    // Lose the same data shards of both: parity that differed would not bring the bytes back.
    for extent in &store.extents()[..3] {
        fs::remove_file(extent).unwrap();
    }
    assert!(store.get("file").unwrap() == content);
    assert!(store.get("stream").unwrap() == content);
}

#[test]
fn a_listing_names_tier_length_and_root() {
    let store = Store::new();
    for (file, len) in [
        ("b", TINY_BELOW - 1),
        ("a/2", TINY_BELOW),
        ("a/1", SEGMENTED_BELOW),
    ] {
        store.put(file, &painted(len, len));
    }
    let snapshot = store.archive.snapshot().unwrap();
    let listed: Vec<_> = snapshot
        .files(None)
        .map(|file| file.unwrap())
        .map(|file| (file.name.to_string(), file.tier))
        .collect();
    let expected = [
        ("a/1", Tier::Blocked),
        ("a/2", Tier::Segmented),
        ("b", Tier::Tiny),
    ];
    assert_eq!(listed, expected.map(|(name, tier)| (name.to_owned(), tier)));
    let below: Vec<_> = snapshot
        .files(Some(&name("a")))
        .map(|file| file.unwrap().len_bytes)
        .collect();
    assert_eq!(below, [SEGMENTED_BELOW, TINY_BELOW]);
    let totals = snapshot.totals().unwrap();
    assert_eq!(
        (totals.files, totals.bytes),
        (3, TINY_BELOW - 1 + TINY_BELOW + SEGMENTED_BELOW)
    );
}

#[test]
fn reading_at_every_offset_and_length_gives_the_bytes_of_that_range() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW + 777, 5);
    store.put("file", &content);
    let reader = store
        .archive
        .snapshot()
        .unwrap()
        .open_file(&name("file"), Arc::new(()))
        .unwrap();
    for offset in (0..content.len() + 10).step_by(401) {
        for len in [0, 1, 63, 1024, 1025, 4096, 30_000] {
            let mut bytes = vec![0xEE; len];
            let count = reader.read_at(offset as u64, &mut bytes).unwrap();
            let end = (offset + len).min(content.len());
            let expected = content.get(offset..end).unwrap_or_default();
            assert!(bytes[..count] == *expected, "{len} bytes at {offset}");
        }
    }
}

#[test]
fn seeking_and_reading_in_odd_pieces_gives_the_same_bytes() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW + 777, 6);
    store.put("file", &content);
    let mut reader = store
        .archive
        .snapshot()
        .unwrap()
        .open_file(&name("file"), Arc::new(()))
        .unwrap();
    for start in [
        0,
        1023,
        1024,
        50_000,
        content.len() - 1,
        content.len(),
        content.len() + 5,
    ] {
        reader.seek(SeekFrom::Start(start as u64)).unwrap();
        let mut tail = Vec::new();
        let mut piece = [0; 700];
        loop {
            let count = reader.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            tail.extend_from_slice(&piece[..count]);
        }
        assert!(tail == content.get(start..).unwrap_or_default(), "from {start}");
    }
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), content.len() as u64 - 3);
    assert!(
        reader.seek(SeekFrom::Current(-1_000_000)).is_err(),
        "before the file"
    );
}

#[test]
fn an_archive_that_was_closed_and_opened_again_has_everything() {
    let store = Store::new();
    store.put("tiny", b"hello");
    store.put("blocked", &painted(SEGMENTED_BELOW, 7));
    let store = store.reopen();
    assert_eq!(store.names(), ["blocked", "tiny"]);
    assert_eq!(store.get("tiny").unwrap(), b"hello");
    store.put("more", &painted(TINY_BELOW, 8));
    let reader = open(&store.root(), Access::Read);
    assert!(
        crate::support::get(&reader, "more").unwrap() == painted(TINY_BELOW, 8),
        "a reader beside a writer"
    );
}

#[test]
fn an_archive_that_was_moved_still_works() {
    let store = Store::new();
    store.put("file", &painted(5000, 9));
    let (root, moved) = (store.root(), store.dir.path().join("elsewhere"));
    store.archive.close().unwrap();
    fs::rename(root, &moved).unwrap();
    let archive = open(&moved, Access::Write);
    assert!(crate::support::get(&archive, "file").unwrap() == painted(5000, 9));
}

#[test]
fn restoring_gives_back_content_mode_and_modification_time() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW + 3, 10);
    let source = store.source("source", &content);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o750)).unwrap();
    let outcome = store
        .archive
        .commit_path(&name("deep/er/file"), &source, &())
        .unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
    let target = store.dir.path().join("out");
    let opened = RestoreTarget::open(&target).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    let receipt = snapshot
        .restore(&name("deep/er/file"), &opened, &RestoreOptions::default(), &())
        .unwrap();
    assert_eq!(receipt.len_bytes, content.len() as u64);
    let restored = target.join("deep/er/file");
    assert!(fs::read(&restored).unwrap() == content);
    let (before, after) = (fs::metadata(&source).unwrap(), fs::metadata(&restored).unwrap());
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec())
    );
    assert_eq!(before.mode() & 0o7777, after.mode() & 0o7777);
    let again = snapshot.restore(&name("deep/er/file"), &opened, &RestoreOptions::default(), &());
    assert!(again.is_err(), "an existing file is not overwritten unless asked");
}

#[test]
fn the_same_file_twice_is_nothing_to_do_and_costs_nothing() {
    let store = Store::new();
    let source = store.source("source", &painted(70_000, 11));
    let first = store.archive.commit_path(&name("file"), &source, &()).unwrap();
    let stored = |store: &Store| {
        store
            .extents()
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum::<u64>()
    };
    let before = stored(&store);
    let second = store.archive.commit_path(&name("file"), &source, &()).unwrap();
    let (CommitOutcome::Committed(first), CommitOutcome::Unchanged(second)) = (first, second) else {
        panic!("stored once, then unchanged");
    };
    // What is stored is not looked at again.
    assert!(first.tolerance.is_some() && second.tolerance.is_none());
    let first = CommitReceipt {
        tolerance: None,
        ..first
    };
    assert_eq!(first, second, "the receipt is that of what is stored");
    assert_eq!(stored(&store), before, "not a byte was written");
}

#[test]
fn a_removed_name_is_gone_and_can_be_used_again() {
    let store = Store::new();
    store.put("file", &painted(30_000, 12));
    let removal = store.archive.remove(&name("file")).unwrap();
    assert_eq!(removal.len_bytes, 30_000);
    assert!(store.names().is_empty());
    assert!(matches!(
        store.get("file"),
        Err(bfdb::error::ReadError::NotFound { .. })
    ));
    store.put("file", &painted(40_000, 13));
    assert!(store.get("file").unwrap() == painted(40_000, 13));
    assert_eq!(store.archive.snapshot().unwrap().totals().unwrap().files, 1);
}

#[test]
fn an_archive_takes_the_bytes_that_its_receipts_say() {
    let store = Store::new();
    let mut expected = 0;
    for (index, len) in edge_lengths().into_iter().enumerate() {
        let content = painted(len, 14);
        let file = name(&index.to_string());
        let receipt = store
            .archive
            .commit(&file, &content[..], len, &bfdb::archive::CommitOptions::default())
            .unwrap();
        expected += receipt.stored_bytes;
    }
    let on_disk: u64 = store
        .extents()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    // Extent headers, and the rest of a sector where a commit begins on a fresh one.
    let slack = store.extents().len() as u64 * 4096 + edge_lengths().len() as u64 * 9 * 4096;
    assert!(
        (expected..=expected + slack).contains(&on_disk),
        "{on_disk} on disk, {expected} in receipts"
    );
}

/// A stream that was read on the workers could wait for those very workers when it reads from the same archive.
#[test]
fn a_stored_file_can_be_committed_again_from_its_own_reader() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW * 3, 15);
    store.put("file", &content);
    let reader = store
        .archive
        .snapshot()
        .unwrap()
        .open_file(&name("file"), Arc::new(()))
        .unwrap();
    let len = reader.len();
    store
        .archive
        .commit(
            &name("copy"),
            reader,
            len,
            &bfdb::archive::CommitOptions::default(),
        )
        .unwrap();
    assert!(store.get("copy").unwrap() == content);
}

/// What a reader holds ahead once came from the budget of the workers, so that enough idle readers kept everyone
/// waiting for ever.
#[test]
fn any_number_of_idle_readers_keeps_nobody_waiting() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW * 2, 16);
    store.put("file", &content);
    let snapshot = store.archive.snapshot().unwrap();
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut reader = snapshot.open_file(&name("file"), Arc::new(())).unwrap();
        let mut half = vec![0; content.len() / 2];
        reader.read_exact(&mut half).unwrap();
        idle.push(reader);
    }
    store.put("more", &content);
    assert!(store.get("more").unwrap() == content);
    drop(idle);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_content_of_any_length_comes_back(content in proptest::collection::vec(any::<u8>(), 0..150_000)) {
        let store = Store::new();
        store.put("stream", &content);
        store.put_file("file", &content);
        prop_assert_eq!(&store.get("stream").unwrap(), &content);
        prop_assert_eq!(&store.get("file").unwrap(), &content);
    }
}
