//! The odds that a file is lost within a year.
//!
//! Two things lose a file. Volumes go with all that they hold; a block is lost when those that are down together held more
//! of its shards than it has parity. And single leaves go bad; a column is lost when more of its leaves are bad at once
//! than the block has parity. The model of both, its sources and what it leaves out is docs/odds.md, whose tables a test
//! compares with this module.
//!
//! Nothing is drawn at random here. Odds are sums and products of positive terms, so that small ones keep their digits.

mod chain;
mod rates;
#[cfg(test)]
mod tests;

pub use rates::{FailureRateParts, FailureRates, FailureRatesError};

use chain::VolumeGroup;

use crate::units::{CodeShape, MAX_BLOCK_SHARDS};

/// Beyond this the odds of not losing a file, `e^-40`, are less than what can be told from 0 beside 1.
const CERTAIN_HAZARD: f64 = 40.0;

/// The odds that a file is lost within its first year.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossOdds {
    /// By volumes that are down at the same time; see [`loss_by_volumes`].
    pub by_volumes: f64,
    /// By leaves that are bad at the same time while all volumes are there; see [`loss_by_leaves`].
    pub by_leaves: f64,
}

impl LossOdds {
    /// Returns the odds of a file of `columns` columns, all blocks of which are of `shape` and dealt to the volumes as
    /// `counts` says.
    ///
    /// # Panics
    /// When the counts do not add up to the shards of the block.
    pub fn new(counts: &[u16], shape: CodeShape, columns: u64, rates: &FailureRates) -> Self {
        assert_counts(counts, shape);
        Self {
            by_volumes: loss_by_volumes(counts, shape.parity(), rates),
            by_leaves: loss_by_leaves(shape, columns, rates),
        }
    }

    /// Returns the odds that the file is lost in one way or the other, `1 - (1 - a) (1 - b)`.
    ///
    /// This leaves out what neither does alone: a leaf that is bad while a volume is down. Where the loss of a volume takes
    /// most of the parity, that is most of the risk, and [`loss_together`] has it.
    pub fn total(&self) -> f64 {
        self.by_volumes + self.by_leaves * (1.0 - self.by_volumes)
    }
}

/// Returns the odds that at some moment within a year the volumes that are down hold more than `parity` shards of a block.
///
/// `counts` says how many shards of the block each volume holds, in any order. Volumes fail and are replaced independently
/// of one another, after times that are exponentially distributed; all are up in the beginning. Blocks that are dealt to
/// the same volumes are lost together, so these are the odds of a file too, if each volume has the same count in all of
/// its blocks; if not, give each volume its largest one.
///
/// Exact up to rounding for volumes of one count, and for those of two counts while few may be lost, which is how
/// [`spread_counts`](crate::geometry::spread_counts) deals a block with at most 20 parity shards. Where the volumes may be
/// down in more than 256 different ways, some counts are taken for the next larger one of another volume: the odds are
/// too high then, never too low. Takes microseconds for codes with little parity, and half a second for 256 volumes of
/// which 255 may be lost.
///
/// # Panics
/// When the counts add up to more than [`MAX_BLOCK_SHARDS`]: they are those of one block.
pub fn loss_by_volumes(counts: &[u16], parity: u16, rates: &FailureRates) -> f64 {
    let total = shards(counts);
    assert!(
        total <= u64::from(MAX_BLOCK_SHARDS),
        "a block of {total} shards, {MAX_BLOCK_SHARDS} are the most"
    );
    if total <= u64::from(parity) {
        return 0.0;
    }
    loss(counts, parity, rates, |_| 0.0)
}

/// Returns the odds that within a year more leaves of a column than the code has parity are bad at once, in any of
/// `columns` columns, while all volumes are there.
///
/// A leaf goes bad independently of all others and stays so until the next scrub, which repairs it. Of a scrub interval
/// that does not fit the year a whole number of times, the rest counts in proportion; intervals longer than a year are
/// cut at its end.
pub fn loss_by_leaves(shape: CodeShape, columns: u64, rates: &FailureRates) -> f64 {
    let hazard = leaf_hazard(shape.total(), shape.parity(), columns, rates);
    -f64::exp_m1(-hazard * rates.scrubs_per_year())
}

/// Returns the odds that a file is lost within a year by volumes and leaves together: what [`LossOdds::total`] counts, and
/// columns that lose what is left to them to bad leaves while volumes are down.
///
/// An estimate from above. When a volume goes down, the leaves of the others are taken to be as bad as they are at the end
/// of a scrub interval. While the odds are small, that makes them too high by a factor of at most `b + 2` where `b` bad
/// leaves of a column are survived meanwhile.
///
/// # Panics
/// When the counts do not add up to the shards of the block.
pub fn loss_together(counts: &[u16], shape: CodeShape, columns: u64, rates: &FailureRates) -> f64 {
    assert_counts(counts, shape);
    loss(counts, shape.parity(), rates, |lost| {
        leaf_hazard(shape.total() - lost, shape.parity() - lost, columns, rates)
    })
}

/// Returns the odds of loss within a year, when leaves have the hazard `leaf_hazard(lost)` in each scrub interval while
/// volumes with `lost` shards are down, at most `parity`.
fn loss(counts: &[u16], parity: u16, rates: &FailureRates, leaf_hazard: impl Fn(u16) -> f64) -> f64 {
    chain::loss_within_a_year(VolumeGroup::of_counts(counts), parity, rates, leaf_hazard)
}

fn assert_counts(counts: &[u16], shape: CodeShape) {
    let total = shards(counts);
    assert!(
        total == u64::from(shape.total()),
        "{total} shards of {shape} are on volumes"
    );
}

fn shards(counts: &[u16]) -> u64 {
    counts.iter().copied().map(u64::from).sum()
}

/// Returns `-ln(1 - x)`, where `x` is the probability that within one scrub interval more than `parity` of `leaves` leaves
/// go bad in any of `columns` columns.
fn leaf_hazard(leaves: u16, parity: u16, columns: u64, rates: &FailureRates) -> f64 {
    let of_a_column = -f64::ln_1p(-column_loss(leaves, parity, rates.leaf_per_scrub()));
    if columns == 0 {
        return 0.0;
    }
    (of_a_column * to_f64(columns)).min(CERTAIN_HAZARD)
}

/// Returns the probability that more than `parity` of `leaves` leaves are bad, when each is with probability `bad`.
///
/// The tail of a binomial distribution, summed up leaf by leaf: `so_far[n]` is the probability that `n` are bad.
fn column_loss(leaves: u16, parity: u16, bad: f64) -> f64 {
    let good = 1.0 - bad;
    let mut so_far = vec![0.0; usize::from(parity) + 1];
    so_far[0] = 1.0;
    let mut lost = 0.0;
    for _ in 0..leaves {
        lost += so_far[usize::from(parity)] * bad;
        for count in (1..so_far.len()).rev() {
            so_far[count] = so_far[count] * good + so_far[count - 1] * bad;
        }
        so_far[0] *= good;
    }
    f64::min(lost, 1.0)
}

/// Converts a count, to the nearest number that there is.
fn to_f64(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits).expect("half of 64 bits is 32"));
    half(count >> 32) * 4_294_967_296.0 + half(count & 0xffff_ffff)
}
