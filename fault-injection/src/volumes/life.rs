//! The life of an archive whose volumes meet with mishaps.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, FileName, NameConflict, OpenOptions,
    archive::{CompactOptions, MoveOptions, RenameConflict, RepairOptions, ScrubReport, VolumeInfo},
    catalog::VolumeState,
    host::Machine,
    storage::Storage as _,
    units::VolumeId,
};

use super::{
    Mishap, Tally,
    mishap::{Content, empty, spoil},
    model::{Expect, Model},
};
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        setting::{ROOT, explained, open_on, resources, small_policy},
        violation::{Promise, Violation},
    },
};

/// Processes that open the archive one after another.
const PROCESSES: u64 = 4;

/// Lengths of files, of every tier.
const LENGTHS: [usize; 6] = [700, 3000, 6000, 11_000, 13_000, 30_000];

/// One life.
pub(super) struct Life<'a> {
    disk: SimulatedStorage,
    machine: Machine,
    seeded: Seeded,
    tally: &'a Tally,
    model: Model,
    /// Number of the next volume, and of the next file.
    next_volume: u16,
    next_file: u64,
    /// How the last volumes were before, to be put back.
    kept: Vec<(VolumeId, Content)>,
    /// What has happened so far, for whoever looks for the cause of a violation.
    log: Vec<String>,
    /// Whether a volume fails under the hands of the process.
    is_spoiled: bool,
}

/// What befell which volume, before a process came.
#[derive(Debug, Clone)]
struct Befallen {
    mishap: Mishap,
    volume: VolumeId,
}

