//! Kept versions and renames, cut short at every step: a name has the old content or the new one with the versions that belong to
//! it, a rename is wholly there or not at all, and a catalog that is made again from the journal says the same.

use std::{collections::BTreeMap, error::Error, io, io::Read as _, path::Path, sync::Arc};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, NameConflict, OpenOptions, archive::RenameConflict,
    host::Machine,
};
use bfdb_fault_injection::{
    crashes::{
        Application, Effort, Enough, Findings, Restarted, Watched, explore, inject, resources, small_policy,
    },
    simulation::Limits,
};

const SEED: u64 = 1;
const ROOT: &str = "/archive.bfdb";

type Answer = Result<(), Box<dyn Error>>;

/// Names and versions, with a number for the content, and whether they are kept.
type State = BTreeMap<(String, u32), (u8, bool)>;

/// Every state that the archive may be in, as the application was told.
type Notes = Vec<State>;

fn options() -> OpenOptions {
    OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    }
}

/// Tiny, segmented and blocked contents.
fn content(number: u8) -> Vec<u8> {
    let len = [300, 2500, 9000][usize::from(number) % 3];
    vec![number; len]
}

fn commit(archive: &Archive, name: &str, number: u8, name_conflict: NameConflict) -> Answer {
    let bytes = content(number);
    let options = CommitOptions {
        name_conflict,
        ..CommitOptions::default()
    };
    archive.commit(
        &name.parse()?,
        bytes.as_slice(),
        u64::try_from(bytes.len())?,
        &options,
    )?;
    Ok(())
}

