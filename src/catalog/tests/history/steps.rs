//! What can happen in a history, and how often it does.

use proptest::prelude::*;

use super::super::{Knowledge, LENGTHS};

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Stores a file of one of [`LENGTHS`] under one of a few names, or replaces it; some have descriptors.
    Store(u8, usize, Descriptor),
    Directory(u8),
    /// Replaces a file by another one, and keeps it as a version.
    Replace(u8, usize),
    RemoveKept(u8),
    /// Gives a name, or all below a directory, another one.
    Rename(u8, u8),
    Remove(u8),
    Touch(u8),
    Damage(Vec<Found>, Knowledge),
    Whole(Vec<(u8, Address)>),
    /// Parity that was encoded again and found to be right.
    Right(Vec<(u8, Address)>),
    /// Extent, bytes in sixteenths of it, which of the frames are damaged, a frame that it believes to have read.
    Scrub(u8, (u64, u64), u8, u8),
    ScrubAll,
    Verify(u8, (u64, u64)),
    Relocate(Vec<u8>, Address, Target),
    Shorten(u8),
    RemoveExtent(u8),
    Repairs(u64),
    Commit,
    Abort,
    Reopen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descriptor {
    None,
    Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    New,
    Known,
}

/// Where a shard is said to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Right,
    Outdated,
}

#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) shard: u8,
    pub(super) columns: u8,
    pub(super) kind: u8,
    pub(super) part: u8,
    pub(super) since: i64,
    pub(super) address: Address,
}

fn addresses() -> impl Strategy<Value = Address> {
    prop_oneof![6 => Just(Address::Right), 1 => Just(Address::Outdated)]
}

fn found() -> impl Strategy<Value = Found> {
    let what = (0_u8..24, any::<u8>(), 0_u8..5, 0_u8..4);
    (what, 0_i64..4, addresses()).prop_map(|((shard, columns, kind, part), since, address)| Found {
        shard,
        columns,
        kind,
        part,
        since,
        address,
    })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || 0_u8..6;
    let range = || (0_u64..17, 0_u64..20);
    let descriptor = prop_oneof![2 => Just(Descriptor::None), 1 => Just(Descriptor::Stored)];
    let knowledge = prop_oneof![Just(Knowledge::Whole), Just(Knowledge::Part)];
    let target = prop_oneof![Just(Target::New), Just(Target::Known)];
    let many = |most| prop::collection::vec(0_u8..24, 1..most);
    let step = prop_oneof![
        6 => (names(), 0..LENGTHS.len(), descriptor).prop_map(|(name, len, with)| Step::Store(name, len, with)),
        1 => names().prop_map(Step::Directory),
        2 => names().prop_map(Step::Remove),
        4 => (names(), 0..LENGTHS.len()).prop_map(|(name, len)| Step::Replace(name, len)),
        1 => names().prop_map(Step::RemoveKept),
        2 => (0_u8..9, 0_u8..9).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => names().prop_map(Step::Touch),
        8 => (prop::collection::vec(found(), 1..7), knowledge)
            .prop_map(|(found, knowledge)| Step::Damage(found, knowledge)),
        2 => prop::collection::vec((0_u8..24, addresses()), 1..7).prop_map(Step::Whole),
        2 => prop::collection::vec((0_u8..24, addresses()), 1..7).prop_map(Step::Right),
        4 => (0_u8..8, range(), any::<u8>(), any::<u8>())
            .prop_map(|(extent, range, bad, old)| Step::Scrub(extent, range, bad, old)),
        2 => Just(Step::ScrubAll),
        2 => (0_u8..8, range()).prop_map(|(extent, range)| Step::Verify(extent, range)),
        4 => (many(9), addresses(), target)
            .prop_map(|(shards, from, target)| Step::Relocate(shards, from, target)),
        1 => (0_u8..4).prop_map(Step::Shorten),
        1 => (0_u8..4).prop_map(Step::RemoveExtent),
        1 => (1_u64..9).prop_map(Step::Repairs),
        4 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 10..40)
}
