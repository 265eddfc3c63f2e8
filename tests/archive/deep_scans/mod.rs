//! Catalogs that are lost together with every copy of the journal, and made again from the frames in the extents.

mod damage;
mod elsewhere;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{
        Archive, CommitOptions, DeepScanReport, NameConflict, OpenOptions, RebuildFrom, RebuildOptions,
        Removal, RepairOptions, UsableNames,
    },
    catalog::{Access, EntryKind},
    error::{NameSource, OpenError},
    format::{ClaimedFrame, FRAME_HEADER_LEN_BYTES, FrameHeader, FrameKind},
    geometry::{Policy, PolicyParts},
    host::Machine,
    merkle::RootHash,
    units::CodeShape,
};

use crate::support::{SEGMENTED_BELOW, Store, TINY_BELOW, get, name, names, open, painted, small_policy};

/// Tiny, segmented and blocked.
const LENGTHS: [u64; 3] = [TINY_BELOW - 1, SEGMENTED_BELOW - 1, SEGMENTED_BELOW * 3];

fn scan_with(
    root: &Path,
    volumes: Vec<PathBuf>,
    names: UsableNames,
) -> Result<(Archive, DeepScanReport), OpenError> {
    let options = OpenOptions {
        access: Access::Write,
        volumes,
        ..OpenOptions::default()
    };
    let rebuild = RebuildOptions {
        from: RebuildFrom::Frames(names),
    };
    let (archive, report) = Archive::rebuild_catalog_with(&Machine::default(), root, &options, rebuild, &())?;
    Ok((archive, report.scan.unwrap()))
}

fn scan(root: &Path) -> (Archive, DeepScanReport) {
    scan_with(root, Vec::new(), UsableNames::Keep).unwrap()
}

/// Takes away catalog and journal of an archive with a volume of its own.
fn lose_names(root: &Path) {
    fs::remove_file(root.join("catalog.redb")).unwrap();
    fs::remove_dir_all(root.join("volumes/v0/journal")).unwrap();
}

/// What is stored under each name.
fn stored(archive: &Archive) -> BTreeMap<String, (EntryKind, u32, RootHash)> {
    let files = archive.snapshot().unwrap().files(None).map(|file| {
        let file = file.unwrap();
        (file.name.to_string(), (file.kind, file.mode, file.root))
    });
    files.collect()
}

fn replace(archive: &Archive, file: &str, content: &[u8]) {
    let options = CommitOptions {
        name_conflict: NameConflict::Replace,
        ..CommitOptions::default()
    };
    let len = content.len() as u64;
    archive.commit(&name(file), content, len, &options).unwrap();
}

fn remove(archive: &Archive, file: &str) {
    let _removed: Removal = archive.remove(&name(file)).unwrap();
}

/// An archive with a tree and files of each tier, some of which were replaced and removed.
fn lived_in() -> Store {
    let store = Store::new();
    let tree = store.dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    symlink("nowhere", tree.join("link")).unwrap();
    for path in ["", "/link"] {
        let path = format!("tree{path}");
        let outcome = store
            .archive
            .commit_path(&name(&path), &store.dir.path().join(&path), &());
        drop(outcome.unwrap());
    }
    store.put("tree/empty", &[]);
    for (seed, len) in (1..).zip(LENGTHS) {
        store.put(&format!("tree/kept/{len}"), &painted(len, seed));
        store.put(&format!("replaced/{len}"), &painted(len, seed + 10));
        store.put(&format!("removed/{len}"), &painted(len, seed + 20));
    }
    for (seed, len) in (1..).zip(LENGTHS) {
        replace(
            &store.archive,
            &format!("replaced/{len}"),
            &painted(len + 1, seed + 30),
        );
        remove(&store.archive, &format!("removed/{len}"));
    }
    store
}

/// Frames in an extent file, in order.
fn frames_in(path: &Path) -> Vec<FrameHeader> {
    let bytes = fs::read(path).unwrap();
    let mut frames = Vec::new();
    let mut at = 4096;
    while at + FRAME_HEADER_LEN_BYTES <= bytes.len() {
        let claimed = ClaimedFrame::parse(&bytes[at..]).ok();
        let frame = claimed.and_then(|claimed| claimed.check_place(&claimed.identity().place()).ok());
        match frame {
            Some(frame) if frame.header().identity().offset == at as u64 => {
                frames.push(*frame.header());
                at += usize::try_from(frame.layout().total_len_bytes()).unwrap();
            }
            _ => at += 64,
        }
    }
    frames
}

