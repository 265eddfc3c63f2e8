//! Parity of one column slice.

use super::{GROUP_LEN_BYTES, assert_slice_len, copy_padded};
use crate::units::CodeShape;
use core::fmt;
use reed_solomon_simd::{
    engine::DefaultEngine,
    rate::{HighRateEncoder, RateEncoder as _},
};

/// Makes the parity of one column slice after another.
///
/// Holds `k` slices of working space, of the length that was encoded last.
pub struct ColumnEncoder {
    shape: CodeShape,
    /// The code and its working space, none for replication.
    code: Option<HighRateEncoder<DefaultEngine>>,
    /// What the working space is laid out for.
    slice_len: usize,
    /// A shard that ends early, filled up with zeros.
    padded: Vec<u8>,
}

impl ColumnEncoder {
    /// Returns an encoder of `shape`; working space comes with the first slice.
    pub fn new(shape: CodeShape) -> Self {
        let code = (!shape.is_replication()).then(|| smallest_code(shape));
        Self {
            shape,
            code,
            slice_len: GROUP_LEN_BYTES,
            padded: Vec::new(),
        }
    }

    /// Returns the shape of the code.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Encodes one column slice of `slice_len` bytes, a positive multiple of 64.
    ///
    /// `data` holds the `k` data shards' slices in shard order, each of at most `slice_len` bytes: a shorter one counts as
    /// filled up with zeros, an empty one is a shard that is known to be zero. `parity` holds `m` slices of exactly
    /// `slice_len` bytes, which are overwritten. Changing `slice_len` between calls lays out the working space anew.
    ///
    /// # Panics
    /// When counts or lengths are not as described.
    pub fn encode(&mut self, slice_len: usize, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert_slice_len(slice_len);
        assert_eq!(
            data.len(),
            usize::from(self.shape.data()),
            "one slice for every data shard"
        );
        assert_eq!(
            parity.len(),
            usize::from(self.shape.parity()),
            "one slice for every parity shard"
        );
        assert!(
            data.iter().all(|bytes| bytes.len() <= slice_len),
            "a data shard is longer than the column slice"
        );
        assert!(
            parity.iter().all(|bytes| bytes.len() == slice_len),
            "a parity shard is as long as the column slice"
        );

        if self.shape.is_replication() {
            for copy in parity {
                copy_padded(copy, data[0]);
            }
        } else {
            self.encode_each(slice_len, data.iter().copied(), |row, bytes| {
                parity[row].copy_from_slice(bytes);
            });
        }
    }

    /// Encodes the `k` slices of `data`, which were checked, and hands out each parity slice with its row, `0..m`.
    pub(super) fn encode_each<'data>(
        &mut self,
        slice_len: usize,
        data: impl Iterator<Item = &'data [u8]>,
        mut parity: impl FnMut(usize, &[u8]),
    ) {
        let code = self.code.as_mut().expect("replication is copied, not encoded");
        if self.slice_len != slice_len {
            let (k, m) = (usize::from(self.shape.data()), usize::from(self.shape.parity()));
            code.reset(k, m, slice_len)
                .expect("the shape was accepted before and a slice is whole groups");
            self.slice_len = slice_len;
        }
        for bytes in data {
            let whole = if bytes.len() == slice_len {
                bytes
            } else {
                self.padded.resize(slice_len, 0);
                copy_padded(&mut self.padded, bytes);
                &self.padded
            };
            code.add_original_shard(whole)
                .expect("no more than k shards, each as long as the slice");
        }
        let encoded = code.encode().expect("all k shards were added");
        encoded
            .recovery_iter()
            .enumerate()
            .for_each(|(row, bytes)| parity(row, bytes));
    }
}

/// Returns the code with working space for slices of one group.
fn smallest_code(shape: CodeShape) -> HighRateEncoder<DefaultEngine> {
    let (k, m) = (usize::from(shape.data()), usize::from(shape.parity()));
    HighRateEncoder::new(k, m, GROUP_LEN_BYTES, DefaultEngine::new(), None)
        .expect("the high-rate code has room for every code shape")
}

impl fmt::Debug for ColumnEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnEncoder")
            .field("shape", &self.shape)
            .field("slice_len", &self.slice_len)
            .finish_non_exhaustive()
    }
}
