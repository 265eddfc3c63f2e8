//! From the length of a file and the policy of its archive to tiers, blocks, shards, columns and byte ranges.
//!
//! Pure arithmetic: no file, no hash, no code word. The answers are an on-disk contract, the same for ever: every block
//! is described completely by its shape, leaf length, place in the file and length, and everything else follows.
//!
//! ```text
//! file    |------ block 0 ------|------ block 1 ------|--- block 2 ---|        balanced: alike up to one column
//! group   | block 0 | block 1 | ... | block G-1 || outer parity block 0 .. P-1    tier 4 only: blocks of parity across blocks
//! block   | segment 0 | segment 1 | ... | segment k-1 || parity 0 .. m-1
//! segment | leaf | leaf | ... | leaf |                                          a leaf is what is verified
//! column    the leaves at one offset in all shards of the block                a column is what is decoded
//! ```

mod block;
mod file;
mod group;
mod grouping;
mod placement;
mod policy;
mod spread;
mod survival;
#[cfg(test)]
mod tests;

pub use block::{BlockGeometry, BlockGeometryError, BlockGeometryParts, FileLeaves, LeafPlace};
pub use file::{FileGeometry, FileGeometryError, FileGeometryParts};
pub use group::GroupGeometry;
pub use grouping::{FRAME_MAX_EXTRA_LEN_BYTES, Grouping, GroupingError, MAX_OUTER_PARITY};
pub use placement::{LaneSpace, VolumeRoom, lanes_for_block};
pub use policy::{Policy, PolicyError, PolicyParts, Tier};
pub use spread::{CannotSurvive, Tolerance, spread_counts, surviving_shape, volumes_survived};
pub use survival::SurvivalError;
