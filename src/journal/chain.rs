//! Which records are the chain, which were abandoned, and which are another way that the archive went. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::record::RecordEntry;
use crate::{
    error::{ChainHead, JournalError},
    format::JournalState,
    merkle::ChainHash,
    seeded_bugs::{SeededBug, is_on},
    units::Epoch,
};

/// A record that ends a chain; epoch zero and [`ChainHash::NONE`] before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its hash.
    pub hash: ChainHash,
}

impl Head {
    /// Returns what the state of a journal stands behind.
    pub const fn of(state: &JournalState) -> Self {
        Self {
            epoch: state.epoch,
            hash: state.hash,
        }
    }
}

impl From<Head> for ChainHead {
    fn from(head: Head) -> Self {
        Self {
            epoch: head.epoch,
            hash: head.hash.to_bytes(),
        }
    }
}

/// Two valid records of which neither follows the other, and neither was abandoned knowingly: the archive went two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fork {
    /// The newest record of the one way: the head of the chain or of an older part.
    pub first: Head,
    /// The newest record of the other.
    pub second: Head,
}

impl From<Fork> for JournalError {
    fn from(fork: Fork) -> Self {
        Self::Forked {
            first: fork.first.into(),
            second: fork.second.into(),
        }
    }
}

/// Older records that hang together, cut off from the chain by lost ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first epoch that it has.
    pub first: Epoch,
    /// Its newest record. When its epoch is the one right before the newer part, the record that the newer part follows is
    /// lost and this is another.
    pub head: Head,
}

/// All whole records that were found, each once with all places where it stands.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<Head, RecordEntry>);

type NewestFollowers = BTreeMap<Head, Head>;

/// What [`Records`] come to.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    /// Ascending, without gaps, each with the hash of the one before.
    pub(super) chain: Vec<RecordEntry>,
    /// Newest first.
    pub(super) older: Vec<Part>,
    pub(super) forks: Vec<Fork>,
    pub(super) abandoned: Vec<Head>,
}

impl Records {
    pub(super) fn add(&mut self, entry: RecordEntry) {
        match self.0.get_mut(&entry.head) {
            Some(known) => known.spots.extend(entry.spots),
            None => drop(self.0.insert(entry.head, entry)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RecordEntry> {
        self.0.values()
    }

    /// Takes out the records that follow `head`, directly or through others; leaves the rest.
    pub(super) fn take_followers(&mut self, head: Head) -> Self {
        let mut reached = BTreeSet::from([head]);
        let mut followers = BTreeMap::new();
        // In ascending order of epochs, so that each one comes behind the one it follows.
        for entry in self.0.values() {
            let is_of_number = |one: &Head| one.epoch.next() == entry.head.epoch;
            let is_follower = before(entry).is_some_and(|before| reached.contains(&before))
                || (is_on(SeededBug::PreviousHashNotCompared) && reached.iter().any(is_of_number));
            if is_follower {
                reached.insert(entry.head);
                followers.insert(entry.head, entry.clone());
            }
        }
        self.0.retain(|head, _| !followers.contains_key(head));
        Self(followers)
    }

    /// Finds the chain: the newest record and all before it that hang together; then the same below it, for what was cut
    /// off.
    pub(super) fn assemble(&self) -> Assembled {
        let mut result = Assembled::default();
        let newest = self.newest_followers();
        let mut ceiling = None;
        while let Some(head) = self.best_head_below(ceiling, &newest) {
            let part = self.walk_back(head);
            let first = part.last().map_or(head.epoch, |entry| entry.head.epoch);
            self.judge_rivals(&part, &newest, &mut result);
            if result.chain.is_empty() {
                result.chain = part.into_iter().rev().cloned().collect();
            } else {
                result.older.push(Part { first, head });
            }
            ceiling = Some(first);
        }
        result.forks.sort_unstable();
        result.forks.dedup();
        result
    }

    /// Of the newest epoch below `ceiling` the record beside which most others are abandoned.
    fn best_head_below(&self, ceiling: Option<Epoch>, newest: &NewestFollowers) -> Option<Head> {
        let below = |head: &Head| ceiling.is_none_or(|ceiling| head.epoch < ceiling);
        let epoch = self.0.keys().rev().find(|head| below(head))?.epoch;
        let heads = self.of_epoch(epoch);
        let rank = |entry: &&RecordEntry| {
            let mut judged = Assembled::default();
            self.judge_rivals(&self.walk_back(entry.head), newest, &mut judged);
            (judged.forks.len(), usize::MAX - entry.spots.len(), entry.head)
        };
        heads.min_by_key(rank).map(|entry| entry.head)
    }

    fn of_epoch(&self, epoch: Epoch) -> impl Iterator<Item = &RecordEntry> {
        let first = Head {
            epoch,
            hash: ChainHash::NONE,
        };
        let last = Head {
            epoch,
            hash: ChainHash::from_bytes([u8::MAX; 32]),
        };
        self.0.range(first..=last).map(|(_, entry)| entry)
    }

    /// The records up to `head` that hang together, newest first.
    fn walk_back(&self, head: Head) -> Vec<&RecordEntry> {
        let mut part = Vec::new();
        let mut next = self.0.get(&head);
        while let Some(entry) = next {
            part.push(entry);
            next = before(entry).and_then(|head| self.0.get(&head));
        }
        part
    }

    /// Sorts the records that are of the same epoch as one of `part` and another into abandoned ones and forks.
    fn judge_rivals(&self, part: &[&RecordEntry], newest: &NewestFollowers, result: &mut Assembled) {
        for chosen in part {
            for rival in self
                .of_epoch(chosen.head.epoch)
                .filter(|rival| rival.head != chosen.head)
            {
                // Its writer did not count on it: nothing follows, and it stands only where the chosen one was not to be.
                let is_named = rival.spots.iter().any(|spot| chosen.copies.contains(spot.place));
                let newest = newest.get(&rival.head).copied().unwrap_or(rival.head);
                if is_named || newest != rival.head {
                    result.forks.push(Fork {
                        first: part[0].head,
                        second: newest,
                    });
                } else {
                    result.abandoned.push(rival.head);
                }
            }
        }
    }

    /// For each record that another follows the newest one that does, directly or through others.
    fn newest_followers(&self) -> NewestFollowers {
        let mut newest = BTreeMap::new();
        for entry in self.0.values().rev() {
            let of_entry = newest.get(&entry.head).copied().unwrap_or(entry.head);
            if let Some(before) = before(entry) {
                let known: &mut Head = newest.entry(before).or_insert(of_entry);
                *known = of_entry.max(*known);
            }
        }
        newest
    }
}

/// The record that one follows; `None` for the record of epoch 0, which no parser lets through.
fn before(entry: &RecordEntry) -> Option<Head> {
    Some(Head {
        epoch: Epoch::new(entry.head.epoch.get().checked_sub(1)?),
        hash: entry.previous,
    })
}
