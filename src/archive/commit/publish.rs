//! Publishing: the one transaction that makes visible what a commit has written, and the end of every commit.

use super::{
    CommitOutcome, CommitReceipt, NameConflict, host_kind, name_taken,
    reservation::{Contents, Reservation},
    room::check_room,
};
use crate::{
    archive::{shared::Shared, volumes::commit_publication},
    catalog::{BlockRecord, CatalogWriter, EntryKind, FileRecord},
    error::{CatalogError, CommitError},
    units::{FileId, FileName},
};

/// What a publication does with one name.
#[derive(Debug)]
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

/// Writes what room was taken for, makes it durable and publishes it. On any failure gives everything back.
pub(super) fn store(
    shared: &Shared,
    reservation: Reservation,
    conflict: NameConflict,
    write: impl FnOnce(&Reservation) -> Result<Vec<Change>, CommitError>,
) -> Result<Vec<Published>, CommitError> {
    let published = (|| {
        let changes = write(&reservation)?;
        // I1: every byte is durable before the catalog names any of them.
        reservation.sync(shared)?;
        publish(shared, Some(&reservation), changes, conflict)
    })();
    match published {
        Ok(Publication {
            outcomes,
            made: Made::Something,
        }) => Ok(outcomes),
        // What cannot be given back stays owned by this session; the next writing open after its end takes it back.
        Ok(Publication {
            outcomes,
            made: Made::Nothing,
        }) => match reservation.give_back(shared) {
            Ok(()) | Err(_) => Ok(outcomes),
        },
        // Nothing is given back: the next writing open finds the extents owned by a dead session, or finds the files.
        Err(error) if is_outcome_unknown(&error) => Err(error),
        Err(error) => match reservation.give_back(shared) {
            Ok(()) | Err(_) => Err(error),
        },
    }
}

