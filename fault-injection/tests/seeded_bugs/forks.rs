//! Two archives with a common past, and a journal of the one beside the catalog of the other.

use std::{ops::Range, path::Path};

use bfdb::{
    Access, Archive, CommitOptions, OpenOptions,
    error::OpenError,
    seeded_bugs::SeededBug,
    storage::{FileAccess, Storage as _},
};
use bfdb_fault_injection::{
    SimulatedStorage,
    crashes::{
        setting::{ROOT, open_on, resources},
        stage::new_archive,
        violation::{Promise, Violation},
    },
};

use super::trial::is_noticed;

/// Stores files of these names.
fn with(disk: &SimulatedStorage, names: &[&str]) -> SimulatedStorage {
    let disk = disk.settled();
    for (seed, name) in (1..).zip(names) {
        let (archive, _) = open_on(&disk.machine(seed), Access::Write).expect("the disk works");
        let (bytes, name) = (name.as_bytes(), name.parse().expect("a name"));
        let len_bytes = u64::try_from(bytes.len()).expect("a short name");
        let done = archive.commit(&name, bytes, len_bytes, &CommitOptions::default());
        done.expect("the disk works");
        archive.close().expect("the disk works");
    }
    disk
}

/// Puts copies of the journal of another archive in the place of those of this one.
fn with_copies_of(other: &SimulatedStorage, copies: Range<u8>, disk: &SimulatedStorage) -> SimulatedStorage {
    let disk = disk.settled();
    for copy in copies {
        let directory = Path::new(ROOT).join(format!("volumes/v0/journal/c{copy}"));
        for name in disk.list(&directory).expect("a copy") {
            disk.remove_file(&directory.join(name)).expect("a segment");
        }
        for name in other.list(&directory).expect("a copy") {
            let path = directory.join(name);
            let file = other.open(&path, FileAccess::Read).expect("a segment");
            let len_bytes = file.info().expect("a segment").len_bytes;
            let mut bytes = vec![0; usize::try_from(len_bytes).expect("a short file")];
            file.read_exact_at(0, &mut bytes).expect("a segment");
            let copied = disk.create_new(&path).expect("a free name");
            copied.write_all_at(0, &bytes).expect("the disk works");
        }
    }
    disk
}

fn is_refused(disk: &SimulatedStorage) -> Result<(), Violation> {
    let options = OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    };
    match Archive::open_on(&disk.machine(9), Path::new(ROOT), &options) {
        Err(OpenError::Forked { .. }) => Ok(()),
        Err(error) => Err(Promise::Journal.broken(format!("refused, and not for a fork: {error}"))),
        Ok((_, report)) => Err(Promise::Journal.broken(format!("used together: {report:?}"))),
    }
}

/// Of the other archive, which went further.
fn copies_of_another_way(copies: Range<u8>) -> Result<(), Violation> {
    let common = with(&new_archive(1).disk, &["common"]);
    let (here, there) = (with(&common, &["here"]), with(&common, &["there", "further"]));
    is_refused(&with_copies_of(&there, copies, &here))
}

#[test]
fn a_journal_and_a_catalog_that_went_different_ways_and_are_used_together_are_caught() {
    let all = || copies_of_another_way(0..4);
    is_noticed(SeededBug::ForkNotRefused, all, Promise::Journal);
}

#[test]
fn a_record_whose_previous_hash_nobody_compares_is_caught() {
    // The other copies are those of the catalog, so that one goes on.
    let one = || copies_of_another_way(2..3);
    is_noticed(SeededBug::PreviousHashNotCompared, one, Promise::Journal);
}
