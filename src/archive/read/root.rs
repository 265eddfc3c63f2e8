//! The root of a stored file, from its leaf tables.

use std::sync::Arc;

use super::{BlockReader, Groups};
use crate::{
    archive::{called::Called, observer::Observer, shared::Shared},
    catalog::{BlockRecord, FileRecord},
    error::ReadError,
    merkle::RootFolder,
    units::ShardIndex,
};

/// Checks that the leaf tables of a file fold to its root.
///
/// Every leaf that was delivered matched its table; with this the whole file is known to be what was committed, without
/// hashing a byte of it twice. False when the tables say something else, or cannot be had. A long file has many: the
/// observer is asked before each block whether to go on.
pub(in crate::archive) fn check_root(
    shared: &Arc<Shared>,
    file: &FileRecord,
    blocks: impl Iterator<Item = Result<BlockRecord, ReadError>>,
    observer: &dyn Observer,
) -> Result<bool, ReadError> {
    let mut folder = RootFolder::new(file.geometry.leaf());
    let groups = Groups::of(shared, file);
    for record in blocks {
        if observer.is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        let block = BlockReader::new(shared.volumes(), Called::of(file), record?);
        if block.geometry().is_outer_parity() {
            continue;
        }
        for shard in (0..block.geometry().shape().data()).map(ShardIndex::new) {
            if !block.geometry().is_present(shard) {
                continue;
            }
            let table = block.table(shard, observer).cloned();
            let Some(table) = table.or_else(|| groups.table(block.record().index, shard)) else {
                if let Some(source) = block.refusal() {
                    return Err(ReadError::Refused { source });
                }
                return Ok(false);
            };
            table.iter().for_each(|hash| folder.push(*hash));
        }
    }
    Ok(folder.finish() == file.root)
}
