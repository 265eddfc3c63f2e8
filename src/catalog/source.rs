//! Transactions of the database as a handful of operations on bytes, each one guarded.
//!
//! Knows no row: keys and values are bytes, and nothing but the database runs inside the guard.

use core::ops::Bound;

use redb::{
    CursorError, CursorMut, Database, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _,
    ReadableTable, ReadableTableMetadata as _, TableHandle as _, WriteTransaction,
};

use super::guard::{Guard, Leaky};
use super::tables::{TABLES, definition};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};

/// Rows that are written one by one rather than with a cursor, which costs about as much as that many.
const SHORT_RUN: usize = 4;

/// A key and its value.
pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// In which order the rows of a range are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Rising,
    Falling,
}

/// The opened database.
#[derive(Debug)]
pub(super) enum Handle {
    ReadOnly(Leaky<ReadOnlyDatabase>),
    Writable(Leaky<Database>),
}

impl Handle {
    pub(super) fn begin_read(&self, guard: &Guard) -> Result<Source, CatalogError> {
        let transaction = guard.run(CatalogTable::Database, || {
            Ok(match self {
                Self::ReadOnly(database) => database.get().begin_read()?,
                Self::Writable(database) => database.get().begin_read()?,
            })
        })?;
        Ok(Source::Snapshot(Leaky::new(transaction, guard.clone())))
    }

    /// Begins a write transaction, the only one in all processes: waits until another one has ended.
    pub(super) fn begin_write(&self, guard: &Guard) -> Result<Source, CatalogError> {
        let Self::Writable(database) = self else {
            return Err(CatalogError::ReadOnly);
        };
        let transaction = guard.run(CatalogTable::Database, || {
            let mut transaction = database.get().begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            // One-phase commits and a flipped bit roll acknowledged commits back silently; two-phase ones do not.
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            Ok(transaction)
        })?;
        Ok(Source::Transaction(Box::new(Leaky::new(
            transaction,
            guard.clone(),
        ))))
    }

    pub(super) fn close(self, guard: &Guard) -> Result<(), CatalogError> {
        match self {
            Self::ReadOnly(database) => {
                let database = database.into_inner_unless_panicked()?;
                guard.run(CatalogTable::Database, || Ok(database.close()?))
            }
            Self::Writable(database) => {
                let database = database.into_inner_unless_panicked()?;
                guard.run(CatalogTable::Database, || Ok(database.close()?))
            }
        }
    }
}

/// A snapshot, or a write transaction that sees its own changes.
#[derive(Debug)]
pub(super) enum Source {
    Snapshot(Leaky<ReadTransaction>),
    Transaction(Box<Leaky<WriteTransaction>>),
}

impl Source {
    pub(super) fn get(
        &self,
        guard: &Guard,
        table: CatalogTable,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        guard.run(table, || match self {
            Self::Snapshot(transaction) => get(&transaction.get().open_table(definition(table))?, key),
            Self::Transaction(transaction) => get(&transaction.get().open_table(definition(table))?, key),
        })
    }

