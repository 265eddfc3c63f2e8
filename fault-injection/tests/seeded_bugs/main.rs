//! Tests of the tests: each puts a bug into the protocol and asserts that the explorations of `crashes` notice it.
//!
//! A bug is a storage that lies about a sync ([`syncs`]), or a switch in the engine that releases do not have ([`protocol`], [`damage`],
//! [`parity`], [`sums`], [`forks`]).
//! The table in docs/testing.md lists them.

mod damage;
mod forks;
mod parity;
mod protocol;
mod sums;
mod syncs;
mod trial;
