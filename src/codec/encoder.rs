//! Parity of one column slice.

use super::{assert_slice_len, copy_padded, transform::Transform};
use crate::units::CodeShape;
use core::fmt;

/// Makes the parity of one column slice after another.
///
/// Holds some KiB of working space, whatever the length of slices.
pub struct ColumnEncoder {
    shape: CodeShape,
    /// The code and its working space, none for replication.
    code: Option<Transform>,
}

impl ColumnEncoder {
    /// Returns an encoder of `shape`; working space comes with the first slice.
    pub fn new(shape: CodeShape) -> Self {
        let code = (!shape.is_replication()).then(|| Transform::new(shape));
        Self { shape, code }
    }

    /// Returns the shape of the code.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Encodes one column slice of `slice_len` bytes, a positive multiple of 64.
    ///
    /// `data` holds the `k` data shards' slices in shard order, each of at most `slice_len` bytes: a shorter one counts as
    /// filled up with zeros, an empty one is a shard that is known to be zero. `parity` holds `m` slices of exactly
    /// `slice_len` bytes, which are overwritten.
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
            self.encode_each(
                slice_len,
                |position| data[position],
                |row, start, bytes| {
                    parity[row][start..start + bytes.len()].copy_from_slice(bytes);
                },
            );
        }
    }

    /// Encodes what `data` has at each of `k` positions, which was checked, and hands out parity in pieces: row, start and bytes.
    pub(super) fn encode_each<'data>(
        &mut self,
        slice_len: usize,
        data: impl Fn(usize) -> &'data [u8],
        parity: impl FnMut(usize, usize, &[u8]),
    ) {
        let code = self.code.as_mut().expect("replication is copied, not encoded");
        code.each_piece(0..usize::from(self.shape.data()), data, slice_len, parity);
    }
}

impl fmt::Debug for ColumnEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnEncoder")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
