//! What is found in applications and volumes of others: each mistake once, and nothing in the same without it.

use std::{error::Error, io, path::Path, sync::Arc};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, OpenOptions,
    host::Machine,
    storage::{FileAccess, Replace, Storage},
    units::VolumeId,
    volume::{LocalVolume, Volume},
};
use bfdb_fault_injection::{
    FaultyVolume,
    crashes::{
        Application, Effort, Enough, Findings, Promise, Restarted, VolumeAlone, VolumeMaker, Watched,
        explore, inject, replay_of, resources, small_policy, trace_of,
    },
    faulty::{Fault, FaultRule, OperationKind},
    simulation::{self as disk, Asked, OperationKind as DiskOperation},
};

const SEED: u64 = 1;
const ARCHIVE: &str = "/archive.bfdb";
const COUNTER: &str = "/counter";

type Answer = Result<(), Box<dyn Error>>;

fn create(machine: &Machine) -> Result<Archive, Box<dyn Error>> {
    let options = ArchiveOptions {
        policy: small_policy(),
        resources: resources(),
        volumes: Vec::new(),
    };
    Ok(Archive::create_on(machine, Path::new(ARCHIVE), &options)?)
}

fn commit(archive: &Archive, name: &str, bytes: &[u8]) -> Answer {
    let len = u64::try_from(bytes.len())?;
    archive.commit(&name.parse()?, bytes, len, &CommitOptions::default())?;
    Ok(())
}

/// One file in an archive, with something done behind it; the check is that of the engine alone.
fn with_archive(behind: impl Fn(&Machine) -> io::Result<()> + Send + Sync + 'static) -> Application<()> {
    let run = move |watched: &mut Watched<'_, ()>| {
        let machine = watched.machine();
        let options = OpenOptions {
            access: Access::Write,
            resources: resources(),
            volumes: Vec::new(),
        };
        let (archive, _) = Archive::open_on(&machine, Path::new(ARCHIVE), &options)?;
        commit(&archive, "file", &[7; 1500])?;
        archive.close()?;
        Ok(behind(&machine)?)
    };
    Application::new("archive", run, |_: &Restarted, (): &()| Ok(()))
        .with_archive(ARCHIVE)
        .beginning_with((), |disk, seed| {
            let archive = create(&disk.machine(seed)).expect("the disk works");
            archive.close().expect("the disk works");
        })
}

fn explored(application: &Application<impl Clone + std::hash::Hash + Send + Sync + 'static>) -> Findings {
    let findings = Findings::until(Enough::violations(1));
    explore(application, SEED, &Effort::default(), &findings).expect("the host takes a directory");
    findings
}

fn broken(findings: &Findings) -> Option<Promise> {
    findings.violations().first().map(|found| found.violation.promise)
}

#[test]
fn the_engine_is_checked_beside_an_application_that_checks_nothing() {
    let right = explored(&with_archive(|_| Ok(())));
    assert!(right.violations().is_empty(), "{right}");
    let known = right.known();
    assert!(
        known.keys().all(|name| right.to_string().contains(name)),
        "{right}: {known:?}"
    );
    assert!(!known.is_empty(), "noise in the header of a catalog is tried too");

    let stray = explored(&with_archive(|machine| {
        let file = machine
            .storage
            .create_new(&Path::new(ARCHIVE).join("volumes/v0/stray"))?;
        file.sync_all()
    }));
    assert_eq!(broken(&stray), Some(Promise::NoLeak), "{stray}");

    let overwritten = explored(&with_archive(|machine| {
        let extents = Path::new(ARCHIVE).join("volumes/v0/extents");
        let first = machine.storage.list(&extents)?.remove(0);
        let extent = machine
            .storage
            .open(&extents.join(first), FileAccess::ReadWrite)?;
        extent.write_all_at(6000, &[0xA5; 100])
    }));
    assert_eq!(broken(&overwritten), Some(Promise::Whole), "{overwritten}");
}

#[test]
fn syncs_of_an_archive_that_are_forgotten_are_caught() {
    let run = |watched: &mut Watched<'_, ()>| {
        let is_sync = |asked: &Asked<'_>| asked.kind == DiskOperation::SyncFile;
        let forgets =
            disk::FaultRule::from_fn(move |asked| is_sync(asked).then_some(disk::Fault::SyncForgotten));
        let is_extent = |path: &Path| path.extension().is_some_and(|found| found == "bfx");
        watched.disk().add_rule(forgets.on_paths(is_extent));
        let archive = create(&watched.machine())?;
        commit(&archive, "file", &[7; 5000])?;
        Ok(archive.close()?)
    };
    let application = Application::new("forgets", run, |_: &Restarted, (): &()| Ok(()));
    let findings = explored(&application.with_archive(ARCHIVE));
    let promises = [Some(Promise::Content), Some(Promise::Whole), Some(Promise::Opens)];
    assert!(promises.contains(&broken(&findings)), "{findings}");
}

#[test]
fn an_answer_with_an_error_is_a_violation_unless_an_error_was_injected() {
    let refused = |_: &mut Watched<'_, ()>| Err("refused".into());
    let checks_nothing = |_: &Restarted, (): &()| Ok(());
    let always = explored(&Application::new("refuses", refused, checks_nothing));
    assert_eq!(broken(&always), Some(Promise::Answers), "{always}");

    let well = with_archive(|_| Ok(()));
    let findings = Findings::default();
    inject(&well, SEED, 30, &findings).expect("the host takes a directory");
    assert!(
        findings.errors() > 20 && findings.violations().is_empty(),
        "{findings}"
    );
}

