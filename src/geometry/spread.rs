//! How the shards of a block are dealt to volumes, and what is survived then.

use crate::units::CodeShape;

/// Returns how many shards each volume takes.
pub fn spread_counts(shape: CodeShape, volumes: u16) -> Vec<u16> {
    let width = volumes.clamp(1, shape.total());
    if shape.total().div_ceil(width) > shape.parity() {
        return vec![shape.total()];
    }
    let (each, more) = (shape.total() / width, shape.total() % width);
    (0..width).map(|volume| each + u16::from(volume < more)).collect()
}

/// Returns how many volumes may be lost, whichever they are.
pub fn volumes_survived(counts: &[u16], parity: u16) -> u16 {
    let mut counts = counts.to_vec();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = parity;
    let mut survived = 0;
    for count in counts.into_iter().filter(|&count| count > 0) {
        let Some(rest) = left.checked_sub(count) else {
            break;
        };
        left = rest;
        survived += 1;
    }
    survived
}
