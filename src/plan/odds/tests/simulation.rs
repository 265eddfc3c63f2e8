//! The same model, played event by event: each volume and each leaf for itself, with a seed.

use super::*;

const RUNS: u32 = 100_000;

/// Random numbers of splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((number ^ (number >> 31)) >> 32).expect("32 bits are left")
    }

    /// Between 0 and 1, and neither.
    fn part(&mut self) -> f64 {
        (f64::from(self.next()) + 0.5) / 4_294_967_296.0
    }

    fn time_until(&mut self, rate: f64) -> f64 {
        -self.part().ln() / rate
    }
}

/// Says whether a block is lost in one year.
fn is_lost_by_volumes(counts: &[u16], parity: u16, rates: &FailureRates, random: &mut Random) -> bool {
    let (failures, replacements) = (rates.failures_per_year(), rates.replacements_per_year());
    let mut volumes: Vec<(f64, bool)> = counts
        .iter()
        .map(|_| (random.time_until(failures), false))
        .collect();
    let mut lost = 0;
    loop {
        let next = (0..counts.len()).min_by(|one, other| volumes[*one].0.total_cmp(&volumes[*other].0));
        let volume = next.expect("there are volumes");
        let (now, is_down) = volumes[volume];
        if now > 1.0 {
            return false;
        }
        if is_down {
            lost -= counts[volume];
            volumes[volume] = (now + random.time_until(failures), false);
        } else {
            lost += counts[volume];
            volumes[volume] = (now + random.time_until(replacements), true);
        }
        if lost > parity {
            return true;
        }
    }
}

/// Returns which part of many years is one of loss, and the standard error of it.
fn share(seed: u64, mut is_lost: impl FnMut(&mut Random) -> bool) -> (f64, f64) {
    let mut random = Random(seed);
    let lost: u32 = (0..RUNS).map(|_| u32::from(is_lost(&mut random))).sum();
    let share = f64::from(lost) / f64::from(RUNS);
    (share, (share * (1.0 - share) / f64::from(RUNS)).sqrt())
}

#[test]
fn many_simulated_years_lose_a_block_as_often_as_the_chain_says() {
    let unequal = spread_counts(shape(30, 3), 17);
    let placements: &[(&[u16], u16, f64, f64)] = &[
        (&[33], 3, 0.3, 30.0),
        (&[5, 4, 4, 4, 4, 4, 4, 4], 3, 0.1, 30.0),
        (&[3; 11], 3, 0.2, 30.0),
        (&[4], 3, 0.3, 30.0),
        (&[2, 2], 3, 0.5, 60.0),
        (&[2, 1, 1], 3, 0.6, 100.0),
        (&[1, 1, 1, 1], 3, 0.8, 100.0),
        (&[3, 3, 3], 3, 0.4, 30.0),
        (&[2, 2, 2, 2, 2, 2], 4, 0.5, 40.0),
        (&[3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2], 3, 0.2, 20.0),
        (&unequal, 3, 0.2, 20.0),
        (&[7, 5, 3, 2, 1, 1, 1], 9, 0.7, 60.0),
        (&[1; 33], 3, 0.5, 10.0),
    ];
    for (seed, (counts, parity, p, days)) in (1..).zip(placements) {
        let rates = volume_rates(*p, *days);
        let (share, error) = share(seed, |random| is_lost_by_volumes(counts, *parity, &rates, random));
        let odds = loss_by_volumes(counts, *parity, &rates);
        assert!(share > 0.005 && share < 0.9, "{counts:?}: {share} says little");
        assert!(
            (share - odds).abs() < 4.0 * error,
            "seed {seed}, {counts:?}: {share} +- {error} in {RUNS} years, {odds} by the chain"
        );
    }
}

