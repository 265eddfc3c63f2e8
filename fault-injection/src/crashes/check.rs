//! Whether an archive on a disk that was found keeps the contract of every outcome (docs/testing.md).
//!
//! Invariant: what a check does to its disks nobody else sees.

use std::{collections::BTreeSet, path::Path};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, OpenOptions, RecoveryReport,
    catalog::{ExtentRecord, ExtentState},
    error::{CommitError, OpenError},
    storage::Storage as _,
    units::{CommitId, Timestamp},
};

use super::{
    books::Books,
    chain::check_chain,
    image::{Half, Image},
    mending::mend,
    oracle::{Allowed, Entry, Existence, Harm, Kind, Seen, Viewer, content},
    rebuilding::check_rebuild,
    recount::{CatalogPast, find_leaks},
    scenario::Recovery,
    setting::{ROOT, explained, open_at, resources, small_policy},
    view::{inspect, see},
    violation::{Promise, Violation, guarded},
    waiting::{end_waiting, still_waits, waiting},
};
use crate::{
    SimulatedStorage,
    simulation::{Condition, OperationKind},
};

/// What a check has learned.
#[derive(Debug)]
pub struct Checked {
    /// What opening for writing did to the disk, and what may be seen after a crash in it.
    pub recovery: Option<Recovery>,
    /// What belongs to nobody.
    pub leaks: Vec<String>,
}

/// Checks an archive on copies of one disk.
///
/// # Errors
/// The first violation.
pub fn check(image: &Image, allowed: &Allowed, seed: u64) -> Result<Checked, Violation> {
    let place = Place {
        image,
        root: Path::new(ROOT),
        seed,
    };
    guarded(|| {
        let read = image.fork();
        let Some((allowed, waiting)) = read_only(place, &read, allowed)? else {
            return create_anew(place);
        };
        let disk = place.disk_for_writing(read);
        let (archive, report) = place.open_for_writing(&disk)?;
        let recovery = Recovery::until_now(&disk, Box::new(allowed.clone()));
        if report.unknown_extents > 0 && !allowed.may_be_old() {
            return Err(Promise::NoLeak.broken(format!("{report:?}")));
        }
        // What the journal brought forward may have been one of them.
        if report.records_rolled_forward == 0 {
            still_waits(&waiting, &archive)?;
        }
        let visit = Visit { place, disk: &disk };
        let leaks = visit.use_it(archive, &allowed)?;
        Ok(Checked {
            recovery: Some(recovery),
            leaks,
        })
    })
}

/// What is checked: an image, and where in it the archive lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) image: &'a Image,
    pub(super) root: &'a Path,
    pub(super) seed: u64,
}

/// What somebody saw who opened for reading.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) seen: Seen,
    pub(super) report: RecoveryReport,
    /// Commits that can go on.
    pub(super) waiting: BTreeSet<CommitId>,
}

impl Place<'_> {
    /// Opens for reading and reads everything; `None` when there is no archive.
    pub(super) fn show(&self, disk: &SimulatedStorage) -> Result<Option<Shown>, Violation> {
        // A disk that takes no writes proves that reading needs none; one that takes them, that it makes none.
        if self.image.is_of(Half::ReadOnly) {
            disk.set_condition(Condition::ReadOnly);
        }
        let options = OpenOptions {
            access: Access::Read,
            resources: resources(),
            volumes: Vec::new(),
        };
        let opened = Archive::open_on(&disk.machine(self.seed ^ 0x5EED_0002), self.root, &options);
        let (archive, report) = match opened {
            Ok(opened) => opened,
            Err(OpenError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Promise::Opens.broken(format!("for reading: {}", explained(&error)))),
        };
        if report.is_forked {
            return Err(Promise::Content.broken(format!("reader: {report:?}")));
        }
        let seen = see(&archive)?;
        let waiting = waiting(&archive)?;
        archive
            .close()
            .map_err(|error| Promise::Opens.broken(explained(&error)))?;
        for operation in disk.operations_since(0) {
            // A database that was cut off in the middle is mended by whoever opens it, where that is possible.
            if !operation.path().ends_with("catalog.redb") {
                let detail = format!("{:?} of {}", operation.kind(), operation.path().display());
                return Err(Promise::ReadingChangesNothing.broken(detail));
            }
        }
        no_wait(disk)?;
        Ok(Some(Shown {
            seen,
            report,
            waiting,
        }))
    }

    /// Returns the disk on which it is opened for writing: what a reader has left, or the image.
    pub(super) fn disk_for_writing(&self, read: SimulatedStorage) -> SimulatedStorage {
        if self.image.is_of(Half::WriterFollows) {
            read.set_condition(Condition::Well);
            read
        } else {
            self.image.fork()
        }
    }

    /// Lets the engine recover.
    pub(super) fn open_for_writing(
        &self,
        disk: &SimulatedStorage,
    ) -> Result<(Archive, RecoveryReport), Violation> {
        let machine = disk.machine(self.seed ^ 0x5EED_0001);
        open_at((&machine, self.root), Access::Write).map_err(|error| Promise::Opens.broken(error))
    }
}

