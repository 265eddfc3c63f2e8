//! The journal alone: whatever a crash leaves, every record that was acknowledged is there, and nothing that was not appended.
//!
//! The catalog is a value here, what it remembers of the journal: it takes a new one at a moment, or stays behind.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    error::{AppendError, JournalError},
    journal::{CopyPlace, Journal, JournalFault, JournalState, Tail},
    storage::Storage as _,
    units::{ArchiveId, Epoch, VolumeId},
};

use super::Moments;
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        image::Image,
        oracle::content,
        scenario::{Ground, Level, Record, Recovery, Scenario, State, Verdict},
        setting::explained,
        sources::Sources,
        violation::{Promise, Violation, guarded},
    },
    simulation::{AfterDrop, Fault, FaultRule, OperationKind},
};

/// Records appended at random on one to four copies, with a catalog that follows or stays behind, processes that begin anew,
/// copies that fail, are lost and are healed.
pub(super) struct JournalAlone;

const STEPS: usize = 30;

/// The bytes of a record.
type Body = Arc<[u8]>;

/// What holds of a journal.
#[derive(Debug, Clone, Hash, Default)]
struct Held {
    copies: u8,
    /// What the catalog remembers, as bytes; none before the journal was made.
    catalog: Option<Vec<u8>>,
    /// What was acknowledged, from epoch 1 on.
    bodies: Vec<Body>,
    /// What is being appended, or was with an unknown end.
    doubt: Option<Body>,
}

impl Scenario for JournalAlone {
    fn name(&self) -> &'static str {
        "below-journal"
    }

    fn level(&self) -> Level {
        Level::Below
    }

    fn play(&self, ground: &Ground, _: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let mut seeded = Seeded::new(seed);
        let held = Held {
            copies: 1 + u8::try_from(seeded.below(4)).expect("few copies"),
            ..Held::default()
        };
        let mut player = Player {
            disk: ground.disk.clone(),
            moments: Moments::new(&ground.disk, held.clone()),
            journal: journal(&ground.disk, held.copies),
            held,
            seeded,
            seed,
        };
        if let Ok(state) = player.journal.create() {
            player.held.catalog = Some(state.encode());
            player.note();
            for _ in 0..STEPS {
                // What fails is begun anew by a process that trusts nothing.
                if player.step().is_err() {
                    player.journal = journal(&player.disk, player.held.copies);
                }
            }
        }
        Ok(Box::new(player.moments))
    }
}

fn directory(copy: u8) -> PathBuf {
    PathBuf::from(format!("/journal/c{copy}"))
}

fn journal(disk: &SimulatedStorage, copies: u8) -> Journal {
    let place = |copy| CopyPlace {
        volume: 0,
        volume_id: VolumeId::from_bytes([5; 16]),
        copy,
        directory: directory(copy),
    };
    let places = (0..copies).map(place).collect();
    Journal::new(Arc::new(disk.clone()), ArchiveId::from_bytes([4; 16]), places)
}

struct Player {
    disk: SimulatedStorage,
    moments: Moments<Held>,
    journal: Journal,
    held: Held,
    seeded: Seeded,
    seed: u64,
}

impl Player {
    fn note(&mut self) {
        self.moments.note(&self.held);
    }

    fn step(&mut self) -> Result<(), JournalError> {
        match self.seeded.below(10) {
            0 | 1 => {
                self.journal = journal(&self.disk, self.held.copies);
                Ok(())
            }
            2 => self.spoil(),
            3 if self.held.copies > 1 => self.lose_segment(),
            4 => self.heal().map(drop),
            _ => self.publish(),
        }
    }

    /// Lets the next write or sync of one copy fail.
    fn spoil(&mut self) -> Result<(), JournalError> {
        let copy = u8::try_from(self.seeded.below(u64::from(self.held.copies))).expect("few copies");
        let view = [AfterDrop::AtOnce, AfterDrop::UntilForgotten][self.seeded.index(2)];
        let (kind, fault) = [
            (OperationKind::SyncFile, Fault::SyncDropsBytes { view }),
            (OperationKind::SyncFile, Fault::Io),
            (OperationKind::Write, Fault::Partial { len_bytes: 600 }),
        ][self.seeded.index(3)];
        let is_meant = move |path: &Path| path.starts_with(directory(copy));
        self.disk
            .add_rule(FaultRule::first_of(kind, fault).on_paths(is_meant));
        self.publish()
    }

