//! Volumes that fail and come back, as a Markov chain in continuous time.
//!
//! A state says how many volumes of each count are down; the states in which a block is lost are one, which is never left.
//! From one step of time to one of twice the length:
//!
//! ```text
//! stay(2h)[i][j] = sum over s of stay(h)[i][s] stay(h)[s][j]           in state j after h + h, and not lost meanwhile
//! lost(2h)[i]    = lost(h)[i] + sum over s of stay(h)[i][s] lost(h)[s]   lost in the first half, or not and then in the second
//! ```
//!
//! The first step is so short that not more than one event is expected in it, and is summed up over the number of events
//! (uniformization, Jensen 1953); doubled often enough it is a year. Every term is positive. Each doubling may double the
//! relative error, of some 1e-16 in the beginning, and there are at most 22 or so: six digits are left in the worst case,
//! twelve where a volume takes days to replace.

use std::collections::BTreeMap;

use super::FailureRates;

/// Most states of a chain. As many has a block that loses its 255 parity shards one volume after another.
const MAX_STATES: usize = 256;

/// How many terms of the first step are summed up behind the last event that can matter: the next is below `1 / 20!`.
const TERMS_BEHIND: usize = 20;

/// Volumes that hold equally many shards of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VolumeGroup {
    shards: u16,
    volumes: u32,
}

impl VolumeGroup {
    /// Sorts volumes into groups, those of the fewest shards first; volumes that hold none are in no group.
    pub(super) fn of_counts(counts: &[u16]) -> Vec<Self> {
        let mut groups = BTreeMap::new();
        for shards in counts.iter().copied().filter(|shards| *shards > 0) {
            *groups.entry(shards).or_insert(0) += 1;
        }
        let group = |(shards, volumes)| Self { shards, volumes };
        groups.into_iter().map(group).collect()
    }
}

/// Returns the probability that within a year volumes with more than `parity` shards are down at once, or leaves lose a
/// file before; see [`super::loss`] for `leaf_hazard`.
///
/// # Panics
/// When the shards are more than 256, or not more than `parity`.
pub(super) fn loss_within_a_year(
    mut groups: Vec<VolumeGroup>,
    parity: u16,
    rates: &FailureRates,
    leaf_hazard: impl Fn(u16) -> f64,
) -> f64 {
    let states = loop {
        match states(&groups, parity) {
            Some(states) => break states,
            None => merge_closest(&mut groups),
        }
    };
    let chain = Chain::new(&groups, &states, rates, leaf_hazard);
    let events_per_year = chain.events_per_year;
    assert!(events_per_year.is_finite(), "every rate is a number");
    let (mut years, mut doublings) = (1.0, 0);
    while events_per_year * years > 1.0 {
        years /= 2.0;
        doublings += 1;
    }
    let mut step = chain.step(events_per_year * years);
    for _ in 0..doublings {
        step = step.doubled();
    }
    step.lost[0].min(1.0)
}

/// How many volumes of each group are down.
type State = Vec<u32>;

/// Returns every state in which at most `parity` shards are lost, sorted, and so the one in which all volumes are up first;
/// `None` when there are more than [`MAX_STATES`].
fn states(groups: &[VolumeGroup], parity: u16) -> Option<Vec<State>> {
    let mut states = vec![State::new()];
    for group in groups {
        let mut longer = Vec::new();
        for state in &states {
            let left = u32::from(parity) - lost_shards(groups, state);
            for down in 0..=group.volumes.min(left / u32::from(group.shards)) {
                longer.push([&state[..], &[down]].concat());
            }
            if longer.len() > MAX_STATES {
                return None;
            }
        }
        states = longer;
    }
    Some(states)
}

fn with_down(state: &State, group: usize, down: u32) -> State {
    let mut changed = state.clone();
    changed[group] = down;
    changed
}

fn lost_shards(groups: &[VolumeGroup], state: &[u32]) -> u32 {
    groups
        .iter()
        .zip(state)
        .map(|(group, down)| u32::from(group.shards) * down)
        .sum()
}

/// Takes the volumes of one group for volumes of the next larger count: of the group for which that adds the fewest shards.
/// Whatever volumes are down, not fewer shards are lost then than before.
fn merge_closest(groups: &mut Vec<VolumeGroup>) {
    let added = |index: &usize| {
        let (group, next) = (groups[*index], groups[*index + 1]);
        u32::from(next.shards - group.shards) * group.volumes
    };
    let closest = (0..groups.len() - 1)
        .min_by_key(added)
        .expect("one group has at most as many states as there is parity, and one");
    let merged = groups.remove(closest);
    groups[closest].volumes += merged.volumes;
}

/// What may happen in each state.
struct Chain {
    /// Events of all kinds in a year, in the state that has most. The others have events too that change nothing, so that
    /// all have equally many.
    events_per_year: f64,
    /// By state: what an event leads to, and with which probability.
    next: Vec<Vec<(usize, f64)>>,
    /// By state: the probability that an event loses the file.
    lost: Vec<f64>,
}

