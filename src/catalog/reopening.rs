//! How an open catalog goes on after a failed read or write.
//!
//! The database latches the first one and refuses everything behind it. So the old handle is closed, which gives its locks
//! back, and the file is opened as after a crash. Never after a panic: what the database holds then is left alone.

use std::sync::{Arc, PoisonError};

use super::guard::{Guard, damaged};
use super::source::Handle;
use super::{Catalog, Check};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};

/// The database as it was opened, with what was learnt about it since.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) handle: Handle,
    pub(super) guard: Guard,
    /// A reader has found pages that are not what was written, and goes on with what it finds row by row.
    pub(super) are_pages_damaged: bool,
}

impl Opened {
    pub(super) fn close(self: Arc<Self>) -> Result<(), CatalogError> {
        let opened = Arc::into_inner(self).expect("it is shared only while a transaction begins");
        opened.handle.close(&opened.guard)
    }
}

/// Where the opened database is kept.
#[derive(Debug)]
pub(super) struct Slot {
    /// Nothing when it was closed after a failure and could not be opened again yet.
    pub(super) opened: Option<Arc<Opened>>,
    has_panicked: bool,
}

impl Slot {
    pub(super) fn new(opened: Opened) -> Self {
        Self {
            opened: Some(Arc::new(opened)),
            has_panicked: false,
        }
    }

    /// Notes when an error tells of a panic.
    fn note(&mut self, error: CatalogError) -> CatalogError {
        self.has_panicked |= matches!(
            error,
            CatalogError::Damaged {
                detail: CatalogDamage::Panicked,
                ..
            }
        );
        error
    }
}

impl Catalog {
    /// Begins a transaction on the database, which is opened anew first when it has to be.
    pub(super) fn with_opened<T>(
        &self,
        begin: impl Fn(&Opened) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        match begin(&*self.opened()?) {
            // A transaction of another thread failed while this one waited for it.
            Err(CatalogError::MustReopen) => begin(&*self.opened()?),
            result => result,
        }
    }

    fn opened(&self) -> Result<Arc<Opened>, CatalogError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.has_panicked {
            return Err(damaged(CatalogTable::Database, CatalogDamage::Panicked));
        }
        if let Some(opened) = slot.opened.take() {
            if !opened.guard.has_failed() {
                slot.opened = Some(Arc::clone(&opened));
                return Ok(opened);
            }
            // Opening waits for whoever writes: it would wait for ever when that is the caller.
            let is_writing = opened.guard.is_writing();
            match Arc::try_unwrap(opened) {
                Ok(opened) if !is_writing => {
                    // What it fails with is what it failed with before; a panic alone is news.
                    if let Err(error) = opened.handle.close(&opened.guard) {
                        drop(slot.note(error));
                    }
                }
                Ok(opened) => slot.opened = Some(Arc::new(opened)),
                Err(shared) => slot.opened = Some(shared),
            }
            if slot.opened.is_some() {
                return Err(CatalogError::MustReopen);
            }
            if slot.has_panicked {
                return Err(damaged(CatalogTable::Database, CatalogDamage::Panicked));
            }
        }
        let (archive, opened) = self
            .origin
            .open(Check::Always)
            .map_err(|error| slot.note(error))?;
        if archive != self.archive {
            let about = "which archive this is";
            let detail = CatalogDamage::Contradiction { about };
            return Err(damaged(CatalogTable::Meta, detail));
        }
        let opened = Arc::new(opened);
        slot.opened = Some(Arc::clone(&opened));
        Ok(opened)
    }
}
