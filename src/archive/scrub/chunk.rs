//! A part of a scrub: frames that follow each other in one extent, read together and noted together.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::parity::WhichParity;
use crate::{
    archive::{
        called::Called,
        describe::name_of,
        encoding::Encoding,
        inspect::{Feed, Task},
        pace::Pace,
        read::BlockReader,
        shared::Shared,
    },
    catalog::{BlockRecord, CatalogReader, DamageRecord, ShardOwner, ShardPlace},
    error::{CatalogDamage, CatalogError, CatalogTable, ScrubError},
    units::{ByteRange, ExtentId, FileId},
};

/// Frames that are looked up at a time; between two lookups no transaction is held.
const PAGE_LEN: usize = 256;

/// Bytes of chunks that are noted together: so much is read again at most after a scrub was killed.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// Frames of a chunk.
pub(super) const MOST_FRAMES: usize = 16 * 1024;

/// Hands out the frames that begin in a range of an extent, up to the end of a chunk or of the budget.
pub(super) struct Chunk<'a, 'b> {
    shared: &'a Arc<Shared>,
    pace: &'a mut Pace<'b>,
    extent: ExtentId,
    range: ByteRange,
    which_parity: WhichParity,
    page: VecDeque<(ShardPlace, Task)>,
    /// Everything before it was looked up.
    looked_up_to: u64,
    /// Frames that were handed out.
    pub(super) read: Vec<ShardPlace>,
    /// What was known of frames when they were looked up.
    pub(super) before: Vec<DamageRecord>,
    /// Bytes that are to be noted with it, those of chunks before it among them.
    pub(super) bytes: u64,
    /// Everything before it was handed out or belongs to nobody.
    pub(super) covered_to: u64,
}

impl<'a, 'b> Chunk<'a, 'b> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        pace: &'a mut Pace<'b>,
        (extent, range): (ExtentId, ByteRange),
        which_parity: WhichParity,
    ) -> Self {
        Self {
            shared,
            pace,
            extent,
            range,
            which_parity,
            page: VecDeque::new(),
            looked_up_to: range.start(),
            read: Vec::new(),
            before: Vec::new(),
            bytes: 0,
            covered_to: range.start(),
        }
    }

    /// Looks up the next frames and their blocks in one short transaction.
    fn fetch(&mut self) -> Result<(), ScrubError> {
        let reader = self.shared.catalog.read()?;
        // Offsets begin behind the header of the extent, so there is one before each.
        let after = self.looked_up_to.saturating_sub(1);
        let places = reader.shards_of_extent(self.extent, Some(after), PAGE_LEN)?;
        let is_last = places.len() < PAGE_LEN;
        let last = places.last().map(|place| place.offset + 1);
        let places: Vec<ShardPlace> = places
            .into_iter()
            .take_while(|place| place.offset < self.range.end())
            .collect();
        let mut owners = Owners::of(&reader, &places)?;
        let is_any_damaged = reader.knows_of_damage()?;
        for place in places {
            let mut task = task(self.shared, &reader, place, &mut owners)?;
            task.encoding = self.which_parity.of(self.shared, &task, &reader)?;
            if is_any_damaged {
                let known = reader.damage_of_block(task.block.record().id)?;
                let known = known.into_iter().filter(|damage| damage.shard == place.shard);
                self.before.extend(known);
            }
            self.page.push_back((place, task));
        }
        let end = self.range.end();
        self.looked_up_to = last.filter(|_| !is_last).map_or(end, |next| next.min(end));
        Ok(())
    }
}

impl Feed for Chunk<'_, '_> {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        while self.page.is_empty() && self.looked_up_to < self.range.end() {
            self.fetch()?;
        }
        let Some((place, task)) = self.page.pop_front() else {
            self.covered_to = self.range.end();
            return Ok(None);
        };
        let frame_len_bytes = task.block.layout(task.shard).total_len_bytes();
        let len_bytes = self.which_parity.cost_bytes(&task);
        let is_long = self.bytes >= MOST_BYTES || self.read.len() >= MOST_FRAMES;
        if is_long || !self.pace.allows(len_bytes) {
            // Nobody asks again: what comes next is for another chunk, or another scrub.
            return Ok(None);
        }
        self.bytes += len_bytes;
        self.read.push(place);
        self.covered_to = place.offset.saturating_add(frame_len_bytes).min(self.range.end());
        Ok(Some(task))
    }
}

/// What was looked up of the owners of frames.
#[derive(Default)]
pub(super) struct Owners {
    /// Files that have exactly one block, and that.
    inline: BTreeMap<FileId, (Called, BlockRecord)>,
    /// The name that was looked up last: frames of one long file follow each other.
    last: Option<(FileId, Called)>,
}

impl Owners {
    /// Looks up short files together: that costs half of looking them up one by one.
    fn of(reader: &CatalogReader, places: &[ShardPlace]) -> Result<Self, CatalogError> {
        let files: BTreeSet<FileId> = places
            .iter()
            .filter_map(|place| match place.owner {
                ShardOwner::InlineBlockOf(file) => Some(file),
                ShardOwner::Block(_) | ShardOwner::Descriptor(_) => None,
            })
            .collect();
        let files: Vec<FileId> = files.into_iter().collect();
        let found = reader.files_with_blocks(&files)?.into_iter();
        let inline = found.filter_map(|(file, block)| Some((file.id, (Called::of(&file), block?))));
        Ok(Self {
            inline: inline.collect(),
            last: None,
        })
    }

    /// Returns the block that a frame belongs to, and what its file is called.
    fn block(
        &mut self,
        reader: &CatalogReader,
        owner: ShardOwner,
    ) -> Result<(BlockRecord, Called), CatalogError> {
        let missing = || CatalogError::Damaged {
            table: CatalogTable::ExtentShards,
            detail: CatalogDamage::MissingRow,
        };
        if let ShardOwner::InlineBlockOf(file) = owner
            && let Some((called, block)) = self.inline.get(&file)
        {
            return Ok((block.clone(), called.clone()));
        }
        let block = reader.block_by_owner(owner)?.ok_or_else(missing)?;
        let called = match (owner, &self.last) {
            (ShardOwner::Descriptor(commit), _) => name_of(commit).into(),
            (_, Some((file, called))) if *file == block.file => called.clone(),
            _ => Called::of(&reader.file(block.file)?.ok_or_else(missing)?),
        };
        self.last = Some((block.file, called.clone()));
        Ok((block, called))
    }
}

/// Makes the task of a frame. One transaction sees the frame and its block, so neither can have been removed in between.
pub(super) fn task(
    shared: &Arc<Shared>,
    reader: &CatalogReader,
    place: ShardPlace,
    owners: &mut Owners,
) -> Result<Task, CatalogError> {
    let (record, called) = owners.block(reader, place.owner)?;
    let descriptor = match place.owner {
        ShardOwner::Descriptor(commit) => Some(commit),
        ShardOwner::Block(_) | ShardOwner::InlineBlockOf(_) => None,
    };
    let volumes = shared.volumes();
    Ok(Task {
        block: Arc::new(BlockReader::new(volumes, called.clone(), record)),
        owner: place.owner,
        called,
        descriptor,
        shard: place.shard,
        encoding: Encoding::Nothing,
    })
}
