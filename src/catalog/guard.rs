//! The one border to the database: every call into it, and every drop of its handles, passes here.
//!
//! redb may panic on a damaged page. A panic caught here means that the catalog is damaged; from then on nothing touches
//! the database through this catalog, and its handles are leaked, because a drop could still write to the bad file.
//! The panic message itself goes wherever the process sends panics: a library installs no hook.

use core::mem::ManuallyDrop;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::error::{CatalogDamage, CatalogError, CatalogFault, CatalogTable};

/// Shared by all handles of one opened catalog.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard(Arc<State>);

#[derive(Debug, Default)]
struct State {
    panicked: AtomicBool,
    damaged: AtomicBool,
    /// The system has failed a read or write, and the database refuses everything since.
    failed: AtomicBool,
    writers: AtomicUsize,
    /// One bit for each table.
    proven: AtomicU32,
}

/// A write transaction that lives.
#[derive(Debug)]
pub(super) struct Writing(Guard);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.0.writers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Guard {
    /// Runs `call`, which may use the database and nothing else, and translates what goes wrong.
    pub(super) fn run<T>(
        &self,
        table: CatalogTable,
        call: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, CatalogError> {
        self.catch(table, call)?
            .map_err(|error| self.translate(table, error))
    }

    /// Runs a commit, after which every failure means that the outcome is unknown.
    pub(super) fn commit(&self, call: impl FnOnce() -> Result<(), redb::Error>) -> Result<(), CatalogError> {
        let outcome = self.catch(CatalogTable::Database, call);
        let source = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                self.0.failed.store(true, Ordering::Release);
                CatalogFault::new(error)
            }
            Err(panicked) => CatalogFault::new(panicked),
        };
        Err(CatalogError::CommitOutcomeUnknown { source })
    }

    /// Says whether the file has to be opened anew, and that may help: neither is it damaged nor has the database panicked.
    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
            && !self.0.damaged.load(Ordering::Acquire)
            && !self.0.panicked.load(Ordering::Acquire)
    }

    /// Says whether a write transaction lives.
    pub(super) fn is_writing(&self) -> bool {
        self.0.writers.load(Ordering::Acquire) > 0
    }

    /// Counts a write transaction; to be dropped behind it.
    pub(super) fn writing(&self) -> Writing {
        self.0.writers.fetch_add(1, Ordering::AcqRel);
        Writing(self.clone())
    }

    /// Says whether every row of `table` was found whole since the catalog was opened.
    pub(super) fn is_proven(&self, table: CatalogTable) -> bool {
        self.0.proven.load(Ordering::Acquire) & bit(table) != 0
    }

    pub(super) fn set_proven(&self, table: CatalogTable) {
        self.0.proven.fetch_or(bit(table), Ordering::AcqRel);
    }

    /// Takes every table as proven: the database has verified every page.
    pub(super) fn set_all_proven(&self) {
        self.0.proven.store(u32::MAX, Ordering::Release);
    }

    fn catch<T>(&self, table: CatalogTable, call: impl FnOnce() -> T) -> Result<T, CatalogError> {
        let panicked = || damaged(table, CatalogDamage::Panicked);
        if self.0.panicked.load(Ordering::Acquire) {
            return Err(panicked());
        }
        // What the closure leaves half-done is never looked at again: see the module text.
        catch_unwind(AssertUnwindSafe(call)).map_err(|_payload| {
            self.0.panicked.store(true, Ordering::Release);
            panicked()
        })
    }

    fn translate(&self, table: CatalogTable, error: redb::Error) -> CatalogError {
        use redb::Error;
        let translated = match error {
            Error::Io(source) => translate_io(table, source),
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => CatalogError::Locked {
                source: CatalogFault::new(error),
            },
            Error::Unsupported => CatalogError::LocksUnsupported,
            Error::TransactionInProgress => CatalogError::WriterOpen,
            // The database refuses everything after its first failed read; when damage caused that, it still does.
            Error::PreviousIo if self.0.damaged.load(Ordering::Acquire) => {
                let source = CatalogFault::new(error);
                damaged(table, CatalogDamage::Database { source })
            }
            Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_) => CatalogError::MustReopen,
            Error::Corrupted(_)
            | Error::RepairAborted
            | Error::UpgradeRequired(_)
            | Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TableIsNotMultimap(_)
            | Error::TypeDefinitionChanged { .. }
            | Error::TableDoesNotExist(_) => {
                let source = CatalogFault::new(error);
                damaged(table, CatalogDamage::Database { source })
            }
            Error::InvalidSavepoint
            | Error::ImmediateDurabilityRequired
            | Error::PersistentSavepointModified
            | Error::NonDurableCommitUnsupported
            | Error::EphemeralSavepointUnsupported
            | Error::PersistentSavepointExists
            | Error::EphemeralSavepointExists
            | Error::TransactionPoisoned
            | Error::ValueTooLarge(_)
            | Error::UnorderedKey
            | Error::TableExists(_)
            | Error::TableAlreadyOpen(..)
            | Error::ReadTransactionStillInUse(_)
            | Error::WouldBlock
            | _ => CatalogError::Refused {
                source: CatalogFault::new(error),
            },
        };
        if matches!(translated, CatalogError::Io { .. } | CatalogError::MustReopen) {
            self.0.failed.store(true, Ordering::Release);
        }
        if translated.is_damaged() {
            self.0.damaged.store(true, Ordering::Release);
        }
        translated
    }
}

