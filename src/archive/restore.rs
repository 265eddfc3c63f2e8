//! Getting a stored file back onto the host, verified; where bytes are lost, what is left of it.

mod cursor;
mod proof;
mod waiting;
mod work;

use std::sync::Arc;

use self::work::Work;
use super::{
    observer::{Event, Observer},
    order::MAX_SHARD_THREADS,
    read::check_root,
    shared::{Shared, strip_count},
};
use crate::{
    catalog::{BlockRecord, EntryKind, FileRecord},
    error::{HostError, ReadError, RestoreError},
    host::{CompleteFile, Durability, Existing, RestoreFile, RestoreTarget, Restored, is_partial_name},
    merkle::RootHash,
    storage::Medium,
    units::{ByteRange, FileName},
};

pub(super) use self::work::buffer_len;

/// How a file is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What happens to a file that stands in the way.
    pub existing: Existing,
    /// Whether the restored file is on disk when the call returns.
    pub durability: Durability,
    /// What happens to a file that has lost bytes.
    pub losses: Losses,
}

/// What happens to a file that has lost bytes: more shards are damaged somewhere than its code survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losses {
    /// It is not restored, and the first lost bytes that were met are named.
    Refuse,
    /// Every byte that is left of it is restored at its place, each leaf verified; what is lost is left out: holes, which
    /// read as zeros, and all of them are in [`RestoreReceipt::lost`].
    ///
    /// The name is `<name>.partial`, beside where the file would be, so that nobody takes it for the whole. What stands
    /// under a name that ends so is never replaced, whatever [`RestoreOptions::existing`] says and whatever would come: an
    /// earlier part may have bytes that are lost by now. Where nothing is left no file is made
    /// ([`RestoreError::NothingLeft`]).
    LeaveOut,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            existing: Existing::Refuse,
            durability: Durability::Synced,
            losses: Losses::Refuse,
        }
    }
}

impl RestoreOptions {
    /// Returns what happens to something that has the name of an entry already.
    pub(super) fn existing_for(self, name: &FileName) -> Existing {
        match self.losses {
            Losses::LeaveOut if is_partial_name(name) => Existing::Refuse,
            Losses::LeaveOut | Losses::Refuse => self.existing,
        }
    }
}

/// What was restored.
#[derive(Debug)]
#[must_use]
pub struct RestoreReceipt {
    /// The file.
    pub name: FileName,
    /// The name that it has below the target: its own, or `<name>.partial` where bytes are lost.
    pub restored_as: FileName,
    /// Its length in bytes, with what is lost.
    pub len_bytes: u64,
    /// Its root, which the restored bytes were verified against; those of a part were verified leaf by leaf instead.
    pub root: RootHash,
    /// Exactly the bytes that are lost and were left out, in order, no two ranges touching; empty unless
    /// [`Losses::LeaveOut`] was asked for.
    pub lost: Vec<ByteRange>,
    /// What the target file system would not take of permissions and times; the bytes are all there.
    pub not_kept: Vec<HostError>,
}

/// What is left of a file that has lost bytes.
pub(super) struct Part {
    name: FileName,
    lost: Vec<ByteRange>,
}

/// Restores an entry beneath a directory; a file stands under a temporary name until every byte of it is right, or what is
/// left of it.
pub(super) fn restore(
    shared: &Arc<Shared>,
    file: &FileRecord,
    blocks: &[BlockRecord],
    (target, options): (&RestoreTarget, &RestoreOptions),
    observer: &dyn Observer,
) -> Result<RestoreReceipt, RestoreError> {
    let (existing, durability) = (options.existing_for(&file.name), options.durability);
    let mut part = None;
    let restored = match &file.kind {
        EntryKind::File => {
            let mut output = target.create(&file.name, file.geometry.len_bytes(), existing)?;
            let how = (shared.medium_of_reads(output.medium()), observer);
            let work = Work::new(shared, (file, blocks), (&output, options.losses), how);
            let threads = MAX_SHARD_THREADS.min(strip_count(&file.geometry));
            let results = shared.work_together(threads, |member| work.run(member));
            let copied = work.into_result();
            results.into_iter().collect::<Result<(), RestoreError>>()?;
            part = judge(shared, (file, blocks), (&mut output, copied), observer)?;
            output.finish(file.modified_at, file.mode, durability)?
        }
        EntryKind::SymbolicLink { target: leads_to } => {
            target.create_symbolic_link(&file.name, leads_to, file.modified_at, (existing, durability))?
        }
        EntryKind::Directory => restore_directory(file, (target, options))?,
    };
    Ok(RestoreReceipt::of(file, part, restored))
}

