//! Decisions without deeds: where frames go, in which order strips are worked, what damage means.
//!
//! Values in, values out. This floor knows no file, no clock and no thread, so that every damage map of a small code and
//! every layout of a small volume can be enumerated in a test.

mod damage;
mod layout;
mod strips;

pub use damage::{BlockVerdict, ColumnSet, DamageMap};
pub use layout::{ExtentUse, LaneLayout, LanePosition, Placement, UNNUMBERED};
pub use strips::{Strip, strips_of_block};
