//! Rows of `intents`.

use serde::{Deserialize, Serialize};

use super::file::FileGeometryRow;
use super::{ImpossibleField, TimeRow};
use crate::catalog::intents::{
    IntentRecord, LegPosition, LegRecord, ProgressRecord, Replaces, ResumableRecord, SourceRecord,
};
use crate::geometry::FileGeometry;
use crate::merkle::FolderState;
use crate::units::{BlockId, BlockIndex, CommitId, ExtentId, FileId, FileName, LaneIndex, SessionId};

/// Progress that is kept: the last one, and the one before it in case that the last was not whole.
const MAX_PROGRESS: usize = 2;

/// `intents`, by commit id.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct IntentRow {
    session: Option<u64>,
    begun_at: TimeRow,
    name: Vec<u8>,
    others: u64,
    resumable: Option<ResumableRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ResumableRow {
    source: SourceRow,
    file: u64,
    first_block: u64,
    geometry: FileGeometryRow,
    mode: u32,
    /// 1: nothing; 2: what has the name.
    replaces: u8,
    /// How many versions are kept; 0 where nothing is replaced.
    kept_versions: u32,
    legs: Vec<LegRow>,
    progress: Vec<ProgressRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SourceRow {
    path: Vec<u8>,
    len_bytes: u64,
    modified_at: TimeRow,
    changed_at: TimeRow,
    device: u64,
    inode: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct LegRow {
    first_block: u64,
    lanes: Vec<u16>,
    positions: Vec<PositionRow>,
    new_extents: Vec<u64>,
    extent_limit_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct PositionRow {
    lane: u16,
    extent: u64,
    end_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProgressRow {
    blocks: u64,
    leaf_count: u64,
    hashes: Vec<[u8; 32]>,
}

impl IntentRow {
    pub(in crate::catalog) fn new(intent: &IntentRecord) -> Self {
        Self {
            session: intent.session.map(SessionId::get),
            begun_at: TimeRow::new(intent.begun_at),
            name: intent.name.as_bytes().to_vec(),
            others: intent.others,
            resumable: intent.resumable.as_ref().map(ResumableRow::new),
        }
    }

    pub(in crate::catalog) fn parse(self, commit: CommitId) -> Result<IntentRecord, ImpossibleField> {
        Ok(IntentRecord {
            commit,
            session: self.session.map(SessionId::new),
            begun_at: self.begun_at.parse("time of a beginning")?,
            name: FileName::from_bytes(&self.name).map_err(|_error| ImpossibleField("name"))?,
            others: self.others,
            resumable: self.resumable.map(ResumableRow::parse).transpose()?,
        })
    }
}

impl ResumableRow {
    fn new(resumable: &ResumableRecord) -> Self {
        Self {
            source: SourceRow::new(&resumable.source),
            file: resumable.file.get(),
            first_block: resumable.first_block.get(),
            geometry: FileGeometryRow::new(&resumable.geometry),
            mode: resumable.mode,
            replaces: match resumable.replaces {
                Replaces::Nothing => 1,
                Replaces::Existing { .. } => 2,
            },
            kept_versions: match resumable.replaces {
                Replaces::Nothing => 0,
                Replaces::Existing { kept_versions } => kept_versions,
            },
            legs: resumable.legs.iter().map(LegRow::new).collect(),
            progress: resumable.progress.iter().map(ProgressRow::new).collect(),
        }
    }

    fn parse(self) -> Result<ResumableRecord, ImpossibleField> {
        let geometry = self.geometry.parse()?;
        let source = self.source.parse()?;
        if source.len_bytes != geometry.len_bytes() {
            return Err(ImpossibleField("length of a source"));
        }
        if self.first_block.checked_add(geometry.block_count()).is_none() {
            return Err(ImpossibleField("first block"));
        }
        Ok(ResumableRecord {
            source,
            file: FileId::new(self.file),
            first_block: BlockId::new(self.first_block),
            geometry,
            mode: self.mode,
            replaces: match (self.replaces, self.kept_versions) {
                (1, 0) => Replaces::Nothing,
                (2, kept_versions) => Replaces::Existing { kept_versions },
                _ => return Err(ImpossibleField("replacement")),
            },
            legs: parse_legs(self.legs, &geometry)?,
            progress: parse_progress(self.progress, &geometry)?,
        })
    }
}

impl SourceRow {
    fn new(source: &SourceRecord) -> Self {
        Self {
            path: source.path.clone(),
            len_bytes: source.len_bytes,
            modified_at: TimeRow::new(source.modified_at),
            changed_at: TimeRow::new(source.changed_at),
            device: source.device,
            inode: source.inode,
        }
    }

    fn parse(self) -> Result<SourceRecord, ImpossibleField> {
        if self.path.first() != Some(&b'/') || self.path.contains(&0) {
            return Err(ImpossibleField("path of a source"));
        }
        Ok(SourceRecord {
            path: self.path,
            len_bytes: self.len_bytes,
            modified_at: self.modified_at.parse("modification time")?,
            changed_at: self.changed_at.parse("change time")?,
            device: self.device,
            inode: self.inode,
        })
    }
}

impl LegRow {
    fn new(leg: &LegRecord) -> Self {
        let position = |position: &LegPosition| PositionRow {
            lane: position.lane.get(),
            extent: position.extent.get(),
            end_bytes: position.end_bytes,
        };
        Self {
            first_block: leg.first_block.get(),
            lanes: leg.lanes.iter().map(|lane| lane.get()).collect(),
            positions: leg.positions.iter().map(position).collect(),
            new_extents: leg.new_extents.iter().map(|extent| extent.get()).collect(),
            extent_limit_bytes: leg.extent_limit_bytes,
        }
    }

    fn parse(self) -> LegRecord {
        let position = |position: PositionRow| LegPosition {
            lane: LaneIndex::new(position.lane),
            extent: ExtentId::new(position.extent),
            end_bytes: position.end_bytes,
        };
        LegRecord {
            first_block: BlockIndex::new(self.first_block),
            lanes: self.lanes.into_iter().map(LaneIndex::new).collect(),
            positions: self.positions.into_iter().map(position).collect(),
            new_extents: self.new_extents.into_iter().map(ExtentId::new).collect(),
            extent_limit_bytes: self.extent_limit_bytes,
        }
    }
}

impl ProgressRow {
    fn new(progress: &ProgressRecord) -> Self {
        Self {
            blocks: progress.blocks,
            leaf_count: progress.folder.leaf_count(),
            hashes: progress.folder.hashes().to_vec(),
        }
    }
}

/// Checks that the legs lead from the first block on, each over a lane of its own for every shard. The last may stand behind the
/// last block: then only the descriptor is left to write.
fn parse_legs(legs: Vec<LegRow>, geometry: &FileGeometry) -> Result<Vec<LegRecord>, ImpossibleField> {
    let is_way = legs.iter().map(|leg| leg.first_block).is_sorted_by(|a, b| a < b)
        && legs.first().is_none_or(|leg| leg.first_block == 0)
        && legs
            .last()
            .is_none_or(|leg| leg.first_block <= geometry.block_count());
    let has_its_lanes = |leg: &LegRow| {
        leg.lanes.len() == usize::from(geometry.shape().total())
            && are_distinct(leg.lanes.iter().copied())
            && are_distinct(leg.positions.iter().map(|position| position.lane))
    };
    if !is_way || !legs.iter().all(has_its_lanes) {
        return Err(ImpossibleField("way of the frames"));
    }
    Ok(legs.into_iter().map(LegRow::parse).collect())
}

fn are_distinct(lanes: impl Iterator<Item = u16>) -> bool {
    let mut lanes: Vec<u16> = lanes.collect();
    lanes.sort_unstable();
    lanes.is_sorted_by(|a, b| a < b)
}

/// Checks that progress never goes back, and that as many leaves were folded as the whole blocks have.
fn parse_progress(
    progress: Vec<ProgressRow>,
    geometry: &FileGeometry,
) -> Result<Vec<ProgressRecord>, ImpossibleField> {
    let wrong = ImpossibleField("progress");
    if progress.len() > MAX_PROGRESS || !progress.iter().is_sorted_by_key(|progress| progress.blocks) {
        return Err(wrong);
    }
    let parse = |progress: ProgressRow| {
        if progress.blocks > geometry.block_count() {
            return Err(wrong);
        }
        let end = geometry.bytes_before(BlockIndex::new(progress.blocks));
        if progress.leaf_count != geometry.leaf().count_for(end) {
            return Err(wrong);
        }
        let folder = FolderState::from_parts(geometry.leaf(), progress.leaf_count, progress.hashes);
        Ok(ProgressRecord {
            blocks: progress.blocks,
            folder: folder.ok_or(wrong)?,
        })
    };
    progress.into_iter().map(parse).collect()
}
