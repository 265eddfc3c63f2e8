//! Catalogs that are made again, cut short at every step: whoever comes next has everything, or makes it again.

use std::{
    error::Error,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, OpenOptions, RepairOptions,
    archive::{RebuildFrom, RebuildOptions, UsableNames},
    error::OpenError,
    host::Machine,
    storage::FileAccess,
};
use bfdb_fault_injection::crashes::{
    Application, Effort, Enough, Findings, Restarted, Watched, explore, inject, replay_of, resources,
    small_policy,
};

const SEED: u64 = 1;
const ROOT: &str = "/archive.bfdb";

/// Names and contents that are stored.
const STORED: [(&str, [u8; 3]); 3] = [("first", [1; 3]), ("second", [2; 3]), ("third", [3; 3])];

type Answer = Result<(), Box<dyn Error>>;

/// What has become of the catalog before it is made again.
#[derive(Clone, Copy)]
enum Catalog {
    Missing,
    Damaged,
}

fn options() -> OpenOptions {
    OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    }
}

fn content(seed: [u8; 3]) -> Vec<u8> {
    seed.repeat(700)
}

fn commit(archive: &Archive, name: &str, bytes: &[u8]) -> Answer {
    let len = u64::try_from(bytes.len())?;
    archive.commit(&name.parse()?, bytes, len, &CommitOptions::default())?;
    Ok(())
}

fn holds(archive: &Archive, name: &str, bytes: &[u8]) -> Answer {
    let mut found = Vec::new();
    let mut file = archive.snapshot()?.open_file(&name.parse()?, Arc::new(()))?;
    file.read_to_end(&mut found)?;
    if found == bytes {
        Ok(())
    } else {
        Err(format!("{name} holds {} other bytes", found.len()).into())
    }
}

/// An archive in which one file was removed, and whose catalog is lost.
fn lose(machine: &Machine, catalog: Catalog) -> Answer {
    let made = ArchiveOptions {
        policy: small_policy(),
        resources: resources(),
        volumes: Vec::new(),
    };
    let archive = Archive::create_on(machine, Path::new(ROOT), &made)?;
    commit(&archive, "removed", &[9; 900])?;
    for (name, seed) in STORED {
        commit(&archive, name, &content(seed))?;
    }
    let _removed = archive.remove(&"removed".parse()?)?;
    archive.close()?;
    let path = Path::new(ROOT).join("catalog.redb");
    match catalog {
        Catalog::Missing => {
            machine.storage.remove_file(&path)?;
            Ok(machine.storage.sync_directory(Path::new(ROOT))?)
        }
        Catalog::Damaged => {
            let file = machine.storage.open(&path, FileAccess::ReadWrite)?;
            file.write_all_at(0, &[0x5A; 8192])?;
            Ok(file.sync_all()?)
        }
    }
}

/// Opens what is there, or makes the catalog again where there is none that can be used.
fn open_or_rebuild(machine: &Machine) -> Result<Archive, Box<dyn Error>> {
    match Archive::open_on(machine, Path::new(ROOT), &options()) {
        Ok((archive, _)) => Ok(archive),
        Err(OpenError::CatalogMissing { .. } | OpenError::Catalog { .. }) => {
            let (archive, _) = Archive::rebuild_catalog(machine, Path::new(ROOT), &options())?;
            Ok(archive)
        }
        Err(error) => Err(error.into()),
    }
}

fn check(restarted: &Restarted) -> Answer {
    let machine = restarted.machine();
    let archive = open_or_rebuild(&machine)?;
    for (name, seed) in STORED {
        holds(&archive, name, &content(seed))?;
    }
    if archive.snapshot()?.file(&"removed".parse()?)?.is_some() {
        return Err("a removed file is back".into());
    }
    goes_on(&machine, archive)
}

/// Stores something more, and opens the archive again: everything is whole.
fn goes_on(machine: &Machine, archive: Archive) -> Answer {
    // It is there when a check was cut short before.
    if archive.snapshot()?.file(&"later".parse()?)?.is_none() {
        commit(&archive, "later", &[8; 1200])?;
    }
    archive.close()?;
    let (archive, _) = Archive::open_on(machine, Path::new(ROOT), &options())?;
    holds(&archive, "later", &[8; 1200])?;
    let damage = archive.scrub(&())?.damage;
    if !damage.is_empty() {
        return Err(format!("{damage:?}").into());
    }
    Ok(archive.close()?)
}

fn rebuilt(name: &'static str, catalog: Catalog) -> Application<()> {
    let run = |watched: &mut Watched<'_, ()>| -> Answer {
        let (archive, _) = Archive::rebuild_catalog(&watched.machine(), Path::new(ROOT), &options())?;
        Ok(archive.close()?)
    };
    let check = |restarted: &Restarted, (): &()| check(restarted);
    Application::new(name, run, check).beginning_with((), move |disk, seed| {
        lose(&disk.machine(seed), catalog).expect("the disk works");
    })
}