    /// Loses the newest segment of one copy while all are whole.
    fn lose_segment(&mut self) -> Result<(), JournalError> {
        let state = self.heal()?;
        if state.copies.len() < usize::from(self.held.copies) {
            return Ok(());
        }
        let lost = directory(state.copies[self.seeded.index(state.copies.len())].copy);
        let newest = self.disk.list(&lost).ok().and_then(|names| names.last().cloned());
        let removed = newest.map_or(Ok(()), |name| self.disk.remove_file(&lost.join(name)));
        match removed.and_then(|()| self.disk.sync_directory(&lost)) {
            Ok(()) | Err(_) => {}
        }
        self.journal = journal(&self.disk, self.held.copies);
        Ok(())
    }

    /// Brings the catalog up and makes every copy whole.
    fn heal(&mut self) -> Result<JournalState, JournalError> {
        let state = self.catch_up()?;
        let state = self.journal.heal(&self.journal.scan()?, &state)?;
        self.commit(&state);
        Ok(state)
    }

    fn publish(&mut self) -> Result<(), JournalError> {
        let state = self.catch_up()?;
        let len = 1 + self.seeded.index(3000);
        let body = content(self.seed, "record", self.seeded.next_u64(), len);
        let state = self.journal.prepare(&state, body.len())?;
        self.held.doubt = Some(Arc::clone(&body));
        self.note();
        match self.journal.append(&state, &body) {
            Ok(state) => {
                self.held.bodies.push(body);
                self.held.doubt = None;
                self.note();
                if self.seeded.below(4) > 0 {
                    self.commit(&state);
                }
                Ok(())
            }
            Err(AppendError::NothingWritten { source }) => {
                self.held.doubt = None;
                self.note();
                Err(source)
            }
            Err(_) => Err(JournalError::NoCopy),
        }
    }

    /// Settles what is ahead of the catalog, as each publication does first.
    fn catch_up(&mut self) -> Result<JournalState, JournalError> {
        let catalog = self.held.state().ok_or(JournalError::NoCopy)?;
        let tail = self.journal.tail(&catalog)?;
        let is_more = tail.ahead.len() > self.held.ahead();
        self.held
            .bodies
            .extend(self.held.doubt.take().filter(|_| is_more));
        let state = settle(&self.journal, &catalog, &tail)?;
        self.commit(&state);
        Ok(state)
    }

    fn commit(&mut self, state: &JournalState) {
        self.held.catalog = Some(state.encode());
        self.note();
    }
}

/// Writes the last record that is ahead once more, and makes copies whole where something is wrong; returns the state that the
/// catalog may remember then.
fn settle(journal: &Journal, catalog: &JournalState, tail: &Tail) -> Result<JournalState, JournalError> {
    let mut state = tail.state.clone();
    if state.copies.is_empty() {
        state.copies = journal.heal(&journal.scan()?, catalog)?.copies;
    }
    if let Some((last, before)) = tail.ahead.split_last() {
        if let Some(before) = before.last() {
            (state.epoch, state.hash) = (before.head.epoch, before.head.hash);
        }
        let record = journal.load(last)?;
        state = journal.prepare(&state, record.body.len())?;
        state = match journal.restate(&state, &record) {
            Ok(state) => state,
            Err(AppendError::NothingWritten { source } | AppendError::OutcomeUnknown { source, .. }) => {
                return Err(source);
            }
            Err(_) => return Err(JournalError::NoCopy),
        };
    }
    if tail.findings.is_empty() {
        Ok(state)
    } else {
        journal.heal(&journal.scan()?, &state)
    }
}

impl Held {
    fn state(&self) -> Option<JournalState> {
        JournalState::parse(self.catalog.as_ref()?).ok()
    }

    /// Returns how many acknowledged records the catalog has not heard of.
    fn ahead(&self) -> usize {
        let known = self.state().map_or(0, |state| state.epoch.get());
        self.bodies.len() - usize::try_from(known).expect("few records")
    }

