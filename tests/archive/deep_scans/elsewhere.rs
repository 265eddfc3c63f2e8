//! Deep scans of several volumes, not all of which are there, and of volumes on which lies what is not of the archive.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, RepairOptions, UsableNames, VolumeCondition},
    catalog::Access,
    error::OpenError,
    format::{
        FRAME_FOOTER_LEN_BYTES, FRAME_HEADER_LEN_BYTES, FrameFooter, FrameHeader, FrameIdentity, FrameKind,
    },
    units::ByteRange,
};
use bfdb_fault_injection::damage::{extent_files, zero_range};

use super::{frames_in, has_all_of, lived_in, lose_names, scan, scan_with, spoil, stored};
use crate::{
    support::{LEAF, SEGMENTED_BELOW, Store, TINY_BELOW, get, open, painted},
    volumes::{lose, store_of_each_tier},
};

/// Takes away the directory of an archive, and the journal on its volumes.
fn lose_names_beside(dir: &Path, volumes: usize) {
    fs::remove_dir_all(dir.join("a.bfdb")).unwrap();
    for volume in 0..volumes {
        fs::remove_dir_all(dir.join(format!("v{volume}/journal"))).unwrap();
    }
}

fn has_each_tier(archive: &Archive) {
    for (file, len, seed) in [
        ("tiny", TINY_BELOW - 7, 1),
        ("segmented", SEGMENTED_BELOW - 7, 2),
        ("blocked", SEGMENTED_BELOW + 50 * LEAF + 7, 3),
    ] {
        let found = get(archive, &format!("recovered/{file}")).unwrap();
        assert!(found == painted(len, seed), "{file}");
    }
}

#[test]
fn an_archive_of_several_volumes_is_found_again_from_them_alone() {
    let store = store_of_each_tier(3);
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    let before: Vec<_> = volumes.iter().map(|volume| (volume.number, volume.id)).collect();
    let (root, dir) = (store.dir.path().join("a.bfdb"), store.dir);
    store.archive.close().unwrap();
    lose_names_beside(dir.path(), 3);
    let places: Vec<PathBuf> = [2, 0, 1]
        .map(|volume| dir.path().join(format!("v{volume}")))
        .into();
    let (archive, report) = scan_with(&root, places, UsableNames::Keep).unwrap();
    assert!(report.is_complete(), "{report:?}");
    has_each_tier(&archive);
    let volumes = archive.snapshot().unwrap().volumes().unwrap();
    let after: Vec<_> = volumes.iter().map(|volume| (volume.number, volume.id)).collect();
    assert_eq!(after, before);
    assert!(
        volumes
            .iter()
            .all(|volume| volume.condition == VolumeCondition::Present)
    );
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    archive.close().unwrap();
    // Where they are is known again.
    has_each_tier(&open(&root, Access::Read));
}

#[test]
fn with_one_of_several_volumes_missing_everything_is_offered_and_the_scan_not_called_complete() {
    for missing in 0..3 {
        let store = store_of_each_tier(3);
        let (root, dir) = (store.dir.path().join("a.bfdb"), store.dir);
        store.archive.close().unwrap();
        lose_names_beside(dir.path(), 3);
        lose(dir.path(), &[missing]);
        let there = (0..3).filter(|volume| *volume != missing);
        let places: Vec<PathBuf> = there
            .map(|volume| dir.path().join(format!("v{volume}")))
            .collect();
        let (archive, report) = scan_with(&root, places, UsableNames::Keep).unwrap();
        assert!(!report.is_complete(), "{report:?}");
        assert!(report.missing_extents > 0 && report.unreadable == 0, "{report:?}");
        // The last one leaves no gap.
        let numbers: Vec<u16> = (missing < 2)
            .then(|| u16::try_from(missing).unwrap())
            .into_iter()
            .collect();
        assert_eq!(report.missing_volumes, numbers);
        has_each_tier(&archive);
        assert_eq!(
            archive.scrub(&()).unwrap().damage.len(),
            6,
            "each file and its descriptor"
        );
        drop(archive.repair(&RepairOptions::default(), &()).unwrap());
        assert_eq!(archive.scrub(&()).unwrap().damage, []);
        has_each_tier(&archive);
    }
}

#[test]
fn extents_and_frames_that_are_not_of_the_archive_are_passed_over() {
    let store = lived_in();
    let other = lived_in();
    let before = stored(&store.archive);
    let (root, dir) = (store.root(), store.dir);
    let (own, foreign) = (extent_files(&root).unwrap(), extent_files(&other.root()).unwrap());
    store.archive.close().unwrap();
    other.archive.close().unwrap();
    lose_names(&root);
    let (archive, clean) = scan(&root);
    archive.close().unwrap();
    lose_names(&root);
    let extents = own[0].parent().unwrap();
    // An extent of another archive, an old copy under another name, one cut short, and nothing at all.
    fs::copy(&foreign[0], extents.join("00000700.bfx")).unwrap();
    fs::copy(&own[3], extents.join("00000701.bfx")).unwrap();
    let half = fs::read(&own[0]).unwrap();
    fs::write(extents.join("00000702.bfx"), &half[..half.len() / 2]).unwrap();
    fs::write(extents.join("00000703.bfx"), []).unwrap();
    // Frames of the other archive behind those of this one, at their own offsets.
    let mut bytes = fs::read(&own[1]).unwrap();
    let others = fs::read(&foreign[1]).unwrap();
    bytes.resize(others.len().max(bytes.len()) + 4096, 0);
    bytes.extend(&others);
    fs::write(&own[1], bytes).unwrap();
    let (archive, report) = scan(&root);
    has_all_of(&archive, &before);
    assert_eq!(report.foreign_extents, 4);
    // Those of the checkpoint that the first scan has taken are new.
    assert_eq!(report.frames, clean.frames + 4);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    // Their numbers are given to no extent.
    let options = bfdb::archive::CommitOptions::default();
    archive
        .commit(&"new".parse().unwrap(), &[1; 9][..], 9, &options)
        .unwrap();
    let new = extent_files(&root).unwrap().pop().unwrap();
    let number: u64 = new.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(number > 703 + (1 << 23), "{number}");
    drop(dir);
}

