//! Rows of `meta` and `totals`.

use serde::{Deserialize, Serialize};

use super::{ImpossibleField, ShapeRow, TimeRow, parse_leaf};
use crate::catalog::records::{ArchiveRecord, KeptTotals, TierTotals, Totals};
use crate::error::CatalogTable;
use crate::geometry::{Grouping, Policy, PolicyParts};
use crate::units::ArchiveId;

/// `meta`, key `archive`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct ArchiveRow {
    id: [u8; 16],
    pub(in crate::catalog) format_version: u16,
    pub(in crate::catalog) required_features: u64,
    created_at: TimeRow,
    policy: PolicyRow,
}

#[derive(Debug, Serialize, Deserialize)]
struct PolicyRow {
    leaf_log2: u8,
    tiny_below_bytes: u64,
    tiny_shape: ShapeRow,
    segmented_below_bytes: u64,
    segmented_shape: ShapeRow,
    segmented_segment_len_bytes: u64,
    blocked_shape: ShapeRow,
    blocked_segment_max_len_bytes: u64,
    blocked_below_bytes: u64,
    grouped_shape: ShapeRow,
    grouped_segment_max_len_bytes: u64,
    outer_parity: u16,
    group_blocks_min: u16,
    survive_volumes: u16,
}

impl ArchiveRow {
    pub(in crate::catalog) fn new(archive: &ArchiveRecord) -> Self {
        let policy = archive.policy.parts();
        Self {
            id: archive.id.to_bytes(),
            format_version: archive.format_version,
            required_features: archive.required_features,
            created_at: TimeRow::new(archive.created_at),
            policy: PolicyRow {
                leaf_log2: policy.leaf.log2(),
                tiny_below_bytes: policy.tiny_below_bytes,
                tiny_shape: ShapeRow::new(policy.tiny_shape),
                segmented_below_bytes: policy.segmented_below_bytes,
                segmented_shape: ShapeRow::new(policy.segmented_shape),
                segmented_segment_len_bytes: policy.segmented_segment_len_bytes,
                blocked_shape: ShapeRow::new(policy.blocked_shape),
                blocked_segment_max_len_bytes: policy.blocked_segment_max_len_bytes,
                blocked_below_bytes: policy.blocked_below_bytes,
                grouped_shape: ShapeRow::new(policy.grouped.shape),
                grouped_segment_max_len_bytes: policy.grouped.segment_max_len_bytes,
                outer_parity: policy.grouped.parity,
                group_blocks_min: policy.grouped.blocks_min,
                survive_volumes: policy.survive_volumes,
            },
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<ArchiveRecord, ImpossibleField> {
        let policy = PolicyParts {
            leaf: parse_leaf(self.policy.leaf_log2)?,
            tiny_below_bytes: self.policy.tiny_below_bytes,
            tiny_shape: self.policy.tiny_shape.parse()?,
            segmented_below_bytes: self.policy.segmented_below_bytes,
            segmented_shape: self.policy.segmented_shape.parse()?,
            segmented_segment_len_bytes: self.policy.segmented_segment_len_bytes,
            blocked_shape: self.policy.blocked_shape.parse()?,
            blocked_segment_max_len_bytes: self.policy.blocked_segment_max_len_bytes,
            blocked_below_bytes: self.policy.blocked_below_bytes,
            grouped: Grouping {
                shape: self.policy.grouped_shape.parse()?,
                segment_max_len_bytes: self.policy.grouped_segment_max_len_bytes,
                parity: self.policy.outer_parity,
                blocks_min: self.policy.group_blocks_min,
            },
            survive_volumes: self.policy.survive_volumes,
        };
        Ok(ArchiveRecord {
            id: ArchiveId::from_bytes(self.id),
            format_version: self.format_version,
            required_features: self.required_features,
            created_at: self.created_at.parse("creation time")?,
            policy: Policy::new(policy).map_err(|_error| ImpossibleField("policy"))?,
        })
    }
}

/// `meta`, key `counters`: the epoch, and the next id of every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct CountersRow {
    pub(in crate::catalog) epoch: u64,
    pub(in crate::catalog) next_file: u64,
    pub(in crate::catalog) next_block: u64,
    pub(in crate::catalog) next_extent: u64,
    pub(in crate::catalog) next_commit: u64,
}

impl CountersRow {
    /// Ids count from 1, so that a zeroed field names nothing.
    pub(in crate::catalog) const FIRST: Self = Self {
        epoch: 0,
        next_file: 1,
        next_block: 1,
        next_extent: 1,
        next_commit: 1,
    };
}

/// `meta`, key `row_counts`: how many rows the tables have that can lose one unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::catalog) struct RowCountsRow {
    files: u64,
    names: u64,
    file_blocks: u64,
    blocks: u64,
    extents: u64,
    extent_shards: u64,
    volumes: u64,
    intents: u64,
    descriptors: u64,
    damage: u64,
    damaged_blocks: u64,
    by_state: u64,
    unverified: u64,
    verified: u64,
    volume_counters: u64,
    freed: u64,
    versions: u64,
}

