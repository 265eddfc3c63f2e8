//! Old catalogs that were put back, creations that were killed, and things that stand where they do not belong.

use std::{
    fs::{self},
    os::unix::fs::symlink,
    process::Command,
};

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions, RecoveryReport, RestoreOptions},
    catalog::Access,
    error::{OpenError, RestoreError},
    host::RestoreTarget,
};

use crate::support::{Store, copy_dir, get, name, open, painted, try_open};

use super::{
    archives::{Closed, tree},
    *,
};

#[test]
fn an_old_catalog_that_was_put_back_is_brought_forward_and_no_extent_changes() {
    let store = store_with_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let archive = open(&root, Access::Write);
    for index in 0..3 {
        let file = name(&format!("newer/{index}"));
        let content = painted(LENGTHS[3], index);
        drop(
            archive
                .commit(&file, &content[..], LENGTHS[3], &CommitOptions::default())
                .unwrap(),
        );
    }
    archive.close().unwrap();
    let extents = tree(&root.join("volumes/v0/extents"));
    fs::write(root.join("catalog.redb"), old).unwrap();
    let (reader, report) = try_open(&root, Access::Read).unwrap();
    assert!(report.is_catalog_old, "{report:?}");
    assert!(
        get(&reader, "stored/3").unwrap() == painted(LENGTHS[3], 3),
        "what it knows can be read"
    );
    drop(reader);
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report.records_rolled_forward, 3, "{report:?}");
    for index in 0..3 {
        let newer = get(&archive, &format!("newer/{index}")).unwrap();
        assert!(newer == painted(LENGTHS[3], index), "newer/{index}");
    }
    assert!(
        tree(&root.join("volumes/v0/extents")) == extents,
        "not a byte of an extent has changed"
    );
    assert!(archive.scrub(&()).unwrap().damage.is_empty());
    archive.close().unwrap();
    let (_, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report, RecoveryReport::default(), "it is done once");
}

/// A creation that was killed after its volume had slots and before its catalog had a name left a directory in which no
/// archive could ever be made.
#[test]
fn a_creation_that_was_killed_before_its_catalog_had_a_name_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a.bfdb");
    let archive = Archive::create(&root, &ArchiveOptions::default()).unwrap();
    let first = archive.id();
    archive.close().unwrap();
    fs::rename(root.join("catalog.redb"), root.join("catalog.redb.tmp")).unwrap();
    // The mark that a creation writes before anything else.
    let lock = bfdb::host::ArchiveLayout::new(dir.path().join("other"));
    drop(lock.lock_for_building(bfdb::host::Building::Creation).unwrap());
    fs::copy(dir.path().join("other/building.tmp"), root.join("building.tmp")).unwrap();
    let archive = Archive::create(&root, &ArchiveOptions::default()).unwrap();
    assert_eq!(
        archive.id(),
        first,
        "the volume that was made is the one that is used"
    );
    drop(
        archive
            .commit(&name("file"), &b"bytes"[..], 5, &CommitOptions::default())
            .unwrap(),
    );
    archive.close().unwrap();
    assert_eq!(get(&open(&root, Access::Read), "file").unwrap(), b"bytes");
}

/// A target that was a link into the archive let a restore replace the catalog.
#[test]
fn nothing_is_restored_into_the_archive_whatever_leads_there() {
    let store = store_with_files();
    let root = store.root();
    let link = store.dir.path().join("link");
    symlink(&root, &link).unwrap();
    let before = tree(&root.join("volumes"));
    let snapshot = store.archive.snapshot().unwrap();
    for target in [
        root.clone(),
        link.clone(),
        link.join("volumes/deep/er"),
        root.join("sessions/../new"),
    ] {
        let opened = RestoreTarget::open(&target).unwrap();
        let refused = snapshot.restore(&name("stored/3"), &opened, &RestoreOptions::default(), &());
        assert!(
            matches!(refused, Err(RestoreError::TargetInsideArchive { .. })),
            "{refused:?}"
        );
    }
    fs::remove_dir_all(root.join("volumes/deep")).unwrap();
    assert!(tree(&root.join("volumes")) == before, "not a byte was written");
    let beside = RestoreTarget::open(&store.dir.path().join("beside")).unwrap();
    assert!(
        snapshot
            .restore(&name("stored/3"), &beside, &RestoreOptions::default(), &())
            .is_ok()
    );
}

/// A fifo that stood in the place of an extent was waited for.
#[test]
fn a_fifo_in_the_place_of_an_extent_is_damage_and_not_waited_for() {
    let store = store_with_files();
    let extent = store.extents()[0].clone();
    fs::remove_file(&extent).unwrap();
    let made = Command::new("mkfifo").arg(&extent).status().unwrap();
    assert!(made.success());
    let report = store.archive.scrub(&()).unwrap();
    assert!(
        report.damaged_shards > 0 && report.files_lost() == 0,
        "{report:?}"
    );
}

