//! A code across blocks: parity that sums up while the blocks of a group pass, and what is missing of one slice.
//!
//! A group has more blocks than are ever at hand, so neither type holds a slice of each: a slice is added and forgotten.

use super::{
    GROUP_LEN_BYTES, add, assert_slice_len,
    matrix::{Element, Multiplier, ParityMatrix, steps},
    transform::Transform,
};
use crate::{error::DecodeError, units::CodeShape};
use core::{fmt, iter::zip, ops::Range};

/// Adds the slices of one block after another to the parity of its group, in any order.
///
/// The sums are the caller's, since they are far larger than what is worked on: parity is complete when every data block of
/// the group was added to sums that began as zeros, and one that was not added is a zero block. It is that of
/// [`super::ColumnEncoder`] then, byte for byte. Holds no sums, some bytes for every data block and little working space.
///
/// Reading and writing the sums is most of the work. So where several blocks that follow each other are at hand,
/// [`Self::add_many`] takes them in one pass over the sums, with a transform in place of a product for each.
pub struct OuterEncoder {
    shape: CodeShape,
    multiplier: Multiplier,
    /// For every data block the steps through its elements, one for each parity block.
    steps: Vec<Element>,
    transform: Transform,
}

impl OuterEncoder {
    /// Returns an encoder of `shape`, whose shards are the blocks of a group.
    pub fn new(shape: CodeShape) -> Self {
        let matrix = ParityMatrix::of(shape);
        let rows = usize::from(shape.parity());
        let elements_of = |column| {
            (0..rows)
                .map(|row| matrix.element(row, column))
                .collect::<Vec<_>>()
        };
        let steps = (0..usize::from(shape.data()))
            .flat_map(|column| steps(elements_of(column).into_iter()))
            .collect();
        Self {
            shape,
            multiplier: Multiplier::new(),
            steps,
            transform: Transform::new(shape),
        }
    }

    /// Returns the shape of the code.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Returns how many blocks [`Self::add_many`] takes best, and a multiple of which it begins at best.
    pub fn batch(&self) -> u16 {
        self.shape.parity().next_power_of_two()
    }

    /// Adds `bytes` of the data block at `position` of the group to the `m` sums, in the order of the parity blocks.
    ///
    /// `bytes` may have any length and counts as filled up with zeros to a multiple of 64; no sum is shorter than that.
    /// Every byte of every block is to be added at most once: adding is a sum, and what is added twice is gone.
    ///
    /// # Panics
    /// When `position` is no data block, or counts or lengths are not as described.
    pub fn add(&mut self, position: u16, bytes: &[u8], sums: &mut [&mut [u8]]) {
        let position = self.checked(position, &[bytes], sums).start;
        let rows = sums.len();
        self.multiplier
            .add_multiples(sums, bytes, &self.steps[position * rows..][..rows]);
    }

    /// Adds the same slice of all `blocks`, which stand side by side in the group from position `first` on, as
    /// [`Self::add`] would one after another.
    ///
    /// They need not be alike in length; none at all is nothing to add.
    ///
    /// # Panics
    /// When one of them is no data block, or counts or lengths are not as described.
    pub fn add_many(&mut self, first: u16, blocks: &[&[u8]], sums: &mut [&mut [u8]]) {
        let positions = self.checked(first, blocks, sums);
        if blocks.len() > 1 && self.transform.is_faster(&positions) {
            let block = |position: usize| blocks[position - usize::from(first)];
            self.transform
                .each_piece(positions, block, longest(blocks), |row, start, bytes| {
                    add(&mut sums[row][start..], bytes);
                });
        } else {
            for (position, bytes) in (first..).zip(blocks) {
                self.add(position, bytes, sums);
            }
        }
    }

    /// Checks what is to be added and returns the positions of it.
    fn checked(&self, first: u16, blocks: &[&[u8]], sums: &[&mut [u8]]) -> Range<usize> {
        let positions = usize::from(first)..usize::from(first) + blocks.len();
        assert!(
            positions.end <= usize::from(self.shape.data()),
            "{} from position {first} on are not all data blocks of {}",
            blocks.len(),
            self.shape
        );
        assert_eq!(
            sums.len(),
            usize::from(self.shape.parity()),
            "one sum for every parity block"
        );
        let longest = longest(blocks).next_multiple_of(GROUP_LEN_BYTES);
        assert!(
            sums.iter().all(|sum| sum.len() >= longest),
            "a sum is shorter than the {longest} bytes to be added"
        );
        positions
    }
}