/// Makes the error for damage noticed in `table`.
pub(super) fn damaged(table: CatalogTable, detail: CatalogDamage) -> CatalogError {
    CatalogError::Damaged { table, detail }
}

/// Tells failures of the operating system from those that follow a wrong offset or a foreign file.
fn translate_io(table: CatalogTable, source: io::Error) -> CatalogError {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof, Unsupported};
    let kind = source.kind();
    if matches!(kind, InvalidData | InvalidInput | UnexpectedEof) {
        let source = CatalogFault::new(source);
        return damaged(table, CatalogDamage::Database { source });
    }
    if kind == NotFound {
        return CatalogError::Missing;
    }
    if kind == Unsupported {
        return CatalogError::LocksUnsupported;
    }
    CatalogError::Io { source }
}

const fn bit(table: CatalogTable) -> u32 {
    1 << table as u32
}

/// A handle of the database that is dropped under the guard, or leaked once the database has panicked.
pub(super) struct Leaky<T> {
    value: Option<T>,
    guard: Guard,
}

impl<T> Leaky<T> {
    pub(super) const fn new(value: T, guard: Guard) -> Self {
        Self {
            value: Some(value),
            guard,
        }
    }

    pub(super) fn get(&self) -> &T {
        self.value.as_ref().expect("taken only by value")
    }

    /// Hands out the handle to be consumed, unless the database has panicked before: then it is leaked.
    pub(super) fn into_inner_unless_panicked(mut self) -> Result<T, CatalogError> {
        // Nothing else runs in between: a transaction is used by one caller at a time.
        self.guard.run(CatalogTable::Database, || Ok(()))?;
        Ok(self.value.take().expect("taken only by value"))
    }
}

impl<T> Drop for Leaky<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        let value = ManuallyDrop::new(value);
        // After a panic the closure never runs, and with it goes the value, undropped.
        let dropped = self.guard.catch(CatalogTable::Database, || {
            drop(ManuallyDrop::into_inner(value));
        });
        // Nobody is left to tell; the guard remembers a panic, and later calls report it.
        drop(dropped);
    }
}

impl<T> core::fmt::Debug for Leaky<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(core::any::type_name::<T>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tables::TABLES;

    struct CountsDrops(Arc<AtomicU32>);

    impl Drop for CountsDrops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    #[test]
    fn handles_are_dropped_while_the_database_is_sound_and_leaked_once_it_panicked() {
        let (guard, drops) = (Guard::default(), Arc::new(AtomicU32::new(0)));
        let handle = || Leaky::new(CountsDrops(Arc::clone(&drops)), guard.clone());
        let (first, second) = (handle(), handle());
        drop(first);
        assert_eq!(drops.load(Ordering::Acquire), 1);
        let error = guard
            .run(CatalogTable::Files, || -> Result<(), redb::Error> {
                panic!("bad page")
            })
            .expect_err("it panicked");
        assert!(error.is_damaged());
        drop(second);
        assert_eq!(drops.load(Ordering::Acquire), 1, "leaked");
        let again = guard
            .run(CatalogTable::Names, || Ok(()))
            .expect_err("never again");
        assert!(again.is_damaged());
    }

    #[test]
    fn a_table_that_is_proven_says_nothing_about_another() {
        for proven in TABLES {
            let guard = Guard::default();
            guard.set_proven(proven);
            for table in TABLES {
                assert_eq!(guard.is_proven(table), table == proven, "{table} by {proven}");
            }
            guard.set_all_proven();
            assert!(TABLES.iter().all(|table| guard.is_proven(*table)));
        }
    }

    #[test]
    fn every_failure_of_a_commit_leaves_the_outcome_unknown() {
        for call in [
            || Err(redb::Error::PreviousIo),
            || -> Result<(), redb::Error> { panic!("in commit") },
        ] {
            let error = Guard::default().commit(call).expect_err("it failed");
            assert!(
                matches!(error, CatalogError::CommitOutcomeUnknown { .. }),
                "{error:?}"
            );
        }
    }
}
