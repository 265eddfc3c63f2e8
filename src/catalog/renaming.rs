//! How names become others.

use super::guard::damaged;
use super::intents::Replaces;
use super::publication::Renaming;
use super::reader::CatalogReader;
use super::records::{BlockRecord, FileRecord};
use super::room::TransactionSize;
use super::rows::FileRow;
use super::tables::{file_key, seal, version_key};
use super::writer::CatalogWriter;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{FileName, to_u64};

/// Entries that are renamed at a time.
const PAGE_LEN: usize = 1024;

/// What a renaming changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenamingSize {
    /// Entries that have a name.
    pub entries: u64,
    /// Kept versions.
    pub kept_versions: u64,
    /// Length of the old and the new names of all of them together, with their targets twice, in bytes.
    pub text_len_bytes: u64,
    /// The first name that would become too long.
    pub too_long: Option<FileName>,
}

impl Renaming {
    /// Returns what a name becomes: another one when it is the old one or lies below it, and the same otherwise; `None` where
    /// that would be no name, because it is too long.
    pub fn renamed(&self, name: &FileName) -> Option<FileName> {
        let Some(rest) = name.as_bytes().strip_prefix(self.from.as_bytes()) else {
            return Some(name.clone());
        };
        if !name.is_within(&self.from) {
            return Some(name.clone());
        }
        FileName::from_bytes(&[self.to.as_bytes(), rest].concat()).ok()
    }
}

impl CatalogReader {
    /// Looks at everything that a renaming would change.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written.
    pub fn size_of_renaming(&self, renaming: &Renaming) -> Result<RenamingSize, CatalogError> {
        let mut size = RenamingSize::default();
        let from = Some(&renaming.from);
        let mut last: Option<FileName> = None;
        loop {
            let page = self.files_page(from, last.as_ref(), PAGE_LEN)?;
            page.iter().for_each(|(file, _)| size.add(file, renaming));
            size.entries += to_u64(page.len());
            last = page.last().map(|(file, _)| file.name.clone());
            if page.len() < PAGE_LEN {
                break;
            }
        }
        let mut last: Option<(FileName, u32)> = None;
        loop {
            let after = last.as_ref().map(|(name, version)| (name, *version));
            let page = self.kept_versions_page(from, after, PAGE_LEN)?;
            page.iter().for_each(|(file, _)| size.add(file, renaming));
            size.kept_versions += to_u64(page.len());
            last = page.last().map(|(file, _)| (file.name.clone(), file.version));
            if page.len() < PAGE_LEN {
                return Ok(size);
            }
        }
    }
}

impl RenamingSize {
    /// Returns what the renaming changes: rows that go at one place and come at another.
    pub fn transaction_size(&self) -> TransactionSize {
        TransactionSize {
            entries: self.entries.saturating_add(self.kept_versions).saturating_mul(2),
            text_len_bytes: self.text_len_bytes,
            ..TransactionSize::default()
        }
    }

    fn add(&mut self, file: &FileRecord, renaming: &Renaming) {
        self.text_len_bytes += file.text_len_bytes() + file.kind.target_len_bytes();
        match renaming.renamed(&file.name) {
            Some(name) => self.text_len_bytes += to_u64(name.as_bytes().len()),
            None => self.too_long = self.too_long.take().or_else(|| Some(file.name.clone())),
        }
    }
}

impl CatalogWriter {
    /// Gives what a name stands for, everything below it and all their kept versions other names. No block and no shard is
    /// touched: rows name files by their ids.
    ///
    /// # Errors
    /// [`CatalogError::UnknownName`] leaves the transaction as it was; [`CatalogError::NameTaken`], for any of the new names,
    /// and [`CatalogError::ImpossiblePublication`] for a new name that is none spoil it.
    pub(super) fn rename(&mut self, renaming: &Renaming) -> Result<(), CatalogError> {
        let from = &renaming.from;
        if self.files_page(Some(from), None, 1)?.is_empty() {
            return Err(CatalogError::UnknownName { name: from.clone() });
        }
        self.change(|writer| {
            // What was renamed is not found again: no new name lies below the old one.
            loop {
                let page = writer.files_page(Some(from), None, PAGE_LEN)?;
                writer.rename_entries(&page, renaming)?;
                if page.len() < PAGE_LEN {
                    break;
                }
            }
            loop {
                let page = writer.kept_versions_page(Some(from), None, PAGE_LEN)?;
                writer.rename_kept(&page, renaming)?;
                if page.len() < PAGE_LEN {
                    return Ok(());
                }
            }
        })?;
        self.protect_from_what_waits(&renaming.to)
    }

    /// Lets no commit that waits replace what has come under its name since: it was to replace something else.
    fn protect_from_what_waits(&mut self, to: &FileName) -> Result<(), CatalogError> {
        for mut intent in self.intents()? {
            let is_meant = intent.name.is_within(to);
            let Some(resumable) = intent.resumable.as_mut().filter(|_| is_meant) else {
                continue;
            };
            resumable.replaces = Replaces::Nothing;
            self.put_intent(&intent)?;
        }
        Ok(())
    }

    fn rename_entries(
        &mut self,
        entries: &[(FileRecord, Option<BlockRecord>)],
        renaming: &Renaming,
    ) -> Result<(), CatalogError> {
        let table = CatalogTable::Names;
        let old: Vec<Vec<u8>> = entries
            .iter()
            .map(|(file, _)| file.name.as_bytes().to_vec())
            .collect();
        self.remove_rows(table, &old)?;
        let renamed = self.put_under_new_names(entries, renaming)?;
        let renamed: Vec<&FileRecord> = renamed.iter().collect();
        self.put_name_rows(&renamed)
    }

    fn rename_kept(
        &mut self,
        entries: &[(FileRecord, Option<BlockRecord>)],
        renaming: &Renaming,
    ) -> Result<(), CatalogError> {
        let key = |(file, _): &(FileRecord, _)| version_key(&file.name, file.version);
        let old: Vec<Vec<u8>> = entries.iter().map(key).collect();
        self.remove_rows(CatalogTable::Versions, &old)?;
        let renamed = self.put_under_new_names(entries, renaming)?;
        let renamed: Vec<&FileRecord> = renamed.iter().collect();
        self.put_version_rows(&renamed)
    }

    /// Writes the rows of entries under their new names into `files`; returns the entries as they are then.
    fn put_under_new_names(
        &mut self,
        entries: &[(FileRecord, Option<BlockRecord>)],
        renaming: &Renaming,
    ) -> Result<Vec<FileRecord>, CatalogError> {
        let table = CatalogTable::Files;
        let (mut renamed, mut rows) = (
            Vec::with_capacity(entries.len()),
            Vec::with_capacity(entries.len()),
        );
        for (file, block) in entries {
            let Some(name) = renaming.renamed(&file.name) else {
                let field = "renaming";
                return Err(CatalogError::ImpossiblePublication { field });
            };
            let file = FileRecord { name, ..file.clone() };
            let key = file_key(file.id);
            let row = seal(table, &key, &FileRow::new(&file, block.as_ref()));
            rows.push((key, row));
            renamed.push(file);
        }
        // In the order of the table, whatever that of the names is.
        rows.sort_unstable();
        match self.put_rows(table, &rows)? {
            0 => Ok(renamed),
            _ => Err(damaged(table, CatalogDamage::MissingRow)),
        }
    }
}
