//! From the length of a file and the policy of its archive to tiers, blocks, shards, columns and byte ranges.
//!
//! Pure arithmetic: no file, no hash, no code word. The answers are an on-disk contract, the same for ever: every block
//! is described completely by its shape, leaf length, place in the file and length, and everything else follows.
//!
//! ```text
//! file    |------ block 0 ------|------ block 1 ------|--- block 2 ---|        balanced: alike up to one column
//! block   | segment 0 | segment 1 | ... | segment k-1 || parity 0 .. m-1
//! segment | leaf | leaf | ... | leaf |                                          a leaf is what is verified
//! column    the leaves at one offset in all shards of the block                a column is what is decoded
//! ```

mod block;
mod file;
mod placement;
mod policy;
mod spread;
mod survival;
#[cfg(test)]
mod tests;

pub use block::{BlockGeometry, BlockGeometryError, BlockGeometryParts, FileLeaves, LeafPlace};
pub use file::{FileGeometry, FileGeometryError, FileGeometryParts};
pub use placement::{LaneSpace, VolumeRoom, lanes_for_block};
pub use policy::{Policy, PolicyError, PolicyParts, Tier};
pub use spread::{CannotSurvive, Tolerance, spread_counts, surviving_shape, volumes_survived};
pub use survival::SurvivalError;
