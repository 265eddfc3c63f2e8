//! What may be lost without a byte being lost, in all three numbers: a code that survives three extents may survive no volume.

use bfdb::{archive::TierTolerance, geometry::Tolerance, units::CodeShape};
use serde::Serialize;

/// What may be lost, in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct ToleranceFields {
    /// Shards of each block.
    pub(super) segments: u16,
    pub(super) extents: u16,
    pub(super) volumes: u16,
}

impl From<Tolerance> for ToleranceFields {
    fn from(tolerance: Tolerance) -> Self {
        Self {
            segments: tolerance.segments,
            extents: tolerance.extents,
            volumes: tolerance.volumes,
        }
    }
}

/// Says what may be lost of what is stored with a code.
pub(super) fn in_words(shape: CodeShape, tolerance: Tolerance) -> String {
    let Tolerance {
        segments,
        extents,
        volumes,
    } = tolerance;
    let within = format!(
        "any {segments} of the {} shards of a block, any {extents} extents",
        shape.total()
    );
    match volumes {
        0 => format!("{within} may be lost, but no volume"),
        1 => format!("{within}, any volume may be lost"),
        _ => format!("{within}, any {volumes} volumes may be lost"),
    }
}

/// Says what may be lost of what is stored in a tier now, and how many volumes it would be with all of them.
pub(super) fn of_tier_in_words(tolerance: &TierTolerance) -> String {
    let now = in_words(tolerance.shape, tolerance.now);
    if tolerance.is_reduced() {
        format!("{now} ({} when all volumes are there)", tolerance.full.volumes)
    } else {
        now
    }
}

#[cfg(test)]
mod tests {
    use bfdb::geometry::Tier;

    use super::*;

    fn tolerance(volumes: u16) -> Tolerance {
        Tolerance {
            segments: 3,
            extents: 3,
            volumes,
        }
    }

    #[test]
    fn all_three_numbers_are_said_and_that_no_volume_may_be_lost() {
        let shape = CodeShape::new(1, 3).expect("a shape");
        let within = "any 3 of the 4 shards of a block, any 3 extents";
        for (volumes, expected) in [
            (0, format!("{within} may be lost, but no volume")),
            (1, format!("{within}, any volume may be lost")),
            (2, format!("{within}, any 2 volumes may be lost")),
        ] {
            assert_eq!(in_words(shape, tolerance(volumes)), expected);
        }
        let tier = |now, full| TierTolerance {
            tier: Tier::Tiny,
            shape,
            now: tolerance(now),
            full: tolerance(full),
        };
        assert_eq!(
            of_tier_in_words(&tier(2, 3)),
            format!("{within}, any 2 volumes may be lost (3 when all volumes are there)")
        );
        assert_eq!(of_tier_in_words(&tier(3, 3)), in_words(shape, tolerance(3)));
    }
}