impl Chain {
    fn new(
        groups: &[VolumeGroup],
        states: &[State],
        rates: &FailureRates,
        leaf_hazard: impl Fn(u16) -> f64,
    ) -> Self {
        let hazards: Vec<f64> = states
            .iter()
            .map(|state| {
                let lost = u16::try_from(lost_shards(groups, state)).expect("not more than the parity");
                leaf_hazard(lost)
            })
            .collect();
        let (failures, replacements) = (rates.failures_per_year(), rates.replacements_per_year());
        let mut next = vec![Vec::new(); states.len()];
        let mut lost: Vec<f64> = hazards
            .iter()
            .map(|hazard| hazard * rates.scrubs_per_year())
            .collect();
        for (from, state) in states.iter().enumerate() {
            for (index, group) in groups.iter().enumerate() {
                let (down, up) = (state[index], group.volumes - state[index]);
                if up > 0 {
                    let rate = f64::from(up) * failures;
                    match states.binary_search(&with_down(state, index, down + 1)) {
                        // The bad leaves that are there already lose the file, or not.
                        Ok(to) => {
                            next[from].push((to, rate * f64::exp(-hazards[to])));
                            lost[from] += rate * -f64::exp_m1(-hazards[to]);
                        }
                        Err(_) => lost[from] += rate,
                    }
                }
                if down > 0 {
                    let to = states
                        .binary_search(&with_down(state, index, down - 1))
                        .expect("fewer volumes are down");
                    next[from].push((to, f64::from(down) * replacements));
                }
            }
        }
        Self::uniform(next, lost)
    }

    /// Makes probabilities of rates.
    fn uniform(mut next: Vec<Vec<(usize, f64)>>, mut lost: Vec<f64>) -> Self {
        let rates: Vec<f64> = next
            .iter()
            .zip(&lost)
            .map(|(next, lost)| lost + next.iter().map(|(_, rate)| rate).sum::<f64>())
            .collect();
        let events_per_year = rates.iter().copied().fold(0.0, f64::max);
        for (from, rate) in rates.iter().enumerate() {
            next[from].push((from, events_per_year - rate));
            next[from]
                .iter_mut()
                .for_each(|(_, rate)| *rate /= events_per_year);
            lost[from] /= events_per_year;
        }
        Self {
            events_per_year,
            next,
            lost,
        }
    }

    /// Returns the step of time in which `events` events are expected, at most 1 of them.
    fn step(&self, events: f64) -> Step {
        let count = self.lost.len();
        let unit = |index: usize| {
            (0..count)
                .map(|other| if other == index { 1.0 } else { 0.0 })
                .collect()
        };
        // After exactly so many events.
        let mut after = Step {
            stay: (0..count).map(unit).collect(),
            lost: vec![0.0; count],
        };
        let mut weight = f64::exp(-events);
        let mut step = after.scaled(weight);
        let mut number = 0.0;
        // No state is further from the loss than there are states.
        for _ in 0..count + TERMS_BEHIND {
            number += 1.0;
            weight *= events / number;
            after = self.event_before(&after);
            step.add(&after, weight);
        }
        step
    }

    /// Returns what comes of one event and then of `after`.
    fn event_before(&self, after: &Step) -> Step {
        let mut before = Step {
            stay: vec![vec![0.0; self.lost.len()]; self.lost.len()],
            lost: self.lost.clone(),
        };
        for (from, next) in self.next.iter().enumerate() {
            for (to, probability) in next {
                before.lost[from] += probability * after.lost[*to];
                add_scaled(&mut before.stay[from], &after.stay[*to], *probability);
            }
        }
        before
    }
}

/// What happens within a step of time, by the state at its beginning.
struct Step {
    /// The probability of each state at the end.
    stay: Vec<Vec<f64>>,
    /// The probability that the file is lost.
    lost: Vec<f64>,
}

impl Step {
    fn doubled(&self) -> Self {
        let mut stay = vec![vec![0.0; self.lost.len()]; self.lost.len()];
        let mut lost = self.lost.clone();
        for (from, row) in self.stay.iter().enumerate() {
            for (between, probability) in row.iter().enumerate() {
                lost[from] += probability * self.lost[between];
                add_scaled(&mut stay[from], &self.stay[between], *probability);
            }
        }
        Self { stay, lost }
    }

    fn scaled(&self, weight: f64) -> Self {
        let scaled = |row: &Vec<f64>| row.iter().map(|value| value * weight).collect();
        Self {
            stay: self.stay.iter().map(scaled).collect(),
            lost: scaled(&self.lost),
        }
    }

    fn add(&mut self, other: &Self, weight: f64) {
        for (row, other) in self.stay.iter_mut().zip(&other.stay) {
            add_scaled(row, other, weight);
        }
        add_scaled(&mut self.lost, &other.lost, weight);
    }
}

fn add_scaled(sum: &mut [f64], values: &[f64], weight: f64) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value * weight;
    }
}
