//! Whether an archive with damaged extents keeps its promises: never a wrong byte, every byte that can be had, and exactly what
//! is damaged and lost in every report.

use std::{collections::BTreeMap, ops::Range, path::Path, sync::Arc};

use bfdb::{Access, Archive, FileReader, OpenOptions, RecoveryReport, Snapshot, error::ReadError};

use super::{
    chart::Chart,
    frame::{bytes, span},
    harm::Damaged,
    oracle::Expected,
    repairing,
    subject::Subject,
};
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        setting::{ROOT, explained, resources},
        violation::{Promise, Violation, guarded},
    },
    simulation::Condition,
};

/// Ranges of each file that are read beside the whole.
const RANGES: u64 = 2;

/// In one of so many archives those files are read too that have no damage.
const ALL_FILES_ONE_IN: u64 = 4;

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Somebody reads.
    Read,
    /// Somebody reads, and somebody writes.
    Write,
    /// Somebody reads, and somebody repairs.
    Repair,
    /// All of it.
    All,
}

impl Depth {
    pub(super) const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::All)
    }

    pub(super) const fn repairs(self) -> bool {
        matches!(self, Self::Repair | Self::All)
    }
}

/// Checks what somebody makes of an archive with damage: who reads, who writes on what the reader has left, and who repairs it.
///
/// A step takes a disk and opens the archive there; [`Visit::judge`] compares all that it tells with a [`Truth`], which
/// follows from the rows of the catalog at that moment and the bytes of the extents (`oracle`).
///
/// # Errors
/// The first violation.
pub(super) fn check(
    subject: &Subject,
    (damaged, expected): (&Damaged, &Expected),
    depth: Depth,
) -> Result<(), Violation> {
    let visit = Visit { subject, damaged };
    guarded(|| {
        let read = visit.read(expected)?;
        if depth.writes() {
            visit.write(&read, expected)?;
        }
        if depth.repairs() {
            visit.repair(&read, expected)?;
        }
        Ok(())
    })
}

/// A damaged archive.
pub(super) struct Visit<'a> {
    pub(super) subject: &'a Subject,
    pub(super) damaged: &'a Damaged,
}

/// What an archive holds at some moment, and what has to be told of it then.
pub(super) struct Truth<'a> {
    pub(super) chart: &'a Chart,
    pub(super) contents: BTreeMap<&'a str, &'a [u8]>,
    pub(super) expected: &'a Expected,
}

impl Visit<'_> {
    /// Opens for reading, on a disk that takes no writes or on one that does: nothing is written.
    fn read(&self, expected: &Expected) -> Result<SimulatedStorage, Violation> {
        let disk = self.damaged.fork();
        if self.subject.seed.is_multiple_of(2) {
            disk.set_condition(Condition::ReadOnly);
        }
        let archive = open(&disk, Access::Read)?;
        let truth = Truth {
            chart: &self.subject.chart,
            contents: self.subject.contents(),
            expected,
        };
        self.judge(&archive, &truth)?;
        repairing::nothing_is_known(&archive)?;
        close(archive)?;
        // A scrub has the database verify itself, which notes that it is open, and that it is not; nothing else is written.
        for operation in disk.operations_since(0) {
            if !operation.path().ends_with("catalog.redb") {
                let detail = format!("{:?} of {}", operation.kind(), operation.path().display());
                return Err(Promise::ReadingChangesNothing.broken(detail));
            }
        }
        no_wait(&disk)?;
        Ok(disk)
    }

    /// Reads files, and compares what is told of all frames with what has to be.
    pub(super) fn judge(&self, archive: &Archive, truth: &Truth<'_>) -> Result<(), Violation> {
        let refused = |error: &dyn std::error::Error| Promise::Content.broken(explained(error));
        let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
        let mut seeded = Seeded::new(self.subject.seed ^ self.damaged.number());
        let reads_all = seeded.below(ALL_FILES_ONE_IN) == 0;
        for (name, content) in &truth.contents {
            let is_damaged = truth.expected.damage.contains_key(&((*name).to_owned(), false));
            if !is_damaged && !reads_all {
                continue;
            }
            let lost = truth.expected.lost.get(*name).map_or(&[][..], Vec::as_slice);
            let file = File { name, content, lost };
            file.read_on(&snapshot)?;
            file.read_around(&snapshot, &mut seeded)?;
        }
        truth.verify(&snapshot)?;
        truth.scrub(archive)
    }
}

/// A stored file, and the leaves of it that are lost.
struct File<'a> {
    name: &'a str,
    content: &'a [u8],
    lost: &'a [Range<u64>],
}