/// Opens for reading and judges what is there; says what may be there from now on, and which commits can go on. `None` when
/// there is no archive and need not be.
fn read_only(
    place: Place<'_>,
    disk: &SimulatedStorage,
    allowed: &Allowed,
) -> Result<Option<(Allowed, BTreeSet<CommitId>)>, Violation> {
    let Some(shown) = place.show(disk)? else {
        return match allowed.existence {
            Existence::Certain => Err(Promise::Opens.broken("for reading: there is no archive")),
            Existence::Perhaps | Existence::Absent => Ok(None),
        };
    };
    let is_wrongly_old = shown.report.is_catalog_old && !allowed.may_be_old();
    if is_wrongly_old || shown.report.is_catalog_damaged {
        return Err(Promise::Content.broken(format!("reader: {:?}", shown.report)));
    }
    let wrong = |wrong| Promise::Content.broken(format!("reader: {wrong}"));
    if !shown.report.is_catalog_old && !has_session(disk, place.root) {
        // Whoever is not told of an old catalog has the newest. Behind a writer that has died it may be the one before.
        let newest = allowed.of_the_newest_catalog();
        newest.judge(&shown.seen, Viewer::Reader).map_err(wrong)?;
    }
    let narrowed = allowed.judge(&shown.seen, Viewer::Reader).map_err(wrong)?;
    Ok(Some((narrowed, shown.waiting)))
}

fn has_session(disk: &SimulatedStorage, root: &Path) -> bool {
    let listed = disk.list(&root.join("sessions"));
    listed.is_ok_and(|names| !names.is_empty())
}

/// Makes an archive where none came into being.
fn create_anew(place: Place<'_>) -> Result<Checked, Violation> {
    let disk = place.image.fork();
    let options = ArchiveOptions {
        policy: small_policy(),
        resources: resources(),
        volumes: Vec::new(),
    };
    let machine = disk.machine(place.seed ^ 0x5EED_0003);
    let archive = Archive::create_on(&machine, place.root, &options);
    let archive =
        archive.map_err(|error| Promise::Writable.broken(format!("created: {}", explained(&error))))?;
    let visit = Visit { place, disk: &disk };
    let leaks = visit.use_it(archive, &Allowed::nothing())?;
    // Nothing is acknowledged while it is being made.
    Ok(Checked {
        recovery: None,
        leaks,
    })
}

/// Somebody who has opened an archive for writing.
pub(super) struct Visit<'a> {
    pub(super) place: Place<'a>,
    pub(super) disk: &'a SimulatedStorage,
}

