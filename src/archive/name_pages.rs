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
    scope: Scope,
    /// Name and version of the last entry.
    last: Option<(FileName, u32)>,
    /// The last name whose own entry there was.
    last_named: Option<FileName>,
    is_done: bool,
}

/// Which entries there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Those that have a name.
    Named,
    /// Kept versions too, each in front of what has its name.
    WithKept,
}

impl NamePages {
    pub(super) fn new(shared: &Arc<Shared>, prefix: Option<&FileName>) -> Self {
        Self::of_scope(shared, prefix, Scope::Named)
    }

    /// Walks through kept versions too, in the order of names and versions.
    pub(super) fn with_kept(shared: &Arc<Shared>, prefix: Option<&FileName>) -> Self {
        Self::of_scope(shared, prefix, Scope::WithKept)
    }

    fn of_scope(shared: &Arc<Shared>, prefix: Option<&FileName>, scope: Scope) -> Self {
        Self {
            shared: Arc::clone(shared),
            prefix: prefix.cloned(),
            scope,
            last: None,
            last_named: None,
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
        let prefix = self.prefix.as_ref();
        let mut page = reader.files_page(prefix, self.last_named.as_ref(), PAGE_LEN)?;
        let mut may_go_on = page.len() == PAGE_LEN;
        if self.scope == Scope::WithKept {
            let after = self.last.as_ref().map(|(name, version)| (name, *version));
            let kept = reader.kept_versions_page(prefix, after, PAGE_LEN)?;
            may_go_on |= kept.len() == PAGE_LEN;
            page.extend(kept);
            page.sort_by_cached_key(|(file, _block)| (file.name.clone(), file.version));
            may_go_on |= page.len() > PAGE_LEN;
            page.truncate(PAGE_LEN);
        }
        if let Some((last, _block)) = page.last() {
            self.last = Some((last.name.clone(), last.version));
            self.is_done = !may_go_on;
        }
        if let Some((last, _block)) = page.iter().rfind(|(file, _block)| !file.is_kept) {
            self.last_named = Some(last.name.clone());
        }
        Ok(Some((reader, page)))
    }

    /// Lets no page follow.
    pub(super) const fn end(&mut self) {
        self.is_done = true;
    }
}
