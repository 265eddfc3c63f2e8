//! Defects of the engine that the campaigns have found and that are still there.
//!
//! A known one is counted instead of reported, so that it hides nothing else. The tests assert that each is still met: one
//! that is mended has to leave the list.

use super::{
    case::{Case, Crash},
    image::Image,
    violation::{Promise, Violation},
};
use crate::simulation::CrashVariant;

/// A defect that is known.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// A short name.
    pub name: &'static str,
    /// What is wrong.
    pub about: &'static str,
    is_met: fn(&Case, &Image, &Violation) -> bool,
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        name: "torn catalog header",
        about: "noise in the sector of the header of catalog.redb, which each commit writes, makes an archive that nobody \
                can open: both slots of the database lie in one sector",
        is_met: |case, image, violation| {
            let is_header = |crash: &Crash| {
                matches!(
                    crash.variant,
                    CrashVariant::GarbageInTornSector { sector: (0, _), .. }
                )
            };
            violation.promise == Promise::Opens
                && violation.detail.contains("magic number mismatch")
                && case.crashes.last().is_some_and(is_header)
                && image.torn().is_some_and(|path| path.ends_with("catalog.redb"))
        },
    },
    Known {
        name: "torn sector of an abandoned extent",
        about: "a commit that goes on away from an extent that has failed keeps the frames that were synced there; what was \
                written behind them and never synced may tear the sector that the last of them ends in. Frames of 64 KiB and \
                more end with their sector, so this is about short ones",
        is_met: |case, image, violation| {
            let is_noise = |crash: &Crash| matches!(crash.variant, CrashVariant::GarbageInTornSector { .. });
            violation.promise == Promise::Whole
                && violation.detail.contains("damaged_shards: 1, lost: []")
                && case.fault.is_some()
                && case.crashes.last().is_some_and(is_noise)
                && image
                    .torn()
                    .is_some_and(|path| path.extension().is_some_and(|found| found == "bfx"))
        },
    },
];

/// Returns the name of the known defect that a violation shows, if any.
pub fn known(case: &Case, image: &Image, violation: &Violation) -> Option<&'static str> {
    let met = KNOWN.iter().find(|known| (known.is_met)(case, image, violation));
    met.map(|known| known.name)
}
