//! Dealing out the blocks of one file.

use std::sync::Arc;

use super::{
    block::BlockInFlight,
    frame::{BlockIdentity, FrameSink, FrameTarget},
    leg_plan::PlannedFile,
    reservation::Reservation,
};
use crate::{
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry},
    plan::{LaneLayout, Placement},
    units::{BlockIndex, to_u64},
};

/// Hands out the blocks of a file in order, each with the places of its frames.
#[derive(Debug)]
pub(super) struct BlockDealer<'a> {
    reservation: &'a Reservation,
    file: &'a PlannedFile,
    layout: LaneLayout,
    next: BlockIndex,
}

impl<'a> BlockDealer<'a> {
    /// Begins with the first block, in this leg, of the only file that room was taken for.
    pub(super) fn new(reservation: &'a Reservation) -> Self {
        let [file] = reservation.files() else {
            panic!("room was taken for {} files", reservation.files().len());
        };
        Self {
            reservation,
            file,
            layout: reservation.layout(),
            next: reservation.leg.first_block,
        }
    }

    pub(super) const fn geometry(&self) -> &FileGeometry {
        &self.file.record.geometry
    }

    /// Returns which block is next.
    pub(super) const fn next_index(&self) -> BlockIndex {
        self.next
    }

    /// Returns the next block and the strips that `cut` makes of it, or `None` after the last.
    pub(super) fn next_block<S>(
        &mut self,
        cut: impl FnOnce(BlockIndex, &BlockGeometry) -> Vec<S>,
    ) -> Option<(BlockInFlight, Vec<S>)> {
        let index = self.next;
        if index.get() == self.geometry().block_count() {
            return None;
        }
        let geometry = self.geometry().block(index);
        let target = |(place, layout): (Placement, FrameLayout)| FrameTarget {
            sink: FrameSink::Extent(Arc::clone(self.reservation.writer(place.extent))),
            place,
            layout,
        };
        let placed = self.reservation.place(&geometry, &mut self.layout);
        let frames = placed.map(|placed| placed.map(target)).collect();
        let strips = cut(index, &geometry);
        self.next = BlockIndex::new(index.get() + 1);
        let identity = BlockIdentity::of(self.reservation, self.file, index);
        let in_flight = BlockInFlight::new(identity, geometry, frames, to_u64(strips.len()));
        Some((in_flight, strips))
    }
}
