//! Whether an archive on a disk that was found keeps the contract of every outcome (docs/testing.md).
//!
//! Invariant: every check begins with a disk of its own; what one does to it no other sees.

use std::{
    any::Any,
    fmt,
    io::Read as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, EntryKind, FileInfo, OpenOptions, RecoveryReport, Tier,
    catalog::Totals, error::OpenError, units::Timestamp,
};

use super::{
    leaks::find_leaks,
    oracle::{Allowed, Entry, Existence, Kind, Seen, content},
    setting::{ROOT, explained, open_on, resources, small_policy},
};
use crate::{
    SimulatedStorage,
    simulation::{Condition, OperationKind, Timeline},
};

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub promise: Promise,
    /// How.
    pub detail: String,
}

/// What an archive promises of every outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// It opens after every crash.
    Opens,
    /// Opening for reading changes nothing.
    ReadingChangesNothing,
    /// What is seen is allowed: right bytes, acknowledged effects, nothing by halves (O1, O2, O4).
    Content,
    /// Every shard is whole.
    Whole,
    /// Every byte has one owner (O5).
    NoLeak,
    /// No panic (O6).
    NoPanic,
    /// What was recovered needs no recovery (O7).
    RecoversOnce,
    /// Nobody waits for ever (O6).
    NoHang,
    /// Sums equal a recount (O8).
    Totals,
    /// The archive takes new files.
    Writable,
    /// A workload without faults gets the answers that it should.
    Answers,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.promise, self.detail)
    }
}

impl Promise {
    /// Makes the violation of it.
    pub fn broken(self, detail: impl fmt::Display) -> Violation {
        Violation {
            promise: self,
            detail: detail.to_string(),
        }
    }
}

/// What a check has learned.
#[derive(Debug)]
pub struct Checked {
    /// What opening for writing did to the disk, to be crashed.
    pub recovery: Timeline,
    /// What may be seen after a crash in it.
    pub allowed: Allowed,
    /// What belongs to nobody.
    pub leaks: Vec<String>,
}

/// Checks an archive on copies of one disk.
///
/// # Errors
/// The first violation.
pub fn check(
    image: &dyn Fn() -> SimulatedStorage,
    allowed: &Allowed,
    seed: u64,
) -> Result<Checked, Violation> {
    guarded(|| {
        let Some(seen_by_reader) = read_only(&image(), allowed, seed)? else {
            return create_anew(&image(), seed);
        };
        let allowed = seen_by_reader;
        let disk = image();
        let machine = disk.machine(seed ^ 0x5EED_0001);
        let opened = open_on(&machine, Access::Write);
        let (archive, _) = opened.map_err(|error| Promise::Opens.broken(error))?;
        let recovery = disk.timeline();
        let leaks = use_it(archive, &disk, (&allowed, seed))?;
        Ok(Checked {
            recovery,
            allowed,
            leaks,
        })
    })
}

/// Runs something whose panic is a violation.
///
/// # Errors
/// What it returns, or its panic.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    let message = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "without words".to_owned())
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Promise::NoPanic.broken(message(panic))))
}

