//! Sectors that cannot be read.

use std::path::Path;

use bfdb::{
    Archive, OpenOptions,
    catalog::Access,
    error::OpenError,
    storage::{FileAccess, Storage as _},
};
use bfdb_fault_injection::simulation::{Fault, FaultRule, OperationKind};

use super::{Bench, ROOT, check_sound, content, put, resources};
use crate::support::painted;

/// One bad sector kept everybody from writing, although the other slot says all that is needed.
#[test]
fn a_slot_that_cannot_be_read_costs_nothing_while_the_other_can() {
    for slot in [0..4096, 4096..8192] {
        let bench = Bench::new();
        let rule = FaultRule::bad_range(slot.clone()).on_paths(|path| path.ends_with("volume.bfv"));
        bench.disk.add_rule(rule);
        let (archive, _) = bench.open();
        put(&archive, "file", &painted(2000, 4));
        assert!(content(&archive, "file").unwrap() == painted(2000, 4), "{slot:?}");
        check_sound(&archive);
        archive.close().unwrap();
        let (archive, _) = bench.open();
        check_sound(&archive);
    }
}

#[test]
fn a_volume_of_which_no_slot_can_be_read_is_not_written() {
    let bench = Bench::new();
    let rule = FaultRule::bad_range(0..8192).on_paths(|path| path.ends_with("volume.bfv"));
    bench.disk.add_rule(rule);
    let open = |access| {
        let options = OpenOptions {
            access,
            resources: resources(),
            volumes: Vec::new(),
        };
        Archive::open_on(&bench.machine, ROOT.as_ref(), &options)
    };
    let refused = open(Access::Write).map(drop);
    assert!(matches!(refused, Err(OpenError::Volume { .. })), "{refused:?}");
    let (reader, _) = open(Access::Read).unwrap();
    assert!(content(&reader, "before").unwrap() == painted(30_000, 1));
}

/// A stream passes only once, but nothing of it was read yet.
#[test]
fn a_disk_that_fails_while_extents_are_made_costs_a_stream_nothing() {
    for kind in [
        OperationKind::CreateFile,
        OperationKind::SyncFile,
        OperationKind::Write,
    ] {
        let bench = Bench::new();
        let (archive, _) = bench.open();
        let is_extent = |path: &Path| path.extension().is_some_and(|found| found == "bfx");
        bench
            .disk
            .add_rule(FaultRule::first_of(kind, Fault::Io).on_paths(is_extent));
        put(&archive, "file", &painted(150_000, 4));
        assert_eq!(bench.disk.counts().injected(), 1, "{kind:?}");
        bench.disk.clear_rules();
        assert!(
            content(&archive, "file").unwrap() == painted(150_000, 4),
            "{kind:?}"
        );
        check_sound(&archive);
    }
}

pub(super) fn bytes_of(bench: &Bench, path: &Path) -> Vec<u8> {
    let file = bench.disk.open(path, FileAccess::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.info().unwrap().len_bytes).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// Copies that were lost stayed lost until the archive was opened again: a process that ran for years ended with the last.
#[test]
fn a_copy_of_the_journal_that_was_lost_is_made_whole_by_the_process_that_lost_it() {
    let bench = Bench::new();
    let catalog = Path::new(ROOT).join("catalog.redb");
    let old = bytes_of(&bench, &catalog);
    let (archive, _) = bench.open();
    let is_first = |path: &Path| path.starts_with("/a.bfdb/volumes/v0/journal/c0");
    bench.disk.add_rule(FaultRule::from_fn(move |asked| {
        (asked.kind.is_mutating() && is_first(asked.path)).then_some(Fault::Io)
    }));
    for index in 0..3 {
        put(&archive, &format!("without/{index}"), &painted(2000, index));
    }
    bench.disk.clear_rules();
    put(&archive, "with", &painted(2000, 9));
    archive.close().unwrap();
    // Now the others are lost, and an old catalog has nothing else to go by.
    for copy in 1..4 {
        let directory = Path::new(ROOT).join(format!("volumes/v0/journal/c{copy}"));
        for segment in bench.disk.list(&directory).unwrap() {
            bench.disk.remove_file(&directory.join(segment)).unwrap();
        }
    }
    let file = bench.disk.open(&catalog, FileAccess::ReadWrite).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(0, &old).unwrap();
    drop(file);
    let (archive, report) = bench.open();
    assert_eq!(report.records_rolled_forward, 4);
    for index in 0..3 {
        let name = format!("without/{index}");
        assert!(
            content(&archive, &name).unwrap() == painted(2000, index),
            "{name}"
        );
    }
    assert!(content(&archive, "with").unwrap() == painted(2000, 9));
    check_sound(&archive);
}
