//! bfdb, an embedded, self-healing archive engine.

pub mod buffer;
pub mod error;
pub mod geometry;
pub mod plan;
pub mod units;
pub mod volume;