    /// Looks up many keys; the answers are in their order.
    pub(super) fn get_all<K: AsRef<[u8]>>(
        &self,
        guard: &Guard,
        table: CatalogTable,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>, CatalogError> {
        guard.run(table, || match self {
            Self::Snapshot(transaction) => {
                let table = transaction.get().open_table(definition(table))?;
                keys.iter().map(|key| get(&table, key.as_ref())).collect()
            }
            Self::Transaction(transaction) => {
                let table = transaction.get().open_table(definition(table))?;
                keys.iter().map(|key| get(&table, key.as_ref())).collect()
            }
        })
    }

    /// Returns how many rows the database believes the table to have; costs the same whatever their number.
    pub(super) fn row_count(&self, guard: &Guard, table: CatalogTable) -> Result<u64, CatalogError> {
        guard.run(table, || match self {
            Self::Snapshot(transaction) => Ok(transaction.get().open_table(definition(table))?.len()?),
            Self::Transaction(transaction) => Ok(transaction.get().open_table(definition(table))?.len()?),
        })
    }

    /// Returns at most `limit` rows of a range, in the order asked for.
    pub(super) fn page(
        &self,
        guard: &Guard,
        table: CatalogTable,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        (order, limit): (Order, usize),
    ) -> Result<Vec<KeyValue>, CatalogError> {
        guard.run(table, || match self {
            Self::Snapshot(transaction) => page(
                &transaction.get().open_table(definition(table))?,
                range,
                order,
                limit,
            ),
            Self::Transaction(transaction) => page(
                &transaction.get().open_table(definition(table))?,
                range,
                order,
                limit,
            ),
        })
    }

    /// Writes rows; returns how many of the keys had none before.
    pub(super) fn put_all(
        &self,
        guard: &Guard,
        table: CatalogTable,
        rows: &[KeyValue],
    ) -> Result<u64, CatalogError> {
        guard.run(table, || {
            let mut table = self.transaction().open_table(definition(table))?;
            let mut added = 0;
            for (key, value) in rows {
                added += u64::from(table.insert(key.as_slice(), value.as_slice())?.is_none());
            }
            Ok(added)
        })
    }

    /// Writes rows until one has a key that is taken; returns which one that is.
    pub(super) fn add_all(
        &self,
        guard: &Guard,
        table: CatalogTable,
        rows: &[KeyValue],
    ) -> Result<Option<usize>, CatalogError> {
        guard.run(table, || {
            let mut table = self.transaction().open_table(definition(table))?;
            for (position, (key, value)) in rows.iter().enumerate() {
                if table.insert(key.as_slice(), value.as_slice())?.is_some() {
                    return Ok(Some(position));
                }
            }
            Ok(None)
        })
    }

    /// Writes rows that are sorted by their keys until one has a key that is taken; returns which one that is.
    ///
    /// Rows that fall into the same gap of the table are handed over together, which packs pages and descends once.
    pub(super) fn add_sorted(
        &self,
        guard: &Guard,
        table: CatalogTable,
        rows: &[KeyValue],
    ) -> Result<Option<usize>, CatalogError> {
        guard.run(table, || {
            let mut table = self.transaction().open_table(definition(table))?;
            let mut done = 0;
            while let Some((first, row)) = rows.get(done) {
                let run = run_of_one_gap(&table, &rows[done..])?;
                if run < SHORT_RUN {
                    if table.insert(first.as_slice(), row.as_slice())?.is_some() {
                        return Ok(Some(done));
                    }
                    done += 1;
                    continue;
                }
                let mut cursor = table.lower_bound_mut(Bound::Included(first.as_slice()))?;
                let added = fill_gap(&mut cursor, &rows[done..done + run])?;
                cursor.close()?;
                if added == 0 {
                    // The key is taken, or the gap is none: the short way tells which.
                    if table.insert(first.as_slice(), row.as_slice())?.is_some() {
                        return Ok(Some(done));
                    }
                }
                done += added.max(1);
            }
            Ok(None)
        })
    }

    /// Removes rows; returns how many of the keys had one.
    pub(super) fn remove_all(
        &self,
        guard: &Guard,
        table: CatalogTable,
        keys: &[Vec<u8>],
    ) -> Result<u64, CatalogError> {
        guard.run(table, || {
            let mut table = self.transaction().open_table(definition(table))?;
            let mut removed = 0;
            for key in keys {
                removed += u64::from(table.remove(key.as_slice())?.is_some());
            }
            Ok(removed)
        })
    }

    /// Makes every table that a catalog has; they are empty.
    pub(super) fn create_tables(&self, guard: &Guard) -> Result<(), CatalogError> {
        guard.run(CatalogTable::Database, || {
            for table in TABLES {
                drop(self.transaction().open_table(definition(table))?);
            }
            Ok(())
        })
    }

    /// Checks that every table is there, because a write transaction would silently make it anew.
    pub(super) fn check_tables(&self, guard: &Guard) -> Result<(), CatalogError> {
        let names: Vec<String> = guard.run(CatalogTable::Database, || match self {
            Self::Snapshot(transaction) => {
                let tables = transaction.get().list_tables()?;
                Ok(tables.map(|table| table.name().to_owned()).collect())
            }
            Self::Transaction(transaction) => {
                let tables = transaction.get().list_tables()?;
                Ok(tables.map(|table| table.name().to_owned()).collect())
            }
        })?;
        match TABLES
            .iter()
            .find(|table| !names.iter().any(|name| name == table.name()))
        {
            Some(&missing) => Err(super::guard::damaged(missing, CatalogDamage::MissingRow)),
            None => Ok(()),
        }
    }

    /// Commits; any error leaves the outcome unknown.
    pub(super) fn commit(self, guard: &Guard) -> Result<(), CatalogError> {
        match self {
            Self::Snapshot(_) => unreachable!("only a write transaction is committed"),
            Self::Transaction(transaction) => {
                let transaction = transaction.into_inner_unless_panicked()?;
                guard.commit(|| Ok(transaction.commit()?))
            }
        }
    }

    fn transaction(&self) -> &WriteTransaction {
        match self {
            Self::Snapshot(_) => unreachable!("only a write transaction is changed"),
            Self::Transaction(transaction) => transaction.get(),
        }
    }
}

fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

fn page(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: (Bound<&[u8]>, Bound<&[u8]>),
    order: Order,
    limit: usize,
) -> Result<Vec<KeyValue>, redb::Error> {
    let mut range = table.range::<&[u8]>(range)?;
    let mut rows = Vec::new();
    while rows.len() < limit {
        let row = match order {
            Order::Rising => range.next(),
            Order::Falling => range.next_back(),
        };
        let Some(row) = row else { break };
        let (key, value) = row?;
        rows.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(rows)
}

/// Returns how many of the rows, at least one, come before the next row that the table has.
fn run_of_one_gap(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    rows: &[KeyValue],
) -> Result<usize, redb::Error> {
    if rows.len() < SHORT_RUN {
        return Ok(1);
    }
    let start = Bound::Excluded(rows[0].0.as_slice());
    let next = table.range::<&[u8]>((start, Bound::Unbounded))?.next();
    let run = match next.transpose()? {
        Some((next, _)) => rows.partition_point(|(key, _)| key.as_slice() < next.value()),
        None => rows.len(),
    };
    Ok(run.max(1))
}

/// Writes rows into the gap that the cursor is in, as many as belong there; returns how many those are.
fn fill_gap(
    cursor: &mut CursorMut<'_, &'static [u8], &'static [u8]>,
    rows: &[KeyValue],
) -> Result<usize, redb::Error> {
    for (position, (key, value)) in rows.iter().enumerate() {
        match cursor.insert_before(key.as_slice(), value.as_slice()) {
            Ok(()) => {}
            Err(CursorError::UnorderedKey) => return Ok(position),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows.len())
}
