//! Whether a history of one name has one order that explains every answer: linearizability of a register.
//!
//! Knows no archive, no process and no clock: operations have a begin, an end and an answer, and the register holds nothing or
//! one content. The search is that of Wing and Gong (1993): take any operation before which no other one has ended, ask
//! whether the register explains its answer, and go on behind it; whoever comes to a state a second time turns back. A state
//! is the set of what is done and the value, so a history costs as many of them as operations overlap, not as it is long.
//!
//! What a dead process has begun may have happened or not. Such an operation is put in only where the next answer needs it:
//! everywhere else it can as well come later, or never.

use std::{cmp::Reverse, collections::HashSet, fmt};

use super::content::len_bytes;

/// What has not ended, and what has no limit.
pub const NEVER: u64 = u64::MAX;

/// One operation on one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// When it began.
    pub begin: u64,
    /// When its answer was there; of one that may have happened, the moment behind which it does not happen any more.
    pub end: u64,
    /// A second clock, of the archive: the place of the operation among its publications lies in this range. The n-th
    /// publication is at 2 n, what is seen behind it at 2 n + 1.
    pub places: (u64, u64),
    /// What it did.
    pub step: Step,
    /// Whether it did.
    pub certainty: Certainty,
    /// Which commit it is about, where it may be one that somebody else goes on with: it happens once.
    pub commit: u64,
}

/// Whether an operation happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Its answer is known.
    Certain,
    /// Nobody knows: whoever asked for it is dead.
    Perhaps,
}

/// What an operation did to the register, as far as its answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It holds a content now.
    Store {
        /// Which.
        content: u64,
        /// What it held before.
        over: Over,
    },
    /// It held a content of this length, if that is known, and holds nothing now.
    Remove {
        /// The length.
        len_bytes: Option<u64>,
    },
    /// It holds this, or nothing.
    See(Option<u64>),
    /// It holds a content of this length.
    SeeLen(u64),
}

/// What a register held before something was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing.
    Nothing,
    /// Something.
    Something,
    /// Nothing, or what was stored.
    NothingOrSame,
    /// Whatever it may be.
    Anything,
}

/// Where no order goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexplained {
    /// Nothing that is left explains the answers.
    Stuck {
        /// How many operations the longest order has.
        explained: usize,
        /// What the register holds behind it.
        value: Option<u64>,
        /// Operations that overlap there: those that could not be put in, and those just before.
        around: Vec<Operation>,
    },
    /// The search was given up: too much overlaps.
    TooWide {
        /// States that were looked at.
        states: usize,
    },
}

impl fmt::Display for Unexplained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck {
                explained,
                value,
                around,
            } => {
                write!(out, "{explained} are explained, then it holds {value:?}")?;
                let first = around.iter().map(|operation| operation.begin).min().unwrap_or(0);
                around.iter().try_for_each(|operation| {
                    let (begin, end) = (operation.begin - first, operation.end.saturating_sub(first));
                    let Operation {
                        places,
                        step,
                        certainty,
                        commit,
                        ..
                    } = operation;
                    write!(
                        out,
                        "\n  {begin} to {end} ns, {places:?}: {certainty:?} {commit} {step:?}"
                    )
                })
            }
            Self::TooWide { states } => write!(out, "undecided after {states} states"),
        }
    }
}

/// States that are looked at before a search is given up.
const MOST_STATES: usize = 3_000_000;

/// Looks for an order of a history that begins with nothing; returns how many states that took.
///
/// # Errors
/// Where there is none.
pub fn explain(history: &[Operation]) -> Result<usize, Unexplained> {
    let search = Search::new(history);
    let mut waiting = vec![State::default()];
    let mut seen: HashSet<State> = HashSet::from([State::default()]);
    let mut furthest = State::default();
    while let Some(state) = waiting.pop() {
        if state.base == search.certain.len() {
            return Ok(seen.len());
        }
        if seen.len() > MOST_STATES {
            return Err(Unexplained::TooWide { states: seen.len() });
        }
        for next in search.after(&state) {
            if next.len() > furthest.len() {
                furthest = next.clone();
            }
            if seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    Err(search.stuck(&furthest))
}

impl Step {
    /// Returns what the register holds afterwards; `None` where it cannot have been so.
    fn after(self, held: Held) -> Option<Held> {
        let Held(value) = held;
        match self {
            Self::Store { content, over } => {
                let is_right = match over {
                    Over::Nothing => value.is_none(),
                    Over::Something => value.is_some(),
                    Over::NothingOrSame => value.is_none() || value == Some(content),
                    Over::Anything => true,
                };
                is_right.then_some(Held(Some(content)))
            }
            Self::Remove { len_bytes: len } => {
                let is_right = value.is_some_and(|held| len.is_none_or(|len| len == len_bytes(held)));
                is_right.then_some(Held(None))
            }
            Self::See(content) => (value == content).then_some(held),
            Self::SeeLen(len) => value.is_some_and(|held| len_bytes(held) == len).then_some(held),
        }
    }

    /// Says whether it may be right about different values and changes none: then what happened before it is open.
    const fn is_vague(self) -> bool {
        matches!(self, Self::SeeLen(_))
    }
}

/// What the register holds: nothing, or one content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Held(Option<u64>);

/// What is put in, and what the register holds behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct State {
    /// All certain operations before this one are in.
    base: usize,
    /// Those behind it that are in, in order.
    done: Vec<usize>,
    /// Those of the others that are in, in order.
    used: Vec<usize>,
    value: Held,
}

impl State {
    fn len(&self) -> usize {
        self.base + self.done.len()
    }

    fn add(&mut self, index: usize) {
        let place = self.done.partition_point(|&other| other < index);
        self.done.insert(place, index);
        while self.done.first() == Some(&self.base) {
            self.done.remove(0);
            self.base += 1;
        }
    }

    /// Returns the number behind the last certain operation that is in.
    fn high(&self) -> usize {
        self.done.last().map_or(self.base, |last| last + 1)
    }
}

struct Search<'a> {
    /// In the order of their begin.
    certain: Vec<&'a Operation>,
    perhaps: Vec<&'a Operation>,
    /// The first end, and the first end of places, of all certain ones from each on.
    first_ends: Vec<(u64, u64)>,
}

