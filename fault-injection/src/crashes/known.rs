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
pub const KNOWN: &[Known] = &[Known {
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
}];

/// Returns the name of the known defect that a violation shows, if any.
pub fn known(case: &Case, image: &Image, violation: &Violation) -> Option<&'static str> {
    let met = KNOWN.iter().find(|known| (known.is_met)(case, image, violation));
    met.map(|known| known.name)
}
