//! Bodies of the rows as they stand on disk, apart from the records that the crate works with.
//!
//! Every number is written by postcard (variable length, little endian groups), every tag is a number given here and
//! never a Rust discriminant. What comes from disk is parsed into checked types; a value that nothing valid could have is
//! damage, even under a good checksum. The golden bytes in the tests pin all of it.

mod archive;
mod block;
mod checkpoint;
mod descriptor;
mod entry;
mod file;
mod health;
mod intent;
mod place;
mod publication;

pub(super) use archive::{ArchiveRow, CountersRow, JournalRow, RowCountsRow, TotalsRow};
pub(super) use block::{BlockRow, FileBlockRow, are_the_right_shards};
pub(super) use checkpoint::CheckpointsRow;
pub(super) use descriptor::{DescriptorBlockRow, DescriptorRow, whole_block};
pub(super) use entry::{EntryRow, varint_len_bytes};
pub(super) use file::{FileRow, NameRow, VersionRow, check_entry};
pub(super) use health::{
    DamageRow, DamagedBlockRow, DamagedFileRow, HealthRow, UnverifiedRow, VerifiedRow, VolumeCountersRow,
};
pub(super) use intent::IntentRow;
pub(super) use place::{ExtentRow, ExtentShardRow, FreedRow, VolumeRow};
pub(super) use publication::{PublicationRow, PublishedExtentRow};

use serde::{Deserialize, Serialize};

use crate::units::{CodeShape, LeafLen, Timestamp};

/// Names the field that no valid record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImpossibleField(pub(super) &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimeRow {
    seconds: i64,
    nanoseconds: u32,
}

impl TimeRow {
    fn new(time: Timestamp) -> Self {
        Self {
            seconds: time.seconds(),
            nanoseconds: time.nanoseconds(),
        }
    }

    fn parse(self, field: &'static str) -> Result<Timestamp, ImpossibleField> {
        Timestamp::new(self.seconds, self.nanoseconds).ok_or(ImpossibleField(field))
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct ShapeRow {
    data: u16,
    parity: u16,
}

impl ShapeRow {
    fn new(shape: CodeShape) -> Self {
        Self {
            data: shape.data(),
            parity: shape.parity(),
        }
    }

    fn parse(self) -> Result<CodeShape, ImpossibleField> {
        CodeShape::new(self.data, self.parity).map_err(|_error| ImpossibleField("shape"))
    }
}

fn parse_leaf(log2: u8) -> Result<LeafLen, ImpossibleField> {
    LeafLen::from_log2(log2).ok_or(ImpossibleField("leaf length"))
}
