//! An address is a hint: who reads while room is given back reads on, or is told that the file is gone, and never of damage.

use std::{io::Read as _, sync::Arc};

use bfdb::error::ReadError;

use super::{assert_whole, compact, eager, remove, replace, space};
use crate::support::{Findings, SEGMENTED_BELOW, Store, name, painted};

fn known_damage(store: &Store) -> u64 {
    store
        .archive
        .snapshot()
        .unwrap()
        .health_totals()
        .unwrap()
        .known
        .damaged_shards
}

#[test]
fn a_reader_of_a_file_that_is_removed_and_compacted_is_told_that_it_is_gone() {
    for others in [0, 1] {
        let store = Store::new();
        let content = painted(SEGMENTED_BELOW * 3, 1);
        store.put("file", &content);
        if others > 0 {
            store.put("other", &painted(SEGMENTED_BELOW * 3, 2));
        }
        let findings = Arc::new(Findings::default());
        let snapshot = store.archive.snapshot().unwrap();
        let observer = Arc::<Findings>::clone(&findings);
        let mut reader = snapshot.open_file(&name("file"), observer).unwrap();
        let mut first = vec![0; 1000];
        reader.read_exact(&mut first).unwrap();
        assert!(first == content[..1000]);
        remove(&store.archive, "file");
        let report = compact(&store.archive, &eager());
        assert!(report.given_back_bytes() > 0);
        let mut rest = Vec::new();
        let error = reader.read_to_end(&mut rest).unwrap_err();
        let error = error.into_inner().unwrap().downcast::<ReadError>().unwrap();
        assert!(matches!(*error, ReadError::NotFound { .. }), "{error:?}");
        assert_eq!(findings.0.lock().unwrap().len(), 0, "nothing is damaged");
        assert_eq!(known_damage(&store), 0);
        drop(reader);
        assert_whole(&store.archive);
    }
}

#[test]
fn a_reader_of_a_file_whose_shards_are_written_anew_reads_on() {
    let store = super::rewriting::scattered();
    let content = painted(SEGMENTED_BELOW * 3, 77);
    let findings = Arc::new(Findings::default());
    let snapshot = store.archive.snapshot().unwrap();
    let observer = Arc::<Findings>::clone(&findings);
    let mut reader = snapshot.open_file(&name("large"), observer).unwrap();
    let mut read = vec![0; 1000];
    reader.read_exact(&mut read).unwrap();
    let report = compact(&store.archive, &eager());
    assert!(report.rewritten_bytes > 0 && report.dropped_extents > 0);
    reader.read_to_end(&mut read).unwrap();
    assert!(read == content);
    assert_eq!(findings.0.lock().unwrap().len(), 0);
    assert_eq!(known_damage(&store), 0);
}

#[test]
fn a_reader_of_a_version_that_was_replaced_is_never_told_of_damage() {
    let store = Store::new();
    let old = painted(SEGMENTED_BELOW * 3, 1);
    store.put("file", &old);
    let findings = Arc::new(Findings::default());
    let snapshot = store.archive.snapshot().unwrap();
    let observer = Arc::<Findings>::clone(&findings);
    let mut reader = snapshot.open_file(&name("file"), observer).unwrap();
    let mut read = vec![0; 1000];
    reader.read_exact(&mut read).unwrap();
    let new = painted(SEGMENTED_BELOW * 2, 2);
    replace(&store.archive, "file", &new);
    let _report = compact(&store.archive, &eager());
    assert_eq!(space(&store.archive).reserved_bytes, 0);
    if reader.read_to_end(&mut read).is_ok() {
        assert!(read == old, "all of the old version, or an error");
    }
    assert_eq!(findings.0.lock().unwrap().len(), 0);
    assert_eq!(known_damage(&store), 0);
    assert!(store.get("file").unwrap() == new);
}
