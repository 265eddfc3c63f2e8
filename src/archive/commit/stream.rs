//! The pipeline in shard order, for streams and codes with more than one data shard.
//!
//! A stream passes once, so the segments of a block are not there side by side: each is hashed, written and added to the
//! parity accumulators as it goes by. Memory is one segment and next_pow2(m) accumulators of its length, whatever the
//! length of the stream.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _, ParallelSlice as _,
};

use super::{
    block::BlockInFlight,
    columns::{Completed, WrittenFile},
    input::StreamInput,
    reservation::Reservation,
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{CODED_STRIP_LEN_BYTES, Shared},
    },
    codec::{ColumnEncoder, ParityAccumulator},
    error::CommitError,
    units::{ColumnIndex, ShardIndex, to_u64, to_usize},
};

/// Writes every block of a stream.
pub(super) fn write_stream(
    shared: &Shared,
    reservation: &Reservation,
    stream: &StreamInput<'_>,
    observer: &dyn Observer,
) -> Result<WrittenFile, CommitError> {
    let shape = reservation.geometry().shape();
    let mut dealer = reservation.deal_blocks();
    let mut completed = Completed::new(reservation.geometry());
    let mut encoder = ColumnEncoder::new(shape);
    let mut parity = SlicedParity::default();
    // The whole block is one strip here.
    while let Some((block, _)) = dealer.next_block(|_, _| vec![()]) {
        let slices = ParitySlices::of(&block);
        parity.clear(&block, &slices);
        for shard in (0..shape.data()).map(ShardIndex::new) {
            let len = block.geometry.shard_len_bytes(shard);
            if len > 0 {
                pass_segment(shared, stream, &block, &slices, &parity, (shard, len))?;
                observer.event(Event::Progress { bytes: len });
            }
        }
        shared.workers.install(|| parity.write(&block, &slices))?;
        assert!(block.finish_strip(), "a block of a stream is one strip");
        completed.add(block.complete(shared, &mut encoder)?);
    }
    Ok(completed.finish())
}

/// Reads one segment and deals with it slice by slice, on all workers.
fn pass_segment(
    shared: &Shared,
    stream: &StreamInput<'_>,
    block: &BlockInFlight,
    slices: &ParitySlices,
    parity: &SlicedParity,
    (shard, len): (ShardIndex, u64),
) -> Result<(), CommitError> {
    let mut buffer = shared.pool.take(to_usize(len))?;
    stream.read_next(&mut buffer)?;
    let leaf_len = to_usize(block.geometry.leaf().bytes());
    let columns = slices.len_bytes / leaf_len;
    shared.workers.install(|| {
        buffer
            .par_chunks(slices.len_bytes)
            .enumerate()
            .try_for_each(|(index, bytes)| {
                let first = u32::try_from(index * columns).expect("columns are 32 bits");
                block.hash_leaves(shard, ColumnIndex::new(first), bytes);
                parity.add(index, shard, bytes);
                block.write(shard, to_u64(index * slices.len_bytes), bytes)
            })
    })
}

/// How the parity of a block is cut, so that several workers can add to it at once.
struct ParitySlices {
    /// Length of every slice but the last, a multiple of the leaf.
    len_bytes: usize,
    /// Lengths of all slices.
    lens: Vec<usize>,
}

impl ParitySlices {
    fn of(block: &BlockInFlight) -> Self {
        let geometry = &block.geometry;
        let len_bytes = to_usize(CODED_STRIP_LEN_BYTES.max(geometry.leaf().bytes()));
        let total: u64 = geometry
            .columns()
            .map(|column| geometry.slice_len_bytes(column))
            .sum();
        let total = to_usize(total);
        let lens = (0..total.div_ceil(len_bytes))
            .map(|index| len_bytes.min(total - index * len_bytes))
            .collect();
        Self { len_bytes, lens }
    }
}

/// Parity in the making, one accumulator for each slice.
#[derive(Default)]
struct SlicedParity {
    slices: Vec<Mutex<ParityAccumulator>>,
}

impl SlicedParity {
    /// Makes room for the parity of a block; accumulators of the last one are used again.
    fn clear(&mut self, block: &BlockInFlight, slices: &ParitySlices) {
        let shape = block.geometry.shape();
        self.slices.truncate(slices.lens.len());
        for (slot, &len) in self.slices.iter_mut().zip(&slices.lens) {
            slot.get_mut().unwrap_or_else(PoisonError::into_inner).clear(len);
        }
        for &len in &slices.lens[self.slices.len()..] {
            self.slices.push(Mutex::new(ParityAccumulator::new(shape, len)));
        }
    }

    fn add(&self, index: usize, shard: ShardIndex, bytes: &[u8]) {
        self.slices[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(shard, 0, bytes);
    }

    /// Hashes and writes the finished parity.
    fn write(&self, block: &BlockInFlight, slices: &ParitySlices) -> Result<(), CommitError> {
        let columns = slices.len_bytes / to_usize(block.geometry.leaf().bytes());
        let data_shards = block.geometry.shape().data();
        self.slices.par_iter().enumerate().try_for_each(|(index, slot)| {
            let accumulator = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let first = u32::try_from(index * columns).expect("columns are 32 bits");
            for (row, bytes) in (data_shards..)
                .map(ShardIndex::new)
                .zip(accumulator.parity().map(|parity| parity.1))
            {
                block.hash_leaves(row, ColumnIndex::new(first), bytes);
                block.write(row, to_u64(index * slices.len_bytes), bytes)?;
            }
            Ok(())
        })
    }
}
