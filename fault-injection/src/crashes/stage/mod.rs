//! Where a workload plays: a simulated disk, an archive on it, and the notes of what was asked and answered.
//!
//! Every step announces its effects, asks the archive, and notes the answer. It never fails: an error is an answer, and the
//! workload goes on as a program would. Invariant: what is noted as done was answered with success.

mod answer;
mod checkpoints;
mod commits;
mod compacting;
mod lives;
mod observers;
mod repairs;
mod volumes;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use bfdb::{Access, Archive, ArchiveOptions, error::CommitError, host::Machine, storage::Medium};

use self::answer::Answer;
use super::{
    oracle::{Effect, Entry, Moment},
    scenario::Ground,
    setting::{ROOT, explained, open_on, resources, small_policy},
    sources::Sources,
};
use crate::{Seeded, SimulatedStorage};

/// What a workload left when it was over.
#[derive(Debug)]
pub struct Played {
    /// The disk, without anybody who uses it.
    pub disk: SimulatedStorage,
    /// What was asked, by the numbers in the markers.
    pub effects: Vec<Effect>,
    /// Answers that nobody expects of a disk that works.
    pub surprises: Vec<String>,
}

/// Where a workload plays.
#[derive(Debug)]
pub struct Stage<'a> {
    disk: SimulatedStorage,
    machine: Machine,
    sources: &'a Sources,
    seed: u64,
    seeded: Seeded,
    effects: Vec<Effect>,
    /// Each with the number of operations before it.
    surprises: Vec<(u64, String)>,
    archive: Option<Archive>,
    /// A second process with the same archive open.
    other: Option<Archive>,
    /// Whether the process is still to be killed.
    is_doomed: Arc<AtomicBool>,
    /// Whether the rules of the workload hold.
    is_spoiled: Arc<AtomicBool>,
    /// What was no surprise on purpose: so many come from before something was meant to go wrong, and others that came before
    /// the operation of this number was over.
    well_until: (usize, u64),
    kept_catalog: Option<Vec<u8>>,
    is_catalog_old: bool,
    /// Whether the archive is there already.
    has_archive: bool,
}

/// Makes an archive that workloads begin with, and closes it.
///
/// # Panics
/// When that fails on a disk that works.
pub fn new_archive(seed: u64) -> Ground {
    let disk = SimulatedStorage::new();
    let options = ArchiveOptions {
        policy: small_policy(),
        resources: resources(),
        volumes: Vec::new(),
    };
    let made = Archive::create_on(&disk.machine(seed ^ 0x5EED_0006), Path::new(ROOT), &options);
    made.expect("the disk works").close().expect("the disk works");
    Ground {
        disk: disk.settled(),
        has_archive: true,
    }
}

impl<'a> Stage<'a> {
    /// Builds a stage on a ground.
    pub fn new(ground: &Ground, sources: &'a Sources, seed: u64) -> Self {
        // One stage in four stores files in the order of disks that rotate; who recovers them does not know.
        ground.disk.set_medium(if seed % 4 == 1 {
            Medium::Rotating
        } else {
            Medium::Solid
        });
        Self {
            disk: ground.disk.clone(),
            machine: ground.disk.machine(seed),
            sources,
            seed,
            seeded: Seeded::new(seed),
            effects: Vec::new(),
            surprises: Vec::new(),
            archive: None,
            other: None,
            is_doomed: Arc::default(),
            is_spoiled: Arc::default(),
            well_until: (0, 0),
            kept_catalog: None,
            is_catalog_old: false,
            has_archive: ground.has_archive,
        }
    }

    /// Ends the play: whoever has the archive open still goes without closing it.
    pub fn end(mut self) -> Played {
        self.archive = None;
        self.other = None;
        Played {
            disk: self.disk,
            effects: self.effects,
            surprises: self.surprises.into_iter().map(|(_, what)| what).collect(),
        }
    }

    /// Returns a number below a bound that follows from the seed.
    pub fn choose(&mut self, bound: u64) -> u64 {
        self.seeded.below(bound)
    }

    /// Makes the archive, unless it is there; tries once more when that fails.
    pub fn create(&mut self) {
        if self.has_archive {
            let effect = self.ask(None, None);
            self.note(effect, Moment::Done);
            self.open();
            return;
        }
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
            volumes: Vec::new(),
        };
        for _ in 0..2 {
            let effect = self.ask(None, None);
            let made = Archive::create_on(&self.machine, Path::new(ROOT), &options);
            let error = made.as_ref().err().map(|error| explained(error));
            self.answer(effect, error.map_or(Answer::DONE, Answer::failed));
            match made {
                Ok(archive) => {
                    self.archive = Some(archive);
                    return;
                }
                // The creation may have come to its end all the same.
                Err(_) => self.open(),
            }
            if self.archive.is_some() {
                self.note(effect, Moment::Done);
                return;
            }
        }
    }

    /// Opens the archive for writing.
    pub fn open(&mut self) {
        let opened = open_on(&self.machine, Access::Write).map(|(archive, _)| archive);
        self.archive = self.expect("open", opened);
        if self.archive.is_some() {
            self.note_opened();
        }
    }

    /// Opens it once more, as another process does.
    pub fn open_other(&mut self) {
        let opened = open_on(&self.machine, Access::Write).map(|(archive, _)| archive);
        self.other = self.expect("open again", opened);
    }

    /// Changes places with the other process.
    pub const fn take_turns(&mut self) {
        std::mem::swap(&mut self.archive, &mut self.other);
    }

    /// Closes the archive.
    pub fn close(&mut self) {
        if let Some(archive) = self.archive.take() {
            let closed = archive.close().map_err(|error| error.to_string());
            self.expect("close", closed);
        }
    }

    pub(super) fn step(
        &mut self,
        changes: &[(&str, Option<Entry>)],
        work: impl FnOnce(&Archive) -> Result<(), CommitError>,
    ) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let ask = |(name, becomes): &(&str, Option<Entry>)| self.ask(Some(name), becomes.clone());
        let effects: Vec<usize> = changes.iter().map(ask).collect();
        let done = Answer::of(&work(&archive));
        self.archive = Some(archive);
        effects
            .into_iter()
            .for_each(|effect| self.answer(effect, done.clone()));
    }

    fn ask(&mut self, name: Option<&str>, becomes: Option<Entry>) -> usize {
        let effect = self.effects.len();
        self.effects.push(Effect {
            name: name.map(str::to_owned),
            becomes,
        });
        self.note(effect, Moment::Begun);
        effect
    }

    fn answer(&mut self, effect: usize, answer: Answer) {
        self.note(effect, answer.moment);
        if let Some(error) = answer.error {
            let name = self.effects[effect].name.as_deref().unwrap_or(ROOT);
            self.is_surprised(format!("{name}: {error}"));
        }
    }

    fn note(&self, effect: usize, moment: Moment) {
        self.disk.marker(moment.tag(effect));
    }

    fn is_surprised(&mut self, what: String) {
        self.surprises.push((self.disk.counts().mutating(), what));
    }

    fn expect<T>(&mut self, what: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.is_surprised(format!("{what}: {error}"));
                None
            }
        }
    }
}
