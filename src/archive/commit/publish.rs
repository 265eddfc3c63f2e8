//! Publishing a commit: deciding about each name, and the end of every commit.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    CommitOutcome, CommitReceipt, NameConflict,
    describe::write_descriptor,
    giving_way::GivingWay,
    host_kind, name_taken,
    reservation::Reservation,
    resumable::abandon,
    room::{RoomNeed, RoomWanted, check_room},
};
use crate::{
    archive::{
        intents::end_waiting,
        publication::{self, Entries},
        shared::Shared,
        tolerance::tolerance_of_blocks,
        volumes::Volumes,
    },
    catalog::{BlockRecord, CatalogWriter, EntryKind, FileRecord, Publication, Touch},
    error::{CommitError, VolumeError},
    units::FileName,
};

/// Times that something is written again, elsewhere, because an extent has failed.
const ATTEMPTS: u32 = 4;

/// What a publication does with one name.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) record: FileRecord,
    /// All of them, in file order.
    pub(super) blocks: Vec<BlockRecord>,
    pub(super) action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A new version.
    Store,
    /// The version that is there gets the permissions and the time of the record.
    Touch,
}

/// What became of one name of a publication.
pub(super) type Published = Result<CommitOutcome, CommitError>;

/// Does `attempt` again while extents fail under it, or whole volumes: each time it takes other ones.
pub(super) fn store_again(
    shared: &Shared,
    mut attempt: impl FnMut() -> Result<Vec<Published>, CommitError>,
) -> Result<Vec<Published>, CommitError> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if has_lost_volume(shared, &error) || is_lost_extent(&error) => {}
            result => return result,
        }
    }
    attempt()
}

/// Says whether a volume went away, and others can do without it.
pub(super) fn has_lost_volume(shared: &Shared, error: &CommitError) -> bool {
    if let CommitError::Volume { source } = error {
        shared.has_lost_volume(source)
    } else {
        false
    }
}

/// Says whether an extent has failed, so that the same bytes may fare better in another. What a failed sync has left is
/// never synced again and believed.
pub(in crate::archive) const fn is_lost_extent(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::Volume {
            source: VolumeError::Sync { .. } | VolumeError::Write { .. } | VolumeError::Poisoned { .. },
        }
    )
}

/// Writes what room was taken for, makes it durable and publishes it. On any failure gives everything back.
pub(super) fn store(
    shared: &Shared,
    reservation: Reservation,
    conflict: NameConflict,
    write: impl FnOnce(&Reservation) -> Result<Vec<Change>, CommitError>,
) -> Result<Vec<Published>, CommitError> {
    let published = write(&reservation).and_then(|changes| finish(shared, &reservation, changes, conflict));
    settle(shared, reservation, published)
}

/// Describes what was written, makes it durable and publishes it.
pub(super) fn finish(
    shared: &Shared,
    reservation: &Reservation,
    changes: Vec<Change>,
    conflict: NameConflict,
) -> Result<Outcome, CommitError> {
    let descriptor = write_descriptor(shared, reservation, &changes)?;
    // I1, P2: every byte and the descriptor are durable before the journal or the catalog names any of them.
    reservation.sync(shared)?;
    publish(shared, Some((reservation, descriptor)), changes, conflict)
}

/// Ends a commit: gives everything back, unless it is published or may be.
pub(super) fn settle(
    shared: &Shared,
    reservation: Reservation,
    published: Result<Outcome, CommitError>,
) -> Result<Vec<Published>, CommitError> {
    match published {
        Ok(Outcome {
            outcomes,
            made: Made::Something,
        }) => {
            reservation.end();
            Ok(outcomes)
        }
        Ok(Outcome {
            outcomes,
            made: Made::Nothing,
        }) => match reservation.give_back(shared) {
            Ok(()) | Err(_) => Ok(outcomes),
        },
        // Nothing is given back: the journal may have it, and then the catalog will.
        Err(error) if error.may_be_published() => {
            reservation.end();
            Err(error)
        }
        Err(error) => {
            // What has failed once is not trusted with the next attempt.
            let abandoned = if is_lost_extent(&error) {
                abandon(shared, reservation.commit(), &error)
            } else {
                Ok(())
            };
            match abandoned.and_then(|()| reservation.give_back(shared)) {
                Ok(()) | Err(_) => Err(error),
            }
        }
    }
}

/// What a publication came to.
pub(super) struct Outcome {
    /// One for each change, in their order.
    pub(super) outcomes: Vec<Published>,
    pub(super) made: Made,
}

/// Whether a publication has changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Something,
    Nothing,
}

/// Publishes changes of different names: from the end of this on they are visible and will stay.
///
/// A name that was taken meanwhile is a result of its own and stops no other. After an error nothing is published, unless
/// the error says that it may be; the caller gives the room back.
pub(super) fn publish(
    shared: &Shared,
    described: Option<(&Reservation, BlockRecord)>,
    changes: Vec<Change>,
    conflict: NameConflict,
) -> Result<Outcome, CommitError> {
    if let Some(first) = changes.first() {
        let entries = changes
            .iter()
            .map(|change| (change.record.text_len_bytes(), change.record.geometry));
        let names: Vec<&FileName> = changes.iter().map(|change| &change.record.name).collect();
        let need = RoomNeed::of_entries(first.record.name.clone(), entries)
            .and(GivingWay::size_for(shared, &names, conflict)?);
        check_room(shared, &need, &RoomWanted::default())?;
    }
    let publishing = publication::begin(shared)?;
    let writer = &publishing.writer;
    let names: Vec<&FileName> = changes.iter().map(|change| &change.record.name).collect();
    let stored = writer.find_files(&names)?;
    if let Some((reservation, _)) = &described {
        reservation.check_owned(writer)?;
    }
    let mut draft = Draft::new(shared, writer)?;
    for (change, stored) in changes.into_iter().zip(stored) {
        draft.decide(writer, change, stored, conflict)?;
    }
    let Draft {
        mut publication,
        entries,
        outcomes,
        volumes: _,
    } = draft;
    if entries.len() == publication.skipped.len() && publication.touched.is_empty() {
        let made = Made::Nothing;
        return Ok(Outcome { outcomes, made });
    }
    if let Some((reservation, block)) = described {
        publication.commit = Some(reservation.commit());
        publication.extents = reservation.published_extents(writer)?;
        publication.descriptor = Some(block);
    }
    let names: BTreeSet<FileName> = stored_names(&publication.skipped, &entries);
    publication::publish(shared, publishing, publication, entries)?;
    // A new commit of a name ends one that waits. It is published, whatever becomes of that.
    match end_waiting(shared, |name| names.contains(name)) {
        Ok(()) | Err(_) => {}
    }
    let made = Made::Something;
    Ok(Outcome { outcomes, made })
}

