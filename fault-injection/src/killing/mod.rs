//! Real processes on a real file system that die at a chosen call, or whenever it may be.
//!
//! A process plays a script (`bfdb-fault-injection die`) and says what it begins and what it was told. It dies by SIGKILL:
//! at the n-th call that changes something, before, within or behind it, after a line, or at a moment in time. What it leaves
//! is copied to a disk in memory, where the check of every crash image is made of it ([`crate::crashes::check`]), and the next
//! process of the chain opens the archive itself, settles what it finds, and goes on.
//!
//! Invariant: the kill point is in the storage of this crate. The engine has none.

mod actor;
mod chain;
pub(crate) mod copied;
pub(crate) mod process;
mod script;
mod storage;

pub use actor::{Part, play};
pub use chain::{Chain, WORKLOAD, run};
pub use storage::{Death, DyingStorage, Moment};
