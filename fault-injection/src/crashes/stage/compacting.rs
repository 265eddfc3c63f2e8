//! Giving room back.

use bfdb::archive::CompactOptions;

use super::Stage;
use crate::crashes::setting::explained;

impl Stage<'_> {
    /// Refuses to give back parts of files from now on.
    pub fn refuse_holes(&mut self) {
        self.disk.refuse_holes();
    }

    /// Gives back everything that is dead, and writes anew what lives beside a dead byte.
    pub fn compact(&mut self) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let options = CompactOptions {
            min_dead_percent: 0,
            min_dead_bytes: 1,
            ..CompactOptions::default()
        };
        let compacted = archive.compact(&options, &());
        self.archive = Some(archive);
        let compacted = compacted.map(drop).map_err(|error| explained(&error));
        self.expect("compact", compacted);
    }
}