/// Opens for reading and judges what is there; `None` when there is no archive and need not be.
fn read_only(disk: &SimulatedStorage, allowed: &Allowed, seed: u64) -> Result<Option<Allowed>, Violation> {
    // A disk that takes no writes proves that reading needs none; one that takes them, that it makes none.
    let takes_writes = disk.fingerprint() & 1 == 0;
    if !takes_writes {
        disk.set_condition(Condition::ReadOnly);
    }
    let options = OpenOptions {
        access: Access::Read,
        resources: resources(),
    };
    let opened = Archive::open_on(&disk.machine(seed ^ 0x5EED_0002), Path::new(ROOT), &options);
    let archive = match opened {
        Ok((archive, _)) => archive,
        Err(OpenError::NotFound { .. }) if allowed.existence != Existence::Certain => return Ok(None),
        Err(error) => return Err(Promise::Opens.broken(format!("for reading: {}", explained(&error)))),
    };
    let seen = see(&archive)?;
    let narrowed = allowed
        .judge(&seen)
        .map_err(|wrong| Promise::Content.broken(format!("reader: {wrong}")))?;
    archive
        .close()
        .map_err(|error| Promise::Opens.broken(explained(&error)))?;
    for operation in disk.timeline().operations() {
        // A database that was cut off in the middle is mended by whoever opens it, where that is possible.
        if !operation.path().ends_with("catalog.redb") {
            let detail = format!("{:?} of {}", operation.kind(), operation.path().display());
            return Err(Promise::ReadingChangesNothing.broken(detail));
        }
    }
    Ok(Some(narrowed))
}

/// Makes an archive where none came into being.
fn create_anew(disk: &SimulatedStorage, seed: u64) -> Result<Checked, Violation> {
    let options = ArchiveOptions {
        policy: small_policy(),
        resources: resources(),
    };
    let machine = disk.machine(seed ^ 0x5EED_0003);
    let archive = Archive::create_on(&machine, Path::new(ROOT), &options);
    let archive =
        archive.map_err(|error| Promise::Writable.broken(format!("created: {}", explained(&error))))?;
    let allowed = Allowed::nothing();
    let leaks = use_it(archive, disk, (&allowed, seed))?;
    // Nothing is acknowledged while it is being made.
    Ok(Checked {
        recovery: SimulatedStorage::new().timeline(),
        allowed,
        leaks,
    })
}

/// Judges an archive that is open for writing, goes on with it, closes it, and opens it again.
fn use_it(
    archive: Archive,
    disk: &SimulatedStorage,
    (allowed, seed): (&Allowed, u64),
) -> Result<Vec<String>, Violation> {
    let mut seen = see(&archive)?;
    allowed
        .judge(&seen)
        .map_err(|wrong| Promise::Content.broken(format!("writer: {wrong}")))?;
    inspect(&archive)?;
    let probe = probe(seed);
    commit_probe(&archive, &probe)?;
    seen.insert(PROBE.to_owned(), probe);
    archive
        .close()
        .map_err(|error| Promise::Writable.broken(format!("closed: {}", explained(&error))))?;
    let leaks =
        find_leaks(disk).map_err(|error| Promise::Opens.broken(format!("closed catalog: {error}")))?;
    let before = disk.counts().mutating();
    let again = open_on(&disk.machine(seed ^ 0x5EED_0004), Access::Write);
    let (again, report) = again.map_err(|error| Promise::Opens.broken(format!("again: {error}")))?;
    // What waits, waits until somebody ends it.
    let waiting = RecoveryReport {
        commits_waiting: report.commits_waiting,
        ..RecoveryReport::default()
    };
    if report != waiting {
        return Err(Promise::RecoversOnce.broken(format!("{report:?}")));
    }
    let timeline = disk.timeline();
    let work = timeline
        .operations()
        .iter()
        .filter(|operation| operation.number() > before);
    if let Some(operation) = work
        .clone()
        .find(|operation| !is_bookkeeping(operation.kind(), operation.path()))
    {
        let detail = format!("{:?} of {}", operation.kind(), operation.path().display());
        return Err(Promise::RecoversOnce.broken(detail));
    }
    let settled = Allowed::exactly(&seen);
    let wrong = |wrong| Promise::Content.broken(format!("opened again: {wrong}"));
    settled.judge(&see(&again)?).map_err(wrong)?;
    again
        .close()
        .map_err(|error| Promise::Writable.broken(format!("closed again: {}", explained(&error))))?;
    Ok(leaks)
}

/// What an open for writing does to a disk on which nothing waits: the database notes that it is open.
fn is_bookkeeping(kind: OperationKind, path: &Path) -> bool {
    let is_noted = matches!(
        kind,
        OperationKind::Write | OperationKind::SyncFile | OperationKind::SetLen
    );
    is_noted && path.ends_with("catalog.redb")
}

