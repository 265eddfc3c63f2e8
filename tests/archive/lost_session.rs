//! Writers that are taken for dead.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    sync::Mutex,
};

use bfdb::{
    archive::{Archive, CommitOptions},
    catalog::Access,
    error::CommitError,
};

use crate::support::{SEGMENTED_BELOW, Store, TINY_BELOW, get, name, names, open, painted};

/// Tiny, segmented and blocked.
const LENGTHS: [u64; 3] = [TINY_BELOW - 1, SEGMENTED_BELOW - 1, SEGMENTED_BELOW * 3];

/// Runs something when half of it is read.
struct Interrupted<'a> {
    content: &'a [u8],
    half: usize,
    action: Option<Box<dyn FnOnce() + Send + 'a>>,
}

impl Read for Interrupted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.content.len() <= self.half
            && let Some(action) = self.action.take()
        {
            action();
        }
        let count = into.len().min(self.content.len()).min(512);
        self.content.read(&mut into[..count])
    }
}

fn forget_sessions(root: &Path) {
    for entry in fs::read_dir(root.join("sessions")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// Extents of a session without a file are taken back by the next writer; whoever lost its file that way must neither
/// publish what was cut off nor write into what others publish.
#[test]
fn a_writer_whose_session_file_vanished_publishes_nothing_and_harms_nobody() {
    for len in LENGTHS {
        let store = Store::new();
        store.put("before", &painted(len, 1));
        let root = store.root();
        let other = painted(len, 2);
        let content = painted(len, 3);
        let second: Mutex<Option<Archive>> = Mutex::new(None);
        let source = Interrupted {
            content: &content,
            half: content.len() / 2,
            action: Some(Box::new(|| {
                forget_sessions(&root);
                let archive = open(&root, Access::Write);
                archive
                    .commit(&name("other"), other.as_slice(), len, &CommitOptions::default())
                    .unwrap();
                *second.lock().unwrap() = Some(archive);
            })),
        };
        let result = store
            .archive
            .commit(&name("mine"), source, len, &CommitOptions::default());
        let second = second.into_inner().unwrap().unwrap();
        assert!(get(&second, "other").unwrap() == other, "{len} bytes");
        let report = second.scrub(&()).unwrap();
        assert_eq!(report.damage, [], "{len} bytes");
        let error = result.expect_err("its extents are not its own any more");
        assert!(matches!(error, CommitError::OwnershipLost { .. }), "{error:?}");
        assert_eq!(names(&second), ["before", "other"]);
        store.put("again", &content);
        assert!(get(&second, "again").unwrap() == content);
    }
}