/// Restores a directory, or gives one that is there what was stored of it.
pub(super) fn restore_directory(
    file: &FileRecord,
    (target, options): (&RestoreTarget, &RestoreOptions),
) -> Result<Restored, RestoreError> {
    let durability = options.durability;
    target.create_directory(&file.name, durability)?;
    Ok(target.set_directory_metadata(&file.name, file.modified_at, file.mode, durability)?)
}

/// Restores a small file on this thread, all but its final name. `buffer` has the length of [`buffer_len`] at least.
pub(super) fn complete(
    shared: &Arc<Shared>,
    (file, blocks): (&FileRecord, &[BlockRecord]),
    (target, options): (&RestoreTarget, &RestoreOptions),
    (buffer, observer): (&mut [u8], &dyn Observer),
) -> Result<(CompleteFile, Option<Part>), RestoreError> {
    let existing = options.existing_for(&file.name);
    let mut output = target.create(&file.name, file.geometry.len_bytes(), existing)?;
    let how = (Medium::Solid, observer);
    let work = Work::new(shared, (file, blocks), (&output, options.losses), how);
    while let Some(bytes) = work.copy_next(buffer)? {
        observer.event(Event::Progress { bytes });
    }
    let copied = work.into_result();
    let part = judge(shared, (file, blocks), (&mut output, copied), observer)?;
    let complete = output.complete(file.modified_at, file.mode, options.durability)?;
    Ok((complete, part))
}

/// Decides what a file is when nothing of it is left to be written: whole, and proven by its root, or a part.
fn judge(
    shared: &Arc<Shared>,
    (file, blocks): (&FileRecord, &[BlockRecord]),
    (output, (lost, root)): (&mut RestoreFile, (Vec<ByteRange>, Option<RootHash>)),
    observer: &dyn Observer,
) -> Result<Option<Part>, RestoreError> {
    let len_bytes = file.geometry.len_bytes();
    if lost.is_empty() {
        // Where the way did not lead past all tables they are looked up once more.
        match root {
            Some(root) if root == file.root => {}
            Some(_) => {
                let name = file.name.clone();
                return Err(ReadError::RootMismatch { name }.into());
            }
            None => prove(shared, file, blocks, observer)?,
        }
        return Ok(None);
    }
    if lost.iter().map(|range| range.len()).sum::<u64>() == len_bytes {
        let name = file.name.clone();
        return Err(RestoreError::NothingLeft { name, len_bytes });
    }
    // The tables that the root needs may be lost too. Every leaf that was written matched its own.
    let name = output.leave_out(&lost)?;
    Ok(Some(Part { name, lost }))
}

/// Each leaf matched its table; now the tables must be those of the file that was committed.
fn prove(
    shared: &Arc<Shared>,
    file: &FileRecord,
    blocks: &[BlockRecord],
    observer: &dyn Observer,
) -> Result<(), RestoreError> {
    let name = file.name.clone();
    match check_root(shared, file, blocks.iter().cloned().map(Ok), observer) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ReadError::RootMismatch { name }.into()),
        Err(ReadError::Cancelled) => Err(RestoreError::Cancelled),
        Err(error) => Err(error.into()),
    }
}

impl RestoreReceipt {
    /// Makes the receipt of an entry that has its name; `part` is what is left of it, where bytes are lost.
    pub(super) fn of(file: &FileRecord, part: Option<Part>, restored: Restored) -> Self {
        let (restored_as, lost) =
            part.map_or_else(|| (file.name.clone(), Vec::new()), |part| (part.name, part.lost));
        Self {
            name: file.name.clone(),
            restored_as,
            lost,
            len_bytes: file.geometry.len_bytes(),
            root: file.root,
            not_kept: restored.not_kept,
        }
    }
}
