use super::*;

#[test]
fn filling_with_zeros_reserves_blocks_and_keeps_what_is_there() {
    let file = tempfile::tempfile().expect("a temporary file");
    file.write_all_at(&[7; 5000], 0).expect("there is room");
    fill_with_zeros(&file, 5000, 3 << 20).expect("there is room");
    file.sync_all().expect("a sync");
    assert!(
        file.metadata().expect("metadata").blocks() * STAT_BLOCK_BYTES >= 3 << 20,
        "a sparse file"
    );
    let mut bytes = [1; 5001];
    file.read_exact_at(&mut bytes, 0).expect("all there");
    assert_eq!((bytes[4999], bytes[5000]), (7, 0));
}

#[test]
fn a_sparse_file_is_told_from_one_with_blocks() {
    let file = tempfile::tempfile().expect("a temporary file");
    ftruncate(&file, 1 << 20).expect("a sparse file");
    assert!(
        !has_blocks(&file, 0, 0, 1 << 20).expect("metadata"),
        "a hole was taken for blocks"
    );
    HostFile {
        file: file.try_clone().expect("a handle"),
    }
    .allocate(1 << 20)
    .expect("there is room");
    file.sync_all().expect("a sync");
    assert!(
        has_blocks(&file, 0, 0, 1 << 20).expect("metadata"),
        "blocks were taken for a hole"
    );
}

#[test]
fn only_regular_files_are_opened_and_nothing_is_waited_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    rustix::fs::mkfifoat(CWD, at("fifo"), rustix::fs::Mode::RUSR).expect("a fifo");
    fs::write(at("file"), b"bytes").expect("a file");
    std::os::unix::fs::symlink("file", at("link")).expect("a link");
    for path in [at("fifo"), at("link"), at("."), "/dev/zero".into()] {
        let error = HostStorage.open(&path, FileAccess::Read).expect_err("no file");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", path.display());
    }
    let missing = HostStorage.open(&at("missing"), FileAccess::Read);
    assert_eq!(
        missing.expect_err("nothing there").kind(),
        io::ErrorKind::NotFound
    );
    assert!(HostStorage.open(&at("file"), FileAccess::ReadWrite).is_ok());
}

#[test]
fn a_name_that_is_taken_is_replaced_only_when_asked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    for name in ["a", "b"] {
        let file = HostStorage.create_new(&at(name)).expect("a new file");
        file.write_all_at(0, name.as_bytes()).expect("written");
    }
    let refused = HostStorage.rename(&at("a"), &at("b"), Replace::Never);
    assert_eq!(refused.expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
    HostStorage
        .rename(&at("a"), &at("b"), Replace::File)
        .expect("replaced");
    assert_eq!(HostStorage.list(directory.path()).expect("a listing"), ["b"]);
    assert_eq!(fs::read(at("b")).expect("bytes"), b"a");
}

#[test]
fn a_lock_excludes_another_handle_of_the_same_file_until_it_is_dropped() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("lock");
    let first = HostStorage.create_new(&path).expect("a new file");
    let second = HostStorage
        .open(&path, FileAccess::ReadWrite)
        .expect("a second handle");
    assert!(first.try_lock(Lock::Exclusive).expect("a lock"));
    assert!(!second.try_lock(Lock::Shared).expect("an answer"));
    drop(first);
    assert!(second.try_lock(Lock::Exclusive).expect("a lock"));
}

#[test]
fn free_space_is_a_believable_number_and_nowhere_has_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let free = HostStorage.free_bytes(directory.path()).expect("space");
    assert!(free > 0 && free < 1 << 60, "{free} bytes are not believable");
    let uncounted = HostStorage.free_bytes(Path::new("/proc")).expect("an answer");
    assert_eq!(uncounted, u64::MAX, "only trying tells");
    let nowhere = HostStorage.free_bytes(&directory.path().join("missing"));
    assert_eq!(
        nowhere.expect_err("nothing there").kind(),
        io::ErrorKind::NotFound
    );
}
