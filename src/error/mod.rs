//! Public error types.
//!
//! One enum per floor and per public operation, with named fields and typed sources. Damage in stored data is not an
//! error but a value; these are operations that failed.

mod buffer;
mod volume;

pub use buffer::BufferError;
pub use volume::VolumeError;
