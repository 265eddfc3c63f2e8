//! Commits that have begun and are not published: whose they are, and how their room comes back.
//!
//! An intent names the session that works on it. When that is dead, a commit that cannot go on is rolled back by the next
//! writing open; one that can waits, without a session, until somebody resumes it, rolls it back or commits that name again.
//! Bytes go first, then their rows, so that a crash in between finds the rows and does it again.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _, path::PathBuf, sync::Arc};

use super::{
    ballast::with_room,
    left_behind::{LeftBehind, UnderWay},
    publication,
    shared::Shared,
};
use crate::{
    catalog::{
        CatalogWriter, ExtentRecord, ExtentState, IntentRecord, Replaces, ResumableRecord, TransactionSize,
    },
    error::{CatalogError, CommitError, VolumeError},
    geometry::FileGeometry,
    host::{SessionLife, glance_at_sessions},
    seeded_bugs::{SeededBug, is_on},
    units::{BlockIndex, CommitId, FileName, SessionId, Timestamp, to_u64},
    volume::{AbsentVolume, Volume},
};

/// A commit that has begun and is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedCommit {
    /// Its number.
    pub commit: CommitId,
    /// The name that it stores; the first, where it stores many.
    pub name: FileName,
    /// How many others it stores with it.
    pub others: u64,
    /// When it began.
    pub begun_at: Timestamp,
    /// Whether a process works on it just now.
    pub is_running: bool,
    /// Where its source lies and how far it has come; `None` when it cannot go on after its process has died.
    pub resumable: Option<UnfinishedFile>,
}

/// The file of a commit that can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedFile {
    /// Its source.
    pub path: PathBuf,
    /// Length of the source in bytes.
    pub len_bytes: u64,
    /// Bytes of it that are stored and need not be written again.
    pub done_bytes: u64,
}

/// Lists the commits that are not done, by their numbers.
pub(super) fn list(shared: &Shared) -> Result<Vec<UnfinishedCommit>, CommitError> {
    let sessions = Sessions::look(shared)?;
    let intents = shared.catalog.read()?.intents()?;
    let show = |intent: IntentRecord| UnfinishedCommit {
        commit: intent.commit,
        is_running: sessions.worker(&intent) != Worker::Nobody,
        name: intent.name,
        others: intent.others,
        begun_at: intent.begun_at,
        resumable: intent.resumable.map(|resumable| UnfinishedFile {
            path: PathBuf::from(OsStr::from_bytes(&resumable.source.path)),
            len_bytes: resumable.source.len_bytes,
            done_bytes: done_bytes(&resumable),
        }),
    };
    Ok(intents.into_iter().map(show).collect())
}

/// Returns how many bytes of a file lie before its last point of progress.
fn done_bytes(resumable: &ResumableRecord) -> u64 {
    let blocks = resumable.progress.last().map_or(0, |point| point.blocks);
    bytes_before(&resumable.geometry, blocks)
}

/// Returns how many bytes of a file lie before a block.
pub(super) fn bytes_before(geometry: &FileGeometry, block: u64) -> u64 {
    geometry.bytes_before(BlockIndex::new(block))
}

/// Returns the commits of a name that nobody works on and that can go on.
pub(super) fn waiting_for_name(shared: &Shared, name: &FileName) -> Result<Vec<IntentRecord>, CommitError> {
    let sessions = Sessions::look(shared)?;
    let mut intents = shared.catalog.read()?.intents()?;
    intents.retain(|intent| {
        intent.name == *name && intent.resumable.is_some() && sessions.worker(intent) == Worker::Nobody
    });
    Ok(intents)
}

