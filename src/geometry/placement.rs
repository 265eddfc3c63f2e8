//! Which lane each shard of a block goes to.

use crate::units::{CodeShape, LaneIndex};

/// Chooses a lane for every shard of a block, in shard order, all different.
///
/// `written_bytes` holds what each lane of the volume has taken so far. The lanes that have been written least are
/// taken, so that lanes fill alike; a code as wide as the volume uses them all. Ties go to the lower lane, so the answer
/// depends on the numbers alone.
///
/// # Panics
/// When the volume has fewer lanes than the code has shards: the lane count comes from the same policy as the code.
pub fn lanes_for_block(shape: CodeShape, written_bytes: &[u64]) -> Vec<LaneIndex> {
    let wanted = usize::from(shape.total());
    assert!(
        wanted <= written_bytes.len(),
        "{shape} needs {wanted} lanes of {}",
        written_bytes.len()
    );
    let mut lanes: Vec<LaneIndex> = (0..u16::try_from(written_bytes.len()).expect("lanes are 16 bits"))
        .map(LaneIndex::new)
        .collect();
    lanes.sort_by_key(|lane| (written_bytes[usize::from(lane.get())], *lane));
    lanes.truncate(wanted);
    lanes.sort_unstable();
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(data: u16, parity: u16) -> CodeShape {
        CodeShape::new(data, parity).expect("valid shape")
    }

    #[test]
    fn replicas_go_to_the_least_written_lanes() {
        let lanes = lanes_for_block(shape(1, 3), &[50, 10, 40, 10, 30, 20]);
        assert_eq!(lanes, [1, 3, 4, 5].map(LaneIndex::new));
    }

    #[test]
    fn a_code_as_wide_as_the_volume_uses_every_lane_once_in_order() {
        let lanes = lanes_for_block(shape(3, 2), &[9, 0, 7, 1, 3]);
        assert_eq!(lanes, [0, 1, 2, 3, 4].map(LaneIndex::new));
    }
}
