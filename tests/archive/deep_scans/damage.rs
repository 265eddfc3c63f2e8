//! Frames that are hurt, gone, or named by nobody.

use std::{fs, path::PathBuf};

use bfdb::{
    archive::{Archive, CompactOptions, KeptWhy, RepairOptions, ScannedExtents},
    catalog::EntryKind,
    format::{FrameHeader, FrameKind},
    units::ByteRange,
};

use super::{LENGTHS, frames_in, has_all_of, lived_in, lose_names, remove, scan, spoil, stored};
use crate::support::{get, name, names, painted};

#[test]
fn shards_that_were_written_anew_are_found_where_they_are_now() {
    let store = lived_in();
    let before = stored(&store.archive);
    // The first frames of an extent, whatever they are: of files and descriptors.
    let hurt = store.extents()[0].clone();
    let frames = frames_in(&hurt);
    for frame in &frames {
        spoil(
            &hurt,
            frame.identity().offset + frame.layout().payload().start(),
            1,
        );
    }
    assert!(!archive_damage(&store.archive).is_empty());
    let repaired = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert!(repaired.shards_repaired > 0);
    assert_eq!(archive_damage(&store.archive), Vec::<String>::new());
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    let (archive, report) = scan(&root);
    has_all_of(&archive, &before);
    assert!(report.frames_superseded > 0, "{report:?}");
    // Removed files were not repaired; all others lie where they are whole.
    let damaged = archive_damage(&archive);
    let is_dead =
        |file: &&String| file.contains("removed") || file.contains("older") || file.contains("descriptor");
    assert_eq!(damaged.iter().find(|file| !is_dead(file)), None);
    drop(dir);
}

/// Names of what a scrub finds damaged.
fn archive_damage(archive: &Archive) -> Vec<String> {
    let report = archive.scrub(&()).unwrap();
    report.damage.iter().map(|file| file.name.to_string()).collect()
}

#[test]
fn damage_within_the_code_hides_nothing_wherever_it_is() {
    for part in ["header", "footer", "payload"] {
        let store = lived_in();
        let before = stored(&store.archive);
        let (root, dir) = (store.root(), store.dir);
        let extents = bfdb_fault_injection::damage::extent_files(&root).unwrap();
        store.archive.close().unwrap();
        lose_names(&root);
        // One shard of every block: each extent has one at most.
        let hurt = &extents[1];
        for frame in frames_in(hurt) {
            let at = match part {
                "header" => 100,
                "footer" => frame.layout().footer().start() + 20,
                _ => frame.layout().payload().start(),
            };
            spoil(hurt, frame.identity().offset + at, 1);
        }
        let (archive, report) = scan(&root);
        has_all_of(&archive, &before);
        assert_eq!(report.shards_missing, 0, "{part}: {report:?}");
        assert!(report.is_complete(), "{part}: {report:?}");
        assert_eq!(report.left_out, 0, "{part}");
        let scrubbed = archive.scrub(&()).unwrap();
        assert!(scrubbed.damage.iter().all(|file| file.lost.is_empty()), "{part}");
        assert!(!scrubbed.damage.is_empty(), "{part}");
        drop(archive.repair(&RepairOptions::default(), &()).unwrap());
        assert_eq!(archive.scrub(&()).unwrap().damage, [], "{part}");
        drop(dir);
    }
}

#[test]
fn what_is_missing_is_known_at_the_next_scrub_and_can_be_repaired() {
    let store = lived_in();
    let before = stored(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    let extents = bfdb_fault_injection::damage::extent_files(&root).unwrap();
    store.archive.close().unwrap();
    lose_names(&root);
    fs::remove_file(&extents[2]).unwrap();
    let (archive, report) = scan(&root);
    has_all_of(&archive, &before);
    assert!(!report.is_complete(), "{report:?}");
    assert_eq!(report.missing_extents, 1);
    assert!(report.incomplete > 0 && report.unreadable == 0, "{report:?}");
    let scrubbed = archive.scrub(&()).unwrap();
    let damaged: u64 = scrubbed.damage.iter().map(|file| file.damaged_shards).sum();
    assert_eq!(damaged, report.shards_missing + report.descriptor_shards_missing);
    let repaired = archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!(repaired.shards_repaired, damaged);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    has_all_of(&archive, &before);
    drop(dir);
}

#[test]
fn files_of_which_nothing_is_left_are_left_out_and_named() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    let extents = bfdb_fault_injection::damage::extent_files(&root).unwrap();
    store.archive.close().unwrap();
    lose_names(&root);
    // What compaction does to a removed file: its frames are holes. Its length is that of no other.
    let frames = || {
        let frames = extents.iter().flat_map(|extent| {
            let frames = frames_in(extent).into_iter();
            frames.map(|frame| (extent.clone(), frame))
        });
        frames.filter(|(_, frame)| frame.kind() == FrameKind::File && frame.payload_len_bytes() == LENGTHS[0])
    };
    let first = frames().map(|(_, frame)| frame.identity().block).min().unwrap();
    for (extent, frame) in frames().filter(|(_, frame)| frame.identity().block == first) {
        let range = ByteRange::at(frame.identity().offset, frame.layout().total_len_bytes());
        bfdb_fault_injection::damage::zero_range(&extent, range.unwrap()).unwrap();
    }
    let (archive, report) = scan(&root);
    assert_eq!(report.left_out, 1);
    assert_eq!(
        report.left_out_names,
        [name(&format!("tree/kept/{}", LENGTHS[0]))]
    );
    assert_eq!((report.offered, report.older), (11, 3));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    drop(dir);
}

