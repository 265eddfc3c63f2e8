//! What the shards of a coded block were that were not found: their digests, by decoding and encoding what is there.
//!
//! No catalog says what they should be, so what is decoded is not proven leaf by leaf. It is good enough to look at: a descriptor that
//! was decoded wrongly does not parse.

use std::{collections::BTreeMap, sync::Arc};

use super::content::Source;
use crate::{
    archive::{
        describe::name_of,
        read::{BlockReader, hash_leaf_of},
    },
    catalog::BlockRecord,
    codec::ColumnDecoder,
    merkle::{LeafHash, LeafTable, ShardDigest, hash_parity_leaf},
    units::{ColumnIndex, CommitId, ShardIndex},
};

/// Returns the digests of the shards that are lacking; `None` when too much is.
pub(super) fn digests_of_lacking(
    block: &BlockRecord,
    source: &Source,
) -> Option<BTreeMap<ShardIndex, ShardDigest>> {
    let volumes = Arc::clone(&source.volumes);
    let reader = BlockReader::new(volumes, name_of(CommitId::new(0)).into(), block.clone());
    let geometry = block.geometry;
    let is_lacking = |shard: &ShardIndex| geometry.is_present(*shard) && reader.shard(*shard).is_none();
    let mut hashes: BTreeMap<ShardIndex, Vec<LeafHash>> = geometry
        .shards()
        .filter(is_lacking)
        .map(|shard| (shard, Vec::new()))
        .collect();
    let mut decoder = ColumnDecoder::new(geometry.shape());
    for column in geometry.columns() {
        let column_of_all = whole_column(&reader, column, &mut decoder)?;
        for (shard, hashes) in &mut hashes {
            if geometry.leaf_range(*shard, column).is_some() {
                let leaf = &column_of_all[shard.as_usize()];
                hashes.push(hash_leaf_of(&geometry, *shard, column, leaf));
            }
        }
    }
    let data = hashes.iter().filter(|(shard, _)| geometry.is_data(**shard));
    let tables: BTreeMap<ShardIndex, LeafTable> = data
        .map(|(shard, hashes)| (*shard, LeafTable::new(hashes.clone())))
        .collect();
    if let Some(column) = geometry.table_column() {
        let slices = reader.encode_table_column(column, &tables)?;
        let parity = geometry.shape().data()..geometry.shape().total();
        for (shard, slice) in parity.map(ShardIndex::new).zip(slices) {
            if let Some(hashes) = hashes.get_mut(&shard) {
                hashes.push(hash_parity_leaf(&slice));
            }
        }
    }
    let digests = hashes.into_iter();
    Some(
        digests
            .map(|(shard, hashes)| (shard, LeafTable::new(hashes).digest()))
            .collect(),
    )
}

/// Returns the leaves of all shards in a column, those that are lacking decoded or encoded; empty where a shard has none.
fn whole_column(
    reader: &BlockReader,
    column: ColumnIndex,
    decoder: &mut ColumnDecoder,
) -> Option<Vec<Vec<u8>>> {
    let geometry = reader.geometry();
    let read = |shard: ShardIndex| {
        let mut leaf = vec![0; reader.run_len(shard, column.get()..column.get() + 1)];
        if leaf.is_empty() {
            return Some(leaf);
        }
        let columns = column.get()..column.get() + 1;
        let is_sound =
            reader.shard(shard).is_some() && reader.read_verified(shard, columns, &mut leaf, &()).is_empty();
        is_sound.then_some(leaf)
    };
    let mut leaves: Vec<Option<Vec<u8>>> = geometry.shards().map(read).collect();
    let data = usize::from(geometry.shape().data());
    if leaves[..data].iter().any(Option::is_none) {
        let present: Vec<Option<&[u8]>> = leaves.iter().map(Option::as_deref).collect();
        for leaf in reader.decode_column(decoder, column, &present, &()) {
            leaves[leaf.shard.as_usize()] = Some(leaf.bytes);
        }
    }
    let known: Option<Vec<&[u8]>> = leaves[..data].iter().map(Option::as_deref).collect();
    let parity = reader.encode_column(&mut reader.encoder(), column, &known?);
    for (place, encoded) in leaves[data..].iter_mut().zip(parity) {
        place.get_or_insert(encoded);
    }
    leaves.into_iter().collect()
}
