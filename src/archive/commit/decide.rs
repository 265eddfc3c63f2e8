//! What is to be done about a source, given what is stored under its name.

use super::{
    CommitReceipt, NameConflict,
    batch::{Metadata, What},
    name_taken,
    prepare::Prepared,
};
use crate::{
    catalog::{EntryKind, FileRecord},
    error::CommitError,
    merkle::{DataLeaves, RootFolder, RootHash, hash_data_leaf},
    units::{LeafLen, to_u64, to_usize},
};

/// Permission bits; the rest of a mode is the kind.
const PERMISSION_BITS: u32 = 0o7777;

/// What is to be done about a source.
#[derive(Debug)]
pub(super) enum Decision {
    /// Nothing: it is stored already.
    Unchanged(CommitReceipt),
    /// It is stored with others.
    Batch(What),
    /// It is stored by itself.
    Alone,
}

/// Decides about a source that was looked at.
pub(super) fn decide(
    prepared: Prepared,
    stored: Option<&FileRecord>,
    conflict: NameConflict,
) -> Result<Decision, CommitError> {
    let (kind, metadata, content) = match prepared {
        Prepared::Later => unreachable!("what was not read is not decided about"),
        // It is compared when it is read.
        Prepared::Large => return Ok(Decision::Alone),
        Prepared::Small { metadata, content } => (EntryKind::File, metadata, content),
        Prepared::Directory { metadata } => (EntryKind::Directory, metadata, Vec::new()),
        Prepared::Link { metadata, target } => (EntryKind::SymbolicLink { target }, metadata, Vec::new()),
    };
    let verdict = match stored {
        None => Verdict::Store,
        Some(stored) => {
            let len_bytes = to_u64(content.len());
            let found = Content::compare(stored, &kind, len_bytes, || Ok(root_of(&content) == stored.root))?;
            Verdict::of(stored, metadata, found, conflict)
        }
    };
    match (verdict, stored) {
        (Verdict::Unchanged, Some(stored)) => Ok(Decision::Unchanged(CommitReceipt::of(stored))),
        (Verdict::Touch, Some(stored)) => Ok(Decision::Batch(What::touch(stored, metadata))),
        (Verdict::Refuse, Some(stored)) => Err(name_taken(stored, &kind, to_u64(content.len()))),
        _ => Ok(Decision::Batch(What::Store {
            kind,
            metadata,
            content,
        })),
    }
}

/// What becomes of a source whose name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is to be done.
    Unchanged,
    /// Permissions and time are to be brought up to date.
    Touch,
    /// It takes the place of what is stored.
    Store,
    /// It is refused.
    Refuse,
}

/// Whether a source has the bytes, or the target, that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Same,
    Other,
}

impl Content {
    /// Compares a source with what is stored; `has_same_root` is asked where kind and length are the same.
    pub(super) fn compare(
        stored: &FileRecord,
        kind: &EntryKind,
        len_bytes: u64,
        has_same_root: impl FnOnce() -> Result<bool, CommitError>,
    ) -> Result<Self, CommitError> {
        let may_be_same = stored.kind == *kind && stored.geometry.len_bytes() == len_bytes;
        Ok(if may_be_same && has_same_root()? {
            Self::Same
        } else {
            Self::Other
        })
    }
}

impl Verdict {
    pub(super) fn of(
        stored: &FileRecord,
        metadata: Metadata,
        content: Content,
        conflict: NameConflict,
    ) -> Self {
        if content == Content::Other {
            return match conflict {
                NameConflict::Refuse => Self::Refuse,
                NameConflict::Replace | NameConflict::ReplaceAndKeep { .. } => Self::Store,
            };
        }
        let is_same = stored.modified_at == metadata.modified_at
            && stored.mode & PERMISSION_BITS == metadata.mode & PERMISSION_BITS;
        // The time of a directory changes with what is put into it, so it follows without being asked.
        let follows = conflict != NameConflict::Refuse || stored.kind == EntryKind::Directory;
        match (is_same, follows) {
            (false, true) => Self::Touch,
            (true, _) | (false, false) => Self::Unchanged,
        }
    }
}

impl What {
    fn touch(stored: &FileRecord, metadata: Metadata) -> Self {
        Self::Touch(Box::new(Self::touched(stored, metadata)))
    }

    /// Returns the stored version with other permissions and another time.
    pub(super) fn touched(stored: &FileRecord, metadata: Metadata) -> FileRecord {
        FileRecord {
            mode: metadata.mode,
            modified_at: metadata.modified_at,
            ..stored.clone()
        }
    }
}

/// Returns the root of a content in memory. It does not depend on the length of leaves, so any will do.
fn root_of(content: &[u8]) -> RootHash {
    let leaf = LeafLen::DEFAULT;
    let kind = DataLeaves::of_file(to_u64(content.len()), leaf);
    let mut folder = RootFolder::new(leaf);
    for (index, bytes) in content.chunks(to_usize(leaf.bytes())).enumerate() {
        folder.push(hash_data_leaf(kind, to_u64(index) * leaf.bytes(), bytes));
    }
    folder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::{FileGeometry, Policy},
        units::{CommitId, FileId, Timestamp},
    };

    fn time(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0).expect("no nanoseconds")
    }

    fn stored(kind: EntryKind) -> FileRecord {
        FileRecord {
            kind,
            id: FileId::new(1),
            name: "n".parse().expect("valid"),
            mode: 0o100_644,
            modified_at: time(1),
            committed_at: time(2),
            version: 1,
            is_kept: false,
            commit: CommitId::new(1),
            geometry: FileGeometry::new(0, &Policy::default()),
            root: root_of(b""),
            stored_bytes: 0,
        }
    }

    #[test]
    fn every_combination_of_content_metadata_and_conflict_has_its_verdict() {
        use NameConflict::{Refuse, Replace};
        let same = Metadata {
            mode: 0o644,
            modified_at: time(1),
        };
        let newer = Metadata {
            mode: 0o644,
            modified_at: time(9),
        };
        let stricter = Metadata { mode: 0o600, ..same };
        let cases = [
            (EntryKind::File, same, Content::Same, Refuse, Verdict::Unchanged),
            (EntryKind::File, same, Content::Same, Replace, Verdict::Unchanged),
            (EntryKind::File, newer, Content::Same, Refuse, Verdict::Unchanged),
            (EntryKind::File, newer, Content::Same, Replace, Verdict::Touch),
            (EntryKind::File, stricter, Content::Same, Replace, Verdict::Touch),
            (EntryKind::File, same, Content::Other, Refuse, Verdict::Refuse),
            (EntryKind::File, same, Content::Other, Replace, Verdict::Store),
            (
                EntryKind::Directory,
                same,
                Content::Same,
                Refuse,
                Verdict::Unchanged,
            ),
            (EntryKind::Directory, newer, Content::Same, Refuse, Verdict::Touch),
            (
                EntryKind::Directory,
                newer,
                Content::Other,
                Refuse,
                Verdict::Refuse,
            ),
        ];
        for (kind, metadata, content, conflict, expected) in cases {
            let verdict = Verdict::of(&stored(kind.clone()), metadata, content, conflict);
            assert_eq!(
                verdict, expected,
                "{kind:?} {metadata:?} {content:?} {conflict:?}"
            );
        }
    }
}
