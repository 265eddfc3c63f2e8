//! Names and keys of the tables, and the envelope of every row: version, body, checksum.
//!
//! All keys are bytes that sort in the order that is wanted, which for numbers means big endian: the only place in the
//! crate where that is so. docs/catalog.md is normative.

use redb::TableDefinition;
use serde::{Serialize, de::DeserializeOwned};

use super::guard::damaged;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{BlockId, BlockIndex, CommitId, ExtentId, FileId, FileName, ShardIndex};

/// Every table of the database, in the order in which they are created.
pub(super) const TABLES: [CatalogTable; 19] = [
    CatalogTable::Meta,
    CatalogTable::Files,
    CatalogTable::Names,
    CatalogTable::FileBlocks,
    CatalogTable::Blocks,
    CatalogTable::Extents,
    CatalogTable::ExtentShards,
    CatalogTable::Volumes,
    CatalogTable::Totals,
    CatalogTable::Intents,
    CatalogTable::Descriptors,
    CatalogTable::Damage,
    CatalogTable::DamagedBlocks,
    CatalogTable::ByState,
    CatalogTable::Unverified,
    CatalogTable::Verified,
    CatalogTable::VolumeCounters,
    CatalogTable::Freed,
    CatalogTable::Versions,
];

/// The tables whose rows are counted, because one could be missing unnoticed.
pub(super) const COUNTED_TABLES: [CatalogTable; 17] = [
    CatalogTable::Files,
    CatalogTable::Names,
    CatalogTable::FileBlocks,
    CatalogTable::Blocks,
    CatalogTable::Extents,
    CatalogTable::ExtentShards,
    CatalogTable::Volumes,
    CatalogTable::Intents,
    CatalogTable::Descriptors,
    CatalogTable::Damage,
    CatalogTable::DamagedBlocks,
    CatalogTable::ByState,
    CatalogTable::Unverified,
    CatalogTable::Verified,
    CatalogTable::VolumeCounters,
    CatalogTable::Freed,
    CatalogTable::Versions,
];

/// Most bytes of a row: the database holds a value in memory whole, and larger ones fragment its file.
const MAX_ROW_LEN_BYTES: usize = 64 * 1024;

/// The only version of every row so far.
const ROW_VERSION: u8 = 1;

const CHECKSUM_LEN_BYTES: usize = 4;

pub(super) const META_ARCHIVE: &[u8] = b"archive";
pub(super) const META_CHECKPOINTS: &[u8] = b"checkpoints";
pub(super) const META_COUNTERS: &[u8] = b"counters";
pub(super) const META_JOURNAL: &[u8] = b"journal";
pub(super) const META_ROW_COUNTS: &[u8] = b"row_counts";
pub(super) const TOTALS_ALL: &[u8] = b"all";
pub(super) const TOTALS_HEALTH: &[u8] = b"health";

/// Returns what the database calls the table.
pub(super) const fn definition(
    table: CatalogTable,
) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

pub(super) fn file_key(file: FileId) -> Vec<u8> {
    ordered(file.get()).to_vec()
}

pub(super) fn file_block_key(file: FileId, index: BlockIndex) -> Vec<u8> {
    [ordered(file.get()), ordered(index.get())].concat()
}

pub(super) fn block_key(block: BlockId) -> Vec<u8> {
    ordered(block.get()).to_vec()
}

pub(super) fn extent_key(extent: ExtentId) -> Vec<u8> {
    ordered(extent.get()).to_vec()
}

pub(super) fn extent_shard_key(extent: ExtentId, offset: u64) -> Vec<u8> {
    [ordered(extent.get()), ordered(offset)].concat()
}

pub(super) fn volume_key(number: u16) -> Vec<u8> {
    ordered(u64::from(number)).to_vec()
}

/// The key of what belongs to a commit: its intent, and its descriptor.
pub(super) fn commit_key(commit: CommitId) -> Vec<u8> {
    ordered(commit.get()).to_vec()
}

