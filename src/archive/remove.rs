//! Removing names, and kept versions of names.

use std::collections::BTreeSet;

use super::{
    Archive, ballast::with_room, publication, publication::again_without_lost_volume, shared::Shared,
};
use crate::{
    catalog::{Access, CatalogReader, FileRecord, TransactionSize},
    error::{CatalogError, CommitError},
    units::{FileId, FileName, to_u64},
};

/// What a removal has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Removal {
    /// The version that is gone.
    pub file: FileId,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Kept versions of its name that went with it.
    pub kept_versions: u64,
    /// Bytes on the volumes, of all of them, that belong to nobody now; they are given back by compacting, not by this.
    pub freed_bytes: u64,
}

impl Archive {
    /// Removes a name and all its kept versions, durably and at once for everyone; the space comes back later.
    ///
    /// # Errors
    /// [`CommitError::NotFound`] when there is no file of that name.
    pub fn remove(&self, name: &FileName) -> Result<Removal, CommitError> {
        self.and_checkpoint(remove(&self.shared, name))
    }

    /// Removes names, with all their kept versions, in one transaction: all that are there, durably and at once for everyone. `None` for those that are
    /// not there. A few thousand at a time are a good number: others wait for the transaction.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is removed then.
    pub fn remove_many(&self, names: &[FileName]) -> Result<Vec<Option<Removal>>, CommitError> {
        self.and_checkpoint(remove_many(&self.shared, names))
    }

    /// Removes one kept version of a name, durably and at once for everyone.
    ///
    /// # Errors
    /// [`CommitError::NoSuchVersion`] when it is not there, [`CommitError::VersionInUse`] for the version that has the name.
    pub fn remove_version(&self, name: &FileName, version: u32) -> Result<Removal, CommitError> {
        self.and_checkpoint(remove_version(&self.shared, name, version))
    }
}

/// What is to be removed of one name: what has it, and its kept versions behind that; or one of those.
pub(super) struct Doomed {
    /// At least one.
    pub(super) files: Vec<FileRecord>,
}

