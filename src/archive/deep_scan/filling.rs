//! Filling a new catalog with what descriptors say, commit by commit, the newest first.

use super::{
    content::{DescriptorBlock, Source},
    found::FoundFrames,
    names::{Age, Names},
    placing::Placing,
    report::{DeepScanReport, MOST_NAMES},
};
use crate::{
    catalog::{
        BlockRecord, Catalog, CatalogWriter, Described, DescriptorRecord, FileRecord, descriptor::Entry,
    },
    error::CatalogError,
    units::{FileName, ShardIndex, to_u64},
};

/// Entries that a transaction takes in.
const ENTRIES_PER_TRANSACTION: u64 = 16_384;

/// A catalog that has no name yet, and what is filled in.
pub(super) struct Filling<'a> {
    catalog: &'a Catalog,
    /// Begun by the first change of a transaction.
    writer: Option<CatalogWriter>,
    uncommitted: u64,
    source: &'a Source,
    found: FoundFrames,
    /// How many of the frames are where a shard lies now.
    frames_placed: u64,
    placing: Placing,
    names: Names,
    pub(super) report: DeepScanReport,
}

impl<'a> Filling<'a> {
    pub(super) fn begin(
        catalog: &'a Catalog,
        source: &'a Source,
        (found, placing): (FoundFrames, Placing),
        report: DeepScanReport,
    ) -> Self {
        Self {
            catalog,
            writer: None,
            uncommitted: 0,
            frames_placed: 0,
            source,
            found,
            placing,
            names: Names::default(),
            report,
        }
    }

    fn writer(&mut self) -> Result<&mut CatalogWriter, CatalogError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.catalog.write()?,
        };
        Ok(self.writer.insert(writer))
    }

    fn commit(&mut self) -> Result<(), CatalogError> {
        self.uncommitted = 0;
        match self.writer.take() {
            Some(writer) => writer.commit().map(drop),
            None => Ok(()),
        }
    }

    /// Takes in the entries of a commit. Commits come in newest first.
    pub(super) fn add(&mut self, mut from: DescriptorBlock, entries: Vec<Entry>) -> Result<(), CatalogError> {
        self.report.descriptors += 1;
        self.report.descriptor_shards_missing += to_u64(from.lacking.len());
        let (mut few, mut many) = (Vec::new(), Vec::new());
        // What stands behind was stored later.
        for (file, blocks) in entries.into_iter().rev() {
            if file.commit != from.commit {
                self.leave_out(file.name);
                continue;
            }
            match self.take(file, blocks) {
                Some((file, mut blocks)) if blocks.len() < 2 => few.push((file, blocks.pop())),
                Some(entry) => many.push(entry),
                None => {}
            }
        }
        let live_entries = to_u64(few.len() + many.len());
        if live_entries == 0 {
            return Ok(());
        }
        self.place(&mut from);
        let extents = self.placing.changed();
        let writer = self.writer()?;
        for extent in extents {
            writer.put_extent(&extent)?;
        }
        writer.insert_files(&few)?;
        for (file, blocks) in many {
            writer.insert_file(&file, blocks)?;
        }
        writer.put_descriptor(&DescriptorRecord {
            commit: from.commit,
            described: Described::Entries(live_entries),
            block: from.block,
        })?;
        self.uncommitted += live_entries;
        if self.uncommitted >= ENTRIES_PER_TRANSACTION {
            self.commit()?;
        }
        Ok(())
    }

    /// Looks where an entry lies and gives it a name; `None` where nothing of it was found.
    fn take(&mut self, mut file: FileRecord, mut blocks: Vec<BlockRecord>) -> Option<Entry> {
        let (presence, lacking) = self.placing.look(&mut blocks, &mut self.found, self.source);
        let is_there = blocks.is_empty() || presence.shards_found > 0;
        if !is_there || !self.placing.admits(&file, &blocks) {
            self.leave_out(file.name);
            return None;
        }
        for (index, block) in blocks.iter_mut().enumerate() {
            let lacking = lacking.iter().filter(|(of, _)| *of == index);
            let lacking: Vec<ShardIndex> = lacking.map(|(_, shard)| *shard).collect();
            // Only this entry lists it now.
            block.reference_count = 1;
            self.placing.take(block, &lacking, &self.found);
        }
        let (name, age) = self.names.give(&file);
        let report = &mut self.report;
        match age {
            Age::Newest => report.offered += 1,
            Age::Older => report.older += 1,
        }
        report.incomplete += u64::from(presence.shards_missing > 0);
        report.unreadable += u64::from(presence.blocks_lost > 0);
        report.shards_missing += presence.shards_missing;
        self.frames_placed += presence.frames;
        (file.name, file.version) = (name, 1);
        Some((file, blocks))
    }

    fn leave_out(&mut self, name: FileName) {
        self.report.left_out += 1;
        if self.report.left_out_names.len() < MOST_NAMES {
            self.report.left_out_names.push(name);
        }
    }

    /// Gives the shards of a descriptor that were not found a place where nothing is.
    fn place(&mut self, from: &mut DescriptorBlock) {
        for (shard, place) in from.block.geometry.shards().zip(&mut from.block.shards) {
            if let Some(record) = place {
                if from.lacking.contains(&shard) {
                    *record = self.placing.nowhere(record);
                }
                self.placing.make_room(record);
            }
        }
    }

    /// Ends the last transaction, and says what was found.
    pub(super) fn end(mut self) -> Result<(Placing, DeepScanReport), CatalogError> {
        let extents = self.placing.changed();
        let writer = self.writer()?;
        for extent in extents {
            writer.put_extent(&extent)?;
        }
        self.commit()?;
        let unnamed = self.found.unnamed();
        self.report.frames_unnamed = unnamed.frames;
        self.report.unnamed_bytes = unnamed.bytes;
        self.report.frames_superseded = to_u64(self.found.named()).saturating_sub(self.frames_placed);
        self.report.missing_extents = self.placing.missing_extents();
        Ok((self.placing, self.report))
    }
}