/// The key of the damage of a shard.
pub(super) fn damage_key(block: BlockId, shard: ShardIndex) -> Vec<u8> {
    [ordered(block.get()), ordered(u64::from(shard.get()))].concat()
}

/// The key of a damaged block of a file; those of descriptors stand under file 0.
pub(super) fn damaged_block_key(file: FileId, block: BlockId) -> Vec<u8> {
    [ordered(file.get()), ordered(block.get())].concat()
}

/// The key of a file in a state.
pub(super) fn state_key(state: u8, file: FileId) -> Vec<u8> {
    [ordered(u64::from(state)), ordered(file.get())].concat()
}

/// The key of what was verified of an extent from a byte on.
pub(super) fn verified_key(extent: ExtentId, start: u64) -> Vec<u8> {
    [ordered(extent.get()), ordered(start)].concat()
}

/// The key of what was given back of an extent from a byte on.
pub(super) fn freed_key(extent: ExtentId, start: u64) -> Vec<u8> {
    [ordered(extent.get()), ordered(start)].concat()
}

/// The key of a kept version of a name: no name holds a zero byte, so those of one name stand together, in their order, and
/// those of all names in the order of the names.
pub(super) fn version_key(name: &FileName, version: u32) -> Vec<u8> {
    [name.as_bytes(), &[0], &ordered(u64::from(version))].concat()
}

/// Reads back name and version of such a key.
pub(super) fn parse_version_key(key: &[u8]) -> Result<(FileName, u32), CatalogError> {
    let table = CatalogTable::Versions;
    let impossible = || damaged(table, CatalogDamage::Impossible { field: "key" });
    let (name, version) = key.split_last_chunk::<8>().ok_or_else(impossible)?;
    let name = name.strip_suffix(&[0]).ok_or_else(impossible)?;
    let name = FileName::from_bytes(name).map_err(|_no_name| impossible())?;
    let version = u32::try_from(from_ordered(*version)).map_err(|_too_great| impossible())?;
    Ok((name, version))
}

/// Reads back the numbers of a key.
pub(super) fn parse_key<const COUNT: usize>(
    table: CatalogTable,
    key: &[u8],
) -> Result<[u64; COUNT], CatalogError> {
    let impossible = || damaged(table, CatalogDamage::Impossible { field: "key" });
    let (numbers, rest) = key.as_chunks::<8>();
    let numbers: &[[u8; 8]; COUNT] = numbers.try_into().map_err(|_wrong_len| impossible())?;
    if rest.is_empty() {
        Ok(numbers.map(from_ordered))
    } else {
        Err(impossible())
    }
}

#[expect(
    clippy::big_endian_bytes,
    reason = "keys are compared as bytes, and numbers must sort as numbers"
)]
const fn ordered(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

#[expect(
    clippy::big_endian_bytes,
    reason = "keys are compared as bytes, and numbers must sort as numbers"
)]
const fn from_ordered(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}

/// Makes the row that holds `body` under `key`.
///
/// # Panics
/// When it would be too long, which no row is whose parts are bounded.
pub(super) fn seal<B: Serialize>(table: CatalogTable, key: &[u8], body: &B) -> Vec<u8> {
    match seal_bounded(table, key, body) {
        Ok(row) => row,
        Err(error) => panic!("{error}"),
    }
}

/// Makes the row that holds `body` under `key`; an error says that it would be too long.
pub(super) fn seal_bounded<B: Serialize>(
    table: CatalogTable,
    key: &[u8],
    body: &B,
) -> Result<Vec<u8>, CatalogError> {
    let row = postcard::to_extend(body, vec![ROW_VERSION]);
    let mut row = row.expect("a row serializes into memory");
    row.extend_from_slice(&checksum(table, key, &row).to_le_bytes());
    if row.len() > MAX_ROW_LEN_BYTES {
        return Err(CatalogError::RowTooLong {
            table,
            len_bytes: row.len(),
            limit_bytes: MAX_ROW_LEN_BYTES,
        });
    }
    Ok(row)
}

