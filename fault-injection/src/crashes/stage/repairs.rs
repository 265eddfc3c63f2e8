//! Extents that are damaged behind the back of everybody, and whoever scrubs and repairs them.

use std::{
    io,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::RepairOptions,
    storage::{FileAccess, Storage as _},
};

use super::{Stage, explained};
use crate::crashes::{
    oracle::{DAMAGED, REPAIRED},
    setting::ROOT,
};

/// Where the frames begin in an extent.
const FRAMES_BEGIN: u64 = 4096;

/// Bytes of an extent of which one bit is flipped.
const FLIPPED_IN: u64 = 1500;

impl Stage<'_> {
    /// Loses an extent, and flips bits all over another one: no block has two shards in one of them, and every code here
    /// survives two.
    pub fn damage_extents(&mut self) {
        let directory = Path::new(ROOT).join("volumes/v0/extents");
        let mut names = self.disk.list(&directory).unwrap_or_default();
        if names.len() < 2 {
            return;
        }
        self.seeded.shuffle(&mut names);
        let paths: Vec<PathBuf> = names.iter().take(2).map(|name| directory.join(name)).collect();
        self.disk.marker(DAMAGED);
        let removed = self.disk.remove_file(&paths[0]);
        match removed
            .and_then(|()| self.disk.sync_directory(&directory))
            .and_then(|()| self.flip_bits(&paths[1]))
        {
            // What could not be damaged is well.
            Ok(()) | Err(_) => {}
        }
    }

    fn flip_bits(&mut self, path: &Path) -> io::Result<()> {
        let file = self.disk.open(path, FileAccess::ReadWrite)?;
        let len = file.info()?.len_bytes;
        let mut start = FRAMES_BEGIN;
        while start < len {
            let offset = start + self.seeded.below(FLIPPED_IN.min(len - start));
            let mut byte = [0];
            file.read_exact_at(offset, &mut byte)?;
            byte[0] ^= 1 << self.seeded.below(8);
            file.write_all_at(offset, &byte)?;
            start += FLIPPED_IN;
        }
        file.sync_all()
    }

    /// Scrubs and repairs everything.
    pub fn scrub_and_repair(&mut self) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let scrubbed = archive.scrub(&()).map_err(|error| explained(&error));
        let repaired = archive.repair(&RepairOptions::default(), &());
        self.archive = Some(archive);
        let scrubbed = self.expect("scrub", scrubbed);
        let repaired = self.expect("repair", repaired.map_err(|error| explained(&error)));
        match (scrubbed, repaired) {
            (Some(_), Some(report)) if report.damage.is_empty() => self.disk.marker(REPAIRED),
            (Some(_), Some(report)) => self.is_surprised(format!("repair: {report:?}")),
            (None, _) | (_, None) => {}
        }
    }
}
