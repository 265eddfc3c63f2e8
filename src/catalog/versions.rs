//! Kept versions: entries that another one has taken the name of.
//!
//! Invariant: a name that has kept versions has an entry, too.

use core::ops::Bound;

use super::guard::damaged;
use super::reader::{CatalogReader, parse_file};
use super::records::{BlockRecord, EntryKind, FileRecord};
use super::rows::VersionRow;
use super::source::KeyValue;
use super::tables::{file_key, parse_version_key, seal, unseal, version_key};
use super::writer::{CatalogWriter, totals_contradiction};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{FileId, FileName};

/// An entry, with its block when it has exactly one.
type Entry = (FileRecord, Option<BlockRecord>);

/// Versions of one name that are looked up at a time.
const PAGE_LEN: usize = 1024;

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Says whether any version of any name is kept; costs the same whatever their number.
    pub fn has_kept_versions(&self) -> Result<bool, CatalogError> {
        Ok(self.row_counts()?.get(CatalogTable::Versions) > 0)
    }

    /// Returns at most `limit` kept versions behind the name and version `after`, in the order of names and versions, each with
    /// its block when it has exactly one.
    ///
    /// With a prefix, those of that name and of all below it, as [`Self::files_page`] does. Fewer than `limit` mean that no more
    /// follow.
    pub fn kept_versions_page(
        &self,
        prefix: Option<&FileName>,
        after: Option<(&FileName, u32)>,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogError> {
        if !self.has_kept_versions()? {
            return Ok(Vec::new());
        }
        let after = after.map(|(name, version)| version_key(name, version));
        let mut rows: Vec<KeyValue> = Vec::new();
        for (low, high) in ranges(prefix) {
            let start = match &after {
                Some(after) if after.as_slice() >= low.as_slice() => Bound::Excluded(after.as_slice()),
                Some(_) | None => Bound::Included(low.as_slice()),
            };
            let is_behind = (after.as_ref().zip(high.as_ref())).is_some_and(|(after, high)| after >= high);
            if !is_behind {
                let rest = limit - rows.len();
                rows.extend(self.proven_page(CatalogTable::Versions, (start, high.as_deref()), rest)?);
            }
        }
        self.kept_entries(&rows)
    }

    /// Returns all kept versions of one name, the oldest first.
    pub fn kept_versions_of(&self, name: &FileName) -> Result<Vec<FileRecord>, CatalogError> {
        let mut versions: Vec<FileRecord> = Vec::new();
        if !self.has_kept_versions()? {
            return Ok(versions);
        }
        let high = [name.as_bytes(), &[1]].concat();
        loop {
            let start = versions.last().map_or(0, |last| last.version.saturating_add(1));
            let start = version_key(name, start);
            let range = (Bound::Included(start.as_slice()), Some(high.as_slice()));
            let rows = self.proven_page(CatalogTable::Versions, range, PAGE_LEN)?;
            versions.extend(self.kept_entries(&rows)?.into_iter().map(|(file, _block)| file));
            if rows.len() < PAGE_LEN {
                return Ok(versions);
            }
        }
    }

    /// Returns a version of a name: the one that has the name, or a kept one.
    pub fn version(&self, name: &FileName, version: u32) -> Result<Option<FileRecord>, CatalogError> {
        if let Some(file) = self.file_by_name(name)?
            && file.version == version
        {
            return Ok(Some(file));
        }
        if !self.has_kept_versions()? {
            return Ok(None);
        }
        let (table, key) = (CatalogTable::Versions, version_key(name, version));
        let Some(row) = self.source.get(&self.guard, table, &key)? else {
            return self.none(table);
        };
        let found = self.kept_entries(&[(key, row)])?.pop();
        Ok(found.map(|(file, _block)| file))
    }

    /// Looks up what rows of the table stand for.
    fn kept_entries(&self, rows: &[KeyValue]) -> Result<Vec<Entry>, CatalogError> {
        let table = CatalogTable::Versions;
        let ids = rows.iter().map(|(key, row)| {
            let row: VersionRow = unseal(table, key, row)?;
            Ok(FileId::new(row.file))
        });
        let ids: Vec<FileId> = ids.collect::<Result<_, CatalogError>>()?;
        let keys: Vec<Vec<u8>> = ids.iter().map(|&id| file_key(id)).collect();
        let files = self.source.get_all(&self.guard, CatalogTable::Files, &keys)?;
        let entries = ids.into_iter().zip(rows).zip(files);
        let entries = entries.map(|((id, (key, _)), row)| {
            let row = row.ok_or_else(|| damaged(CatalogTable::Files, CatalogDamage::MissingRow))?;
            let (file, block) = parse_file(id, &row)?;
            let (name, version) = parse_version_key(key)?;
            if !file.is_kept || file.name != name || file.version != version {
                let about = "a kept version";
                return Err(damaged(table, CatalogDamage::Contradiction { about }));
            }
            Ok((file, block))
        });
        entries.collect()
    }
}

