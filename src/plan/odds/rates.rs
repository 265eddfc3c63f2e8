//! How often volumes and leaves fail, and how soon that is made good.

/// Days of a year, for rates.
const DAYS_PER_YEAR: f64 = 365.0;

/// Shortest mean time to replace a volume and shortest time between two scrubs: an hour.
const MIN_DAYS: f64 = 1.0 / 24.0;

/// The numbers of a failure model, before they are checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailureRateParts {
    /// Probability that a volume fails within a year, above 0 and below 1.
    pub volume_per_year: f64,
    /// Mean number of days from the loss of a volume until all of it is rebuilt on another one, an hour or more. Very many
    /// for a volume that nobody replaces.
    pub replacement_days: f64,
    /// Probability that one stored leaf goes bad within a year where nobody repairs it, 0 or more and below 1.
    pub leaf_per_year: f64,
    /// Days between two scrubs that repair, an hour or more.
    pub scrub_days: f64,
}

/// A failure model whose numbers are in their ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailureRates(FailureRateParts);

/// A number of a failure model that is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FailureRatesError {
    /// A volume that never fails, or surely does, needs no model.
    #[error(
        "the probability that a volume fails within a year lies between 0 and 1 and is not {volume_per_year}"
    )]
    VolumePerYear {
        /// The probability that was given.
        volume_per_year: f64,
    },
    /// A lost volume is not rebuilt at once.
    #[error(
        "a lost volume is replaced within a mean time of an hour or more, not of {replacement_days} days"
    )]
    ReplacementDays {
        /// The days that were given.
        replacement_days: f64,
    },
    /// Leaves that surely go bad need no model.
    #[error(
        "the probability that a leaf goes bad within a year is 0 or more and below 1 and is not {leaf_per_year}"
    )]
    LeafPerYear {
        /// The probability that was given.
        leaf_per_year: f64,
    },
    /// A scrub takes a while.
    #[error("an hour or more lies between two scrubs, not {scrub_days} days")]
    ScrubDays {
        /// The days that were given.
        scrub_days: f64,
    },
}

impl FailureRates {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`FailureRatesError`] names the number that is out of its range.
    pub fn new(parts: FailureRateParts) -> Result<Self, FailureRatesError> {
        let FailureRateParts {
            volume_per_year,
            replacement_days,
            leaf_per_year,
            scrub_days,
        } = parts;
        // A range contains no NaN.
        if !(f64::MIN_POSITIVE..1.0).contains(&volume_per_year) {
            return Err(FailureRatesError::VolumePerYear { volume_per_year });
        }
        if !(MIN_DAYS..=f64::MAX).contains(&replacement_days) {
            return Err(FailureRatesError::ReplacementDays { replacement_days });
        }
        if !(0.0..1.0).contains(&leaf_per_year) {
            return Err(FailureRatesError::LeafPerYear { leaf_per_year });
        }
        if !(MIN_DAYS..=f64::MAX).contains(&scrub_days) {
            return Err(FailureRatesError::ScrubDays { scrub_days });
        }
        Ok(Self(parts))
    }

    /// Returns the numbers.
    pub const fn parts(&self) -> &FailureRateParts {
        &self.0
    }

    /// Returns how many times a year a volume fails, while it is up: the rate of the exponential distribution that fails
    /// within a year with the probability given.
    pub(super) fn failures_per_year(&self) -> f64 {
        -f64::ln_1p(-self.0.volume_per_year)
    }

    /// Returns how many times a year a volume is replaced, while it is down.
    pub(super) fn replacements_per_year(&self) -> f64 {
        DAYS_PER_YEAR / self.0.replacement_days
    }

    /// Returns how many scrub intervals a year has, 1 or more.
    pub(super) fn scrubs_per_year(&self) -> f64 {
        f64::max(1.0, DAYS_PER_YEAR / self.0.scrub_days)
    }

    /// Returns the probability that a leaf goes bad within one scrub interval.
    pub(super) fn leaf_per_scrub(&self) -> f64 {
        -f64::exp_m1(f64::ln_1p(-self.0.leaf_per_year) / self.scrubs_per_year())
    }
}