impl<'a> Life<'a> {
    pub(super) fn new(seed: u64, tally: &'a Tally) -> Result<Self, Violation> {
        let disk = SimulatedStorage::new();
        let machine = disk.machine(seed);
        let mut life = Self {
            disk,
            machine,
            seeded: Seeded::new(seed ^ 0x0001_D15C_0000),
            tally,
            model: Model::default(),
            next_volume: 1,
            next_file: 0,
            kept: Vec::new(),
            log: Vec::new(),
            is_spoiled: false,
        };
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
            volumes: Vec::new(),
        };
        let made = Archive::create_on(&life.machine, Path::new(ROOT), &options);
        let archive = made.map_err(|error| answers(&error))?;
        for _ in 0..=life.seeded.below(3) {
            life.add_volume(&archive)?;
        }
        close(archive)?;
        Ok(life)
    }

    /// Lives it.
    pub(super) fn live(mut self) -> Result<(), Violation> {
        self.live_on().map_err(|violation| Violation {
            detail: format!("{}; before it: {}", violation.detail, self.log.join(", ")),
            ..violation
        })
    }

    fn live_on(&mut self) -> Result<(), Violation> {
        let mut befallen = None;
        for _ in 0..PROCESSES {
            self.process(befallen.take())?;
            befallen = self.mishap_at_rest()?;
        }
        self.process(befallen)
    }

    /// One process: it uses the archive as it finds it, perhaps with a volume that is spoiled under its hands, and leaves it
    /// whole.
    fn process(&mut self, befallen: Option<Befallen>) -> Result<(), Violation> {
        let archive = self.open()?;
        self.keep(&archive)?;
        let spoiled = if befallen.is_none() {
            self.spoil_one(&archive)?
        } else {
            None
        };
        let away = befallen.as_ref().map(|befallen| befallen.volume);
        let away = away.or(spoiled.as_ref().map(|(volume, _)| *volume));
        for _ in 0..2 + self.seeded.below(5) {
            self.step(&archive, away)?;
        }
        if let Some((_, flag)) = &spoiled {
            flag.store(false, Ordering::Relaxed);
            self.disk.clear_rules();
            self.is_spoiled = false;
        }
        self.log.push("all is there".to_owned());
        if let Some(befallen) = befallen {
            self.put_right(&archive, &befallen)?;
        }
        self.make_whole(&archive)?;
        let volumes = active(&archive)?.iter().map(directory_of).collect();
        close(archive)?;
        let again = if self.seeded.below(4) == 0 {
            self.make_again(volumes)?
        } else {
            self.open()?
        };
        self.judge(&again, None, Expect::Everything)?;
        close(again)
    }

    fn open(&self) -> Result<Archive, Violation> {
        let opened = open_on(&self.machine, Access::Write);
        opened
            .map(|(archive, _)| archive)
            .map_err(|error| Promise::Opens.broken(error))
    }

    /// Loses the catalog, and makes it again from the volumes, which nothing but the catalog says the places of.
    fn make_again(&mut self, volumes: Vec<PathBuf>) -> Result<Archive, Violation> {
        self.log.push("catalog made again".to_owned());
        self.tally.add(Mishap::WithoutCatalog);
        let removed = self.disk.remove_file(&Path::new(ROOT).join("catalog.redb"));
        removed.map_err(|error| Promise::Answers.broken(format!("the loss itself: {error}")))?;
        let options = OpenOptions {
            access: Access::Write,
            resources: resources(),
            volumes,
        };
        let made = Archive::rebuild_catalog(&self.machine, Path::new(ROOT), &options);
        made.map(|(archive, _)| archive)
            .map_err(|error| Promise::Rebuilds.broken(explained(&error)))
    }

    fn step(&mut self, archive: &Archive, away: Option<VolumeId>) -> Result<(), Violation> {
        match self.seeded.below(11) {
            0..=3 => self.commit(archive, None)?,
            4 => {
                let names = self.model.names();
                if let Some(name) = names.get(self.seeded.index(names.len().max(1))) {
                    self.commit(archive, Some(name.clone()))?;
                }
            }
            5 => {
                let names = self.model.names();
                if let Some(name) = names.get(self.seeded.index(names.len().max(1))) {
                    self.remove(archive, name)?;
                }
            }
            6 => {
                self.log.push("scrub".to_owned());
                drop(scrub(archive)?);
            }
            7 => self.compact(archive)?,
            8 => self.checkpoint(archive)?,
            9 => self.rename(archive)?,
            _ => drop(
                archive
                    .repair(&RepairOptions::default(), &())
                    .map_err(|error| answers(&error))?,
            ),
        }
        self.judge(archive, away, Expect::WhatIsThere)
    }

    fn commit(&mut self, archive: &Archive, over: Option<FileName>) -> Result<(), Violation> {
        self.next_file += 1;
        let conflict = over
            .as_ref()
            .map_or(NameConflict::Refuse, |_| NameConflict::Replace);
        let name = over.unwrap_or_else(|| format!("file-{:03}", self.next_file).parse().expect("a name"));
        let len = LENGTHS[self.seeded.index(LENGTHS.len())];
        let content: Vec<u8> = (0..len)
            .map(|_| self.seeded.next_u64().to_le_bytes()[0])
            .collect();
        let options = CommitOptions {
            name_conflict: conflict,
            ..CommitOptions::default()
        };
        let len = u64::try_from(len).expect("short");
        let store = || archive.commit(&name, content.as_slice(), len, &options);
        self.log.push(format!("commit {name} of {len}"));
        // A stream is read once: what has failed under it is not written again elsewhere. The next one goes elsewhere at once.
        if let Err(error) = store() {
            if !self.is_spoiled {
                return Err(answers(&error));
            }
            self.log.push(format!("again after {}", explained(&error)));
            store().map_err(|error| answers(&error))?;
        }
        self.model.put(name, content);
        Ok(())
    }

    fn remove(&mut self, archive: &Archive, name: &FileName) -> Result<(), Violation> {
        self.log.push(format!("remove {name}"));
        drop(archive.remove(name).map_err(|error| answers(&error))?);
        self.model.remove(name);
        Ok(())
    }

    fn rename(&mut self, archive: &Archive) -> Result<(), Violation> {
        let names = self.model.names();
        let Some(from) = names.get(self.seeded.index(names.len().max(1))) else {
            return Ok(());
        };
        self.next_file += 1;
        let to: FileName = format!("file-{:03}", self.next_file).parse().expect("a name");
        self.log.push(format!("rename {from} to {to}"));
        let renamed = archive.rename(from, &to, RenameConflict::Refuse);
        drop(renamed.map_err(|error| answers(&error))?);
        self.model.rename(from, to);
        Ok(())
    }

    /// Gives back everything that is dead, and writes anew what lives beside a dead byte.
    fn compact(&mut self, archive: &Archive) -> Result<(), Violation> {
        self.log.push("compact".to_owned());
        let options = CompactOptions {
            min_dead_percent: 0,
            min_dead_bytes: 1,
            ..CompactOptions::default()
        };
        match archive.compact(&options, &()) {
            Err(error) if !self.is_spoiled => Err(answers(&error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn checkpoint(&mut self, archive: &Archive) -> Result<(), Violation> {
        self.log.push("checkpoint".to_owned());
        match archive.checkpoint() {
            Err(error) if !self.is_spoiled => Err(answers(&error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn judge(&self, archive: &Archive, away: Option<VolumeId>, expect: Expect) -> Result<(), Violation> {
        let is_short = |name: &FileName| away.is_some_and(|away| is_short_without(archive, name, away));
        self.model.judge(archive, &is_short, expect).map(drop)
    }

    /// Spoils a volume under the hands of the process, from some operation on.
    fn spoil_one(&mut self, archive: &Archive) -> Result<Option<(VolumeId, Arc<AtomicBool>)>, Violation> {
        let mishap = match self.seeded.below(3) {
            0 => Mishap::Gone,
            1 => Mishap::ReadOnly,
            _ => return Ok(None),
        };
        let volume = self.choose(archive)?;
        let from = self.disk.counts().mutating() + self.seeded.below(250);
        self.tally.add(mishap);
        self.is_spoiled = true;
        self.log
            .push(format!("{mishap:?} v{} from {from}", volume.number));
        let flag = spoil(&self.disk, (mishap, directory_of(&volume)), from);
        Ok(Some((volume.id, flag)))
    }

    /// Something befalls a volume while nobody has the archive open.
    fn mishap_at_rest(&mut self) -> Result<Option<Befallen>, Violation> {
        let archive = self.open()?;
        let volumes = active(&archive)?;
        let chosen = self.choose(&archive)?;
        close(archive)?;
        let directory = directory_of(&chosen);
        let mishap = match self.seeded.below(6) {
            0 => Mishap::Lost,
            1 => Mishap::Stale,
            2 => Mishap::Doubled,
            3 => Mishap::Swapped,
            _ => return Ok(None),
        };
        let done = match mishap {
            Mishap::Lost => empty(&self.disk, &directory),
            Mishap::Stale => match self.kept.iter().find(|(kept, _)| *kept == chosen.id) {
                Some((_, content)) => content.put(&self.disk, &directory),
                None => return Ok(None),
            },
            Mishap::Doubled => {
                let copy = Path::new(ROOT).join("volumes/copy");
                Content::read(&self.disk, &directory).and_then(|content| content.put(&self.disk, &copy))
            }
            Mishap::Swapped => {
                let others = volumes
                    .iter()
                    .find(|other| other.id != chosen.id && other.number > 0);
                let Some(other) = others.filter(|_| chosen.number > 0) else {
                    return Ok(None);
                };
                self.swap(&directory, &directory_of(other))
            }
            Mishap::ReadOnly | Mishap::Gone | Mishap::WithoutCatalog => Ok(()),
        };
        done.map_err(|error| Promise::Answers.broken(format!("the mishap itself: {error}")))?;
        self.tally.add(mishap);
        self.log.push(format!("{mishap:?} v{}", chosen.number));
        let volume = chosen.id;
        Ok(Some(Befallen { mishap, volume }))
    }

    fn swap(&self, one: &Path, other: &Path) -> std::io::Result<()> {
        let contents = (Content::read(&self.disk, one)?, Content::read(&self.disk, other)?);
        contents.0.put(&self.disk, other)?;
        contents.1.put(&self.disk, one)
    }

    /// Does what a user would, once a process has found that something is wrong.
    fn put_right(&mut self, archive: &Archive, befallen: &Befallen) -> Result<(), Violation> {
        match befallen.mishap {
            Mishap::Lost => self.replace(archive, befallen.volume),
            Mishap::Doubled => {
                let emptied = empty(&self.disk, &Path::new(ROOT).join("volumes/copy"));
                emptied.map_err(|error| Promise::Answers.broken(error))
            }
            // What stood whole on it and came later is gone.
            Mishap::Stale => self.remove_what_is_lost(archive, befallen.volume).map(drop),
            Mishap::Swapped | Mishap::ReadOnly | Mishap::Gone | Mishap::WithoutCatalog => Ok(()),
        }
    }

    /// Replaces a lost volume; files that were whole on it are gone for good, and are removed.
    fn replace(&mut self, archive: &Archive, lost: VolumeId) -> Result<(), Violation> {
        let gone = self.remove_what_is_lost(archive, lost)?;
        let place = PathBuf::from(format!("/volume-{}", self.next_volume));
        self.next_volume += 1;
        let replaced = archive.replace_volume(lost, &place, MoveOptions::default(), &());
        let (_, report) = replaced.map_err(|error| answers(&error))?;
        // What a descriptor has lost no file needs.
        if report.shards_left > 0 && gone == 0 {
            return Err(Promise::Whole.broken(format!("{report:?}")));
        }
        Ok(())
    }

    /// Removes the files that cannot be read, which all were whole on a volume; returns how many those were.
    fn remove_what_is_lost(&mut self, archive: &Archive, volume: VolumeId) -> Result<usize, Violation> {
        let is_short = |name: &FileName| is_short_without(archive, name, volume);
        let gone = self.model.judge(archive, &is_short, Expect::WhatIsThere)?;
        for name in &gone {
            self.remove(archive, name)?;
        }
        Ok(gone.len())
    }

    /// Brings the archive back to full tolerance, and says when that does not work.
    fn make_whole(&self, archive: &Archive) -> Result<(), Violation> {
        drop(scrub(archive)?);
        let repaired = archive.repair(&RepairOptions::default(), &());
        drop(repaired.map_err(|error| answers(&error))?);
        let spread = archive.spread(MoveOptions::default(), &());
        if spread.map_err(|error| answers(&error))?.shards_left > 0 {
            return Err(Promise::Whole.broken("spread leaves shards"));
        }
        archive.mend_journal().map_err(|error| answers(&error))?;
        let report = scrub(archive)?;
        let is_whole = report.damaged_shards == 0 && report.journal.is_empty() && report.offline.is_empty();
        if !is_whole {
            return Err(Promise::Whole.broken(format!("{report:?}")));
        }
        self.judge(archive, None, Expect::Everything)
    }

    fn add_volume(&mut self, archive: &Archive) -> Result<(), Violation> {
        let place = PathBuf::from(format!("/volume-{}", self.next_volume));
        self.next_volume += 1;
        archive.add_volume(&place).map_err(|error| answers(&error))?;
        Ok(())
    }

    /// Remembers how volumes are now.
    fn keep(&mut self, archive: &Archive) -> Result<(), Violation> {
        if self.seeded.below(2) == 0 {
            return Ok(());
        }
        self.kept.clear();
        for volume in active(archive)? {
            if let Ok(content) = Content::read(&self.disk, &directory_of(&volume)) {
                self.kept.push((volume.id, content));
            }
        }
        Ok(())
    }

    fn choose(&mut self, archive: &Archive) -> Result<VolumeInfo, Violation> {
        let mut volumes = active(archive)?;
        Ok(volumes.swap_remove(self.seeded.index(volumes.len())))
    }
}

/// Says whether some block of a file has too few shards without a volume.
fn is_short_without(archive: &Archive, name: &FileName, away: VolumeId) -> bool {
    let places = archive.snapshot().ok().and_then(|snapshot| {
        let parity = snapshot.file(name).ok()??.shape.parity();
        Some((parity, snapshot.places(name).ok()?))
    });
    let Some((parity, blocks)) = places else {
        return false;
    };
    blocks.iter().any(|block| {
        let there = block.shards.iter().flatten();
        let gone = there.filter(|(volume, _, _)| *volume == away).count();
        gone > usize::from(parity)
    })
}

fn active(archive: &Archive) -> Result<Vec<VolumeInfo>, Violation> {
    let volumes = archive.snapshot().and_then(|snapshot| snapshot.volumes());
    let mut volumes = volumes.map_err(|error| answers(&error))?;
    volumes.retain(|volume| volume.state == VolumeState::Active);
    Ok(volumes)
}

fn directory_of(volume: &VolumeInfo) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(ROOT).join(std::ffi::OsStr::from_bytes(&volume.path))
}

fn scrub(archive: &Archive) -> Result<ScrubReport, Violation> {
    archive.scrub(&()).map_err(|error| answers(&error))
}

fn close(archive: Archive) -> Result<(), Violation> {
    archive.close().map_err(|error| answers(&error))
}

fn answers(error: &dyn std::error::Error) -> Violation {
    Promise::Answers.broken(explained(error))
}
