//! The body of a publication, as it stands in a journal record.

use serde::{Deserialize, Serialize};

use super::archive::ArchiveRow;
use super::checkpoint::CheckpointStepRow;
use super::descriptor::DescriptorBlockRow;
use super::{ExtentShardRow, ImpossibleField, TimeRow};
use crate::catalog::publication::{
    Founding, GivenVersion, NextIds, Publication, PublishedExtent, Renaming, Touch, VolumeChange,
};
use crate::catalog::records::{ExtentState, Relocation, ShardAddress, VolumeState};
use crate::merkle::ShardDigest;
use crate::units::{BlockId, CommitId, ExtentId, FileId, FileName, LaneIndex, VolumeId};

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct PublicationRow {
    founding: Option<FoundingRow>,
    commit: Option<u64>,
    descriptor: Option<DescriptorBlockRow>,
    skipped: Vec<u32>,
    removed: Vec<u64>,
    retired: Vec<u64>,
    touched: Vec<TouchRow>,
    renamed: Vec<RenamingRow>,
    relocated: Vec<RelocationRow>,
    volumes: Vec<VolumeChangeRow>,
    extents: Vec<PublishedExtentRow>,
    announced: Vec<u16>,
    forgotten: Vec<u64>,
    versions: Vec<(u32, u32)>,
    next_ids: NextIdsRow,
    checkpoint: Option<CheckpointStepRow>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NextIdsRow {
    file: u64,
    block: u64,
    extent: u64,
    commit: u64,
}

impl NextIdsRow {
    pub(super) const fn new(next: &NextIds) -> Self {
        Self {
            file: next.file.get(),
            block: next.block.get(),
            extent: next.extent.get(),
            commit: next.commit.get(),
        }
    }

    pub(super) const fn parse(self) -> NextIds {
        NextIds {
            file: FileId::new(self.file),
            block: BlockId::new(self.block),
            extent: ExtentId::new(self.extent),
            commit: CommitId::new(self.commit),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FoundingRow {
    archive: ArchiveRow,
    volumes: Vec<VolumeChangeRow>,
}

impl FoundingRow {
    pub(super) fn new(founding: &Founding) -> Self {
        Self {
            archive: ArchiveRow::new(&founding.archive),
            volumes: founding.volumes.iter().map(VolumeChangeRow::new).collect(),
        }
    }

    pub(super) fn parse(self) -> Result<Founding, ImpossibleField> {
        Ok(Founding {
            archive: self.archive.parse()?,
            volumes: (self.volumes.into_iter())
                .map(VolumeChangeRow::parse)
                .collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct TouchRow {
    file: u64,
    mode: u32,
    modified_at: TimeRow,
}

#[derive(Debug, Serialize, Deserialize)]
struct RenamingRow {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl RenamingRow {
    fn new(renaming: &Renaming) -> Self {
        Self {
            from: renaming.from.as_bytes().to_vec(),
            to: renaming.to.as_bytes().to_vec(),
        }
    }

    fn parse(self) -> Result<Renaming, ImpossibleField> {
        let name = |bytes: &[u8]| FileName::from_bytes(bytes).map_err(|_error| ImpossibleField("name"));
        Ok(Renaming {
            from: name(&self.from)?,
            to: name(&self.to)?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RelocationRow {
    shard: ExtentShardRow,
    from_extent: u64,
    from_offset: u64,
    to_extent: u64,
    to_offset: u64,
    digest: Option<[u8; 32]>,
}

impl RelocationRow {
    fn new(relocation: &Relocation) -> Self {
        Self {
            shard: ExtentShardRow::new(relocation.owner, relocation.shard),
            from_extent: relocation.from.extent.get(),
            from_offset: relocation.from.offset,
            to_extent: relocation.to.extent.get(),
            to_offset: relocation.to.offset,
            digest: relocation.digest.map(ShardDigest::to_bytes),
        }
    }

    fn parse(self) -> Result<Relocation, ImpossibleField> {
        let (owner, shard) = self.shard.parse()?;
        let address = |extent, offset| ShardAddress {
            extent: ExtentId::new(extent),
            offset,
        };
        Ok(Relocation {
            owner,
            shard,
            from: address(self.from_extent, self.from_offset),
            to: address(self.to_extent, self.to_offset),
            digest: self.digest.map(ShardDigest::from_bytes),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct VolumeChangeRow {
    number: u16,
    id: [u8; 16],
    /// 1: active; 2: draining; 3: removed.
    state: u8,
    path: Vec<u8>,
}

impl VolumeChangeRow {
    fn new(volume: &VolumeChange) -> Self {
        Self {
            number: volume.number,
            id: volume.id.to_bytes(),
            state: volume.state.number(),
            path: volume.path.clone(),
        }
    }

    fn parse(self) -> Result<VolumeChange, ImpossibleField> {
        Ok(VolumeChange {
            number: self.number,
            id: VolumeId::from_bytes(self.id),
            state: VolumeState::from_number(self.state).ok_or(ImpossibleField("volume state"))?,
            path: self.path,
        })
    }
}

/// An extent that nobody owns.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct PublishedExtentRow {
    id: u64,
    volume: u16,
    lane: u16,
    /// 1: open; 2: sealed; 3: abandoned; 4: dropped.
    state: u8,
    end_bytes: u64,
}

impl PublishedExtentRow {
    pub(in crate::catalog) const fn new(extent: &PublishedExtent) -> Self {
        Self {
            id: extent.id.get(),
            volume: extent.volume,
            lane: extent.lane.get(),
            state: extent.state.number(),
            end_bytes: extent.end_bytes,
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<PublishedExtent, ImpossibleField> {
        Ok(PublishedExtent {
            id: ExtentId::new(self.id),
            volume: self.volume,
            lane: LaneIndex::new(self.lane),
            state: ExtentState::from_number(self.state).ok_or(ImpossibleField("extent state"))?,
            end_bytes: self.end_bytes,
        })
    }
}

impl PublicationRow {
    pub(in crate::catalog) fn new(publication: &Publication) -> Self {
        let touch = |touch: &Touch| TouchRow {
            file: touch.file.get(),
            mode: touch.mode,
            modified_at: TimeRow::new(touch.modified_at),
        };
        Self {
            founding: publication.founding.as_ref().map(FoundingRow::new),
            commit: publication.commit.map(CommitId::get),
            descriptor: publication.descriptor.as_ref().map(DescriptorBlockRow::new),
            skipped: publication.skipped.clone(),
            removed: publication.removed.iter().map(|file| file.get()).collect(),
            retired: publication.retired.iter().map(|file| file.get()).collect(),
            touched: publication.touched.iter().map(touch).collect(),
            renamed: publication.renamed.iter().map(RenamingRow::new).collect(),
            relocated: publication.relocated.iter().map(RelocationRow::new).collect(),
            volumes: publication.volumes.iter().map(VolumeChangeRow::new).collect(),
            extents: publication.extents.iter().map(PublishedExtentRow::new).collect(),
            announced: publication.announced.clone(),
            forgotten: publication.forgotten.iter().map(|commit| commit.get()).collect(),
            versions: (publication.versions.iter())
                .map(|given| (given.position, given.version))
                .collect(),
            next_ids: NextIdsRow::new(&publication.next_ids),
            checkpoint: publication.checkpoint.as_ref().map(CheckpointStepRow::new),
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<Publication, ImpossibleField> {
        let touch = |touch: TouchRow| {
            Ok(Touch {
                file: FileId::new(touch.file),
                mode: touch.mode,
                modified_at: touch.modified_at.parse("modification time")?,
            })
        };
        let descriptor = self.descriptor.map(DescriptorBlockRow::parse);
        Ok(Publication {
            founding: self.founding.map(FoundingRow::parse).transpose()?,
            commit: self.commit.map(CommitId::new),
            descriptor: descriptor.transpose()?,
            skipped: self.skipped,
            removed: self.removed.into_iter().map(FileId::new).collect(),
            retired: self.retired.into_iter().map(FileId::new).collect(),
            touched: self.touched.into_iter().map(touch).collect::<Result<_, _>>()?,
            renamed: (self.renamed.into_iter())
                .map(RenamingRow::parse)
                .collect::<Result<_, _>>()?,
            relocated: (self.relocated.into_iter())
                .map(RelocationRow::parse)
                .collect::<Result<_, _>>()?,
            volumes: (self.volumes.into_iter())
                .map(VolumeChangeRow::parse)
                .collect::<Result<_, _>>()?,
            extents: (self.extents.into_iter())
                .map(PublishedExtentRow::parse)
                .collect::<Result<_, _>>()?,
            announced: self.announced,
            forgotten: self.forgotten.into_iter().map(CommitId::new).collect(),
            versions: (self.versions.into_iter())
                .map(|(position, version)| GivenVersion { position, version })
                .collect(),
            next_ids: self.next_ids.parse(),
            checkpoint: self.checkpoint.map(CheckpointStepRow::parse).transpose()?,
        })
    }
}
