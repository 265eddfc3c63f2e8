//! The process that dies: it plays a script and says on standard output what it begins and what it was told.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event,
    FileName, NameConflict, Observer, OpenOptions, Place, Source,
    archive::UnfinishedFile,
    error::{CommitError, OpenError},
    host::Machine,
    units::Timestamp,
};

use super::{
    script::{Act, ActKind, Item, Script},
    storage::{Death, DyingStorage},
};
use crate::{
    Seeded,
    crashes::{
        oracle::Moment,
        setting::{explained, resources, small_policy},
        sources::Sources,
    },
};

/// What a process is to do.
#[derive(Debug)]
pub struct Part<'a> {
    /// Where the archive is or will be.
    pub root: &'a Path,
    /// Where its sources are.
    pub sources: &'a Sources,
    /// What the script follows from.
    pub seed: u64,
    /// How many acts it has.
    pub acts: usize,
    /// The first one of this process.
    pub from: usize,
    /// When it dies.
    pub death: Option<Death>,
}

/// Plays a part, to its end or to death. Lines: `act N` before each act, and the markers of the oracle.
///
/// # Errors
/// When the archive cannot be opened, in words.
pub fn play(part: &Part<'_>) -> Result<(), String> {
    let script = Script::new(part.seed, part.acts);
    let machine = Machine {
        storage: Arc::new(DyingStorage::new(part.death)),
        ..Machine::default()
    };
    let mut actor = Actor {
        part,
        script: &script,
        machine,
        archive: None,
    };
    actor.open()?;
    actor.end_waiting();
    for (index, act) in script.acts.iter().enumerate().skip(part.from) {
        say(&format!("act {index}"));
        actor.act(act)?;
    }
    let archive = actor.archive.take().expect("it is open between acts");
    archive.close().map_err(|error| explained(&error))
}

/// Says a line so that it is told even when nothing else is.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Whoever listened is gone: then nobody cares.
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) | Err(_) => {}
    }
}

fn note(moment: Moment, item: &Item) {
    say(&moment.tag(item.effect));
}

struct Actor<'a> {
    part: &'a Part<'a>,
    script: &'a Script,
    machine: Machine,
    archive: Option<Archive>,
}

impl Actor<'_> {
    fn archive(&self) -> &Archive {
        self.archive.as_ref().expect("it is open between acts")
    }

    /// Opens the archive, or makes it where none is.
    fn open(&mut self) -> Result<(), String> {
        let options = OpenOptions {
            access: Access::Write,
            resources: resources(),
            volumes: Vec::new(),
        };
        let opened = match Archive::open_on(&self.machine, self.part.root, &options) {
            Ok((archive, _)) => archive,
            Err(OpenError::NotFound { .. }) => {
                say(&Moment::Begun.tag(0));
                let options = ArchiveOptions {
                    policy: small_policy(),
                    resources: resources(),
                    volumes: Vec::new(),
                };
                let made = Archive::create_on(&self.machine, self.part.root, &options);
                made.map_err(|error| explained(&error))?
            }
            Err(error) => return Err(explained(&error)),
        };
        say(&Moment::Done.tag(0));
        self.archive = Some(opened);
        Ok(())
    }

    /// Goes on with what dead processes have left, gives it back, or leaves it to later ones.
    fn end_waiting(&self) {
        let mut seeded = Seeded::new(self.part.seed ^ u64::try_from(self.part.from).expect("few acts"));
        for unfinished in self.archive().unfinished().unwrap_or_default() {
            let Some(item) = self.commit_from(unfinished.resumable.as_ref()) else {
                continue;
            };
            let choice = seeded.below(3);
            if choice == 0 {
                note(Moment::Begun, item);
                match self.archive().resume(unfinished.commit, &()) {
                    Ok(_) => note(Moment::Done, item),
                    Err(_) => note(Moment::Failed, item),
                }
            } else if choice == 1 && self.archive().roll_back(unfinished.commit).is_ok() {
                note(Moment::Undone, item);
            }
        }
    }

    /// Returns which commit an unfinished one is: each has a source of its own.
    fn commit_from(&self, unfinished: Option<&UnfinishedFile>) -> Option<&Item> {
        let mut items = self.script.acts.iter().flat_map(|act| &act.items);
        items.find(|item| item.source(self.part.sources).as_ref() == unfinished.map(|file| &file.path))
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        act.items.iter().for_each(|item| note(Moment::Begun, item));
        let told = match act.kind {
            ActKind::Commit => self.commit(&act.items[0]).map(drop),
            ActKind::CommitPath => self.commit_all(&act.items),
            ActKind::CommitAll => return self.commit_each(&act.items),
            ActKind::Remove => {
                let names: Vec<FileName> = act.items.iter().map(name_of).collect();
                self.archive().remove_many(&names).map(drop)
            }
            ActKind::Reopen => {
                let archive = self.archive.take().expect("it is open between acts");
                archive.close().map_err(|error| explained(&error))?;
                return self.open();
            }
        };
        let moment = if told.is_ok() {
            Moment::Done
        } else {
            Moment::Failed
        };
        act.items.iter().for_each(|item| note(moment, item));
        told.map_err(|error| explained(&error))
    }

    fn commit(&self, item: &Item) -> Result<(), CommitError> {
        let entry = item.entry.as_ref().expect("commits store something");
        let options = CommitOptions {
            mode: entry.mode,
            name_conflict: NameConflict::Replace,
            modified_at: Timestamp::new(entry.modified.0, entry.modified.1),
        };
        let len = u64::try_from(item.bytes().len()).expect("a short file");
        let committed = self.archive().commit(&name_of(item), item.bytes(), len, &options);
        committed.map(drop)
    }

    /// Commits files of the host as one call that tells of each.
    fn commit_all(&self, items: &[Item]) -> Result<(), CommitError> {
        let told = Told {
            items,
            failed: Mutex::default(),
        };
        let sources = items.iter().filter_map(|item| {
            Some(Source {
                name: name_of(item),
                place: Place::of_path(item.source(self.part.sources)?),
            })
        });
        let options = CommitAllOptions {
            name_conflict: NameConflict::Replace,
        };
        self.archive().commit_all(&mut { sources }, &options, &told)?;
        let failed = told.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }

    fn commit_each(&self, items: &[Item]) -> Result<(), String> {
        self.commit_all(items).map_err(|error| explained(&error))
    }
}

fn name_of(item: &Item) -> FileName {
    item.name.parse().expect("names of scripts are names")
}

/// Says of each source that it is stored as soon as the archive says so.
struct Told<'a> {
    items: &'a [Item],
    failed: Mutex<Option<CommitError>>,
}

impl Observer for Told<'_> {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Told<'_> {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        let item = self.items.iter().find(|item| name_of(item) == source.name);
        match (item, result) {
            (Some(item), Ok(_)) => note(Moment::Done, item),
            (Some(item), Err(error)) => {
                note(Moment::Failed, item);
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            (None, _) => {}
        }
    }
}
