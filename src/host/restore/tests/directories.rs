//! Directories: made, left alone, refused, and given their permissions and times.

use rustix::process::geteuid;

use super::*;

const EVERY_DURABILITY: [Durability; 3] = [Durability::Buffered, Durability::Batched, Durability::Synced];

impl Scratch {
    fn create_directory(&self, name: &str, durability: Durability) -> Result<Made, HostError> {
        self.target
            .create_directory(&name.parse().expect("a name"), durability)
    }

    fn set_metadata(&self, name: &str, mode: u32, durability: Durability) -> Result<Restored, HostError> {
        let name = name.parse().expect("a name");
        self.target.set_directory_metadata(&name, TIME, mode, durability)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.at(name)).expect("something").mode() & 0o7777
    }
}

#[test]
fn a_directory_is_its_owners_alone_until_it_gets_its_permissions_and_time() {
    let scratch = Scratch::new();
    for (index, durability) in EVERY_DURABILITY.into_iter().enumerate() {
        let name = format!("a{index}/b");
        assert_eq!(
            scratch.create_directory(&name, durability).expect("made"),
            Made::New
        );
        assert_eq!(scratch.mode(&name), 0o700);
        scratch.restored(&format!("{name}/file"), b"x", Existing::Refuse);
        let restored = scratch.set_metadata(&name, 0o7751, durability).expect("metadata");
        assert!(restored.not_kept.is_empty(), "{restored:?}");
        assert_eq!(
            scratch.mode(&name),
            0o1751,
            "set-user-id and set-group-id are dropped"
        );
        let found = fs::metadata(scratch.at(&name)).expect("the directory");
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 987_654_321));
        assert!(scratch.at(&name).join("file").is_file());
    }
    scratch.target.sync_all().expect("a sync");
}

#[test]
fn a_directory_that_was_there_stays_as_it_is() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("d")).expect("a directory");
    fs::set_permissions(scratch.at("d"), Permissions::from_mode(0o755)).expect("a mode");
    for durability in EVERY_DURABILITY {
        assert_eq!(
            scratch.create_directory("d", durability).expect("there"),
            Made::WasThere
        );
    }
    assert_eq!(scratch.mode("d"), 0o755);
}

#[test]
fn neither_a_file_nor_a_link_is_taken_for_a_directory() {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.outside(), Permissions::from_mode(0o755)).expect("a mode");
    symlink(scratch.outside(), scratch.at("link")).expect("a link");
    symlink("nowhere", scratch.at("dangling")).expect("a link");
    scratch.restored("file", b"x", Existing::Refuse);
    let cases = [
        ("link", FileKind::SymbolicLink),
        ("link/below", FileKind::SymbolicLink),
        ("dangling", FileKind::SymbolicLink),
        ("file", FileKind::Regular),
        ("file/below", FileKind::Regular),
    ];
    for (name, expected) in cases {
        let made = scratch
            .create_directory(name, Durability::Buffered)
            .map(|made| format!("{made:?}"));
        let changed = scratch
            .set_metadata(name, 0o700, Durability::Buffered)
            .map(|restored| format!("{restored:?}"));
        for outcome in [made, changed] {
            match outcome {
                Err(HostError::NotDirectory { kind, .. }) => assert_eq!(kind, expected, "{name}"),
                other => panic!("{other:?} for {name}"),
            }
        }
    }
    assert_eq!(names_below(&scratch.outside()), NOTHING);
    let outside = fs::metadata(scratch.outside()).expect("the directory");
    assert_eq!(outside.mode() & 0o7777, 0o755);
    assert_ne!(outside.mtime(), TIME.seconds());
}

#[test]
fn metadata_of_a_directory_that_is_not_there_makes_none() {
    let scratch = Scratch::new();
    for name in ["missing", "missing/below"] {
        let refused = scratch
            .set_metadata(name, 0o700, Durability::Buffered)
            .expect_err("nothing there");
        assert!(refused.is_not_found(), "{refused:?}");
    }
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn directories_without_any_permission_are_restored_from_the_inside_out() {
    let scratch = Scratch::new();
    for name in ["a", "a/b", "a/b/c"] {
        assert_eq!(
            scratch
                .create_directory(name, Durability::Buffered)
                .expect("made"),
            Made::New
        );
    }
    for name in ["a/b/c", "a/b", "a"] {
        let restored = scratch
            .set_metadata(name, 0, Durability::Synced)
            .expect("metadata");
        assert!(restored.not_kept.is_empty(), "{restored:?}");
    }
    assert_eq!(scratch.mode("a"), 0);
    // Once more, from modes that let nobody read; and back, so that the directory can be removed.
    for (name, mode) in [("a", 0o300), ("a", 0), ("a", 0o700)] {
        let restored = scratch
            .set_metadata(name, mode, Durability::Synced)
            .expect("metadata");
        assert!(restored.not_kept.is_empty(), "{restored:?}");
        assert_eq!(scratch.mode(name), mode);
    }
    let found = fs::metadata(scratch.at("a")).expect("the directory");
    assert_eq!(found.mtime(), TIME.seconds());
    for name in ["a/b", "a/b/c"] {
        drop(
            scratch
                .set_metadata(name, 0o700, Durability::Buffered)
                .expect("metadata"),
        );
    }
}

#[test]
fn a_directory_in_one_that_may_not_be_written_is_refused() {
    if geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("closed")).expect("a directory");
    fs::set_permissions(scratch.at("closed"), Permissions::from_mode(0o500)).expect("a mode");
    let refused = scratch
        .create_directory("closed/d", Durability::Buffered)
        .expect_err("closed");
    assert!(
        matches!(
            &refused,
            HostError::Io { operation: HostOperation::CreateDirectory, source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied
        ),
        "{refused:?}"
    );
}
