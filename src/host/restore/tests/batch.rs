//! Many small files: shared syncs, kept directories, and what a write without reserved space says.

use super::*;

impl Scratch {
    fn complete(&self, name: &str, bytes: &[u8], durability: Durability) -> CompleteFile {
        let file = self
            .create(name, to_u64(bytes.len()), Existing::Refuse)
            .expect("a file");
        file.write_at(0, bytes).expect("bytes");
        file.complete(TIME, 0o4751, durability).expect("complete")
    }

    fn sync_count(&self) -> u64 {
        self.target.tree.file_system().sync_count()
    }

    /// Says whether the file system of the test can be synced as a whole: otherwise every file is synced by itself.
    fn syncs_as_a_whole(&self) -> bool {
        self.target.tree.file_system().mark().is_some()
    }
}

#[test]
fn a_batch_shares_one_sync_and_shows_no_name_before_it() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..200).map(|index| format!("d{}/f{index}", index % 7)).collect();
    let complete: Vec<CompleteFile> = names
        .iter()
        .map(|name| scratch.complete(name, name.as_bytes(), Durability::Batched))
        .collect();
    assert!(
        names.iter().all(|name| !scratch.at(name).exists()),
        "a name is there too early"
    );
    scratch.target.sync_all().expect("a sync");
    let syncs = scratch.sync_count();
    assert_eq!(syncs, u64::from(scratch.syncs_as_a_whole()));
    for file in complete {
        assert!(file.publish().expect("published").not_kept.is_empty());
    }
    assert_eq!(scratch.sync_count(), syncs, "publishing after a sync needs none");
    for name in &names {
        assert_eq!(fs::read(scratch.at(name)).expect("the file"), name.as_bytes());
        let found = fs::metadata(scratch.at(name)).expect("the file");
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 987_654_321));
        assert_eq!(found.mode() & 0o7777, 0o751);
    }
    scratch.target.sync_all().expect("a sync of the names");
    assert_eq!(names_below(&scratch.at("")).len(), 207, "nothing else is left");
}

#[test]
fn what_cannot_be_synced_as_a_whole_is_synced_one_by_one() {
    let mut scratch = Scratch::new();
    scratch.target.tree = Arc::new(Tree::open_one_by_one(&scratch.at("")));
    let cases = [
        (Durability::Buffered, false),
        (Durability::Batched, true),
        (Durability::Synced, true),
    ];
    for (durability, expected) in cases {
        let file = scratch.complete(&format!("{durability:?}/f"), b"x", durability);
        assert_eq!(file.is_synced_by_itself(), expected, "{durability:?}");
        assert!(file.publish().expect("published").not_kept.is_empty());
        let root = scratch
            .target
            .tree
            .parent_of(&"f".parse().expect("a name"), Missing::Fail)
            .expect("the target");
        assert_eq!(durability.is_due_at_once(&root), expected, "{durability:?}");
    }
    scratch.target.sync_all().expect("nothing to do");
    assert_eq!(scratch.sync_count(), 0);
    assert!(
        scratch
            .complete("other", b"x", Durability::Synced)
            .is_synced_by_itself()
    );
}

#[test]
fn a_file_published_without_a_sync_is_synced_before_it_gets_its_name() {
    let scratch = Scratch::new();
    let early = scratch.complete("early", b"x", Durability::Batched);
    scratch.target.sync_all().expect("a sync");
    let late = scratch.complete("late", b"y", Durability::Batched);
    let buffered = scratch.complete("buffered", b"z", Durability::Buffered);
    let before = scratch.sync_count();
    for file in [buffered, early] {
        assert!(file.publish().expect("published").not_kept.is_empty());
    }
    assert_eq!(scratch.sync_count(), before, "these need no sync");
    assert!(late.publish().expect("published").not_kept.is_empty());
    assert_eq!(
        scratch.sync_count(),
        before + u64::from(scratch.syncs_as_a_whole())
    );
}

