//! What may be found on a disk from each moment on, noted while something is done to it.

use std::error::Error;

use super::{
    scenario::{Record, State},
    setting::explained,
    violation::{Promise, Violation},
};
use crate::{SimulatedStorage, simulation::Marker};

/// What the markers of moments begin with: others may stand in the same timeline.
const MOMENT: &str = "moment ";

/// What may be found, from each moment on.
pub(super) struct Moments<S> {
    disk: SimulatedStorage,
    states: Vec<S>,
    /// The first answer that nobody expects of a disk that works.
    surprise: Option<Violation>,
}

impl<S: State + Clone + 'static> Moments<S> {
    pub(super) fn new(disk: &SimulatedStorage, first: S) -> Self {
        Self {
            disk: disk.clone(),
            states: vec![first],
            surprise: None,
        }
    }

    /// Notes what may be found from now on.
    pub(super) fn note(&mut self, state: &S) {
        self.disk.marker(format!("{MOMENT}{}", self.states.len()));
        self.states.push(state.clone());
    }

    /// Notes an answer that nobody expects of a disk that works.
    pub(super) fn is_surprised(&mut self, error: &dyn Error) {
        let violation = || Promise::Answers.broken(explained(error));
        self.surprise.get_or_insert_with(violation);
    }
}

impl<S: State + Clone + 'static> Record for Moments<S> {
    fn state_after(&self, markers: &[Marker]) -> Box<dyn State> {
        let index = markers
            .iter()
            .rev()
            .find_map(|marker| marker.tag.strip_prefix(MOMENT)?.parse::<usize>().ok());
        Box::new(self.states[index.unwrap_or(0)].clone())
    }

    fn surprise(&self) -> Option<Violation> {
        self.surprise.clone()
    }
}