impl Doomed {
    /// Finds the kept versions of an entry.
    pub(super) fn with_kept_versions(reader: &CatalogReader, file: FileRecord) -> Result<Self, CatalogError> {
        let kept = reader.kept_versions_of(&file.name)?;
        let files = core::iter::once(file).chain(kept).collect();
        Ok(Self { files })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = FileId> {
        self.files.iter().map(|file| file.id)
    }

    pub(super) fn removal(&self) -> Removal {
        let first = self.files.first().expect("something is removed");
        Removal {
            file: first.id,
            len_bytes: first.geometry.len_bytes(),
            kept_versions: to_u64(self.files.len() - 1),
            freed_bytes: self.files.iter().map(|file| file.stored_bytes).sum(),
        }
    }
}

/// What is asked to be removed.
enum Wanted<'a> {
    /// Names, with all their versions.
    Names(&'a [FileName]),
    /// One kept version.
    Version(&'a FileName, u32),
}

/// Removes a name, durably and at once for everyone; bytes on the volumes stay where they are.
fn remove(shared: &Shared, name: &FileName) -> Result<Removal, CommitError> {
    let mut removed = remove_many(shared, std::slice::from_ref(name))?;
    let removed = removed.pop().flatten();
    removed.ok_or_else(|| CommitError::NotFound { name: name.clone() })
}

/// Removes one kept version of a name.
fn remove_version(shared: &Shared, name: &FileName, version: u32) -> Result<Removal, CommitError> {
    let mut removed = remove_wanted(shared, &Wanted::Version(name, version))?;
    let name = name.clone();
    (removed.pop().flatten()).ok_or(CommitError::NoSuchVersion { name, version })
}

/// Removes names in one transaction; `None` for those that are not there. Works on a full disk, as long as the ballast was
/// there before; without room it is refused before the catalog is touched, which after a failed write would have to be opened
/// anew.
fn remove_many(shared: &Shared, names: &[FileName]) -> Result<Vec<Option<Removal>>, CommitError> {
    remove_wanted(shared, &Wanted::Names(names))
}

fn remove_wanted(shared: &Shared, wanted: &Wanted<'_>) -> Result<Vec<Option<Removal>>, CommitError> {
    if shared.access == Access::Read {
        return Err(CommitError::ReadOnly);
    }
    let doomed = wanted.find(&shared.catalog.read()?)?;
    // Somebody may replace one before the transaction begins; then the need is an estimate of another file.
    let Some(first) = doomed.iter().flatten().next() else {
        // Only the transaction knows for certain that a name is not there.
        return remove_now(shared, wanted);
    };
    let files = || doomed.iter().flatten().flat_map(|doomed| &doomed.files);
    let needed_bytes = size_of(files()).room_bytes();
    with_room(shared, needed_bytes, || {
        let free_bytes = shared.layout.free_bytes()?;
        // What is kept for the superuser is for days like this.
        if free_bytes.saturating_add(shared.layout.reserved_bytes()) < needed_bytes {
            let volumes = shared.volumes();
            let volume = volumes.for_files().next().ok_or(CommitError::NoVolume)?;
            return Err(CommitError::Full {
                name: first.files[0].name.clone(),
                others: to_u64(doomed.iter().flatten().count()) - 1,
                volume: volume.record.id,
                needed_bytes,
                free_bytes,
            });
        }
        again_without_lost_volume(shared, || remove_now(shared, wanted))
    })
}

impl Wanted<'_> {
    /// Finds what is to be removed: `None` for what is not there.
    fn find(&self, reader: &CatalogReader) -> Result<Vec<Option<Doomed>>, CommitError> {
        match *self {
            Self::Names(names) => {
                let names: Vec<&FileName> = names.iter().collect();
                let mut gone = BTreeSet::new();
                let stored = reader.find_files(&names)?.into_iter();
                let doomed = stored.map(|file| {
                    // A name that is given twice is there only once.
                    let file = file.filter(|file| gone.insert(file.id));
                    let doomed = file.map(|file| Doomed::with_kept_versions(reader, file));
                    Ok(doomed.transpose()?)
                });
                doomed.collect()
            }
            Self::Version(name, version) => match reader.version(name, version)? {
                Some(file) if !file.is_kept => {
                    let name = name.clone();
                    Err(CommitError::VersionInUse { name, version })
                }
                file => Ok(vec![file.map(|file| Doomed { files: vec![file] })]),
            },
        }
    }
}

/// Returns what the removal of files changes in the catalog.
pub(super) fn size_of<'a>(files: impl Iterator<Item = &'a FileRecord>) -> TransactionSize {
    files.fold(TransactionSize::default(), |size, file| {
        let blocks = file.geometry.block_count();
        // The descriptor of its commit may go with it.
        let shards = (blocks.saturating_add(1)).saturating_mul(u64::from(file.geometry.shape().total()));
        TransactionSize {
            entries: size.entries + 1,
            text_len_bytes: size.text_len_bytes + file.text_len_bytes(),
            blocks: size.blocks.saturating_add(blocks),
            shards: size.shards.saturating_add(shards),
            descriptors: size.descriptors + 1,
            ..size
        }
    })
}

fn remove_now(shared: &Shared, wanted: &Wanted<'_>) -> Result<Vec<Option<Removal>>, CommitError> {
    let publishing = publication::begin(shared)?;
    let doomed = wanted.find(&publishing.writer)?;
    let mut publication = publication::empty(&publishing.writer)?;
    let found = doomed.iter().flatten();
    publication.removed.extend(found.flat_map(Doomed::ids));
    if !publication.removed.is_empty() {
        publication::publish(shared, publishing, publication, Vec::new())?;
    }
    let removal = |doomed: &Option<Doomed>| doomed.as_ref().map(Doomed::removal);
    Ok(doomed.iter().map(removal).collect())
}
