//! Settling what writers that died have left behind.

use std::collections::{BTreeMap, BTreeSet};

use super::{ballast::with_room, shared::Shared};
use crate::{
    catalog::{CatalogWriter, ExtentRecord, ExtentState, IntentRecord, TransactionSize},
    error::{CatalogError, CommitError, HostError, OpenError, VolumeError},
    host::{ArchiveLayout, SeenSession, SessionLife, SessionState, glance_at_sessions, sessions},
    units::{CommitId, ExtentId, SessionId, to_u64},
};

/// What opening an archive for writing has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct RecoveryReport {
    /// Writers that had died.
    pub dead_sessions: u64,
    /// Extents that were taken back from them; their committed files are untouched.
    pub extents_released: u64,
    /// The catalog is older than what its volume has seen: an old copy was put back, and newer files are not in it. Only
    /// opening for reading gets this far.
    pub is_catalog_old: bool,
}

/// Says whether a writer has died without ending its session.
pub(super) fn has_dead_session(layout: &ArchiveLayout) -> Result<bool, HostError> {
    // Only a glance: a lock that is held for a moment would look like a life to a writer that recovers.
    Ok(glance_at_sessions(layout.machine(), &layout.sessions())?
        .iter()
        .any(|seen| seen.life == SessionLife::Dead))
}

/// Takes back what dead writers have reserved: nothing of their unfinished commits stays, and nothing leaks.
pub(super) fn recover(shared: &Shared) -> Result<RecoveryReport, OpenError> {
    let reader = shared.catalog.read()?;
    let (extents, intents) = (reader.extents()?, reader.intents()?);
    drop(reader);
    let owned = extents.iter().any(|extent| extent.owner.is_some());
    let intended = intents.iter().any(|intent| intent.session.is_some());
    if !owned && !intended && !has_dead_session(&shared.layout)? {
        return Ok(RecoveryReport::default());
    }
    // The dead may have died of a full disk.
    let size = TransactionSize {
        extents: to_u64(extents.len()),
        intents: to_u64(intents.len()),
        ..TransactionSize::default()
    };
    with_room(shared, size.room_bytes(), || recover_now(shared))
}

fn recover_now(shared: &Shared) -> Result<RecoveryReport, OpenError> {
    let mut writer = shared.catalog.write()?;
    // A session exists before its first transaction, and ours excludes theirs: whoever has an intent now is listed here
    // while it lives.
    let seen = sessions(shared.machine(), &shared.layout.sessions())?;
    let live: BTreeSet<SessionId> = seen
        .iter()
        .filter(|session| matches!(session.state, SessionState::Live(_)))
        .map(|session| session.id)
        .collect();
    let dead: BTreeSet<SessionId> = seen
        .iter()
        .filter(|session| matches!(session.state, SessionState::Dead(_)))
        .map(|session| session.id)
        .collect();
    let intents = writer.intents()?;
    let fate = |intent: &IntentRecord| (intent.commit, Fate::of(intent, &live, &dead));
    let fates: BTreeMap<CommitId, Fate> = intents.iter().map(fate).collect();
    let mut extents_released = 0;
    for extent in writer.extents()? {
        let Some(owner) = extent.owner else { continue };
        // Without an intent nothing says who the owner is.
        let fate = fates
            .get(&owner)
            .copied()
            .unwrap_or(Fate::GivenUp(Afterwards::Seal));
        if let Fate::GivenUp(afterwards) = fate {
            release_unfinished(shared, &mut writer, &extent, afterwards)?;
            extents_released += 1;
        }
    }
    // An intent goes with the last that it owns, in the same transaction.
    for (&commit, fate) in &fates {
        if let Fate::GivenUp(_) = fate {
            writer.remove_intent(commit)?;
        }
    }
    writer.commit()?;
    let mut dead_sessions = 0;
    for session in seen {
        let SeenSession { state, .. } = session;
        if let SessionState::Dead(dead) = state {
            dead.remove()?;
            dead_sessions += 1;
        }
    }
    Ok(RecoveryReport {
        dead_sessions,
        extents_released,
        is_catalog_old: false,
    })
}

/// What becomes of a commit that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Somebody works on it, or may come back to it.
    GoesOn,
    /// Nobody does; what it owns is taken back.
    GivenUp(Afterwards),
}

impl Fate {
    fn of(intent: &IntentRecord, live: &BTreeSet<SessionId>, dead: &BTreeSet<SessionId>) -> Self {
        match intent.session {
            None => Self::GoesOn,
            Some(session) if live.contains(&session) => Self::GoesOn,
            Some(session) if dead.contains(&session) => Self::GivenUp(Afterwards::GoOn),
            // Without a file nothing proves that the session is dead: it may go on to write, but not where others do.
            Some(_) => Self::GivenUp(Afterwards::Seal),
        }
    }
}

/// What becomes of an extent that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Later commits go on in it.
    GoOn,
    /// Nobody does.
    Seal,
}

/// Takes one extent back from a commit that will never be published: its bytes go first, its row after them, so that a
/// crash in between finds the row and does it again.
pub(super) fn release_unfinished(
    shared: &Shared,
    writer: &mut CatalogWriter,
    extent: &ExtentRecord,
    afterwards: Afterwards,
) -> Result<(), ReleaseError> {
    let volume = shared.volumes.get(extent.volume);
    if extent.end_bytes == 0 {
        // Made by that commit, so nothing of it was ever published.
        match volume.map(|volume| volume.remove_extent(extent.id)) {
            None | Some(Ok(()) | Err(VolumeError::Missing { .. })) => {}
            Some(Err(error)) => return Err(error.into()),
        }
        writer.remove_extent(extent.id)?;
        return Ok(());
    }
    let state = match volume.map(|volume| cut_back(volume.as_ref(), extent.id, extent.end_bytes)) {
        Some(Ok(())) if afterwards == Afterwards::GoOn => extent.state,
        // Damaged meanwhile: nothing is appended to it any more, what it holds is a matter for scrub.
        Some(Ok(()) | Err(_)) | None => ExtentState::Sealed,
    };
    writer.put_extent(&ExtentRecord {
        owner: None,
        state,
        ..extent.clone()
    })?;
    Ok(())
}

/// Why an extent was not taken back.
#[derive(Debug)]
pub(super) enum ReleaseError {
    Volume(VolumeError),
    Catalog(CatalogError),
}

impl From<VolumeError> for ReleaseError {
    fn from(source: VolumeError) -> Self {
        Self::Volume(source)
    }
}

impl From<CatalogError> for ReleaseError {
    fn from(source: CatalogError) -> Self {
        Self::Catalog(source)
    }
}

impl From<ReleaseError> for OpenError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Volume(source) => source.into(),
            ReleaseError::Catalog(source) => source.into(),
        }
    }
}

impl From<ReleaseError> for CommitError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Volume(source) => source.into(),
            ReleaseError::Catalog(source) => source.into(),
        }
    }
}

fn cut_back(volume: &dyn crate::volume::Volume, extent: ExtentId, end_bytes: u64) -> Result<(), VolumeError> {
    volume.resume_extent(extent, end_bytes).map(drop)
}
