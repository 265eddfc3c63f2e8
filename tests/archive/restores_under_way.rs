//! What others see of a restore that is under way, and what it makes of what they do meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Mutex,
};

use bfdb::{
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event, FileInfo,
        NameConflict, Observer, RestoreObserver, RestoreOptions, RestoreReceipt, Source,
    },
    error::{CommitError, ReadError, RestoreError},
    host::{Place, RestoreTarget},
};

use crate::support::{SEGMENTED_BELOW, Store, name, painted};

struct Must;

impl Observer for Must {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Must {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        assert!(result.is_ok(), "{}: {result:?}", source.name);
    }
}

/// Commits what lies at paths below a directory, under these paths.
fn commit(store: &Store, dir: &Path, paths: &[String]) {
    let mut sources = paths.iter().map(|path| Source {
        name: name(path),
        place: Place::of_path(dir.join(path)),
    });
    store
        .archive
        .commit_all(&mut sources, &CommitAllOptions::default(), &Must)
        .unwrap();
}

fn restore_all(store: &Store, target: &Path, observer: &dyn RestoreObserver) -> Result<(), RestoreError> {
    let target = RestoreTarget::open(target).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    snapshot.restore_all(None, &target, &RestoreOptions::default(), observer)
}

/// Remembers the permissions that the directory of each file has when the file is told of.
struct Doors {
    target: PathBuf,
    modes: Mutex<BTreeMap<String, u32>>,
}

impl Observer for Doors {
    fn event(&self, _: Event<'_>) {}
}

impl RestoreObserver for Doors {
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        assert!(result.is_ok(), "{}: {result:?}", entry.name);
        let path = self.target.join(entry.name.to_string());
        if path.is_file() {
            let mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
            self.modes
                .lock()
                .unwrap()
                .insert(entry.name.to_string(), mode & 0o777);
        }
    }
}

#[test]
fn a_stored_directory_is_its_owners_alone_until_everything_is_in_it() {
    let store = Store::new();
    let dir = store.dir.path();
    let mut paths = Vec::new();
    for index in 0..400 {
        let directory = format!("{index:03}");
        fs::create_dir(dir.join(&directory)).unwrap();
        let file = format!("{directory}/file");
        fs::write(dir.join(&file), b"secret").unwrap();
        paths.extend([directory, file]);
    }
    commit(&store, dir, &paths);
    let target = dir.join("out");
    let doors = Doors {
        target: target.clone(),
        modes: Mutex::default(),
    };
    restore_all(&store, &target, &doors).unwrap();
    let modes = doors.modes.into_inner().unwrap();
    assert_eq!(modes.len(), 400);
    let open: Vec<_> = modes.iter().filter(|(_, mode)| **mode != 0o700).collect();
    assert!(open.is_empty(), "{open:?}");
}

/// An entry and what became of it.
type Told = (FileInfo, Result<RestoreReceipt, RestoreError>);

/// Removes one file and replaces another as soon as anything is restored.
struct Meddler<'a> {
    archive: &'a Archive,
    is_done: Mutex<bool>,
    outcomes: Mutex<BTreeMap<String, Told>>,
}

impl Observer for Meddler<'_> {
    fn event(&self, _: Event<'_>) {
        let mut is_done = self.is_done.lock().unwrap();
        if std::mem::replace(&mut *is_done, true) {
            return;
        }
        drop(self.archive.remove(&name("y")).unwrap());
        let options = CommitOptions {
            name_conflict: NameConflict::Replace,
            ..CommitOptions::default()
        };
        let content = painted(7, 7);
        let receipt = self.archive.commit(&name("z"), &*content, 7, &options).unwrap();
        assert_eq!(receipt.len_bytes, 7);
    }
}

impl RestoreObserver for Meddler<'_> {
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        let told = (entry.clone(), result);
        self.outcomes.lock().unwrap().insert(entry.name.to_string(), told);
    }
}

#[test]
fn a_large_file_that_is_removed_or_replaced_meanwhile_is_no_damage() {
    let store = Store::new();
    store.put("a", b"a");
    for large in ["y", "z"] {
        store.put(large, &painted(2 * SEGMENTED_BELOW, 1));
    }
    let meddler = Meddler {
        archive: &store.archive,
        is_done: Mutex::default(),
        outcomes: Mutex::default(),
    };
    let target = store.dir.path().join("out");
    restore_all(&store, &target, &meddler).unwrap();
    let outcomes = meddler.outcomes.into_inner().unwrap();
    let (_, removed) = &outcomes["y"];
    assert!(
        matches!(
            removed,
            Err(RestoreError::Read {
                source: ReadError::NotFound { .. }
            })
        ),
        "{removed:?}"
    );
    let (info, replaced) = &outcomes["z"];
    assert_eq!(replaced.as_ref().unwrap().len_bytes, 7);
    assert_eq!(info.len_bytes, 7, "what is told of is what was restored");
    assert_eq!(fs::read(target.join("z")).unwrap(), painted(7, 7));
}

/// Ends a restore once a name stands in the target, and remembers what it was told of.
struct StopAtName {
    path: PathBuf,
    told: Mutex<Vec<String>>,
}

impl Observer for StopAtName {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }
}

impl RestoreObserver for StopAtName {
    fn entry_done(&self, entry: &FileInfo, _: Result<RestoreReceipt, RestoreError>) {
        self.told.lock().unwrap().push(entry.name.to_string());
    }
}

#[test]
fn a_link_that_stands_when_a_restore_is_stopped_is_told_of() {
    let store = Store::new();
    let dir = store.dir.path();
    symlink("anywhere", dir.join("link")).unwrap();
    commit(&store, dir, &["link".to_owned()]);
    store.put("other", b"other");
    let target = dir.join("out");
    let observer = StopAtName {
        path: target.join("link"),
        told: Mutex::default(),
    };
    let stopped = restore_all(&store, &target, &observer);
    assert!(matches!(stopped, Err(RestoreError::Cancelled)), "{stopped:?}");
    assert_eq!(observer.told.into_inner().unwrap(), ["link"]);
}
