//! Which volumes and lanes the shards of a block go to.
//!
//! A volume is what may be lost at once. Every volume has as many lanes as the widest code has shards, and lanes are numbered
//! through all volumes, so that a lane says which volume it lies on.

use super::spread_counts;
use crate::units::{CodeShape, LaneIndex};

/// Which lanes lie on which volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSpace {
    per_volume: u16,
}

impl LaneSpace {
    /// So many lanes on each volume, at least one.
    ///
    /// # Panics
    /// When there are none.
    pub const fn new(per_volume: u16) -> Self {
        assert!(per_volume > 0, "a volume has a lane");
        Self { per_volume }
    }

    /// Returns how many lanes a volume has.
    pub const fn per_volume(self) -> u16 {
        self.per_volume
    }

    /// Returns the lane of a volume, or `None` where numbers do not go so far.
    pub const fn lane(self, volume: u16, lane: u16) -> Option<LaneIndex> {
        assert!(lane < self.per_volume, "a volume has no such lane");
        let Some(before) = volume.checked_mul(self.per_volume) else {
            return None;
        };
        match before.checked_add(lane) {
            Some(index) => Some(LaneIndex::new(index)),
            None => None,
        }
    }

    /// Says whether lanes are numbered so far that a volume of that number has all of its lanes.
    pub const fn has_volume(self, number: u16) -> bool {
        self.lane(number, self.per_volume - 1).is_some()
    }

    /// Returns the number of the volume that a lane lies on.
    pub const fn volume_of(self, lane: LaneIndex) -> u16 {
        lane.get() / self.per_volume
    }

    /// Returns which lane of its volume a lane is.
    pub const fn lane_of_volume(self, lane: LaneIndex) -> u16 {
        lane.get() % self.per_volume
    }
}

/// A volume that may be chosen, and how full it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRoom {
    /// Its number.
    pub number: u16,
    /// Bytes that are free there.
    pub free_bytes: u64,
    /// Bytes that each of its lanes has taken so far.
    pub written_bytes: Vec<u64>,
}

/// Chooses a lane for every shard of a block, in shard order, all different.
///
/// A code that survives the loss of a volume when it is spread goes to as many volumes as there are; one that does not stays
/// whole on one, since every further volume would only be one more whose loss takes the block with it. Volumes with most room
/// are taken first, and on each the lanes that have been written least, so that all fill alike. Ties go to the lower
/// number, so the answer depends on the numbers alone.
///
/// # Panics
/// When there is no volume, or a volume has fewer lanes than the code has shards: the lane count comes from the same policy as
/// the code.
pub fn lanes_for_block(shape: CodeShape, lanes: LaneSpace, volumes: &[VolumeRoom]) -> Vec<LaneIndex> {
    let mut best: Vec<&VolumeRoom> = volumes.iter().collect();
    best.sort_by_key(|volume| {
        let written: u64 = volume.written_bytes.iter().sum();
        (u64::MAX - volume.free_bytes, written, volume.number)
    });
    let count = u16::try_from(volumes.len()).unwrap_or(u16::MAX);
    let counts = spread_counts(shape, count);
    assert!(counts.len() <= best.len(), "a block lies on a volume");
    let mut dealt: Vec<std::vec::IntoIter<LaneIndex>> = counts
        .iter()
        .zip(best)
        .map(|(&count, volume)| least_written(lanes, volume, count).into_iter())
        .collect();
    let mut chosen = Vec::with_capacity(usize::from(shape.total()));
    // One to each in turn, so that neighbours lie on different volumes.
    while chosen.len() < usize::from(shape.total()) {
        chosen.extend(dealt.iter_mut().filter_map(Iterator::next));
    }
    chosen
}

/// Returns the lanes of a volume that have been written least, in order.
fn least_written(lanes: LaneSpace, volume: &VolumeRoom, wanted: u16) -> Vec<LaneIndex> {
    assert!(
        usize::from(wanted) <= volume.written_bytes.len(),
        "{wanted} lanes are needed of {}",
        volume.written_bytes.len()
    );
    let mut chosen: Vec<LaneIndex> = (0..lanes.per_volume())
        .take(volume.written_bytes.len())
        .filter_map(|lane| lanes.lane(volume.number, lane))
        .collect();
    chosen.sort_by_key(|lane| {
        (
            volume.written_bytes[usize::from(lanes.lane_of_volume(*lane))],
            *lane,
        )
    });
    chosen.truncate(usize::from(wanted));
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(data: u16, parity: u16) -> CodeShape {
        CodeShape::new(data, parity).expect("valid shape")
    }

    fn room(number: u16, free_bytes: u64, written_bytes: &[u64]) -> VolumeRoom {
        VolumeRoom {
            number,
            free_bytes,
            written_bytes: written_bytes.to_vec(),
        }
    }

    fn lanes(indexes: &[u16]) -> Vec<LaneIndex> {
        indexes.iter().copied().map(LaneIndex::new).collect()
    }

    #[test]
    fn replicas_go_to_the_least_written_lanes() {
        let volume = room(0, 9, &[50, 10, 40, 10, 30, 20]);
        let chosen = lanes_for_block(shape(1, 3), LaneSpace::new(6), &[volume]);
        assert_eq!(chosen, lanes(&[1, 3, 4, 5]));
    }

    #[test]
    fn a_code_as_wide_as_the_volume_uses_every_lane_once_in_order() {
        let volume = room(0, 9, &[9, 0, 7, 1, 3]);
        let chosen = lanes_for_block(shape(3, 2), LaneSpace::new(5), &[volume]);
        assert_eq!(chosen, lanes(&[0, 1, 2, 3, 4]));
    }

    #[test]
    fn replicas_lie_on_as_many_volumes_as_there_are_those_with_most_room_first() {
        let volumes = [
            room(0, 10, &[5, 0, 0, 0]),
            room(1, 30, &[0, 0, 7, 7]),
            room(2, 20, &[1, 1, 1, 0]),
        ];
        let chosen = lanes_for_block(shape(1, 3), LaneSpace::new(4), &volumes);
        // Two on volume 1, one on volumes 2 and 0.
        assert_eq!(chosen, lanes(&[4, 11, 1, 5]));
    }

    #[test]
    fn a_code_that_a_lost_volume_would_break_stays_on_the_volume_with_most_room() {
        let volumes = [room(0, 10, &[0; 5]), room(3, 11, &[0; 5])];
        let chosen = lanes_for_block(shape(4, 1), LaneSpace::new(5), &volumes);
        assert_eq!(chosen, lanes(&[15, 16, 17, 18, 19]));
    }

    #[test]
    fn a_lane_says_which_volume_it_lies_on_and_numbers_end_somewhere() {
        let space = LaneSpace::new(33);
        for (volume, lane) in [(0, 0), (0, 32), (7, 5), (1984, 32)] {
            let index = space.lane(volume, lane).expect("within 16 bits");
            assert_eq!(
                (space.volume_of(index), space.lane_of_volume(index)),
                (volume, lane)
            );
        }
        assert!(space.has_volume(1984));
        assert!(!space.has_volume(1985), "65 505 and 33 more are too many");
    }
}
