//! Whether a damaged archive keeps its promises: never other content than what was stored, or a word about the damage.

use std::{error::Error, path::Path};

use bfdb::{Access, Archive, OpenOptions, RecoveryReport, error::OpenError};

use super::{
    blow::Blow,
    hurt::Hurt,
    subject::{Kind, Subject},
};
use crate::{
    SimulatedStorage,
    crashes::{
        check::probe,
        oracle::{Allowed, Entry, Seen, Viewer},
        setting::{ROOT, explained, resources},
        view::{Unseen, try_see},
        violation::{Promise, Violation, guarded},
    },
    simulation::Condition,
};

/// What somebody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Everything, and all of it right.
    Right,
    /// That something is damaged.
    Refused,
}

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Somebody reads.
    Read,
    /// Somebody reads, somebody makes the catalog again, and somebody writes.
    Write,
}

/// What a damaged archive has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// To who opened it for reading.
    pub reader: Answer,
    /// To who opened it for writing.
    pub writer: Option<Answer>,
}

/// Why a check goes no further.
pub(super) enum Stop {
    /// The archive has said that it is damaged, as it may.
    Refused,
    Broken(Violation),
}

impl Stop {
    pub(super) fn broken((promise, who): (Promise, &str), error: &dyn Error) -> Self {
        Self::Broken(promise.broken(format!("{who}: {}", explained(error))))
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

/// Checks what somebody makes of a damaged disk.
///
/// # Errors
/// The first violation.
pub(super) fn check(
    subject: &Subject,
    (blows, damaged): (&[Blow], &SimulatedStorage),
    depth: Depth,
) -> Result<Answers, Violation> {
    let visit = Visit {
        subject,
        blows,
        damaged,
        hurt: Hurt::of(subject, blows, damaged),
        probe: probe(subject.seed),
    };
    guarded(|| {
        let (reader, seen) = visit.read()?;
        let writer = match depth {
            Depth::Read => None,
            Depth::Write => {
                visit.rebuild()?;
                Some(visit.write(seen)?)
            }
        };
        Ok(Answers { reader, writer })
    })
}

/// A damaged archive, and what is known of it.
pub(super) struct Visit<'a> {
    pub(super) subject: &'a Subject,
    pub(super) blows: &'a [Blow],
    pub(super) damaged: &'a SimulatedStorage,
    pub(super) hurt: Hurt,
    /// A file that a writer commits.
    pub(super) probe: Entry,
}

impl Visit<'_> {
    /// Opens for reading; returns which state that has shown, counted from the newest.
    fn read(&self) -> Result<(Answer, Option<usize>), Violation> {
        let disk = self.fork();
        // A disk that takes no writes proves that reading needs none; one that takes them, that it makes none.
        if self.subject.seed.is_multiple_of(2) {
            disk.set_condition(Condition::ReadOnly);
        }
        let outcome = match self.read_on(&disk) {
            Ok(age) => Ok((Answer::Right, Some(age))),
            Err(Stop::Refused) => Ok((Answer::Refused, None)),
            Err(Stop::Broken(violation)) => Err(violation),
        };
        for operation in disk.operations_since(0) {
            // A database that looks cut off is mended by whoever opens it.
            let may_be_mended = self.hurt.catalog || self.is_cut_off();
            if !operation.path().ends_with("catalog.redb") || !may_be_mended {
                let detail = format!("{:?} of {}", operation.kind(), operation.path().display());
                return Err(Promise::ReadingChangesNothing.broken(detail));
            }
        }
        no_wait(&disk)?;
        outcome
    }

    fn read_on(&self, disk: &SimulatedStorage) -> Result<usize, Stop> {
        let opened = open(disk, Access::Read);
        let (archive, report) = opened.map_err(|error| {
            if self.hurt.excuses_no_reader(&error) {
                Stop::Refused
            } else {
                Stop::broken((Promise::Opens, "reader"), &error)
            }
        })?;
        let seen = match try_see(&archive) {
            // What lay where an old catalog says may have been given back since.
            Err(Unseen::Refused(_)) if report.is_catalog_old && self.subject.is_compacted => {
                Err(Stop::Refused)
            }
            seen => seen.map_err(|unseen| self.unseen(unseen, "reader")),
        };
        self.close(archive, "reader")?;
        if report.is_catalog_damaged {
            return Err(if self.hurt.catalog {
                Stop::Refused
            } else {
                Promise::Content
                    .broken(format!("reader of a sound catalog: {report:?}"))
                    .into()
            });
        }
        let seen = seen?;
        if report.is_forked {
            return Err(Promise::Content.broken(format!("reader: {report:?}")).into());
        }
        let is_sound = !self.hurt.catalog && self.subject.kind != Kind::OldCatalog;
        if report.is_catalog_old && is_sound {
            return Err(Promise::Content
                .broken(format!("reader of the newest: {report:?}"))
                .into());
        }
        let age = self.age(&seen, "reader")?;
        // One publication behind is what a writer leaves that has died.
        let told = self.subject.newest + usize::from(self.is_cut_off() && self.hurt.catalog);
        if age >= told && !report.is_catalog_old {
            let detail = format!("reader: what was stored {age} publications ago, without a word");
            return Err(Promise::Content.broken(detail).into());
        }
        Ok(self.oldest_age(&seen))
    }

