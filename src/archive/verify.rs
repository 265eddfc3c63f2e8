//! Reading and verifying named files: every shard, parity included, and the root.

use std::sync::Arc;

use super::{
    called::Called,
    encoding::{Encoding, first_parity},
    inspect::{Feed, Look, Task, Turns, inspect},
    name_pages::NamePages,
    observer::{Event, Observer},
    read::{BlockReader, check_root},
    scrub::ScrubReport,
    shared::Shared,
};
use crate::{
    catalog::{EntryKind, FileRecord, ShardOwner},
    error::{ReadError, ScrubError},
    units::{BlockIndex, FileName, ShardIndex},
};

/// Files that are verified together.
const FILES_TOGETHER: usize = 256;

/// Verifies every file that `prefix` names or that lies below it, kept versions among them; `None` is all of them.
pub(super) fn verify(
    shared: &Arc<Shared>,
    prefix: Option<&FileName>,
    observer: &dyn Observer,
) -> Result<ScrubReport, ScrubError> {
    let mut report = ScrubReport::default();
    let mut pages = NamePages::with_kept(shared, prefix);
    let mut found_any = false;
    while let Some((reader, page)) = pages.next()? {
        drop(reader);
        // Short files lie side by side; the blocks of long ones are forgotten one by one.
        let inline = page.iter().filter_map(|(_file, block)| block.as_ref());
        let frames = inline.flat_map(|block| block.shards.iter().flatten());
        shared.volumes().forget_cached(frames);
        let page: Vec<FileRecord> = page.into_iter().map(|(file, _block)| file).collect();
        found_any |= !page.is_empty();
        for files in page.chunks(FILES_TOGETHER) {
            report.add(verify_files(shared, files, observer)?);
        }
    }
    match prefix {
        Some(name) if !found_any => Err(ScrubError::NotFound { name: name.clone() }),
        _ => Ok(report),
    }
}

fn verify_files(
    shared: &Arc<Shared>,
    files: &[FileRecord],
    observer: &dyn Observer,
) -> Result<ScrubReport, ScrubError> {
    let feed = FileOrder {
        shared: Arc::clone(shared),
        files: files.to_vec().into(),
        current: None,
    };
    let mut inspection = inspect(shared, (feed, Turns::Together), Look::AtEverything, observer)?;
    inspection.damage.judge_groups(&shared.catalog.read()?)?;
    shared.met.note(shared, &inspection.found);
    shared.met.note(shared, &inspection.parity.wrong);
    // Directories and links have no bytes to verify.
    let with_bytes = files.iter().filter(|file| file.kind == EntryKind::File).count();
    let count = u64::try_from(with_bytes).expect("a page is short");
    let report = ScrubReport::new(count, inspection, observer);
    for file in files {
        // Where bytes are lost a table may be lost too; the report names the loss already.
        let has_lost = report
            .damage
            .iter()
            .any(|damage| damage.is_of(file) && !damage.lost.is_empty());
        if !has_lost {
            check_file_root(shared, file, observer)?;
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
    file: &FileRecord,
    observer: &dyn Observer,
) -> Result<(), ScrubError> {
    let reader = shared.catalog.read()?;
    if reader.file(file.id)?.is_none() {
        // Removed meanwhile: there is nothing left to be wrong.
        return Ok(());
    }
    let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
    let blocks = indexes.map(|index| reader.block(file, index).map_err(ReadError::from));
    match check_root(shared, file, blocks, &OnlyAsked(observer)) {
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

/// Every shard of some files, in file order.
struct FileOrder {
    shared: Arc<Shared>,
    files: std::collections::VecDeque<FileRecord>,
    current: Option<(FileRecord, u64, std::vec::IntoIter<Task>)>,
}

impl Feed for FileOrder {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        loop {
            if let Some((file, next_block, tasks)) = &mut self.current {
                if let Some(task) = tasks.next() {
                    return Ok(Some(task));
                }
                if *next_block < file.geometry.block_count() {
                    *tasks = block_tasks(&self.shared, file, BlockIndex::new(*next_block))?;
                    *next_block += 1;
                    continue;
                }
            }
            let Some(file) = self.files.pop_front() else {
                return Ok(None);
            };
            self.current = Some((file, 0, Vec::new().into_iter()));
        }
    }
}

fn block_tasks(
    shared: &Arc<Shared>,
    file: &FileRecord,
    index: BlockIndex,
) -> Result<std::vec::IntoIter<Task>, ScrubError> {
    let reader = shared.catalog.read()?;
    if reader.file(file.id)?.is_none() {
        // Removed since the file was listed; a catalog without its blocks is whole.
        return Ok(Vec::new().into_iter());
    }
    let record = reader.block(file, index)?;
    if file.geometry.block_count() > 1 {
        shared.volumes().forget_cached(record.shards.iter().flatten());
    }
    let block = Arc::new(BlockReader::new(shared.volumes(), Called::of(file), record));
    let owner = if file.geometry.block_count() == 1 {
        ShardOwner::InlineBlockOf(file.id)
    } else {
        ShardOwner::Block(block.record().id)
    };
    let first_parity = first_parity(block.geometry());
    let present: Vec<ShardIndex> = block
        .geometry()
        .shards()
        .filter(|shard| block.geometry().is_present(*shard))
        .collect();
    let task = |shard: ShardIndex| -> Result<Task, ScrubError> {
        // A hash says yes to it: only encoding it again tells whether it is wrong still.
        let about = (block.as_ref(), shard, shard == first_parity);
        Ok(Task {
            descriptor: None,
            owner,
            block: Arc::clone(&block),
            called: Called::of(file),
            shard,
            encoding: Encoding::of_known(shared, &reader, about)?,
        })
    };
    let tasks = present.into_iter().map(task).collect::<Result<Vec<Task>, _>>()?;
    Ok(tasks.into_iter())
}
