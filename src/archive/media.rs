//! Volumes and journal of an open archive, which change while it is open: volumes come and go, in this process and in others.
//!
//! Whoever works with them takes what is in use at that moment and keeps it to the end. A publication looks whether the
//! catalog has others first, under the write lock, so that nothing is published to volumes that are no part of the archive
//! any more.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use super::volumes::{Member, Search, Volumes, expect_direct, find_volumes};
use crate::{
    catalog::{Access, Catalog, CatalogReader, VolumeRecord, VolumeState},
    error::OpenError,
    geometry::Policy,
    host::ArchiveLayout,
    journal::{CopyPlace, Journal},
    volume::IoMode,
};

/// Copies of the journal on a single volume: one sector that cannot be read must not cost a record.
const COPIES_ON_ONE_VOLUME: u8 = 4;

/// Copies on each of two.
const COPIES_ON_TWO_VOLUMES: u8 = 2;

/// Volumes that have a copy, where no more were asked for.
const VOLUMES_WITH_JOURNAL: u16 = 4;

/// The volumes and the journal that are in use.
#[derive(Debug)]
pub(super) struct Media {
    io: IoMode,
    /// Directories that the caller has named.
    places: Vec<PathBuf>,
    in_use: RwLock<InUse>,
}

#[derive(Debug)]
struct InUse {
    volumes: Arc<Volumes>,
    journal: Arc<Journal>,
}

impl Media {
    /// Finds the volumes of an archive. Where it is to be written, one at least takes writes, and those that do go direct where that
    /// was asked for; where it is to be read, one can be read.
    pub(super) fn find(
        layout: &ArchiveLayout,
        catalog: &Arc<Catalog>,
        (access, io): (Access, IoMode),
        places: Vec<PathBuf>,
    ) -> Result<Self, OpenError> {
        let records = catalog.read()?.volumes()?;
        let search = Search {
            layout,
            archive: catalog.archive().id,
            io,
            places: &places,
        };
        let found = find_volumes(&search, &records, None)?;
        let is_of_use = |member: &Member| match access {
            Access::Write => member.takes_files(),
            Access::Read => member.is_readable(),
        };
        let is_usable = found.iter().any(|(member, _)| is_of_use(member));
        let (members, problems): (Vec<Member>, Vec<Option<OpenError>>) = found.into_iter().unzip();
        if !is_usable && let Some(problem) = problems.into_iter().flatten().next() {
            return Err(problem);
        }
        let storage = Arc::clone(&layout.machine().storage);
        if access == Access::Write {
            let mut taking = members.iter().filter(|member| member.takes_files());
            taking.try_for_each(|member| expect_direct(io, storage.as_ref(), &member.path))?;
        }
        let volumes = Volumes::new(members, catalog.archive().policy.lanes(), catalog);
        let places_of_journal = journal_places(&volumes, catalog);
        let journal = Journal::new(storage, catalog.archive().id, places_of_journal);
        Ok(Self {
            io,
            in_use: RwLock::new(InUse {
                volumes: Arc::new(volumes),
                journal: Arc::new(journal),
            }),
            places,
        })
    }

    pub(super) const fn io(&self) -> IoMode {
        self.io
    }

    pub(super) fn volumes(&self) -> Arc<Volumes> {
        let in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&in_use.volumes)
    }

    pub(super) fn journal(&self) -> Arc<Journal> {
        let in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&in_use.journal)
    }

    /// Looks for the volumes again where the catalog has others than those that are in use.
    pub(super) fn keep_up_with(
        &self,
        layout: &ArchiveLayout,
        catalog: &Arc<Catalog>,
        reader: &CatalogReader,
    ) -> Result<(), OpenError> {
        let records = reader.volumes()?;
        let identity = |record: &VolumeRecord| {
            let is_there = record.state != VolumeState::Removed;
            is_there.then(|| (record.id, record.state, record.path.clone()))
        };
        let volumes = self.volumes();
        let in_use = volumes.members().iter().map(|member| &member.record);
        if records
            .iter()
            .filter_map(identity)
            .eq(in_use.filter_map(identity))
        {
            return Ok(());
        }
        self.replace(layout, catalog, &records)
    }

    /// Looks for the volumes again.
    pub(super) fn look_again(&self, layout: &ArchiveLayout, catalog: &Arc<Catalog>) -> Result<(), OpenError> {
        let records = catalog.read()?.volumes()?;
        self.replace(layout, catalog, &records)
    }

    fn replace(
        &self,
        layout: &ArchiveLayout,
        catalog: &Arc<Catalog>,
        records: &[VolumeRecord],
    ) -> Result<(), OpenError> {
        let search = Search {
            layout,
            archive: catalog.archive().id,
            io: self.io,
            places: &self.places,
        };
        let found = find_volumes(&search, records, Some(&self.volumes()))?;
        let members = found.into_iter().map(|(member, _)| member).collect();
        let volumes = Volumes::new(members, catalog.archive().policy.lanes(), catalog);
        let places = journal_places(&volumes, catalog);
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        // Where no volume is left that takes writes, the journal stays where it was, and says what is wrong with it.
        if !places.is_empty() && !in_use.journal.is_at(&places) {
            in_use.journal = Arc::new(in_use.journal.at(places));
        }
        in_use.volumes = Arc::new(volumes);
        Ok(())
    }

    /// Puts another volume in the place of the only one.
    #[cfg(test)]
    pub(super) fn with_only(self, catalog: &Arc<Catalog>, volume: Arc<dyn crate::volume::Volume>) -> Self {
        let volumes = self.volumes();
        let [only] = volumes.members() else {
            panic!("{} volumes", volumes.members().len());
        };
        let only = Member {
            volume,
            ..only.clone()
        };
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        in_use.volumes = Arc::new(Volumes::new(vec![only], volumes.lanes(), catalog));
        drop(in_use);
        self
    }
}

/// Returns where the copies of the journal lie: on the first volumes that take writes, and where there are none, for reading,
/// on those that can be read.
fn journal_places(volumes: &Volumes, catalog: &Catalog) -> Vec<CopyPlace> {
    let wanted = volumes_with_journal(&catalog.archive().policy);
    let mut chosen: Vec<&Member> = volumes.for_files().take(wanted).collect();
    if chosen.is_empty() {
        chosen = volumes.readable().take(wanted).collect();
    }
    places_on(chosen.iter().map(|member| {
        let record = &member.record;
        (record.number, record.id, member.path.clone())
    }))
}

/// Returns how many volumes have a copy of the journal, the first ones, where there are so many.
pub(super) fn volumes_with_journal(policy: &Policy) -> usize {
    usize::from(VOLUMES_WITH_JOURNAL.max(policy.survive_volumes().saturating_add(1)))
}

/// Returns where the copies of the journal lie on some volumes: number, id, and directory of each.
pub(super) fn places_on(
    volumes: impl ExactSizeIterator<Item = (u16, crate::units::VolumeId, PathBuf)>,
) -> Vec<CopyPlace> {
    let copies = match volumes.len() {
        1 => COPIES_ON_ONE_VOLUME,
        2 => COPIES_ON_TWO_VOLUMES,
        _ => 1,
    };
    let places = volumes.flat_map(|(volume, volume_id, dir)| {
        (0..copies).map(move |copy| CopyPlace {
            volume,
            volume_id,
            copy,
            directory: dir.join("journal").join(format!("c{copy}")),
        })
    });
    places.collect()
}