/// What a publication came to.
pub(super) struct Publication {
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

/// Publishes changes of different names: from the commit of this transaction on they are visible and will stay.
///
/// A name that was taken meanwhile is a result of its own and stops no other. After an error nothing is published; the
/// caller gives the room back.
pub(super) fn publish(
    shared: &Shared,
    reservation: Option<&Reservation>,
    changes: Vec<Change>,
    conflict: NameConflict,
) -> Result<Publication, CommitError> {
    if let Some(first) = changes.first() {
        let geometries: Vec<_> = changes.iter().map(|change| change.record.geometry).collect();
        let name = &first.record.name;
        check_room(
            shared,
            Contents {
                name,
                geometries: &geometries,
                text_len_bytes: changes.iter().map(|change| change.record.text_len_bytes()).sum(),
            },
            0,
        )?;
    }
    let mut writer = shared.catalog.write()?;
    let names: Vec<&FileName> = changes.iter().map(|change| &change.record.name).collect();
    let stored = writer.find_files(&names)?;
    if let Some(reservation) = reservation {
        reservation.release_written(&mut writer)?;
    }
    let mut draft = Draft::default();
    for (change, stored) in changes.into_iter().zip(stored) {
        let outcome = match change.action {
            Action::Touch => touch(&mut writer, &change.record, stored.as_ref()),
            Action::Store => draft.add(&mut writer, change, stored, conflict),
        };
        draft.outcomes.push(outcome?);
    }
    let Draft {
        few_blocks,
        many_blocks,
        outcomes,
    } = draft;
    let is_change = |outcome: &Published| {
        matches!(
            outcome,
            Ok(CommitOutcome::Committed(_) | CommitOutcome::Replaced(_))
        )
    };
    if !outcomes.iter().any(is_change) {
        let made = Made::Nothing;
        return Ok(Publication { outcomes, made });
    }
    let few_ids = few_blocks.iter().map(|(file, _)| file.id);
    let new_ids: Vec<FileId> = few_ids
        .chain(many_blocks.iter().map(|(file, _)| file.id))
        .collect();
    writer.insert_files(&few_blocks)?;
    for (file, blocks) in many_blocks {
        writer.insert_file(&file, blocks)?;
    }
    match commit_publication(shared.volumes.writable().as_ref(), shared.archive_id(), writer) {
        Err(error) if is_outcome_unknown(&error) && are_published(shared, &new_ids) => {}
        published => published?,
    }
    let made = Made::Something;
    Ok(Publication { outcomes, made })
}

/// The insertions of a publication, put together so that the catalog takes them at once.
#[derive(Default)]
struct Draft {
    few_blocks: Vec<(FileRecord, Option<BlockRecord>)>,
    many_blocks: Vec<(FileRecord, Vec<BlockRecord>)>,
    outcomes: Vec<Published>,
}

impl Draft {
    fn add(
        &mut self,
        writer: &mut CatalogWriter,
        change: Change,
        stored: Option<FileRecord>,
        conflict: NameConflict,
    ) -> Result<Published, CommitError> {
        let Change {
            mut record,
            mut blocks,
            action: _,
        } = change;
        let outcome = match stored {
            None => CommitOutcome::Committed(CommitReceipt::of(&record)),
            Some(stored) if is_same_content(&stored, &record) => {
                return Ok(Ok(CommitOutcome::Unchanged(CommitReceipt::of(&stored))));
            }
            Some(stored) if conflict == NameConflict::Refuse => {
                let len_bytes = record.geometry.len_bytes();
                return Ok(Err(name_taken(&stored, &record.kind, len_bytes)));
            }
            Some(stored) if would_orphan(writer, &stored, &record)? => {
                return Ok(Err(CommitError::DirectoryInUse {
                    source_kind: host_kind(&record.kind),
                    name: record.name,
                }));
            }
            Some(stored) => {
                writer.remove_file(&record.name)?;
                record.version = stored.version.saturating_add(1);
                CommitOutcome::Replaced(CommitReceipt::of(&record))
            }
        };
        if blocks.len() > 1 {
            self.many_blocks.push((record, blocks));
        } else {
            self.few_blocks.push((record, blocks.pop()));
        }
        Ok(Ok(outcome))
    }
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

fn touch(
    writer: &mut CatalogWriter,
    record: &FileRecord,
    stored: Option<&FileRecord>,
) -> Result<Published, CommitError> {
    let name = &record.name;
    match stored {
        Some(stored) if stored.id == record.id => {
            writer.set_metadata(name, record.mode, record.modified_at)?;
            Ok(Ok(CommitOutcome::Replaced(CommitReceipt::of(record))))
        }
        Some(stored) => Ok(Err(name_taken(stored, &record.kind, record.geometry.len_bytes()))),
        None => Ok(Err(CommitError::NotFound { name: name.clone() })),
    }
}

/// Says whether two versions have the same content: the same kind, bytes and target. Permissions and times are not content.
pub(super) fn is_same_content(a: &FileRecord, b: &FileRecord) -> bool {
    a.kind == b.kind && a.geometry.len_bytes() == b.geometry.len_bytes() && a.root == b.root
}

const fn is_outcome_unknown(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::Catalog {
            source: CatalogError::CommitOutcomeUnknown { .. },
        }
    )
}

/// Asks the catalog what became of a publication whose end is unknown, by the ids of what it has added: they are given once,
/// and all of it is there or nothing. False where that cannot be told.
///
/// What failed may have been a sync: then pages in memory hold what the disk may not, and a second sync proves nothing. So they
/// are dropped first, and the catalog is read, and its pages are verified, as they are on disk.
fn are_published(shared: &Shared, new_ids: &[FileId]) -> bool {
    if shared.layout.forget_cached_catalog().is_err() {
        return false;
    }
    let Ok(reader) = shared.catalog.read() else {
        return false;
    };
    // Somebody may have replaced or removed some of them since.
    new_ids.iter().any(|&id| matches!(reader.file(id), Ok(Some(_))))
}
