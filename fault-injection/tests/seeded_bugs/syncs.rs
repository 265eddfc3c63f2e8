//! Syncs that somebody has forgotten or swapped, told by a storage that answers them and does not do them.

use std::path::Path;

use bfdb_fault_injection::{
    crashes::{setting::ROOT, violation::Promise},
    simulation::{CrashClass, Fault, FaultRule, OperationKind},
};

use super::trial::Search;

/// Forgets every sync of such a file or directory.
fn forgotten(is_meant: fn(&Path) -> bool) -> Vec<FaultRule> {
    vec![every_sync(Fault::SyncForgotten, is_meant)]
}

/// Does every sync of such a file or directory behind the next of another.
fn late(is_meant: fn(&Path) -> bool) -> Vec<FaultRule> {
    vec![every_sync(Fault::SyncLate, is_meant)]
}

fn every_sync(fault: Fault, is_meant: fn(&Path) -> bool) -> FaultRule {
    FaultRule::from_fn(move |asked| {
        let is_sync = matches!(asked.kind, OperationKind::SyncFile | OperationKind::SyncDirectory);
        is_sync.then_some(fault)
    })
    .on_paths(is_meant)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn is_extent(path: &Path) -> bool {
    has_extension(path, "bfx")
}

fn is_journal(path: &Path) -> bool {
    has_extension(path, "bfj")
}

fn is_slot(path: &Path) -> bool {
    path.ends_with("volume.bfv")
}

fn is_catalog(path: &Path) -> bool {
    path.ends_with("catalog.redb")
}

fn is_of_one_copy(path: &Path) -> bool {
    is_journal(path) && path.parent().is_some_and(|copy| copy.ends_with("c2"))
}

/// Says whether it is the directory of a copy of the journal.
fn is_copy(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with("journal"))
}

#[test]
fn a_commit_that_is_published_without_a_sync_of_its_extents_is_caught() {
    Search::crashes("blocked").catches_storage(|| forgotten(is_extent), Promise::Opens);
    // One frame of many costs a shard.
    Search::crashes("blocked")
        .leaving(&[CrashClass::AllBut])
        .catches_storage(|| forgotten(is_extent), Promise::Whole);
}

#[test]
fn a_record_that_is_synced_before_the_extents_are_is_caught() {
    // The sync of the slot comes between the two.
    let rules = || late(|path| is_extent(path) || is_slot(path));
    Search::crashes("blocked").catches_storage(rules, Promise::Opens);
}

#[test]
fn a_record_of_the_journal_that_is_never_synced_is_caught() {
    Search::crashes("segmented").catches_storage(|| forgotten(is_journal), Promise::Journal);
}

#[test]
fn a_record_of_one_copy_of_the_journal_that_is_never_synced_is_caught() {
    Search::crashes("remove")
        .leaving(&[CrashClass::AllBut])
        .catches_storage(|| forgotten(is_of_one_copy), Promise::Journal);
}

#[test]
fn a_record_of_the_journal_that_is_synced_behind_the_catalog_is_caught() {
    // Where the catalog grows it syncs once more, and the rule below counts its syncs.
    Search::crashes("tiny").catches_storage(journal_behind_the_catalog, Promise::Journal);
}

/// The catalog commits with two syncs, and the second is the one that counts.
fn journal_behind_the_catalog() -> Vec<FaultRule> {
    let mut is_first = false;
    vec![FaultRule::from_fn(move |asked| {
        let is_late = asked.kind == OperationKind::SyncFile
            && (is_journal(asked.path) || (is_first && is_catalog(asked.path)));
        if is_late {
            is_first = is_journal(asked.path);
        }
        is_late.then_some(Fault::SyncLate)
    })]
}

#[test]
fn a_segment_of_the_journal_whose_name_is_never_synced_is_caught() {
    Search::crashes("tiny").catches_storage(|| forgotten(is_copy), Promise::Journal);
}

#[test]
fn a_new_extent_whose_name_is_never_synced_is_caught() {
    Search::crashes("segmented")
        .catches_storage(|| forgotten(|path| path.ends_with("extents")), Promise::Opens);
}

#[test]
fn an_archive_whose_name_is_never_synced_is_caught() {
    Search::crashes("creation").catches_storage(|| forgotten(|path| path == Path::new("/")), Promise::Opens);
}

#[test]
fn a_catalog_whose_name_is_never_synced_is_caught() {
    Search::crashes("creation").catches_storage(|| forgotten(|path| path == Path::new(ROOT)), Promise::Opens);
}

#[test]
fn a_slot_that_is_never_synced_is_caught() {
    Search::crashes("reopened").catches_storage(|| forgotten(is_slot), Promise::Opens);
}

#[test]
fn a_catalog_that_is_never_synced_is_caught() {
    Search::crashes("segmented").catches_storage(|| forgotten(is_catalog), Promise::NoLeak);
}

/// Readers take an archive for an old one where it is behind its journal and nobody writes; with a session, somebody does.
#[test]
fn a_session_whose_name_is_never_synced_is_caught() {
    Search::crashes("segmented")
        .catches_storage(|| forgotten(|path| path.ends_with("sessions")), Promise::Content);
}
