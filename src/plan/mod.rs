//! Decisions without deeds: where frames go, in which order strips are worked, what damage means, what a repair writes
//! anew, what a scrub reads in which order, and how likely a file is to be lost.
//!
//! Values in, values out. This floor knows no file, no clock and no thread, so that every damage map of a small code and
//! every layout of a small volume can be enumerated in a test.

mod budget;
mod columns;
mod damage;
#[cfg(test)]
mod every_map;
mod finding;
mod group;
mod layout;
mod odds;
mod repair;
mod sample;
mod scrub_order;
mod strips;
mod verified;

pub use budget::{Budget, BudgetLeft, RateLimit};
pub use columns::ColumnSet;
pub use damage::{BlockVerdict, DamageMap};
pub use finding::{DamageKind, DamagePart};
pub use group::{GroupDamage, GroupStep, GroupVerdict};
pub use layout::{ExtentUse, LaneLayout, LanePosition, Placement, UNNUMBERED};
pub use odds::{
    FailureRateParts, FailureRates, FailureRatesError, LossOdds, loss_by_leaves, loss_by_volumes,
    loss_together,
};
pub use repair::RepairPlan;
pub use sample::{is_in_sample, is_shard_in_sample};
pub use scrub_order::{ScrubExtent, ScrubPlan, ScrubRange, scrub_order};
pub use strips::{Strip, strips_of_block};
pub use verified::{VerifiedInterval, VerifiedSet};
