//! Getting many entries back onto the host: files, directories and symbolic links, page by page.
//!
//! Two passes over the names. The first makes directories, files and links; small files are written side by side under
//! temporary names, and one sync makes a whole page of them durable before any gets its name. The second, backwards, gives
//! directories their permissions and times, children before parents: what is put into a directory changes its time, and
//! its permissions may lock us out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    FileInfo, RestoreObserver, RestoreOptions, RestoreReceipt,
    restore::{Part, buffer_len, complete, restore, restore_directory},
    shared::Shared,
};
use crate::{
    buffer::AlignedBuffer,
    catalog::{BlockRecord, EntryKind, FileRecord},
    error::{ReadError, RestoreError},
    host::{CompleteFile, Durability, RestoreTarget, Restored},
    storage::Medium,
    units::{BlockIndex, FileName},
};

/// Entries that are restored together.
const PAGE_LEN: usize = 1024;

/// Files up to this length, in bytes, are restored by one worker each; longer ones by all workers together.
const MAX_SMALL_LEN_BYTES: u64 = 1 << 20;

/// Restores everything that a prefix names or that lies below it.
pub(super) fn restore_all(
    shared: &Arc<Shared>,
    prefix: Option<&FileName>,
    (target, options): (&RestoreTarget, &RestoreOptions),
    observer: &dyn RestoreObserver,
) -> Result<(), RestoreError> {
    let mut restorer = TreeRestorer {
        shared,
        prefix,
        target,
        options: RestoreOptions {
            durability: match options.durability {
                Durability::Buffered => Durability::Buffered,
                // What is told of is durable by then; many share one sync.
                Durability::Batched | Durability::Synced => Durability::Batched,
            },
            ..*options
        },
        observer,
        untold: Vec::new(),
    };
    let restored = restorer.restore_contents();
    // What has its name already is told of, whatever else has failed.
    let told = restorer.tell_synced();
    restored.and(told)?;
    restorer.restore_directories()
}

/// What became of one entry.
type Outcome = Result<RestoreReceipt, RestoreError>;

struct TreeRestorer<'a> {
    shared: &'a Arc<Shared>,
    prefix: Option<&'a FileName>,
    target: &'a RestoreTarget,
    options: RestoreOptions,
    observer: &'a dyn RestoreObserver,
    /// Entries that have their names, which are not durable yet.
    untold: Vec<(FileRecord, Outcome)>,
}

