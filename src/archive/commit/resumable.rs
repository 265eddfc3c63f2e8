//! Commits of long files, which outlive their process.

use std::os::unix::ffi::OsStrExt as _;

use super::{
    CommitOutcome, NameConflict, find_file,
    large::{Subject, changes, only, reserve},
    prepare::of_source,
    progress::ProgressLog,
    publish::{Outcome, finish, has_lost_volume, is_lost_extent, settle},
    reservation::{Reservation, Resumable},
    resume::go_on,
    writing::{Done, write_file},
};
use crate::{
    archive::{
        intents::{self, Ender},
        left_behind::UnderWay,
        observer::{Event, Observer},
        shared::Shared,
    },
    catalog::{ExtentRecord, ExtentState, IntentRecord, Replaces, SourceRecord},
    error::{CommitError, HostError},
    host::{SourceFile, SourceIdentity, absolute_path},
    seeded_bugs::{SeededBug, is_on},
    units::{CommitId, ExtentId, to_u64},
};

/// Failures of extents without any progress between them, after which a commit gives up.
const MAX_FAILURES: u32 = 8;

/// Returns what lets a commit of this source go on after a crash: only where it is long enough to note progress, and has a
/// path that leads to it again.
pub(super) fn resumable_source(shared: &Shared, file: &SourceFile) -> Option<SourceRecord> {
    let identity = file.identity();
    if identity.len_bytes < shared.progress_bytes || file.is_nameless() {
        return None;
    }
    let path = absolute_path(file.path()).ok()?;
    Some(SourceRecord {
        path: path.as_os_str().as_bytes().to_vec(),
        len_bytes: identity.len_bytes,
        modified_at: identity.mtime,
        changed_at: identity.ctime,
        device: identity.device,
        inode: identity.inode,
    })
}

