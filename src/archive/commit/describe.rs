//! Writing the descriptor of a commit: what the catalog will know of it, beside its bytes, synced with them.

use super::{
    block::BlockInFlight,
    frame::{BlockIdentity, FrameSink, FrameTarget},
    outer::Going,
    publish::Change,
    reservation::Reservation,
    strip::{Origin, StripBench},
};
use crate::{
    archive::shared::{Shared, strip_len_bytes},
    catalog::{BlockRecord, FileRecord, descriptor},
    error::CommitError,
    format::FrameKind,
    plan::{Strip, strips_of_block},
    units::{BlockIndex, FileId, to_u64},
};

use std::sync::Arc;

/// Writes the descriptor of everything that a commit stores, in the order of its files; not synced yet.
pub(super) fn write_descriptor(
    shared: &Shared,
    reservation: &Reservation,
    changes: &[Change],
) -> Result<BlockRecord, CommitError> {
    let stored = changes
        .iter()
        .filter(|change| change.action == super::publish::Action::Store);
    let entries: Vec<(FileRecord, Vec<BlockRecord>)> = stored
        .map(|change| (change.record.clone(), change.blocks.clone()))
        .collect();
    let bytes = descriptor::encode(shared.catalog.archive(), &entries);
    drop(entries);
    write_text(shared, reservation, &bytes)
}

/// Writes the text that room was taken for beside the data, as one block; not synced yet.
pub(super) fn write_text(
    shared: &Shared,
    reservation: &Reservation,
    bytes: &[u8],
) -> Result<BlockRecord, CommitError> {
    let planned = &reservation.descriptor;
    let geometry = planned.geometry;
    assert_eq!(
        to_u64(bytes.len()),
        geometry.data_len_bytes(),
        "a descriptor is as long as it was planned"
    );
    let index = BlockIndex::new(0);
    let strips: Vec<Strip> = strips_of_block(index, &geometry, strip_len_bytes(geometry.shape())).collect();
    let frames = planned.frames.iter().map(|frame| {
        frame.map(|(place, layout)| FrameTarget {
            sink: FrameSink::Extent(Arc::clone(reservation.writer(place.extent))),
            place,
            layout,
        })
    });
    let identity = BlockIdentity {
        kind: FrameKind::Descriptor,
        commit: reservation.commit(),
        file: FileId::new(0),
        block: planned.block,
        index,
    };
    let block = BlockInFlight::new(identity, geometry, frames.collect(), to_u64(strips.len()));
    let mut bench = StripBench::of_block(&geometry);
    let origin = Origin {
        file: &bytes,
        outer: None,
    };
    let mut buffer = shared.staging_buffer(bench.buffer_len())?;
    for strip in &strips {
        let going = bench.write(&mut buffer, &block, strip, &origin)?;
        assert_eq!(going, Going::On, "nothing is stopped where nothing is grouped");
        block.finish_strip();
    }
    Ok(block.complete(shared, bench.encoder())?.record)
}
