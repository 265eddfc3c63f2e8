//! Sources whose names are taken, and names that go.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    time::{Duration, SystemTime},
};

use bfdb::{
    archive::{CommitOptions, CommitOutcome, NameConflict, Source},
    catalog::EntryKind,
    error::CommitError,
    units::Timestamp,
};

use super::{commit, source, sources_of, tree};
use crate::support::{SEGMENTED_BELOW, Store, name, painted};

#[test]
fn other_content_needs_to_be_asked_to_replace() {
    let store = Store::new();
    let dir = store.dir.path();
    let files = tree(dir);
    drop(commit(
        &store.archive,
        sources_of(dir, &files),
        NameConflict::Refuse,
    ));
    let changed = ["t/sub/2", "t/sub/7", "t/many/50"];
    for path in changed {
        fs::write(dir.join(path), painted(files[path].len() as u64, 1234)).unwrap();
    }
    fs::remove_file(dir.join("t/link")).unwrap();
    symlink("elsewhere", dir.join("t/link")).unwrap();
    fs::remove_file(dir.join("t/many/7")).unwrap();
    fs::create_dir(dir.join("t/many/7")).unwrap();

    let refused = commit(&store.archive, sources_of(dir, &files), NameConflict::Refuse);
    {
        let outcomes = refused.outcomes.lock().unwrap();
        for path in changed {
            assert!(
                matches!(outcomes[path], Err(CommitError::NameTaken { .. })),
                "{path}"
            );
            assert!(
                store.get(path).unwrap() == files[path],
                "{path}: the old content stays"
            );
        }
        assert!(matches!(outcomes["t/link"], Err(CommitError::LinkTaken { .. })));
        assert!(matches!(outcomes["t/many/7"], Err(CommitError::KindTaken { .. })));
    }
    assert_eq!(refused.count(Result::is_err), 5);

    let replaced = commit(&store.archive, sources_of(dir, &files), NameConflict::Replace);
    let is_replaced =
        |outcome: &Result<CommitOutcome, CommitError>| matches!(outcome, Ok(CommitOutcome::Replaced(_)));
    assert!(replaced.count(is_replaced) >= 5);
    assert_eq!(replaced.count(Result::is_err), 0);
    for path in changed {
        assert!(
            store.get(path).unwrap() == painted(files[path].len() as u64, 1234),
            "{path}"
        );
    }
    let snapshot = store.archive.snapshot().unwrap();
    let now = snapshot.file(&name("t/many/7")).unwrap().unwrap();
    assert_eq!(now.kind, EntryKind::Directory);
    let totals = snapshot.totals().unwrap();
    assert_eq!(totals.files, files.len() as u64 - 1);
}

