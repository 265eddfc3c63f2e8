//! Random bytes, and the only place that asks the system for them.

use rustix::{
    io::retry_on_intr,
    rand::{GetRandomFlags, getrandom},
};

use crate::error::HostError;

/// Gives random bytes; the operations of an archive get one, so that a test can have the same identities again.
pub trait Randomness: std::fmt::Debug + Send + Sync {
    /// Fills `into`.
    ///
    /// # Errors
    /// [`HostError::Randomness`] when there are none.
    fn fill(&self, into: &mut [u8]) -> Result<(), HostError>;
}

/// The randomness of the system, which nobody can predict.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, into: &mut [u8]) -> Result<(), HostError> {
        let mut filled = 0;
        while filled < into.len() {
            // More than 256 bytes may come in pieces.
            filled += retry_on_intr(|| getrandom(&mut into[filled..], GetRandomFlags::empty()))
                .map_err(|errno| HostError::Randomness { source: errno.into() })?;
        }
        Ok(())
    }
}

/// Returns `N` random bytes, for identities and for names that must not collide.
///
/// # Errors
/// [`HostError::Randomness`] when there are none. Early in the boot of a machine the system blocks until there are.
pub(super) fn random_bytes<const N: usize>(randomness: &dyn Randomness) -> Result<[u8; N], HostError> {
    let mut bytes = [0; N];
    randomness.fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_filled_and_no_two_answers_are_equal() {
        let first = random_bytes::<1024>(&SystemRandomness).expect("random bytes");
        let second = random_bytes::<1024>(&SystemRandomness).expect("random bytes");
        assert_ne!(first, second);
        // 32 zeros at the end of random bytes happen once in 2^256.
        assert_ne!(first[992..], [0; 32], "the end was left as it was");
    }

    #[test]
    fn nothing_can_be_asked_for() {
        assert_eq!(random_bytes::<0>(&SystemRandomness).expect("no bytes"), []);
    }
}
