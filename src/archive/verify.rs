//! Reading and verifying named files: every shard, parity included, and the root.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    called::Called,
    encoding::{Encoding, first_parity},
    inspect::{Feed, IdleMemory, Look, Task, Turns, inspect},
    name_pages::{Entry, NamePages},
    observer::{Event, Observer},
    read::{BlockReader, check_root},
    scrub::ScrubReport,
    shared::Shared,
};
use crate::{
    catalog::{BlockRecord, CatalogReader, EntryKind, FileRecord, ShardOwner},
    error::{ReadError, ScrubError},
    units::{BlockIndex, FileId, FileName, ShardIndex},
};

/// Files that are verified together.
const FILES_TOGETHER: usize = 256;

/// Files that are looked up together.
const FILES_AT_A_TIME: usize = 64;

/// Verifies every file that `prefix` names or that lies below it, kept versions among them; `None` is all of them.
pub(super) fn verify(
    shared: &Arc<Shared>,
    prefix: Option<&FileName>,
    observer: &dyn Observer,
) -> Result<ScrubReport, ScrubError> {
    let mut report = ScrubReport::default();
    let mut pages = NamePages::with_kept(shared, prefix);
    let mut found_any = false;
    let memory = IdleMemory::default();
    while let Some((reader, page)) = pages.next()? {
        drop(reader);
        // Short files lie side by side; the blocks of long ones are forgotten one by one.
        let inline = page.iter().filter_map(|(_file, block)| block.as_ref());
        let frames = inline.flat_map(|block| block.shards.iter().flatten());
        shared.volumes().forget_cached(frames);
        found_any |= !page.is_empty();
        for files in page.chunks(FILES_TOGETHER) {
            report.add(verify_files(shared, files, &memory, observer)?);
        }
    }
    match prefix {
        Some(name) if !found_any => Err(ScrubError::NotFound { name: name.clone() }),
        _ => Ok(report),
    }
}

fn verify_files(
    shared: &Arc<Shared>,
    files: &[Entry],
    memory: &IdleMemory,
    observer: &dyn Observer,
) -> Result<ScrubReport, ScrubError> {
    let feed = FileOrder {
        shared: Arc::clone(shared),
        files: files.iter().map(|(file, _block)| file.clone()).collect(),
        long: VecDeque::new(),
        next_block: 0,
        tasks: VecDeque::new(),
    };
    let feed = (feed, Turns::Together);
    let mut inspection = inspect(shared, feed, Look::AtEverything, memory, observer)?;
    inspection.damage.judge_groups(&shared.catalog.read()?)?;
    shared.met.note(shared, &inspection.found);
    shared.met.note(shared, &inspection.parity.wrong);
    // Directories and links have no bytes to verify.
    let with_bytes = files
        .iter()
        .filter(|(file, _block)| file.kind == EntryKind::File)
        .count();
    let count = u64::try_from(with_bytes).expect("a page is short");
    let report = ScrubReport::new(count, inspection, observer);
    for (file, block) in files {
        // Where bytes are lost a table may be lost too; the report names the loss already.
        let has_lost = report
            .damage
            .iter()
            .any(|damage| damage.is_of(file) && !damage.lost.is_empty());
        if !has_lost {
            check_file_root(shared, (file, block.as_ref()), observer)?;
        }
    }
    Ok(report)
}

/// Damage of these tables was told of with the shards that hold them; whether to go on is still asked.
struct OnlyAsked<'a>(&'a dyn Observer);

impl Observer for OnlyAsked<'_> {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

