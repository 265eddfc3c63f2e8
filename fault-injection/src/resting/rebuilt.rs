//! Somebody makes the catalog of a damaged archive again: it knows what was stored, or nothing is made.

use std::path::Path;

use bfdb::{Access, Archive, OpenOptions};

use super::{
    hurt::Slot,
    verdict::{Visit, no_wait},
};
use crate::crashes::{
    setting::{ROOT, explained, resources},
    view::{Unseen, try_see},
    violation::{Promise, Violation},
};

impl Visit<'_> {
    /// Makes the catalog again, whatever it is; it has to come out where a slot and a copy of the journal are whole.
    pub(super) fn rebuild(&self) -> Result<(), Violation> {
        let wrong = |detail: String| Promise::Rebuilds.broken(detail);
        let disk = self.fork();
        let options = OpenOptions {
            access: Access::Write,
            resources: resources(),
            volumes: Vec::new(),
        };
        let made = Archive::rebuild_catalog(&disk.machine(0x5EED_000A), Path::new(ROOT), &options);
        no_wait(&disk)?;
        let (archive, report) = match made {
            Ok(made) => made,
            Err(_) if !self.must_come_out() => return Ok(()),
            Err(error) => return Err(wrong(explained(&error))),
        };
        let seen = try_see(&archive).map_err(|unseen| match unseen {
            Unseen::Refused(error) => wrong(explained(error.as_ref())),
            Unseen::Wrong(violation) => violation,
        })?;
        let age = self.age(&seen, "rebuilt")?;
        // What all copies have lost is lost, and named, unless a writer has died that may have announced it and no more.
        let recovery = &report.recovery;
        let is_told = recovery.lost_epoch.is_some() || recovery.dead_sessions > 0;
        let is_told = self.hurt.has_no_journal() && is_told;
        if age >= self.subject.newest && !is_told {
            return Err(wrong(format!(
                "what was stored {age} publications ago: {report:?}"
            )));
        }
        archive.close().map_err(|error| wrong(explained(&error)))
    }

    fn must_come_out(&self) -> bool {
        self.hurt.slots == [Slot::Same; 2] && !self.hurt.has_no_journal() && !self.hurt.is_mixed
    }
}