impl Visit<'_> {
    /// Judges what is there, goes on with it, closes it, and opens it again.
    pub(super) fn use_it(&self, archive: Archive, allowed: &Allowed) -> Result<Vec<String>, Violation> {
        let mut seen = see(&archive)?;
        let allowed = allowed
            .judge(&seen, Viewer::Writer)
            .map_err(|wrong| Promise::Content.broken(format!("writer: {wrong}")))?;
        if end_waiting(&archive, self.place.image, (&allowed, &seen))? {
            seen = see(&archive)?;
        }
        if allowed.harm == Harm::Perhaps {
            mend(&archive)?;
        }
        inspect(&archive, self.place.image)?;
        let probe = probe(self.place.seed);
        commit_probe(&archive, &probe)?;
        seen.insert(PROBE.to_owned(), probe);
        archive
            .close()
            .map_err(|error| Promise::Writable.broken(format!("closed: {}", explained(&error))))?;
        let unread = |error| Promise::Opens.broken(format!("closed catalog: {error}"));
        let mut books = Books::read(self.disk, self.place.root).map_err(unread)?;
        let is_abandoned = |extent: &ExtentRecord| extent.state == ExtentState::Abandoned;
        if books.extents.iter().any(is_abandoned) {
            // What stands behind its end is cut off by the next opening, and that is the end of it.
            self.open_and_close()?;
            books = Books::read(self.disk, self.place.root).map_err(unread)?;
        }
        if let Some(left) = books.extents.iter().find(|extent| is_abandoned(extent)) {
            return Err(Promise::NoLeak.broken(format!("the disk works, and nobody cuts it back: {left:?}")));
        }
        let past = if allowed.was_ever_old() {
            CatalogPast::OnceOld
        } else {
            CatalogPast::Newest
        };
        let mut leaks = find_leaks(self.disk, &books, past).map_err(unread)?;
        if allowed.harm != Harm::None {
            let is_gone = |leak: &String| leak.starts_with("there is no") && leak.contains("live_shards: 0");
            // That it was lost is no leak, when nothing lies there any more.
            let gone = leaks.iter().position(is_gone);
            gone.map(|gone| leaks.remove(gone));
        }
        check_chain(self.disk, &books)?;
        self.open_again(&seen, &books)?;
        if self.place.image.is_rebuilt() {
            let books = Books::read(self.disk, self.place.root).map_err(unread)?;
            check_rebuild(self.disk, (self.place.root, self.place.seed), (&seen, &books))?;
        }
        no_wait(self.disk)?;
        Ok(leaks)
    }

    fn open_and_close(&self) -> Result<(), Violation> {
        let machine = self.disk.machine(self.place.seed ^ 0x5EED_0007);
        let opened = open_at((&machine, self.place.root), Access::Write);
        let (archive, _) = opened.map_err(|error| Promise::Opens.broken(format!("to settle: {error}")))?;
        archive
            .close()
            .map_err(|error| Promise::Writable.broken(format!("closed: {}", explained(&error))))
    }

    fn open_again(&self, seen: &Seen, books: &Books) -> Result<(), Violation> {
        let before = self.disk.counts().mutating();
        let machine = self.disk.machine(self.place.seed ^ 0x5EED_0004);
        let again = open_at((&machine, self.place.root), Access::Write);
        let (again, report) = again.map_err(|error| Promise::Opens.broken(format!("again: {error}")))?;
        if report != RecoveryReport::default() {
            return Err(Promise::RecoversOnce.broken(format!("{report:?}")));
        }
        for operation in self.disk.operations_since(before) {
            if !is_bookkeeping(operation.kind(), operation.path()) {
                let detail = format!("{:?} of {}", operation.kind(), operation.path().display());
                return Err(Promise::RecoversOnce.broken(detail));
            }
        }
        let wrong = |wrong| Promise::Content.broken(format!("opened again: {wrong}"));
        let exactly = Allowed::exactly(seen);
        exactly.judge(&see(&again)?, Viewer::Writer).map_err(wrong)?;
        let unread = |error| Promise::Opens.broken(format!("catalog opened again: {error}"));
        if let Some(changed) = books.differs_from(&Books::read(self.disk, self.place.root).map_err(unread)?) {
            return Err(Promise::RecoversOnce.broken(changed));
        }
        again
            .close()
            .map_err(|error| Promise::Writable.broken(format!("closed again: {}", explained(&error))))
    }
}

/// Says what an open for writing does to a disk on which nothing waits: the database notes that it is open.
fn is_bookkeeping(kind: OperationKind, path: &Path) -> bool {
    let is_noted = matches!(
        kind,
        OperationKind::Write | OperationKind::SyncFile | OperationKind::SetLen
    );
    is_noted && path.ends_with("catalog.redb")
}

/// Notices that somebody would have waited for ever.
pub(super) fn no_wait(disk: &SimulatedStorage) -> Result<(), Violation> {
    match disk.refused_waits() {
        0 => Ok(()),
        waits => Err(Promise::NoHang.broken(format!(
            "{waits} waits in a check for a lock that nobody gives back"
        ))),
    }
}

/// The name that nobody but a check uses.
pub(crate) const PROBE: &str = "probe-of-the-check";

pub(crate) fn probe(seed: u64) -> Entry {
    Entry {
        kind: Kind::File(content(seed, PROBE, 1, 1800)),
        mode: 0o640,
        modified: (77, 0),
    }
}

fn commit_probe(archive: &Archive, probe: &Entry) -> Result<(), Violation> {
    try_commit_probe(archive, probe).map_err(|error| Promise::Writable.broken(explained(&error)))
}

/// Commits the file of the check.
pub(crate) fn try_commit_probe(archive: &Archive, probe: &Entry) -> Result<(), CommitError> {
    let Kind::File(bytes) = &probe.kind else {
        return Ok(());
    };
    let name = PROBE.parse().expect("a name");
    let options = CommitOptions {
        mode: probe.mode,
        modified_at: Timestamp::new(probe.modified.0, probe.modified.1),
        ..CommitOptions::default()
    };
    let len = u64::try_from(bytes.len()).expect("a short file");
    archive.commit(&name, &bytes[..], len, &options).map(drop)
}