#[test]
fn after_a_failed_sync_no_file_of_the_batch_gets_its_name() {
    let scratch = Scratch::new();
    if !scratch.syncs_as_a_whole() {
        return;
    }
    let file = scratch.complete("name", b"x", Durability::Batched);
    scratch.target.tree.file_system().break_down();
    for _ in 0..2 {
        let failed = scratch.target.sync_all().expect_err("a broken disk");
        assert!(
            matches!(
                failed,
                HostError::Io {
                    operation: HostOperation::Sync,
                    ..
                }
            ),
            "{failed:?}"
        );
    }
    drop(file.publish().expect_err("a broken disk"));
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn a_complete_file_that_is_dropped_or_finds_its_name_taken_leaves_nothing() {
    let scratch = Scratch::new();
    drop(scratch.complete("a/dropped", b"x", Durability::Buffered));
    let file = scratch.complete("a/taken", b"x", Durability::Buffered);
    fs::write(scratch.at("a/taken"), b"rival").expect("a rival");
    let refused = file.publish().expect_err("a taken name");
    assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
    assert_eq!(
        names_below(&scratch.at("")),
        [scratch.at("a"), scratch.at("a/taken")]
    );
    assert_eq!(fs::read(scratch.at("a/taken")).expect("the rival"), b"rival");
}

#[test]
fn a_complete_file_with_a_gap_is_refused_and_removed() {
    let scratch = Scratch::new();
    let file = scratch.create("name", 10, Existing::Refuse).expect("a file");
    file.write_at(5, b"56789").expect("the second half");
    let refused = file
        .complete(TIME, 0o600, Durability::Batched)
        .expect_err("a gap");
    assert!(
        matches!(refused, HostError::Incomplete { written: 5, .. }),
        "{refused:?}"
    );
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn files_that_wait_in_more_directories_than_are_kept_open_get_their_names_or_go() {
    let scratch = Scratch::new();
    let mut complete: Vec<CompleteFile> = (0..400)
        .map(|index| scratch.complete(&format!("{index}/deep/f"), b"x", Durability::Buffered))
        .collect();
    assert!(
        scratch.target.tree.kept_count() <= 64,
        "too many directories are open"
    );
    let open_count = scratch.target.tree.open_count();
    assert!(open_count <= 256 + 64, "{open_count} directories are open");
    drop(complete.split_off(350));
    complete.rotate_left(200);
    for file in complete {
        assert!(file.publish().expect("published").not_kept.is_empty());
    }
    for index in 0..400 {
        let there = names_below(&scratch.at(&format!("{index}/deep")));
        let expected = scratch.at(&format!("{index}/deep/f"));
        assert_eq!(there, if index < 350 { vec![expected] } else { vec![] });
    }
}

#[test]
fn a_small_file_that_does_not_fit_is_refused_by_its_write_with_both_numbers() {
    let scratch = Scratch::new();
    let mut file = scratch.create("name", 5, Existing::Refuse).expect("a file");
    file.file = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device that is always full");
    let refused = file.write_at(0, b"bytes").expect_err("a full disk");
    assert!(
        matches!(refused, HostError::Full { needed: 5, .. }),
        "{refused:?}"
    );
    drop(file);
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn a_directory_that_was_removed_or_replaced_is_entered_anew() {
    let scratch = Scratch::new();
    scratch.restored("a/b/first", b"1", Existing::Refuse);
    fs::remove_dir_all(scratch.at("a")).expect("a removal");
    scratch.restored("a/b/second", b"2", Existing::Refuse);
    fs::rename(scratch.at("a"), scratch.at("moved")).expect("a move");
    fs::create_dir_all(scratch.at("a/b")).expect("others of the same name");
    scratch.restored("a/b/third", b"3", Existing::Refuse);
    assert_eq!(fs::read(scratch.at("moved/b/second")).expect("the file"), b"2");
    assert_eq!(fs::read(scratch.at("a/b/third")).expect("the file"), b"3");

    fs::rename(scratch.at("a"), scratch.at("away")).expect("a move");
    symlink(scratch.outside(), scratch.at("a")).expect("a link");
    for name in ["a/fourth", "a/b/fourth"] {
        let refused = scratch
            .restore(name, b"4", Existing::Refuse)
            .expect_err("a link on the way");
        assert!(
            matches!(
                refused,
                HostError::NotDirectory {
                    kind: FileKind::SymbolicLink,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
    assert_eq!(names_below(&scratch.outside()), NOTHING);
}

#[test]
fn a_directory_that_was_moved_out_and_linked_back_takes_nothing_more() {
    let scratch = Scratch::new();
    scratch.restored("a/b/first", b"1", Existing::Refuse);
    let moved = scratch.outside().join("moved");
    fs::rename(scratch.at("a"), &moved).expect("a move");
    symlink(&moved, scratch.at("a")).expect("a link");
    let refused = scratch
        .restore("a/b/second", b"2", Existing::Refuse)
        .expect_err("a link on the way");
    assert!(matches!(refused, HostError::NotDirectory { .. }), "{refused:?}");
    assert_eq!(names_below(&moved), [moved.join("b"), moved.join("b/first")]);
}

#[test]
fn a_temporary_name_that_is_taken_is_drawn_again() {
    let scratch = Scratch::new();
    let first = scratch.create("first", 0, Existing::Refuse).expect("a file");
    let [temporary] = &names_below(&scratch.at(""))[..] else {
        panic!("one name is expected")
    };
    let digits = temporary
        .to_str()
        .expect("ASCII")
        .rsplit_once("bfdb-")
        .expect("a number")
        .1;
    let number = u64::from_str_radix(&digits[..16], 16).expect("a number");
    let next = scratch.at(&format!(".bfdb-{:016x}.part", number.wrapping_add(1)));
    fs::write(&next, b"planted").expect("a file");
    let second = scratch.create("second", 0, Existing::Refuse).expect("a file");
    drop((first, second));
    assert_eq!(fs::read(&next).expect("the file"), b"planted");
    assert_eq!(names_below(&scratch.at("")), [next]);
}
