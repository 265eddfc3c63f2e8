//! The library as an application sees it: real directories, small policies, one module per capability.
#![expect(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::missing_assert_message,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests touch files, paint patterns by position, and their names say what is asserted"
)]

mod bad_input;
mod ballast;
mod cancellation;
mod checkpoints;
mod compacting;
mod damage;
mod deep_scans;
mod direct_io;
mod dying_writers;
mod golden;
mod health;
mod lost_session;
mod machine;
mod many_callers;
mod old_catalog;
mod orders;
mod overtaken;
mod passed_over;
mod rebuilding;
mod renames;
mod repeated_names;
mod restored_trees;
mod restores_under_way;
mod resuming;
mod round_trip;
mod scrubs;
mod simulated;
mod stalled_operations;
mod stop_after;
mod support;
mod tier4_document;
mod trees;
mod versions;
mod volumes;
mod writers;
