//! Every schedule of every model; each test is one sentence of what holds in all of them.

use bfdb_models::{buffers, gates, left_commits, teams};

#[test]
fn one_buffer_goes_round() {
    buffers::one_buffer_goes_round();
}

#[test]
fn large_and_small_requests_for_memory_are_all_served() {
    buffers::large_and_small_requests_are_all_served();
}

#[test]
fn who_is_sent_home_stops_waiting_for_memory() {
    buffers::who_is_sent_home_stops_waiting();
}

#[test]
fn who_is_sent_home_holds_up_nobody_behind() {
    buffers::who_is_sent_home_holds_up_nobody_behind();
}

#[test]
fn a_team_waits_for_nobody_outside() {
    teams::a_team_waits_for_nobody_outside();
}

#[test]
fn a_team_comes_to_its_end_with_too_little_memory() {
    teams::a_team_shares_too_little_memory();
}

#[test]
fn two_teams_keep_each_other_from_nothing() {
    teams::two_teams_keep_each_other_from_nothing();
}

#[test]
fn what_was_written_before_a_sync_is_durable_behind_it() {
    gates::what_was_written_before_a_sync_is_durable_behind_it();
}

#[test]
fn after_a_failed_sync_nobody_is_told_that_all_is_well() {
    gates::after_a_failed_sync_nobody_is_told_that_all_is_well();
}

#[test]
fn a_changed_length_is_covered_by_the_next_sync() {
    gates::a_changed_length_is_covered_by_the_next_sync();
}

#[test]
fn behind_a_seal_nothing_changes() {
    gates::behind_a_seal_nothing_changes();
}

#[test]
fn what_is_left_behind_is_taken_out_once() {
    left_commits::what_is_left_behind_is_taken_out_once();
}
