//! Somebody opens a damaged archive for writing, goes on with it, and opens it again.

use std::path::Path;

use bfdb::{Access, Archive, RecoveryReport, error::OpenError};

use super::{
    blow::Target,
    edit,
    hurt::{Loss, Slot},
    layout::{SLOT_BYTES, catalog, segments, slots},
    records::{find_lacking, records},
    subject::Kind,
    verdict::{Answer, Stop, Visit, exactly, no_wait, open},
};
use crate::{
    SimulatedStorage,
    crashes::{
        books::Books,
        check::{PROBE, try_commit_probe},
        oracle::{Entry, Seen},
        recount::{CatalogPast, find_leaks},
        setting::{ROOT, explained},
        view::{Unseen, try_see},
        violation::{Promise, Violation},
    },
};

impl Visit<'_> {
    /// Opens for writing and goes on with the archive; where it refuses, puts back what it was before the blows, and looks
    /// whether anything is lost.
    pub(super) fn write(&self, read: Option<usize>) -> Result<Answer, Violation> {
        let disk = self.fork();
        let mut stored = None;
        let outcome = self.write_on(&disk, read, &mut stored);
        no_wait(&disk)?;
        match outcome {
            Ok(()) => Ok(Answer::Right),
            Err(Stop::Broken(violation)) => Err(violation),
            Err(Stop::Refused) => {
                self.undone(&disk, stored.as_ref())?;
                Ok(Answer::Refused)
            }
        }
    }

    fn write_on(
        &self,
        disk: &SimulatedStorage,
        read: Option<usize>,
        stored: &mut Option<Entry>,
    ) -> Result<(), Stop> {
        let (archive, report) = self.open_to_write(disk, "writer")?;
        let mut seen = self.see(&archive, "writer")?;
        let age = self.age(&seen, "writer")?;
        let is_named = report.lost_epoch.is_some();
        let is_right = match (self.hurt.loss, age < self.subject.newest) {
            (None, is_newest) => is_newest && !is_named,
            (Some(_), true) => true,
            (Some(Loss::Named), false) => is_named,
            (Some(Loss::Unseen), false) => is_named || age == self.subject.newest,
        };
        if !is_right {
            let detail = format!("writer: what was stored {age} publications ago: {report:?}");
            return Err(Promise::Content.broken(detail).into());
        }
        if !self.hurt.catalog && read.is_some_and(|read| age > read) {
            return Err(Promise::Content
                .broken("a writer sees less than a reader did")
                .into());
        }
        self.mend(&archive)?;
        // From here on it may be there, whatever is answered.
        let committed = try_commit_probe(&archive, &self.probe);
        committed.map_err(|error| self.refused((Promise::Writable, "commit"), &error))?;
        *stored = Some(self.probe.clone());
        seen.insert(PROBE.to_owned(), self.probe.clone());
        exactly(&self.see(&archive, "committed")?, &seen, "committed")?;
        self.close(archive, "writer")?;
        self.settled(disk, &seen)
    }

    /// Gives back what waits, and lets the archive find and mend what it can.
    fn mend(&self, archive: &Archive) -> Result<(), Stop> {
        let listed = archive.unfinished();
        for commit in listed.map_err(|error| self.refused((Promise::Ends, "listed"), &error))? {
            let ended = archive.roll_back(commit.commit);
            ended.map_err(|error| self.refused((Promise::Ends, "rolled back"), &error))?;
        }
        let mended = archive.mend_journal();
        mended.map_err(|error| self.refused((Promise::Journal, "mended"), &error))?;
        let scrubbed = archive.scrub(&());
        let report = scrubbed.map_err(|error| self.refused((Promise::Whole, "scrub"), &error))?;
        if !report.damage.is_empty() {
            return Err(Promise::Whole.broken(format!("{:?}", report.damage)).into());
        }
        if !report.journal.is_empty() && !self.hurt.has_no_journal() {
            return Err(Promise::Journal
                .broken(format!("mended: {:?}", report.journal))
                .into());
        }
        Ok(())
    }

    /// Looks at an archive that was closed after everything went well.
    fn settled(&self, disk: &SimulatedStorage, seen: &Seen) -> Result<(), Stop> {
        let (again, report) = self.open_to_write(disk, "opened again")?;
        if report != RecoveryReport::default() {
            return Err(Promise::RecoversOnce.broken(format!("{report:?}")).into());
        }
        exactly(&self.see(&again, "opened again")?, seen, "opened again")?;
        self.close(again, "closed again")?;
        let unread = |error| Promise::Opens.broken(format!("catalog closed again: {error}"));
        let books = Books::read(disk, Path::new(ROOT)).map_err(unread)?;
        // What a catalog that was put back never heard of is left alone.
        if self.subject.kind != Kind::OldCatalog && !self.hurt.catalog {
            let leaks = find_leaks(disk, &books, CatalogPast::Newest).map_err(unread)?;
            if let Some(leak) = leaks.first() {
                return Err(Promise::NoLeak.broken(leak).into());
            }
        }
        let all = records(&self.subject.disk);
        if let Some(lacking) = find_lacking(&all, self.damaged, disk) {
            return Err(Promise::Journal.broken(lacking).into());
        }
        self.one_slot_is_enough(disk, seen)
    }

    /// A slot that was none any more was written anew: it serves alone.
    fn one_slot_is_enough(&self, disk: &SimulatedStorage, seen: &Seen) -> Result<(), Stop> {
        let other = match self.hurt.slots {
            [Slot::Invalid, Slot::Same] => SLOT_BYTES,
            [Slot::Same, Slot::Invalid] => 0,
            _ => return Ok(()),
        };
        let disk = disk.settled();
        let zeros = vec![0; 4096];
        let emptied = edit::overwrite(&disk, &slots(), (other, &zeros));
        emptied.map_err(|error| Promise::Whole.broken(explained(&error)))?;
        let (archive, _) = self.open_to_write(&disk, "with the mended slot alone")?;
        exactly(&self.see(&archive, "mended slot")?, seen, "mended slot")?;
        self.close(archive, "mended slot")
    }

    /// Puts back what was there before the blows: nobody has made it worse.
    fn undone(&self, disk: &SimulatedStorage, stored: Option<&Entry>) -> Result<(), Violation> {
        let disk = disk.settled();
        disk.refuse_waits();
        for path in self.blows.iter().flat_map(|blow| match &blow.target {
            Target::Catalog => vec![catalog()],
            Target::Slots(_) => vec![slots()],
            Target::Journal(copies) => {
                let all = copies.iter().flat_map(|copy| segments(&self.subject.disk, *copy));
                all.collect()
            }
        }) {
            let bytes = edit::contents(&self.subject.disk, &path).unwrap_or_default();
            let put_back = edit::replace(&disk, &path, &bytes);
            put_back.map_err(|error| Promise::Opens.broken(format!("put back: {}", explained(&error))))?;
        }
        let broken = |error: OpenError| Promise::Opens.broken(format!("put back: {}", explained(&error)));
        let (archive, report) = open(&disk, Access::Write).map_err(broken)?;
        let wrong = |detail: &str| Promise::Content.broken(format!("put back: {detail}, {report:?}"));
        let mut seen = match try_see(&archive) {
            Ok(seen) => seen,
            Err(Unseen::Refused(error)) => return Err(wrong(&explained(error.as_ref()))),
            Err(Unseen::Wrong(violation)) => return Err(violation),
        };
        let found = seen.remove(PROBE);
        if stored.is_some() && found.as_ref() != stored {
            return Err(wrong("what was stored on top is lost"));
        }
        if self
            .age(&seen, "put back")
            .is_ok_and(|age| age < self.subject.newest)
        {
            let closed = archive.close();
            closed.map_err(|error| wrong(&explained(&error)))
        } else {
            Err(wrong("not what was stored"))
        }
    }
}