/// The name that nobody but the check uses.
const PROBE: &str = "probe-of-the-check";

fn probe(seed: u64) -> Entry {
    Entry {
        kind: Kind::File(content(seed, PROBE, 1, 1800)),
        mode: 0o640,
        modified: (77, 0),
    }
}

fn commit_probe(archive: &Archive, probe: &Entry) -> Result<(), Violation> {
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
    let done = archive.commit(&name, &bytes[..], len, &options);
    done.map(drop)
        .map_err(|error| Promise::Writable.broken(explained(&error)))
}

/// Reads everything: names, kinds, every byte.
fn see(archive: &Archive) -> Result<Seen, Violation> {
    let refused = |error: &dyn std::error::Error| Promise::Content.broken(explained(error));
    let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
    let mut seen = Seen::new();
    let mut counted = Totals::default();
    for info in snapshot.files(None) {
        let info = info.map_err(|error| refused(&error))?;
        count(&mut counted, &info);
        let kind = match &info.kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::SymbolicLink { target } => Kind::Link(target.to_vec().into()),
            EntryKind::File => {
                let mut bytes = Vec::new();
                let reader = snapshot.open_file(&info.name, Arc::new(()));
                let mut reader = reader.map_err(|error| refused(&error))?;
                let read = reader.read_to_end(&mut bytes);
                read.map_err(|error| {
                    Promise::Content.broken(format!("{}: {}", info.name, explained(&error)))
                })?;
                Kind::File(bytes.into())
            }
        };
        let modified = (info.modified_at.seconds(), info.modified_at.nanoseconds());
        let entry = Entry {
            kind,
            mode: info.mode,
            modified,
        };
        seen.insert(info.name.to_string(), entry);
    }
    let totals = snapshot.totals().map_err(|error| refused(&error))?;
    // Blocks are counted by the scrub.
    counted.blocks = totals.blocks;
    if totals == counted {
        Ok(seen)
    } else {
        Err(Promise::Totals.broken(format!("{totals:?}, counted {counted:?}")))
    }
}

fn count(totals: &mut Totals, info: &FileInfo) {
    match info.kind {
        EntryKind::Directory => totals.directories += 1,
        EntryKind::SymbolicLink { .. } => totals.symbolic_links += 1,
        EntryKind::File => {
            totals.files += 1;
            totals.bytes += info.len_bytes;
            totals.stored_bytes += info.stored_bytes;
            let tier = match info.tier {
                Tier::Tiny => 0,
                Tier::Segmented => 1,
                Tier::Blocked => 2,
            };
            totals.tiers[tier].files += 1;
            totals.tiers[tier].bytes += info.len_bytes;
        }
    }
}

/// Verifies every shard, in disk order and by names.
fn inspect(archive: &Archive) -> Result<(), Violation> {
    let refused = |error: &dyn std::error::Error| Promise::Whole.broken(explained(error));
    let scrub = archive.scrub(&()).map_err(|error| refused(&error))?;
    let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
    let verified = snapshot.verify(None, &()).map_err(|error| refused(&error))?;
    let totals = snapshot.totals().map_err(|error| refused(&error))?;
    for (what, report) in [("scrub", &scrub), ("verify", &verified)] {
        if !report.damage.is_empty() {
            return Err(Promise::Whole.broken(format!("{what}: {:?}", report.damage)));
        }
        // A scrub reads the descriptors too.
        let is_right = match what {
            "scrub" => report.blocks >= totals.blocks,
            _ => report.blocks == totals.blocks,
        };
        if !is_right {
            let detail = format!("{} blocks, {what} read {}", totals.blocks, report.blocks);
            return Err(Promise::Totals.broken(detail));
        }
    }
    Ok(())
}