impl File<'_> {
    fn open(&self, snapshot: &Snapshot) -> Result<FileReader, Violation> {
        let name = self.name.parse().expect("names of workloads are names");
        let opened = snapshot.open_file(&name, Arc::new(()));
        opened.map_err(|error| self.broken(&explained(&error)))
    }

    fn broken(&self, what: &str) -> Violation {
        Promise::Content.broken(format!("{}: {what}", self.name))
    }

    /// Reads from the start on: all that comes before what is lost.
    fn read_on(&self, snapshot: &Snapshot) -> Result<(), Violation> {
        let mut reader = self.open(snapshot)?;
        let mut read = Vec::new();
        let mut piece = vec![0; 3000];
        let end = loop {
            match reader.read_next(&mut piece) {
                Ok(0) => break None,
                Ok(count) => read.extend_from_slice(&piece[..count]),
                Err(error) => break Some(error),
            }
            if read.len() > self.content.len() {
                return Err(self.broken("more is read than was stored"));
            }
        };
        let wanted = 0..bytes(self.content.len());
        self.judge(&wanted, end.map_or(Ok(()), Err))?;
        let good = self.lost.first().map_or(wanted.end, |lost| lost.start);
        let is_right = read == self.content[span(&(0..good))];
        is_right
            .then_some(())
            .ok_or_else(|| self.broken("read from its start on, the bytes are not those that were stored"))
    }

    /// Reads the lost leaves, what lies between them, and some other ranges.
    fn read_around(&self, snapshot: &Snapshot, seeded: &mut Seeded) -> Result<(), Violation> {
        let reader = self.open(snapshot)?;
        let len = bytes(self.content.len());
        let mut wanted = self.lost.to_vec();
        let mut at = 0;
        for lost in self.lost {
            wanted.push(at..lost.start);
            at = lost.end;
        }
        if at > 0 {
            wanted.push(at..len);
        }
        for _ in 0..RANGES {
            let start = seeded.below(len.max(1));
            wanted.push(start..start + seeded.below(4000).min(len.saturating_sub(start)));
        }
        for range in wanted.iter().filter(|range| !range.is_empty()) {
            let mut into = vec![0; span(range).len()];
            let read = reader.read_at(range.start, &mut into);
            let is_short = read.as_ref().is_ok_and(|count| *count != into.len());
            let is_right = into == self.content[span(range)];
            let is_read = read.is_ok();
            self.judge(range, read.map(drop))?;
            if is_read && (is_short || !is_right) {
                return Err(self.broken(&format!("the bytes of {range:?} are not those that were stored")));
            }
        }
        Ok(())
    }

    /// Judges the answer to who wanted a range.
    fn judge(&self, wanted: &Range<u64>, answer: Result<(), ReadError>) -> Result<(), Violation> {
        let first = self
            .lost
            .iter()
            .find(|lost| lost.start < wanted.end && wanted.start < lost.end);
        let told = match answer {
            Ok(()) => None,
            Err(ReadError::Lost { name, range, .. }) if name.to_string() == self.name => Some(range),
            Err(error) => return Err(self.broken(&format!("{wanted:?}: {}", explained(&error)))),
        };
        match (first, told) {
            (None, None) => Ok(()),
            (Some(lost), Some(told)) => {
                let expected = lost.start.max(wanted.start)..lost.end.min(wanted.end);
                let found = told.start()..told.end();
                (found == expected)
                    .then_some(())
                    .ok_or_else(|| self.broken(&format!("{expected:?} is lost and {found:?} is told")))
            }
            (Some(lost), None) => Err(self.broken(&format!("{lost:?} is lost and nothing is told"))),
            (None, Some(told)) => Err(self.broken(&format!("nothing of {wanted:?} is lost, {told} is told"))),
        }
    }
}

/// Opens the archive; nothing is to be recovered there.
pub(super) fn open(disk: &SimulatedStorage, access: Access) -> Result<Archive, Violation> {
    let options = OpenOptions {
        access,
        resources: resources(),
        volumes: Vec::new(),
    };
    let opened = Archive::open_on(&disk.machine(0x5EED_000A), Path::new(ROOT), &options);
    let (archive, report) =
        opened.map_err(|error| Promise::Opens.broken(format!("{access:?}: {}", explained(&error))))?;
    if report == RecoveryReport::default() {
        Ok(archive)
    } else {
        Err(Promise::RecoversOnce.broken(format!("{access:?}: {report:?}")))
    }
}

pub(super) fn close(archive: Archive) -> Result<(), Violation> {
    let closed = archive.close();
    closed.map_err(|error| Promise::Writable.broken(format!("closed: {}", explained(&error))))
}

/// Notices that somebody would have waited for ever.
pub(super) fn no_wait(disk: &SimulatedStorage) -> Result<(), Violation> {
    match disk.refused_waits() {
        0 => Ok(()),
        waits => Err(Promise::NoHang.broken(format!("{waits} waits for a lock that nobody gives back"))),
    }
}
