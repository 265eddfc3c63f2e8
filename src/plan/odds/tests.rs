//! The odds against closed forms, sums over every outcome, simulations and the tables of docs/odds.md.

mod document;
mod simulation;

use super::*;
use crate::{
    geometry::{FileGeometry, Policy, PolicyParts, spread_counts, volumes_survived},
    units::LeafLen,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

/// So many days that nothing is replaced within a year.
const NEVER: f64 = 1e15;

fn shape(data: u16, parity: u16) -> CodeShape {
    CodeShape::new(data, parity).expect("valid shape")
}

fn volume_rates(volume_per_year: f64, replacement_days: f64) -> FailureRates {
    FailureRates::new(FailureRateParts {
        volume_per_year,
        replacement_days,
        leaf_per_year: 0.0,
        scrub_days: 30.0,
    })
    .expect("valid rates")
}

fn leaf_rates(leaf_per_year: f64, scrub_days: f64) -> FailureRates {
    FailureRates::new(FailureRateParts {
        volume_per_year: 0.014,
        replacement_days: 7.0,
        leaf_per_year,
        scrub_days,
    })
    .expect("valid rates")
}

#[track_caller]
fn assert_close(found: f64, expected: f64, relative: f64) {
    let difference = (found - expected).abs();
    assert!(
        difference <= expected.abs() * relative,
        "{found:e} is not {expected:e} up to {relative:e}"
    );
}

/// The odds when nothing is replaced: volumes of `counts` fail or do not, each with probability `p`. Summed up over the
/// number of lost shards, by a way that knows no chain and no groups.
fn loss_without_replacement(counts: &[u16], parity: u16, p: f64) -> f64 {
    let total: u16 = counts.iter().sum();
    let mut by_lost = vec![0.0; usize::from(total) + 1];
    by_lost[0] = 1.0;
    for count in counts {
        let mut with_volume = vec![0.0; by_lost.len()];
        for (lost, probability) in by_lost.iter().enumerate() {
            with_volume[lost] += probability * (1.0 - p);
            if let Some(more) = with_volume.get_mut(lost + usize::from(*count)) {
                *more += probability * p;
            }
        }
        by_lost = with_volume;
    }
    by_lost.iter().skip(usize::from(parity) + 1).sum()
}

/// Two volumes, each of which is enough: both are down at once within a year. Laplace transform of the three equations,
/// inverted; the roots of `s^2 + (3 f + r) s + 2 f^2`.
fn loss_of_two_replicas(rates: &FailureRates) -> f64 {
    let (f, r) = (rates.failures_per_year(), rates.replacements_per_year());
    let fast = -(3.0 * f + r + f64::sqrt(f * f + 6.0 * f * r + r * r)) / 2.0;
    let slow = 2.0 * f * f / fast;
    (fast * f64::exp_m1(slow) - slow * f64::exp_m1(fast)) / (slow - fast)
}

#[test]
fn a_file_on_one_volume_is_lost_as_often_as_the_volume_however_soon_it_is_replaced() {
    for p in [1e-300, 1e-12, 0.014, 0.5, 0.999_999] {
        for days in [1.0 / 24.0, 7.0, 365.0, NEVER] {
            for (counts, parity) in [(&[33][..], 3), (&[4], 3), (&[0, 2, 0], 1), (&[1], 0)] {
                assert_close(loss_by_volumes(counts, parity, &volume_rates(p, days)), p, 1e-13);
            }
        }
    }
}

#[test]
fn two_replicas_are_lost_as_often_as_the_closed_form_says() {
    for p in [1e-6, 0.014, 0.05, 0.5, 0.999] {
        for days in [1.0 / 24.0, 1.0, 7.0, 30.0, 365.0] {
            let rates = volume_rates(p, days);
            let expected = loss_of_two_replicas(&rates);
            assert_close(loss_by_volumes(&[2, 2], 3, &rates), expected, 1e-9);
            assert_close(loss_by_volumes(&[1, 1], 1, &rates), expected, 1e-9);
        }
    }
}

#[test]
fn without_replacement_the_odds_are_those_of_a_draw_for_each_volume() {
    let placements: &[(&[u16], u16)] = &[
        (&[2, 1, 1], 3),
        (&[1, 1, 1, 1], 3),
        (&[3; 11], 3),
        (&[3, 3, 3], 3),
        (&[2, 2, 2, 2, 2, 2], 4),
        (&[3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2], 3),
        (&[1; 33], 3),
        (&[7, 5, 3, 2, 1, 1, 1], 9),
        (&[1; 256], 100),
        (&[1, 0, 2], 0),
    ];
    for (counts, parity) in placements {
        for p in [0.014, 0.05, 0.4] {
            let expected = loss_without_replacement(counts, *parity, p);
            assert_close(
                loss_by_volumes(counts, *parity, &volume_rates(p, NEVER)),
                expected,
                1e-10,
            );
        }
    }
}

#[test]
fn what_the_design_says_of_one_disk_and_of_eight_is_so() {
    let rates = volume_rates(0.014, NEVER);
    assert_close(loss_by_volumes(&[33], 3, &rates), 0.014, 1e-12);
    let spread = loss_by_volumes(&[5, 4, 4, 4, 4, 4, 4, 4], 3, &rates);
    assert_close(spread, 1.0 - 0.986_f64.powi(8), 1e-12);
    assert!((0.105..0.115).contains(&spread), "about 11 %, not {spread}");
}

#[test]
fn a_block_is_never_lost_while_fewer_shards_are_on_volumes_than_may_be_lost() {
    let rates = volume_rates(0.9, 100.0);
    for counts in [&[][..], &[0], &[3], &[1, 1, 1], &[2, 1, 0]] {
        assert!(
            loss_by_volumes(counts, 3, &rates).abs() < f64::MIN_POSITIVE,
            "{counts:?}"
        );
    }
}

#[test]
fn tiny_odds_keep_their_digits() {
    // While failures are rare and replacements fast, n replicas are lost n f^n / r^(n - 1) times a year.
    for (p, replicas, relative) in [
        (1e-3, 4_u16, 1e-3),
        (1e-6, 2, 1e-3),
        (1e-6, 10, 1e-2),
        (1e-12, 20, 1e-2),
    ] {
        let rates = volume_rates(p, 1.0 / 24.0);
        let (f, r) = (rates.failures_per_year(), rates.replacements_per_year());
        let expected = f64::from(replicas) * f * (f / r).powi(i32::from(replicas) - 1);
        let found = loss_by_volumes(&vec![1; usize::from(replicas)], replicas - 1, &rates);
        assert_close(found, expected, relative);
        assert!(found > 0.0, "{replicas} replicas may be lost");
    }
    assert_close(
        loss_by_volumes(&[1; 10], 9, &volume_rates(1e-20, NEVER)),
        1e-200,
        1e-9,
    );
    assert_close(
        loss_by_leaves(shape(1, 3), 1, &leaf_rates(1e-50, 365.0)),
        1e-200,
        1e-9,
    );
    assert_close(
        loss_by_leaves(shape(1, 3), 1, &leaf_rates(1e-4, 365.0)),
        1e-16,
        1e-9,
    );
}

#[test]
fn volumes_in_too_many_states_give_odds_that_are_not_too_low() {
    // 1 + 2 + .. + 22 shards, and one that a two-count deal with much parity gives.
    let all_different: Vec<u16> = (1..=22).collect();
    let two_counts = spread_counts(shape(200, 50), 200);
    for (counts, parity) in [(&all_different, 100), (&all_different, 30), (&two_counts, 50)] {
        for p in [0.05, 0.3] {
            let exact = loss_without_replacement(counts, parity, p);
            let found = loss_by_volumes(counts, parity, &volume_rates(p, NEVER));
            assert!(found >= exact * (1.0 - 1e-9), "{found:e} is below {exact:e}");
            let largest = counts.iter().max().expect("volumes");
            let all_largest = vec![*largest; counts.len()];
            let bound = loss_without_replacement(&all_largest, parity, p);
            assert!(found <= bound * (1.0 + 1e-9), "{found:e} is above {bound:e}");
        }
    }
}

#[test]
fn every_number_of_bad_leaves_of_a_small_column_is_weighed() {
    for q in [1e-9, 1e-4, 0.1, 0.5, 0.9, 1.0 - 1e-9] {
        assert_close(column_loss(2, 1, q), q * q, 1e-12);
        assert_close(column_loss(3, 1, q), q * q * (3.0 - 2.0 * q), 1e-12);
        assert_close(column_loss(4, 3, q), q.powi(4), 1e-12);
        assert_close(column_loss(6, 0, q), -f64::exp_m1(6.0 * f64::ln_1p(-q)), 1e-12);
    }
    // 1 - (1 - q)^256 in another way, where every term but the last would underflow.
    assert_close(column_loss(256, 0, 1.0 - 1e-3), 1.0, 1e-15);
    assert_close(column_loss(256, 255, 0.5), 0.5_f64.powi(256), 1e-12);
}

#[test]
fn leaves_lose_a_file_by_any_column_in_any_scrub_interval() {
    // RS(1,1): both leaves of a column, in one of 365 / 73 = 5 intervals.
    let rates = leaf_rates(0.3, 73.0);
    let q = 1.0 - 0.7_f64.powf(0.2);
    let expected = 1.0 - (1.0 - q * q).powi(7 * 5);
    assert_close(loss_by_leaves(shape(1, 1), 7, &rates), expected, 1e-12);
    assert!(
        loss_by_leaves(shape(1, 1), 0, &rates).abs() < f64::MIN_POSITIVE,
        "an empty file"
    );
    let never_bad = loss_by_leaves(shape(1, 1), 7, &leaf_rates(0.0, 73.0));
    assert!(never_bad.abs() < f64::MIN_POSITIVE, "leaves that never go bad");
    assert_close(loss_by_leaves(shape(1, 1), u64::MAX, &rates), 1.0, 1e-12);
    assert_close(
        loss_by_leaves(shape(1, 1), 7, &leaf_rates(0.3, 365.0)),
        loss_by_leaves(shape(1, 1), 7, &leaf_rates(0.3, 9999.0)),
        1e-12,
    );
}

#[test]
fn leaves_that_are_certain_to_go_bad_lose_every_file_but_an_empty_one() {
    let rates = leaf_rates(1.0 - f64::EPSILON / 2.0, 365.0);
    assert_close(column_loss(33, 3, rates.leaf_per_scrub()), 1.0, 1e-15);
    assert_close(loss_by_leaves(shape(30, 3), 1, &rates), 1.0, 1e-15);
    assert_close(loss_together(&[3; 11], shape(30, 3), 1, &rates), 1.0, 1e-12);
    assert!(
        loss_by_leaves(shape(30, 3), 0, &rates).abs() < f64::MIN_POSITIVE,
        "an empty file"
    );
    for (q, leaves) in [(0.2, 256), (0.5, 256), (0.9, 100), (1.0 - f64::EPSILON, 33)] {
        for parity in 0..8 {
            let odds = column_loss(leaves, parity, q);
            assert!((1.0 - 1e-13..=1.0).contains(&odds), "{odds} of {leaves} leaves");
        }
    }
    // More columns than can be told from endlessly many, each all but lost.
    let odds = loss_together(&[1; 256], shape(252, 4), u64::MAX, &leaf_rates(0.9, 365.0));
    assert_close(odds, 1.0, 1e-12);
    let volumes_only = loss_by_volumes(&[3; 11], 3, &rates);
    assert_close(
        loss_together(&[3; 11], shape(30, 3), 0, &rates),
        volumes_only,
        1e-12,
    );
}

#[test]
fn counts_become_the_nearest_number() {
    for (count, expected) in [
        (0, 0.0),
        (7, 7.0),
        (1 << 32, 4_294_967_296.0),
        ((5 << 32) + 1, 21_474_836_481.0),
    ] {
        assert!((to_f64(count) - expected).abs() < 0.5, "{count}");
    }
    assert_close(to_f64(u64::MAX), 2.0_f64.powi(64), 1e-16);
}

#[test]
fn the_formula_of_the_first_raids_is_near_where_it_holds() {
    // N disks, one of which may be lost: N (N - 1) MTTR / MTTF^2 losses a year.
    for (counts, parity) in [(&[3, 3, 3][..], 3), (&[1, 1], 1), (&[3; 6], 3)] {
        let rates = volume_rates(0.014, 7.0);
        let disks = f64::from(u32::try_from(counts.len()).expect("few"));
        let (f, r) = (rates.failures_per_year(), rates.replacements_per_year());
        assert_close(
            loss_by_volumes(counts, parity, &rates),
            disks * (disks - 1.0) * f * f / r,
            0.05,
        );
    }
    let f = -f64::ln_1p(-0.014);
    assert_eq!(
        format!("{:.1e}", 6.0 * f * f * 7.0 / 365.0),
        "2.3e-5",
        "as docs/odds.md says"
    );
}

#[test]
fn what_the_design_says_of_bad_leaves_judged_by_column_and_by_segment_is_so() {
    let file = FileGeometry::new(10_000_000_000, &Policy::default());
    let columns: u64 = file.blocks().map(|block| u64::from(block.column_count())).sum();
    let by_column = loss_by_leaves(shape(30, 3), columns, &leaf_rates(1e-4, 365.0));
    assert!((1e-8..3e-8).contains(&by_column), "about 1e-8, not {by_column:e}");
    // A segment of 128 leaves that is given up for one of them.
    let segment = -f64::exp_m1(128.0 * f64::ln_1p(-1e-4));
    let by_segment = loss_by_leaves(shape(30, 3), file.block_count(), &leaf_rates(segment, 365.0));
    assert!((0.01..0.1).contains(&by_segment), "not {by_segment}");
}

#[test]
fn odds_add_up_without_counting_a_file_twice() {
    let odds = LossOdds {
        by_volumes: 0.5,
        by_leaves: 0.5,
    };
    assert_close(odds.total(), 0.75, 1e-15);
    let odds = LossOdds {
        by_volumes: 1e-30,
        by_leaves: 2e-30,
    };
    assert_close(odds.total(), 3e-30, 1e-15);
    let rates = FailureRates::new(FailureRateParts {
        volume_per_year: 0.3,
        replacement_days: 50.0,
        leaf_per_year: 0.2,
        scrub_days: 100.0,
    })
    .expect("valid rates");
    let odds = LossOdds::new(&[2, 2], shape(1, 3), 3, &rates);
    assert_close(odds.by_volumes, loss_by_volumes(&[2, 2], 3, &rates), 1e-15);
    assert_close(odds.by_leaves, loss_by_leaves(shape(1, 3), 3, &rates), 1e-15);
}

#[test]
fn together_is_what_one_does_where_the_other_does_nothing() {
    let volumes_only = volume_rates(0.1, 30.0);
    let found = loss_together(&[3, 3, 3], shape(6, 3), 1000, &volumes_only);
    assert_close(found, loss_by_volumes(&[3, 3, 3], 3, &volumes_only), 1e-12);
    let leaves_only = FailureRates::new(FailureRateParts {
        volume_per_year: 1e-300,
        replacement_days: 30.0,
        leaf_per_year: 0.01,
        scrub_days: 30.0,
    })
    .expect("valid rates");
    let found = loss_together(&[3, 3, 3], shape(6, 3), 1000, &leaves_only);
    assert_close(found, loss_by_leaves(shape(6, 3), 1000, &leaves_only), 1e-10);
    assert_close(
        loss_together(&[33], shape(30, 3), 1 << 60, &leaf_rates(0.5, 30.0)),
        1.0,
        1e-12,
    );
}

#[test]
#[should_panic(expected = "8 shards of RS(6,3)")]
fn odds_of_half_a_block_are_not_asked_for() {
    let _ = LossOdds::new(&[3, 3, 2], shape(6, 3), 1, &volume_rates(0.1, 30.0));
}

#[test]
fn rates_out_of_range_are_refused_by_name() {
    let good = FailureRateParts {
        volume_per_year: 0.014,
        replacement_days: 7.0,
        leaf_per_year: 1e-6,
        scrub_days: 30.0,
    };
    assert_eq!(*FailureRates::new(good).expect("good").parts(), good);
    for bad in [0.0, -0.1, 1.0, 2.0, f64::NAN, f64::INFINITY] {
        let error = FailureRates::new(FailureRateParts {
            volume_per_year: bad,
            ..good
        });
        assert!(
            matches!(error, Err(FailureRatesError::VolumePerYear { .. })),
            "{bad}"
        );
    }
    for bad in [0.0, -7.0, 0.04, f64::NAN, f64::INFINITY] {
        let error = FailureRates::new(FailureRateParts {
            replacement_days: bad,
            ..good
        });
        assert!(
            matches!(error, Err(FailureRatesError::ReplacementDays { .. })),
            "{bad}"
        );
        let error = FailureRates::new(FailureRateParts {
            scrub_days: bad,
            ..good
        });
        assert!(matches!(error, Err(FailureRatesError::ScrubDays { .. })), "{bad}");
    }
    for bad in [-1e-9, 1.0, f64::NAN, f64::INFINITY] {
        let error = FailureRates::new(FailureRateParts {
            leaf_per_year: bad,
            ..good
        });
        assert!(
            matches!(error, Err(FailureRatesError::LeafPerYear { .. })),
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn odds_are_odds_and_follow_what_makes_them_worse(
        counts in proptest::collection::vec(0_u16..6, 1..8), parity in 0_u16..12,
        (p, q) in (0.001_f64..0.9, 0.0_f64..0.5), (days, scrub) in (0.05_f64..500.0, 0.05_f64..500.0),
        columns in any::<u16>(),
    ) {
        let rates = |p, days, q, scrub| FailureRates::new(FailureRateParts {
            volume_per_year: p, replacement_days: days, leaf_per_year: q, scrub_days: scrub,
        }).expect("valid rates");
        let base = rates(p, days, q, scrub);
        let is_at_most = |low: f64, high: f64| low <= high * (1.0 + 1e-9);
        let by_volumes = loss_by_volumes(&counts, parity, &base);
        prop_assert!((0.0..=1.0).contains(&by_volumes), "{by_volumes}");
        let total: u16 = counts.iter().sum();
        prop_assert_eq!(by_volumes > 0.0, total > parity);
        prop_assert!(is_at_most(by_volumes, loss_by_volumes(&counts, parity, &rates(p * 1.1, days, q, scrub))));
        prop_assert!(is_at_most(by_volumes, loss_by_volumes(&counts, parity, &rates(p, days * 1.5, q, scrub))));
        prop_assert!(is_at_most(loss_by_volumes(&counts, parity + 1, &base), by_volumes));
        prop_assert!(is_at_most(by_volumes, loss_without_replacement(&counts, parity, p)));
        if let Ok(shape) = CodeShape::new(total.saturating_sub(parity), parity) {
            let odds = LossOdds::new(&counts, shape, columns.into(), &base);
            let together = loss_together(&counts, shape, columns.into(), &base);
            prop_assert!((0.0..=1.0).contains(&odds.by_leaves) && (0.0..=1.0).contains(&together));
            prop_assert!(is_at_most(odds.total(), together), "{odds:?}, {together:e}");
        }
    }
}
