//! Names that become others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bfdb::{
    archive::{
        Archive, CommitOptions, Event, FileInfo, NameConflict, Observer, RenameConflict, RenameReceipt,
        Resources, Snapshot,
    },
    catalog::Access,
    error::{CommitError, FileKind},
    units::FileName,
};

use crate::{
    damage::chart::frames_of,
    rebuilding::rebuild,
    support::{LEAF, SEGMENTED_BELOW, Store, TINY_BELOW, name, names, open, painted, small_policy},
};

/// A tree with files of every tier, one with kept versions, a link, and names that look like those of the tree.
fn furnished() -> Store {
    let store = Store::new();
    let tree = store.dir.path().join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::os::unix::fs::symlink("sub", tree.join("link")).unwrap();
    for (text, path) in [
        ("d", tree.clone()),
        ("d/sub", tree.join("sub")),
        ("d/link", tree.join("link")),
    ] {
        drop(store.archive.commit_path(&name(text), &path, &()).unwrap());
    }
    for (text, len) in [
        ("d/tiny", TINY_BELOW - 1),
        ("d/sub/segmented", SEGMENTED_BELOW - 1),
        ("d/sub/blocked", SEGMENTED_BELOW * 2),
        ("d!", 5),
        ("d0", 6),
        ("other", 7),
    ] {
        store.put(text, &painted(len, len));
    }
    let options = CommitOptions {
        name_conflict: NameConflict::ReplaceAndKeep { versions: 3 },
        ..CommitOptions::default()
    };
    for (text, len) in [("d/tiny", 11), ("d/tiny", 12), ("other", 13)] {
        let content = painted(len, len);
        store
            .archive
            .commit(&name(text), content.as_slice(), len, &options)
            .unwrap();
    }
    store
}

fn rename(archive: &Archive, from: &str, to: &str) -> Result<RenameReceipt, CommitError> {
    archive.rename(&name(from), &name(to), RenameConflict::Refuse)
}

fn replace(archive: &Archive, from: &str, to: &str) -> Result<RenameReceipt, CommitError> {
    archive.rename(&name(from), &name(to), RenameConflict::Replace)
}

/// Everything that is known of all versions.
fn known(snapshot: &Snapshot) -> Vec<FileInfo> {
    snapshot.files_and_versions(None).map(Result::unwrap).collect()
}

/// What has to be known behind a renaming.
fn renamed(before: &[FileInfo], from: &str, to: &str) -> Vec<FileInfo> {
    let mut after = before.to_vec();
    for file in &mut after {
        let text = file.name.to_string();
        if text == from || text.starts_with(&format!("{from}/")) {
            file.name = name(&text.replacen(from, to, 1));
        }
    }
    after.sort_by_key(|file| (file.name.clone(), file.version));
    after
}

fn check_contents(archive: &Archive) {
    let snapshot = archive.snapshot().unwrap();
    for file in known(&snapshot) {
        if file.kind == bfdb::catalog::EntryKind::File {
            let snapshot = snapshot.of_version(file.version);
            let mut reader = snapshot.open_file(&file.name, Arc::new(())).unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
            assert!(
                content == painted(file.len_bytes, file.len_bytes),
                "{}",
                file.name
            );
        }
    }
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    assert_eq!(snapshot.verify(None, &()).unwrap().damage, []);
}

#[test]
fn whatever_is_renamed_is_the_same_under_other_names_also_when_opened_again_or_made_anew() {
    for (from, to, entries, kept_versions) in [
        ("d", "e", 6, 2),
        ("d", "other.d/below/it", 6, 2),
        ("d/sub", "d/sub2", 3, 0),
        ("d/sub", "sub", 3, 0),
        ("d/tiny", "d/sub/tiny", 1, 2),
        ("other", "d/other", 1, 1),
        ("d/link", "a", 1, 0),
    ] {
        let store = furnished();
        let before = known(&store.archive.snapshot().unwrap());
        let extents = store.extent_bytes();
        let receipt = rename(&store.archive, from, to).unwrap();
        assert_eq!(
            (receipt.entries, receipt.kept_versions),
            (entries, kept_versions),
            "{from}"
        );
        assert_eq!(receipt.replaced, None);
        let after = renamed(&before, from, to);
        let is_right = |archive: &Archive| {
            let found = known(&archive.snapshot().unwrap());
            assert_eq!(found, after, "{from} to {to}");
        };
        is_right(&store.archive);
        assert_eq!(store.extent_bytes(), extents, "no byte on a volume is touched");
        check_contents(&store.archive);
        let store = store.reopen();
        is_right(&store.archive);
        let (root, dir) = (store.root(), store.dir);
        store.archive.close().unwrap();
        std::fs::remove_file(root.join("catalog.redb")).unwrap();
        let (archive, _) = rebuild(&root);
        is_right(&archive);
        check_contents(&archive);
        archive.close().unwrap();
        drop(dir);
    }
}