/// Damage of catalog pages that no listing touches went unnoticed by a scrub that had read every shard.
#[test]
fn a_scrub_verifies_the_catalog_as_well() {
    let closed = Closed::new();
    let catalog = closed.root.join("catalog.redb");
    let good = fs::read(&catalog).unwrap();
    let mut noticed = 0;
    for at in (0..good.len()).step_by(good.len() / 150) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&catalog, &bad).unwrap();
        let writes = try_open(&closed.root, Access::Write).map(drop);
        fs::write(&catalog, &bad).unwrap();
        let scrubbed = try_open(&closed.root, Access::Read).map(|opened| opened.0.scrub(&()).map(drop));
        if writes.is_err() {
            noticed += 1;
            assert!(
                !matches!(scrubbed, Ok(Ok(()))),
                "a flipped bit at {at} keeps writers out, and scrub says nothing"
            );
        }
    }
    assert!(noticed > 0, "no flip hit anything");
}

/// A catalog one commit old looked like one whose writer had died between announcing an epoch and publishing it; the next
/// writer would have cut off the newest file. The journal knows what was published.
#[test]
fn a_catalog_that_is_only_one_commit_old_is_brought_forward_too() {
    for change in ["commit", "remove"] {
        let store = store_with_files();
        let root = store.root();
        let Store { dir: _dir, archive } = store;
        archive.close().unwrap();
        let old = fs::read(root.join("catalog.redb")).unwrap();
        let archive = open(&root, Access::Write);
        if change == "commit" {
            let options = CommitOptions::default();
            drop(
                archive
                    .commit(&name("newest"), &painted(5000, 1)[..], 5000, &options)
                    .unwrap(),
            );
        } else {
            drop(archive.remove(&name("stored/3")).unwrap());
        }
        archive.close().unwrap();
        let extents = tree(&root.join("volumes/v0/extents"));
        fs::write(root.join("catalog.redb"), old).unwrap();
        let (archive, report) = try_open(&root, Access::Write).unwrap();
        assert_eq!(report.records_rolled_forward, 1, "{change}: {report:?}");
        if change == "commit" {
            assert!(get(&archive, "newest").unwrap() == painted(5000, 1));
        } else {
            assert!(get(&archive, "stored/3").is_err(), "it was removed");
        }
        assert!(
            tree(&root.join("volumes/v0/extents")) == extents,
            "{change}: not a byte of an extent has changed"
        );
    }
}

/// An epoch that is announced twice must not look settled: the archive would refuse every writer for ever.
#[test]
fn an_epoch_that_was_announced_and_never_published_keeps_no_writer_out() {
    let store = store_with_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let before = fs::read(root.join("catalog.redb")).unwrap();
    let slots = root.join("volumes/v0/volume.bfv");
    let settled = fs::read(&slots).unwrap();
    let journal = root.join("volumes/v0/journal");
    copy_dir(&journal, &root.join("journal-before"));
    for round in 0..3 {
        let archive = open(&root, Access::Write);
        let options = CommitOptions::default();
        drop(
            archive
                .commit(&name("newest"), &painted(5000, round)[..], 5000, &options)
                .unwrap(),
        );
        archive.close().unwrap();
        // As if the writer had died between the slot that announces and the catalog: one slot is ahead.
        let after = fs::read(&slots).unwrap();
        let announced = if settled[..4096] == after[..4096] {
            4096..8192
        } else {
            0..4096
        };
        let mut ahead = settled.clone();
        ahead[announced.clone()].copy_from_slice(&after[announced]);
        fs::write(&slots, &ahead).unwrap();
        fs::write(root.join("catalog.redb"), &before).unwrap();
        fs::remove_dir_all(&journal).unwrap();
        copy_dir(&root.join("journal-before"), &journal);
        fs::remove_dir_all(root.join("sessions")).unwrap();
        fs::create_dir(root.join("sessions")).unwrap();
    }
    let archive = open(&root, Access::Write);
    assert!(
        get(&archive, "stored/3").unwrap() == painted(LENGTHS[3], 3),
        "all that was published is there"
    );
}

#[test]
fn the_volume_of_another_archive_is_refused() {
    let closed = Closed::new();
    let other = Closed::new();
    fs::remove_dir_all(closed.root.join("volumes")).unwrap();
    copy_dir(&other.root.join("volumes"), &closed.root.join("volumes"));
    let error = try_open(&closed.root, Access::Write).unwrap_err();
    assert!(matches!(error, OpenError::VolumeForeign { .. }), "{error:?}");
}