/// Returns where the kept versions of a prefix stand: those of the name itself, and those of all below it.
fn ranges(prefix: Option<&FileName>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let Some(prefix) = prefix else {
        return vec![(Vec::new(), None)];
    };
    let with_byte = |byte: u8| [prefix.as_bytes(), &[byte]].concat();
    vec![
        (with_byte(0), Some(with_byte(1))),
        (with_byte(b'/'), Some(with_byte(b'/' + 1))),
    ]
}

impl CatalogWriter {
    /// Lets an entry give up its name and stay as a kept version of it; its name has to be taken by another entry then.
    ///
    /// # Errors
    /// [`CatalogError::UnknownFile`], also for a kept version, and [`CatalogError::ImpossiblePublication`] for a directory leave
    /// the transaction as it was.
    pub(super) fn retire(&mut self, id: FileId) -> Result<FileRecord, CatalogError> {
        let found = self.file_by_id(id)?.filter(|(file, _block)| !file.is_kept);
        let Some((mut file, inline_block)) = found else {
            return Err(CatalogError::UnknownFile { file: id });
        };
        if file.kind == EntryKind::Directory {
            let field = "directory as a kept version";
            return Err(CatalogError::ImpossiblePublication { field });
        }
        self.change(|writer| {
            let totals = writer.pending_mut().totals;
            let totals = totals.without(&file).ok_or_else(totals_contradiction)?;
            writer.remove_rows(CatalogTable::Names, &[file.name.as_bytes().to_vec()])?;
            file.is_kept = true;
            writer.pending_mut().totals = totals.with(&file).ok_or_else(totals_contradiction)?;
            writer.put_version_rows(&[&file])?;
            writer.put_file_row(&file, inline_block.as_ref())
        })?;
        Ok(file)
    }

    /// Lets the newest kept version of a name that nothing has have it again.
    pub(super) fn give_name_back(&mut self, name: &FileName) -> Result<(), CatalogError> {
        let Some(newest) = self.kept_versions_of(name)?.pop() else {
            return Ok(());
        };
        let id = newest.id;
        let Some((mut file, inline_block)) = self.file_by_id(id)? else {
            return Err(CatalogError::UnknownFile { file: id });
        };
        self.change(|writer| {
            let totals = writer.pending_mut().totals;
            let totals = totals.without(&file).ok_or_else(totals_contradiction)?;
            let key = version_key(&file.name, file.version);
            writer.remove_rows(CatalogTable::Versions, &[key])?;
            file.is_kept = false;
            writer.pending_mut().totals = totals.with(&file).ok_or_else(totals_contradiction)?;
            writer.put_name_rows(&[&file])?;
            writer.put_file_row(&file, inline_block.as_ref())
        })
    }

    /// Notes under which names and versions entries are kept.
    pub(super) fn put_version_rows(&mut self, files: &[&FileRecord]) -> Result<(), CatalogError> {
        let table = CatalogTable::Versions;
        let row = |file: &&FileRecord| {
            let key = version_key(&file.name, file.version);
            let row = seal(table, &key, &VersionRow { file: file.id.get() });
            (key, row)
        };
        let rows: Vec<KeyValue> = files.iter().map(row).collect();
        self.add_new_rows(table, &rows)
    }

    /// Says whether a name has kept versions and no entry.
    pub(super) fn is_orphaned(&self, name: &FileName) -> Result<bool, CatalogError> {
        if !self.has_kept_versions()? {
            return Ok(false);
        }
        let (low, high) = (version_key(name, 0), [name.as_bytes(), &[1]].concat());
        let range = (Bound::Included(low.as_slice()), Some(high.as_slice()));
        let has_kept = !self.proven_page(CatalogTable::Versions, range, 1)?.is_empty();
        Ok(has_kept && self.file_by_name(name)?.is_none())
    }
}