/// Gives back what could go on under names that something was stored or renamed to just now, also where nobody has settled it yet; what a process
/// works on is its own.
pub(super) fn end_waiting(shared: &Shared, is_stored: impl Fn(&FileName) -> bool) -> Result<(), CommitError> {
    let mut intents = shared.catalog.read()?.intents()?;
    if is_on(SeededBug::WaitingNotEnded) {
        return Ok(());
    }
    intents.retain(|intent| intent.resumable.is_some() && is_stored(&intent.name));
    if intents.is_empty() {
        return Ok(());
    }
    let sessions = Sessions::look(shared)?;
    intents.retain(|intent| sessions.worker(intent) == Worker::Nobody);
    // One that somebody takes up this moment stops no other.
    let ended = intents.iter().map(|intent| give_back(shared, intent.commit));
    ended.fold(Ok(()), Result::and)
}

/// Returns a commit that is not done.
pub(super) fn find(shared: &Shared, commit: CommitId) -> Result<IntentRecord, CommitError> {
    let intent = shared.catalog.read()?.intent(commit)?;
    intent.ok_or(CommitError::NoSuchCommit { commit })
}

/// Takes over a commit that nobody works on: from the end of this transaction it is ours alone.
pub(super) fn claim(shared: &Shared, commit: CommitId, replaces: Replaces) -> Result<UnderWay, CommitError> {
    let session = shared.session()?;
    // P6: its process may have died behind its record, and then it is published.
    let mut writer = publication::begin_settled(shared)?;
    let mut intent = writer
        .intent(commit)?
        .ok_or(CommitError::NoSuchCommit { commit })?;
    if Sessions::look(shared)?.worker(&intent) != Worker::Nobody {
        return Err(in_progress(&intent));
    }
    intent.session = Some(session);
    let Some(resumable) = &mut intent.resumable else {
        return Err(CommitError::NotResumable { commit });
    };
    resumable.replaces = replaces;
    writer.put_intent(&intent)?;
    // Taken out before anybody else can begin a transaction, so that nobody ends it under us.
    let was_left = shared.left.take(commit);
    match writer.commit() {
        Ok(_) => Ok(UnderWay::new(&shared.left, commit)),
        Err(error) => {
            if was_left {
                shared.left.add(commit);
            }
            Err(error.into())
        }
    }
}

/// Who ends a commit of this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ender {
    /// Whoever works on it, and holds its [`UnderWay`].
    Worker,
    /// Somebody who has found it left behind.
    Finder,
}

/// Lets a commit of this session wait for a later attempt; returns how many bytes are done.
pub(super) fn let_wait(shared: &Shared, commit: CommitId, ender: Ender) -> Result<u64, CommitError> {
    let room_bytes = TransactionSize::default().room_bytes();
    end_own(shared, (commit, room_bytes), ender, |writer, mut intent| {
        intent.session = None;
        writer.put_intent(&intent)?;
        Ok(intent.resumable.as_ref().map_or(0, done_bytes))
    })
}

/// Gives back everything that a commit of this session has taken: it has failed.
pub(super) fn give_up(shared: &Shared, commit: CommitId, ender: Ender) -> Result<(), CommitError> {
    give_up_with(shared, commit, ender, Afterwards::GoOn)
}

/// Does the same, and says what becomes of extents that hold other bytes, too.
pub(super) fn give_up_with(
    shared: &Shared,
    commit: CommitId,
    ender: Ender,
    afterwards: Afterwards,
) -> Result<(), CommitError> {
    let room_bytes = room_to_release(shared)?;
    let ended = end_own(shared, (commit, room_bytes), ender, |writer, _| {
        roll_back(shared, writer, commit, afterwards)?;
        Ok(())
    });
    match ended {
        // Somebody else has given it back.
        Err(CommitError::OwnershipLost { .. }) => Ok(()),
        ended => ended,
    }
}

