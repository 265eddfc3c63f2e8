//! Operations that stand still keep no other one waiting, whatever threads and memory they hold.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use bfdb::{
    Place, Source,
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event, FileInfo, Observer,
        Resources, RestoreObserver, RestoreOptions, RestoreReceipt,
    },
    error::{CommitError, RestoreError},
    host::RestoreTarget,
};

use crate::support::{LEAF, SEGMENT, SEGMENTED_BELOW, Store, name, names, painted, small_policy};

/// Stands still at the first event of an operation, on every thread that comes by, until the gate opens.
struct Stalls {
    arrived: Mutex<Sender<()>>,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Stalls {
    fn new() -> (Arc<Self>, Receiver<()>) {
        let (sender, receiver) = channel();
        let stalls = Self {
            arrived: Mutex::new(sender),
            is_open: Mutex::new(false),
            opened: Condvar::new(),
        };
        (Arc::new(stalls), receiver)
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Opens the gate however a test ends, so that it fails instead of hanging.
struct OpensAtEnd(Arc<Stalls>);

impl Drop for OpensAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Observer for Stalls {
    fn event(&self, _: Event<'_>) {
        self.arrived.lock().unwrap().send(()).ok();
        let mut is_open = self.is_open.lock().unwrap();
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap();
        }
    }
}

impl CommitObserver for Stalls {
    fn source_done(&self, _: &Source, result: Result<CommitOutcome, CommitError>) {
        drop(result.unwrap());
    }
}

impl RestoreObserver for Stalls {
    fn entry_done(&self, _: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        drop(result.unwrap());
    }
}

const LONG: u64 = SEGMENTED_BELOW * 4 + 3 * LEAF;

/// One that stands still in the middle.
type Stalled = (&'static str, fn(&Store, &Stalls));

const STALLED: [Stalled; 7] = [
    ("a commit of a long file", |store, stalls| {
        let path = store.source("long-source", &painted(LONG, 9));
        drop(
            store
                .archive
                .commit_path(&name("stalled"), &path, stalls)
                .unwrap(),
        );
    }),
    ("a commit of many files", |store, stalls| {
        let sources = (0_u64..200).map(|index| {
            let path = store.source(&format!("small-{index}"), &painted(100 + index, index));
            Source {
                name: name(&format!("stalled/{index}")),
                place: Place::of_path(path),
            }
        });
        let options = CommitAllOptions::default();
        store
            .archive
            .commit_all(&mut { sources }, &options, stalls)
            .unwrap();
    }),
    ("a stream of unknown length", |store, stalls| {
        let content = painted(LONG * 8, 3);
        let options = CommitOptions::default();
        let archive = &store.archive;
        drop(
            archive
                .commit_reader(&name("stalled"), &mut &content[..], &options, stalls)
                .unwrap(),
        );
    }),
    ("a scrub", |store, stalls| {
        assert_eq!(store.archive.scrub(stalls).unwrap().damage, []);
    }),
    ("a verification", |store, stalls| {
        let verified = store.archive.snapshot().unwrap().verify(None, stalls);
        assert_eq!(verified.unwrap().damage, []);
    }),
    ("a restore of a long file", |store, stalls| {
        let target = target(store, "restored");
        let snapshot = store.archive.snapshot().unwrap();
        drop(
            snapshot
                .restore(&name("long"), &target, &RestoreOptions::default(), stalls)
                .unwrap(),
        );
    }),
    ("a restore of everything", |store, stalls| {
        let target = target(store, "all");
        let snapshot = store.archive.snapshot().unwrap();
        snapshot
            .restore_all(None, &target, &RestoreOptions::default(), stalls)
            .unwrap();
    }),
];

fn target(store: &Store, directory: &str) -> RestoreTarget {
    let path = store.dir.path().join(directory);
    std::fs::create_dir(&path).unwrap();
    RestoreTarget::open(&path).unwrap()
}

/// Everything that an archive can do.
fn use_everything(store: &Store, archive: &Archive) {
    let snapshot = archive.snapshot().unwrap();
    assert!(snapshot.totals().unwrap().files >= 2);
    assert!(store.get("long").unwrap() == painted(LONG, 1));
    store.put("stream", &painted(LONG, 2));
    store.put_file("tiny", b"a few bytes");
    store.put_file("middle", &painted(5 * SEGMENT, 5));
    store.put_file("other", &painted(LONG, 6));
    drop(archive.remove(&name("middle")).unwrap());
    assert!(
        archive
            .unfinished()
            .unwrap()
            .iter()
            .all(|commit| commit.is_running)
    );
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    assert_eq!(archive.snapshot().unwrap().verify(None, &()).unwrap().damage, []);
    let target = target(store, "beside");
    let options = RestoreOptions::default();
    drop(snapshot.restore(&name("long"), &target, &options, &()).unwrap());
    for removed in ["stream", "tiny", "other"] {
        drop(archive.remove(&name(removed)).unwrap());
    }
}

fn assert_nobody_waits(resources: Resources) {
    for (what, stalled) in STALLED {
        let store = &Store::in_memory(small_policy(), resources);
        store.put("long", &painted(LONG, 1));
        store.put("short", b"short");
        let (stalls, arrivals) = Stalls::new();
        thread::scope(|scope| {
            let _opens = OpensAtEnd(Arc::clone(&stalls));
            let observer = Arc::clone(&stalls);
            let one = scope.spawn(move || stalled(store, &observer));
            arrivals.recv_timeout(Duration::from_secs(60)).expect("it begins");
            let (done, is_done) = channel();
            let others = scope.spawn(move || {
                use_everything(store, &store.archive);
                drop(done);
            });
            // Nothing is sent: the end of the others, also by a panic, closes the channel.
            let waited: Result<(), _> = is_done.recv_timeout(Duration::from_secs(60));
            assert_eq!(
                waited,
                Err(RecvTimeoutError::Disconnected),
                "others wait for {what}"
            );
            others.join().unwrap();
            assert!(!one.is_finished(), "{what} has not stood still");
            stalls.open();
            one.join().unwrap();
        });
        assert!(names(&store.archive).contains(&"long".to_owned()));
        assert_eq!(store.archive.scrub(&()).unwrap().damage, [], "{what}");
    }
}

/// All operations once shared their threads and their memory, so that the longest kept all others waiting.
#[test]
fn an_operation_that_stands_still_keeps_no_other_waiting() {
    assert_nobody_waits(Resources::default());
}

#[test]
fn with_memory_for_one_strip_alone_an_operation_that_stands_still_keeps_no_other_waiting() {
    assert_nobody_waits(Resources {
        memory_bytes: 1,
        ..Resources::default()
    });
}

#[test]
fn with_one_thread_alone_an_operation_that_stands_still_keeps_no_other_waiting() {
    assert_nobody_waits(Resources {
        threads: 1,
        ..Resources::default()
    });
}
