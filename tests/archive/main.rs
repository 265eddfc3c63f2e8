//! The library as an application sees it: real directories, small policies, one module per capability.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::missing_assert_message,
    unreachable_pub,
    reason = "tests stop where anything fails, touch files, and paint patterns by position"
)]

mod bad_input;
mod damage;
mod round_trip;
mod support;
mod writers;
