//! Catalogs that are lost and made again from the journal.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{
        Archive, BlockPlaces, CommitOptions, FileInfo, MoveOptions, NameConflict, OpenOptions, RebuildReport,
        Removal, VolumeCondition,
    },
    catalog::{Access, EntryKind, Totals},
    error::{OpenError, PublicationError},
    host::Machine,
    units::FileName,
};

use crate::{
    support::{SEGMENTED_BELOW, Store, TINY_BELOW, copy_dir, get, name, names, open, painted},
    volumes::{lose, store_of_each_tier},
};

/// Tiny, segmented and blocked.
const LENGTHS: [u64; 3] = [TINY_BELOW - 1, SEGMENTED_BELOW - 1, SEGMENTED_BELOW * 3];

/// What an archive says of itself, in so far as it must be the same behind a rebuild.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    files: Vec<FileInfo>,
    places: BTreeMap<FileName, Vec<BlockPlaces>>,
    totals: Totals,
    volumes: Vec<(u16, String, u64, u64)>,
}

pub fn known(archive: &Archive) -> Known {
    let snapshot = archive.snapshot().unwrap();
    let files: Vec<FileInfo> = snapshot.files(None).collect::<Result<_, _>>().unwrap();
    let with_content = files.iter().filter(|file| file.kind == EntryKind::File);
    let places = with_content.map(|file| (file.name.clone(), snapshot.places(&file.name).unwrap()));
    let volumes = snapshot.volumes().unwrap().into_iter().map(|volume| {
        let state = format!("{:?} {} {:?}", volume.state, volume.id, volume.condition);
        (volume.number, state, volume.live_bytes, volume.live_shards)
    });
    Known {
        places: places.collect(),
        totals: snapshot.totals().unwrap(),
        volumes: volumes.collect(),
        files,
    }
}

pub fn rebuild_with(root: &Path, volumes: Vec<PathBuf>) -> Result<(Archive, RebuildReport), OpenError> {
    let options = OpenOptions {
        access: Access::Write,
        volumes,
        ..OpenOptions::default()
    };
    Archive::rebuild_catalog(&Machine::default(), root, &options)
}

pub fn rebuild(root: &Path) -> (Archive, RebuildReport) {
    rebuild_with(root, Vec::new()).unwrap()
}

/// An archive with files of each tier, some of which were removed and replaced, and links and directories.
pub fn lived_in() -> Store {
    let store = Store::new();
    for (seed, len) in (1..).zip(LENGTHS) {
        store.put(&format!("kept/{len}"), &painted(len, seed));
        store.put(&format!("replaced/{len}"), &painted(len, seed + 10));
        store.put(&format!("removed/{len}"), &painted(len, seed + 20));
    }
    store.put("empty", &[]);
    for (seed, len) in (1..).zip(LENGTHS) {
        let options = CommitOptions {
            mode: 0o600,
            name_conflict: NameConflict::Replace,
            modified_at: None,
        };
        let replaced = name(&format!("replaced/{len}"));
        let content = painted(len + 1, seed + 30);
        let receipt = store
            .archive
            .commit(&replaced, content.as_slice(), len + 1, &options);
        receipt.unwrap();
        let _removed: Removal = store.archive.remove(&name(&format!("removed/{len}"))).unwrap();
    }
    store
}

pub fn has_all(archive: &Archive) {
    for (seed, len) in (1..).zip(LENGTHS) {
        assert!(get(archive, &format!("kept/{len}")).unwrap() == painted(len, seed));
        assert!(get(archive, &format!("replaced/{len}")).unwrap() == painted(len + 1, seed + 30));
    }
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn a_lost_catalog_is_made_again_with_everything_that_it_knew() {
    let store = lived_in();
    let before = known(&store.archive);
    let (root, policy) = (store.root(), *store.archive.policy());
    let (dir, id) = (store.dir, store.archive.id());
    store.archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, report) = rebuild(&root);
    assert_eq!(report.kept, None);
    assert_eq!(report.recovery.records_rolled_forward, 16, "ten, three and three");
    assert_eq!((archive.id(), *archive.policy()), (id, policy));
    assert_eq!(known(&archive), before);
    has_all(&archive);
    // It is an archive like any other from now on.
    let content = painted(TINY_BELOW, 99);
    let later = archive.commit(
        &name("later"),
        content.as_slice(),
        TINY_BELOW,
        &CommitOptions::default(),
    );
    later.unwrap();
    archive.close().unwrap();
    let archive = open(&root, Access::Read);
    assert!(get(&archive, "later").unwrap() == content);
    has_all(&archive);
    drop(dir);
}

