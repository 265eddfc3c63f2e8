//! Reading a descriptor: what the catalog knew, or was about to know, of the files of a commit.

use core::ops::Range;
use std::sync::Arc;

use super::{publication::Entries, read::BlockReader, shared::Shared, volumes::Volumes};
use crate::{
    catalog::{BlockRecord, descriptor},
    error::{CatalogBytesError, PublicationError},
    units::{CommitId, Epoch, FileName, ShardIndex, to_u64, to_usize},
};

/// Reads the entries of a descriptor, decoding around damage: every leaf is verified against the digest that the journal has.
pub(super) fn read_entries(
    shared: &Shared,
    (commit, record): (CommitId, &BlockRecord),
    epoch: Epoch,
) -> Result<Entries, PublicationError> {
    let bytes = read_text(shared.volumes(), (commit, record));
    let bytes = bytes.ok_or(PublicationError::DescriptorLost { epoch, commit })?;
    let wrong = |source| PublicationError::Descriptor {
        epoch,
        commit,
        source,
    };
    let parsed = descriptor::parse(&bytes).map_err(wrong)?;
    if parsed.archive.id != shared.archive_id() {
        return Err(wrong(CatalogBytesError::Impossible { field: "archive" }));
    }
    Ok(parsed.entries)
}

/// Reads what a commit has stored beside its data, decoding around damage; `None` when it is lost.
pub(super) fn read_text(
    volumes: Arc<Volumes>,
    (commit, record): (CommitId, &BlockRecord),
) -> Option<Vec<u8>> {
    read_content(&BlockReader::new(volumes, name_of(commit).into(), record.clone()))
}

/// Reads all that a block holds which is no file's, decoding around damage; `None` when bytes of it are lost.
pub(super) fn read_content(block: &BlockReader) -> Option<Vec<u8>> {
    let geometry = *block.geometry();
    let mut bytes = vec![0; to_usize(geometry.data_len_bytes())];
    let mut filled = 0;
    let shards = (0..geometry.shape().data()).map(ShardIndex::new);
    for shard in shards.filter(|&shard| geometry.is_present(shard)) {
        let columns: Range<u32> = 0..geometry.leaf_count(shard);
        let len = block.run_len(shard, columns.clone());
        let into = &mut bytes[filled..filled + len];
        block.read_run(shard, columns, into, &()).ok()?;
        filled += len;
    }
    assert_eq!(
        to_u64(filled),
        geometry.data_len_bytes(),
        "data shards hold all of a block"
    );
    Some(bytes)
}

/// Returns what findings call the descriptor of a commit; no file is meant.
pub(super) fn name_of(commit: CommitId) -> FileName {
    format!("descriptor of commit {commit}")
        .parse()
        .expect("a plain text is a name")
}