impl fmt::Debug for OuterEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OuterEncoder")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

fn longest(blocks: &[&[u8]]) -> usize {
    blocks.iter().map(|bytes| bytes.len()).max().unwrap_or(0)
}

/// Restores the missing blocks of a group, one slice after another, from slices that pass one after another.
///
/// Which blocks are missing stays the same for all slices, so every missing slice is known in advance as a sum of
/// multiples of those that are needed. Holds a slice of every missing block, whatever the group has, and some bytes for
/// every block of the group.
pub struct OuterDecoder {
    shape: CodeShape,
    multiplier: Multiplier,
    /// The missing positions, rising.
    lost: Vec<u16>,
    needed: Vec<bool>,
    /// For every position the steps through its share in the missing ones; zeros where it is not needed.
    steps: Vec<Element>,
    slice_len: usize,
    /// Needed positions that are still to be added to this slice, none before the first.
    awaited: Option<Vec<bool>>,
    /// What the missing slices are worth so far.
    sums: Vec<Vec<u8>>,
}

impl OuterDecoder {
    /// Returns a decoder for groups of `shape` that miss the blocks at the positions `lost`, which rise: data blocks are
    /// `0..k`, parity blocks `k..k + m`.
    ///
    /// # Errors
    /// [`DecodeError::TooFewShards`] when more are lost than the group has parity blocks.
    ///
    /// # Panics
    /// When positions do not rise, or the group does not have them.
    pub fn new(shape: CodeShape, lost: &[u16]) -> Result<Self, DecodeError> {
        assert!(
            lost.is_sorted_by(|one, next| one < next),
            "lost positions rise: {lost:?}"
        );
        assert!(
            lost.last().is_none_or(|&last| last < shape.total()),
            "{shape} has no such positions as {lost:?}"
        );
        let lost_count = u16::try_from(lost.len()).expect("positions are 16 bits and rise");
        if lost_count > shape.parity() {
            return Err(DecodeError::TooFewShards {
                present: shape.total() - lost_count,
                needed: shape.data(),
            });
        }
        let solution = Solution::new(shape, lost);
        let (mut needed, mut all_steps) = (Vec::new(), Vec::new());
        for position in 0..usize::from(shape.total()) {
            let shares = solution.shares(position);
            needed.push(shares.is_some());
            match shares {
                Some(shares) => all_steps.extend(steps(shares.into_iter())),
                None => all_steps.extend(lost.iter().map(|_| Element::ZERO)),
            }
        }
        Ok(Self {
            shape,
            multiplier: Multiplier::new(),
            lost: lost.to_vec(),
            needed,
            steps: all_steps,
            slice_len: 0,
            awaited: None,
            sums: vec![Vec::new(); lost.len()],
        })
    }

    /// Returns the shape of the code.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Says whether the block at `position` must be added: every data block that is there, and as many of the first parity
    /// blocks that are there as data blocks are missing. When nothing is missing, nothing is needed.
    ///
    /// # Panics
    /// When the group has no such position.
    pub fn is_needed(&self, position: u16) -> bool {
        self.needed[usize::from(position)]
    }

    /// Begins with a slice of `slice_len` bytes, a positive multiple of 64, and forgets what was added to the one before.
    ///
    /// # Panics
    /// When the length is no such multiple.
    pub fn begin(&mut self, slice_len: usize) {
        assert_slice_len(slice_len);
        self.slice_len = slice_len;
        for sum in &mut self.sums {
            sum.clear();
            sum.resize(slice_len, 0);
        }
        self.awaited.get_or_insert_default().clone_from(&self.needed);
    }

    /// Adds the **verified** slice of the block at `position`; the needed ones come in any order, each once.
    ///
    /// A slice that is shorter than the others counts as filled up with zeros.
    ///
    /// # Panics
    /// When the position is not needed or was added before, the slice is too long, or none was begun.
    pub fn add(&mut self, position: u16, bytes: &[u8]) {
        let awaited = self.awaited.as_mut().expect("a slice was begun");
        let position = usize::from(position);
        assert!(
            self.needed[position],
            "position {position} is missing or not needed"
        );
        assert!(awaited[position], "position {position} was added before");
        assert!(
            bytes.len() <= self.slice_len,
            "{} bytes are longer than the slice of {}",
            bytes.len(),
            self.slice_len
        );
        awaited[position] = false;
        let steps = &self.steps[position * self.lost.len()..][..self.lost.len()];
        self.multiplier.add_multiples(&mut self.sums, bytes, steps);
    }