fn check_file_root(
    shared: &Arc<Shared>,
    (file, block): (&FileRecord, Option<&BlockRecord>),
    observer: &dyn Observer,
) -> Result<(), ScrubError> {
    let observer = OnlyAsked(observer);
    // The digest of a shard with one leaf is the hash of that: then nothing has to be read.
    let one_leaf = block.filter(|block| block.geometry.leaf_count(ShardIndex::new(0)) == 1);
    let is_right = if let Some(block) = one_leaf {
        check_root(shared, file, std::iter::once(Ok(block.clone())), &observer)
    } else {
        let reader = shared.catalog.read()?;
        if reader.file(file.id)?.is_none() {
            // Removed meanwhile: there is nothing left to be wrong.
            return Ok(());
        }
        let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
        let blocks = indexes.map(|index| reader.block(file, index).map_err(ReadError::from));
        check_root(shared, file, blocks, &observer)
    };
    match is_right {
        // What was refused is told of with the frames that could not be read.
        Ok(true) | Err(ReadError::Refused { .. }) => Ok(()),
        Ok(false) => Err(ScrubError::RootMismatch {
            name: file.name.clone(),
        }),
        Err(ReadError::Cancelled) => Err(ScrubError::Cancelled),
        Err(ReadError::Catalog { source }) => Err(source.into()),
        Err(other) => unreachable!("folding tables reads the catalog only, not {other}"),
    }
}

/// Every shard of some files, those with one block before longer ones that were looked up with them.
///
/// Files are told of under the names under which they were listed, whatever they are called by now.
struct FileOrder {
    shared: Arc<Shared>,
    files: VecDeque<FileRecord>,
    /// Files of several blocks that were looked up.
    long: VecDeque<FileRecord>,
    /// Which block of the first of them comes next.
    next_block: u64,
    tasks: VecDeque<Task>,
}

impl Feed for FileOrder {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        while self.tasks.is_empty() && !(self.files.is_empty() && self.long.is_empty()) {
            let reader = self.shared.catalog.read()?;
            match self.long.pop_front() {
                Some(file) => self.add_block_of_long(&reader, file)?,
                None => self.add_files(&reader)?,
            }
        }
        Ok(self.tasks.pop_front())
    }
}

// What was removed since the files were listed is passed over; a catalog without it is whole.
impl FileOrder {
    fn add_files(&mut self, reader: &CatalogReader) -> Result<(), ScrubError> {
        let count = self.files.len().min(FILES_AT_A_TIME);
        let listed: Vec<FileRecord> = self.files.drain(..count).collect();
        let ids: Vec<FileId> = listed.iter().map(|file| file.id).collect();
        let found = reader.files_with_blocks(&ids)?.into_iter();
        let mut found: BTreeMap<FileId, Option<BlockRecord>> =
            found.map(|(file, block)| (file.id, block)).collect();
        for file in listed {
            match found.remove(&file.id) {
                Some(Some(block)) => {
                    self.add_block(reader, &file, ShardOwner::InlineBlockOf(file.id), block)?;
                }
                Some(None) if file.geometry.block_count() > 0 => self.long.push_back(file),
                Some(None) | None => {}
            }
        }
        Ok(())
    }

    fn add_block_of_long(&mut self, reader: &CatalogReader, file: FileRecord) -> Result<(), ScrubError> {
        let index = std::mem::take(&mut self.next_block);
        if reader.file(file.id)?.is_none() {
            return Ok(());
        }
        let block = reader.block(&file, BlockIndex::new(index))?;
        let shards = block.shards.iter().flatten();
        self.shared.volumes().forget_cached(shards);
        self.add_block(reader, &file, ShardOwner::Block(block.id), block)?;
        if index + 1 < file.geometry.block_count() {
            self.next_block = index + 1;
            self.long.push_front(file);
        }
        Ok(())
    }

    fn add_block(
        &mut self,
        reader: &CatalogReader,
        file: &FileRecord,
        owner: ShardOwner,
        record: BlockRecord,
    ) -> Result<(), ScrubError> {
        let called = Called::of(file);
        let block = Arc::new(BlockReader::new(self.shared.volumes(), called.clone(), record));
        let first_parity = first_parity(block.geometry());
        let geometry = *block.geometry();
        for shard in geometry.shards().filter(|shard| geometry.is_present(*shard)) {
            // A hash says yes to it: only encoding it again tells whether it is wrong still.
            let about = (block.as_ref(), shard, shard == first_parity);
            self.tasks.push_back(Task {
                descriptor: None,
                owner,
                block: Arc::clone(&block),
                called: called.clone(),
                shard,
                encoding: Encoding::of_known(&self.shared, reader, about)?,
            });
        }
        Ok(())
    }
}