/// Returns the names that a publication stores.
fn stored_names(skipped: &[u32], entries: &Entries) -> BTreeSet<FileName> {
    let is_stored = |index: &u32| skipped.binary_search(index).is_err();
    let stored = (0..).zip(entries).filter(|(index, _)| is_stored(index));
    stored.map(|(_, (record, _))| record.name.clone()).collect()
}

/// A publication in the making.
struct Draft {
    publication: Publication,
    entries: Entries,
    outcomes: Vec<Published>,
    volumes: Arc<Volumes>,
}

impl Draft {
    fn new(shared: &Shared, writer: &CatalogWriter) -> Result<Self, CommitError> {
        Ok(Self {
            volumes: shared.volumes(),
            publication: publication::empty(writer)?,
            entries: Vec::new(),
            outcomes: Vec::new(),
        })
    }

    /// Decides about one change, given what has its name.
    fn decide(
        &mut self,
        writer: &CatalogWriter,
        change: Change,
        stored: Option<FileRecord>,
        conflict: NameConflict,
    ) -> Result<(), CommitError> {
        let outcome = match change.action {
            Action::Touch => Ok(touch(&change.record, stored.as_ref())),
            Action::Store => replace(writer, &change.record, stored.as_ref(), conflict)?,
        };
        let is_change = matches!(
            outcome,
            Ok(CommitOutcome::Committed(_) | CommitOutcome::Replaced(_))
        );
        let tolerance = tolerance_of_blocks(&self.volumes, &change.blocks);
        self.outcomes
            .push(outcome.map(|outcome| outcome.with_tolerance(tolerance)));
        let Change {
            record,
            blocks,
            action,
        } = change;
        match action {
            Action::Touch if is_change => self.publication.touched.push(Touch {
                file: record.id,
                mode: record.mode,
                modified_at: record.modified_at,
            }),
            Action::Touch => {}
            Action::Store => {
                if is_change {
                    let giving_way = stored.map(|stored| GivingWay::find(writer, stored, conflict));
                    let GivingWay { removed, retired } = giving_way.transpose()?.unwrap_or_default();
                    let ids = |files: Vec<FileRecord>| files.into_iter().map(|file| file.id);
                    self.publication.removed.extend(ids(removed));
                    self.publication.retired.extend(retired.map(|file| file.id));
                } else {
                    let index = u32::try_from(self.entries.len()).expect("a batch has few entries");
                    self.publication.skipped.push(index);
                }
                self.entries.push((record, blocks));
            }
        }
        Ok(())
    }
}

/// Decides about a new version, given what has its name.
fn replace(
    writer: &CatalogWriter,
    record: &FileRecord,
    stored: Option<&FileRecord>,
    conflict: NameConflict,
) -> Result<Published, CommitError> {
    Ok(match stored {
        None => Ok(CommitOutcome::Committed(CommitReceipt::of(record))),
        Some(stored) if is_same_content(stored, record) => {
            Ok(CommitOutcome::Unchanged(CommitReceipt::of(stored)))
        }
        Some(stored) if conflict == NameConflict::Refuse => {
            Err(name_taken(stored, &record.kind, record.geometry.len_bytes()))
        }
        Some(stored) if would_orphan(writer, stored, record)? => Err(CommitError::DirectoryInUse {
            source_kind: host_kind(&record.kind),
            name: record.name.clone(),
        }),
        Some(_) => Ok(CommitOutcome::Replaced(CommitReceipt::of(record))),
    })
}

/// Says whether a directory would give way to something that cannot hold what lies below it: no restore could make both.
fn would_orphan(
    writer: &CatalogWriter,
    stored: &FileRecord,
    record: &FileRecord,
) -> Result<bool, CommitError> {
    if stored.kind != EntryKind::Directory || record.kind == EntryKind::Directory {
        return Ok(false);
    }
    let name = &record.name;
    Ok(!writer.files_page(Some(name), Some(name), 1)?.is_empty())
}

/// Decides about permissions and time of a version that had the content of the source when it was compared.
fn touch(record: &FileRecord, stored: Option<&FileRecord>) -> CommitOutcome {
    let receipt = CommitReceipt::of(record);
    match stored {
        Some(stored) if stored.id == record.id => CommitOutcome::Replaced(receipt),
        // Removed or replaced by somebody else since, as if after this.
        Some(_) | None => CommitOutcome::Unchanged(receipt),
    }
}

/// Says whether two versions have the same content: the same kind, bytes and target. Permissions and times are not content.
pub(super) fn is_same_content(a: &FileRecord, b: &FileRecord) -> bool {
    a.kind == b.kind && a.geometry.len_bytes() == b.geometry.len_bytes() && a.root == b.root
}