    pub(super) fn open_to_write(
        &self,
        disk: &SimulatedStorage,
        who: &str,
    ) -> Result<(Archive, RecoveryReport), Stop> {
        open(disk, Access::Write).map_err(|error| {
            if self.hurt.excuses_no_writer(&error) {
                Stop::Refused
            } else {
                Stop::broken((Promise::Opens, who), &error)
            }
        })
    }

    pub(super) fn see(&self, archive: &Archive, who: &str) -> Result<Seen, Stop> {
        try_see(archive).map_err(|unseen| self.unseen(unseen, who))
    }

    fn unseen(&self, unseen: Unseen, who: &str) -> Stop {
        match unseen {
            Unseen::Refused(error) => self.refused((Promise::Content, who), error.as_ref()),
            Unseen::Wrong(violation) => violation.into(),
        }
    }

    pub(super) fn close(&self, archive: Archive, who: &str) -> Result<(), Stop> {
        let closed = archive.close();
        closed.map_err(|error| self.refused((Promise::Writable, who), &error))
    }

    /// Returns how many publications old what was seen is.
    pub(super) fn age(&self, seen: &Seen, who: &str) -> Result<usize, Violation> {
        let states = self.subject.states.iter().rev();
        let mut refusals = states.map(|state| Allowed::exactly(state).judge(seen, Viewer::Writer));
        let newest = refusals
            .next()
            .unwrap_or_else(|| Err("nothing was ever stored".to_owned()));
        let Err(wrong) = newest else { return Ok(0) };
        let older = refusals.position(|judged| judged.is_ok());
        older
            .map(|older| older + 1)
            .ok_or_else(|| Promise::Content.broken(format!("{who}: {wrong}")))
    }

    /// Returns the same where a state came back later: counted from the first time.
    fn oldest_age(&self, seen: &Seen) -> usize {
        let mut states = self.subject.states.iter();
        let first = states.position(|state| Allowed::exactly(state).judge(seen, Viewer::Writer).is_ok());
        first.map_or(0, |first| self.subject.states.len() - 1 - first)
    }

    pub(super) fn refused(&self, what: (Promise, &str), error: &(dyn Error + 'static)) -> Stop {
        if self.hurt.excuses(error) {
            Stop::Refused
        } else {
            Stop::broken(what, error)
        }
    }

    /// Says whether nobody has closed the catalog.
    fn is_cut_off(&self) -> bool {
        matches!(
            self.subject.kind,
            Kind::Killed | Kind::InFlight | Kind::OldCatalog
        )
    }

    pub(super) fn fork(&self) -> SimulatedStorage {
        let disk = self.damaged.settled();
        disk.refuse_waits();
        disk
    }
}

pub(super) fn exactly(seen: &Seen, expected: &Seen, who: &str) -> Result<(), Violation> {
    let judged = Allowed::exactly(expected).judge(seen, Viewer::Writer);
    judged
        .map(drop)
        .map_err(|wrong| Promise::Content.broken(format!("{who}: {wrong}")))
}

pub(super) fn open(disk: &SimulatedStorage, access: Access) -> Result<(Archive, RecoveryReport), OpenError> {
    let options = OpenOptions {
        access,
        resources: resources(),
        volumes: Vec::new(),
    };
    Archive::open_on(&disk.machine(0x5EED_0008), Path::new(ROOT), &options)
}

/// Notices that somebody would have waited for ever.
pub(super) fn no_wait(disk: &SimulatedStorage) -> Result<(), Violation> {
    match disk.refused_waits() {
        0 => Ok(()),
        waits => Err(Promise::NoHang.broken(format!("{waits} waits for a lock that nobody gives back"))),
    }
}
