//! Parity in the making, cut into slices so that several workers can add to it at once.

use std::sync::{Mutex, PoisonError};

use crate::{
    archive::shared::CODED_STRIP_LEN_BYTES,
    codec::ParityAccumulator,
    geometry::BlockGeometry,
    units::{ColumnIndex, ShardIndex, to_usize},
};

/// The parity of a block whose shards pass one after another, or beside each other.
#[derive(Debug, Default)]
pub(super) struct SlicedParity {
    /// Length of every slice but the last, a multiple of the leaf.
    slice_len: usize,
    leaf_len: usize,
    slices: Vec<Mutex<ParityAccumulator>>,
}

impl SlicedParity {
    /// Makes room for the parity of a block; accumulators of the last one are used again.
    pub(super) fn clear(&mut self, geometry: &BlockGeometry) {
        self.leaf_len = to_usize(geometry.leaf().bytes());
        self.slice_len = to_usize(CODED_STRIP_LEN_BYTES).max(self.leaf_len);
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

    /// Returns the length of every slice but the last, in bytes; data is cut like that.
    pub(super) const fn slice_len(&self) -> usize {
        self.slice_len
    }

    /// Returns how many slices there are; copies have none.
    pub(super) fn count(&self) -> usize {
        self.slices.len()
    }

    /// Adds a slice of a data shard, or what the shard has of it.
    pub(super) fn add(&self, slice: usize, shard: ShardIndex, bytes: &[u8]) {
        let mut sums = self.slices[slice].lock().unwrap_or_else(PoisonError::into_inner);
        sums.add(shard, 0, bytes);
    }

    /// Adds a data shard as a whole.
    pub(super) fn add_shard(&self, shard: ShardIndex, bytes: &[u8]) {
        if self.slices.is_empty() {
            return;
        }
        for (slice, bytes) in bytes.chunks(self.slice_len).enumerate() {
            self.add(slice, shard, bytes);
        }
    }

    /// Hands out a slice of every parity shard, in shard order, when all data was added.
    pub(super) fn each_of_slice<E>(
        &self,
        slice: usize,
        mut each: impl FnMut(ShardIndex, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sums = self.slices[slice].lock().unwrap_or_else(PoisonError::into_inner);
        sums.parity().try_for_each(|(shard, bytes)| each(shard, bytes))
    }

    /// Puts together what a parity shard has in all slices.
    pub(super) fn copy_shard(&self, shard: ShardIndex, into: &mut [u8]) {
        let mut rest = into;
        for slice in &self.slices {
            let sums = slice.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, bytes) = sums
                .parity()
                .find(|(row, _)| *row == shard)
                .expect("it is a parity shard");
            let (head, tail) = rest.split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        }
        assert!(rest.is_empty(), "parity is as long as its place");
    }

    /// Returns the first column of a slice.
    pub(super) fn first_column(&self, slice: usize) -> ColumnIndex {
        let columns = self.slice_len / self.leaf_len;
        ColumnIndex::new(u32::try_from(slice * columns).expect("columns are 32 bits"))
    }
}
