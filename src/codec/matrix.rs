//! The code as a matrix: parity shard `i` is the sum over all data shards `j` of `element(i, j)` times shard `j`.
//!
//! The transforms of the encoder are the fast way to make all parity of all data at once. The matrix is the fast way
//! when there is one data shard at a time, or few unknowns: see [`super::ParityAccumulator`], [`super::OuterEncoder`]
//! and [`super::ColumnDecoder`]. It is read off the encoder, so it is the same code by construction.

use super::{ColumnEncoder, GROUP_LEN_BYTES, add, copy_padded};
use crate::units::CodeShape;
use core::iter::zip;
use reed_solomon_simd::engine::{DefaultEngine, Engine as _, GF_MODULUS, tables};

/// Elements of the field in one group: the low bytes stand in its first half, the high bytes in the second.
const ELEMENTS_PER_GROUP: usize = GROUP_LEN_BYTES / 2;

/// Bytes that [`Multiplier`] works on at a time: source, product and target stay in the first-level cache together
/// (twice as fast as 8 KiB where three sums of 4 MiB are added to).
pub(super) const PIECE_LEN_BYTES: usize = 4 * 1024;

const _: () = assert!(
    PIECE_LEN_BYTES.is_multiple_of(GROUP_LEN_BYTES),
    "a piece is whole groups"
);

/// An element of GF(2^16), in the basis that the code computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element(u16);

impl Element {
    pub(super) const ZERO: Self = Self(0);

    pub(super) fn one() -> Self {
        Self(tables::get_exp_log().exp[0])
    }

    /// Returns the discrete logarithm, below [`GF_MODULUS`].
    fn log(self) -> u16 {
        assert_ne!(self, Self::ZERO, "zero has no logarithm");
        tables::get_exp_log().log[usize::from(self.0)]
    }

    pub(super) fn times(self, other: Self) -> Self {
        if self == Self::ZERO || other == Self::ZERO {
            return Self::ZERO;
        }
        let log = (usize::from(self.log()) + usize::from(other.log())) % usize::from(GF_MODULUS);
        Self(tables::get_exp_log().exp[log])
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    fn inverse(self) -> Self {
        let log = usize::from(GF_MODULUS - self.log()) % usize::from(GF_MODULUS);
        Self(tables::get_exp_log().exp[log])
    }
}

/// The elements that multiply data shards into parity shards, `m` rows of `k`.
pub(super) struct ParityMatrix {
    k: usize,
    elements: Vec<Element>,
}

impl ParityMatrix {
    /// Reads the matrix of `shape` off the encoder; copies are the data times one.
    ///
    /// Every element position of a group is a code word of its own. So data shard `j` gets a one at position `j` and
    /// zeros everywhere else, and position `j` of parity shard `i` is then the element in row `i`, column `j`: one call
    /// for the whole matrix.
    pub(super) fn of(shape: CodeShape) -> Self {
        let (k, m) = (usize::from(shape.data()), usize::from(shape.parity()));
        if shape.is_replication() {
            return Self {
                k,
                elements: vec![Element::one(); m],
            };
        }
        let slice_len = k.div_ceil(ELEMENTS_PER_GROUP) * GROUP_LEN_BYTES;
        let position = |j: usize| j / ELEMENTS_PER_GROUP * GROUP_LEN_BYTES + j % ELEMENTS_PER_GROUP;

        let [low, high] = Element::one().0.to_le_bytes();
        let units: Vec<Vec<u8>> = (0..k)
            .map(|j| {
                let mut unit = vec![0; slice_len];
                unit[position(j)] = low;
                unit[position(j) + ELEMENTS_PER_GROUP] = high;
                unit
            })
            .collect();
        let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
        let mut parity = vec![vec![0; slice_len]; m];
        let mut rows: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        ColumnEncoder::new(shape).encode(slice_len, &units, &mut rows);
        let mut elements = Vec::with_capacity(m * k);
        for parity in parity {
            let element = |j| [parity[position(j)], parity[position(j) + ELEMENTS_PER_GROUP]];
            elements.extend((0..k).map(|j| Element(u16::from_le_bytes(element(j)))));
        }
        assert!(
            !elements.contains(&Element::ZERO),
            "every data shard counts in every parity shard"
        );
        Self { k, elements }
    }