#[test]
fn a_panic_of_a_check_is_a_violation() {
    let panics = |_: &Restarted, (): &()| -> Answer { panic!("a check that cannot go on") };
    let findings = explored(&Application::new(
        "panics",
        |_: &mut Watched<'_, ()>| Ok(()),
        panics,
    ));
    assert_eq!(broken(&findings), Some(Promise::NoPanic), "{findings}");
}

/// A number in a file, written anew by each start: in place of the old one, or over it.
#[derive(Clone, Copy)]
enum Mends {
    ByRenaming,
    InPlace,
}

fn write_counter(machine: &Machine, value: u64) -> io::Result<()> {
    let (new, counter) = (Path::new("/counter.new"), Path::new(COUNTER));
    match machine.storage.remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = machine.storage.create_new(new)?;
    file.write_all_at(0, &value.to_le_bytes())?;
    file.sync_all()?;
    machine.storage.rename(new, counter, Replace::File)?;
    machine.storage.sync_directory(Path::new("/"))
}

fn counter(mends: Mends) -> Application<()> {
    let check = move |restarted: &Restarted, (): &()| {
        let machine = restarted.machine();
        let file = machine.storage.open(Path::new(COUNTER), FileAccess::ReadWrite)?;
        let mut bytes = [0; 8];
        file.read_exact_at(0, &mut bytes)?;
        match mends {
            Mends::ByRenaming => write_counter(&machine, u64::from_le_bytes(bytes) + 1)?,
            Mends::InPlace => {
                file.set_len(0)?;
                file.write_all_at(0, &bytes)?;
                file.sync_all()?;
            }
        }
        Ok(())
    };
    let prepare = |disk: &bfdb_fault_injection::SimulatedStorage, seed: u64| {
        write_counter(&disk.machine(seed), 1).expect("the disk works");
    };
    let run = |watched: &mut Watched<'_, ()>| {
        for value in 2..12 {
            write_counter(&watched.machine(), value)?;
        }
        Ok(())
    };
    Application::new("counter", run, check).beginning_with((), prepare)
}

#[test]
fn a_start_that_does_not_survive_a_crash_is_caught_in_the_recovery() {
    let right = explored(&counter(Mends::ByRenaming));
    assert!(right.violations().is_empty(), "{right}");
    assert!(right.deepest() > 0, "{right}");

    let findings = explored(&counter(Mends::InPlace));
    let found = findings.violations().into_iter().next().expect("a mistake");
    assert_eq!(found.violation.promise, Promise::Application, "{found}");
    assert!(found.case.crashes.len() > 1, "{found}");

    let again = Findings::default();
    replay_of(&counter(Mends::InPlace), &found.case, &again).expect("the host takes a directory");
    assert_eq!(again.violations()[0].violation, found.violation);

    let trace = trace_of(&counter(Mends::InPlace), &found.case).expect("the host takes a directory");
    assert!(trace.contains("Rename of /counter.new"), "{trace}");
    assert!(
        trace.contains("crash 1") && trace.contains("SetLen of /counter"),
        "{trace}"
    );
    let end = format!("crash {} here", found.case.crashes.len());
    assert!(trace.ends_with(&end), "{trace}");
}

#[test]
fn what_a_check_does_behind_its_start_is_not_crashed() {
    let breaks = |restarted: &Restarted, (): &()| -> Answer {
        let storage = restarted.machine().storage;
        if storage.inspect(Path::new("/broken")).is_ok() {
            return Err("somebody was here".into());
        }
        restarted.recovered();
        storage.create_new(Path::new("/broken"))?.sync_all()?;
        Ok(storage.sync_directory(Path::new("/"))?)
    };
    let run = |watched: &mut Watched<'_, ()>| {
        for number in 0..30 {
            watched
                .machine()
                .storage
                .create_new(Path::new(&format!("/{number}")))?;
        }
        Ok(())
    };
    let findings = explored(&Application::new("breaks", run, breaks));
    assert!(findings.violations().is_empty(), "{findings}");
}

#[test]
fn a_case_of_another_application_is_refused() {
    let case = "somebody:1:5:nothing".parse().expect("the name of a case");
    let replayed = replay_of(&with_archive(|_| Ok(())), &case, &Findings::default());
    replayed.expect_err("there is no such case");
}

/// The engine's own volume, whose third extent cannot be made.
struct Refusing;

impl VolumeMaker for Refusing {
    fn create(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>> {
        let volume = LocalVolume::create_on(storage, Path::new("/volume"), id)?;
        let rule = FaultRule::nth_of(OperationKind::Create, 2).with(Fault::Io);
        Ok(Arc::new(FaultyVolume::new(Arc::new(volume), [rule])))
    }

    fn open(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>> {
        Ok(Arc::new(LocalVolume::open_on(storage, Path::new("/volume"), id)?))
    }
}

#[test]
fn a_volume_that_refuses_on_a_disk_that_works_is_caught() {
    let findings = Findings::default();
    let trial = VolumeAlone::new("refusing", Refusing);
    explore(&trial, SEED, &Effort::default(), &findings).expect("the host takes a directory");
    assert_eq!(broken(&findings), Some(Promise::Answers), "{findings}");
}