impl TreeRestorer<'_> {
    fn restore_contents(&mut self) -> Result<(), RestoreError> {
        let mut after: Option<FileName> = None;
        loop {
            let reader = self.shared.catalog.read().map_err(ReadError::from)?;
            let page = reader
                .files_page(self.prefix, after.as_ref(), PAGE_LEN)
                .map_err(ReadError::from)?;
            drop(reader);
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            let is_last = page.len() < PAGE_LEN;
            after = Some(last.name.clone());
            self.restore_page(page)?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn restore_page(&mut self, page: Vec<(FileRecord, Option<BlockRecord>)>) -> Result<(), RestoreError> {
        let is_directory = |entry: &(FileRecord, _)| entry.0.kind == EntryKind::Directory;
        let is_large = |entry: &(FileRecord, _)| {
            entry.0.geometry.len_bytes() > MAX_SMALL_LEN_BYTES || entry.0.geometry.block_count() > 1
        };
        let (directories, others): (Vec<_>, Vec<_>) = page.into_iter().partition(is_directory);
        let (large, small): (Vec<_>, Vec<_>) = others.into_iter().partition(is_large);
        // Before anything in them: one that is made on the way to something else would be open to others.
        for (file, _) in directories {
            match self.target.create_directory(&file.name, self.options.durability) {
                // What cannot be made is found again in the second pass, and told of then.
                Ok(_) | Err(_) => {}
            }
        }
        let begun = self.begin_all(small);
        if self.observer.is_cancelled() {
            self.keep_links(begun);
            return Err(RestoreError::Cancelled);
        }
        // Bytes before names; the names of the page before become durable with them.
        self.tell_synced()?;
        for (file, begun) in begun {
            let restored = match begun {
                Ok(Begun::Link(restored)) => Ok((None, restored)),
                Ok(Begun::File(complete, part)) => complete
                    .publish()
                    .map(|restored| (part, restored))
                    .map_err(RestoreError::from),
                Err(error) => Err(error),
            };
            let outcome = restored.map(|(part, restored)| RestoreReceipt::of(&file, part, restored));
            self.untold.push((file, outcome));
        }
        for (mut file, _) in large {
            let outcome = self.restore_large(&mut file);
            if let Err(RestoreError::Cancelled) = outcome {
                return Err(RestoreError::Cancelled);
            }
            self.untold.push((file, outcome));
        }
        Ok(())
    }

    /// Begins entries side by side; in their order.
    fn begin_all(
        &self,
        small: Vec<(FileRecord, Option<BlockRecord>)>,
    ) -> Vec<(FileRecord, Result<Begun, RestoreError>)> {
        let next = AtomicUsize::new(0);
        let longest = small
            .iter()
            .map(|(file, _)| buffer_len(file, Medium::Solid))
            .max()
            .unwrap_or(0);
        let begun = self.shared.work_together(small.len(), |member| {
            let mut begun = Vec::new();
            loop {
                // Memory comes first: what is taken up has to be done.
                let buffer = match member.buffer(longest) {
                    Ok(None) => return begun,
                    Ok(Some(buffer)) => Ok(buffer),
                    Err(error) => Err(RestoreError::from(ReadError::from(error))),
                };
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((file, block)) = small.get(index) else {
                    return begun;
                };
                let begin = |mut buffer: AlignedBuffer| self.begin((file, block.as_slice()), &mut buffer);
                begun.push((index, buffer.and_then(begin)));
            }
        });
        let mut begun: Vec<_> = begun.into_iter().flatten().collect();
        begun.sort_unstable_by_key(|(index, _)| *index);
        let files = small.into_iter().map(|(file, _)| file);
        files.zip(begun.into_iter().map(|(_, begun)| begun)).collect()
    }

    /// Keeps what has its name already, of entries that are not finished, to be told of.
    fn keep_links(&mut self, begun: Vec<(FileRecord, Result<Begun, RestoreError>)>) {
        for (file, begun) in begun {
            if let Ok(Begun::Link(restored)) = begun {
                let outcome = Ok(RestoreReceipt::of(&file, None, restored));
                self.untold.push((file, outcome));
            }
        }
    }

    /// Does what may be done side by side for an entry that is no directory; a small file gets everything but its name.
    fn begin(
        &self,
        (file, blocks): (&FileRecord, &[BlockRecord]),
        buffer: &mut [u8],
    ) -> Result<Begun, RestoreError> {
        if self.observer.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        match &file.kind {
            EntryKind::Directory => unreachable!("directories are made before"),
            EntryKind::SymbolicLink { target } => {
                let (existing, durability) = (self.options.existing_for(&file.name), self.options.durability);
                let restored = self.target.create_symbolic_link(
                    &file.name,
                    target,
                    file.modified_at,
                    (existing, durability),
                )?;
                Ok(Begun::Link(restored))
            }
            EntryKind::File => {
                let place = (self.target, &self.options);
                let (complete, part) = complete(self.shared, (file, blocks), place, (buffer, self.observer))?;
                Ok(Begun::File(Box::new(complete), part))
            }
        }
    }

    /// Restores a file as it is stored now: it may have been replaced since its page was read, and its blocks with it.
    fn restore_large(&self, file: &mut FileRecord) -> Outcome {
        let reader = self.shared.catalog.read().map_err(ReadError::from)?;
        let stored = reader.file_by_name(&file.name).map_err(ReadError::from)?;
        let Some(stored) = stored.filter(|stored| stored.kind == EntryKind::File) else {
            let name = file.name.clone();
            return Err(ReadError::NotFound { name }.into());
        };
        *file = stored;
        let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
        let blocks: Vec<BlockRecord> = indexes
            .map(|index| reader.block(file, index))
            .collect::<Result<_, _>>()
            .map_err(ReadError::from)?;
        drop(reader);
        restore(
            self.shared,
            file,
            &blocks,
            (self.target, &self.options),
            self.observer,
        )
    }

    /// Gives directories their permissions and times, children before parents.
    fn restore_directories(&mut self) -> Result<(), RestoreError> {
        let mut before: Option<FileName> = None;
        loop {
            if self.observer.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            let reader = self.shared.catalog.read().map_err(ReadError::from)?;
            let page = reader
                .files_page_backwards(self.prefix, before.as_ref(), PAGE_LEN)
                .map_err(ReadError::from)?;
            drop(reader);
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            let is_last = page.len() < PAGE_LEN;
            before = Some(last.name.clone());
            for (file, _) in page {
                if file.kind == EntryKind::Directory {
                    let outcome = self.restore_directory(&file);
                    self.untold.push((file, outcome));
                }
            }
            self.tell_synced()?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn restore_directory(&self, file: &FileRecord) -> Outcome {
        let restored = restore_directory(file, (self.target, &self.options))?;
        Ok(RestoreReceipt::of(file, None, restored))
    }

    /// Makes everything durable that has its name, and tells of it.
    fn tell_synced(&mut self) -> Result<(), RestoreError> {
        if self.options.durability != Durability::Buffered {
            self.target.sync_all()?;
        }
        for (file, outcome) in self.untold.drain(..) {
            self.observer.entry_done(&FileInfo::from(file), outcome);
        }
        Ok(())
    }
}

/// An entry that has its name, or waits for it.
enum Begun {
    Link(Restored),
    File(Box<CompleteFile>, Option<Part>),
}
