//! Making the catalog again from the frames in the extents, when the journal is lost too.
//!
//! What commits have written about their files says everything about them but which of them live: a removed file may still have its
//! frames. So each is offered, under another name, and a user decides. Addresses in descriptors are those of the beginning; where a
//! frame was found that has the identity and the digest of a shard, the shard lies there.
//!
//! ```text
//! find     volumes by their slots, or by the headers of their extents
//! scan     every extent, frame by frame                                  nothing was touched so far
//! make     a catalog, under a temporary name, synced
//! restart  the journal behind all that a volume has heard of             a crash from here: begin again
//! announce the new epoch to the volumes, so that no old catalog is gone on with
//! keep     the catalog that is there under a longer name
//! publish  the new one under its name                                    a crash from here: done
//! open
//! store    a checkpoint of it                                           the journal leads somewhere again
//! ```

mod coded;
mod content;
mod extent;
mod filling;
mod found;
mod names;
mod placing;
mod report;
mod restart;
mod scanned;
mod volumes;

use std::path::{Path, PathBuf};

pub use report::DeepScanReport;

use self::{
    found::HighestIds,
    restart::{Restart, some_hash},
    scanned::Scanned,
    volumes::FoundVolumes,
};
use super::{
    Archive, OpenOptions, RebuildReport, UsableNames,
    create::{NewCatalog, open_shared},
    locks::machine_for_creation,
    observer::Observer,
    old_catalog::beyond,
    rebuild::{expect_direct_volumes, expect_no_session, expect_remains, has_usable_journal, keep_aside},
};
use crate::{
    catalog::{Access, Catalog, Check, NextIds},
    error::{CatalogError, NameSource, OpenError},
    host::{ArchiveLayout, ArchiveState, BuildLock, Building, Machine},
    units::{BlockId, CommitId, Epoch, ExtentId, FileId},
};

/// Epochs that are passed over: more than were published since a volume that was found was written to.
const SKIPPED_EPOCHS: u64 = 1 << 24;

/// Makes the catalog of an archive again; see [`Archive::rebuild_catalog_with`].
pub(super) fn rebuild(
    machine: &Machine,
    root: &Path,
    options: &OpenOptions,
    names: UsableNames,
    observer: &dyn Observer,
) -> Result<(Archive, RebuildReport), OpenError> {
    expect_remains(machine, root, options)?;
    expect_direct_volumes(machine, root, options)?;
    let layout = ArchiveLayout::on(machine, root);
    let path = || root.to_path_buf();
    let find = |layout| FoundVolumes::find(layout, &options.volumes, options.resources.io);
    if find(&layout)?.is_none() {
        return Err(OpenError::DescriptorsMissing { path: path() });
    }
    if names == UsableNames::Keep && has_usable_journal(&layout, options) {
        let usable = NameSource::Journal;
        return Err(OpenError::NamesKnown { path: path(), usable });
    }
    let (machine, sharing) = machine_for_creation(machine, root)?;
    let layout = ArchiveLayout::on(&machine, root);
    let build = layout.lock_for_building(Building::Rebuild)?;
    let scanned = || -> Result<Scanned, OpenError> {
        expect_no_session(&layout)?;
        if names == UsableNames::Keep && has_usable_catalog(&layout, options)? {
            let usable = NameSource::Catalog;
            return Err(OpenError::NamesKnown { path: path(), usable });
        }
        let volumes = find(&layout)?.ok_or_else(|| OpenError::DescriptorsMissing { path: path() })?;
        Scanned::new(volumes, root, observer)
    };
    let scanned = match scanned() {
        Ok(scanned) => scanned,
        Err(error) => {
            // Nothing was begun; the mark would only say that something was.
            build.end()?;
            return Err(error);
        }
    };
    let (kept, report) = make(&layout, build, scanned, options)?;
    let open = OpenOptions {
        access: Access::Write,
        ..options.clone()
    };
    let (archive, recovery) = open_shared(layout, sharing, &open)?;
    // The journal begins behind what was found: with a checkpoint a catalog that is lost again is made from there, with the names that
    // were given since. Where it cannot be taken, all frames are scanned again.
    match archive.checkpoint() {
        Ok(_) | Err(_) => {}
    }
    let scan = Some(report);
    Ok((archive, RebuildReport { kept, recovery, scan }))
}

/// Makes the catalog and gives it its name; returns where the one is that had it.
fn make(
    layout: &ArchiveLayout,
    build: BuildLock,
    scanned: Scanned,
    options: &OpenOptions,
) -> Result<(Option<PathBuf>, DeepScanReport), OpenError> {
    layout.remove_stale_temporaries(&build)?;
    layout.create_directories()?;
    let cache = options.resources.catalog_cache();
    let archive = scanned.archive.clone();
    let records = scanned.records(layout)?;
    let restart = Restart {
        archive: &archive,
        volumes: scanned.paths().zip(records.iter().cloned()).collect(),
        epoch: beyond_epoch(scanned.volumes.epoch()),
        hash: some_hash(layout.machine())?,
    };
    let catalog = NewCatalog::make(layout, &build, (&archive, &records), cache)?;
    let opened = catalog.open()?;
    let (highest, report) = scanned.fill(&opened, &records)?;
    let journal = restart.journal(layout)?;
    let records = restart.announce(layout);
    let mut writer = opened.write()?;
    for record in &records {
        writer.put_volume(record)?;
    }
    writer.raise_next_ids(&next_ids(highest));
    writer.raise_epoch(journal.epoch);
    writer.set_journal(&journal.encode())?;
    writer.commit()?;
    opened.close()?;
    let kept = keep_aside(layout)?;
    catalog.publish()?;
    build.end()?;
    Ok((kept, report))
}

/// Says whether a catalog is there that can be opened: it has every name, whatever has become of the journal.
fn has_usable_catalog(layout: &ArchiveLayout, options: &OpenOptions) -> Result<bool, OpenError> {
    if layout.state()? != ArchiveState::Archive {
        return Ok(false);
    }
    let file_len_bytes = layout.catalog_len_bytes()?;
    let opened = Catalog::open(
        &layout.machine().storage,
        &layout.catalog(),
        Access::Read,
        Check::WhenSmall { file_len_bytes },
        options.resources.catalog_cache(),
    );
    match opened {
        Ok(catalog) => Ok(!catalog.has_damaged_pages()),
        Err(CatalogError::Missing | CatalogError::Damaged { .. }) => Ok(false),
        // Somebody uses it, or a newer version made it: it is no ruin.
        Err(error) => Err(error.into()),
    }
}

/// Returns an epoch that no volume has heard of. One that says that it has heard of nearly all there can be has not, and is refused
/// where the archive is opened.
const fn beyond_epoch(heard: Epoch) -> Epoch {
    let most = u64::MAX / 2;
    let heard = if heard.get() < most { heard.get() } else { most };
    Epoch::new(heard + SKIPPED_EPOCHS)
}

/// Returns the ids that come next, far beyond all that were seen.
fn next_ids(highest: HighestIds) -> NextIds {
    beyond(NextIds {
        file: FileId::new(highest.file + 1),
        block: BlockId::new(highest.block + 1),
        extent: ExtentId::new(highest.extent + 1),
        commit: CommitId::new(highest.commit + 1),
    })
}
