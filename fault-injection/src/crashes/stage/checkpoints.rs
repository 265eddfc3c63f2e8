//! Checkpoints of the catalog.

use super::{Stage, explained};

impl Stage<'_> {
    /// Takes a checkpoint: nobody sees a difference.
    pub fn checkpoint(&mut self) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let taken = archive.checkpoint().map_err(|error| explained(&error));
        self.archive = Some(archive);
        self.expect("a checkpoint", taken);
    }
}
