//! Segments that nobody needs any more.

use super::{CopyPosition, Journal, JournalState, Scan, files::FIRST_RECORD_BYTES, record::Spot};

impl Journal {
    /// Goes on in a new segment on every copy, so that those before it can go as a whole one day. A copy where that fails stays
    /// where it is.
    #[must_use]
    pub fn begin_segments(&self, state: &JournalState) -> JournalState {
        let begin = |position: &CopyPosition| {
            let begun = self
                .index_of(position.volume, position.copy)
                .and_then(|index| self.new_segment(index, position.segment, FIRST_RECORD_BYTES).ok());
            begun.map_or(*position, |(segment, _)| CopyPosition {
                segment,
                end_bytes: FIRST_RECORD_BYTES,
                ..*position
            })
        };
        JournalState {
            copies: state.copies.iter().map(begin).collect(),
            ..state.clone()
        }
    }

    /// Removes the segments of every copy that hold only records up to [`JournalState::forgotten`], oldest first; returns how
    /// many those were.
    ///
    /// Whoever calls has made the state durable that says so: without it the copies that have lost them would be mended
    /// from the others. What cannot be removed stays for the next time. Nothing is removed of a copy that has no position.
    pub fn remove_forgotten(&self, scan: &Scan, state: &JournalState) -> u64 {
        let mut removed = 0;
        for index in 0..self.places.len() {
            let place = &self.places[index];
            let Some(position) = state.position(place.volume, place.copy) else {
                continue;
            };
            let is_here = |spot: &&Spot| (spot.place.volume, spot.place.copy) == (place.volume, place.copy);
            let is_needed = |epoch| epoch > state.forgotten;
            let needed = scan.chain().iter().filter(|entry| is_needed(entry.head.epoch));
            let spots = needed.flat_map(|entry| entry.spots.iter().filter(is_here));
            let first_needed = spots.map(|spot| spot.place.segment).min();
            let first_kept = first_needed.map_or(position.segment, |first| first.min(position.segment));
            let listed = self.list(index).unwrap_or_default();
            for segment in listed.into_iter().filter(|segment| *segment < first_kept) {
                match self.storage.remove_file(&self.path(index, segment)) {
                    Ok(()) => removed += 1,
                    // A gap between older and newer ones would look like damage.
                    Err(_) => break,
                }
            }
        }
        removed
    }
}
