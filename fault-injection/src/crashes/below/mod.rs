//! One floor of the engine alone on a simulated disk: images that cost little, for numbers and for depth.
//!
//! Each scenario does random things and notes, before and after each, what a crash may leave from then on. What is checked
//! is the contract of that floor alone, not what others make of it.

mod catalog;
mod journal;
mod sessions;
mod volume;

pub use self::volume::{LocalVolumes, VolumeAlone, VolumeMaker};
use super::{moments::Moments, scenario::Scenario};

/// Returns all of them.
pub fn all() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(catalog::CatalogAlone),
        Box::new(journal::JournalAlone),
        Box::new(VolumeAlone::new("below-volume", LocalVolumes)),
        Box::new(sessions::SessionsAlone),
    ]
}
