//! Dealing out the blocks of one file.

use std::sync::Arc;

use super::{
    block::{BlockIdentity, BlockInFlight, FrameSink, FrameTarget},
    reservation::{PlannedFile, Reservation},
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
    file: PlannedFile,
    layout: LaneLayout,
    next: u64,
}

impl<'a> BlockDealer<'a> {
    /// Begins with the first block of the only file that room was taken for.
    pub(super) fn new(reservation: &'a Reservation) -> Self {
        let [file] = reservation.files() else {
            panic!("room was taken for {} files", reservation.files().len());
        };
        Self {
            reservation,
            file: *file,
            layout: reservation.layout(),
            next: 0,
        }
    }

    pub(super) const fn geometry(&self) -> &FileGeometry {
        &self.file.geometry
    }

    /// Returns the next block and the strips that `cut` makes of it, or `None` after the last.
    pub(super) fn next_block<S>(
        &mut self,
        cut: impl FnOnce(BlockIndex, &BlockGeometry) -> Vec<S>,
    ) -> Option<(BlockInFlight, Vec<S>)> {
        if self.next == self.file.geometry.block_count() {
            return None;
        }
        let index = BlockIndex::new(self.next);
        let geometry = self.file.geometry.block(index);
        let target = |(place, layout): (Placement, FrameLayout)| FrameTarget {
            sink: FrameSink::Extent(Arc::clone(self.reservation.writer(place.extent))),
            place,
            layout,
        };
        let placed = self.reservation.place(&geometry, &mut self.layout);
        let frames = placed.map(|placed| placed.map(target)).collect();
        let strips = cut(index, &geometry);
        self.next += 1;
        let identity = BlockIdentity::of(self.reservation, &self.file, index);
        let in_flight = BlockInFlight::new(identity, geometry, frames, to_u64(strips.len()));
        Some((in_flight, strips))
    }
}
