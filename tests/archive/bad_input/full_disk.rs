//! A disk that fills up, catalog and all: only where this process may mount one. What needs no disk of its own is tried at
//! every call in `archive::full_disk`.

use std::{
    fs::{self, File},
    io::Write as _,
    process::Command,
};

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions},
    catalog::Access,
    error::CommitError,
    host::BALLAST_LEN_BYTES,
    storage::{HostStorage, Storage as _},
};

use crate::support::{get, name, names, open, painted, small_policy};

/// A small file system of its own, where this process may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(dir))
    }
}

impl SmallDisk {
    /// Takes what is left, as another program would.
    fn fill(&self) {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.0.path().join("filler"))
            .unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        assert_eq!(HostStorage.free_bytes(self.0.path()).unwrap(), 0);
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[test]
fn a_full_volume_refuses_a_file_by_name_and_keeps_all_others() {
    let Some(disk) = SmallDisk::new(24 << 20) else {
        return;
    };
    let options = ArchiveOptions {
        policy: small_policy(),
        ..ArchiveOptions::default()
    };
    let archive = Archive::create(&disk.0.path().join("a"), &options).unwrap();
    let put = |file: &str, content: &[u8]| {
        archive.commit(
            &name(file),
            content,
            content.len() as u64,
            &CommitOptions::default(),
        )
    };
    let content = painted(700_000, 1);
    let mut stored = 0;
    let refused = loop {
        match put(&format!("file{stored}"), &content) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 50, "the disk has no end");
    };
    let is_refused = |needed: u64, free: u64| needed > free && free < 24 << 20;
    assert!(
        matches!(refused, CommitError::Full { needed_bytes, free_bytes, .. } if is_refused(needed_bytes, free_bytes)),
        "{refused:?}"
    );
    assert!(stored > 2, "{stored} files fit");
    for index in 0..stored {
        assert!(get(&archive, &format!("file{index}")).unwrap() == content);
    }
    assert_eq!(archive.snapshot().unwrap().totals().unwrap().files, stored);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn files_are_removed_from_a_disk_without_a_free_byte_and_then_commits_work_again() {
    let Some(disk) = SmallDisk::new(40 << 20) else {
        return;
    };
    let root = disk.0.path().join("a");
    let options = ArchiveOptions {
        policy: small_policy(),
        ..ArchiveOptions::default()
    };
    let archive = Archive::create(&root, &options).unwrap();
    let put = |archive: &Archive, file: &str, content: &[u8]| {
        let options = CommitOptions::default();
        archive.commit(&name(file), content, content.len() as u64, &options)
    };
    let content = painted(700_000, 1);
    for file in ["a", "b", "c"] {
        drop(put(&archive, file, &content).unwrap());
    }
    archive.close().unwrap();

    disk.fill();
    let archive = open(&root, Access::Write);
    assert!(get(&archive, "a").unwrap() == content, "what is there is read");
    // Opening may have given back some pages of the catalog.
    let refused = put(&archive, "d", &content);
    assert!(
        matches!(refused, Err(CommitError::Full { free_bytes, .. }) if free_bytes <= 4 * 4096),
        "{refused:?}"
    );
    drop(archive.remove(&name("a")).unwrap());
    assert!(
        HostStorage.free_bytes(&root).unwrap() > BALLAST_LEN_BYTES / 2,
        "the ballast is released"
    );
    archive.close().unwrap();

    // Nothing is left to give away now.
    disk.fill();
    let archive = open(&root, Access::Write);
    match archive.remove(&name("b")) {
        Err(CommitError::Full {
            needed_bytes,
            free_bytes,
            ..
        }) => assert!(needed_bytes > free_bytes),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&archive), ["b", "c"]);

    disk.free();
    drop(archive.remove(&name("b")).unwrap());
    drop(put(&archive, "d", &content).unwrap());
    assert_eq!(names(&archive), ["c", "d"], "the same process goes on");
    let kept = fs::metadata(root.join("ballast")).unwrap().len();
    assert_eq!(kept, BALLAST_LEN_BYTES, "and has a ballast again");
    archive.close().unwrap();
    let archive = open(&root, Access::Write);
    assert!(get(&archive, "c").unwrap() == content && get(&archive, "d").unwrap() == content);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}
