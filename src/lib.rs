//! bfdb, an embedded, self-healing archive engine.

pub mod archive;
pub mod buffer;
pub mod catalog;
pub mod codec;
pub mod error;
pub mod format;
pub mod geometry;
pub mod host;
pub mod merkle;
pub mod plan;
pub mod units;
pub mod volume;
