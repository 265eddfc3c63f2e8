//! Rows of `damage`, `damaged_blocks`, `by_state`, `unverified`, `verified`, `volume_counters`, and the sums over them.

use serde::{Deserialize, Serialize};

use super::{ExtentShardRow, ImpossibleField, TimeRow};
use crate::catalog::health::{
    DamageRecord, DamagedBlock, DamagedFile, FileState, HealthTotals, VolumeCounters,
};
use crate::catalog::records::ShardAddress;
use crate::plan::{ColumnSet, DamageKind, DamagePart, VerifiedInterval};
use crate::units::{BlockId, ByteRange, ExtentId, FileId, ShardIndex};

/// `damage`, by block id and shard.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct DamageRow {
    /// Whose block it is, with the shard once more.
    owner: ExtentShardRow,
    extent: u64,
    offset: u64,
    /// One bit for each column, the first in the lowest bit of the first byte; no zeros behind.
    columns: Vec<u8>,
    /// 1: header; 2: table; 3: footer; 4: payload.
    part: u8,
    /// 1: checksum; 2: misplaced; 3: I/O error; 4: missing; 5: encoded wrongly.
    kind: u8,
    since: TimeRow,
}

impl DamageRow {
    pub(in crate::catalog) fn new(damage: &DamageRecord) -> Self {
        Self {
            owner: ExtentShardRow::new(damage.owner, damage.shard),
            extent: damage.address.extent.get(),
            offset: damage.address.offset,
            columns: damage.columns.to_bytes(),
            part: match damage.part {
                DamagePart::Header => 1,
                DamagePart::Table => 2,
                DamagePart::Footer => 3,
                DamagePart::Payload => 4,
            },
            kind: match damage.kind {
                DamageKind::Checksum => 1,
                DamageKind::Misplaced => 2,
                DamageKind::IoError => 3,
                DamageKind::Missing => 4,
                DamageKind::Encoding => 5,
            },
            since: TimeRow::new(damage.since),
        }
    }

    pub(in crate::catalog) fn parse(
        self,
        block: BlockId,
        shard: u64,
    ) -> Result<DamageRecord, ImpossibleField> {
        let (owner, index) = self.owner.parse()?;
        if u64::from(index.get()) != shard {
            return Err(ImpossibleField("damaged shard"));
        }
        if self.columns.last() == Some(&0) {
            return Err(ImpossibleField("set of columns"));
        }
        Ok(DamageRecord {
            owner,
            block,
            shard: index,
            address: ShardAddress {
                extent: ExtentId::new(self.extent),
                offset: self.offset,
            },
            columns: ColumnSet::from_bytes(&self.columns),
            part: match self.part {
                1 => DamagePart::Header,
                2 => DamagePart::Table,
                3 => DamagePart::Footer,
                4 => DamagePart::Payload,
                _ => return Err(ImpossibleField("damaged part")),
            },
            kind: match self.kind {
                1 => DamageKind::Checksum,
                2 => DamageKind::Misplaced,
                3 => DamageKind::IoError,
                4 => DamageKind::Missing,
                5 => DamageKind::Encoding,
                _ => return Err(ImpossibleField("kind of damage")),
            },
            since: self.since.parse("time of damage")?,
        })
    }
}

/// `damaged_blocks`, by file id and block id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct DamagedBlockRow {
    owner: ExtentShardRow,
    pub(in crate::catalog) shards: u16,
    pub(in crate::catalog) worst: u16,
    pub(in crate::catalog) parity: u16,
    pub(in crate::catalog) lost_bytes: u64,
    pub(in crate::catalog) since: TimeRow,
}

impl DamagedBlockRow {
    pub(in crate::catalog) fn new(block: &DamagedBlock) -> Self {
        Self {
            owner: ExtentShardRow::new(block.owner, ShardIndex::new(0)),
            shards: block.shards,
            worst: block.worst,
            parity: block.parity,
            lost_bytes: block.lost_bytes,
            since: TimeRow::new(block.since),
        }
    }

