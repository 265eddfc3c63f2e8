//! What a loss would mean, where the listing cannot remember every file.

use super::*;
use crate::{
    archive::{Archive, ArchiveOptions, CommitOptions},
    geometry::{Policy, PolicyParts},
    units::LeafLen,
};

#[test]
fn files_are_listed_once_in_however_many_passes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let policy = Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(10).expect("1 KiB"),
        tiny_below_bytes: 1024,
        segmented_below_bytes: 1 << 20,
        segmented_segment_len_bytes: 1024,
        blocked_segment_max_len_bytes: 1024,
        ..*Policy::default().parts()
    });
    let options = ArchiveOptions {
        policy: policy.expect("valid"),
        ..ArchiveOptions::default()
    };
    let root = directory.path().join("a.bfdb");
    let archive = Archive::create(&root, &options).expect("created");
    let bytes = [7; 4000];
    for (name, len) in [
        ("a", 0),
        ("b", 1),
        ("c", 4000),
        ("d", 3000),
        ("e", 2000),
        ("f", 2),
    ] {
        let name = name.parse().expect("a name");
        let receipt = archive.commit(&name, &bytes[..len], to_u64(len), &CommitOptions::default());
        drop(receipt.expect("stored"));
    }
    let snapshot = archive.snapshot().expect("sound");
    let volume = snapshot.volumes().expect("sound")[0].id;
    for passes in 1..5 {
        let mut listing = snapshot
            .what_if_files(&[Loss::Volume(volume)])
            .expect("a known volume");
        listing.passes = passes;
        let files = listing.map(|file| file.expect("sound").file.name.to_string());
        let mut names: Vec<String> = files.collect();
        names.sort();
        assert_eq!(names, ["b", "c", "d", "e", "f"], "{passes} passes");
    }
}
