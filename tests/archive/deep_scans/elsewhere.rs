//! Deep scans of several volumes, not all of which are there, and of volumes on which lies what is not of the archive.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, RepairOptions, UsableNames, VolumeCondition},
    error::OpenError,
    units::ByteRange,
};
use bfdb_fault_injection::damage::{extent_files, zero_range};

use super::{frames_in, has_all_of, lived_in, lose_names, scan, scan_with, stored};
use crate::{
    support::{LEAF, SEGMENTED_BELOW, TINY_BELOW, get, open, painted},
    volumes::{lose, store_of_each_tier},
};
use bfdb::catalog::Access;

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
    assert_eq!(report.frames, clean.frames);
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

#[test]
fn volumes_without_any_descriptor_make_no_catalog() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    lose_names(&root);
    for extent in extent_files(&root).unwrap() {
        for frame in frames_in(&extent) {
            if frame.kind() == bfdb::format::FrameKind::Descriptor {
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