#[test]
fn what_cannot_be_renamed_is_refused_and_nothing_changes() {
    let store = furnished();
    let before = known(&store.archive.snapshot().unwrap());
    let taken = |error: CommitError, kind: FileKind| {
        let is_taken = matches!(&error, CommitError::NewNameTaken { stored, .. } if *stored == kind);
        assert!(is_taken, "{error:?}");
    };
    for (from, to) in [
        ("d", "d"),
        ("d", "d/x"),
        ("d", "d/sub/deeper"),
        ("other", "other/x"),
    ] {
        for attempt in [rename, replace] {
            let error = attempt(&store.archive, from, to).unwrap_err();
            assert!(
                matches!(error, CommitError::RenamedIntoItself { .. }),
                "{error:?}"
            );
        }
    }
    let error = rename(&store.archive, "nothing", "x").unwrap_err();
    assert!(matches!(error, CommitError::NotFound { .. }), "{error:?}");
    taken(
        rename(&store.archive, "d!", "other").unwrap_err(),
        FileKind::Regular,
    );
    taken(
        rename(&store.archive, "d!", "d/link").unwrap_err(),
        FileKind::SymbolicLink,
    );
    taken(
        rename(&store.archive, "d!", "d").unwrap_err(),
        FileKind::Directory,
    );
    taken(
        replace(&store.archive, "d!", "d").unwrap_err(),
        FileKind::Directory,
    );
    taken(
        replace(&store.archive, "d", "other").unwrap_err(),
        FileKind::Regular,
    );
    taken(
        replace(&store.archive, "d/sub", "d0").unwrap_err(),
        FileKind::Regular,
    );
    let long = FileName::from_bytes(&[b'x'; 4090]).unwrap();
    let error = store
        .archive
        .rename(&name("d"), &long, RenameConflict::Refuse)
        .unwrap_err();
    assert!(
        matches!(&error, CommitError::NewNameTooLong { name } if name.to_string() == "d/sub/blocked"),
        "{error:?}"
    );
    assert_eq!(known(&store.archive.snapshot().unwrap()), before);
}

#[test]
fn a_directory_that_is_none_but_for_what_lies_below_it_is_renamed_and_not_taken() {
    let store = Store::new();
    store.put("p/a", b"a");
    store.put("p/b", b"b");
    store.put("q", b"q");
    let error = rename(&store.archive, "q", "p").unwrap_err();
    assert!(
        matches!(
            error,
            CommitError::NewNameTaken {
                stored: FileKind::Directory,
                ..
            }
        ),
        "{error:?}"
    );
    let receipt = rename(&store.archive, "p", "r/s").unwrap();
    assert_eq!(receipt.entries, 2);
    assert_eq!(names(&store.archive), ["q", "r/s/a", "r/s/b"]);
    let receipt = rename(&store.archive, "q", "p").unwrap();
    assert_eq!(receipt.entries, 1);
}

#[test]
fn a_file_that_is_replaced_by_a_renaming_goes_with_its_versions() {
    let store = furnished();
    let receipt = replace(&store.archive, "d!", "other").unwrap();
    let replaced = receipt.replaced.unwrap();
    assert_eq!((replaced.len_bytes, replaced.kept_versions), (13, 1));
    assert_eq!((receipt.entries, receipt.kept_versions), (1, 0));
    let snapshot = store.archive.snapshot().unwrap();
    let other = snapshot.file(&name("other")).unwrap().unwrap();
    assert_eq!((other.len_bytes, other.version), (5, 1));
    let receipt = replace(&store.archive, "d/tiny", "other").unwrap();
    assert_eq!((receipt.entries, receipt.kept_versions), (1, 2));
    let versions = snapshot.files_and_versions(Some(&name("other")));
    let versions: Vec<(u64, u32)> = (versions.map(Result::unwrap))
        .map(|file| (file.len_bytes, file.version))
        .collect();
    assert_eq!(versions, [(TINY_BELOW - 1, 1), (11, 2), (12, 3)]);
    check_contents(&store.archive);
}

#[test]
fn a_name_that_was_renamed_away_is_free() {
    let store = Store::new();
    store.put("f", b"1");
    drop(rename(&store.archive, "f", "g").unwrap());
    store.put("f", b"2");
    assert_eq!(names(&store.archive), ["f", "g"]);
    assert_eq!(
        (store.get("f").unwrap(), store.get("g").unwrap()),
        (b"2".to_vec(), b"1".to_vec())
    );
}

/// Does something when it is told of progress first.
struct OnProgress(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Observer for OnProgress {
    fn event(&self, event: Event<'_>) {
        if let Event::Progress { .. } = event
            && let Some(work) = self.0.lock().unwrap().take()
        {
            work();
        }
    }
}

/// A file that is verified later than others of its page is looked up once more then. Its loss was told of under its new name, and it
/// counted as one without a loss whose root is wrong: the verification ended there.
#[test]
fn a_file_that_has_lost_bytes_and_is_renamed_while_it_is_verified_is_told_of_as_it_was_listed() {
    let one_thread = Resources {
        threads: 1,
        ..Resources::default()
    };
    let store = Store::with(small_policy(), one_thread);
    for index in 0..100 {
        store.put(&format!("a{index:02}"), &painted(50, index));
    }
    let content = painted(3 * LEAF, 5);
    store.put("lost", &content);
    for frame in frames_of(&store, &BTreeMap::from([("lost".to_owned(), content)])) {
        for column in 0..frame.leaf_count() {
            let leaf = frame.leaf(column);
            frame.flip(leaf.start..leaf.start + 1);
        }
        frame.flip_tables();
    }
    let other = open(&store.root(), Access::Write);
    let observer = OnProgress(Mutex::new(Some(Box::new(move || {
        let renamed = other.rename(&name("lost"), &name("zz"), RenameConflict::Refuse);
        drop(renamed.unwrap());
        other.close().unwrap();
    }))));
    let report = store.archive.snapshot().unwrap().verify(None, &observer).unwrap();
    assert!(observer.0.into_inner().unwrap().is_none(), "it was renamed");
    assert!(names(&store.archive).contains(&"zz".to_owned()));
    let told: Vec<(String, u64)> = report
        .damage
        .iter()
        .map(|file| {
            let lost = file.lost.iter().map(|range| range.len()).sum();
            (file.name.to_string(), lost)
        })
        .collect();
    assert_eq!(told, [("lost".to_owned(), 3 * LEAF)]);
    assert_eq!(report.files, 101);
}
