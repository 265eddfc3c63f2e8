//! Stored names page by page, in their order, without a transaction between two pages.

use std::sync::Arc;

use super::shared::Shared;
use crate::{
    catalog::{BlockRecord, CatalogReader, FileRecord},
    error::CatalogError,
    units::FileName,
};

/// Entries that are looked up at a time.
pub(super) const PAGE_LEN: usize = 1024;

/// An entry, with its block when it has exactly one.
pub(super) type Entry = (FileRecord, Option<BlockRecord>);

/// What a prefix names and everything below it.
#[derive(Debug)]
pub(super) struct NamePages {
    shared: Arc<Shared>,
    prefix: Option<FileName>,
    after: Option<FileName>,
    is_done: bool,
}

impl NamePages {
    pub(super) fn new(shared: &Arc<Shared>, prefix: Option<&FileName>) -> Self {
        Self {
            shared: Arc::clone(shared),
            prefix: prefix.cloned(),
            after: None,
            is_done: false,
        }
    }

    /// Returns the next entries, and the reader that has seen them; `None` behind the last page, and for ever after an error.
    pub(super) fn next(&mut self) -> Result<Option<(CatalogReader, Vec<Entry>)>, CatalogError> {
        if self.is_done {
            return Ok(None);
        }
        // Only a whole page says that more may follow.
        self.is_done = true;
        let reader = self.shared.catalog.read()?;
        let page = reader.files_page(self.prefix.as_ref(), self.after.as_ref(), PAGE_LEN)?;
        if let Some((last, _block)) = page.last() {
            self.after = Some(last.name.clone());
            self.is_done = page.len() < PAGE_LEN;
        }
        Ok(Some((reader, page)))
    }
    /// Lets no page follow.
    pub(super) const fn end(&mut self) {
        self.is_done = true;
    }
}