/// Stores a long file. One that was begun before under the name goes on when the source is still the same; another one is
/// given back first.
pub(super) fn store_resumably(
    shared: &Shared,
    subject: &Subject<'_>,
    (file, source): (&SourceFile, SourceRecord),
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let replaces = match subject.conflict {
        NameConflict::Refuse => Replaces::Nothing,
        NameConflict::Replace | NameConflict::ReplaceAndKeep { .. } => Replaces::Existing {
            kept_versions: subject.conflict.kept_versions(),
        },
    };
    for intent in intents::waiting_for_name(shared, subject.name)? {
        let is_same = intent
            .resumable
            .as_ref()
            .is_some_and(|known| is_same_source(&known.source, &file.identity()));
        let ended = if is_same {
            resume_as(shared, intent.commit, file, replaces, observer).map(Some)
        } else {
            intents::give_back(shared, intent.commit).map(|()| None)
        };
        match ended {
            Ok(Some(outcome)) => return Ok(outcome),
            // Somebody else has ended it meanwhile.
            Ok(None) | Err(CommitError::NoSuchCommit { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let resumable = Resumable { source, replaces };
    let mut reservation = reserve(shared, subject, Some(&resumable))?;
    let under_way = reservation.owned.under_way.take().expect("a new one holds it");
    let done = Done::nothing(&reservation.files()[0].record.geometry);
    run(
        shared,
        (under_way, reservation, done),
        file,
        subject.conflict,
        observer,
    )
}

/// Goes on with the commit of an intent that nobody works on, on the terms that it began with.
pub(in crate::archive) fn resume(
    shared: &Shared,
    intent: &IntentRecord,
    file: &SourceFile,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let commit = intent.commit;
    let Some(resumable) = &intent.resumable else {
        return Err(CommitError::NotResumable { commit });
    };
    // A later commit of the name ends it, also where its process died before it could say so.
    let stored = find_file(shared, &intent.name)?;
    if stored.is_some_and(|stored| stored.commit > commit) && !is_on(SeededBug::OutdatedResumed) {
        intents::give_back(shared, commit)?;
        return Err(CommitError::NoSuchCommit { commit });
    }
    resume_as(shared, commit, file, resumable.replaces, observer)
}

fn resume_as(
    shared: &Shared,
    commit: CommitId,
    file: &SourceFile,
    replaces: Replaces,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let under_way = intents::claim(shared, commit, replaces)?;
    let conflict = match replaces {
        Replaces::Nothing => NameConflict::Refuse,
        Replaces::Existing { kept_versions: 0 } => NameConflict::Replace,
        Replaces::Existing { kept_versions } => NameConflict::ReplaceAndKeep {
            versions: kept_versions,
        },
    };
    match go_on(shared, commit) {
        Ok((reservation, done)) => {
            let record = &reservation.files()[0].record;
            observer.event(Event::GoingOn {
                name: &record.name,
                done_bytes: intents::bytes_before(&record.geometry, to_u64(done.blocks.len())),
                len_bytes: record.geometry.len_bytes(),
            });
            run(shared, (under_way, reservation, done), file, conflict, observer)
        }
        // It waits for the next attempt, as it did before this one.
        Err(error) => {
            if intents::let_wait(shared, commit, Ender::Worker).is_ok() {
                under_way.end();
            }
            Err(error)
        }
    }
}

/// Opens the source that an intent names, when it is still what it was.
pub(in crate::archive) fn open_source(intent: &IntentRecord) -> Result<SourceFile, CommitError> {
    let Some(resumable) = &intent.resumable else {
        return Err(CommitError::NotResumable {
            commit: intent.commit,
        });
    };
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(&resumable.source.path));
    let file = SourceFile::open(path).map_err(of_source)?;
    let then = identity_of(&resumable.source, &file.identity());
    match then.change_to(&file.identity()) {
        None => Ok(file),
        Some(change) => Err(of_source(HostError::SourceChanged {
            path: path.to_path_buf(),
            change,
        })),
    }
}

/// Writes what is left and publishes; when an extent fails, goes on in others from the last point of progress.
///
/// What has noted progress is kept when something else fails, for a later attempt; only a source that is not what it was ends
/// it.
fn run(
    shared: &Shared,
    (under_way, reservation, done): (UnderWay, Reservation, Done),
    file: &SourceFile,
    conflict: NameConflict,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let commit = reservation.commit();
    let mut begun = Ok((reservation, done));
    let (mut furthest, mut failures) = (0, 0);
    loop {
        let (outcome, reservation) = match begun {
            Ok((reservation, done)) => {
                let blocks = done.blocks.len();
                if blocks > furthest {
                    (furthest, failures) = (blocks, 0);
                }
                let outcome = attempt(shared, (&reservation, done), file, conflict, observer);
                (outcome, Some(reservation))
            }
            Err(error) => (Err(error), None),
        };
        match outcome {
            Err(error)
                if failures < MAX_FAILURES && (has_lost_volume(shared, &error) || is_lost_extent(&error)) =>
            {
                failures += 1;
                drop(reservation);
                begun = abandon(shared, commit, &error).and_then(|()| go_on(shared, commit));
            }
            Err(CommitError::Cancelled) => {
                drop(reservation);
                let name = intents::find(shared, commit)?.name;
                let done_bytes = intents::let_wait(shared, commit, Ender::Worker)?;
                under_way.end();
                return Err(CommitError::Interrupted {
                    name,
                    commit,
                    done_bytes,
                });
            }
            Err(error) if may_wait(shared, commit, &error) => {
                drop(reservation);
                // The error that counts is the first; where this fails too, it stays behind.
                if intents::let_wait(shared, commit, Ender::Worker).is_ok() {
                    under_way.end();
                }
                return Err(error);
            }
            outcome => {
                let Some(mut reservation) = reservation else {
                    if intents::give_up(shared, commit, Ender::Worker).is_ok() {
                        under_way.end();
                    }
                    return Err(outcome.err().expect("nothing was attempted"));
                };
                reservation.owned.under_way = Some(under_way);
                return only(settle(shared, reservation, outcome)?);
            }
        }
    }
}

/// Says whether a commit that has failed is kept for a later attempt: it has noted progress, and its source is still good.
fn may_wait(shared: &Shared, commit: CommitId, error: &CommitError) -> bool {
    let is_of_source = matches!(error, CommitError::Source { source } if source.is_about_change());
    let is_not_ours = matches!(error, CommitError::OwnershipLost { .. });
    let is_final = is_of_source || is_not_ours || error.may_be_published();
    let has_progress = || {
        let intent = shared.catalog.read().ok()?.intent(commit).ok()??;
        Some(intents::has_progress(&intent))
    };
    !is_final && has_progress().unwrap_or(false)
}

fn attempt(
    shared: &Shared,
    (reservation, done): (&Reservation, Done),
    file: &SourceFile,
    conflict: NameConflict,
    observer: &dyn Observer,
) -> Result<Outcome, CommitError> {
    let log = ProgressLog::new(shared, reservation);
    let written = write_file(shared, (reservation, done), file, Some(&log), observer)?;
    file.check_unchanged().map_err(of_source)?;
    finish(shared, reservation, changes(reservation, written), conflict)
}

/// Marks the extent that an error tells of, so that nothing more is put into it.
pub(super) fn abandon(shared: &Shared, commit: CommitId, error: &CommitError) -> Result<(), CommitError> {
    let Some(failed) = failed_extent(error) else {
        return Ok(());
    };
    let mut writer = shared.catalog.write()?;
    if let Some(extent) = writer.extent(failed)?
        && extent.owner == Some(commit)
    {
        writer.put_extent(&ExtentRecord {
            state: ExtentState::Abandoned,
            ..extent
        })?;
        writer.commit()?;
    }
    Ok(())
}

const fn failed_extent(error: &CommitError) -> Option<ExtentId> {
    if let CommitError::Volume { source } = error {
        source.extent()
    } else {
        None
    }
}

fn is_same_source(known: &SourceRecord, found: &SourceIdentity) -> bool {
    identity_of(known, found).change_to(found).is_none()
}

/// Returns what a source was when its commit began; its mode is that of today, which does not count.
fn identity_of(known: &SourceRecord, today: &SourceIdentity) -> SourceIdentity {
    SourceIdentity {
        len_bytes: known.len_bytes,
        mtime: known.modified_at,
        ctime: known.changed_at,
        device: known.device,
        inode: known.inode,
        mode: today.mode,
    }
}
