//! Many sources at once: batches, directories, links, streams.

mod taken_names;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bfdb::{
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event, NameConflict,
        Observer, Resources, Source,
    },
    catalog::{Access, EntryKind},
    error::CommitError,
    geometry::{Policy, PolicyParts},
    host::Place,
    units::CodeShape,
};

use crate::damage::chart::descriptors_of;
use crate::support::{
    LEAF, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, get, name, open, painted, small_policy,
};

/// Remembers what became of every source.
#[derive(Default)]
struct Results {
    outcomes: Mutex<BTreeMap<String, Result<CommitOutcome, CommitError>>>,
    told: AtomicUsize,
    /// Asks for an end once so many sources were told of.
    cancel_after: Option<usize>,
}

impl Observer for Results {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        self.cancel_after
            .is_some_and(|limit| self.told.load(Ordering::SeqCst) >= limit)
    }
}

impl CommitObserver for Results {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        self.told.fetch_add(1, Ordering::SeqCst);
        self.outcomes
            .lock()
            .unwrap()
            .insert(source.name.to_string(), result);
    }
}

impl Results {
    fn count(&self, is_wanted: impl Fn(&Result<CommitOutcome, CommitError>) -> bool) -> usize {
        let outcomes = self.outcomes.lock().unwrap();
        outcomes.values().filter(|outcome| is_wanted(outcome)).count()
    }

    fn all_are(&self, is_wanted: impl Fn(&CommitOutcome) -> bool) {
        for (name, outcome) in &*self.outcomes.lock().unwrap() {
            assert!(outcome.as_ref().is_ok_and(&is_wanted), "{name}: {outcome:?}");
        }
    }
}

fn source(dir: &Path, path: &str) -> Source {
    Source {
        name: name(path),
        place: Place::of_path(dir.join(path)),
    }
}

fn commit(archive: &Archive, sources: Vec<Source>, name_conflict: NameConflict) -> Results {
    let results = Results::default();
    archive
        .commit_all(
            &mut sources.into_iter(),
            &CommitAllOptions { name_conflict },
            &results,
        )
        .unwrap();
    results
}

/// A tree of every kind and of every size class, and its paths.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for directory in ["t", "t/empty", "t/many", "t/sub"] {
        fs::create_dir(dir.join(directory)).unwrap();
    }
    let lengths = [
        0,
        1,
        LEAF,
        LEAF + 1,
        5 * LEAF,
        TINY_BELOW - 1,
        TINY_BELOW,
        3 * SEGMENT,
        SEGMENTED_BELOW + 9,
    ];
    for (index, len) in lengths.into_iter().enumerate() {
        files.insert(format!("t/sub/{index}"), painted(len, index as u64));
    }
    for index in 0..700 {
        files.insert(format!("t/many/{index}"), painted(index * 7 % 3000, index));
    }
    for (path, content) in &files {
        fs::write(dir.join(path), content).unwrap();
    }
    symlink("nowhere/at all", dir.join("t/link")).unwrap();
    files
}