    /// Returns the element that multiplies data shard `column` into parity shard `row`.
    pub(super) fn element(&self, row: usize, column: usize) -> Element {
        self.elements[row * self.k + column]
    }

    /// Inverts the square part made of `rows` and `columns`: the right half of each row of `work` is a row of the inverse.
    ///
    /// Gauss and Jordan, without a search for pivots: any `k` of `k + m` shards give back the data, which is to say that
    /// every square part of the matrix can be inverted, and so no pivot is ever zero.
    pub(super) fn invert_part(&self, rows: &[usize], columns: &[usize], work: &mut Vec<Element>) {
        assert_eq!(rows.len(), columns.len(), "only a square matrix has an inverse");
        let (n, width) = (rows.len(), 2 * rows.len());
        work.clear();
        for (i, &row) in rows.iter().enumerate() {
            work.extend(columns.iter().map(|&column| self.element(row, column)));
            work.extend((0..n).map(|j| if i == j { Element::one() } else { Element::ZERO }));
        }
        for pivot in 0..n {
            let scale = work[pivot * width + pivot].inverse();
            for element in &mut work[pivot * width..][..width] {
                *element = element.times(scale);
            }
            for row in (0..n).filter(|&row| row != pivot) {
                let factor = work[row * width + pivot];
                for column in 0..width {
                    let product = factor.times(work[pivot * width + column]);
                    work[row * width + column] = work[row * width + column].plus(product);
                }
            }
        }
    }
}

/// Returns the steps from one to the first of `factors` and from each to the next, as [`Multiplier::add_multiples`] takes
/// them; no factor is zero.
pub(super) fn steps(factors: impl Iterator<Item = Element>) -> impl Iterator<Item = Element> {
    factors.scan(Element::one(), |before, factor| {
        let step = factor.times(before.inverse());
        *before = factor;
        Some(step)
    })
}

/// Multiplies slices by elements, a piece at a time.
pub(super) struct Multiplier {
    engine: DefaultEngine,
    product: Vec<[u8; GROUP_LEN_BYTES]>,
}

impl Multiplier {
    pub(super) fn new() -> Self {
        let product = vec![[0; GROUP_LEN_BYTES]; PIECE_LEN_BYTES / GROUP_LEN_BYTES];
        Self {
            engine: DefaultEngine::new(),
            product,
        }
    }

    /// Computes `target += source * factor`.
    ///
    /// `source` counts as filled up with zeros to whole groups, and `target` is at least that long.
    pub(super) fn add_product(&mut self, target: &mut [u8], source: &[u8], factor: Element) {
        let groups = source.len().div_ceil(GROUP_LEN_BYTES);
        assert!(
            groups * GROUP_LEN_BYTES <= target.len(),
            "the product is longer than where it is added"
        );
        for (target, source) in target
            .chunks_mut(PIECE_LEN_BYTES)
            .zip(source.chunks(PIECE_LEN_BYTES))
        {
            let product = &mut self.product[..source.len().div_ceil(GROUP_LEN_BYTES)];
            copy_padded(product.as_flattened_mut(), source);
            self.engine.mul(product, factor.log());
            add(target, product.as_flattened());
        }
    }

    /// Adds a multiple of `source` to every target: the one that was added before it times the target's step.
    ///
    /// A factor for each would do, and a copy of the source for each; stepping on from the product before saves all copies
    /// but one. Lengths are as in [`Self::add_product`].
    pub(super) fn add_multiples<T: AsMut<[u8]>>(
        &mut self,
        targets: &mut [T],
        source: &[u8],
        steps: &[Element],
    ) {
        assert_eq!(targets.len(), steps.len(), "one step for every target");
        // Pieces outside, targets inside: a piece is read from memory once, not once for each of them.
        for (piece, source) in source.chunks(PIECE_LEN_BYTES).enumerate() {
            let product = &mut self.product[..source.len().div_ceil(GROUP_LEN_BYTES)];
            copy_padded(product.as_flattened_mut(), source);
            for (target, &step) in zip(&mut *targets, steps) {
                if step != Element::one() {
                    self.engine.mul(product, step.log());
                }
                let target = &mut target.as_mut()[piece * PIECE_LEN_BYTES..];
                assert!(
                    product.as_flattened().len() <= target.len(),
                    "the product is longer than where it is added"
                );
                add(target, product.as_flattened());
            }
        }
    }
}
