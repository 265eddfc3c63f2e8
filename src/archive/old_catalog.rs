//! A catalog that somebody has put back: how it is told from one whose writer has died, and what it cannot know.
//!
//! The journal has what was published since. What was given out, taken or written since and never published is in no record:
//! ids are passed over, extents that the catalog does not know are left alone, and so is what stands behind the ends of those
//! that it knows.

use std::collections::BTreeSet;

use super::shared::Shared;
use crate::{
    catalog::{CatalogReader, CatalogWriter, ExtentRecord, ExtentState, NextIds, Publication},
    error::{CatalogError, PublicationError, VolumeError},
    host::glance_at_sessions,
    journal::Tail,
    units::{BlockId, CommitId, ExtentId, FileId, to_u64},
    volume::Volume,
};

/// Ids that a catalog passes over when it was an old copy: more than anybody gives out without publishing.
const SKIPPED_IDS: u64 = 1 << 24;

/// Says whether a catalog that lacks these records is an old one.
pub(super) fn is_old(shared: &Shared, tail: &Tail) -> bool {
    match tail.ahead.len() {
        0 => false,
        // This is what a writer leaves that publishes just now, or has died. Whoever publishes has a session.
        1 => has_no_session(shared),
        _ => true,
    }
}

/// Says whether nobody writes, and nobody has died writing.
pub(super) fn has_no_session(shared: &Shared) -> bool {
    // What cannot be told is no ground for a warning.
    glance_at_sessions(shared.machine(), &shared.layout.sessions()).is_ok_and(|seen| seen.is_empty())
}

/// Prepares an old catalog for the first of the records that it lacks, in the transaction of that one: a crash behind it finds
/// a catalog that may not look old any more.
pub(super) fn prepare(
    shared: &Shared,
    writer: &mut CatalogWriter,
    tail: &Tail,
) -> Result<(), PublicationError> {
    let Some(last) = tail.ahead.last() else {
        return Ok(());
    };
    // Whoever has put it here may not have synced its name. Then a crash brings the other one back, behind what will have been
    // acknowledged by then.
    shared.layout.sync_names()?;
    let (record, epoch) = (shared.journal().load(last)?, last.head.epoch);
    let publication =
        Publication::parse(&record.body).map_err(|source| PublicationError::Record { epoch, source })?;
    // What was given out since, and never published, is not in the journal: no id is given twice.
    writer.raise_next_ids(&beyond(publication.next_ids));
    Ok(())
}

/// Returns ids that nobody has got who had got no more than these when a publication was made.
pub(super) fn beyond(next: NextIds) -> NextIds {
    NextIds {
        file: FileId::new(next.file.get().saturating_add(SKIPPED_IDS)),
        block: BlockId::new(next.block.get().saturating_add(SKIPPED_IDS)),
        extent: ExtentId::new(next.extent.get().saturating_add(SKIPPED_IDS)),
        commit: CommitId::new(next.commit.get().saturating_add(SKIPPED_IDS)),
    }
}

/// Seals open extents that end elsewhere than a catalog says that was just brought forward.
///
/// No writer leaves such a thing, so the catalog was an old one, and what stands there may be what others have published. One
/// that cannot be looked at is sealed too: nothing is lost with it but the rest of its room.
pub(super) fn seal_what_ends_elsewhere(
    shared: &Shared,
    writer: &mut CatalogWriter,
) -> Result<(), CatalogError> {
    let volumes = shared.volumes();
    for extent in writer.extents()? {
        let is_free = extent.state == ExtentState::Open && extent.owner.is_none() && extent.end_bytes > 0;
        if is_free
            && let Some(volume) = volumes.writable(extent.volume)
            && !ends_at(volume.as_ref(), extent.id, extent.end_bytes).unwrap_or(false)
        {
            seal(writer, &extent)?;
        }
    }
    Ok(())
}

/// Notes that nothing is appended to an extent any more; what it holds stays.
pub(super) fn seal(writer: &mut CatalogWriter, extent: &ExtentRecord) -> Result<(), CatalogError> {
    writer.put_extent(&ExtentRecord {
        state: ExtentState::Sealed,
        ..extent.clone()
    })
}

/// Says whether an extent is there and has exactly this length.
pub(super) fn ends_at(volume: &dyn Volume, extent: ExtentId, end_bytes: u64) -> Result<bool, VolumeError> {
    match volume.read_at(extent, end_bytes, &mut [0]) {
        Err(VolumeError::Truncated { len_bytes, .. }) => Ok(len_bytes == end_bytes),
        Ok(()) | Err(VolumeError::Missing { .. } | VolumeError::Read { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Counts extents on the volumes that a catalog does not know.
pub(super) fn count_unknown_extents(
    shared: &Shared,
    reader: &CatalogReader,
) -> Result<u64, PublicationError> {
    let known: BTreeSet<ExtentId> = reader.extents()?.into_iter().map(|extent| extent.id).collect();
    let mut unknown = 0;
    for member in shared.volumes().readable() {
        let listed = member.volume.extents()?;
        unknown += to_u64(listed.iter().filter(|stat| !known.contains(&stat.extent)).count());
    }
    Ok(unknown)
}
