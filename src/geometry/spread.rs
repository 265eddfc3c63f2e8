//! How the shards of a block are dealt to volumes, and which codes survive the loss of volumes.
//!
//! A volume is the failure domain: whatever it holds goes at once. So what counts is how many shards of one block it
//! holds. This module knows counts alone; which volume takes which count, and which lanes, is decided elsewhere.

use core::cmp::Reverse;

use crate::units::{CodeShape, MAX_BLOCK_SHARDS};

/// How many lost segments of a block a coded shape survives at least when it is chosen here, as the default code does.
const MIN_LOST_SEGMENTS: u16 = 3;

/// No code that a block may have survives the loss of that many volumes of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotSurvive {
    /// What is left must hold something.
    #[error(
        "no code in place of {shape} survives the loss of {survive} of {volumes} volumes: that takes {needed} or more"
    )]
    TooFewVolumes {
        /// The code of the tier before anything was asked for.
        shape: CodeShape,
        /// Volumes of the archive.
        volumes: u16,
        /// How many of them are to be survived.
        survive: u16,
        /// Fewest volumes that would do.
        needed: u32,
    },
    /// Each volume that is survived costs a shard, and one must be left.
    #[error(
        "no code in place of {shape} survives the loss of {survive} of {volumes} volumes: a block has at most {MAX_BLOCK_SHARDS} shards"
    )]
    TooManyShards {
        /// The code of the tier before anything was asked for.
        shape: CodeShape,
        /// Volumes of the archive.
        volumes: u16,
        /// How many of them are to be survived.
        survive: u16,
    },
}

/// Returns how many shards of a block each volume takes that takes any, the largest first.
///
/// The block is spread over as many of the `volumes` as it has shards, with counts that differ by at most one, when no
/// volume gets more than `m` shards then. Otherwise it stays whole on one volume: a code that the loss of any one volume
/// kills is killed more often the more volumes there are. Segments that are absent from a short block count as well;
/// nothing is stored of them, so the volumes that would hold them lose less than is said here.
///
/// # Panics
/// When there is no volume: an archive has one or more.
pub fn spread_counts(shape: CodeShape, volumes: u16) -> Vec<u16> {
    assert!(volumes > 0, "an archive has a volume");
    let total = shape.total();
    let width = volumes.min(total);
    if total.div_ceil(width) > shape.parity() {
        return vec![total];
    }
    let (each, rest) = (total / width, total % width);
    (0..width).map(|volume| each + u16::from(volume < rest)).collect()
}

/// Returns how many volumes may be lost, whichever they are, when they hold `counts` shards of a block and any `parity`
/// shards of it may be lost.
///
/// The counts may come in any order. Volumes that hold nothing count only when all others may be lost together.
pub fn volumes_survived(counts: &[u16], parity: u16) -> u16 {
    let mut worst_first = counts.to_vec();
    worst_first.sort_unstable_by_key(|count| Reverse(*count));
    let mut survived = 0_u16;
    let mut left = parity;
    for count in worst_first {
        let Some(rest) = left.checked_sub(count) else {
            break;
        };
        left = rest;
        survived = survived.saturating_add(1);
    }
    survived
}

/// What of a block may be lost, whichever it is, without a byte being lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tolerance {
    /// Segments: shards of the block.
    pub segments: u16,
    /// Extents, since no two shards of a block lie in one.
    pub extents: u16,
    /// Volumes.
    pub volumes: u16,
}

impl Tolerance {
    /// Returns what is survived when volumes hold `counts` shards of a block and any `parity` shards of it may be lost.
    pub fn of_counts(counts: &[u16], parity: u16) -> Self {
        Self {
            segments: parity,
            extents: parity,
            volumes: volumes_survived(counts, parity),
        }
    }

    /// Returns what two blocks both survive.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        Self {
            segments: self.segments.min(other.segments),
            extents: self.extents.min(other.extents),
            volumes: self.volumes.min(other.volumes),
        }
    }
}

