//! Extents that are dead for the most part: what lives in them is written anew elsewhere, and they are dropped.

use core::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Compaction, KeptWhy, extent_now};
use crate::{
    archive::{
        ballast::with_room,
        repair::{MoveOptions, empty_extents},
        space::dead_bytes,
    },
    catalog::{ExtentRecord, TransactionSize},
    error::{CommitError, RepairError},
    units::{ExtentId, to_u64},
};

/// Bytes of frames that are written anew before what they lay in is dropped: that much room is needed at once.
const GROUP_LEN_BYTES: u64 = 256 << 20;

impl Compaction<'_> {
    /// Empties extents that are worth it, and drops them group by group.
    pub(super) fn rewrite(&mut self) -> Result<(), RepairError> {
        let mut chosen = self.chosen()?.into_iter().peekable();
        while chosen.peek().is_some() {
            let (mut group, mut len_bytes) = (BTreeSet::new(), 0_u64);
            while let Some(extent) =
                chosen.next_if(|extent| group.is_empty() || len_bytes + extent.live_bytes <= GROUP_LEN_BYTES)
            {
                len_bytes += extent.live_bytes;
                group.insert(extent.id);
            }
            if !self.rewrite_group(&group)? {
                let rest = chosen.map(|extent| extent.id);
                self.kept.extend(rest.map(|extent| (extent, KeptWhy::NoRoom)));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says whether there was room for it.
    fn rewrite_group(&mut self, group: &BTreeSet<ExtentId>) -> Result<bool, RepairError> {
        let options = MoveOptions {
            rate: self.options.rate,
        };
        let moved = match empty_extents(self.shared, group, options, self.observer) {
            Ok(moved) => moved,
            Err(RepairError::Store { source }) if has_no_room(&source) => {
                self.kept
                    .extend(group.iter().map(|extent| (*extent, KeptWhy::NoRoom)));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.report.rewritten_shards += moved.shards_moved;
        self.report.rewritten_bytes += moved.bytes_written;
        let reader = self.shared.catalog.read()?;
        for &id in group {
            if extent_now(&reader, id)?.is_some_and(|extent| extent.live_shards > 0) {
                self.kept.insert(id, KeptWhy::Damaged);
            }
        }
        drop(reader);
        let size = TransactionSize {
            extents: to_u64(group.len()),
            ..TransactionSize::default()
        };
        with_room(self.shared, size.room_bytes(), || self.drop_empty())?;
        Ok(true)
    }

    /// Returns the extents that are worth it as far as is allowed, those with the greatest share of dead bytes first.
    pub(super) fn chosen(&mut self) -> Result<Vec<ExtentRecord>, RepairError> {
        let reader = self.shared.catalog.read()?;
        let freed = reader.freed_bytes()?;
        let mut worth: Vec<(u64, ExtentRecord)> = Vec::new();
        for extent in reader.extents()? {
            let freed = self.freed(&freed, extent.id);
            let taken = extent.end_bytes.saturating_sub(freed);
            let dead = dead_bytes(&extent, freed);
            let share = u128::from(dead) * 100;
            let is_worth_it = extent.live_shards > 0
                && dead >= self.options.min_dead_bytes.max(1)
                && share >= u128::from(taken) * u128::from(self.options.min_dead_percent);
            // One that is about to be emptied is somebody else's business, and one with two names gives nothing back.
            let takes_files = (self.shared.volumes().member(extent.volume))
                .is_some_and(super::super::volumes::Member::takes_files);
            if is_worth_it && takes_files && self.is_free(&extent) && !self.kept.contains_key(&extent.id) {
                let permille = u64::try_from(share * 10 / u128::from(taken.max(1))).unwrap_or(u64::MAX);
                worth.push((permille, extent));
            }
        }
        worth.sort_by_key(|(share, extent)| (Reverse(*share), extent.id));
        let mut left = self.options.budget.left();
        let (mut chosen, mut is_over) = (Vec::new(), false);
        for (_, extent) in worth {
            is_over = is_over || !left.take(extent.live_bytes);
            if is_over {
                self.kept.insert(extent.id, KeptWhy::OverBudget);
            } else {
                chosen.push(extent);
            }
        }
        Ok(chosen)
    }
}

fn has_no_room(error: &CommitError) -> bool {
    let met_full_volume = matches!(error, CommitError::Volume { source } if source.is_full());
    met_full_volume || matches!(error, CommitError::Full { .. })
}
