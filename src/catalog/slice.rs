//! Slices of a checkpoint: rows of the catalog as bytes, and how those come into another catalog.
//!
//! The parser is total: any bytes give a slice that the catalog could hold, or an error, and what it accepts is exactly what
//! [`Slice::encode`] writes.

use core::ops::Bound;

use serde::{Deserialize, Serialize};

use super::descriptor::Entry;
use super::descriptors::DescriptorRecord;
use super::guard::damaged;
use super::publication::PublishedExtent;
use super::reader::{CatalogReader, checked, parse_file};
use super::records::{BlockRecord, FileRecord};
use super::rows::{DescriptorRow, EntryRow, ExtentRow, ImpossibleField, PublishedExtentRow};
use super::source::{KeyValue, Order};
use super::tables::{parse_key, unseal};
use super::writer::CatalogWriter;
use crate::error::{CatalogBytesError, CatalogDamage, CatalogError, CatalogTable};
use crate::units::{BlockIndex, CommitId, Epoch, ExtentId, FileId, to_u64};

/// What every slice begins with; a version follows.
const MAGIC: &[u8; 8] = b"bfdbslic";

const VERSION: u8 = 1;

/// Rows that are read at a time.
const PAGE_ROWS: usize = 1024;

/// A part of what a catalog says of what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// Extents, by their ids. Those of the shards of any slice are in it or in one before.
    pub extents: Vec<PublishedExtent>,
    /// Descriptors, and slices of checkpoints.
    pub descriptors: Vec<DescriptorRecord>,
    /// Entries with all their blocks, by their ids.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SliceRow {
    extents: Vec<PublishedExtentRow>,
    descriptors: Vec<SliceDescriptorRow>,
    entries: Vec<EntryRow>,
    /// Positions of those that are kept versions, rising.
    kept: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SliceDescriptorRow {
    commit: u64,
    row: DescriptorRow,
}

impl Slice {
    /// Encodes the slice.
    pub fn encode(&self) -> Vec<u8> {
        let descriptor = |descriptor: &DescriptorRecord| SliceDescriptorRow {
            commit: descriptor.commit.get(),
            row: DescriptorRow::new(descriptor),
        };
        let row = SliceRow {
            extents: self.extents.iter().map(PublishedExtentRow::new).collect(),
            descriptors: self.descriptors.iter().map(descriptor).collect(),
            entries: (self.entries.iter())
                .map(|(file, blocks)| EntryRow::new(file, blocks))
                .collect(),
            kept: (0..)
                .zip(&self.entries)
                .filter_map(|(position, (file, _))| file.is_kept.then_some(position))
                .collect(),
        };
        let head = [MAGIC.as_slice(), &[VERSION]].concat();
        postcard::to_extend(&row, head).expect("a slice serializes into memory")
    }

    /// Parses a slice.
    ///
    /// # Errors
    /// [`CatalogBytesError`] when the bytes are not what [`Self::encode`] makes of any slice.
    pub fn parse(bytes: &[u8]) -> Result<Self, CatalogBytesError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(CatalogBytesError::Magic)?;
        let body = match body.split_first() {
            Some((&VERSION, body)) => body,
            Some((&found, _)) => return Err(CatalogBytesError::Version { found }),
            None => return Err(CatalogBytesError::Unparsable),
        };
        let row: SliceRow = match postcard::take_from_bytes(body) {
            Ok((row, [])) => row,
            Ok(_) | Err(_) => return Err(CatalogBytesError::Unparsable),
        };
        let slice = row.parse();
        let slice = slice.map_err(|ImpossibleField(field)| CatalogBytesError::Impossible { field })?;
        // Numbers can be written in more than one way, and only one is right.
        if slice.encode() != bytes {
            return Err(CatalogBytesError::Unparsable);
        }
        Ok(slice)
    }
}

impl SliceRow {
    fn parse(self) -> Result<Slice, ImpossibleField> {
        let extents = self.extents.into_iter().map(PublishedExtentRow::parse);
        let descriptors = self.descriptors.into_iter();
        let descriptors = descriptors.map(|found| found.row.parse(CommitId::new(found.commit)));
        let entries = self.entries.into_iter().map(EntryRow::parse);
        let mut entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        for position in self.kept {
            let entry = usize::try_from(position)
                .ok()
                .and_then(|position| entries.get_mut(position));
            let (file, _) = entry.ok_or(ImpossibleField("position of a kept version"))?;
            file.is_kept = true;
        }
        Ok(Slice {
            extents: extents.collect::<Result<_, _>>()?,
            descriptors: descriptors.collect::<Result<_, _>>()?,
            entries,
        })
    }
}

/// A table that is in slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Extents,
    Descriptors,
    Entries,
}

impl Part {
    const fn table(self) -> CatalogTable {
        match self {
            Self::Extents => CatalogTable::Extents,
            Self::Descriptors => CatalogTable::Descriptors,
            Self::Entries => CatalogTable::Files,
        }
    }
}