/// Says whether a file of `columns` columns is lost in one year, by volumes, leaves or both. A replaced volume has good
/// leaves; a scrub repairs all that are left.
fn is_lost_together(
    counts: &[u16],
    columns: usize,
    parity: u16,
    rates: &FailureRates,
    random: &mut Random,
) -> bool {
    let (failures, replacements) = (rates.failures_per_year(), rates.replacements_per_year());
    let leaf_failures = -f64::ln_1p(-rates.leaf_per_scrub()) * rates.scrubs_per_year();
    let homes: Vec<usize> = (0..counts.len())
        .flat_map(|volume| vec![volume; usize::from(counts[volume])])
        .collect();
    let mut volumes: Vec<(f64, bool)> = counts
        .iter()
        .map(|_| (random.time_until(failures), false))
        .collect();
    let leaves = homes.len() * columns;
    let mut is_bad = vec![false; leaves];
    let all_leaves = leaf_failures * f64::from(u32::try_from(leaves).expect("few"));
    let scrub_years = 1.0 / rates.scrubs_per_year();
    let (mut next_scrub, mut next_leaf) = (scrub_years, random.time_until(all_leaves));
    loop {
        let next = (0..counts.len()).min_by(|one, other| volumes[*one].0.total_cmp(&volumes[*other].0));
        let volume = next.expect("there are volumes");
        let now = volumes[volume].0.min(next_scrub).min(next_leaf);
        if now > 1.0 {
            return false;
        }
        if now >= volumes[volume].0 {
            let is_down = volumes[volume].1;
            let rate = if is_down { failures } else { replacements };
            volumes[volume] = (now + random.time_until(rate), !is_down);
            (0..leaves)
                .filter(|leaf| homes[leaf / columns] == volume)
                .for_each(|leaf| is_bad[leaf] = false);
        } else if now >= next_scrub {
            is_bad.fill(false);
            next_scrub += scrub_years;
        } else {
            let leaf = usize::try_from(random.next()).expect("a small machine") % leaves;
            is_bad[leaf] = !volumes[homes[leaf / columns]].1;
            next_leaf = now + random.time_until(all_leaves);
        }
        let is_gone =
            |column: usize, shard: usize| volumes[homes[shard]].1 || is_bad[shard * columns + column];
        let gone = |column: usize| (0..homes.len()).filter(|shard| is_gone(column, *shard)).count();
        if (0..columns).any(|column| gone(column) > usize::from(parity)) {
            return true;
        }
    }
}

#[test]
fn many_simulated_years_with_bad_leaves_lose_a_file_not_more_often_than_said_nor_much_less() {
    // Counts, parity, how many bad leaves are survived while a volume is down, and how bad leaves are.
    let placements: &[(&[u16], u16, f64, f64)] = &[
        (&[3, 3, 3], 3, 0.0, 0.01),
        (&[1, 1], 1, 0.0, 0.05),
        (&[2, 1, 1], 3, 1.0, 0.6),
        (&[2, 2, 2, 2, 2, 2], 4, 2.0, 0.2),
        (&[1, 1, 1, 1], 2, 1.0, 0.3),
    ];
    for (seed, (counts, parity, survived, leaf_per_year)) in (101..).zip(placements) {
        let rates = FailureRates::new(FailureRateParts {
            volume_per_year: 0.3,
            replacement_days: 10.0,
            leaf_per_year: *leaf_per_year,
            scrub_days: 73.0,
        })
        .expect("valid rates");
        let total: u16 = counts.iter().sum();
        let shape = shape(total - parity, *parity);
        let (share, error) = share(seed, |random| {
            is_lost_together(counts, 3, *parity, &rates, random)
        });
        let odds = loss_together(counts, shape, 3, &rates);
        let apart = LossOdds::new(counts, shape, 3, &rates).total();
        assert!(share > 0.001, "{counts:?}: {share} says little");
        assert!(apart < share - 4.0 * error, "{counts:?}: {apart} alone would do");
        assert!(
            share < odds + 4.0 * error,
            "seed {seed}, {counts:?}: {share} +- {error}, at most {odds} said"
        );
        let factor = survived + 2.0;
        assert!(
            odds < factor * (share + 4.0 * error),
            "seed {seed}, {counts:?}: {share} +- {error}, {odds} said"
        );
    }
}
