//! What a reader makes of pages that the disk has lost a write of: their rows are whole, and they are not the right ones.

use std::cell::Cell;

use super::*;
use crate::catalog::SMALL_CATALOG_LEN_BYTES;
use crate::catalog::pages::{LOOKS, Pages, look, look_between};
use crate::storage::{FileAccess, StorageFile};

const PAGE_LEN: usize = 4096;

/// Makes a catalog in many transactions; returns it as it was behind each of them.
fn history(world: &mut World) -> Vec<Vec<u8>> {
    let mut past = Vec::new();
    for generation in 0..12_u64 {
        let catalog = world.open(Access::Write);
        let mut writer = catalog.write().expect("writer");
        let stored = name(&format!("file {generation}"));
        world.insert(&mut writer, &stored, generation);
        if generation > 5 {
            let removed = writer.remove_file(&name(&format!("file {}", generation - 5)));
            assert!(removed.expect("sound").is_some());
        }
        writer.advance_epoch();
        writer.commit().expect("committed");
        catalog.close().expect("closed");
        past.push(std::fs::read(world.path()).expect("read"));
    }
    past
}

#[test]
fn a_page_as_it_was_before_is_told_of_or_changes_nothing() {
    let mut world = World::new();
    let past = history(&mut world);
    let (now, older) = past.split_last().expect("it has a history");
    let truth = Dump::at(&world.path(), Access::Read).expect("sound");
    let copy = world.directory.path().join("copy");
    let (mut told, mut would_be_believed) = (0, 0);
    for old in older {
        // Behind the header: that is a whole old catalog, and the journal knows of those.
        for page in 1..old.len().min(now.len()) / PAGE_LEN {
            let range = page * PAGE_LEN..(page + 1) * PAGE_LEN;
            if old[range.clone()] == now[range.clone()] {
                continue;
            }
            let mut bytes = now.clone();
            bytes[range.clone()].copy_from_slice(&old[range]);
            std::fs::write(&copy, &bytes).expect("written");
            let catalog = match open(&copy, Access::Read) {
                Ok(catalog) => catalog,
                Err(error) => {
                    assert!(error.is_damaged(), "page {page}: {error:?}");
                    continue;
                }
            };
            let dump = catalog.read().and_then(|reader| Dump::of(&reader));
            let is_wrong = dump.as_ref().is_ok_and(|dump| *dump != truth);
            if catalog.has_damaged_pages() {
                told += 1;
                would_be_believed += u32::from(is_wrong);
            } else {
                assert_eq!(dump.expect("a page that nothing leads to"), truth, "page {page}");
            }
            match catalog.close() {
                Ok(()) => {}
                Err(error) => assert!(error.is_damaged(), "page {page}: {error:?}"),
            }
            assert_eq!(
                std::fs::read(&copy).expect("read"),
                bytes,
                "reading changes nothing"
            );
        }
    }
    assert!(told > 50, "{told}");
    assert!(would_be_believed > 0, "rows alone do not show all of it");
}

#[test]
fn pages_of_a_sound_catalog_are_verified_beside_a_writer_too() {
    let mut world = World::new();
    history(&mut world);
    let truth = Dump::at(&world.path(), Access::Read).expect("sound");
    let writer = world.open(Access::Write);
    let unfinished = writer.write().expect("writer");
    let reader = world.open(Access::Read);
    assert!(!reader.has_damaged_pages());
    assert_eq!(Dump::of(&reader.read().expect("reader")).expect("sound"), truth);
    drop(unfinished);
}

/// Makes a catalog and damages a page of it; returns its file.
fn damaged(world: &World) -> Arc<dyn StorageFile> {
    let file = host().open(&world.path(), FileAccess::ReadWrite).expect("opened");
    assert_eq!(look(&file, CatalogOptions::default()), Pages::Sound);
    let mut bytes = std::fs::read(world.path()).expect("read");
    let pages = bytes.chunks_exact_mut(PAGE_LEN).skip(1);
    pages
        .filter_map(|page| page.first_mut())
        .for_each(|byte| *byte ^= 1);
    file.write_all_at(0, &bytes).expect("written");
    file
}

#[test]
fn a_bad_page_is_believed_only_where_nobody_has_committed_meanwhile() {
    let (world, options) = (World::new(), CatalogOptions::default());
    let file = damaged(&world);
    assert_eq!(look(&file, options), Pages::Damaged);
    let commits = Cell::new(0_u8);
    let commit = || {
        commits.set(commits.get() + 1);
        // A part of the header that stands for nothing.
        file.write_all_at(4000, &[commits.get()]).expect("written");
    };
    assert_eq!(look_between(&file, options, commit), Pages::Unknown);
    assert_eq!(u32::from(commits.get()), LOOKS);
    let only_once = || {
        if u32::from(commits.get()) == LOOKS {
            commit();
        }
    };
    assert_eq!(look_between(&file, options, only_once), Pages::Damaged);
}

#[test]
fn a_large_catalog_is_not_looked_at() {
    let world = World::new();
    let file = damaged(&world);
    file.set_len(SMALL_CATALOG_LEN_BYTES + 1).expect("lengthened");
    assert_eq!(look(&file, CatalogOptions::default()), Pages::Unknown);
}
