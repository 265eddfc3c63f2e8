//! Publications: everything that one publishing transaction changes, as a value and as the bytes of a journal record.
//!
//! A publication and the descriptor that it names are enough to do the same transaction again: [`CatalogWriter::apply`] is what
//! the first publishing and every replay call, and it asks nothing but the catalog that it changes.
//!
//! [`CatalogWriter::apply`]: super::CatalogWriter::apply

use super::checkpoint::CheckpointStep;
use super::records::{ArchiveRecord, BlockRecord, ExtentState, Relocation, VolumeState};
use super::rows::{DescriptorBlockRow, ImpossibleField, PublicationRow};
use crate::error::CatalogBytesError;
use crate::units::{BlockId, CommitId, ExtentId, FileId, FileName, LaneIndex, Timestamp, VolumeId};

const VERSION: u8 = 1;

/// What a publishing transaction does, beside the entries in its descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What the archive began with, in its first publication only: with it the journal alone is enough to make a catalog.
    pub founding: Option<Founding>,
    /// The commit whose intent ends, and whose entries are added; none for what only removes and touches.
    pub commit: Option<CommitId>,
    /// Where the descriptor of the commit lies, as [`DescriptorRecord::block`](super::DescriptorRecord::block).
    pub descriptor: Option<BlockRecord>,
    /// Positions of entries of the descriptor that are not published, rising.
    pub skipped: Vec<u32>,
    /// Entries that go, those that are replaced among them, and kept versions.
    pub removed: Vec<FileId>,
    /// Files and links that are replaced, and stay as kept versions of their names.
    pub retired: Vec<FileId>,
    /// Entries that get other permissions and times.
    pub touched: Vec<Touch>,
    /// Names that become others, one after another.
    pub renamed: Vec<Renaming>,
    /// Shards that lie elsewhere.
    pub relocated: Vec<Relocation>,
    /// Volumes that come, go, or are to be found elsewhere.
    pub volumes: Vec<VolumeChange>,
    /// Extents as they are from now on; nobody owns them.
    pub extents: Vec<PublishedExtent>,
    /// Numbers of the volumes whose slots have the epoch of this publication, rising: it was written there before the record.
    pub announced: Vec<u16>,
    /// Commits of which the last entry goes with this publication, or none came, rising: nobody needs their descriptors any more.
    /// What follows from a publication is written into it, for catalogs that no longer find a descriptor.
    pub forgotten: Vec<CommitId>,
    /// Entries of the descriptor that take the place of another version, rising by position: it follows too.
    pub versions: Vec<GivenVersion>,
    /// The ids that come next at that moment, those of the publication are below.
    pub next_ids: NextIds,
    /// What it does for a checkpoint.
    pub checkpoint: Option<CheckpointStep>,
}

/// What an archive is and was before its first publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The archive.
    pub archive: ArchiveRecord,
    /// Its volumes.
    pub volumes: Vec<VolumeChange>,
}

/// New permissions and a new time of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The entry.
    pub file: FileId,
    /// Type and permission bits.
    pub mode: u32,
    /// When its source was last modified.
    pub modified_at: Timestamp,
}

/// The version that an entry of a descriptor got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenVersion {
    /// Its position in the descriptor.
    pub position: u32,
    /// The version, above 1.
    pub version: u32,
}

/// A name that becomes another one, with everything below it and all kept versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// The name so far: of an entry, or of nothing but what lies below it.
    pub from: FileName,
    /// The name from then on; nothing has it or lies below it, and it does not lie below the old one.
    pub to: FileName,
}

/// A volume, as a publication leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeChange {
    /// Its number.
    pub number: u16,
    /// Its identity.
    pub id: VolumeId,
    /// What it is used for. One that is removed must hold nothing that lives; its extents are forgotten.
    pub state: VolumeState,
    /// Where it lies, as [`VolumeRecord::path`](super::VolumeRecord::path).
    pub path: Vec<u8>,
}

/// An extent, as a publication leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedExtent {
    /// The extent.
    pub id: ExtentId,
    /// Number of the volume that it lies on.
    pub volume: u16,
    /// The lane that it continues.
    pub lane: LaneIndex,
    /// Whether it still takes bytes.
    pub state: ExtentState,
    /// Committed end in bytes.
    pub end_bytes: u64,
}