fn spoil(path: &Path, offset: u64, len: usize) {
    let mut bytes = fs::read(path).unwrap();
    let offset = usize::try_from(offset).unwrap();
    bytes[offset..offset + len]
        .iter_mut()
        .for_each(|byte| *byte ^= 0x5A);
    fs::write(path, bytes).unwrap();
}

/// Everything that was stored under a name is offered under another, and nothing under its own.
fn has_all_of(archive: &Archive, before: &BTreeMap<String, (EntryKind, u32, RootHash)>) {
    let after = stored(archive);
    for (file, what) in before {
        assert_eq!(after.get(&format!("recovered/{file}")), Some(what), "{file}");
    }
    for (seed, len) in (1..).zip(LENGTHS) {
        let kept = get(archive, &format!("recovered/tree/kept/{len}")).unwrap();
        assert!(kept == painted(len, seed));
        let newest = get(archive, &format!("recovered/replaced/{len}")).unwrap();
        assert!(newest == painted(len + 1, seed + 30));
        let removed = get(archive, &format!("recovered/removed/{len}")).unwrap();
        assert!(removed == painted(len, seed + 20));
    }
    let own = after.keys().find(|file| !file.starts_with("recovered"));
    assert_eq!(own, None, "nobody knows that it lived");
    let older = after.keys().filter(|file| file.starts_with("recovered-older/"));
    let older: Vec<&String> = older.collect();
    assert_eq!(older.len(), LENGTHS.len(), "{older:?}");
    for (seed, len) in (1..).zip(LENGTHS) {
        let file = older
            .iter()
            .find(|file| file.ends_with(&format!("/replaced/{len}")))
            .unwrap();
        assert!(get(archive, file).unwrap() == painted(len, seed + 10));
    }
}

