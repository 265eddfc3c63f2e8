//! Steps of the protocol that the engine leaves out or takes in another order.

use bfdb::seeded_bugs::SeededBug;
use bfdb_fault_injection::{crashes::violation::Promise, simulation::CrashClass};

use super::trial::{Search, Way};

#[test]
fn a_point_of_progress_that_is_noted_before_its_bytes_are_synced_is_caught() {
    Search::crashes("killed-and-changed")
        .with_seed(3)
        .leaving(&[CrashClass::AllBut])
        .catches(SeededBug::ProgressBeforeSync, Promise::Whole);
}

#[test]
fn a_journal_that_is_ahead_and_not_applied_is_caught() {
    Search::crashes("reopened").catches(SeededBug::JournalNotApplied, Promise::Journal);
}

#[test]
fn a_record_that_is_applied_and_not_written_again_is_caught() {
    Search::crashes("journal-syncs").catches(SeededBug::RecordNotRestated, Promise::Journal);
}

#[test]
fn a_copy_of_the_journal_that_is_healed_without_its_records_is_caught() {
    Search::crashes("lost-copy").catches(SeededBug::JournalHealedWithoutRecords, Promise::Journal);
}

#[test]
fn a_failed_sync_of_the_journal_that_is_believed_the_second_time_is_caught() {
    Search::crashes("journal-sync").catches(SeededBug::FailedJournalSyncBelieved, Promise::Journal);
}

#[test]
fn a_removal_without_a_record_is_caught() {
    Search::crashes("remove").catches(SeededBug::RemovalWithoutRecord, Promise::Answers);
}

#[test]
fn a_change_that_is_acknowledged_before_it_is_visible_is_caught() {
    Search::crashes("segmented").catches(SeededBug::AcknowledgedBeforeVisible, Promise::Journal);
}

#[test]
fn an_epoch_that_no_slot_hears_of_is_caught() {
    Search::crashes("reopened").catches(SeededBug::EpochNotAnnounced, Promise::Opens);
}

#[test]
fn an_old_catalog_that_no_reader_is_told_of_is_caught() {
    Search::crashes("old-catalog")
        .leaving(&[CrashClass::Everything])
        .catches(SeededBug::OldCatalogNotTold, Promise::Content);
}

#[test]
fn a_commit_that_is_taken_up_without_a_look_into_the_journal_is_caught() {
    Search::crashes("killed-and-given-back-beside")
        .with_seed(22)
        .catches(SeededBug::ClaimWithoutJournal, Promise::Answers);
}

#[test]
fn a_commit_that_waits_behind_a_newer_one_of_its_name_is_caught() {
    Search::crashes("killed-and-outdated").catches(SeededBug::WaitingNotEnded, Promise::Ends);
}

#[test]
fn an_older_commit_that_is_resumed_over_a_newer_one_is_caught() {
    Search::crashes("killed-and-outdated").catches(SeededBug::OutdatedResumed, Promise::Content);
}

#[test]
fn a_session_that_ends_before_what_it_owned_is_settled_is_caught() {
    Search::crashes("killed-and-resumed")
        .leaving(&[CrashClass::Everything])
        .catches(SeededBug::SessionsEndBeforeSettling, Promise::Ends);
}

#[test]
fn a_session_that_ends_and_leaves_something_is_caught() {
    Search::crashes("cancelled")
        .by(Way::Errors(100))
        .catches(SeededBug::SessionEndsUnsettled, Promise::Ends);
}

#[test]
fn bytes_that_are_not_given_back_are_caught() {
    Search::crashes("killed").catches(SeededBug::BytesNotGivenBack, Promise::NoLeak);
}

#[test]
fn room_that_a_commit_has_no_use_for_any_more_is_caught() {
    Search::crashes("cancelled")
        .by(Way::Errors(100))
        .catches(SeededBug::SpareRoomKept, Promise::NoLeak);
}

#[test]
fn a_rollback_that_cuts_below_live_bytes_is_caught() {
    // The first extent that is cut too short ends in dead bytes: its length is what tells, before a file is missed.
    Search::crashes("too-short").catches(SeededBug::CutBelowLiveBytes, Promise::NoLeak);
}

#[test]
fn an_extent_that_is_gone_on_with_and_was_not_cut_back_is_caught() {
    Search::crashes("killed").catches(SeededBug::ExtentNotCutBack, Promise::NoLeak);
}

#[test]
fn a_failed_sync_of_an_extent_that_is_believed_the_second_time_is_caught() {
    Search::crashes("blocked")
        .by(Way::Errors(150))
        .catches(SeededBug::FailedSyncBelieved, Promise::Whole);
}

#[test]
fn a_live_range_that_is_used_again_is_caught() {
    Search::crashes("reopened").catches(SeededBug::LiveRangeReused, Promise::Whole);
}

#[test]
fn a_shard_that_is_never_written_is_caught() {
    Search::crashes("blocked").catches(SeededBug::ShardForgotten, Promise::Whole);
}

#[test]
fn two_shards_of_a_block_in_one_extent_are_caught() {
    Search::crashes("segmented").catches(SeededBug::ShardsTogether, Promise::NoLeak);
}

#[test]
fn totals_that_do_not_follow_a_removal_are_caught() {
    Search::crashes("remove").catches(SeededBug::TotalsNotReduced, Promise::Totals);
}

#[test]
fn room_that_is_given_back_before_the_removal_is_recorded_is_caught() {
    Search::crashes("compacted").catches(SeededBug::RoomGivenBackTooEarly, Promise::Whole);
}

#[test]
fn pages_that_are_given_back_with_what_lives_in_them_are_caught() {
    Search::crashes("compacted").catches(SeededBug::SharedPagesPunched, Promise::Whole);
}
