//! What a scrub is asked to do.

use crate::{
    plan::{Budget, RateLimit, ScrubPlan},
    units::Timestamp,
};

/// What a scrub reads, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// How thoroughly each frame is looked at.
    pub depth: ScrubDepth,
    /// Which frames are looked at.
    pub selection: ScrubSelection,
    /// When it ends before it is done. The next scrub goes on where this one has ended.
    pub budget: Budget,
    /// How fast it reads at most, on average; `None` as fast as it can.
    pub rate: Option<RateLimit>,
}

impl Default for ScrubOptions {
    /// Everything, once, without a limit.
    fn default() -> Self {
        Self {
            depth: ScrubDepth::Full,
            selection: ScrubSelection::All,
            budget: Budget::UNLIMITED,
            rate: None,
        }
    }
}

/// How thoroughly frames are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubDepth {
    /// That they are there, and their headers. It does not count as verified.
    Quick,
    /// Every byte of them; and of some blocks, others each time, the parity is encoded again and compared.
    Full,
    /// Every byte of them, and the parity of each block is encoded again and compared: a hash says yes to parity that was wrong
    /// when it was made. Reads twice as much.
    Deep,
}

/// Which frames are looked at. What was never verified comes first, then what was verified longest ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubSelection {
    /// All.
    All,
    /// Those that were never verified.
    New,
    /// Those that were never verified, or last before this moment.
    OlderThan(Timestamp),
    /// Those that are known to be damaged.
    Damaged,
}

impl ScrubSelection {
    /// Returns which ranges of extents that asks for; `None` where it asks for frames that are known one by one.
    pub(super) const fn plan(self) -> Option<ScrubPlan> {
        match self {
            Self::All => Some(ScrubPlan::All),
            Self::New => Some(ScrubPlan::New),
            Self::OlderThan(moment) => Some(ScrubPlan::OlderThan(moment)),
            Self::Damaged => None,
        }
    }
}