/// Returns the code of a tier with which any `survive` of the `volumes` may be lost, when `default` is the one that it
/// has on one volume.
///
/// The default itself where it does, as [`spread_counts`] deals it. Else, of a replicated tier, more replicas; of a coded
/// one, a code that gives every volume `c` shards, of which `c * survive` are parity, with the least `c` that lets any
/// three segments of a block be lost wherever they are. Such a code takes no more volumes than fit [`MAX_BLOCK_SHARDS`].
///
/// # Errors
/// [`CannotSurvive`] when there are not more volumes than are to be lost, or no code has that many shards.
pub fn surviving_shape(default: CodeShape, volumes: u16, survive: u16) -> Result<CodeShape, CannotSurvive> {
    if survive == 0 {
        return Ok(default);
    }
    if volumes <= survive {
        return Err(CannotSurvive::TooFewVolumes {
            shape: default,
            volumes,
            survive,
            needed: u32::from(survive) + 1,
        });
    }
    if volumes_survived(&spread_counts(default, volumes), default.parity()) >= survive {
        return Ok(default);
    }
    let (data, parity) = if default.is_replication() {
        // It has fewer replicas than that, or it would survive.
        (1, survive)
    } else {
        let each = MIN_LOST_SEGMENTS.div_ceil(survive);
        let width = volumes.min(MAX_BLOCK_SHARDS / each);
        (width.saturating_sub(survive) * each, survive.saturating_mul(each))
    };
    let chosen = CodeShape::new(data, parity).ok();
    chosen
        .filter(|shape| shape.fits_block())
        .ok_or(CannotSurvive::TooManyShards {
            shape: default,
            volumes,
            survive,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(data: u16, parity: u16) -> CodeShape {
        CodeShape::new(data, parity).expect("valid shape")
    }

    /// Codes of every kind: replicas, narrow and wide ones, with little and with much parity.
    fn shapes() -> [CodeShape; 9] {
        [
            (1, 1),
            (1, 3),
            (1, 255),
            (2, 1),
            (5, 1),
            (10, 4),
            (30, 3),
            (200, 50),
            (253, 3),
        ]
        .map(|(data, parity)| shape(data, parity))
    }

    #[test]
    fn shards_are_dealt_evenly_where_no_volume_gets_more_than_the_parity() {
        assert_eq!(spread_counts(shape(1, 3), 1), [4]);
        assert_eq!(spread_counts(shape(1, 3), 2), [2, 2]);
        assert_eq!(spread_counts(shape(1, 3), 3), [2, 1, 1]);
        assert_eq!(spread_counts(shape(1, 3), 4), [1; 4]);
        assert_eq!(spread_counts(shape(1, 3), 9), [1; 4], "four volumes are used");
        assert_eq!(spread_counts(shape(30, 3), 10), [33], "one would hold 4");
        assert_eq!(spread_counts(shape(30, 3), 11), [3; 11]);
        assert_eq!(
            spread_counts(shape(30, 3), 12),
            [3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2]
        );
        assert_eq!(spread_counts(shape(30, 3), u16::MAX), [1; 33]);
    }

    #[test]
    fn every_block_is_dealt_completely_and_spread_exactly_where_a_lost_volume_is_survived() {
        for shape in shapes() {
            for volumes in 1..=300 {
                let counts = spread_counts(shape, volumes);
                assert_eq!(counts.iter().sum::<u16>(), shape.total(), "{shape} on {volumes}");
                assert!(counts.is_sorted_by(|one, next| one >= next), "{counts:?}");
                assert!(!counts.contains(&0), "only used volumes are named: {counts:?}");
                let survived = volumes_survived(&counts, shape.parity());
                if counts.len() == 1 {
                    let most = u32::from(shape.parity()) * u32::from(volumes);
                    assert!(most < u32::from(shape.total()), "{shape} fits {volumes} volumes");
                    assert_eq!(survived, 0, "{shape} on one volume");
                } else {
                    assert_eq!(counts.len(), usize::from(volumes.min(shape.total())));
                    assert!(counts[0] - counts[counts.len() - 1] <= 1, "{counts:?}");
                    assert!(survived > 0, "{shape} on {volumes}: {counts:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_survived_is_what_every_choice_of_lost_volumes_leaves_readable() {
        for code in 0..5_u32.pow(4) {
            let digits = [0, 1, 2, 3].map(|place| code / 5_u32.pow(place) % 5);
            let counts = digits.map(|digit| u16::try_from(digit).expect("small"));
            for parity in 0..=17 {
                let is_lost = |lost: u32| {
                    let gone: u16 = (0..4)
                        .filter(|volume| lost >> volume & 1 == 1)
                        .map(|volume| counts[volume])
                        .sum();
                    gone > parity
                };
                let fewest_lost = (0..16_u32)
                    .filter(|lost| is_lost(*lost))
                    .map(u32::count_ones)
                    .min();
                let expected = fewest_lost.map_or(4, |fewest| fewest - 1);
                assert_eq!(
                    u32::from(volumes_survived(&counts, parity)),
                    expected,
                    "{counts:?}, {parity}"
                );
            }
        }
    }

    #[test]
    fn shapes_for_the_usual_numbers_of_volumes_are_the_ones_of_the_design() {
        let surviving =
            |default, volumes, survive| surviving_shape(default, volumes, survive).expect("there is one");
        let (coded, replicas) = (shape(30, 3), shape(1, 3));
        assert_eq!(surviving(coded, 2, 1), shape(3, 3));
        assert_eq!(surviving(coded, 3, 1), shape(6, 3));
        assert_eq!(surviving(coded, 6, 1), shape(15, 3));
        assert_eq!(surviving(coded, 6, 2), shape(8, 4));
        assert_eq!(surviving(coded, 10, 1), shape(27, 3));
        assert_eq!(surviving(coded, 11, 1), coded, "3 on each already");
        assert_eq!(surviving(coded, 12, 1), coded, "at most 3 on each already");
        assert_eq!(surviving(coded, 40, 3), coded, "1 on each already");
        assert_eq!(surviving(replicas, 3, 1), replicas);
        assert_eq!(surviving(replicas, 4, 3), replicas);
        assert_eq!(surviving(replicas, 6, 4), shape(1, 4));
        assert_eq!(surviving(shape(1, 1), 3, 2), shape(1, 2));
        assert_eq!(surviving(coded, 1, 0), coded, "nothing was asked for");
    }

    #[test]
    fn every_shape_survives_what_was_asked_for_and_three_lost_segments() {
        for default in shapes() {
            for volumes in 1..=40 {
                for survive in 0..volumes {
                    let shape = surviving_shape(default, volumes, survive).expect("there are volumes left");
                    let counts = spread_counts(shape, volumes);
                    let survived = volumes_survived(&counts, shape.parity());
                    assert!(
                        survived >= survive,
                        "{default}, {survive} of {volumes}: {shape}, {counts:?}"
                    );
                    if default.is_replication() {
                        assert_eq!((shape.data(), shape.parity()), (1, default.parity().max(survive)));
                    }
                    let is_default = shape == default;
                    assert!(
                        is_default || default.is_replication() || shape.parity() >= 3,
                        "{default}: {shape}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_widest_codes_fit_the_most_shards_that_a_block_may_have() {
        let surviving =
            |default, volumes, survive| surviving_shape(default, volumes, survive).expect("there is one");
        let wide = shape(253, 1);
        assert_eq!(surviving(wide, 85, 1), shape(252, 3));
        assert_eq!(surviving(wide, 128, 2), shape(252, 4));
        assert_eq!(surviving(wide, 200, 1), shape(252, 3), "85 volumes' worth");
        assert_eq!(surviving(wide, u16::MAX, 255), shape(1, 255));
        assert_eq!(surviving(shape(1, 3), u16::MAX, 255), shape(1, 255));
        for (volumes, survive) in [
            (86, 1),
            (200, 1),
            (255, 1),
            (129, 2),
            (256, 2),
            (300, 3),
            (300, 255),
        ] {
            let shape = surviving(wide, volumes, survive);
            let counts = spread_counts(shape, volumes);
            assert!(
                volumes_survived(&counts, shape.parity()) >= survive,
                "{shape} on {volumes}: {counts:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_survived_is_refused_with_its_numbers() {
        let default = shape(30, 3);
        for (volumes, survive) in [(0, 1), (1, 1), (3, 3), (3, 9), (u16::MAX, u16::MAX)] {
            let needed = u32::from(survive) + 1;
            let error = CannotSurvive::TooFewVolumes {
                shape: default,
                volumes,
                survive,
                needed,
            };
            assert_eq!(surviving_shape(default, volumes, survive), Err(error));
        }
        for default in [default, shape(1, 3)] {
            let error = CannotSurvive::TooManyShards {
                shape: default,
                volumes: 300,
                survive: 256,
            };
            assert_eq!(surviving_shape(default, 300, 256), Err(error));
        }
        assert_eq!(
            surviving_shape(default, 1, 1)
                .expect_err("one volume")
                .to_string(),
            "no code in place of RS(30,3) survives the loss of 1 of 1 volumes: that takes 2 or more"
        );
    }
}