impl RowCountsRow {
    pub(in crate::catalog) fn get(mut self, table: CatalogTable) -> u64 {
        *self.get_mut(table)
    }

    pub(in crate::catalog) fn get_mut(&mut self, table: CatalogTable) -> &mut u64 {
        match table {
            CatalogTable::Files => &mut self.files,
            CatalogTable::Names => &mut self.names,
            CatalogTable::FileBlocks => &mut self.file_blocks,
            CatalogTable::Blocks => &mut self.blocks,
            CatalogTable::Extents => &mut self.extents,
            CatalogTable::ExtentShards => &mut self.extent_shards,
            CatalogTable::Volumes => &mut self.volumes,
            CatalogTable::Intents => &mut self.intents,
            CatalogTable::Descriptors => &mut self.descriptors,
            CatalogTable::Damage => &mut self.damage,
            CatalogTable::DamagedBlocks => &mut self.damaged_blocks,
            CatalogTable::ByState => &mut self.by_state,
            CatalogTable::Unverified => &mut self.unverified,
            CatalogTable::Verified => &mut self.verified,
            CatalogTable::VolumeCounters => &mut self.volume_counters,
            CatalogTable::Freed => &mut self.freed,
            CatalogTable::Versions => &mut self.versions,
            CatalogTable::Database | CatalogTable::Meta | CatalogTable::Totals => {
                unreachable!("the rows of {table} are looked up one by one and never counted")
            }
        }
    }
}

/// `meta`, key `journal`: what the journal wants to find beside the catalog; only the journal reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::catalog) struct JournalRow {
    pub(in crate::catalog) bytes: Vec<u8>,
}

/// `totals`, key `all`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct TotalsRow {
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    blocks: u64,
    directories: u64,
    symbolic_links: u64,
    tiers: [TierTotalsRow; 4],
    kept: KeptTotalsRow,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct TierTotalsRow {
    files: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct KeptTotalsRow {
    files: u64,
    symbolic_links: u64,
    bytes: u64,
    stored_bytes: u64,
}

impl TotalsRow {
    pub(in crate::catalog) fn new(totals: &Totals) -> Self {
        Self {
            files: totals.files,
            bytes: totals.bytes,
            stored_bytes: totals.stored_bytes,
            blocks: totals.blocks,
            directories: totals.directories,
            symbolic_links: totals.symbolic_links,
            tiers: totals.tiers.map(|tier| TierTotalsRow {
                files: tier.files,
                bytes: tier.bytes,
            }),
            kept: KeptTotalsRow {
                files: totals.kept.files,
                symbolic_links: totals.kept.symbolic_links,
                bytes: totals.kept.bytes,
                stored_bytes: totals.kept.stored_bytes,
            },
        }
    }

    pub(in crate::catalog) fn parse(self) -> Totals {
        Totals {
            files: self.files,
            bytes: self.bytes,
            stored_bytes: self.stored_bytes,
            blocks: self.blocks,
            directories: self.directories,
            symbolic_links: self.symbolic_links,
            tiers: self.tiers.map(|tier| TierTotals {
                files: tier.files,
                bytes: tier.bytes,
            }),
            kept: KeptTotals {
                files: self.kept.files,
                symbolic_links: self.kept.symbolic_links,
                bytes: self.kept.bytes,
                stored_bytes: self.kept.stored_bytes,
            },
        }
    }
}
