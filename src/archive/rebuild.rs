//! Making the catalog again from the journal, when it is lost.
//!
//! The journal has every publication since the archive began, and the first one says what archive that was. A catalog as it was
//! before the first publication is an old copy like any other, and opening an archive for writing brings old copies forward:
//! what was given out and never published is passed over, extents that end elsewhere are sealed.
//!
//! ```text
//! find     volumes by their slots, copies of the journal by the headers of their segments
//! read     the chain from its beginning; what is missing, or went two ways, ends it here, and nothing was touched
//! make     a catalog of the beginning, under a temporary name, synced
//! keep     the one that is there under a longer name                     a crash from here: begin again
//! publish  the new one under its name                                    a crash from here: an old catalog
//! open     which applies every record
//! ```

mod past;

use std::{path::PathBuf, sync::Arc};

use self::past::Past;
pub(super) use self::past::{the_archive, volumes_at};
use super::{
    Archive, DeepScanReport, OpenOptions, RecoveryReport,
    create::{NewCatalog, open_shared},
    describe::read_text,
    locks::machine_for_creation,
    old_catalog::beyond,
    volumes::{Search, Volumes, expect_direct, find_volumes},
};
use crate::{
    catalog::{BlockRecord, Catalog, Checkpoint, Slice},
    error::{HostError, HostOperation, OpenError, PublicationError},
    format::JournalState,
    host::{ArchiveLayout, ArchiveState, BuildLock, Building, Machine, SessionLife, glance_at_sessions},
    merkle::ChainHash,
    storage::Replace,
    units::Epoch,
};

/// What making a catalog again has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RebuildReport {
    /// Where the catalog is now that was there before, if one was.
    pub kept: Option<PathBuf>,
    /// What opening the new one has settled; [`RecoveryReport::records_rolled_forward`] counts what was applied.
    pub recovery: RecoveryReport,
    /// What a deep scan has found, where the catalog was made from frames.
    pub scan: Option<DeepScanReport>,
}

/// How a catalog is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RebuildOptions {
    /// What it is made from.
    pub from: RebuildFrom,
}

/// What a catalog is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RebuildFrom {
    /// The journal, which has everything that was published.
    #[default]
    Journal,
    /// The frames in the extents: a deep scan, for an archive without a journal. Which of the files that it finds lived nobody knows,
    /// so it offers all of them, under other names.
    Frames(UsableNames),
}

/// What a deep scan does where something can still be used that has the names which it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsableNames {
    /// It refuses.
    #[default]
    Keep,
    /// It gives them up: what can be used did not help.
    GiveUp,
}

/// Makes the catalog of an archive again; see [`Archive::rebuild_catalog`].
pub(super) fn rebuild(
    machine: &Machine,
    root: &std::path::Path,
    options: &OpenOptions,
) -> Result<(Archive, RebuildReport), OpenError> {
    expect_remains(machine, root, options)?;
    expect_direct_volumes(machine, root, options)?;
    let past = Past::find(&ArchiveLayout::on(machine, root), options)?;
    let (machine, sharing) = machine_for_creation(machine, root)?;
    let layout = ArchiveLayout::on(&machine, root);
    let build = layout.lock_for_building(Building::Rebuild)?;
    expect_no_session(&layout)?;
    layout.create_directories()?;
    let catalog = make(&layout, &build, &past, options)?;
    let kept = keep_aside(&layout)?;
    catalog.publish()?;
    build.end()?;
    let open = OpenOptions {
        access: crate::catalog::Access::Write,
        ..options.clone()
    };
    let (archive, recovery) = open_shared(layout, sharing, &open)?;
    let scan = None;
    Ok((archive, RebuildReport { kept, recovery, scan }))
}

/// Refuses a place where no archive is left to make a catalog for.
pub(super) fn expect_remains(
    machine: &Machine,
    root: &std::path::Path,
    options: &OpenOptions,
) -> Result<(), OpenError> {
    let path = root.to_path_buf();
    match ArchiveLayout::on(machine, root).state()? {
        ArchiveState::Archive | ArchiveState::Remains => Ok(()),
        // Volumes elsewhere may belong to an archive whose whole directory is lost.
        ArchiveState::Absent | ArchiveState::Empty if !options.volumes.is_empty() => Ok(()),
        ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted => {
            Err(OpenError::NotFound { path })
        }
        ArchiveState::Foreign => Err(OpenError::NotAnArchive { path }),
    }
}

/// Refuses volumes that could not be written as is asked for, before anything is made: the archive is open for writing in the end.
pub(super) fn expect_direct_volumes(
    machine: &Machine,
    root: &std::path::Path,
    options: &OpenOptions,
) -> Result<(), OpenError> {
    let found = volumes_at(&ArchiveLayout::on(machine, root), &options.volumes);
    let mut paths = found.iter().map(|(path, _slot)| path);
    paths.try_for_each(|path| expect_direct(options.resources.io, machine.storage.as_ref(), path))
}

/// Says whether a journal is there that a catalog can be made from.
pub(super) fn has_usable_journal(layout: &ArchiveLayout, options: &OpenOptions) -> bool {
    Past::find(layout, options).is_ok()
}

