//! A disk that fills up.

use std::process::Command;

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions},
    error::CommitError,
};

use crate::support::{get, name, painted, small_policy};

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

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[test]
fn a_full_volume_refuses_a_file_by_name_and_keeps_all_others() {
    let Some(disk) = SmallDisk::new(12 << 20) else {
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
    assert!(
        matches!(
            refused,
            CommitError::Full { .. } | CommitError::Volume { .. } | CommitError::Catalog { .. }
        ),
        "{refused:?}"
    );
    assert!(stored > 2, "{stored} files fit");
    for index in 0..stored {
        assert!(get(&archive, &format!("file{index}")).unwrap() == content);
    }
    assert_eq!(archive.snapshot().unwrap().totals().unwrap().files, stored);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}
