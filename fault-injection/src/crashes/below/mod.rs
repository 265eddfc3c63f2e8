//! One floor of the engine alone on a simulated disk: images that cost little, for numbers and for depth.
//!
//! Each scenario does random things and notes, before and after each, what a crash may leave from then on. What is checked
//! is the contract of that floor alone, not what others make of it.

mod catalog;
mod journal;
mod sessions;
mod volume;

use super::{
    scenario::{Record, Scenario, State},
    violation::Violation,
};
use crate::{SimulatedStorage, simulation::Marker};

/// Returns all of them.
pub fn all() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(catalog::CatalogAlone),
        Box::new(journal::JournalAlone),
        Box::new(volume::VolumeAlone),
        Box::new(sessions::SessionsAlone),
    ]
}

/// What may be found, from each moment on.
struct Moments<S> {
    disk: SimulatedStorage,
    states: Vec<S>,
}

impl<S: State + Clone + 'static> Moments<S> {
    fn new(disk: &SimulatedStorage, first: S) -> Self {
        Self {
            disk: disk.clone(),
            states: vec![first],
        }
    }

    /// Notes what may be found from now on.
    fn note(&mut self, state: &S) {
        self.disk.marker(self.states.len().to_string());
        self.states.push(state.clone());
    }
}

impl<S: State + Clone + 'static> Record for Moments<S> {
    fn state_after(&self, markers: &[Marker]) -> Box<dyn State> {
        let index = markers
            .iter()
            .rev()
            .find_map(|marker| marker.tag.parse::<usize>().ok());
        Box::new(self.states[index.unwrap_or(0)].clone())
    }

    fn surprise(&self) -> Option<Violation> {
        None
    }
}
