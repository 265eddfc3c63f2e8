//! Tests of batches whose catalog fails at any call: what is told is what is stored.

use std::sync::Arc;

use super::{
    Batch, CommitOutcome, Entry, NameConflict, Source,
    batch::{Metadata, What},
    find_file,
};
use crate::{
    archive::{
        Archive, ArchiveOptions,
        media::Media,
        shared::{Shared, SharedParts},
        volumes::announce_epoch,
    },
    catalog::{
        Access, EntryKind,
        tests::{Faults, open_on_faulty_disk},
    },
    host::{ArchiveLayout, Place},
    merkle::ChainHash,
    units::{FileName, Timestamp},
    volume::{MemoryVolume, Volume},
};

fn on_faulty_disk() -> (Shared, Faults, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().join("a.bfdb");
    let options = ArchiveOptions::default();
    let made = Archive::create(&root, &options).expect("an archive");
    made.close().expect("a clean end");
    let layout = ArchiveLayout::new(root);
    let (catalog, faults) = open_on_faulty_disk(&layout.catalog());
    let reader = catalog.read().expect("a reader");
    let (volumes, epoch) = (reader.volumes().expect("volumes"), reader.epoch().expect("epoch"));
    drop(reader);
    let volume: Arc<dyn Volume> = Arc::new(MemoryVolume::new(volumes[0].id, 1 << 30));
    let announced = (epoch, ChainHash::NONE);
    announce_epoch(volume.as_ref(), catalog.archive().id, announced).expect("a slot");
    let catalog = Arc::new(catalog);
    let use_of = (Access::Write, options.resources.io);
    let media = Media::find(&layout, &catalog, use_of, Vec::new()).expect("a journal");
    let shared = Shared::new(SharedParts {
        layout,
        media: media.with_only(&catalog, volume),
        catalog,
        access: Access::Write,
        resources: options.resources,
    });
    (shared.expect("threads"), faults, dir)
}

fn name(text: &str) -> FileName {
    text.parse().expect("a name")
}

/// A batch that stores each content under its name, whatever is there by now.
fn batch(contents: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::default();
    for (file, content) in contents {
        let metadata = Metadata {
            mode: 0o644,
            modified_at: Timestamp::new(1, 0).expect("no nanoseconds"),
        };
        batch.push(Entry {
            source: Source {
                name: name(file),
                place: Place::of_path(*file),
            },
            what: What::Store {
                kind: EntryKind::File,
                metadata,
                content: content.as_bytes().to_vec(),
            },
        });
    }
    batch
}

#[test]
fn a_batch_whose_catalog_fails_inside_its_commit_is_told_as_it_is_there() {
    let (shared, faults, _dir) = on_faulty_disk();
    let store = |contents: &[(&str, &str)]| batch(contents).store(&shared, NameConflict::Replace, &());
    drop(store(&[("same", "same"), ("old", "old")]).expect("stored"));
    let (mut there, mut lost) = (0, 0);
    for call in 1.. {
        let (new, other) = (format!("new/{call}"), format!("other {call}"));
        faults.fail_once_at(call);
        let stored = store(&[(&new, "new"), ("same", "same"), ("old", &other)]);
        let has_failed = faults.is_healthy();
        faults.heal();
        let is_there = find_file(&shared, &name(&new)).expect("opened anew").is_some();
        assert_eq!(stored.is_ok(), is_there, "call {call}: {stored:?}");
        if let Ok(outcomes) = stored {
            let [(_, new), (_, same), (_, old)] = outcomes.as_slice() else {
                panic!("{outcomes:?}")
            };
            assert!(matches!(new, Ok(CommitOutcome::Committed(_))), "{new:?}");
            assert!(matches!(same, Ok(CommitOutcome::Unchanged(_))), "{same:?}");
            assert!(matches!(old, Ok(CommitOutcome::Replaced(_))), "{old:?}");
        }
        match (has_failed, is_there) {
            (false, _) => break,
            (true, true) => there += 1,
            (true, false) => lost += 1,
        }
    }
    assert!(there > 0 && lost > 0, "{there} were there, {lost} were not");
}
