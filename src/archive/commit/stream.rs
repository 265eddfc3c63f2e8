//! The pipeline in shard order, for streams.
//!
//! A stream passes once, so the segments of a block are not there side by side: each is hashed, written and added to the
//! parity accumulators as it goes by. Memory is one piece of a segment and m accumulators as long as a segment, whatever
//! the length of the stream. The stream is read on the caller's thread: one that is slow, or that reads from this very
//! archive, keeps no worker waiting.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _, ParallelSlice as _,
};

use super::{
    block::BlockInFlight,
    columns::{Completed, Done, WrittenFile},
    deal::BlockDealer,
    input::{SeekableInput, StreamInput},
    outer::{Going, OuterSums},
    reservation::Reservation,
    strip::{Origin, StripBench},
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{CODED_STRIP_LEN_BYTES, STAGING_LEN_BYTES, Shared},
    },
    codec::{ColumnEncoder, ParityAccumulator},
    error::CommitError,
    plan::{Strip, strips_of_block},
    units::{BlockIndex, ColumnIndex, ShardIndex, to_u64, to_usize},
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
        parity.clear(&block);
        for shard in (0..shape.data()).map(ShardIndex::new) {
            let len = block.geometry.shard_len_bytes(shard);
            let mut offset = 0;
            while offset < len {
                let piece = &mut buffer[..to_usize((len - offset).min(STAGING_LEN_BYTES))];
                stream.read_next(piece, observer)?;
                shared
                    .workers
                    .install(|| parity.pass((&block, outer.as_ref()), shard, offset, piece))?;
                offset += to_u64(piece.len());
                observer.event(Event::Progress {
                    bytes: to_u64(piece.len()),
                });
            }
        }
        shared.workers.install(|| parity.write(&block))?;
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

/// Parity in the making, cut into slices so that several workers can add to it at once.
#[derive(Default)]
struct SlicedParity {
    /// Length of every slice but the last, a multiple of the leaf.
    slice_len: usize,
    slices: Vec<Mutex<ParityAccumulator>>,
}

impl SlicedParity {
    /// Makes room for the parity of a block; accumulators of the last one are used again.
    fn clear(&mut self, block: &BlockInFlight) {
        let geometry = &block.geometry;
        self.slice_len = to_usize(CODED_STRIP_LEN_BYTES.max(geometry.leaf().bytes()));
        let total: u64 = geometry
            .columns()
            .map(|column| geometry.slice_len_bytes(column))
            .sum();
        let total = to_usize(total);
        // Replicas need no parity.
        let count = if geometry.shape().is_replication() {
            0
        } else {
            total.div_ceil(self.slice_len)
        };
        let len = |index: usize| self.slice_len.min(total - index * self.slice_len);
        self.slices.truncate(count);
        for (index, slot) in self.slices.iter_mut().enumerate() {
            slot.get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .clear(len(index));
        }
        let more = (self.slices.len()..count)
            .map(|index| Mutex::new(ParityAccumulator::new(geometry.shape(), len(index))));
        let more: Vec<_> = more.collect();
        self.slices.extend(more);
    }

    /// Hashes, adds and writes a piece of a segment, slice by slice; `offset` is a multiple of the slice.
    fn pass(
        &self,
        (block, outer): (&BlockInFlight, Option<&OuterSums>),
        shard: ShardIndex,
        offset: u64,
        piece: &[u8],
    ) -> Result<(), CommitError> {
        let first = to_usize(offset) / self.slice_len;
        piece
            .par_chunks(self.slice_len)
            .zip(first..first + piece.len().div_ceil(self.slice_len))
            .try_for_each(|(bytes, slice)| {
                let at = to_u64(slice * self.slice_len);
                block.hash_leaves(shard, self.first_column(block, slice), bytes);
                if block.geometry.shape().is_replication() {
                    return block
                        .geometry
                        .shards()
                        .try_for_each(|replica| block.write(replica, at, bytes));
                }
                self.slices[slice]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(shard, 0, bytes);
                if let Some(outer) = outer {
                    let place = (shard, self.first_column(block, slice));
                    outer.add_leaves(block.identity.index, place, bytes);
                }
                block.write(shard, at, bytes)
            })
    }

    /// Hashes and writes the finished parity.
    fn write(&self, block: &BlockInFlight) -> Result<(), CommitError> {
        let data_shards = block.geometry.shape().data();
        self.slices.par_iter().enumerate().try_for_each(|(index, slot)| {
            let accumulator = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let parity = accumulator.parity().map(|(_, bytes)| bytes);
            for (row, bytes) in (data_shards..).map(ShardIndex::new).zip(parity) {
                block.hash_leaves(row, self.first_column(block, index), bytes);
                block.write(row, to_u64(index * self.slice_len), bytes)?;
            }
            Ok(())
        })
    }

    fn first_column(&self, block: &BlockInFlight, slice: usize) -> ColumnIndex {
        let columns = self.slice_len / to_usize(block.geometry.leaf().bytes());
        ColumnIndex::new(u32::try_from(slice * columns).expect("columns are 32 bits"))
    }
}