    /// Hands out the slice of every missing block, rising, once all that are needed were added.
    ///
    /// # Panics
    /// When one of them was not.
    pub fn finish(&mut self, mut restored: impl FnMut(u16, &[u8])) {
        let awaited = self.awaited.as_ref().expect("a slice was begun");
        assert!(
            !awaited.contains(&true),
            "position {:?} was not added",
            awaited.iter().position(|&awaited| awaited)
        );
        for (&position, sum) in zip(&self.lost, &self.sums) {
            restored(position, sum);
        }
    }
}

impl fmt::Debug for OuterDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OuterDecoder")
            .field("shape", &self.shape)
            .field("lost", &self.lost)
            .field("slice_len", &self.slice_len)
            .finish_non_exhaustive()
    }
}

/// What the missing blocks are worth in terms of the needed ones.
struct Solution {
    matrix: ParityMatrix,
    k: usize,
    /// Missing data blocks, the unknowns.
    lost_data: Vec<usize>,
    /// As many parity rows that are present, the equations.
    rows: Vec<usize>,
    /// Missing parity rows.
    lost_rows: Vec<usize>,
    /// Matrix part of `rows` and `lost_data`, and beside it its inverse.
    inverse: Vec<Element>,
}

impl Solution {
    /// Solves for `lost`, of which there are no more than parity blocks.
    fn new(shape: CodeShape, lost: &[u16]) -> Self {
        let k = usize::from(shape.data());
        let (mut lost_data, mut lost_rows) = (Vec::new(), Vec::new());
        for &position in lost {
            match usize::from(position).checked_sub(k) {
                None => lost_data.push(usize::from(position)),
                Some(row) => lost_rows.push(row),
            }
        }
        let rows: Vec<usize> = (0..usize::from(shape.parity()))
            .filter(|row| !lost_rows.contains(row))
            .take(lost_data.len())
            .collect();
        let matrix = ParityMatrix::of(shape);
        let mut inverse = Vec::new();
        matrix.invert_part(&rows, &lost_data, &mut inverse);
        Self {
            matrix,
            k,
            lost_data,
            rows,
            lost_rows,
            inverse,
        }
    }

    /// Returns the factors of the block at `position` in the missing ones, or `None` where it is not needed.
    ///
    /// None of the factors is zero: any `k` blocks give back all others, and if one of them did not count in another, the
    /// other could take its place among `k` blocks that say nothing of it.
    fn shares(&self, position: usize) -> Option<Vec<Element>> {
        let is_data = position < self.k;
        let is_needed = if is_data {
            let is_lost = self.lost_data.contains(&position);
            let is_whole = self.lost_data.is_empty() && self.lost_rows.is_empty();
            !is_lost && !is_whole
        } else {
            self.rows.contains(&(position - self.k))
        };
        if !is_needed {
            return None;
        }
        // What the block is worth in each equation.
        let worth = |row: usize| match (is_data, self.k + row == position) {
            (true, _) => self.matrix.element(row, position),
            (false, true) => Element::one(),
            (false, false) => Element::ZERO,
        };
        let in_rows: Vec<Element> = self.rows.iter().map(|&row| worth(row)).collect();
        let n = self.lost_data.len();
        let mut shares: Vec<Element> = (0..n)
            .map(|i| dot(self.inverse[(2 * i + 1) * n..][..n].iter().copied(), &in_rows))
            .collect();
        for &row in &self.lost_rows {
            let elements = self
                .lost_data
                .iter()
                .map(|&column| self.matrix.element(row, column));
            let share = worth(row).plus(dot(elements, &shares[..n]));
            shares.push(share);
        }
        Some(shares)
    }
}

/// Returns the sum of the products of both, one by one.
fn dot(one: impl Iterator<Item = Element>, other: &[Element]) -> Element {
    zip(one, other).fold(Element::ZERO, |sum, (one, &other)| sum.plus(one.times(other)))
}

#[cfg(test)]
mod tests;