#[test]
fn a_catalog_that_is_damaged_is_kept_and_one_that_is_made_again_can_be_made_again() {
    let store = lived_in();
    let before = known(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    let catalog = root.join("catalog.redb");
    fs::write(&catalog, [0x5A; 8192]).unwrap();
    for number in 1..=2 {
        let (archive, report) = rebuild(&root);
        let kept = root.join(format!("catalog.redb.old-{number}"));
        assert_eq!(report.kept.as_ref(), Some(&kept));
        assert_eq!(known(&archive), before);
        archive.close().unwrap();
    }
    assert_eq!(fs::read(root.join("catalog.redb.old-1")).unwrap(), [0x5A; 8192]);
    drop(dir);
}

#[test]
fn an_archive_whose_whole_directory_is_lost_is_made_again_from_one_of_its_volumes() {
    let store = store_of_each_tier(3);
    let _removed: Removal = store.archive.remove(&name("tiny")).unwrap();
    let before = known(&store.archive);
    let (root, dir) = (store.dir.path().join("a.bfdb"), store.dir);
    store.archive.close().unwrap();
    fs::remove_dir_all(&root).unwrap();
    let (archive, _) = rebuild_with(&root, vec![dir.path().join("v1")]).unwrap();
    assert_eq!(known(&archive), before);
    assert_eq!(names(&archive), ["blocked", "segmented"]);
    assert!(get(&archive, "segmented").unwrap() == painted(SEGMENTED_BELOW - 7, 2));
}

#[test]
fn volumes_that_came_and_went_are_known_again() {
    let store = store_of_each_tier(3);
    let new = store.dir.path().join("new");
    let old = store.archive.snapshot().unwrap().volumes().unwrap()[0].id;
    let (_, moved) = store
        .archive
        .replace_volume(old, &new, MoveOptions::default(), &())
        .unwrap();
    assert_eq!(moved.shards_left, 0);
    store.archive.add_volume(&store.dir.path().join("added")).unwrap();
    store.put("later", SEGMENTED_BELOW - 7, 9);
    let before = known(&store.archive);
    let (root, dir) = (store.dir.path().join("a.bfdb"), store.dir);
    store.archive.close().unwrap();
    lose(dir.path(), &[0]);
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild_with(&root, vec![dir.path().join("v1")]).unwrap();
    let after = known(&archive);
    assert_eq!((after.files, after.places), (before.files, before.places));
    assert_eq!(after.totals, before.totals);
    let snapshot = archive.snapshot().unwrap();
    let present = snapshot.volumes().unwrap();
    let present = present
        .iter()
        .filter(|volume| volume.condition == VolumeCondition::Present);
    assert_eq!(present.count(), 4, "v1, v2, new and added");
    assert!(get(&archive, "later").unwrap() == painted(SEGMENTED_BELOW - 7, 9));
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn without_a_journal_or_its_beginning_nothing_is_made_and_nothing_touched() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let journal = root.join("volumes/v0/journal");
    // The first record of every copy.
    for copy in 0..4 {
        let segment = journal.join(format!("c{copy}/00000001.bfj"));
        let mut bytes = fs::read(&segment).unwrap();
        bytes[4096..8192].fill(0xEE);
        fs::write(&segment, bytes).unwrap();
    }
    let error = rebuild_with(&root, Vec::new()).unwrap_err();
    let OpenError::Journal { source } = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(**source, PublicationError::Gap { .. }), "{error:?}");
    fs::remove_dir_all(&journal).unwrap();
    let error = rebuild_with(&root, Vec::new()).unwrap_err();
    assert!(matches!(error, OpenError::JournalMissing { .. }), "{error:?}");
    assert!(!root.join("catalog.redb").exists());
    drop(dir);
}

#[test]
fn one_copy_of_the_journal_is_enough() {
    let store = lived_in();
    let before = known(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let journal = root.join("volumes/v0/journal");
    for copy in [0, 1, 3] {
        fs::remove_dir_all(journal.join(format!("c{copy}"))).unwrap();
    }
    let (archive, _) = rebuild(&root);
    assert_eq!(known(&archive), before);
    archive.close().unwrap();
    drop(dir);
}

#[test]
fn volumes_of_two_archives_are_not_taken_for_one() {
    let (one, other) = (store_of_each_tier(2), store_of_each_tier(2));
    let root = one.dir.path().join("a.bfdb");
    let named = vec![one.volume(0), other.volume(0)];
    one.archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let error = rebuild_with(&root, named).unwrap_err();
    assert!(matches!(error, OpenError::VolumeTaken { .. }), "{error:?}");
    assert!(!root.join("catalog.redb").exists());
}

/// Puts the segments of a copy of another journal in the place of those of this one.
fn mix_in(root: &Path, other: &Path, copy: u8) {
    let (to, from) = (
        root.join(format!("volumes/v0/journal/c{copy}")),
        other.join(format!("volumes/v0/journal/c{copy}")),
    );
    fs::remove_dir_all(&to).unwrap();
    copy_dir(&from, &to);
}

#[test]
fn a_journal_that_went_two_ways_makes_no_catalog() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    let other = dir.path().join("other.bfdb");
    copy_dir(&root, &other);
    for (path, seed) in [(&root, 1), (&other, 2)] {
        let archive = open(path, Access::Write);
        let content = painted(100, seed);
        let put = archive.commit(&name("after"), content.as_slice(), 100, &CommitOptions::default());
        put.unwrap();
        archive.close().unwrap();
    }
    mix_in(&root, &other, 2);
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let error = rebuild_with(&root, Vec::new()).unwrap_err();
    assert!(matches!(error, OpenError::Forked { .. }), "{error:?}");
    assert!(!root.join("catalog.redb").exists());
    drop(dir);
}

#[test]
fn copies_of_another_journal_torn_ones_and_missing_ones_are_passed_over() {
    let (store, stranger) = (lived_in(), lived_in());
    let before = known(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    let stranger_root = stranger.root();
    stranger.archive.close().unwrap();
    mix_in(&root, &stranger_root, 0);
    let torn = root.join("volumes/v0/journal/c1/00000001.bfj");
    fs::File::options()
        .write(true)
        .open(&torn)
        .unwrap()
        .set_len(4096 * 5 + 700)
        .unwrap();
    fs::remove_dir_all(root.join("volumes/v0/journal/c2")).unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild(&root);
    assert_eq!(known(&archive), before);
    assert!(archive.check_catalog().unwrap().problems.is_empty());
    archive.close().unwrap();
    drop((dir, stranger.dir));
}
