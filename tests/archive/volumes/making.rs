//! Archives that are made on several volumes, or are not.

use std::fs;

use bfdb::{
    archive::{Archive, ArchiveOptions},
    error::{CommitError, OpenError},
    geometry::{Policy, PolicyParts, Tier},
};

use super::OnVolumes;
use crate::support::{dir_in_memory, small_policy};

fn surviving(survive_volumes: u16) -> Policy {
    let parts = PolicyParts {
        survive_volumes,
        ..*small_policy().parts()
    };
    Policy::new(parts).unwrap()
}

#[test]
fn a_promise_that_the_volumes_cannot_give_is_refused_before_anything_is_made() {
    let dir = dir_in_memory();
    let volumes: Vec<_> = (0..3)
        .map(|volume| dir.path().join(format!("v{volume}")))
        .collect();
    let root = dir.path().join("a.bfdb");
    let options = |volumes: &[_], policy| ArchiveOptions {
        policy,
        volumes: volumes.to_vec(),
        ..ArchiveOptions::default()
    };
    let narrow = PolicyParts {
        blocked_shape: bfdb::units::CodeShape::new(30, 3).unwrap(),
        survive_volumes: 1,
        ..*small_policy().parts()
    };
    let narrow = Policy::new(narrow).unwrap();
    for (options, expected) in [
        (options(&[], surviving(1)), (1, 1, 1, 0)),
        (options(&volumes, surviving(3)), (1, 3, 3, 2)),
        (options(&volumes, narrow), (3, 3, 1, 0)),
    ] {
        for refused in [
            Archive::check_creation(&root, &options).unwrap_err(),
            Archive::create(&root, &options).unwrap_err(),
        ] {
            let OpenError::VolumesNotSurvived {
                tier,
                volumes,
                survive,
                survived,
                ..
            } = refused
            else {
                panic!("{refused:?}");
            };
            assert_eq!((tier, volumes, survive, survived), expected);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something was made");
    }
    let policy = Policy::surviving(*narrow.parts(), 3, 1).unwrap();
    let archive = Archive::create(&root, &options(&volumes, policy)).unwrap();
    assert_eq!(archive.policy().volumes_survived(Tier::Blocked, 3), 1);
}

/// Volumes that stood before the one that cannot be made were left behind, and taken for those of another archive then.
#[test]
fn a_volume_that_cannot_be_made_is_refused_before_others_are() {
    let dir = dir_in_memory();
    let root = dir.path().join("a.bfdb");
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    fs::create_dir(&second).unwrap();
    fs::write(second.join("photo"), b"1").unwrap();
    let options = ArchiveOptions {
        volumes: vec![first.clone(), second.clone()],
        ..ArchiveOptions::default()
    };
    for refused in [
        Archive::check_creation(&root, &options).unwrap_err(),
        Archive::create(&root, &options).unwrap_err(),
    ] {
        assert!(matches!(refused, OpenError::VolumeNotEmpty { .. }), "{refused:?}");
    }
    assert!(!first.exists() && !root.exists(), "something was made");
    fs::remove_file(second.join("photo")).unwrap();
    drop(Archive::create(&root, &options).unwrap());
}

#[test]
fn what_would_be_added_is_refused_as_it_is_when_it_is_added_and_nothing_is_made() {
    let store = OnVolumes::new(2);
    let taken = store.volume(1);
    let full = store.dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("photo"), b"1").unwrap();
    for path in [
        &taken,
        &full,
        &taken.join("below"),
        &store.dir.path().to_path_buf(),
    ] {
        let kind = |error: CommitError| {
            let CommitError::Volumes { source } = error else {
                panic!("{error:?}");
            };
            std::mem::discriminant(&*source)
        };
        let checked = kind(store.archive.check_new_volume(path).unwrap_err());
        assert_eq!(
            checked,
            kind(store.archive.add_volume(path).unwrap_err()),
            "{}",
            path.display()
        );
    }
    let new = store.dir.path().join("new");
    store.archive.check_new_volume(&new).unwrap();
    assert!(!new.exists(), "something was made");
    store.archive.add_volume(&new).unwrap();
}
