//! What a catalog says of damage and verification, by every way of asking.

use std::collections::BTreeSet;

use super::*;
use crate::plan::VerifiedInterval;

/// What a catalog says of damage and verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) health: HealthTotals,
    pub(super) damage: Vec<DamageRecord>,
    pub(super) blocks: Vec<DamagedBlock>,
    /// Those that are degraded, then those that are lost.
    pub(super) files: Vec<DamagedFile>,
    pub(super) unverified: Vec<FileId>,
    pub(super) verified: Vec<(ExtentId, Vec<VerifiedInterval>)>,
    /// When the byte of each file was verified that was verified longest ago.
    pub(super) oldest: Vec<(FileId, Option<Timestamp>)>,
    pub(super) counters: Vec<(VolumeId, VolumeCounters)>,
}

impl Said {
    /// Asks for everything, in more than one way where there is more than one.
    pub(super) fn of(
        reader: &CatalogReader,
        files: &[(FileRecord, Vec<BlockRecord>)],
        descriptors: &[DescriptorRecord],
        extents: &[ExtentRecord],
    ) -> Result<Self, CatalogError> {
        let blocks = files.iter().flat_map(|(_, blocks)| blocks);
        let blocks = blocks.chain(descriptors.iter().map(|descriptor| &descriptor.block));
        let ids: BTreeSet<BlockId> = blocks.map(|block| block.id).collect();
        let mut damage = Vec::new();
        for id in ids {
            damage.extend(reader.damage_of_block(id)?);
        }
        let (mut verified, mut oldest, mut cache) = (Vec::new(), Vec::new(), Verified::default());
        for extent in extents {
            verified.push((extent.id, reader.verified_of(extent.id)?));
        }
        for (file, _) in files {
            oldest.push((file.id, cache.oldest(reader, file)?));
        }
        let said = Self {
            health: reader.health()?,
            damage,
            blocks: pages(3, |after: Option<&DamagedBlock>| {
                reader.damaged_blocks_page(after.map(|block| (block.file, block.block)), 3)
            })?,
            files: [FileState::Degraded, FileState::Lost]
                .map(|state| {
                    pages(2, |after: Option<&DamagedFile>| {
                        reader.damaged_files_page(state, after.map(|file| file.file), 2)
                    })
                })
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
            unverified: pages(5, |after: Option<&FileId>| {
                reader.unverified_page(after.copied(), 5)
            })?,
            verified,
            oldest,
            counters: reader.volume_counters()?,
        };
        said.check_other_ways(reader, files)?;
        Ok(said)
    }

    fn check_other_ways(
        &self,
        reader: &CatalogReader,
        files: &[(FileRecord, Vec<BlockRecord>)],
    ) -> Result<(), CatalogError> {
        for (file, _) in files {
            let is_unverified = self.unverified.contains(&file.id);
            assert_eq!(reader.is_unverified(file.id)?, is_unverified, "{}", file.name);
            let damaged = self.files.iter().find(|damaged| damaged.file == file.id);
            assert_eq!(reader.damaged_file(file.id)?.as_ref(), damaged, "{}", file.name);
            let blocks = pages(2, |after: Option<&DamagedBlock>| {
                reader.damaged_blocks_of(file.id, after.map(|block| block.block), 2)
            })?;
            let of_file = self.blocks.iter().filter(|block| block.file == file.id);
            assert_eq!(blocks, of_file.copied().collect::<Vec<_>>(), "{}", file.name);
        }
        Ok(())
    }
}

/// Reads page after page of so many.
fn pages<T: Clone>(
    len: usize,
    mut page: impl FnMut(Option<&T>) -> Result<Vec<T>, CatalogError>,
) -> Result<Vec<T>, CatalogError> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let next = page(all.last())?;
        all.extend_from_slice(&next);
        assert!(all.len() < 10_000, "a listing ends");
        if next.len() < len {
            return Ok(all);
        }
    }
}
