//! What the threads of a scrub tell, and what they do not ask.

use crate::archive::observer::{Event, Observer};

/// Passes events on and keeps back that the observer wants an end: whoever hands out the work asks that.
pub(super) struct OnlyEvents<'a>(pub(super) &'a dyn Observer);

impl Observer for OnlyEvents<'_> {
    fn event(&self, event: Event<'_>) {
        self.0.event(event);
    }
}