/// Makes the catalog that everything behind is applied to: from the newest checkpoint that can be read, or of the beginning.
fn make<'a>(
    layout: &'a ArchiveLayout,
    build: &BuildLock,
    past: &Past,
    options: &OpenOptions,
) -> Result<NewCatalog<'a>, OpenError> {
    let new = || {
        layout.remove_stale_temporaries(build)?;
        let of = (&past.archive, past.volumes());
        NewCatalog::make(layout, build, (of.0, &of.1), options.resources.catalog_cache())
    };
    for checkpoint in &past.checkpoints {
        let catalog = new()?;
        if load(layout, &catalog, (past, checkpoint), options)? {
            return Ok(catalog);
        }
    }
    if past.first_epoch != Epoch::ZERO.next() {
        let (catalog, journal) = (Epoch::ZERO, past.first_epoch);
        return Err(PublicationError::Gap { catalog, journal }.into());
    }
    let catalog = new()?;
    let beginning = JournalState {
        epoch: Epoch::ZERO,
        hash: ChainHash::NONE,
        forgotten: Epoch::ZERO,
        written_bytes: 0,
        // No copy has a place in it: opening reads all of every copy, and finds everything ahead of it.
        copies: Vec::new(),
    };
    catalog.change(|writer| {
        // Whatever was given out behind the last record is given to nobody again.
        writer.raise_next_ids(&beyond(past.last.next_ids));
        writer.set_journal(&beginning.encode())
    })?;
    Ok(catalog)
}

/// Fills a new catalog with what a checkpoint has; says whether all of it could be read.
fn load(
    layout: &ArchiveLayout,
    new: &NewCatalog<'_>,
    (past, checkpoint): (&Past, &Checkpoint),
    options: &OpenOptions,
) -> Result<bool, OpenError> {
    let catalog = Arc::new(new.open()?);
    let search = Search {
        layout,
        archive: past.archive.id,
        io: options.resources.io,
        places: &options.volumes,
    };
    let found = find_volumes(&search, &past.volumes(), None)?;
    let members = found.into_iter().map(|(member, _problem)| member).collect();
    let volumes = Arc::new(Volumes::new(members, past.archive.policy.lanes(), &catalog));
    for (extent, volume) in past.volumes_of_slices() {
        volumes.note(extent, volume);
    }
    let is_loaded = load_slices(&catalog, &volumes, (past, checkpoint))?;
    drop(volumes);
    let catalog = Arc::into_inner(catalog).expect("the volumes held it weakly");
    catalog.close()?;
    Ok(is_loaded)
}

fn load_slices(
    catalog: &Catalog,
    volumes: &Arc<Volumes>,
    (past, checkpoint): (&Past, &Checkpoint),
) -> Result<bool, OpenError> {
    for (commit, block) in &checkpoint.slices {
        let read = |block: &BlockRecord| {
            let bytes = read_text(Arc::clone(volumes), (*commit, block))?;
            Slice::parse(&bytes).ok()
        };
        let Some(slice) = read(block).or_else(|| read(&past.moved(*commit, block))) else {
            return Ok(false);
        };
        let mut writer = catalog.write()?;
        writer.take_slice(slice)?;
        writer.commit()?;
    }
    let state = JournalState {
        epoch: checkpoint.epoch,
        hash: checkpoint.hash,
        forgotten: Epoch::new(past.first_epoch.get().saturating_sub(1)),
        written_bytes: checkpoint.journal_bytes,
        copies: Vec::new(),
    };
    let mut writer = catalog.write()?;
    writer.set_epoch(checkpoint.epoch);
    writer.raise_next_ids(&beyond(past.last.next_ids));
    writer.set_checkpoints(&checkpoint.known)?;
    writer.set_journal(&state.encode())?;
    writer.commit()?;
    Ok(true)
}

/// Refuses while a writer lives: it would go on with the catalog that is put aside.
pub(super) fn expect_no_session(layout: &ArchiveLayout) -> Result<(), OpenError> {
    let seen = glance_at_sessions(layout.machine(), &layout.sessions())?;
    if seen.iter().any(|seen| seen.life == SessionLife::Live) {
        let path = layout.sessions();
        return Err(HostError::Locked { path }.into());
    }
    Ok(())
}

/// Gives the catalog that is there a longer name, durably.
pub(super) fn keep_aside(layout: &ArchiveLayout) -> Result<Option<PathBuf>, OpenError> {
    if layout.state()? != ArchiveState::Archive {
        return Ok(None);
    }
    let storage = layout.machine().storage.as_ref();
    let catalog = layout.catalog();
    for number in 1_u32.. {
        let mut name = catalog.clone().into_os_string();
        name.push(format!(".old-{number}"));
        let kept = PathBuf::from(name);
        match storage.rename(&catalog, &kept, Replace::Never) {
            Ok(()) => {
                layout.sync_names()?;
                return Ok(Some(kept));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(HostError::io(HostOperation::Rename, &catalog)(error).into()),
        }
    }
    unreachable!("a directory does not hold as many files")
}