/// Ends the work of this session on a commit, in one transaction.
fn end_own<T>(
    shared: &Shared,
    (commit, room_bytes): (CommitId, u64),
    ender: Ender,
    end: impl FnOnce(&mut CatalogWriter, IntentRecord) -> Result<T, CommitError>,
) -> Result<T, CommitError> {
    let session = shared.session()?;
    // What it has failed of may be a full disk.
    with_room(shared, room_bytes, || {
        let mut writer = shared.catalog.write()?;
        // Under the lock: whoever takes it up or ends it meanwhile has taken it out.
        let is_mine = ender == Ender::Worker || shared.left.take(commit);
        let intent = writer.intent(commit)?;
        let Some(intent) = intent.filter(|intent| is_mine && intent.session == Some(session)) else {
            return Err(CommitError::OwnershipLost { commit });
        };
        let ended = end(&mut writer, intent).and_then(|ended| {
            writer.commit()?;
            Ok(ended)
        });
        if ended.is_err() && ender == Ender::Finder {
            shared.left.add(commit);
        }
        ended
    })
}

/// Ends what this process has left behind. What still cannot be ended is tried again the next time.
pub(super) fn end_left_behind(shared: &Shared) {
    for commit in shared.left.all() {
        let intent = shared.catalog.read().and_then(|reader| reader.intent(commit));
        let may_go_on = intent.is_ok_and(|intent| intent.is_some_and(|intent| has_progress(&intent)));
        let ended = if may_go_on {
            let_wait(shared, commit, Ender::Finder).map(drop)
        } else {
            give_up(shared, commit, Ender::Finder)
        };
        match ended {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Says whether something of a commit is done that a later attempt need not write again.
pub(super) fn has_progress(intent: &IntentRecord) -> bool {
    let resumable = intent.resumable.as_ref();
    resumable.is_some_and(|resumable| !resumable.progress.is_empty())
}

/// Returns what a transaction needs that may take every extent back.
fn room_to_release(shared: &Shared) -> Result<u64, CommitError> {
    let size = TransactionSize {
        extents: to_u64(shared.catalog.read()?.extents()?.len()),
        ..TransactionSize::default()
    };
    Ok(size.room_bytes())
}

/// Gives back everything that a commit has taken, unless somebody works on it.
pub(super) fn give_back(shared: &Shared, commit: CommitId) -> Result<(), CommitError> {
    // A session of our own: who recovers must see that somebody works on it.
    shared.session()?;
    with_room(shared, room_to_release(shared)?, || {
        // P6: as for a claim.
        let mut writer = publication::begin_settled(shared)?;
        let intent = writer
            .intent(commit)?
            .ok_or(CommitError::NoSuchCommit { commit })?;
        let afterwards = match Sessions::look(shared)?.worker(&intent) {
            Worker::Nobody => Afterwards::GoOn,
            // It may go on to write, but not where others do.
            Worker::Unknown => Afterwards::Seal,
            Worker::Alive => return Err(in_progress(&intent)),
        };
        roll_back(shared, &mut writer, commit, afterwards)?;
        writer.commit()?;
        shared.left.take(commit);
        Ok(())
    })
}

/// Checks that an intent is still as it was read and ours.
pub(super) fn check_ours(writer: &CatalogWriter, intent: &IntentRecord) -> Result<(), CommitError> {
    let commit = intent.commit;
    match writer.intent(commit)? {
        Some(now) if now.session == intent.session => Ok(()),
        Some(_) | None => Err(CommitError::OwnershipLost { commit }),
    }
}

fn in_progress(intent: &IntentRecord) -> CommitError {
    CommitError::InProgress {
        commit: intent.commit,
        name: intent.name.clone(),
    }
}

/// Who works on a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worker {
    /// Nobody: it waits, or the death of its process is proven.
    Nobody,
    /// A process that lives.
    Alive,
    /// The file of its session is gone, which proves nothing: the process may live and write.
    Unknown,
}

/// The sessions that have a file, and what this process has left behind in its own.
struct Sessions {
    lives: BTreeMap<SessionId, SessionLife>,
    left: Arc<LeftBehind>,
}

impl Sessions {
    fn look(shared: &Shared) -> Result<Self, CommitError> {
        let seen = glance_at_sessions(shared.machine(), &shared.layout.sessions())?;
        Ok(Self {
            lives: seen.into_iter().map(|seen| (seen.id, seen.life)).collect(),
            left: Arc::clone(&shared.left),
        })
    }

    fn worker(&self, intent: &IntentRecord) -> Worker {
        if self.left.has(intent.commit) {
            return Worker::Nobody;
        }
        match intent.session.map(|session| self.lives.get(&session)) {
            None | Some(Some(SessionLife::Dead)) => Worker::Nobody,
            Some(Some(SessionLife::Live)) => Worker::Alive,
            Some(None) => Worker::Unknown,
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

/// Takes back every extent of a commit that will never be published, and its intent; returns how many those were.
pub(super) fn roll_back(
    shared: &Shared,
    writer: &mut CatalogWriter,
    commit: CommitId,
    afterwards: Afterwards,
) -> Result<u64, CatalogError> {
    let mut released = 0;
    for extent in writer.extents()? {
        if extent.owner == Some(commit) {
            release(shared, writer, &extent, afterwards)?;
            released += 1;
        }
    }
    if writer.intent(commit)?.is_some() {
        writer.remove_intent(commit)?;
    }
    Ok(released)
}

/// Takes one extent back: its bytes go first, its row after them.
pub(super) fn release(
    shared: &Shared,
    writer: &mut CatalogWriter,
    extent: &ExtentRecord,
    afterwards: Afterwards,
) -> Result<(), CatalogError> {
    let volumes = shared.volumes();
    // Where nothing may be written it is done when that works, and of one that was removed nothing is left to give back.
    let absent: Arc<dyn Volume> = Arc::new(AbsentVolume::new(extent.volume));
    let volume = (volumes.member(extent.volume)).map(|member| {
        if member.is_writable() {
            &member.volume
        } else {
            &absent
        }
    });
    if extent.end_bytes == 0 {
        // Made by that commit, so nothing of it was ever published.
        return match volume.map(|volume| volume.remove_extent(extent.id)) {
            None | Some(Ok(()) | Err(VolumeError::Missing { .. })) => Ok(writer.remove_extent(extent.id)?),
            // It is removed when that works.
            Some(Err(_)) => Ok(writer.put_extent(&ExtentRecord {
                owner: None,
                state: ExtentState::Abandoned,
                ..extent.clone()
            })?),
        };
    }
    let state = match (volume.map(|volume| cut_back(volume.as_ref(), extent)), afterwards) {
        (Some(Ok(())), Afterwards::GoOn) if extent.state == ExtentState::Open => ExtentState::Open,
        // Damaged meanwhile: nothing is appended to it any more, what it holds is a matter for scrub.
        (Some(Ok(()) | Err(VolumeError::Missing { .. } | VolumeError::Truncated { .. })), _) => {
            ExtentState::Sealed
        }
        // What stands behind its end is cut off when that works.
        (Some(Err(_)) | None, _) => ExtentState::Abandoned,
    };
    writer.put_extent(&ExtentRecord {
        owner: None,
        state,
        ..extent.clone()
    })?;
    Ok(())
}

/// Takes an abandoned extent back, where that works by now.
pub(super) fn retry_release(
    shared: &Shared,
    writer: &mut CatalogWriter,
    extent: &ExtentRecord,
) -> Result<(), CatalogError> {
    if shared.volumes().writable(extent.volume).is_some() {
        release(shared, writer, extent, Afterwards::Seal)?;
    }
    Ok(())
}

/// Cuts an extent back to its committed end.
pub(super) fn cut_back(volume: &dyn Volume, extent: &ExtentRecord) -> Result<(), VolumeError> {
    if is_on(SeededBug::BytesNotGivenBack) {
        return Ok(());
    }
    let excess = if is_on(SeededBug::CutBelowLiveBytes) {
        64
    } else {
        0
    };
    volume
        .resume_extent(extent.id, extent.end_bytes - excess)
        .map(drop)
}