#[test]
fn frames_that_no_descriptor_names_are_counted_and_left_alone() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    let extents = bfdb_fault_injection::damage::extent_files(&root).unwrap();
    let descriptors = extents.iter().flat_map(|extent| {
        let frames = frames_in(extent).into_iter();
        let frames = frames.filter(|frame| frame.kind() == FrameKind::Descriptor);
        frames.map(|frame| (extent.clone(), frame))
    });
    let descriptors: Vec<(PathBuf, FrameHeader)> = descriptors.collect();
    let last = descriptors.iter().map(|(_, frame)| frame.commit()).max().unwrap();
    for (extent, frame) in descriptors.iter().filter(|(_, frame)| frame.commit() == last) {
        spoil(
            extent,
            frame.identity().offset + frame.layout().payload().start(),
            1,
        );
    }
    let before: Vec<Vec<u8>> = extents.iter().map(|extent| fs::read(extent).unwrap()).collect();
    let (archive, report) = scan(&root);
    assert_eq!((report.descriptors, report.descriptors_lost), (14, 1));
    assert!(
        report.frames_unnamed > 0 && report.unnamed_bytes > LENGTHS[2],
        "{report:?}"
    );
    assert!(!report.is_complete());
    archive.close().unwrap();
    let after: Vec<Vec<u8>> = extents.iter().map(|extent| fs::read(extent).unwrap()).collect();
    assert!(after == before, "extents were written to");
    drop(dir);
}

/// A descriptor that cannot be read leaves frames that nobody names, and they may be all that is left of a file.
#[test]
fn what_no_entry_has_in_scanned_extents_is_given_back_only_when_that_is_asked_for() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    let extents = bfdb_fault_injection::damage::extent_files(&root).unwrap();
    let bytes = || -> Vec<Vec<u8>> { extents.iter().map(|extent| fs::read(extent).unwrap()).collect() };
    let before = bytes();
    let (archive, _) = scan(&root);
    let kept = format!("recovered/tree/kept/{}", LENGTHS[0]);
    for file in names(&archive)
        .iter()
        .filter(|file| **file != kept && file.starts_with("recovered"))
    {
        let is_file = archive
            .snapshot()
            .unwrap()
            .file(&name(file))
            .unwrap()
            .unwrap()
            .kind
            == EntryKind::File;
        if is_file {
            remove(&archive, file);
        }
    }
    let eager = CompactOptions {
        min_dead_percent: 1,
        min_dead_bytes: 1,
        ..CompactOptions::default()
    };
    assert_eq!(
        archive.snapshot().unwrap().space().unwrap()[0].reclaimable_bytes,
        0
    );
    let report = archive.compact(&eager, &()).unwrap();
    assert_eq!(report.given_back_bytes(), 0);
    let why: Vec<KeptWhy> = report.kept.iter().map(|kept| kept.why).collect();
    assert_eq!(why, [KeptWhy::Scanned]);
    assert!(bytes() == before, "extents were written to");
    let given_up = CompactOptions {
        scanned: ScannedExtents::GiveUp,
        ..eager
    };
    let report = archive.compact(&given_up, &()).unwrap();
    assert!(report.given_back_bytes() > LENGTHS[2], "{report:?}");
    assert!(get(&archive, &kept).unwrap() == painted(LENGTHS[0], 1));
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    archive.close().unwrap();
    drop(dir);
}
