//! Descriptors: everything that the catalog knows of the entries of one commit, and what archive they belong to, as bytes.
//!
//! They are written beside the data before a publication names them, so that the catalog can be made again from the volumes:
//! from the journal, or from nothing but descriptors. Their length follows from archive, names and geometries alone. The parser is total: any bytes give entries that the catalog could
//! hold, or an error, and what it accepts is exactly what [`encode`] writes.
//!
//! Invariant: knows no database; bytes in, records out.

use serde::{Deserialize, Serialize};

use super::records::{ArchiveRecord, BlockRecord, EntryKind, FileRecord};
use super::rows::{ArchiveRow, EntryRow, ImpossibleField, varint_len_bytes, whole_block};
use crate::error::CatalogBytesError;
use crate::geometry::{BlockGeometry, FileGeometry, Policy};
use crate::units::{FileName, to_u64};

/// What every descriptor begins with; a version follows.
const MAGIC: &[u8; 8] = b"bfdbdesc";

const VERSION: u8 = 1;

/// An entry with all its blocks, in file order.
pub type Entry = (FileRecord, Vec<BlockRecord>);

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The archive that the commit belongs to, with the codes that it has for new files.
    pub archive: ArchiveRecord,
    /// The entries of the commit, in its order.
    pub entries: Vec<Entry>,
}

/// What stands behind magic and version.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    archive: ArchiveRow,
    entries: Vec<EntryRow>,
}

/// Encodes the entries of a commit of an archive, in their order.
///
/// # Panics
/// When an entry has other blocks than its geometry asks for.
pub fn encode(archive: &ArchiveRecord, entries: &[Entry]) -> Vec<u8> {
    let rows = entries.iter().map(|(file, blocks)| {
        let count = file.geometry.block_count();
        assert_eq!(to_u64(blocks.len()), count, "the blocks of {}", file.name);
        EntryRow::new(file, blocks)
    });
    let body = Body {
        archive: ArchiveRow::new(archive),
        entries: rows.collect(),
    };
    let head = [MAGIC.as_slice(), &[VERSION]].concat();
    postcard::to_extend(&body, head).expect("a descriptor serializes into memory")
}

/// Returns how long the descriptor of such entries is, whatever their roots, times, places and digests are.
pub fn encoded_len_bytes<'entry>(
    archive: &ArchiveRecord,
    entries: impl IntoIterator<Item = (&'entry FileName, &'entry EntryKind, &'entry FileGeometry)>,
) -> u64 {
    let (mut count, mut len_bytes) = (0, 0);
    for (name, kind, geometry) in entries {
        count += 1;
        len_bytes += EntryRow::len_bytes(name, kind, geometry);
    }
    to_u64(encode(archive, &[]).len()) - varint_len_bytes(0) + varint_len_bytes(count) + len_bytes
}

/// Parses a descriptor. Whether it is of the archive that was meant, and whether this software knows the format of that, is for
/// the caller to look at.
///
/// # Errors
/// [`CatalogBytesError`] when the bytes are not what [`encode`] makes of any entries.
pub fn parse(bytes: &[u8]) -> Result<Descriptor, CatalogBytesError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(CatalogBytesError::Magic)?;
    let body = match body.split_first() {
        Some((&VERSION, body)) => body,
        Some((&found, _)) => return Err(CatalogBytesError::Version { found }),
        None => return Err(CatalogBytesError::Unparsable),
    };
    let body: Body = match postcard::take_from_bytes(body) {
        Ok((body, [])) => body,
        Ok(_) | Err(_) => return Err(CatalogBytesError::Unparsable),
    };
    let impossible = |ImpossibleField(field)| CatalogBytesError::Impossible { field };
    let archive = body.archive.parse().map_err(impossible)?;
    let entries = body.entries.into_iter().map(EntryRow::parse);
    let entries = entries.collect::<Result<Vec<Entry>, ImpossibleField>>();
    let entries = entries.map_err(impossible)?;
    // Counts can be written in more than one way, and only one is right.
    if encode(&archive, &entries) != bytes {
        return Err(CatalogBytesError::Unparsable);
    }
    Ok(Descriptor { archive, entries })
}

/// Returns the block that holds a descriptor of `len_bytes` bytes, coded as tiny files are, whatever its length; `None` when
/// that is more than a block can hold.
pub fn block_geometry(len_bytes: u64, policy: &Policy) -> Option<BlockGeometry> {
    whole_block(len_bytes, policy.parts().tiny_shape, policy.leaf())
}
