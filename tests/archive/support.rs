//! What every test here needs: a small policy, painted content, an archive in a temporary directory.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitOptions, Event, Finding, Observer, OpenOptions, RecoveryReport,
        Resources,
    },
    catalog::Access,
    error::{OpenError, ReadError},
    geometry::{Grouping, Policy, PolicyParts},
    units::{CodeShape, FileName, LeafLen},
};
use tempfile::TempDir;

pub const LEAF: u64 = 1024;
pub const TINY_BELOW: u64 = 16 * LEAF;
pub const SEGMENT: u64 = 8 * LEAF;
pub const SEGMENTED_BELOW: u64 = 100 * LEAF;
/// Data shards and parity shards of a blocked file.
pub const DATA: u16 = 6;
pub const PARITY: u16 = 3;
pub const BLOCKED_SEGMENT: u64 = 4 * LEAF;
/// Outer parity blocks of a group, with [`grouped_policy`].
pub const OUTER_PARITY: u16 = 2;

pub fn small_policy() -> Policy {
    Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(10).unwrap(),
        tiny_below_bytes: TINY_BELOW,
        tiny_shape: CodeShape::new(1, 3).unwrap(),
        segmented_below_bytes: SEGMENTED_BELOW,
        segmented_shape: CodeShape::new(1, 3).unwrap(),
        segmented_segment_len_bytes: SEGMENT,
        blocked_shape: CodeShape::new(DATA, PARITY).unwrap(),
        blocked_segment_max_len_bytes: BLOCKED_SEGMENT,
        blocked_below_bytes: u64::MAX,
        grouped: Grouping {
            shape: CodeShape::new(DATA, PARITY).unwrap(),
            ..Grouping::DEFAULT
        },
        survive_volumes: 0,
    })
    .unwrap()
}

/// The same, with groups instead of blocks that stand alone: blocks of 12 leaves, two outer parity blocks for three or more.
pub fn grouped_policy() -> Policy {
    Policy::new(PolicyParts {
        blocked_below_bytes: SEGMENTED_BELOW,
        grouped: Grouping {
            shape: CodeShape::new(DATA, PARITY).unwrap(),
            segment_max_len_bytes: 2 * LEAF,
            parity: OUTER_PARITY,
            blocks_min: 3,
        },
        ..*small_policy().parts()
    })
    .unwrap()
}

/// The lengths at which something changes, each with its neighbours.
pub fn edge_lengths() -> Vec<u64> {
    let block = u64::from(DATA) * BLOCKED_SEGMENT;
    let edges = [
        0,
        LEAF,
        SEGMENT,
        2 * SEGMENT,
        TINY_BELOW,
        SEGMENTED_BELOW,
        5 * block,
        6 * block,
        64 * LEAF,
    ];
    let mut lengths: Vec<u64> = edges
        .iter()
        .flat_map(|edge| edge.saturating_sub(1)..=edge + 1)
        .collect();
    lengths.extend([63, 64, 65, 3 * LEAF + 77, 120 * LEAF + 5, 200_000]);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Content in which every place differs from its neighbours, and every seed from every other.
pub fn painted(len: u64, seed: u64) -> Vec<u8> {
    (0..len)
        .map(|at| ((at.wrapping_mul(31) + seed * 97 + at / 251) % 251) as u8)
        .collect()
}

pub fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

/// A directory whose syncs cost nothing, where the system has memory to pass for a disk.
pub fn dir_in_memory() -> TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    dir.unwrap()
}

/// An archive in a temporary directory.
pub struct Store {
    pub dir: TempDir,
    pub archive: Archive,
}

impl Store {
    pub fn new() -> Self {
        Self::with_policy(small_policy())
    }

    pub fn with_policy(policy: Policy) -> Self {
        Self::with(policy, Resources::default())
    }

    pub fn with(policy: Policy, resources: Resources) -> Self {
        Self::within(tempfile::tempdir().unwrap(), policy, resources)
    }

    /// One whose syncs cost nothing, where the system has memory to pass for a disk.
    pub fn in_memory(policy: Policy, resources: Resources) -> Self {
        Self::within(dir_in_memory(), policy, resources)
    }

    fn within(dir: TempDir, policy: Policy, resources: Resources) -> Self {
        let options = ArchiveOptions {
            policy,
            resources,
            volumes: Vec::new(),
        };
        let archive = Archive::create(&dir.path().join("a.bfdb"), &options).unwrap();
        Self { dir, archive }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("a.bfdb")
    }

    /// Commits a stream.
    pub fn put(&self, file: &str, content: &[u8]) {
        let len = content.len() as u64;
        let receipt = self
            .archive
            .commit(&name(file), content, len, &CommitOptions::default())
            .unwrap();
        assert_eq!(
            receipt.root.to_bytes(),
            *blake3::hash(content).as_bytes(),
            "I5: the root is what b3sum prints"
        );
    }

    /// Writes a file on the host and returns its path.
    pub fn source(&self, file: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(file);
        fs::write(&path, content).unwrap();
        path
    }

    /// Commits a file of the host.
    pub fn put_file(&self, file: &str, content: &[u8]) {
        let path = self.source(&format!("source-{}", file.replace('/', "_")), content);
        let outcome = self.archive.commit_path(&name(file), &path, &()).unwrap();
        drop(outcome);
        fs::remove_file(path).unwrap();
    }

    pub fn get(&self, file: &str) -> Result<Vec<u8>, ReadError> {
        get(&self.archive, file)
    }

    pub fn names(&self) -> Vec<String> {
        names(&self.archive)
    }

    /// The extent files, in order.
    pub fn extents(&self) -> Vec<PathBuf> {
        bfdb_fault_injection::damage::extent_files(&self.root()).unwrap()
    }

    /// The extent files with what is in them.
    pub fn extent_bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        self.extents().into_iter().map(read).collect()
    }

    pub fn reopen(self) -> Self {
        let root = self.root();
        self.archive.close().unwrap();
        let archive = open(&root, Access::Write);
        Self {
            dir: self.dir,
            archive,
        }
    }
}

pub fn open(root: &Path, access: Access) -> Archive {
    try_open(root, access).unwrap().0
}

pub fn try_open(root: &Path, access: Access) -> Result<(Archive, RecoveryReport), OpenError> {
    let options = OpenOptions {
        access,
        ..OpenOptions::default()
    };
    Archive::open(root, &options)
}

pub fn get(archive: &Archive, file: &str) -> Result<Vec<u8>, ReadError> {
    let mut reader = archive.snapshot()?.open_file(&name(file), Arc::new(()))?;
    let mut content = Vec::new();
    match reader.read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(error) => Err(*error.into_inner().unwrap().downcast::<ReadError>().unwrap()),
    }
}

pub fn names(archive: &Archive) -> Vec<String> {
    archive
        .snapshot()
        .unwrap()
        .files(None)
        .map(|file| file.unwrap().name.to_string())
        .collect()
}

/// Copies a directory with all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Keeps every finding.
#[derive(Debug, Default)]
pub struct Findings(pub Mutex<Vec<Finding>>);

impl Observer for Findings {
    fn event(&self, event: Event<'_>) {
        if let Event::Damage(finding) = event {
            self.0.lock().unwrap().push(finding.clone());
        }
    }
}
