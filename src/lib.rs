//! bfdb, an embedded, self-healing archive engine.

pub mod error;
pub mod units;
