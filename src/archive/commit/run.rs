//! Runs: small frames that lie one behind another in every lane, put together in memory and written with one call a lane.

use core::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::{
    plan::Placement,
    units::{ExtentId, VolumeId, to_usize},
};

/// Bytes of each lane that one run holds at most, unless a single frame is longer.
const MAX_RUN_LEN_BYTES: u64 = 64 * 1024;

/// The part of one lane that a run fills, in memory.
#[derive(Debug)]
pub(in crate::archive) struct LaneRun {
    volume: VolumeId,
    /// Offset of the first byte in its extent.
    start: u64,
    bytes: Mutex<Vec<u8>>,
}

impl LaneRun {
    pub(super) fn new(span: &LaneSpan, volume: VolumeId) -> Self {
        Self {
            volume,
            start: span.start,
            bytes: Mutex::new(vec![0; to_usize(span.end - span.start)]),
        }
    }

    /// Returns the volume that the extent lies on.
    pub(super) const fn volume(&self) -> VolumeId {
        self.volume
    }

    /// Puts bytes where they will stand in the extent.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) {
        let mut run = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        run[to_usize(offset - self.start)..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Returns the offset in the extent and the bytes.
    pub(super) fn into_parts(self) -> (u64, Vec<u8>) {
        let bytes = self.bytes.into_inner().unwrap_or_else(PoisonError::into_inner);
        (self.start, bytes)
    }
}

/// A frame and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlacedFrame {
    pub(super) place: Placement,
    pub(super) len_bytes: u64,
}

/// Which bytes of an extent a run fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneSpan {
    pub(super) extent: ExtentId,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Blocks that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Which blocks, by their position in the batch.
    pub(super) blocks: Range<usize>,
    /// What each lane takes, in the order of the shards; `None` for a shard that the block does not have.
    pub(super) lanes: Vec<Option<LaneSpan>>,
}

/// Puts the blocks of a batch together to runs, in order.
///
/// A run goes on as long as every lane goes on in the same extent. What lies between two frames of a run belongs to the
/// batch alone and is written as zeros.
pub(super) fn runs_of(blocks: &[Vec<Option<PlacedFrame>>]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, frames) in blocks.iter().enumerate() {
        if let Some(run) = runs.last_mut()
            && let Some(lanes) = continued(&run.lanes, frames)
        {
            run.lanes = lanes;
            run.blocks.end = index + 1;
            continue;
        }
        let lanes = frames.iter().map(|frame| {
            frame.map(|frame| LaneSpan {
                extent: frame.place.extent,
                start: frame.place.offset,
                end: frame.place.offset + frame.len_bytes,
            })
        });
        runs.push(Run {
            blocks: index..index + 1,
            lanes: lanes.collect(),
        });
    }
    runs
}

/// Returns the spans with one block more, or `None` where it does not belong to the run.
fn continued(lanes: &[Option<LaneSpan>], frames: &[Option<PlacedFrame>]) -> Option<Vec<Option<LaneSpan>>> {
    let longer = lanes.iter().zip(frames).map(|(lane, frame)| match (lane, frame) {
        (Some(span), Some(frame)) => {
            let end = frame.place.offset + frame.len_bytes;
            let fits = frame.place.extent == span.extent
                && frame.place.offset >= span.end
                && end - span.start <= MAX_RUN_LEN_BYTES;
            fits.then_some(Some(LaneSpan { end, ..*span }))
        }
        (None, None) => Some(None),
        _ => None,
    });
    longer.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::to_u64;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn frame(extent: u64, offset: u64, len_bytes: u64) -> PlacedFrame {
        let extent = ExtentId::new(extent);
        PlacedFrame {
            place: Placement { extent, offset },
            len_bytes,
        }
    }

    #[test]
    fn a_run_ends_where_one_of_its_lanes_goes_on_in_another_extent() {
        let blocks = [
            vec![Some(frame(1, 4096, 100)), Some(frame(2, 4096, 100))],
            vec![Some(frame(1, 4224, 100)), Some(frame(2, 4224, 100))],
            vec![Some(frame(1, 4352, 100)), Some(frame(7, 4096, 100))],
        ];
        let runs = runs_of(&blocks);
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].blocks, 0..2);
        let span = LaneSpan {
            extent: ExtentId::new(1),
            start: 4096,
            end: 4324,
        };
        assert_eq!(runs[0].lanes[0], Some(span));
    }

    #[test]
    fn a_frame_longer_than_a_run_is_one_by_itself() {
        let long = MAX_RUN_LEN_BYTES * 3;
        let blocks = [
            vec![Some(frame(1, 4096, 64))],
            vec![Some(frame(1, 8192, long))],
            vec![Some(frame(1, 8192 + long, 64))],
        ];
        let blocks: Vec<_> = runs_of(&blocks).into_iter().map(|run| run.blocks).collect();
        assert_eq!(blocks, [0..1, 1..2, 2..3]);
    }

    proptest! {
        #[test]
        fn every_frame_lies_in_the_run_of_its_block(
            lens in proptest::collection::vec((1_u64..40_000, any::<bool>()), 1..80),
        ) {
            let mut end = 4096;
            let mut extent = 1;
            let blocks: Vec<Vec<Option<PlacedFrame>>> = lens.iter().map(|&(len, goes_on)| {
                if !goes_on { (extent, end) = (extent + 1, 4096); }
                let placed = Some(frame(extent, end, len));
                end = (end + len).next_multiple_of(64);
                vec![placed]
            }).collect();
            let runs = runs_of(&blocks);
            prop_assert_eq!(runs.iter().map(|run| run.blocks.len()).sum::<usize>(), blocks.len());
            for run in &runs {
                let span = run.lanes[0].expect("one lane");
                prop_assert!(run.blocks.len() == 1 || span.end - span.start <= MAX_RUN_LEN_BYTES);
                for block in &blocks[run.blocks.clone()] {
                    let frame = block[0].expect("one lane");
                    prop_assert_eq!(frame.place.extent, span.extent);
                    prop_assert!(span.start <= frame.place.offset);
                    prop_assert!(frame.place.offset + frame.len_bytes <= span.end);
                }
                let bytes = to_u64(LaneRun::new(&span, VolumeId::from_bytes([1; 16])).into_parts().1.len());
                prop_assert_eq!(bytes, span.end - span.start);
            }
        }
    }
}
