//! Bugs that tests switch on, one at a time, to see that something catches them.
//!
//! Without the feature `seeded-bugs`, which releases do not have, there is no switch and every question is answered with
//! `false` when the crate is compiled. With it the switch is one for the whole process, since an operation works on several
//! threads. docs/testing.md lists the bugs and the tests that catch them.

/// A mistake in the protocol, where somebody could make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "seeded-bugs"),
    expect(unreachable_pub, reason = "tests alone see it, with the feature")
)]
pub enum SeededBug {
    /// A point of progress is noted without the sync of what it counts.
    ProgressBeforeSync,
    /// Who goes on with a commit takes the frames since the point before the last for right.
    ProgressNotVerified,
    /// Records of the journal that the catalog lacks are not applied.
    JournalNotApplied,
    /// The last record that the catalog lacks is applied and not written again.
    RecordNotRestated,
    /// A copy of the journal gets a new segment without the records that it lacks.
    JournalHealedWithoutRecords,
    /// Of a record only the number is compared with the one that it follows.
    PreviousHashNotCompared,
    /// A sync of the journal that failed is tried again and believed.
    FailedJournalSyncBelieved,
    /// A journal and a catalog that went different ways are used together.
    ForkNotRefused,
    /// A removal gets no record in the journal.
    RemovalWithoutRecord,
    /// A change is acknowledged when the journal has it, and the catalog does not get it.
    AcknowledgedBeforeVisible,
    /// No slot of a volume hears of an epoch.
    EpochNotAnnounced,
    /// A reader of an old catalog is not told that it is one.
    OldCatalogNotTold,
    /// A commit that waits is taken up or given back without a look into the journal.
    ClaimWithoutJournal,
    /// A commit of a name leaves an older one of it that waits.
    WaitingNotEnded,
    /// An older commit of a name is resumed over a newer one.
    OutdatedResumed,
    /// The sessions of the dead are removed before what they owned is settled.
    SessionsEndBeforeSettling,
    /// A process that closes its archive ends its session, whatever it leaves.
    SessionEndsUnsettled,
    /// What a commit has taken is given back in the catalog, and its bytes stay.
    BytesNotGivenBack,
    /// What a commit that goes on has no use for any more stays behind the ends of its extents.
    SpareRoomKept,
    /// What is given back is cut below what others have published.
    CutBelowLiveBytes,
    /// An extent is gone on with that was not cut back to its committed end.
    ExtentNotCutBack,
    /// A sync of an extent that failed is tried again and believed.
    FailedSyncBelieved,
    /// A commit begins inside the last committed sector of an extent.
    LiveRangeReused,
    /// The second shard of a block is not written.
    ShardForgotten,
    /// Two shards of a block go into one extent.
    ShardsTogether,
    /// What a removal leaves dead is given back before its record is written.
    RoomGivenBackTooEarly,
    /// Pages are given back that something lives in besides.
    SharedPagesPunched,
    /// What a removed file took is not taken off the totals.
    TotalsNotReduced,
    /// A leaf is believed without its hash.
    LeafNotVerified,
    /// A leaf table is believed without its digest.
    TableNotVerified,
    /// The first parity shard of each block is wrong in one column, and hashed like that.
    OneParityWrong,
    /// All parity shards of each block are wrong in one column, and hashed like that.
    AllParityWrong,
    /// The first parity shard of each block is wrong in the table column, and hashed like that.
    TableColumnWrong,
    /// The first outer parity block of each group is wrong in one leaf, hashed like that, and has inner parity of that.
    OneSumWrong,
    /// All outer parity blocks of each group are.
    AllSumsWrong,
}

#[cfg(feature = "seeded-bugs")]
pub use self::switch::{Switched, switch_on};

/// Says whether a bug is switched on.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn is_on(_bug: SeededBug) -> bool {
    false
}

/// Says whether a bug is switched on.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn is_on(bug: SeededBug) -> bool {
    switch::is_on(bug)
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::sync::{Mutex, PoisonError};

    use crate::seeded_bugs::SeededBug;

    static ON: Mutex<Option<SeededBug>> = Mutex::new(None);

    /// A bug is switched on as long as this lives.
    #[derive(Debug)]
    #[must_use]
    pub struct Switched(());

    /// Switches a bug on, for the whole process.
    ///
    /// # Panics
    /// When another one is on.
    pub fn switch_on(bug: SeededBug) -> Switched {
        let mut on = ON.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*on, None, "one bug at a time");
        *on = Some(bug);
        Switched(())
    }

    pub(super) fn is_on(bug: SeededBug) -> bool {
        *ON.lock().unwrap_or_else(PoisonError::into_inner) == Some(bug)
    }

    impl Drop for Switched {
        fn drop(&mut self) {
            *ON.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}
