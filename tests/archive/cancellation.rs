//! An observer that asks for an end: the operation stops soon, says so, and leaves nothing behind.

use std::{fs, io::Read as _, os::unix::fs::MetadataExt as _, sync::Arc};

use bfdb::{
    archive::{CommitOptions, Event, Observer, RestoreOptions},
    error::{CommitError, ReadError, RestoreError, ScrubError},
    host::RestoreTarget,
};

use crate::{
    stop_after::StopAfter,
    support::{BLOCKED_SEGMENT, DATA, SEGMENTED_BELOW, Store, TINY_BELOW, name, painted},
};

/// A length of every tier, the empty file included.
fn lengths() -> [u64; 4] {
    let block = u64::from(DATA) * BLOCKED_SEGMENT;
    [0, TINY_BELOW - 1, SEGMENTED_BELOW - 5, 8 * block + 77]
}

/// Room that was taken ahead is given back. The file system may keep a block for its own list of where a file lies.
fn assert_no_room_is_kept(store: &Store, events: u64) {
    for path in store.extents() {
        let found = fs::metadata(&path).unwrap();
        let taken = found.blocks() * 512;
        assert!(
            taken <= found.len().next_multiple_of(4096) + 4096,
            "{} has {} bytes and takes {taken} after {events} events",
            path.display(),
            found.len()
        );
    }
}

/// Commits with more and more events before the end, until they are more than there are; returns how many that is.
fn stop_everywhere(store: &Store, commit: &dyn Fn(&StopAfter) -> Result<(), CommitError>) -> u64 {
    let (names, before) = (store.names(), store.extent_bytes());
    let mut events = 0;
    loop {
        match commit(&StopAfter::new(events)) {
            Err(CommitError::Cancelled) => {}
            Err(error) => panic!("{error:?} after {events} events"),
            Ok(()) => return events,
        }
        assert_eq!(store.names(), names, "nothing is visible after {events} events");
        assert!(
            store.extent_bytes() == before,
            "no extent and no byte of one is new after {events} events"
        );
        assert_no_room_is_kept(store, events);
        events += 1 + events / 2;
    }
}

#[test]
fn a_commit_that_is_stopped_anywhere_leaves_nothing_and_the_next_one_works() {
    for is_archive_new in [true, false] {
        for (len, seed) in lengths().into_iter().zip(1..) {
            let store = Store::new();
            if !is_archive_new {
                lengths()
                    .iter()
                    .for_each(|len| store.put(&format!("before/{len}"), &painted(*len, 9)));
            }
            let content = painted(len, seed);
            let path = store.source("source", &content);
            let of_file = stop_everywhere(&store, &|observer| {
                let done = store.archive.commit_path(&name("file"), &path, observer);
                done.map(drop)
            });
            let of_stream = stop_everywhere(&store, &|observer| {
                let options = CommitOptions::default();
                let mut source = &content[..];
                let done = store
                    .archive
                    .commit_reader(&name("stream"), &mut source, &options, observer);
                done.map(drop)
            });
            // A small file is written in one go.
            let places = if len < TINY_BELOW { 1 } else { 9 };
            assert!(
                of_file >= places && of_stream >= places || len == 0,
                "{len} bytes were stopped at {of_file} and {of_stream} places"
            );
            assert!(store.get("file").unwrap() == content && store.get("stream").unwrap() == content);
            let store = store.reopen();
            assert_eq!(store.archive.scrub(&()).unwrap().damage, []);
            if !is_archive_new {
                for len in lengths() {
                    assert!(store.get(&format!("before/{len}")).unwrap() == painted(len, 9));
                }
            }
        }
    }
}

#[test]
fn a_restore_that_is_stopped_anywhere_leaves_no_file_at_all() {
    let store = Store::new();
    for len in lengths() {
        store.put(&len.to_string(), &painted(len, 3));
    }
    let target_dir = store.dir.path().join("target");
    fs::create_dir(&target_dir).unwrap();
    let target = RestoreTarget::open(&target_dir).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    for len in lengths() {
        let entry = name(&len.to_string());
        for events in 0.. {
            let options = RestoreOptions::default();
            match snapshot.restore(&entry, &target, &options, &StopAfter::new(events)) {
                Err(RestoreError::Cancelled) => {
                    let left: Vec<_> = fs::read_dir(&target_dir).unwrap().collect();
                    assert!(left.is_empty(), "{left:?} after {events} events of {len} bytes");
                }
                Err(error) => panic!("{error:?} after {events} events"),
                Ok(_) => {
                    assert!(events > 8 || len < SEGMENTED_BELOW - 5, "{events} events");
                    break;
                }
            }
        }
        let path = target_dir.join(len.to_string());
        assert!(fs::read(&path).unwrap() == painted(len, 3));
        fs::remove_file(path).unwrap();
    }
}

/// Something that reads everything.
type Operation<'a> = &'a dyn Fn(&StopAfter) -> Result<(), ScrubError>;

#[test]
fn a_scrub_and_a_verification_stop_anywhere_and_tell_what_they_have_found() {
    let store = Store::new();
    for len in lengths() {
        store.put(&len.to_string(), &painted(len, 3));
    }
    let scrub = |observer: &StopAfter| store.archive.scrub(observer).map(drop);
    let verify = |observer: &StopAfter| store.archive.snapshot().unwrap().verify(None, observer).map(drop);
    let operations: [Operation<'_>; 2] = [&scrub, &verify];
    for operation in operations {
        for events in [0, 1, 2, 7, 30] {
            let stopped = operation(&StopAfter::new(events));
            assert!(
                matches!(stopped, Err(ScrubError::Cancelled)),
                "{stopped:?} after {events}"
            );
        }
        operation(&StopAfter::new(1_000_000)).unwrap();
        // Every extent is damaged, so whatever was read until the end has damage in it.
        for path in store.extents() {
            let mut bytes = fs::read(&path).unwrap();
            bytes[4096..].iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(&path, bytes).unwrap();
        }
        let observer = StopAfter::new(5);
        assert!(matches!(operation(&observer), Err(ScrubError::Cancelled)));
        assert!(observer.damage() > 0, "damage that was found is told of");
        for path in store.extents() {
            let mut bytes = fs::read(&path).unwrap();
            bytes[4096..].iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_reader_stops_with_an_error_that_says_so_and_never_with_a_short_file() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW + 5, 4);
    store.put("a", &content);
    let snapshot = store.archive.snapshot().unwrap();
    let observer = Arc::new(StopAfter::new(1));
    let mut reader = snapshot
        .open_file(&name("a"), Arc::clone(&observer) as Arc<dyn Observer>)
        .unwrap();
    let mut first = [0; 100];
    assert_eq!(reader.read_next(&mut first).unwrap(), 100);
    observer.event(Event::Progress { bytes: 0 });
    // Bytes that were read ahead are there, but nobody wants them any more.
    assert!(matches!(reader.read_next(&mut first), Err(ReadError::Cancelled)));
    assert!(matches!(
        reader.read_at(90_000, &mut first),
        Err(ReadError::Cancelled)
    ));
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    let inner = error.into_inner().unwrap().downcast::<ReadError>().unwrap();
    assert!(matches!(*inner, ReadError::Cancelled), "{inner:?}");
}
