//! The pipeline in shard order, for streams.
//!
//! A stream passes once, so the segments of a block are not there side by side: each is hashed, written and added to the
//! parity accumulators as it goes by. Memory is one piece of a segment and m accumulators as long as a segment, whatever
//! the length of the stream. The stream is read on the caller's thread: one that is slow, or that reads from this very
//! archive, keeps no worker waiting.

use rayon::prelude::{
    IndexedParallelIterator as _, IntoParallelIterator as _, IntoParallelRefIterator as _,
    ParallelIterator as _, ParallelSlice as _,
};

use super::{
    block::BlockInFlight,
    deal::BlockDealer,
    input::{SeekableInput, StreamInput},
    outer::{Going, OuterSums},
    reservation::Reservation,
    sliced_parity::SlicedParity,
    strip::{Origin, StripBench},
    writing::{Completed, Done, WrittenFile},
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{CODED_STRIP_LEN_BYTES, STAGING_LEN_BYTES, Shared},
    },
    codec::ColumnEncoder,
    error::CommitError,
    plan::{Strip, strips_of_block},
    units::{BlockIndex, ShardIndex, to_u64, to_usize},
};

/// Writes every block of a stream.
pub(super) fn write_stream(
    shared: &Shared,
    reservation: &Reservation,
    stream: &StreamInput<'_>,
    observer: &dyn Observer,
) -> Result<WrittenFile, CommitError> {
    let mut dealer = BlockDealer::new(reservation);
    let shape = dealer.geometry().shape();
    let mut completed = Completed::after(dealer.geometry(), Done::nothing(dealer.geometry()));
    let mut encoder = ColumnEncoder::new(shape);
    let mut parity = SlicedParity::default();
    let mut buffer = shared.staging_buffer(to_usize(STAGING_LEN_BYTES))?;
    let outer = OuterSums::new(dealer.geometry(), BlockIndex::new(0))?;
    // The whole block is one strip here.
    while let Some((block, _)) = dealer.next_block(|_, _| vec![()]) {
        if block.geometry.is_outer_parity() {
            write_outer_parity(shared, &block, outer.as_ref())?;
            assert!(block.finish_strip(), "a block of a stream is one strip");
            completed.add(block.complete(shared, &mut encoder)?);
            continue;
        }
        parity.clear(&block.geometry);
        for shard in (0..shape.data()).map(ShardIndex::new) {
            let len = block.geometry.shard_len_bytes(shard);
            let mut offset = 0;
            while offset < len {
                let piece = &mut buffer[..to_usize((len - offset).min(STAGING_LEN_BYTES))];
                stream.read_next(piece, observer)?;
                shared
                    .workers
                    .install(|| pass(&parity, (&block, outer.as_ref()), (shard, offset), piece))?;
                offset += to_u64(piece.len());
                observer.event(Event::Progress {
                    bytes: to_u64(piece.len()),
                });
            }
        }
        shared.workers.install(|| write_parity(&parity, &block))?;
        assert!(block.finish_strip(), "a block of a stream is one strip");
        let written = block.complete(shared, &mut encoder)?;
        if let Some(outer) = &outer {
            outer.finish_block(block.identity.index);
            let going = outer.add_tables(block.identity.index, &written.leaves);
            assert_eq!(going, Going::On, "nobody else works on a stream");
        }
        completed.add(written);
    }
    if observer.is_cancelled() {
        return Err(CommitError::Cancelled);
    }
    Ok(completed.finish())
}

/// Writes an outer parity block out of the sums of its group, but for what completes it.
fn write_outer_parity(
    shared: &Shared,
    block: &BlockInFlight,
    outer: Option<&OuterSums>,
) -> Result<(), CommitError> {
    let strips = strips_of_block(block.identity.index, &block.geometry, CODED_STRIP_LEN_BYTES);
    let strips: Vec<Strip> = strips.collect();
    let nothing: &dyn SeekableInput = &Vec::new();
    shared.workers.install(|| {
        strips.par_iter().try_for_each(|strip| {
            let mut bench = StripBench::of_block(&block.geometry);
            let mut buffer = shared.staging_buffer(bench.buffer_len())?;
            let origin = Origin { file: nothing, outer };
            let going = bench.write(&mut buffer, block, strip, &origin)?;
            assert_eq!(going, Going::On, "nobody else works on a stream");
            Ok(())
        })
    })
}

/// Hashes, adds and writes a piece of a segment, slice by slice; `offset` is a multiple of the slice.
fn pass(
    parity: &SlicedParity,
    (block, outer): (&BlockInFlight, Option<&OuterSums>),
    (shard, offset): (ShardIndex, u64),
    piece: &[u8],
) -> Result<(), CommitError> {
    let slice_len = parity.slice_len();
    let first = to_usize(offset) / slice_len;
    piece
        .par_chunks(slice_len)
        .zip(first..first + piece.len().div_ceil(slice_len))
        .try_for_each(|(bytes, slice)| {
            let (at, column) = (to_u64(slice * slice_len), parity.first_column(slice));
            block.hash_leaves(shard, column, bytes);
            if block.geometry.shape().is_replication() {
                return block
                    .geometry
                    .shards()
                    .try_for_each(|replica| block.write(replica, at, bytes));
            }
            parity.add(slice, shard, bytes);
            if let Some(outer) = outer {
                let going = outer.add_leaves(block.identity.index, (shard, column), bytes);
                assert_eq!(going, Going::On, "nobody else works on a stream");
            }
            block.write(shard, at, bytes)
        })
}

/// Hashes and writes the finished parity.
fn write_parity(parity: &SlicedParity, block: &BlockInFlight) -> Result<(), CommitError> {
    (0..parity.count()).into_par_iter().try_for_each(|slice| {
        let offset = to_u64(slice * parity.slice_len());
        parity.each_of_slice(slice, |row, bytes| {
            block.hash_leaves(row, parity.first_column(slice), bytes);
            block.write(row, offset, bytes)
        })
    })
}