/// Writes a frame over another one of the same length, as if it had been put there.
fn put_over(extent: &Path, (over, frame): (&FrameHeader, &FrameHeader), from: &Path) {
    let (start, place) = (frame.identity().offset, over.identity().offset);
    let header = FrameHeader::of_shard(
        frame.kind(),
        FrameIdentity {
            block: frame.identity().block,
            shard: frame.identity().shard,
            ..*over.identity()
        },
        frame.commit(),
        *frame.block(),
        frame.digest(),
    );
    let len = usize::try_from(frame.layout().total_len_bytes()).unwrap();
    let (start, place) = (usize::try_from(start).unwrap(), usize::try_from(place).unwrap());
    let mut bytes = fs::read(from).unwrap()[start..start + len].to_vec();
    bytes[..FRAME_HEADER_LEN_BYTES].copy_from_slice(&header.encode());
    let footer = usize::try_from(frame.layout().footer().start()).unwrap();
    bytes[footer..footer + FRAME_FOOTER_LEN_BYTES].copy_from_slice(&FrameFooter::of(&header).encode());
    let mut whole = fs::read(extent).unwrap();
    whole[place..place + len].copy_from_slice(&bytes);
    fs::write(extent, whole).unwrap();
}

#[test]
fn a_shard_in_whose_place_another_one_lies_is_missing_and_both_files_are_there() {
    let store = Store::new();
    store.put("under", &painted(500, 1));
    store.put("over", &painted(500, 2));
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    let extents = extent_files(&root).unwrap();
    let files = |extent: &PathBuf| -> Vec<FrameHeader> {
        let frames = frames_in(extent).into_iter();
        frames.filter(|frame| frame.kind() == FrameKind::File).collect()
    };
    let all: Vec<(&PathBuf, FrameHeader)> = extents
        .iter()
        .flat_map(|extent| files(extent).into_iter().map(move |frame| (extent, frame)))
        .collect();
    let first = all.iter().map(|(_, frame)| frame.identity().block).min().unwrap();
    let (under, over): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(_, frame)| frame.identity().block == first);
    put_over(under[0].0, (&under[0].1, &over[1].1), over[1].0);
    let (archive, report) = scan(&root);
    assert_eq!(
        (report.offered, report.shards_missing, report.frames_superseded),
        (2, 1, 1)
    );
    assert!(get(&archive, "recovered/under").unwrap() == painted(500, 1));
    assert!(get(&archive, "recovered/over").unwrap() == painted(500, 2));
    let damage = archive.scrub(&()).unwrap().damage;
    let damaged: Vec<String> = damage.iter().map(|file| file.name.to_string()).collect();
    assert_eq!(damaged, ["recovered/under"]);
    assert_eq!(archive.repair(&RepairOptions::default(), &()).unwrap().damage, []);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    drop(dir);
}

#[test]
fn a_shard_that_was_moved_is_found_by_its_footer_alone() {
    let store = Store::new();
    for number in 0..8 {
        store.put(&format!("{number}"), &painted(5000, number));
    }
    let hurt = store.extents()[0].clone();
    for frame in frames_in(&hurt) {
        spoil(
            &hurt,
            frame.identity().offset + frame.layout().payload().start(),
            1,
        );
    }
    let before = store.extents();
    drop(store.archive.scrub(&()).unwrap());
    let repaired = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    let moved = repaired.shards_repaired;
    let new: Vec<PathBuf> = store
        .extents()
        .into_iter()
        .filter(|extent| !before.contains(extent))
        .collect();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    let frames: Vec<_> = new.iter().flat_map(|extent| frames_in(extent)).collect();
    assert_eq!(
        frames.len() as u64,
        moved,
        "what was repaired lies in extents of its own"
    );
    for extent in &new {
        for frame in frames_in(extent) {
            spoil(extent, frame.identity().offset + 100, 1);
        }
    }
    // The old ones are holes by now.
    fs::remove_file(&hurt).unwrap();
    let (archive, report) = scan(&root);
    assert_eq!((report.offered, report.shards_missing), (8, 0), "{report:?}");
    assert!(report.is_complete(), "{report:?}");
    for number in 0..8 {
        assert!(get(&archive, &format!("recovered/{number}")).unwrap() == painted(5000, number));
    }
    drop(dir);
}

#[test]
fn volumes_without_any_descriptor_make_no_catalog() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    for extent in extent_files(&root).unwrap() {
        for frame in frames_in(&extent) {
            if frame.kind() == FrameKind::Descriptor {
                let range = ByteRange::at(frame.identity().offset, frame.layout().total_len_bytes());
                zero_range(&extent, range.unwrap()).unwrap();
            }
        }
    }
    let error = scan_with(&root, Vec::new(), UsableNames::Keep).unwrap_err();
    assert!(matches!(error, OpenError::DescriptorsMissing { .. }), "{error:?}");
    let left: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_str().unwrap().contains("catalog")),
        "{left:?}"
    );
    drop(dir);
}
