//! The same calls on the simulated disk and on the file system of the machine give the same answers.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    error::FileKind,
    storage::{FileAccess, HostStorage, Lock, Replace, Storage, StorageFile},
};
use bfdb_fault_injection::{Seeded, SimulatedStorage, simulation::OperationKind};

/// One side: a storage, the directory that stands for the root there, and open handles.
struct Side {
    storage: Box<dyn Storage>,
    root: PathBuf,
    handles: Vec<Option<Arc<dyn StorageFile>>>,
}

/// An answer that can be compared. Errors without a kind of their own count as one.
type Answer = Result<String, io::ErrorKind>;

const NAMES: [&str; 8] = ["a", "b", "c", "d/a", "d/b", "a/x", "gone/x", "d"];
const HANDLES: usize = 4;

fn answer<T: std::fmt::Debug>(result: io::Result<T>) -> Answer {
    result
        .map(|value| format!("{value:?}"))
        .map_err(|error| error.kind())
}

impl Side {
    fn new(storage: Box<dyn Storage>, root: &Path) -> Self {
        Self {
            storage,
            root: root.to_path_buf(),
            handles: vec![None; HANDLES],
        }
    }

    fn keep(&mut self, slot: usize, opened: io::Result<Arc<dyn StorageFile>>) -> Answer {
        answer(opened.map(|file| self.handles[slot] = Some(file)))
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.storage
            .inspect(path)
            .is_ok_and(|info| info.kind == FileKind::Directory)
    }

    fn inspect(&self, path: &Path) -> Answer {
        answer(self.storage.inspect(path).map(|info| {
            let is_file = info.kind == FileKind::Regular;
            // Directories have lengths and links of their own on every file system.
            (info.kind, is_file.then_some((info.len_bytes, info.links)))
        }))
    }

    /// Does one call that `seeded` chooses.
    fn call(&mut self, seeded: &mut Seeded) -> (String, Answer) {
        let (name, other) = (NAMES[seeded.index(8)], NAMES[seeded.index(8)]);
        let (path, other_path) = (self.root.join(name), self.root.join(other));
        let (slot, choice) = (seeded.index(HANDLES), seeded.below(12));
        let replace = [Replace::Never, Replace::File][seeded.index(2)];
        let access = [FileAccess::Read, FileAccess::ReadWrite][seeded.index(2)];
        let storage = &self.storage;
        match choice {
            0 | 1 => {
                let opened = storage.create_new(&path);
                (format!("create {name} as {slot}"), self.keep(slot, opened))
            }
            2 => {
                let opened = storage.open(&path, access);
                (
                    format!("open {name} {access:?} as {slot}"),
                    self.keep(slot, opened),
                )
            }
            3 => (format!("inspect {name}"), self.inspect(&path)),
            4 => (format!("list {name}"), answer(storage.list(&path))),
            5 => ("list the root".to_owned(), answer(storage.list(&self.root))),
            6 => (
                format!("create directory {name}"),
                answer(storage.create_directory(&path)),
            ),
            // Directories keep their names on a simulated disk.
            7 if !self.is_directory(&path) => {
                let what = format!("rename {name} to {other} {replace:?}");
                (what, answer(storage.rename(&path, &other_path, replace)))
            }
            8 => (format!("remove {name}"), answer(storage.remove_file(&path))),
            9 => {
                self.handles[slot] = None;
                (format!("close {slot}"), Ok(String::new()))
            }
            _ => {
                let (what, done) = use_handle(self.handles[slot].as_deref(), seeded);
                (format!("{what} with {slot}"), done)
            }
        }
    }
}

fn use_handle(handle: Option<&dyn StorageFile>, seeded: &mut Seeded) -> (String, Answer) {
    let (choice, offset) = (seeded.below(9), seeded.below(20_000));
    let len = seeded.index(9000);
    let fill = seeded.flip_mask();
    let lock = [Lock::Shared, Lock::Exclusive][seeded.index(2)];
    let Some(file) = handle else {
        return ("nothing".to_owned(), Ok(String::new()));
    };
    match choice {
        0 | 1 => {
            let bytes: Vec<u8> = (0..len)
                .map(|at| fill.wrapping_add((at % 251).to_le_bytes()[0]))
                .collect();
            (
                format!("write {len} at {offset}"),
                answer(file.write_at(offset, &bytes)),
            )
        }
        2 => {
            let mut into = vec![0; len];
            let read = file.read_at(offset, &mut into);
            (
                format!("read {len} at {offset}"),
                answer(read.map(|count| into[..count].to_vec())),
            )
        }
        3 => (format!("set length {offset}"), answer(file.set_len(offset))),
        // Nothing to allocate is an error of the system that nobody asks for.
        4 => (
            format!("allocate {}", offset + 1),
            answer(file.allocate(offset + 1)),
        ),
        5 => ("sync".to_owned(), answer(file.sync_data())),
        6 => (format!("lock {lock:?}"), answer(file.try_lock(lock))),
        7 => ("unlock".to_owned(), answer(file.unlock())),
        _ => {
            let info = file.info().map(|info| (info.kind, info.len_bytes, info.links));
            ("info".to_owned(), answer(info))
        }
    }
}

