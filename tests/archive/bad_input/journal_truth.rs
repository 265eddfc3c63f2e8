//! What is said of a journal and a catalog that do not agree, or that nobody has looked at for long.

use std::{fs, path::Path};

use bfdb::{catalog::Access, error::OpenError};
use bfdb_fault_injection::damage;

use crate::support::{Store, copy_dir, get, name, painted, try_open};

fn segment(root: &Path, copy: u8) -> std::path::PathBuf {
    root.join(format!("volumes/v0/journal/c{copy}/00000001.bfj"))
}

/// An archive with five files, closed, and its catalog as it was before the last.
fn five_files() -> (Store, Vec<u8>) {
    let store = Store::new();
    let mut old = Vec::new();
    let root = store.root();
    let Store { dir, mut archive } = store;
    for index in 0..5 {
        archive.close().unwrap();
        old = fs::read(root.join("catalog.redb")).unwrap();
        archive = try_open(&root, Access::Write).unwrap().0;
        let content = painted(3000 + index, index);
        let len = content.len() as u64;
        let options = bfdb::CommitOptions::default();
        drop(
            archive
                .commit(&name(&index.to_string()), &content[..], len, &options)
                .unwrap(),
        );
    }
    (Store { dir, archive }, old)
}

/// One behind is what a writer leaves that publishes this moment, or has died: where there is none, it is an old copy.
#[test]
fn a_reader_is_told_of_a_catalog_that_is_one_publication_old() {
    let (store, old) = five_files();
    let root = store.root();
    let (reader, report) = try_open(&root, Access::Read).unwrap();
    assert!(!report.is_catalog_old, "beside a writer: {report:?}");
    drop(reader);
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    fs::write(root.join("catalog.redb"), &old).unwrap();
    let (reader, report) = try_open(&root, Access::Read).unwrap();
    assert!(report.is_catalog_old, "{report:?}");
    assert!(get(&reader, "4").is_err());
    drop(reader);
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report.records_rolled_forward, 1);
    assert!(get(&archive, "4").unwrap() == painted(3004, 4));
}

/// A removal had no session, and its record stands alone for a moment too.
#[test]
fn whoever_publishes_has_a_session() {
    let (store, _) = five_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let (archive, _) = try_open(&root, Access::Write).unwrap();
    let sessions = || fs::read_dir(root.join("sessions")).unwrap().count();
    assert_eq!(sessions(), 0);
    drop(archive.remove(&name("1")).unwrap());
    assert_eq!(sessions(), 1);
    archive.close().unwrap();
    assert_eq!(sessions(), 0);
}

/// It was said that nothing is lost.
#[test]
fn a_publication_that_no_copy_of_the_journal_has_any_more_is_named() {
    for is_harmed in [false, true] {
        let (store, old) = five_files();
        let root = store.root();
        let Store { dir: _dir, archive } = store;
        archive.close().unwrap();
        let last = {
            let bytes = fs::read(segment(&root, 0)).unwrap();
            bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64
        };
        if is_harmed {
            (0..4)
                .for_each(|copy| damage::flip_byte(&segment(&root, copy), last / 4096 * 4096 + 90).unwrap());
            fs::write(root.join("catalog.redb"), &old).unwrap();
        }
        let (archive, report) = try_open(&root, Access::Write).unwrap();
        let lost = report.lost_epoch.map(bfdb::units::Epoch::get);
        assert_eq!(lost, is_harmed.then_some(5), "{report:?}");
        assert_eq!(get(&archive, "4").is_ok(), !is_harmed);
    }
}

/// The same where other records were applied first: what was wrong with the copies was forgotten by then.
#[test]
fn a_publication_that_is_lost_behind_others_that_are_applied_is_named() {
    let (store, _) = five_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let archive = try_open(&root, Access::Write).unwrap().0;
    for index in 5..8 {
        put(&archive, &index.to_string(), index);
    }
    archive.close().unwrap();
    harm_last_record(&root);
    fs::write(root.join("catalog.redb"), &old).unwrap();
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report.records_rolled_forward, 2, "{report:?}");
    assert_eq!(
        report.lost_epoch.map(bfdb::units::Epoch::get),
        Some(8),
        "{report:?}"
    );
    assert!(get(&archive, "6").is_ok());
    assert!(get(&archive, "7").is_err());
}

fn put(archive: &bfdb::Archive, file: &str, index: u64) {
    let content = painted(3000 + index, index);
    let options = bfdb::CommitOptions::default();
    let done = archive.commit(&name(file), &content[..], 3000 + index, &options);
    drop(done.unwrap());
}

/// Flips a byte of the last record on every copy.
fn harm_last_record(root: &Path) {
    for copy in 0..4 {
        let path = segment(root, copy);
        let bytes = fs::read(&path).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        damage::flip_byte(&path, last / 4096 * 4096 + 90).unwrap();
    }
}

