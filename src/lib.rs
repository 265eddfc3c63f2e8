//! bfdb, an embedded, self-healing archive engine.

pub mod error;
pub mod geometry;
pub mod plan;
pub mod units;