/// What is done to the archive.
#[derive(Debug, Clone, Copy)]
enum Step {
    Store(&'static str, u8),
    /// Replaces what has the name, and keeps so many versions.
    Replace(&'static str, u8, usize),
    Rename(&'static str, &'static str),
    /// Renames over what has the new name.
    RenameOver(&'static str, &'static str),
    Remove(&'static str),
    RemoveVersion(&'static str, u32),
}

const FIRST: [Step; 4] = [
    Step::Store("a", 1),
    Step::Store("d/x", 2),
    Step::Store("d/e/y", 3),
    Step::Store("other", 4),
];

const STEPS: [Step; 10] = [
    Step::Replace("a", 5, 2),
    Step::Replace("a", 6, 2),
    Step::Replace("d/x", 7, 1),
    Step::Rename("d", "moved/d"),
    Step::Replace("a", 8, 1),
    Step::Rename("a", "moved/d/a"),
    Step::RemoveVersion("moved/d/a", 3),
    Step::Replace("moved/d/a", 9, 3),
    Step::RenameOver("other", "moved/d/a"),
    Step::Remove("moved/d/x"),
];

impl Step {
    fn take(self, archive: &Archive) -> Answer {
        match self {
            Self::Store(name, number) => commit(archive, name, number, NameConflict::Refuse),
            Self::Replace(name, number, keeps) => {
                let versions = u32::try_from(keeps)?;
                commit(archive, name, number, NameConflict::ReplaceAndKeep { versions })
            }
            Self::Rename(from, to) => {
                let _renamed = archive.rename(&from.parse()?, &to.parse()?, RenameConflict::Refuse)?;
                Ok(())
            }
            Self::RenameOver(from, to) => {
                let _renamed = archive.rename(&from.parse()?, &to.parse()?, RenameConflict::Replace)?;
                Ok(())
            }
            Self::Remove(name) => {
                let _removed = archive.remove(&name.parse()?)?;
                Ok(())
            }
            Self::RemoveVersion(name, version) => {
                let _removed = archive.remove_version(&name.parse()?, version)?;
                Ok(())
            }
        }
    }

    /// Returns what holds afterwards; shares no code with the engine.
    fn after(self, before: &State) -> State {
        let mut after = before.clone();
        match self {
            Self::Store(name, number) => {
                after.insert((name.to_owned(), 1), (number, false));
            }
            Self::Replace(name, number, keeps) => {
                let mut of_name: Vec<u32> = before
                    .keys()
                    .filter(|key| key.0 == name)
                    .map(|key| key.1)
                    .collect();
                let next = of_name.last().map_or(1, |last| last + 1);
                while of_name.len() > keeps {
                    after.remove(&(name.to_owned(), of_name.remove(0)));
                }
                for version in of_name {
                    after
                        .entry((name.to_owned(), version))
                        .and_modify(|entry| entry.1 = true);
                }
                after.insert((name.to_owned(), next), (number, false));
            }
            Self::Rename(from, to) => {
                let renamed = before.iter().map(|((name, version), entry)| {
                    let below = name
                        .strip_prefix(from)
                        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
                    let name = below.map_or_else(|| name.clone(), |rest| format!("{to}{rest}"));
                    ((name, *version), *entry)
                });
                after = renamed.collect();
            }
            Self::RenameOver(from, to) => {
                after.retain(|(name, _), _| name != to);
                after = Self::Rename(from, to).after(&after);
            }
            Self::Remove(name) => after.retain(|(known, _), _| known != name),
            Self::RemoveVersion(name, version) => {
                after.remove(&(name.to_owned(), version));
            }
        }
        after
    }
}

fn first() -> State {
    FIRST.iter().fold(State::new(), |state, step| step.after(&state))
}

/// Reads every byte of every version.
fn see(archive: &Archive) -> Result<State, Box<dyn Error>> {
    let snapshot = archive.snapshot()?;
    let mut state = State::new();
    for file in snapshot.files_and_versions(None) {
        let file = file?;
        let mut bytes = Vec::new();
        let version = snapshot.of_version(file.version);
        version
            .open_file(&file.name, Arc::new(()))?
            .read_to_end(&mut bytes)?;
        let number = bytes.first().copied().unwrap_or(0);
        if bytes != content(number) {
            return Err(format!("{} version {} has other bytes", file.name, file.version).into());
        }
        state.insert((file.name.to_string(), file.version), (number, file.is_kept));
    }
    Ok(state)
}

fn check(restarted: &Restarted, allowed: &Notes) -> Answer {
    let machine = restarted.machine();
    let (archive, _) = Archive::open_on(&machine, Path::new(ROOT), &options())?;
    let seen = see(&archive)?;
    if !allowed.contains(&seen) {
        return Err(format!("it is {seen:?}, and may be {allowed:?}").into());
    }
    restarted.recovered();
    let totals = archive.snapshot()?.totals()?;
    let kept = seen.values().filter(|(_, is_kept)| *is_kept).count();
    if totals.kept.versions() != u64::try_from(kept)? {
        return Err(format!("{kept} versions are kept: {totals:?}").into());
    }
    archive.close()?;
    // In one image of four, since it takes twice as long as everything else.
    let [lot] = machine.random_bytes()?;
    if lot % 4 > 0 {
        return Ok(());
    }
    is_made_again(&machine, &seen)
}

/// Makes the catalog again from the journal, and compares.
fn is_made_again(machine: &Machine, seen: &State) -> Answer {
    machine
        .storage
        .remove_file(&Path::new(ROOT).join("catalog.redb"))?;
    let (archive, _) = Archive::rebuild_catalog(machine, Path::new(ROOT), &options())?;
    let again = see(&archive)?;
    if again != *seen {
        return Err(format!("it was {seen:?}, and is made again as {again:?}").into());
    }
    let damage = archive.scrub(&())?.damage;
    if !damage.is_empty() {
        return Err(format!("{damage:?}").into());
    }
    Ok(archive.close()?)
}

fn make(machine: &Machine) -> Answer {
    let made = ArchiveOptions {
        policy: small_policy(),
        resources: resources(),
        volumes: Vec::new(),
    };
    let archive = Archive::create_on(machine, Path::new(ROOT), &made)?;
    FIRST.iter().try_for_each(|step| step.take(&archive))?;
    Ok(archive.close()?)
}

fn run(watched: &mut Watched<'_, Notes>) -> Answer {
    let (archive, _) = Archive::open_on(&watched.machine(), Path::new(ROOT), &options())?;
    for step in STEPS {
        let before = watched.notes().last().cloned().unwrap_or_default();
        let after = step.after(&before);
        watched.note(|allowed| allowed.push(after));
        step.take(&archive)?;
        watched.note(|allowed| {
            allowed.drain(..allowed.len() - 1);
        });
    }
    Ok(archive.close()?)
}

fn application() -> Application<Notes> {
    Application::new("versions", run, check)
        .with_archive(ROOT)
        .beginning_with(vec![first()], |disk, seed| {
            make(&disk.machine(seed)).expect("the disk works");
        })
}

#[test]
fn kept_versions_and_renames_survive_every_crash() -> io::Result<()> {
    let findings = Findings::until(Enough::violations(1));
    let effort = Effort::to_the_end(Limits::new(1), 40, 2).at_one_boundary_in(4);
    explore(&application(), SEED, &effort, &findings)?;
    assert!(findings.violations().is_empty(), "{findings}");
    assert!(findings.images() >= 100, "too few: {findings}");
    Ok(())
}

#[test]
fn kept_versions_and_renames_survive_errors() -> io::Result<()> {
    let findings = Findings::until(Enough::violations(1));
    inject(&application(), SEED, 30, &findings)?;
    assert!(findings.violations().is_empty(), "{findings}");
    Ok(())
}
