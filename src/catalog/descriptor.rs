//! Descriptors: everything that the catalog knows of the entries of one commit, as bytes.
//!
//! They are written beside the data before a publication names them, so that the catalog can be made again from the volumes.
//! Their length follows from names and geometries alone. The parser is total: any bytes give entries that the catalog could
//! hold, or an error, and what it accepts is exactly what [`encode`] writes.
//!
//! Invariant: knows no database; bytes in, records out.

use super::records::{BlockRecord, EntryKind, FileRecord};
use super::rows::{EntryRow, ImpossibleField, varint_len_bytes, whole_block};
use crate::error::CatalogBytesError;
use crate::geometry::{BlockGeometry, FileGeometry, Policy};
use crate::units::{FileName, to_u64};

/// What every descriptor begins with; a version follows.
const MAGIC: &[u8; 8] = b"bfdbdesc";

const VERSION: u8 = 1;

/// An entry with all its blocks, in file order.
pub type Entry = (FileRecord, Vec<BlockRecord>);

/// Encodes the entries of a commit, in their order.
///
/// # Panics
/// When an entry has other blocks than its geometry asks for.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let rows = entries.iter().map(|(file, blocks)| {
        let count = file.geometry.block_count();
        assert_eq!(to_u64(blocks.len()), count, "the blocks of {}", file.name);
        EntryRow::new(file, blocks)
    });
    let rows: Vec<EntryRow> = rows.collect();
    let head = [MAGIC.as_slice(), &[VERSION]].concat();
    postcard::to_extend(&rows, head).expect("a descriptor serializes into memory")
}

/// Returns how long the descriptor of such entries is, whatever their roots, times, places and digests are.
pub fn encoded_len_bytes<'entry>(
    entries: impl IntoIterator<Item = (&'entry FileName, &'entry EntryKind, &'entry FileGeometry)>,
) -> u64 {
    let (mut count, mut len_bytes) = (0, 0);
    for (name, kind, geometry) in entries {
        count += 1;
        len_bytes += EntryRow::len_bytes(name, kind, geometry);
    }
    to_u64(MAGIC.len() + 1) + varint_len_bytes(count) + len_bytes
}

/// Parses a descriptor.
///
/// # Errors
/// [`CatalogBytesError`] when the bytes are not what [`encode`] makes of any entries.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, CatalogBytesError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(CatalogBytesError::Magic)?;
    let body = match body.split_first() {
        Some((&VERSION, body)) => body,
        Some((&found, _)) => return Err(CatalogBytesError::Version { found }),
        None => return Err(CatalogBytesError::Unparsable),
    };
    let rows: Vec<EntryRow> = match postcard::take_from_bytes(body) {
        Ok((rows, [])) => rows,
        Ok(_) | Err(_) => return Err(CatalogBytesError::Unparsable),
    };
    let entries = rows.into_iter().map(EntryRow::parse);
    let entries = entries.collect::<Result<Vec<Entry>, ImpossibleField>>();
    let entries = entries.map_err(|ImpossibleField(field)| CatalogBytesError::Impossible { field })?;
    // Counts can be written in more than one way, and only one is right.
    if encode(&entries) != bytes {
        return Err(CatalogBytesError::Unparsable);
    }
    Ok(entries)
}

/// Returns the block that holds a descriptor of `len_bytes` bytes, coded as tiny files are, whatever its length; `None` when
/// that is more than a block can hold.
pub fn block_geometry(len_bytes: u64, policy: &Policy) -> Option<BlockGeometry> {
    whole_block(len_bytes, policy.parts().tiny_shape, policy.leaf())
}
