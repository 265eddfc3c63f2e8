//! Archives on several volumes: where shards go, and what is there when volumes are not.

mod changing;
mod compacting;
mod conditions;
mod losing;
mod making;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, ArchiveOptions, BlockPlaces, OpenOptions, Resources},
    catalog::Access,
    units::VolumeId,
};
use tempfile::TempDir;

use super::support::{LEAF, SEGMENTED_BELOW, TINY_BELOW, dir_in_memory, get, name, painted, small_policy};

/// An archive on volumes in directories beside it.
pub struct OnVolumes {
    pub dir: TempDir,
    pub archive: Archive,
}

impl OnVolumes {
    pub fn new(count: usize) -> Self {
        let dir = dir_in_memory();
        let options = ArchiveOptions {
            policy: small_policy(),
            volumes: (0..count)
                .map(|volume| dir.path().join(format!("v{volume}")))
                .collect(),
            resources: Resources::default(),
        };
        let archive = Archive::create(&dir.path().join("a.bfdb"), &options).unwrap();
        Self { dir, archive }
    }

    pub fn volume(&self, volume: usize) -> PathBuf {
        self.dir.path().join(format!("v{volume}"))
    }

    pub fn put(&self, file: &str, len: u64, seed: u64) {
        let content = painted(len, seed);
        let options = bfdb::archive::CommitOptions::default();
        let receipt = self
            .archive
            .commit(&name(file), content.as_slice(), len, &options);
        assert_eq!(
            receipt.unwrap().root.to_bytes(),
            *blake3::hash(&content).as_bytes()
        );
    }

    /// Closes the archive, does something to its volumes, and opens it again.
    pub fn after(self, what: impl FnOnce(&Path)) -> Self {
        self.after_with(Vec::new(), what)
    }

    /// Does the same, and says where volumes may be then.
    pub fn after_with(self, volumes: Vec<PathBuf>, what: impl FnOnce(&Path)) -> Self {
        self.archive.close().unwrap();
        what(self.dir.path());
        let options = OpenOptions {
            access: Access::Write,
            volumes,
            ..OpenOptions::default()
        };
        let (archive, _report) = Archive::open(&self.dir.path().join("a.bfdb"), &options).unwrap();
        Self {
            dir: self.dir,
            archive,
        }
    }

    pub fn has(&self, file: &str, len: u64, seed: u64) {
        assert!(get(&self.archive, file).unwrap() == painted(len, seed), "{file}");
    }
}

/// Takes the volumes away for good.
pub fn lose(dir: &Path, volumes: &[usize]) {
    for volume in volumes {
        fs::remove_dir_all(dir.join(format!("v{volume}"))).unwrap();
    }
}

/// How many shards of each block lie on each volume.
pub fn counts(store: &OnVolumes, file: &str) -> Vec<BTreeMap<VolumeId, u16>> {
    let places = store.archive.snapshot().unwrap().places(&name(file)).unwrap();
    let of_block = |block: &BlockPlaces| {
        let mut counts = BTreeMap::new();
        for (volume, _, _) in block.shards.iter().flatten() {
            *counts.entry(*volume).or_default() += 1;
        }
        counts
    };
    places.iter().map(of_block).collect()
}

pub fn store_of_each_tier(volumes: usize) -> OnVolumes {
    let store = OnVolumes::new(volumes);
    store.put("tiny", TINY_BELOW - 7, 1);
    store.put("segmented", SEGMENTED_BELOW - 7, 2);
    store.put("blocked", SEGMENTED_BELOW + 50 * LEAF + 7, 3);
    store
}
