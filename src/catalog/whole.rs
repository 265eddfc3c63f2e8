//! How a reader knows that nothing is missing, beyond the checksum of every single row.

use core::ops::{Bound, RangeBounds as _};

use super::guard::damaged;
use super::reader::CatalogReader;
use super::source::{KeyValue, Order};
use super::tables::verify;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::to_u64;

/// Rows that a scan of a whole table holds at a time.
const SCAN_ROWS: usize = 1024;

impl CatalogReader {
    /// Answers that there is no such row, once that is certain.
    pub(super) fn none<T>(&self, table: CatalogTable) -> Result<Option<T>, CatalogError> {
        self.prove(table)?;
        Ok(None)
    }

    /// Makes sure that no row of `table` is missing or cannot be looked up, once for an opened catalog.
    pub(super) fn prove(&self, table: CatalogTable) -> Result<(), CatalogError> {
        if self.guard.is_proven(table) {
            return Ok(());
        }
        self.prove_anew(table)
    }

    /// Does so whatever is known of the table.
    pub(super) fn prove_anew(&self, table: CatalogTable) -> Result<(), CatalogError> {
        // A bad branch page can hide a row from lookups that a scan still passes: so every row is looked up, too.
        self.for_each_page(table, |rows| {
            let keys: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).collect();
            let found = self.source.get_all(&self.guard, table, &keys)?;
            for ((key, row), found) in rows.iter().zip(found) {
                verify(table, key, row)?;
                if found.as_ref() != Some(row) {
                    return Err(damaged(table, CatalogDamage::Order));
                }
            }
            Ok(())
        })?;
        self.guard.set_proven(table);
        Ok(())
    }

    pub(super) fn for_each_row(
        &self,
        table: CatalogTable,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        self.for_each_page(table, |rows| {
            rows.iter().try_for_each(|(key, row)| visit(key, row))
        })
    }

    /// Visits the whole table and compares the count of its rows with the recorded one.
    pub(super) fn for_each_page(
        &self,
        table: CatalogTable,
        mut visit: impl FnMut(&[KeyValue]) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let recorded = self.row_counts()?.get(table);
        let (mut found, mut last): (u64, Option<Vec<u8>>) = (0, None);
        loop {
            let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = self.page(table, (start, None), (Order::Rising, SCAN_ROWS))?;
            visit(&rows)?;
            found += to_u64(rows.len());
            let Some((key, _)) = rows.last() else { break };
            last = Some(key.clone());
        }
        if found == recorded {
            Ok(())
        } else {
            Err(damaged(table, CatalogDamage::RowCount { recorded, found }))
        }
    }

    /// Reads a page of which fewer rows than `limit` say that no more follow; then nothing is missing in the table.
    pub(super) fn proven_page(
        &self,
        table: CatalogTable,
        range: (Bound<&[u8]>, Option<&[u8]>),
        limit: usize,
    ) -> Result<Vec<KeyValue>, CatalogError> {
        let rows = self.page(table, range, (Order::Rising, limit))?;
        if rows.len() < limit {
            self.prove(table)?;
        }
        Ok(rows)
    }

    /// Reads a page, and makes sure that it is one: keys in order, all of them within the range.
    ///
    /// A bad branch page leads anywhere; without this, who reads page after page might never come to an end.
    pub(super) fn page(
        &self,
        table: CatalogTable,
        (start, end): (Bound<&[u8]>, Option<&[u8]>),
        (order, limit): (Order, usize),
    ) -> Result<Vec<KeyValue>, CatalogError> {
        let range = (start, end.map_or(Bound::Unbounded, Bound::Excluded));
        let rows = self.source.page(&self.guard, table, range, (order, limit))?;
        let is_in_order = rows.is_sorted_by(|(left, _), (right, _)| match order {
            Order::Rising => left < right,
            Order::Falling => left > right,
        });
        if is_in_order && rows.iter().all(|(key, _)| range.contains(key.as_slice())) {
            Ok(rows)
        } else {
            Err(damaged(table, CatalogDamage::Order))
        }
    }
}