    pub(in crate::catalog) fn parse(
        self,
        file: FileId,
        block: BlockId,
    ) -> Result<DamagedBlock, ImpossibleField> {
        let (owner, _) = self.owner.parse()?;
        if self.shards == 0 {
            return Err(ImpossibleField("count of damaged shards"));
        }
        Ok(DamagedBlock {
            file,
            block,
            owner,
            shards: self.shards,
            worst: self.worst,
            parity: self.parity,
            lost_bytes: self.lost_bytes,
            since: self.since.parse("time of damage")?,
        })
    }
}

/// `by_state`, by state and file id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct DamagedFileRow {
    shards: u64,
    blocks: u64,
    margin: u16,
    lost_bytes: u64,
    since: TimeRow,
}

impl DamagedFileRow {
    pub(in crate::catalog) fn new(file: &DamagedFile) -> Self {
        Self {
            shards: file.shards,
            blocks: file.blocks,
            margin: file.margin,
            lost_bytes: file.lost_bytes,
            since: TimeRow::new(file.since),
        }
    }

    pub(in crate::catalog) fn parse(self, state: u64, file: FileId) -> Result<DamagedFile, ImpossibleField> {
        let state = FileState::from_number(state).ok_or(ImpossibleField("state of a file"))?;
        if self.shards == 0 || self.blocks == 0 || (self.lost_bytes > 0) != (state == FileState::Lost) {
            return Err(ImpossibleField("damage of a file"));
        }
        Ok(DamagedFile {
            file,
            state,
            shards: self.shards,
            blocks: self.blocks,
            margin: self.margin,
            lost_bytes: self.lost_bytes,
            since: self.since.parse("time of damage")?,
        })
    }
}

/// `unverified`, by file id: that there is a row says all.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct UnverifiedRow;

/// `verified`, by extent id and first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct VerifiedRow {
    end: u64,
    at: TimeRow,
}

impl VerifiedRow {
    pub(in crate::catalog) fn new(verified: &VerifiedInterval) -> Self {
        Self {
            end: verified.range.end(),
            at: TimeRow::new(verified.when),
        }
    }

    pub(in crate::catalog) fn parse(self, start: u64) -> Result<VerifiedInterval, ImpossibleField> {
        let range = ByteRange::new(start, self.end).filter(|range| !range.is_empty());
        Ok(VerifiedInterval {
            range: range.ok_or(ImpossibleField("verified range"))?,
            when: self.at.parse("time of verification")?,
        })
    }
}

/// `totals`, key `health`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::catalog) struct HealthRow {
    degraded_files: u64,
    lost_files: u64,
    damaged_shards: u64,
    damaged_descriptors: u64,
    lost_descriptors: u64,
}

impl HealthRow {
    pub(in crate::catalog) const fn new(totals: &HealthTotals) -> Self {
        Self {
            degraded_files: totals.degraded_files,
            lost_files: totals.lost_files,
            damaged_shards: totals.damaged_shards,
            damaged_descriptors: totals.damaged_descriptors,
            lost_descriptors: totals.lost_descriptors,
        }
    }

    pub(in crate::catalog) fn parse(self) -> HealthTotals {
        HealthTotals {
            degraded_files: self.degraded_files,
            lost_files: self.lost_files,
            unverified_files: 0,
            damaged_shards: self.damaged_shards,
            damaged_descriptors: self.damaged_descriptors,
            lost_descriptors: self.lost_descriptors,
        }
    }
}

/// `volume_counters`, by volume number.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::catalog) struct VolumeCountersRow {
    checksum: u64,
    misplaced: u64,
    io_error: u64,
    missing: u64,
    encoding: u64,
    repaired_shards: u64,
    repaired_bytes: u64,
}

impl VolumeCountersRow {
    pub(in crate::catalog) const fn new(counters: &VolumeCounters) -> Self {
        Self {
            checksum: counters.checksum,
            misplaced: counters.misplaced,
            io_error: counters.io_error,
            missing: counters.missing,
            encoding: counters.encoding,
            repaired_shards: counters.repaired_shards,
            repaired_bytes: counters.repaired_bytes,
        }
    }

    pub(in crate::catalog) const fn parse(self) -> VolumeCounters {
        VolumeCounters {
            checksum: self.checksum,
            misplaced: self.misplaced,
            io_error: self.io_error,
            missing: self.missing,
            encoding: self.encoding,
            repaired_shards: self.repaired_shards,
            repaired_bytes: self.repaired_bytes,
        }
    }
}