/// The slices of one state of a catalog, made one by one.
#[derive(Debug)]
pub struct Slices<'reader> {
    reader: &'reader CatalogReader,
    /// From this length on a slice ends, in bytes; one entry more may be in it.
    len_bytes: u64,
    /// The tables that are not finished, the next one last.
    tables: Vec<Part>,
    /// The last row that was read of the next one, and how many those were.
    last: Option<Vec<u8>>,
    found: u64,
}

impl<'reader> Slices<'reader> {
    /// Begins with the first slice of what a reader sees.
    pub fn of(reader: &'reader CatalogReader, len_bytes: u64) -> Self {
        Self {
            reader,
            len_bytes,
            tables: vec![Part::Entries, Part::Descriptors, Part::Extents],
            last: None,
            found: 0,
        }
    }

    /// Makes the next slice; `None` behind the last.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written, or not all there.
    pub fn next_slice(&mut self) -> Result<Option<Slice>, CatalogError> {
        let (mut slice, mut len_bytes) = (Slice::default(), 0);
        while let Some(&part) = self.tables.last() {
            let table = part.table();
            if len_bytes >= self.len_bytes {
                return Ok(Some(slice));
            }
            let start = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = self
                .reader
                .page(table, (start, None), (Order::Rising, PAGE_ROWS))?;
            if rows.is_empty() {
                self.finish(table)?;
                continue;
            }
            for (key, row) in rows {
                if len_bytes >= self.len_bytes {
                    break;
                }
                len_bytes += self.add(part, &mut slice, &(key.clone(), row))?;
                self.found += 1;
                self.last = Some(key);
            }
        }
        Ok((slice != Slice::default()).then_some(slice))
    }

    /// Makes sure that no row is missing, and goes on to the next table.
    fn finish(&mut self, table: CatalogTable) -> Result<(), CatalogError> {
        let (recorded, found) = (self.reader.row_counts()?.get(table), self.found);
        if found != recorded {
            return Err(damaged(table, CatalogDamage::RowCount { recorded, found }));
        }
        self.tables.pop();
        (self.last, self.found) = (None, 0);
        Ok(())
    }

    /// Adds what a row says to a slice; returns how much longer that made it, about.
    fn add(&self, part: Part, slice: &mut Slice, (key, row): &KeyValue) -> Result<u64, CatalogError> {
        let table = part.table();
        let [id] = parse_key(table, key)?;
        match part {
            Part::Extents => {
                let row: ExtentRow = unseal(table, key, row)?;
                let extent = checked(table, row.parse_published(ExtentId::new(id)))?;
                // What a commit has made and not published yet is nothing yet.
                if row.owner.is_some() && row.end_bytes == 0 {
                    return Ok(0);
                }
                slice.extents.push(extent);
            }
            Part::Descriptors => {
                let parsed: DescriptorRow = unseal(table, key, row)?;
                slice
                    .descriptors
                    .push(checked(table, parsed.parse(CommitId::new(id)))?);
            }
            Part::Entries => {
                let (file, inline_block) = parse_file(FileId::new(id), row)?;
                let blocks = self.blocks_of(&file, inline_block)?;
                let len_bytes = EntryRow::len_bytes(&file.name, &file.kind, &file.geometry);
                slice.entries.push((file, blocks));
                return Ok(len_bytes);
            }
        }
        Ok(to_u64(row.len()))
    }

    fn blocks_of(
        &self,
        file: &FileRecord,
        inline_block: Option<BlockRecord>,
    ) -> Result<Vec<BlockRecord>, CatalogError> {
        if inline_block.is_some() {
            return Ok(inline_block.into_iter().collect());
        }
        let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
        indexes.map(|index| self.reader.block(file, index)).collect()
    }
}

impl CatalogWriter {
    /// Takes up a slice: for a catalog that is made from a checkpoint, slice by slice in their order.
    ///
    /// # Errors
    /// Those of [`Self::insert_file`] and [`Self::put_descriptor`], and
    /// [`UnknownVolumeNumber`](CatalogError::UnknownVolumeNumber); all of them spoil the transaction.
    pub fn take_slice(&mut self, slice: Slice) -> Result<(), CatalogError> {
        let taken = self.take_parts(slice);
        if taken.is_err() {
            self.spoil();
        }
        taken
    }

    fn take_parts(&mut self, slice: Slice) -> Result<(), CatalogError> {
        for extent in &slice.extents {
            self.put_published_extent(extent)?;
        }
        for descriptor in &slice.descriptors {
            self.put_descriptor(descriptor)?;
        }
        self.insert_many(slice.entries)
    }

    /// Says which publication was the last in a catalog that is made from a checkpoint.
    pub fn set_epoch(&mut self, epoch: Epoch) {
        self.pending_mut().counters.epoch = epoch.get();
    }
}