/// The ids that an archive gives next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is explained by its type")]
pub struct NextIds {
    pub file: FileId,
    pub block: BlockId,
    pub extent: ExtentId,
    pub commit: CommitId,
}

impl Publication {
    /// Returns the one that changes nothing, where these ids come next.
    pub const fn of_nothing(next_ids: NextIds) -> Self {
        Self {
            founding: None,
            commit: None,
            descriptor: None,
            skipped: Vec::new(),
            removed: Vec::new(),
            retired: Vec::new(),
            touched: Vec::new(),
            renamed: Vec::new(),
            relocated: Vec::new(),
            volumes: Vec::new(),
            extents: Vec::new(),
            announced: Vec::new(),
            forgotten: Vec::new(),
            versions: Vec::new(),
            next_ids,
            checkpoint: None,
        }
    }

    /// Encodes the publication.
    ///
    /// # Panics
    /// When it is one that could not be parsed again: positions that do not rise, a descriptor without a commit or in a block
    /// that holds no descriptor.
    pub fn encode(&self) -> Vec<u8> {
        if let Err(ImpossibleField(field)) = self.check() {
            panic!("a publication has an impossible {field}");
        }
        self.encode_unchecked()
    }

    /// Parses a publication. Total: any bytes give a publication that [`Self::encode`] makes exactly these bytes of, or an
    /// error.
    ///
    /// # Errors
    /// [`CatalogBytesError`] when there is no such publication.
    pub fn parse(bytes: &[u8]) -> Result<Self, CatalogBytesError> {
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            Some((&found, _)) => return Err(CatalogBytesError::Version { found }),
            None => return Err(CatalogBytesError::Unparsable),
        };
        let row: PublicationRow = match postcard::take_from_bytes(body) {
            Ok((row, [])) => row,
            Ok(_) | Err(_) => return Err(CatalogBytesError::Unparsable),
        };
        let impossible = |ImpossibleField(field)| CatalogBytesError::Impossible { field };
        let publication = row.parse().map_err(impossible)?;
        publication.check().map_err(impossible)?;
        // Numbers can be written in more than one way, and only one is right.
        if publication.encode_unchecked() != bytes {
            return Err(CatalogBytesError::Unparsable);
        }
        Ok(publication)
    }

    /// Checks what holds for every publication, whatever the catalog.
    pub(super) fn check(&self) -> Result<(), ImpossibleField> {
        if !self.skipped.is_sorted_by(|a, b| a < b) {
            return Err(ImpossibleField("list of skipped entries"));
        }
        if !self.announced.is_sorted_by(|a, b| a < b) {
            return Err(ImpossibleField("list of announced volumes"));
        }
        if !self.forgotten.is_sorted_by(|a, b| a < b) {
            return Err(ImpossibleField("list of forgotten descriptors"));
        }
        if !self.versions.is_sorted_by(|a, b| a.position < b.position)
            || self.versions.iter().any(|given| given.version < 2)
        {
            return Err(ImpossibleField("list of versions"));
        }
        let ends_where_it_begins = |extent: &PublishedExtent| extent.end_bytes == 0;
        let dropped = |extent: &&PublishedExtent| extent.state == ExtentState::Dropped;
        if !self.extents.iter().filter(dropped).all(ends_where_it_begins) {
            return Err(ImpossibleField("end of a dropped extent"));
        }
        if (self.renamed.iter()).any(|renaming| renaming.to.is_within(&renaming.from)) {
            return Err(ImpossibleField("renaming of a name to one below it"));
        }
        let Some(block) = &self.descriptor else {
            return match self.checkpoint {
                Some(CheckpointStep::Slice) => Err(ImpossibleField("slice without a place")),
                Some(CheckpointStep::Complete(_) | CheckpointStep::GiveUp(_)) | None => Ok(()),
            };
        };
        if self.commit.is_none() {
            return Err(ImpossibleField("descriptor without a commit"));
        }
        if DescriptorBlockRow::new(block).parse().as_ref() != Ok(block) {
            return Err(ImpossibleField("block of a descriptor"));
        }
        Ok(())
    }

    fn encode_unchecked(&self) -> Vec<u8> {
        let bytes = postcard::to_extend(&PublicationRow::new(self), vec![VERSION]);
        bytes.expect("a publication serializes into memory")
    }
}
