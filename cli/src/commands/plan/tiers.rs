//! The tiers of what is planned: what they take, what may be lost, and how likely that is.

use bfdb::{
    archive::TierTolerance,
    geometry::{FileGeometry, Tier, spread_counts},
    plan::{FailureRates, LossOdds, loss_together},
    units::CodeShape,
};
use serde::Serialize;

use super::words;
use crate::{
    commands::{
        frames::{column_count, frames_len_bytes},
        tolerance::{self, ToleranceFields},
    },
    text,
};

/// The files of a tier, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TierSums {
    pub(super) tier: Tier,
    pub(super) shape: CodeShape,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) stored_bytes: u64,
    /// Columns of the longest file.
    pub(super) columns: u64,
    pub(super) longest_bytes: u64,
    /// What the longest file takes.
    pub(super) longest_stored_bytes: u64,
}

impl TierSums {
    pub(super) const fn new(tier: Tier, shape: CodeShape) -> Self {
        Self {
            tier,
            shape,
            files: 0,
            bytes: 0,
            stored_bytes: 0,
            columns: 0,
            longest_bytes: 0,
            longest_stored_bytes: 0,
        }
    }

    pub(super) fn add(&mut self, geometry: &FileGeometry) {
        let stored_bytes = frames_len_bytes(geometry);
        self.files += 1;
        self.bytes = self.bytes.saturating_add(geometry.len_bytes());
        self.stored_bytes = self.stored_bytes.saturating_add(stored_bytes);
        self.columns = self.columns.max(column_count(geometry));
        self.longest_bytes = self.longest_bytes.max(geometry.len_bytes());
        self.longest_stored_bytes = self.longest_stored_bytes.max(stored_bytes);
    }
}

/// A tier in JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "tier")]
pub(super) struct TierLine {
    tier: u8,
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    overhead: Option<f64>,
    data_shards: u16,
    parity_shards: u16,
    /// How many shards of a block each volume takes that takes any.
    spread: Vec<u16>,
    tolerance: ToleranceFields,
    volumes_full: u16,
    longest_bytes: u64,
    /// Columns of the longest file.
    columns: u64,
    /// Odds that it is lost within a year.
    loss_per_year: f64,
    loss_by_volumes: f64,
    /// Null where leaves are not counted.
    loss_by_leaves: Option<f64>,
    #[serde(skip)]
    shape: CodeShape,
    #[serde(skip)]
    in_words: String,
}

impl TierLine {
    /// Returns what is to be said of a tier on so many volumes.
    pub(super) fn of(
        sums: &TierSums,
        tolerance: &TierTolerance,
        (volumes, rates): (u16, &FailureRates),
    ) -> Self {
        let TierSums { shape, columns, .. } = *sums;
        let spread = spread_counts(shape, volumes);
        let odds = LossOdds::new(&spread, shape, columns, rates);
        let has_leaves = rates.parts().leaf_per_year > 0.0;
        Self {
            tier: sums.tier.number(),
            files: sums.files,
            bytes: sums.bytes,
            stored_bytes: sums.stored_bytes,
            overhead: overhead(sums.bytes, sums.stored_bytes),
            data_shards: shape.data(),
            parity_shards: shape.parity(),
            tolerance: tolerance.now.into(),
            volumes_full: tolerance.full.volumes,
            longest_bytes: sums.longest_bytes,
            columns,
            loss_per_year: loss_together(&spread, shape, columns, rates),
            loss_by_volumes: odds.by_volumes,
            loss_by_leaves: has_leaves.then_some(odds.by_leaves),
            spread,
            shape,
            in_words: tolerance::of_tier_in_words(tolerance),
        }
    }

    /// Says it for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let of_longest = if self.files > 1 {
            format!("the longest file, {},", text::size(self.longest_bytes))
        } else {
            "the file".to_owned()
        };
        let mut odds = format!(
            "{of_longest} is lost with odds of {}",
            words::odds(self.loss_per_year)
        );
        if let Some(leaves) = self.loss_by_leaves {
            let (volumes, leaves) = (words::odds(self.loss_by_volumes), words::odds(leaves));
            odds = format!("{odds}; by volumes alone {volumes}, by bad leaves alone {leaves}");
        }
        let (data, parity) = (self.shape.data(), self.shape.parity());
        let size = words::sizes(self.bytes, self.stored_bytes, self.overhead);
        vec![
            words::row(
                &format!("tier {}", self.tier),
                &format!("{}, {size}, RS({data},{parity})", text::count(self.files, "file")),
            ),
            words::row("", &self.in_words),
            words::row("", &odds),
        ]
    }
}

/// Returns what is stored beyond the bytes of the files, as a share of them.
#[expect(clippy::cast_precision_loss, reason = "a share is shown with a few digits")]
pub(super) fn overhead(bytes: u64, stored_bytes: u64) -> Option<f64> {
    (bytes > 0).then(|| stored_bytes as f64 / bytes as f64 - 1.0)
}