fn sources_of(dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> Vec<Source> {
    let others = ["t", "t/empty", "t/many", "t/sub", "t/link"];
    let paths = files.keys().map(String::as_str).chain(others);
    paths.map(|path| source(dir, path)).collect()
}

#[test]
fn a_tree_is_stored_as_it_is_and_a_second_commit_writes_nothing() {
    let store = Store::new();
    let files = tree(store.dir.path());
    let sources = sources_of(store.dir.path(), &files);
    let results = commit(&store.archive, sources.clone(), NameConflict::Refuse);
    results.all_are(|outcome| matches!(outcome, CommitOutcome::Committed(_)));
    assert_eq!(results.outcomes.lock().unwrap().len(), files.len() + 5);
    for (path, content) in &files {
        assert!(store.get(path).unwrap() == *content, "{path}");
    }
    let snapshot = store.archive.snapshot().unwrap();
    let link = snapshot.file(&name("t/link")).unwrap().unwrap();
    let target: Box<[u8]> = b"nowhere/at all"[..].into();
    assert_eq!(link.kind, EntryKind::SymbolicLink { target });
    let empty = snapshot.file(&name("t/empty")).unwrap().unwrap();
    assert_eq!(empty.kind, EntryKind::Directory);
    let epoch = snapshot.epoch();

    let again = commit(&store.archive, sources, NameConflict::Refuse);
    again.all_are(|outcome| matches!(outcome, CommitOutcome::Unchanged(_)));
    assert_eq!(again.outcomes.lock().unwrap().len(), files.len() + 5);
    assert_eq!(store.archive.snapshot().unwrap().epoch(), epoch);
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(report.damaged_shards, 0);
    // What another process finds is the same.
    let archive = open(&store.root(), Access::Read);
    assert!(get(&archive, "t/many/699").unwrap() == files["t/many/699"]);
}

#[test]
fn small_files_share_sectors_with_their_batch_and_with_no_other() {
    let store = Store::new();
    let mut ends = Vec::new();
    for round in 0..3 {
        let dir = store.dir.path().join(format!("r{round}"));
        fs::create_dir(&dir).unwrap();
        let sources: Vec<Source> = (0..40)
            .map(|index| {
                let path = format!("{round}-{index}");
                fs::write(dir.join(&path), painted(100 + index, round)).unwrap();
                source(&dir, &path)
            })
            .collect();
        drop(commit(&store.archive, sources, NameConflict::Refuse));
        let total: u64 = store
            .extents()
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        ends.push(total);
    }
    let descriptors = descriptors_of(&store.extent_bytes());
    let described: u64 = descriptors
        .iter()
        .map(|frame| frame.layout.total_len_bytes())
        .sum();
    // 40 frames of a few hundred bytes, four times, and at most a sector of padding and a header for each lane; what says
    // all about them, once for each batch.
    for pair in ends.windows(2) {
        assert!(
            pair[1] - pair[0] < 4 * (40 * 512 + 2 * 4096) + described.div_ceil(3),
            "{ends:?}, {described}"
        );
    }
}

#[test]
fn a_source_that_fails_stops_no_other() {
    let store = Store::new();
    let files = tree(store.dir.path());
    let mut sources = sources_of(store.dir.path(), &files);
    sources.insert(3, source(store.dir.path(), "t/missing"));
    sources.push(source(store.dir.path(), "a.bfdb/catalog.redb"));
    let results = commit(&store.archive, sources, NameConflict::Refuse);
    assert_eq!(results.count(Result::is_ok), files.len() + 5);
    let outcomes = results.outcomes.lock().unwrap();
    assert!(matches!(outcomes["t/missing"], Err(CommitError::Source { .. })));
    let own = &outcomes["a.bfdb/catalog.redb"];
    assert!(
        matches!(own, Err(CommitError::SourceInsideArchive { .. })),
        "{own:?}"
    );
}

#[test]
fn an_interrupted_commit_keeps_what_was_told_of_and_nothing_else() {
    for cancel_after in [0, 1, 8192, 8193] {
        let store = Store::new();
        let dir = store.dir.path();
        fs::write(dir.join("f"), b"content").unwrap();
        let mut sources = (0..30_000).map(|index| Source {
            name: name(&format!("n/{index}")),
            ..source(dir, "f")
        });
        let results = Results {
            cancel_after: Some(cancel_after),
            ..Results::default()
        };
        let ended = store
            .archive
            .commit_all(&mut sources, &CommitAllOptions::default(), &results);
        assert!(
            matches!(ended, Err(CommitError::Cancelled)),
            "{cancel_after}: {ended:?}"
        );
        let told = results.outcomes.lock().unwrap().len();
        assert_eq!(
            store.archive.snapshot().unwrap().totals().unwrap().files,
            told as u64
        );
        assert!(told < 30_000, "{cancel_after}");
        store.put("after", b"it goes on");
    }
}

#[test]
fn a_stream_of_unknown_length_is_stored_like_a_file() {
    let store = Store::new();
    for (index, len) in [0, 1, TINY_BELOW, SEGMENTED_BELOW + 5, (1 << 20) + 1, 5 << 20]
        .into_iter()
        .enumerate()
    {
        let content = painted(len, index as u64);
        let file = name(&format!("stream/{index}"));
        let options = CommitOptions::default();
        let commit = |content: &[u8], options: &CommitOptions| {
            store.archive.commit_reader(&file, &mut { content }, options, &())
        };
        let outcome = commit(&content, &options).unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{len}");
        assert_eq!(
            outcome.receipt().root.to_bytes(),
            *blake3::hash(&content).as_bytes()
        );
        assert!(store.get(&file.to_string()).unwrap() == content, "{len}");
        let again = commit(&content, &options).unwrap();
        assert!(matches!(again, CommitOutcome::Unchanged(_)), "{len}");
        let other = painted(len + 1, 99);
        assert!(
            matches!(commit(&other, &options), Err(CommitError::NameTaken { .. })),
            "{len}"
        );
        let replace = CommitOptions {
            name_conflict: NameConflict::Replace,
            ..options
        };
        let replaced = commit(&other, &replace).unwrap();
        assert!(matches!(replaced, CommitOutcome::Replaced(_)), "{len}");
        assert!(store.get(&file.to_string()).unwrap() == other, "{len}");
    }
    let leftovers = fs::read_dir(store.root()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".tmp")
    });
    assert_eq!(leftovers.count(), 0, "nothing of the spool is left");
}