fn is_survived(application: &Application<()>) -> io::Result<()> {
    let findings = Findings::until(Enough::violations(1));
    explore(
        application,
        SEED,
        &Effort::default().at_one_boundary_in(4),
        &findings,
    )?;
    assert!(findings.violations().is_empty(), "{findings}");
    assert!(findings.images() >= 100, "too few: {findings}");
    inject(application, SEED, 30, &findings)?;
    assert!(findings.violations().is_empty(), "{findings}");
    Ok(())
}

/// Takes the journal away too.
fn lose_journal(machine: &Machine) -> Answer {
    let storage = &machine.storage;
    let journal = Path::new(ROOT).join("volumes/v0/journal");
    for copy in storage.list(&journal)? {
        let copy = journal.join(copy);
        for segment in storage.list(&copy)? {
            storage.remove_file(&copy.join(segment))?;
        }
        storage.sync_directory(&copy)?;
    }
    Ok(())
}

fn scan(machine: &Machine) -> Result<Archive, OpenError> {
    let frames = RebuildOptions {
        from: RebuildFrom::Frames(UsableNames::Keep),
    };
    let scanned = Archive::rebuild_catalog_with(machine, Path::new(ROOT), &options(), frames, &());
    Ok(scanned?.0)
}

/// A scan finds what a crash has left of a commit that was under way: a file of which no byte is lost, and which lacks copies.
/// What was stored before lacks none.
fn give_copies(archive: &Archive) -> Answer {
    let found = archive.scrub(&())?.damage;
    let is_stored = |name: &str| {
        let mut stored = STORED.iter().map(|(stored, _)| *stored).chain(["removed"]);
        stored.any(|stored| name.ends_with(stored))
    };
    if let Some(wrong) = found
        .iter()
        .find(|damage| !damage.lost.is_empty() || is_stored(&damage.name.to_string()))
    {
        return Err(format!("behind a scan: {wrong:?}").into());
    }
    let left = archive.repair(&RepairOptions::default(), &())?.damage;
    if !left.is_empty() {
        return Err(format!("not repaired behind a scan: {left:?}").into());
    }
    Ok(())
}

/// Opens what is there, or makes it again where nothing can be opened: from the journal when it leads to a checkpoint of a scan, by
/// another scan when it does not. Everything is there in the end, under no name of its own.
fn check_scanned(restarted: &Restarted) -> Answer {
    let machine = restarted.machine();
    let opened = Archive::open_on(&machine, Path::new(ROOT), &options());
    let archive = match opened {
        Ok((archive, _)) => archive,
        Err(OpenError::CatalogMissing { .. } | OpenError::Catalog { .. }) => match scan(&machine) {
            Err(OpenError::NamesKnown { .. }) => open_or_rebuild(&machine)?,
            scanned => scanned?,
        },
        Err(error) => return Err(error.into()),
    };
    for (name, seed) in STORED {
        holds(&archive, &format!("recovered/{name}"), &content(seed))?;
        if archive.snapshot()?.file(&name.parse()?)?.is_some() {
            return Err(format!("{name} has its own name").into());
        }
    }
    holds(&archive, "recovered/removed", &[9; 900])?;
    give_copies(&archive)?;
    goes_on(&machine, archive)
}

fn scanned(name: &'static str, catalog: Catalog) -> Application<()> {
    let run = |watched: &mut Watched<'_, ()>| -> Answer { Ok(scan(&watched.machine())?.close()?) };
    let check = |restarted: &Restarted, (): &()| check_scanned(restarted);
    Application::new(name, run, check).beginning_with((), move |disk, seed| {
        let machine = disk.machine(seed);
        lose(&machine, catalog)
            .and_then(|()| lose_journal(&machine))
            .expect("the disk works");
    })
}

#[test]
fn a_deep_scan_may_end_at_any_step() -> io::Result<()> {
    is_survived(&scanned("deep-scan", Catalog::Missing))
}

#[test]
fn a_deep_scan_beside_a_damaged_catalog_may_end_at_any_step() -> io::Result<()> {
    is_survived(&scanned("deep-scan-damaged", Catalog::Damaged))
}

#[test]
fn a_rebuild_of_a_missing_catalog_may_end_at_any_step() -> io::Result<()> {
    is_survived(&rebuilt("rebuild", Catalog::Missing))
}

#[test]
fn a_rebuild_beside_a_damaged_catalog_may_end_at_any_step() -> io::Result<()> {
    is_survived(&rebuilt("rebuild-damaged", Catalog::Damaged))
}

/// Noise in the header of the catalog, while one of four copies of a descriptor was written.
#[test]
fn a_scan_that_finds_a_commit_under_way_gives_it_its_copies() -> io::Result<()> {
    let findings = Findings::default();
    let case = "deep-scan:1:213:allbut.0:100:garbage.1.0.4096.13191963777846137157.newer";
    replay_of(
        &scanned("deep-scan", Catalog::Missing),
        &case.parse().expect("a case"),
        &findings,
    )?;
    assert!(findings.violations().is_empty(), "{findings}");
    Ok(())
}