impl<'a> Search<'a> {
    fn new(history: &'a [Operation]) -> Self {
        let of = |certainty| {
            let mut found: Vec<&Operation> = history
                .iter()
                .filter(|operation| operation.certainty == certainty)
                .collect();
            found.sort_by_key(|operation| operation.begin);
            found
        };
        let certain = of(Certainty::Certain);
        let mut first_ends = vec![(NEVER, NEVER)];
        for operation in certain.iter().rev() {
            let (end, place) = first_ends[first_ends.len() - 1];
            first_ends.push((operation.end.min(end), operation.places.1.min(place)));
        }
        first_ends.reverse();
        Self {
            certain,
            perhaps: of(Certainty::Perhaps),
            first_ends,
        }
    }

    /// Returns the states that one more certain operation leads to: all, or one that is as good as any.
    fn after(&self, state: &State) -> Vec<State> {
        let (first_end, first_place) = self.first_ends(state);
        let high = state.high();
        let mut found = Vec::new();
        for index in state.base..self.certain.len() {
            let operation = self.certain[index];
            if operation.begin > first_end {
                break;
            }
            let is_in = index < high && state.done.binary_search(&index).is_ok();
            if is_in || operation.places.0 > first_place {
                continue;
            }
            let put = self.put(state, index);
            if let Some(next) = &put
                && matches!(operation.step, Step::See(_) | Step::SeeLen(_))
                && self.is_free(state, operation)
            {
                return vec![next.clone()];
            }
            let is_explained = put.map(|next| found.push((operation.end, next))).is_some();
            if !is_explained || operation.step.is_vague() {
                for before in self.with_others(state, (first_end, first_place)) {
                    let put = self.put(&before, index);
                    found.extend(put.map(|next| (operation.end, next)));
                }
            }
        }
        // The last one is tried first: what ends first, as it mostly was.
        found.sort_by_key(|(end, _)| Reverse(*end));
        found.into_iter().map(|(_, next)| next).collect()
    }

    /// Says whether an operation that changes nothing can as well come at once: nothing that may have happened has to come
    /// before it.
    fn is_free(&self, state: &State, operation: &Operation) -> bool {
        let last_begin = self.last_begin(state);
        let has_to_hurry = |other: &&Operation| other.end >= last_begin && other.end < operation.begin;
        !self.perhaps.iter().any(has_to_hurry)
    }

    fn put(&self, state: &State, index: usize) -> Option<State> {
        let value = self.certain[index].step.after(state.value)?;
        let mut next = State {
            value,
            ..state.clone()
        };
        next.add(index);
        Some(next)
    }

    /// Returns the states that one operation that may have happened leads to, and those that two lead to: whatever the next
    /// answer needs, the last of them decides, and one before it makes room.
    fn with_others(&self, state: &State, first: (u64, u64)) -> Vec<State> {
        let one: Vec<State> = self.with_other(state, first);
        let two: Vec<State> = one
            .iter()
            .filter(|state| state.value.0.is_none())
            .flat_map(|state| self.with_other(state, first))
            .collect();
        one.into_iter().chain(two).collect()
    }

    fn with_other(&self, state: &State, (first_end, first_place): (u64, u64)) -> Vec<State> {
        let last_begin = self.last_begin(state);
        let commits: Vec<u64> = state.used.iter().map(|&used| self.perhaps[used].commit).collect();
        let mut found = Vec::new();
        for (index, operation) in self.perhaps.iter().enumerate() {
            if operation.begin > first_end {
                break;
            }
            let is_late = operation.end < last_begin || operation.places.0 > first_place;
            if is_late || commits.contains(&operation.commit) {
                continue;
            }
            let Some(value) = operation.step.after(state.value) else {
                continue;
            };
            let mut next = State {
                value,
                ..state.clone()
            };
            let place = next.used.partition_point(|&used| used < index);
            next.used.insert(place, index);
            found.push(next);
        }
        found
    }

    /// Returns when the first of those that are not in has ended, by both clocks.
    fn first_ends(&self, state: &State) -> (u64, u64) {
        let high = state.high();
        let mut first = self.first_ends[high];
        for index in (state.base..high).filter(|index| state.done.binary_search(index).is_err()) {
            let operation = self.certain[index];
            first = (first.0.min(operation.end), first.1.min(operation.places.1));
        }
        first
    }

    /// Returns when the last of those that are in began.
    fn last_begin(&self, state: &State) -> u64 {
        let certain = state.high().checked_sub(1).map(|last| self.certain[last].begin);
        let others = state.used.iter().map(|&used| self.perhaps[used].begin);
        others.chain(certain).max().unwrap_or(0)
    }

    fn stuck(&self, furthest: &State) -> Unexplained {
        let from = furthest.base.saturating_sub(4);
        let around = self.certain[from..].iter().take(12).copied();
        let is_near = |operation: &&&Operation| {
            self.certain
                .get(furthest.base)
                .is_some_and(|stuck| operation.end >= stuck.begin && operation.begin <= stuck.end)
        };
        let others = self.perhaps.iter().filter(is_near).take(8).copied();
        Unexplained::Stuck {
            explained: furthest.len(),
            value: furthest.value.0,
            around: around.chain(others).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
