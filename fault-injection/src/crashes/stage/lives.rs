//! What happens to processes and to their disk.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use bfdb::storage::{FileAccess, Replace, Storage as _};

use super::Stage;
use crate::{
    crashes::{
        oracle::{NEW_CATALOG, OLD_CATALOG},
        setting::ROOT,
    },
    simulation::{Condition, Fault, FaultRule},
};

impl Stage<'_> {
    /// Kills the process of the archive after so many more operations of the disk.
    pub fn kill_within(&mut self, operations: u64) {
        let number = self.disk.counts().mutating() + 1 + operations;
        self.well_until = (self.surprises.len(), number - 1);
        self.is_doomed.store(true, Ordering::Relaxed);
        let is_doomed = Arc::clone(&self.is_doomed);
        self.disk.add_rule(FaultRule::from_fn(move |asked| {
            let is_due = asked.kind.is_mutating() && asked.number >= number;
            (is_due && is_doomed.swap(false, Ordering::Relaxed)).then_some(Fault::Vanish)
        }));
    }

    /// Lets another process come after one that was killed: what it wrote is there, its locks are not. When it was not
    /// killed yet, it is now.
    pub fn come_after_the_killed(&mut self) {
        self.is_doomed.store(false, Ordering::Relaxed);
        self.disk.set_condition(Condition::Gone);
        self.archive = None;
        self.disk.set_condition(Condition::Well);
        self.forgive();
    }

    /// Adds a rule to the disk, which holds until the disk is calmed.
    pub fn spoil(&mut self, rule: FaultRule) {
        self.well_until = (self.surprises.len(), 0);
        self.is_spoiled.store(true, Ordering::Relaxed);
        let is_spoiled = Arc::clone(&self.is_spoiled);
        self.disk.add_rule(rule.while_true(is_spoiled));
    }

    /// Lets the disk work again: what was added last goes on no more.
    pub fn calm(&mut self) {
        self.is_spoiled.store(false, Ordering::Relaxed);
    }

    /// Leaves the disk so much room and no more, or as much as there is.
    pub fn leave_room(&mut self, free_bytes: Option<u64>) {
        self.well_until = (self.surprises.len(), 0);
        let used_bytes = self.disk.allocated_bytes();
        self.disk
            .set_capacity(free_bytes.map(|free_bytes| used_bytes + free_bytes));
    }

    /// Expects that the last steps failed since the disk was spoiled, as they should have.
    pub fn forgive(&mut self) {
        let (count, last) = self.well_until;
        let mut index = 0;
        self.surprises.retain(|(after, _)| {
            index += 1;
            index <= count || *after <= last
        });
    }

    /// Loses the newest segment of a copy of the journal; nobody has the archive open.
    pub fn lose_journal_copy(&mut self, copy: u64) {
        let directory = Path::new(ROOT).join(format!("volumes/v0/journal/c{copy}"));
        let newest = self
            .disk
            .list(&directory)
            .ok()
            .and_then(|names| names.last().cloned());
        let removed = newest.map_or(Ok(()), |name| self.disk.remove_file(&directory.join(name)));
        match removed.and_then(|()| self.disk.sync_directory(&directory)) {
            // Where it could not be lost it is there.
            Ok(()) | Err(_) => {}
        }
    }

    /// Copies the catalog to another place, as somebody does who keeps one; nobody has it open.
    pub fn keep_catalog(&mut self) {
        let kept = self
            .disk
            .open(&Path::new(ROOT).join(CATALOG), FileAccess::Read)
            .and_then(|file| {
                let len = usize::try_from(file.info()?.len_bytes).unwrap_or(0);
                let mut bytes = vec![0; len];
                file.read_exact_at(0, &mut bytes)?;
                Ok(bytes)
            });
        self.kept_catalog = kept.ok();
    }

    /// Puts the catalog back that was kept; nobody has the other one open.
    pub fn put_catalog_back(&mut self) {
        let Some(bytes) = self.kept_catalog.take() else {
            return;
        };
        self.disk.marker(OLD_CATALOG);
        match self.exchange_catalog(&bytes) {
            // What has failed has left the newest, or a name that a crash takes back.
            Ok(()) | Err(_) => self.is_catalog_old = true,
        }
    }

    fn exchange_catalog(&self, bytes: &[u8]) -> io::Result<()> {
        // Its name appears with all of it, or not at all.
        let (aside, catalog) = (Path::new("/kept.redb"), Path::new(ROOT).join(CATALOG));
        let file = self.disk.create_new(aside)?;
        file.write_all_at(0, bytes)?;
        file.sync_all()?;
        self.disk.rename(aside, &catalog, Replace::File)?;
        self.disk.sync_directory(Path::new(ROOT))?;
        self.disk.sync_directory(Path::new("/"))
    }

    /// Notes that an archive was opened for writing: the catalog is the newest again.
    pub(super) fn note_opened(&mut self) {
        if self.is_catalog_old {
            self.disk.marker(NEW_CATALOG);
            self.is_catalog_old = false;
        }
    }
}

const CATALOG: &str = "catalog.redb";