#[test]
fn permissions_and_times_follow_for_directories_and_on_request_for_files() {
    let store = Store::new();
    let dir = store.dir.path();
    let files = tree(dir);
    drop(commit(
        &store.archive,
        sources_of(dir, &files),
        NameConflict::Refuse,
    ));
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for path in ["t/sub/3", "t/sub/8"] {
        fs::File::open(dir.join(path))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    fs::set_permissions(dir.join("t/empty"), fs::Permissions::from_mode(0o750)).unwrap();
    let info = |path: &str| {
        let snapshot = store.archive.snapshot().unwrap();
        snapshot.file(&name(path)).unwrap().unwrap()
    };
    let results = commit(&store.archive, sources_of(dir, &files), NameConflict::Refuse);
    assert!(matches!(
        results.outcomes.lock().unwrap()["t/sub/3"],
        Ok(CommitOutcome::Unchanged(_))
    ));
    assert_ne!(info("t/sub/3").modified_at.seconds(), 1_000_000);
    assert_eq!(info("t/empty").mode & 0o7777, 0o750);

    drop(commit(
        &store.archive,
        sources_of(dir, &files),
        NameConflict::Replace,
    ));
    for path in ["t/sub/3", "t/sub/8"] {
        assert_eq!(info(path).modified_at.seconds(), 1_000_000, "{path}");
        assert!(store.get(path).unwrap() == files[path]);
    }
}

#[test]
fn a_name_that_comes_twice_is_compared_with_itself() {
    let store = Store::new();
    let dir = store.dir.path();
    fs::write(dir.join("a"), b"same").unwrap();
    fs::write(dir.join("b"), b"same").unwrap();
    fs::write(dir.join("c"), b"other").unwrap();
    let as_x = |path: &str| Source {
        name: name("x"),
        ..source(dir, path)
    };
    let results = commit(&store.archive, vec![as_x("a"), as_x("b")], NameConflict::Refuse);
    results.all_are(|outcome| matches!(outcome, CommitOutcome::Unchanged(_)));
    let results = commit(&store.archive, vec![as_x("a"), as_x("c")], NameConflict::Refuse);
    assert_eq!(results.count(Result::is_err), 1);
    assert_eq!(store.get("x").unwrap(), b"same");
}

#[test]
fn many_names_go_in_one_transaction_and_missing_ones_are_told_apart() {
    let store = Store::new();
    let files = tree(store.dir.path());
    drop(commit(
        &store.archive,
        sources_of(store.dir.path(), &files),
        NameConflict::Refuse,
    ));
    let epoch = store.archive.snapshot().unwrap().epoch();
    let names: Vec<_> = ["t/sub/1", "t/none", "t/link", "t/sub/8", "t/empty", "t/sub/1"]
        .map(name)
        .into();
    let removed = store.archive.remove_many(&names).unwrap();
    let is_removed: Vec<bool> = removed.iter().map(Option::is_some).collect();
    assert_eq!(is_removed, [true, false, true, true, true, false]);
    let snapshot = store.archive.snapshot().unwrap();
    assert_eq!(snapshot.epoch(), epoch.next());
    for name in &names {
        assert_eq!(snapshot.file(name).unwrap(), None, "{name}");
    }
    assert_eq!(snapshot.totals().unwrap().files, files.len() as u64 - 2);
    assert!(
        store
            .archive
            .remove_many(&names)
            .unwrap()
            .iter()
            .all(Option::is_none)
    );
    assert_eq!(
        store.archive.snapshot().unwrap().epoch(),
        epoch.next(),
        "nothing was published"
    );
    assert!(store.get("t/sub/7").unwrap() == files["t/sub/7"]);
    assert_eq!(store.archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn a_stream_that_replaces_its_like_brings_its_permissions_and_its_time() {
    let store = Store::new();
    let content = painted(SEGMENTED_BELOW + 5, 1);
    store.put("f", &content);
    let space = || {
        store
            .extents()
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum::<u64>()
    };
    let before = space();
    let options = CommitOptions {
        mode: 0o600,
        name_conflict: NameConflict::Replace,
        modified_at: Timestamp::new(1_000_000, 7),
    };
    let len = content.len() as u64;
    let receipt = store
        .archive
        .commit(&name("f"), &*content, len, &options)
        .unwrap();
    let info = store
        .archive
        .snapshot()
        .unwrap()
        .file(&name("f"))
        .unwrap()
        .unwrap();
    assert_eq!((info.mode, Some(info.modified_at)), (0o600, options.modified_at));
    assert_eq!(info.file, receipt.file);
    assert!(store.get("f").unwrap() == content);
    assert_eq!(space(), before, "the same bytes are not kept again");
}

#[test]
fn a_directory_that_holds_something_gives_way_to_no_file_and_no_link() {
    let store = Store::new();
    let dir = store.dir.path();
    let files = tree(dir);
    drop(commit(
        &store.archive,
        sources_of(dir, &files),
        NameConflict::Refuse,
    ));
    fs::write(dir.join("file"), b"file").unwrap();
    symlink("nowhere", dir.join("link")).unwrap();
    let large = painted(SEGMENTED_BELOW, 5);
    fs::write(dir.join("large"), large).unwrap();
    let as_directory = |path: &str, stored: &str| Source {
        name: name(stored),
        ..source(dir, path)
    };
    for path in ["file", "link", "large"] {
        let refused = commit(
            &store.archive,
            vec![as_directory(path, "t/sub")],
            NameConflict::Replace,
        );
        let outcomes = refused.outcomes.lock().unwrap();
        let outcome = &outcomes["t/sub"];
        assert!(
            matches!(outcome, Err(CommitError::DirectoryInUse { .. })),
            "{path}: {outcome:?}"
        );
    }
    let replaced = commit(
        &store.archive,
        vec![as_directory("file", "t/empty")],
        NameConflict::Replace,
    );
    replaced.all_are(|outcome| matches!(outcome, CommitOutcome::Replaced(_)));
    let snapshot = store.archive.snapshot().unwrap();
    assert_eq!(
        snapshot.file(&name("t/sub")).unwrap().unwrap().kind,
        EntryKind::Directory
    );
    assert!(store.get("t/sub/5").unwrap() == files["t/sub/5"]);
    assert_eq!(store.get("t/empty").unwrap(), b"file");
}