#[test]
fn random_calls_get_the_answers_that_the_machine_gives() {
    let mut kinds = std::collections::BTreeMap::new();
    for seed in 0..60 {
        let directory = tempfile::tempdir().unwrap();
        let mut host = Side::new(Box::new(HostStorage), directory.path());
        let mut simulated = Side::new(Box::new(SimulatedStorage::new()), Path::new("/"));
        for side in [&host, &simulated] {
            side.storage.create_directory(&side.root.join("d")).unwrap();
        }
        let mut seeded = Seeded::new(seed);
        for step in 0..150 {
            let (what, expected) = host.call(&mut seeded.clone());
            let (_, found) = simulated.call(&mut seeded);
            assert_eq!(found, expected, "seed {seed}, step {step}: {what}");
            *kinds.entry(format!("{:?}", expected.err())).or_insert(0) += 1;
        }
    }
    // The script reaches what it is about.
    for kind in [
        "NotFound",
        "AlreadyExists",
        "IsADirectory",
        "NotADirectory",
        "InvalidInput",
    ] {
        let count = kinds.get(&format!("Some({kind})")).copied().unwrap_or(0);
        assert!(count > 10, "{kind} came {count} times: {kinds:?}");
    }
}

#[test]
fn identities_follow_the_file_and_not_its_name() {
    let disk = SimulatedStorage::new();
    let first = disk.create_new(Path::new("/a")).unwrap();
    let second = disk.create_new(Path::new("/b")).unwrap();
    disk.rename(Path::new("/a"), Path::new("/b"), Replace::File)
        .unwrap();
    let id = disk.inspect(Path::new("/b")).unwrap().id;
    assert_eq!(first.info().unwrap().id, id);
    assert_ne!(second.info().unwrap().id, id);
    // The file that lost its name lives until its handle goes.
    second.write_all_at(0, b"still here").unwrap();
    let mut read = [0; 10];
    second.read_exact_at(0, &mut read).unwrap();
    assert_eq!((&read, second.info().unwrap().links), (b"still here", 0));
}

#[test]
fn paths_are_absolute_and_lose_their_dots() {
    let disk = SimulatedStorage::new();
    disk.create_directory(Path::new("/d")).unwrap();
    disk.create_new(Path::new("/d/../d/./f")).unwrap();
    let canonical = disk.canonical(Path::new("/../d/./x/../f")).unwrap();
    assert_eq!(canonical, Path::new("/d/f"));
    assert_eq!(
        disk.canonical(Path::new("/d/g")).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    assert_eq!(
        disk.list(Path::new("d")).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
}

#[test]
fn allocated_room_is_taken_from_the_disk_and_given_back() {
    let disk = SimulatedStorage::with_capacity(10 * 4096);
    let root = Path::new("/");
    let free_pages = || disk.free_bytes(root).unwrap() / 4096;
    let file = disk.create_new(Path::new("/f")).unwrap();
    file.allocate(4 * 4096 + 1).unwrap();
    assert_eq!(free_pages(), 5);
    file.write_all_at(0, &vec![1; 5 * 4096]).unwrap();
    assert_eq!(free_pages(), 5, "what is allocated was paid for");
    file.write_all_at(9 * 4096, &[1]).unwrap();
    assert_eq!(
        (free_pages(), file.info().unwrap().allocated_bytes),
        (4, 6 * 4096)
    );
    // More than there is room for: as much as there is.
    assert_eq!(file.write_at(5 * 4096, &vec![2; 4 * 4096]).unwrap(), 4 * 4096);
    assert_eq!(file.write_at(10 * 4096 - 8, &[3; 20]).unwrap(), 8);
    let full = [
        file.write_at(10 * 4096, &[3]).unwrap_err(),
        file.allocate(11 * 4096).unwrap_err(),
    ];
    assert!(
        full.iter()
            .all(|error| error.kind() == io::ErrorKind::StorageFull),
        "{full:?}"
    );
    assert_eq!(
        file.write_at(3, &[4; 4096]).unwrap(),
        4096,
        "old room can be written"
    );
    disk.remove_file(Path::new("/f")).unwrap();
    assert_eq!(free_pages(), 0, "the handle keeps the room");
    drop(file);
    assert_eq!(free_pages(), 10);
}

#[test]
fn a_range_lock_is_waited_for_and_ends_with_its_handle() {
    use std::ops::Bound::{Excluded, Included};
    let disk = SimulatedStorage::new();
    let path = Path::new("/f");
    let [holder, waiter] = [
        disk.create_new(path).unwrap(),
        disk.open(path, FileAccess::Read).unwrap(),
    ];
    let range = (Included(10), Excluded(20));
    assert!(holder.try_lock_range(range, Lock::Exclusive).unwrap());
    assert!(
        !waiter
            .try_lock_range((Included(19), Included(19)), Lock::Shared)
            .unwrap()
    );
    assert!(
        waiter
            .try_lock_range((Included(20), Included(20)), Lock::Exclusive)
            .unwrap()
    );
    assert!(waiter.is_range_locked(range).unwrap() && !holder.is_range_locked(range).unwrap());
    assert!(
        waiter.try_lock(Lock::Exclusive).unwrap(),
        "the two kinds of locks do not meet"
    );
    let order = std::sync::Mutex::new(Vec::new());
    let calls = disk.counts().of(OperationKind::Lock);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            waiter.lock_range(range, Lock::Shared).unwrap();
            order.lock().unwrap().push("taken");
        });
        // The call is counted under the mutex that waiting gives back, so once it is seen, the other one waits.
        while disk.counts().of(OperationKind::Lock) == calls {
            std::thread::yield_now();
        }
        order.lock().unwrap().push("given back");
        drop(holder);
    });
    assert_eq!(order.into_inner().unwrap(), ["given back", "taken"]);
}