#[test]
fn a_verification_counts_files_and_knows_directories() {
    let store = Store::new();
    let files = tree(store.dir.path());
    drop(commit(
        &store.archive,
        sources_of(store.dir.path(), &files),
        NameConflict::Refuse,
    ));
    let snapshot = store.archive.snapshot().unwrap();
    assert_eq!(snapshot.verify(None, &()).unwrap().files, files.len() as u64);
    assert_eq!(snapshot.verify(Some(&name("t/empty")), &()).unwrap().files, 0);
    assert!(snapshot.verify(Some(&name("t/nothing")), &()).is_err());
}

#[test]
fn a_batch_is_stored_with_any_code_that_a_policy_may_give_to_small_files() {
    for (data, parity) in [(3, 2), (2, 1), (1, 1), (7, 3)] {
        let policy = Policy::new(PolicyParts {
            tiny_below_bytes: 2 << 20,
            segmented_below_bytes: 4 << 20,
            tiny_shape: CodeShape::new(data, parity).unwrap(),
            ..*small_policy().parts()
        });
        let store = Store::with_policy(policy.unwrap());
        let dir = store.dir.path();
        let lengths = [
            0,
            1,
            63,
            LEAF,
            LEAF + 1,
            3 * LEAF - 1,
            50 * LEAF + 7,
            (1 << 20) - 1,
            1 << 20,
            (1 << 20) + 1,
        ];
        let mut sources = Vec::new();
        for round in 0..3 {
            for len in lengths {
                let path = format!("{round}-{len}");
                fs::write(dir.join(&path), painted(len, round)).unwrap();
                sources.push(source(dir, &path));
            }
        }
        let results = commit(&store.archive, sources, NameConflict::Refuse);
        results.all_are(|outcome| matches!(outcome, CommitOutcome::Committed(_)));
        let store = store.reopen();
        for round in 0..3 {
            for len in lengths {
                assert!(
                    store.get(&format!("{round}-{len}")).unwrap() == painted(len, round),
                    "{len}"
                );
            }
        }
        let report = store.archive.scrub(&()).unwrap();
        assert_eq!(report.damage, [], "{data}+{parity}");
    }
}

#[test]
fn files_near_the_limit_of_a_batch_are_all_stored() {
    let store = Store::with_policy(Policy::default());
    let dir = store.dir.path();
    let lengths = [700_000, 1_048_576, 5, 1_048_577, 1_048_575, 300, 1_000_000, 0];
    let sources: Vec<Source> = (0..64)
        .map(|index| {
            let path = format!("f{index}");
            fs::write(dir.join(&path), painted(lengths[index % 8], index as u64)).unwrap();
            source(dir, &path)
        })
        .collect();
    let results = commit(&store.archive, sources, NameConflict::Refuse);
    results.all_are(|outcome| matches!(outcome, CommitOutcome::Committed(_)));
    for index in 0..64 {
        assert!(store.get(&format!("f{index}")).unwrap() == painted(lengths[index % 8], index as u64));
    }
}

/// A small file that was given first waited until the long one behind it was stored, and was not there when that died.
#[test]
fn what_comes_before_a_long_file_is_stored_before_it() {
    struct Order(Mutex<Vec<String>>);
    impl Observer for Order {
        fn event(&self, _: Event<'_>) {}
    }
    impl CommitObserver for Order {
        fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
            drop(result.unwrap());
            self.0.lock().unwrap().push(source.name.to_string());
        }
    }
    let resources = Resources {
        progress_bytes: 200_000,
        ..Resources::default()
    };
    let store = Store::with(small_policy(), resources);
    let names = ["small", "long", "last"];
    let lens = [300, 400_000, 500];
    let mut sources = names.iter().zip(lens).map(|(file, len)| Source {
        name: name(file),
        place: Place::of_path(store.source(file, &painted(len, len))),
    });
    let order = Order(Mutex::default());
    let options = CommitAllOptions::default();
    store.archive.commit_all(&mut sources, &options, &order).unwrap();
    assert_eq!(order.0.into_inner().unwrap(), names);
}
