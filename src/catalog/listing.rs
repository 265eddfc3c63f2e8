//! Queries for many entries at a time.

use core::ops::Bound;

use super::reader::{CatalogReader, parse_named_file};
use super::records::{BlockRecord, FileRecord};
use super::rows::NameRow;
use super::source::{KeyValue, Order};
use super::tables::{file_key, unseal};
use crate::error::{CatalogError, CatalogTable};
use crate::units::{FileId, FileName};

/// An entry, with its block when it has exactly one.
type Entry = (FileRecord, Option<BlockRecord>);

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns at most `limit` entries behind the name `after`, in the order of their names; with an entry comes its block
    /// when it has exactly one.
    ///
    /// With a prefix, the entry of that name and all below it: whole parts are compared. Fewer than `limit` entries mean
    /// that no more follow; so a listing of any length holds neither memory nor a transaction.
    pub fn files_page(
        &self,
        prefix: Option<&FileName>,
        after: Option<&FileName>,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogError> {
        let mut rows = Vec::new();
        let below = prefix.map(below);
        if let Some(prefix) = prefix
            && limit > 0
            && after.is_none_or(|after| after < prefix)
        {
            rows.extend(self.name_row(prefix)?);
        }
        let after = after.map(FileName::as_bytes);
        let start = match (&below, after) {
            (Some((low, _)), Some(after)) if after < low.as_slice() => Bound::Included(low.as_slice()),
            (Some((low, _)), None) => Bound::Included(low.as_slice()),
            (_, Some(after)) => Bound::Excluded(after),
            (None, None) => Bound::Unbounded,
        };
        let end = below.as_ref().map(|(_, high)| high.as_slice());
        if end.is_none_or(|end| after.is_none_or(|after| after < end)) {
            let limit = limit - rows.len();
            rows.extend(self.page(CatalogTable::Names, (start, end), (Order::Rising, limit))?);
        }
        self.entries_of_page(&rows, limit)
    }

    /// Returns at most `limit` entries before the name `before`, the greatest name first; else as [`Self::files_page`], with
    /// the same prefixes. So the entry that the prefix names comes last.
    pub fn files_page_backwards(
        &self,
        prefix: Option<&FileName>,
        before: Option<&FileName>,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogError> {
        let below = prefix.map(below);
        let start = match &below {
            Some((low, _)) => Bound::Included(low.as_slice()),
            None => Bound::Unbounded,
        };
        let high = below.as_ref().map(|(_, high)| high.as_slice());
        let before_bytes = before.map(FileName::as_bytes);
        let end = [high, before_bytes].into_iter().flatten().min();
        let is_empty = (below.as_ref().zip(end)).is_some_and(|((low, _), end)| end <= low.as_slice());
        let mut rows = if is_empty {
            Vec::new()
        } else {
            self.page(CatalogTable::Names, (start, end), (Order::Falling, limit))?
        };
        if let Some(prefix) = prefix
            && rows.len() < limit
            && before.is_none_or(|before| prefix < before)
        {
            rows.extend(self.name_row(prefix)?);
        }
        self.entries_of_page(&rows, limit)
    }

    /// Returns the entries of many names, in the order of the names; every table is opened once.
    ///
    /// Unlike [`Self::file_by_name`] this takes a miss as it comes: damage could hide a name. It is for writers that are
    /// about to insert, which refuse a name that they meet.
    pub fn find_files(&self, names: &[&FileName]) -> Result<Vec<Option<FileRecord>>, CatalogError> {
        let keys: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let found = self.source.get_all(&self.guard, CatalogTable::Names, &keys)?;
        let mut is_found: Vec<bool> = Vec::with_capacity(names.len());
        let mut rows: Vec<KeyValue> = Vec::new();
        for (key, row) in keys.into_iter().zip(found) {
            is_found.push(row.is_some());
            rows.extend(row.map(|row| (key.to_vec(), row)));
        }
        let mut entries = self.entries(&rows)?.into_iter();
        let entry = |is_found: bool| is_found.then(|| entries.next().expect("one for each row").0);
        Ok(is_found.into_iter().map(entry).collect())
    }

    /// Looks up what a page of names stands for; a page that is not full says that no more follow.
    fn entries_of_page(&self, rows: &[KeyValue], limit: usize) -> Result<Vec<Entry>, CatalogError> {
        if rows.len() < limit {
            self.prove(CatalogTable::Names)?;
        }
        self.entries(rows)
    }

    fn entries(&self, rows: &[KeyValue]) -> Result<Vec<Entry>, CatalogError> {
        let ids = rows.iter().map(|(name, row)| {
            let row: NameRow = unseal(CatalogTable::Names, name, row)?;
            Ok(FileId::new(row.file))
        });
        let ids: Vec<FileId> = ids.collect::<Result<_, CatalogError>>()?;
        let keys: Vec<Vec<u8>> = ids.iter().map(|&id| file_key(id)).collect();
        let files = self.source.get_all(&self.guard, CatalogTable::Files, &keys)?;
        let entries = ids.into_iter().zip(rows).zip(files);
        entries
            .map(|((id, (name, _)), row)| parse_named_file(id, name, row.as_deref()))
            .collect()
    }

    fn name_row(&self, name: &FileName) -> Result<Option<KeyValue>, CatalogError> {
        let key = name.as_bytes();
        let row = self.source.get(&self.guard, CatalogTable::Names, key)?;
        Ok(row.map(|row| (key.to_vec(), row)))
    }
}

/// Returns where the names below a prefix begin and what they all come before.
fn below(prefix: &FileName) -> (Vec<u8>, Vec<u8>) {
    let with_byte = |byte: u8| [prefix.as_bytes(), &[byte]].concat();
    (with_byte(b'/'), with_byte(b'/' + 1))
}
