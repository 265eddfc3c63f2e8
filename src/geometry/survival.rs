//! Policies that survive the loss of volumes, in all of their tiers.

use super::{
    CannotSurvive, Policy, PolicyError, PolicyParts, Tier, spread_counts, surviving_shape, volumes_survived,
};
use crate::units::CodeShape;

/// Why a policy does not survive what it is to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SurvivalError {
    /// No code of the tier does.
    #[error("tier {tier}: {source}")]
    NoCode {
        /// The tier.
        tier: Tier,
        /// Why, with the numbers.
        source: CannotSurvive,
    },
    /// The code that the tier has does not.
    #[error(
        "tier {tier}: {shape} spread over {volumes} volumes survives the loss of {survived} of them, not of {survive}"
    )]
    FallsShort {
        /// The tier.
        tier: Tier,
        /// Its code.
        shape: CodeShape,
        /// Volumes of the archive.
        volumes: u16,
        /// How many of them are to be survived.
        survive: u16,
        /// How many are.
        survived: u16,
    },
    /// The numbers break another rule.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Policy {
    /// Returns a policy with which any `survive` of `volumes` volumes may be lost, in every tier: with the codes of `parts`
    /// where they do already, and with others where not, as [`surviving_shape`] chooses them.
    ///
    /// # Errors
    /// [`SurvivalError`] names the tier and the numbers.
    pub fn surviving(parts: PolicyParts, volumes: u16, survive: u16) -> Result<Self, SurvivalError> {
        let choose = |tier, shape| {
            let chosen = surviving_shape(shape, volumes, survive);
            chosen.map_err(|source| SurvivalError::NoCode { tier, source })
        };
        let tiny_shape = choose(Tier::Tiny, parts.tiny_shape)?;
        let segmented_shape = choose(Tier::Segmented, parts.segmented_shape)?;
        let blocked_shape = choose(Tier::Blocked, parts.blocked_shape)?;
        let grouped_shape = choose(Tier::Grouped, parts.grouped.shape)?;
        // Files of a tier 4 of copies would be no safer than those of tier 3, and no tier 4 has them.
        let has_groups = !grouped_shape.is_replication();
        let policy = Self::new(PolicyParts {
            tiny_shape,
            segmented_shape,
            blocked_shape,
            blocked_below_bytes: if has_groups {
                parts.blocked_below_bytes
            } else {
                u64::MAX
            },
            grouped: parts.grouped.with_shape(grouped_shape, parts.leaf),
            survive_volumes: survive,
            ..parts
        })?;
        Ok(policy)
    }

    /// Returns how many of `volumes` volumes may be lost, whichever they are, with the code of a tier; 0 where a block of it
    /// stays whole on one volume.
    ///
    /// # Panics
    /// When there is no volume: an archive has one or more.
    pub fn volumes_survived(&self, tier: Tier, volumes: u16) -> u16 {
        let shape = self.shape(tier);
        volumes_survived(&spread_counts(shape, volumes), shape.parity())
    }

    /// Checks that the code of a tier gives on `volumes` volumes what was asked for.
    ///
    /// # Errors
    /// [`SurvivalError::FallsShort`].
    pub fn check_survival(&self, tier: Tier, volumes: u16) -> Result<(), SurvivalError> {
        let (survive, survived) = (self.survive_volumes(), self.volumes_survived(tier, volumes));
        if survived >= survive {
            return Ok(());
        }
        Err(SurvivalError::FallsShort {
            tier,
            shape: self.shape(tier),
            volumes,
            survive,
            survived,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(data: u16, parity: u16) -> CodeShape {
        CodeShape::new(data, parity).expect("valid shape")
    }

    #[test]
    fn every_tier_of_a_chosen_policy_survives_what_was_asked_for() {
        for volumes in 1..=40 {
            for survive in 0..volumes {
                let policy = Policy::surviving(PolicyParts::default(), volumes, survive)
                    .expect("there are volumes left");
                assert_eq!(policy.survive_volumes(), survive);
                for tier in policy.tiers() {
                    assert_eq!(
                        policy.check_survival(tier, volumes),
                        Ok(()),
                        "{survive} of {volumes}"
                    );
                }
            }
        }
        let policy = Policy::surviving(PolicyParts::default(), 3, 1).expect("three are enough");
        assert_eq!(
            Tier::ALL.map(|tier| policy.shape(tier)),
            [shape(1, 3), shape(1, 3), shape(6, 3), shape(6, 3)]
        );
    }

    #[test]
    fn codes_that_survive_already_stay_what_they_are() {
        let parts = PolicyParts {
            segmented_shape: shape(4, 4),
            blocked_shape: shape(8, 4),
            ..PolicyParts::default()
        };
        let policy = Policy::surviving(parts, 3, 1).expect("three are enough");
        assert_eq!(policy.shape(Tier::Segmented), shape(4, 4));
        assert_eq!(policy.shape(Tier::Blocked), shape(8, 4));
        assert_eq!(policy.volumes_survived(Tier::Blocked, 3), 1);
        assert_eq!(policy.volumes_survived(Tier::Blocked, 2), 0, "whole on one");
    }

    #[test]
    fn what_cannot_be_survived_is_refused_with_the_tier_and_the_numbers() {
        let refused = Policy::surviving(PolicyParts::default(), 2, 2).expect_err("none would be left");
        assert_eq!(
            refused.to_string(),
            "tier 1: no code in place of RS(1,3) survives the loss of 2 of 2 volumes: that takes 3 or more"
        );
        let parts = PolicyParts {
            survive_volumes: 1,
            ..PolicyParts::default()
        };
        let policy = Policy::new(parts).expect("it keeps the other rules");
        assert_eq!(policy.check_survival(Tier::Tiny, 3), Ok(()));
        assert_eq!(
            policy
                .check_survival(Tier::Blocked, 3)
                .expect_err("whole on one volume")
                .to_string(),
            "tier 3: RS(30,3) spread over 3 volumes survives the loss of 0 of them, not of 1"
        );
    }
}