/// Opening goes on behind it, and yet the first request to mend the copies failed until something was committed.
#[test]
fn records_that_are_lost_on_all_copies_are_no_reason_to_fail_when_others_are_mended() {
    let (store, _) = five_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    for copy in 0..4 {
        // One of them loses a record more, which the others could give it.
        let records = if copy == 0 { 1 } else { 2 };
        damage::truncate(&segment(&root, copy), 4096 * (1 + records)).unwrap();
    }
    let archive = try_open(&root, Access::Write).unwrap().0;
    assert_eq!(archive.mend_journal().unwrap(), 0);
    put(&archive, "5", 5);
    archive.mend_journal().unwrap();
    assert_eq!(archive.scrub(&()).unwrap().journal, []);
    archive.close().unwrap();
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report, bfdb::RecoveryReport::default());
    for index in 0..6 {
        assert!(get(&archive, &index.to_string()).unwrap() == painted(3000 + index, index));
    }
}

/// Whoever puts parts of an archive back one after another may open it in between. The catalog was once brought forward half of
/// the way before the gap was seen; it looked for the rest behind the gap then, and never found it.
#[test]
fn an_opening_that_is_refused_for_a_gap_costs_nothing_once_the_journal_is_back() {
    let (store, _) = five_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let archive = try_open(&root, Access::Write).unwrap().0;
    put(&archive, "5", 5);
    archive.close().unwrap();
    let journals = |root: &Path| {
        (0..4)
            .map(|copy| fs::read(segment(root, copy)).unwrap())
            .collect::<Vec<_>>()
    };
    let old_journals = journals(&root);
    let archive = try_open(&root, Access::Write).unwrap().0;
    for index in 6..9 {
        put(&archive, &index.to_string(), index);
    }
    archive.close().unwrap();
    let new_journals = journals(&root);
    let put_back = |bytes: &[Vec<u8>]| {
        (0..4)
            .zip(bytes)
            .for_each(|(copy, bytes)| fs::write(segment(&root, copy), bytes).unwrap());
    };
    fs::write(root.join("catalog.redb"), &old).unwrap();
    put_back(&old_journals);
    let refused = try_open(&root, Access::Write);
    assert!(matches!(refused, Err(OpenError::Journal { .. })), "{refused:?}");
    put_back(&new_journals);
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report.records_rolled_forward, 4, "{report:?}");
    for index in 0..9 {
        assert!(get(&archive, &index.to_string()).unwrap() == painted(3000 + index, index));
    }
}

/// Without the slots nothing was said of it.
#[test]
fn a_reader_is_told_of_an_old_catalog_whose_volume_has_no_slots() {
    let (store, old) = five_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    fs::write(root.join("catalog.redb"), &old).unwrap();
    fs::remove_file(root.join("volumes/v0/volume.bfv")).unwrap();
    let (_, report) = try_open(&root, Access::Read).unwrap();
    assert!(report.is_catalog_old, "{report:?}");
}

/// The ends of the copies are looked at by every opening; what stands before them was not looked at by anybody.
#[test]
fn a_scrub_finds_records_that_copies_lack_and_they_are_mended_on_request() {
    let (store, old) = five_files();
    let root = store.root();
    let second = 4096 + 4096;
    for copy in 0..3 {
        damage::flip_byte(&segment(&root, copy), second + 200).unwrap();
    }
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.journal.len(), 3, "{:?}", report.journal);
    assert_eq!(store.archive.mend_journal().unwrap(), 3);
    assert_eq!(store.archive.scrub(&()).unwrap().journal, []);
    assert_eq!(store.archive.mend_journal().unwrap(), 0);
    store.put("more", &painted(2000, 7));
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    // The copy that was whole all the time is lost, and the catalog is an old one.
    fs::remove_dir_all(root.join("volumes/v0/journal/c3")).unwrap();
    fs::write(root.join("catalog.redb"), &old).unwrap();
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report.records_rolled_forward, 2, "{report:?}");
    for index in 0..5 {
        assert!(get(&archive, &index.to_string()).unwrap() == painted(3000 + index, index));
    }
    assert_eq!(archive.scrub(&()).unwrap().journal, []);
}

#[test]
fn an_archive_whose_copy_lacks_its_empty_directory_takes_new_files() {
    let (store, _) = five_files();
    let Store { dir, archive } = store;
    archive.close().unwrap();
    let root = dir.path().join("copied");
    copy_dir(&dir.path().join("a.bfdb"), &root);
    fs::remove_dir(root.join("sessions")).unwrap();
    let (archive, _) = try_open(&root, Access::Write).unwrap();
    let content = painted(900, 3);
    let options = bfdb::CommitOptions::default();
    drop(archive.commit(&name("new"), &content[..], 900, &options).unwrap());
    archive.close().unwrap();
    let (archive, _) = try_open(&root, Access::Read).unwrap();
    assert!(get(&archive, "new").unwrap() == content);
}