/// Takes the body out of a row that stands under `key`.
pub(super) fn unseal<B: DeserializeOwned>(
    table: CatalogTable,
    key: &[u8],
    row: &[u8],
) -> Result<B, CatalogError> {
    let body = verify(table, key, row)?;
    match postcard::take_from_bytes(body) {
        Ok((body, [])) => Ok(body),
        Ok(_) | Err(_) => Err(damaged(table, CatalogDamage::Unparsable)),
    }
}

/// Checks that a row is as it was written, and under this key; returns its body.
pub(super) fn verify<'row>(
    table: CatalogTable,
    key: &[u8],
    row: &'row [u8],
) -> Result<&'row [u8], CatalogError> {
    let Some((sealed, stored)) = row.split_last_chunk::<CHECKSUM_LEN_BYTES>() else {
        return Err(damaged(table, CatalogDamage::Checksum));
    };
    if checksum(table, key, sealed) != u32::from_le_bytes(*stored) {
        return Err(damaged(table, CatalogDamage::Checksum));
    }
    match sealed.split_first() {
        Some((&ROW_VERSION, body)) => Ok(body),
        Some((&found, _)) => Err(damaged(table, CatalogDamage::RowVersion { found })),
        None => Err(damaged(table, CatalogDamage::Unparsable)),
    }
}

/// CRC-32 over table name, a zero byte, the length of the key (u32), the key, and the row up to the checksum.
fn checksum(table: CatalogTable, key: &[u8], sealed: &[u8]) -> u32 {
    let key_len = u32::try_from(key.len()).expect("keys are short");
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(table.name().as_bytes());
    hasher.update(&[0]);
    hasher.update(&key_len.to_le_bytes());
    hasher.update(key);
    hasher.update(sealed);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers_and_parse_back() {
        let keys = [(1, 0), (1, 255), (1, 256), (2, 0), (256, 0), (u64::MAX, 1)]
            .map(|(extent, offset)| extent_shard_key(ExtentId::new(extent), offset));
        assert!(keys.is_sorted());
        assert_eq!(
            parse_key::<2>(CatalogTable::ExtentShards, &keys[2]).expect("valid"),
            [1, 256]
        );
        assert!(
            parse_key::<1>(CatalogTable::Files, &keys[2]).is_err(),
            "two numbers"
        );
        assert!(
            parse_key::<1>(CatalogTable::Files, &keys[2][..9]).is_err(),
            "a number and a bit"
        );
    }

    #[test]
    fn every_flipped_bit_of_a_row_is_noticed() {
        let row = seal(CatalogTable::Names, b"a/b", &(7_u64, "body"));
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let result = unseal::<(u64, String)>(CatalogTable::Names, b"a/b", &bad);
            assert!(result.expect_err("one bit differs").is_damaged(), "bit {bit}");
        }
        for len in 0..row.len() {
            let result = unseal::<(u64, String)>(CatalogTable::Names, b"a/b", &row[..len]);
            assert!(result.expect_err("cut off").is_damaged(), "length {len}");
        }
    }

    #[test]
    fn a_row_is_refused_in_another_table_under_another_key_and_of_another_version() {
        let row = seal(CatalogTable::Files, b"key", &7_u64);
        assert_eq!(
            unseal::<u64>(CatalogTable::Files, b"key", &row).expect("in its place"),
            7
        );
        assert!(
            unseal::<u64>(CatalogTable::Blocks, b"key", &row).is_err(),
            "another table"
        );
        assert!(
            unseal::<u64>(CatalogTable::Files, b"kez", &row).is_err(),
            "another key"
        );
        let mut newer = vec![2, 7];
        newer.extend_from_slice(&checksum(CatalogTable::Files, b"key", &newer).to_le_bytes());
        let error = unseal::<u64>(CatalogTable::Files, b"key", &newer).expect_err("version 2");
        assert!(
            matches!(
                error,
                CatalogError::Damaged {
                    detail: CatalogDamage::RowVersion { found: 2 },
                    ..
                }
            ),
            "{error:?}"
        );
    }
}
