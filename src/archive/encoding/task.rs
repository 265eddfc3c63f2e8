//! What is encoded again while a shard is looked at.

use std::sync::Arc;

use super::{ParityCheck, check_parity, has_parity, len_bytes};
use crate::{
    archive::{
        read::{BlockReader, GroupReader, Groups},
        shared::Shared,
    },
    catalog::{CatalogReader, DamageRecord},
    error::CatalogError,
    geometry::BlockGeometry,
    plan::DamageKind,
    units::ShardIndex,
};

/// What that is.
#[derive(Debug, Clone, Default)]
pub(in crate::archive) enum Encoding {
    #[default]
    Nothing,
    /// The parity of its block.
    Block,
    /// The same, of an outer parity block that is known to be summed up wrongly: what agrees with it is wrong, too.
    BlockOfWrongSums,
    /// What the blocks of its group sum up to at this shard of outer parity.
    Sums(Arc<Groups>),
}

/// What it has come to.
pub(in crate::archive) enum EncodingFound {
    /// Of the block that was looked at.
    Here(ParityCheck),
    /// Of the outer parity blocks of its group, in order.
    OfGroup(Arc<GroupReader>, Vec<ParityCheck>),
}

impl Encoding {
    /// Returns what is encoded again while a shard of a block is looked at because it is known to be wrong, although it matches its
    /// hash. The parity of the block is, with whichever shard `stands_for_block`.
    pub(in crate::archive) fn of_known(
        shared: &Arc<Shared>,
        reader: &CatalogReader,
        (block, shard, stands_for_block): (&BlockReader, ShardIndex, bool),
    ) -> Result<Self, CatalogError> {
        let (geometry, id) = (block.geometry(), block.record().id);
        let is_sum = geometry.is_outer_parity() && geometry.is_data(shard);
        if !has_parity(geometry) || !(is_sum || stands_for_block) {
            return Ok(Self::Nothing);
        }
        let known = reader.damage_of_block(id)?;
        if wrong_sums(geometry, &known).any(|wrong| wrong == shard) {
            return Self::sums(shared, reader, block);
        }
        let is_wrong = known.iter().any(|damage| damage.kind == DamageKind::Encoding);
        Ok(if stands_for_block && is_wrong {
            Self::of_block(geometry, &known)
        } else {
            Self::Nothing
        })
    }

    /// Returns what to encode again of a block.
    pub(in crate::archive) fn of_block(geometry: &BlockGeometry, known: &[DamageRecord]) -> Self {
        if wrong_sums(geometry, known).next().is_some() {
            Self::BlockOfWrongSums
        } else {
            Self::Block
        }
    }

    /// Returns what to add up for a shard of outer parity.
    pub(in crate::archive) fn sums(
        shared: &Arc<Shared>,
        reader: &CatalogReader,
        block: &BlockReader,
    ) -> Result<Self, CatalogError> {
        let file = reader.file(block.record().file)?;
        Ok(file.map_or(Self::Nothing, |file| {
            Self::Sums(Arc::new(Groups::of(shared, &file)))
        }))
    }

    /// Says whether sums are of the first outer parity block of their group: they are those of all of them.
    pub(in crate::archive) fn is_of_first(&self, block: &BlockReader) -> bool {
        let Self::Sums(groups) = self else { return false };
        let index = block.record().index;
        let group = groups.geometry().group_of(index);
        group.is_some_and(|group| group.parity_blocks().start == index.get())
    }

    /// Encodes it, and compares.
    pub(in crate::archive) fn check(&self, block: &BlockReader, shard: ShardIndex) -> Option<EncodingFound> {
        match self {
            Self::Nothing => None,
            Self::Block => Some(EncodingFound::Here(check_parity(block))),
            Self::BlockOfWrongSums => {
                let mut check = check_parity(block);
                check.right.clear();
                Some(EncodingFound::Here(check))
            }
            Self::Sums(groups) => {
                let group = groups.group_of(block.record().index)?;
                let outer: Vec<(usize, &BlockReader)> = group.outer_parity().iter().enumerate().collect();
                let sums = group.check_sums(shard, &outer);
                let checks = sums.iter().zip(outer).map(|(sums, (_, block))| {
                    let mut check = ParityCheck::default();
                    check.add_sums(block.geometry(), shard, sums);
                    check
                });
                let checks = checks.collect();
                Some(EncodingFound::OfGroup(group, checks))
            }
        }
    }

    /// Returns how many bytes of frames are read for it at most.
    pub(in crate::archive) fn len_bytes(&self, block: &BlockReader, shard: ShardIndex) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Block | Self::BlockOfWrongSums => len_bytes(block),
            Self::Sums(groups) => {
                let group = groups.geometry().group_of(block.record().index);
                let blocks = group.map_or(0, |group| group.code().total());
                u64::from(blocks) * block.layout(shard).total_len_bytes()
            }
        }
    }
}

/// Returns the data shards of an outer parity block that are known to be summed up wrongly.
pub(in crate::archive) fn wrong_sums(
    geometry: &BlockGeometry,
    known: &[DamageRecord],
) -> impl Iterator<Item = ShardIndex> {
    let wrong = known.iter().filter(|damage| {
        let is_data = geometry.is_outer_parity() && geometry.is_data(damage.shard);
        is_data && damage.kind == DamageKind::Encoding
    });
    wrong.map(|damage| damage.shard)
}