#[test]
fn without_catalog_and_journal_everything_that_lived_is_offered_under_other_names() {
    let store = lived_in();
    let before = stored(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    let (id, policy) = (store.archive.id(), *store.archive.policy());
    store.archive.close().unwrap();
    lose_names(&root);
    let (archive, report) = scan(&root);
    assert_eq!((archive.id(), *archive.policy()), (id, policy));
    has_all_of(&archive, &before);
    assert!(report.is_complete(), "{report:?}");
    let expected = DeepScanReport {
        scanned_bytes: report.scanned_bytes,
        frames: report.frames,
        descriptors: 15,
        offered: 12,
        older: 3,
        ..DeepScanReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    // It is an archive like any other from now on.
    let new = painted(TINY_BELOW, 99);
    archive
        .commit(
            &name("tree/kept/new"),
            new.as_slice(),
            TINY_BELOW,
            &CommitOptions::default(),
        )
        .unwrap();
    for (file, _) in stored(&archive)
        .into_iter()
        .filter(|(file, _)| file.starts_with("recovered-older/"))
    {
        remove(&archive, &file);
    }
    assert_eq!(archive.mend_journal().unwrap(), 0);
    archive.close().unwrap();
    let archive = open(&root, Access::Write);
    assert!(get(&archive, "tree/kept/new").unwrap() == new);
    assert_eq!(names(&archive).len(), 13);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    drop(dir);
}

#[test]
fn a_second_scan_finds_what_was_stored_since_the_first_too() {
    let store = lived_in();
    let before = stored(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    let (archive, first) = scan(&root);
    let new = painted(SEGMENTED_BELOW, 99);
    archive
        .commit(
            &name("new"),
            new.as_slice(),
            SEGMENTED_BELOW,
            &CommitOptions::default(),
        )
        .unwrap();
    archive.close().unwrap();
    // What the journal has begins behind the first scan, with a checkpoint of what that has found.
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let options = OpenOptions {
        access: Access::Write,
        ..OpenOptions::default()
    };
    let (archive, _) = Archive::rebuild_catalog(&Machine::default(), &root, &options).unwrap();
    assert!(get(&archive, "new").unwrap() == new);
    let offered = names(&archive);
    let offered = offered.iter().filter(|name| name.starts_with("recovered/"));
    assert!(offered.count() >= before.len());
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    archive.close().unwrap();
    lose_names(&root);
    let (archive, second) = scan(&root);
    has_all_of(&archive, &before);
    assert!(get(&archive, "recovered/new").unwrap() == new);
    assert_eq!((second.offered, second.older), (first.offered + 1, first.older));
    assert!(second.is_complete(), "{second:?}");
    drop(dir);
}

#[test]
fn names_that_something_else_knows_are_not_given_up_unasked() {
    let store = lived_in();
    let before = stored(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    let refused = |expected: NameSource| {
        let error = scan_with(&root, Vec::new(), UsableNames::Keep).unwrap_err();
        assert!(
            matches!(&error, OpenError::NamesKnown { usable, .. } if *usable == expected),
            "{error:?}"
        );
    };
    // A writer lives.
    let error = scan_with(&root, Vec::new(), UsableNames::GiveUp).unwrap_err();
    assert!(matches!(error, OpenError::Host { .. }), "{error:?}");
    store.archive.close().unwrap();
    refused(NameSource::Journal);
    fs::remove_dir_all(root.join("volumes/v0/journal")).unwrap();
    refused(NameSource::Catalog);
    let archive = open(&root, Access::Write);
    assert_eq!(stored(&archive), before);
    archive.close().unwrap();
    let (archive, _) = scan_with(&root, Vec::new(), UsableNames::GiveUp).unwrap();
    has_all_of(&archive, &before);
    assert!(root.join("catalog.redb.old-1").exists());
    drop(dir);
}

#[test]
fn slots_that_are_gone_are_made_again_and_extents_say_whose_they_are() {
    for is_removed in [false, true] {
        let store = lived_in();
        let before = stored(&store.archive);
        let (root, dir) = (store.root(), store.dir);
        store.archive.close().unwrap();
        lose_names(&root);
        let slots = root.join("volumes/v0/volume.bfv");
        if is_removed {
            fs::remove_file(&slots).unwrap();
        } else {
            fs::write(&slots, [0x5A; 8192]).unwrap();
        }
        let (archive, report) = scan(&root);
        assert!(report.is_complete(), "{report:?}");
        has_all_of(&archive, &before);
        archive.close().unwrap();
        let archive = open(&root, Access::Write);
        replace(&archive, "new", &[1; 100]);
        drop(dir);
    }
}

#[test]
fn descriptors_in_a_code_of_several_data_shards_are_decoded_and_their_digests_known_again() {
    let policy = Policy::new(PolicyParts {
        tiny_shape: CodeShape::new(3, 2).unwrap(),
        ..*small_policy().parts()
    })
    .unwrap();
    let long = format!("{}/{}", "directory".repeat(250), "name".repeat(50));
    // A shard of each descriptor may be data or parity; two may be lost.
    for (first, second) in [(0, 1), (1, 4), (3, 4)] {
        let store = Store::with_policy(policy);
        for (seed, len) in (1..).zip(LENGTHS) {
            store.put(&format!("{long}{len}"), &painted(len, seed));
        }
        let (root, dir) = (store.root(), store.dir);
        store.archive.close().unwrap();
        let extents = bfdb_fault_injection::damage::extent_files(&root).unwrap();
        let with_descriptors = extents.iter().filter(|extent| {
            let mut frames = frames_in(extent).into_iter();
            frames.any(|frame| frame.kind() == FrameKind::Descriptor)
        });
        let with_descriptors: Vec<&PathBuf> = with_descriptors.collect();
        let lost = [with_descriptors[first], with_descriptors[second]];
        let missing: usize = (lost.iter().flat_map(|extent| frames_in(extent)))
            .filter(|frame| frame.kind() == FrameKind::Descriptor)
            .count();
        for extent in lost {
            fs::remove_file(extent).unwrap();
        }
        lose_names(&root);
        let (archive, report) = scan(&root);
        let found = (report.offered, report.descriptors_lost);
        assert_eq!(found, (3, 0), "{first}, {second}");
        assert_eq!(report.descriptor_shards_missing, missing as u64);
        drop(archive.scrub(&()).unwrap());
        let repaired = archive.repair(&RepairOptions::default(), &()).unwrap();
        // What was written anew has the digests that the catalog was given.
        assert_eq!(repaired.damage, []);
        assert!(repaired.shards_repaired >= missing as u64);
        for (seed, len) in (1..).zip(LENGTHS) {
            let content = get(&archive, &format!("recovered/{long}{len}")).unwrap();
            assert!(content == painted(len, seed));
        }
        assert_eq!(archive.scrub(&()).unwrap().damage, []);
        archive.close().unwrap();
        drop(dir);
    }
}