    /// Judges what is ahead of the catalog; returns what holds from then on.
    fn judge(&self, journal: &Journal, tail: &Tail) -> Result<Self, Violation> {
        let wrong = |detail: String| Err(Promise::Content.broken(detail));
        let is_cut_off = |fault: &JournalFault| matches!(fault, JournalFault::Unconnected { .. });
        if let Some(finding) = tail.findings.iter().find(|finding| is_cut_off(&finding.fault)) {
            return wrong(format!("{finding:?}"));
        }
        let known = self.bodies.len() - self.ahead();
        let mut expected: Vec<&Body> = self.bodies[known..].iter().chain(&self.doubt).collect();
        if tail.ahead.len() < self.ahead() || tail.ahead.len() > expected.len() {
            return wrong(format!(
                "{} records are ahead, {} to {} are right",
                tail.ahead.len(),
                self.ahead(),
                expected.len()
            ));
        }
        expected.truncate(tail.ahead.len());
        for ((entry, body), epoch) in tail.ahead.iter().zip(&expected).zip(known + 1..) {
            let record = journal.load(entry);
            let record = record.map_err(|error| Promise::Content.broken(explained(&error)))?;
            if usize::try_from(record.epoch.get()) != Ok(epoch) || record.body[..] != body[..] {
                return wrong(format!(
                    "the record of epoch {epoch} is another: {:?}",
                    record.epoch
                ));
            }
        }
        let mut found = self.clone();
        found.bodies.truncate(known);
        found.bodies.extend(expected.into_iter().cloned());
        found.doubt = None;
        Ok(found)
    }

    /// Expects a journal that is whole up to its last record.
    fn is_whole(&self, journal: &Journal, state: &JournalState) -> Result<(), Violation> {
        let wrong = |detail: String| Err(Promise::Journal.broken(detail));
        let fails = |error: JournalError| Promise::Journal.broken(explained(&error));
        let tail = journal.tail(state).map_err(fails)?;
        if !tail.ahead.is_empty() || !tail.findings.is_empty() {
            return wrong(format!("settled, and opened again: {tail:?}"));
        }
        let scan = journal.scan().map_err(fails)?;
        if !scan.forks.is_empty() || !scan.older.is_empty() {
            return wrong(format!("settled, and scanned: {scan:?}"));
        }
        if scan.chain().len() != self.bodies.len() {
            return wrong(format!("{} of {} records", scan.chain().len(), self.bodies.len()));
        }
        for (body, epoch) in self.bodies.iter().zip(1..) {
            let record = journal.read(&scan, Epoch::new(epoch)).map_err(fails)?;
            if record.body[..] != body[..] {
                return wrong(format!("the record of epoch {epoch} is another"));
            }
        }
        let lacks = |fault: &JournalFault| matches!(fault, JournalFault::Lacks { .. });
        match scan.findings.iter().find(|finding| lacks(&finding.fault)) {
            Some(finding) => wrong(format!("{finding:?}")),
            None => Ok(()),
        }
    }
}

impl State for Held {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self, image: &Image, seed: u64) -> Result<Verdict, Violation> {
        let Some(catalog) = self.state() else {
            return Ok(Verdict::default());
        };
        guarded(|| {
            let disk = image.fork();
            let opens = |error: JournalError| Promise::Opens.broken(explained(&error));
            let first = journal(&disk, self.copies);
            let tail = first.tail(&catalog).map_err(opens)?;
            let mut found = self.judge(&first, &tail)?;
            let state = settle(&first, &catalog, &tail).map_err(opens)?;
            // The catalog has not heard of it yet.
            let recovery = Recovery::until_now(&disk, Box::new(found.clone()));
            let body = content(seed, "probe", 1, 700);
            let fails = |error: &dyn std::error::Error| Promise::Writable.broken(explained(error));
            let state = first.prepare(&state, body.len()).map_err(|error| fails(&error))?;
            let state = first.append(&state, &body).map_err(|error| fails(&error))?;
            found.bodies.push(body);
            found.is_whole(&journal(&disk, self.copies), &state)?;
            Ok(Verdict {
                minor: Vec::new(),
                recovery: Some(recovery),
            })
        })
    }
}
