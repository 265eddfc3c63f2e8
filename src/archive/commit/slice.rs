//! Storing a slice of a checkpoint: as a commit that has a text and no entries.

use super::{
    describe::write_text,
    publish::{Made, Outcome, settle, store_again},
    reservation::Reservation,
};
use crate::{
    archive::{publication, shared::Shared},
    catalog::CheckpointStep,
    error::CommitError,
    units::{CommitId, FileName, to_u64},
};

/// Stores the bytes of a slice, durably on return, and returns the commit that has them. No checkpoint has it yet.
pub(in crate::archive) fn store_slice(
    shared: &Shared,
    name: &FileName,
    bytes: &[u8],
) -> Result<CommitId, CommitError> {
    let mut stored = None;
    // What is in memory can be written again, elsewhere, when an extent fails.
    store_again(shared, || {
        let reservation = Reservation::take_for_text(shared, (name, to_u64(bytes.len())))?;
        stored = Some(reservation.commit());
        let published = publish_slice(shared, &reservation, bytes);
        settle(shared, reservation, published)
    })?;
    Ok(stored.expect("an attempt was made"))
}

fn publish_slice(shared: &Shared, reservation: &Reservation, bytes: &[u8]) -> Result<Outcome, CommitError> {
    let block = write_text(shared, reservation, bytes)?;
    // I1, P2: every byte is durable before the journal or the catalog names any of them.
    reservation.sync(shared)?;
    let publishing = publication::begin(shared)?;
    reservation.check_owned(&publishing.writer)?;
    let mut publication = publication::empty(&publishing.writer)?;
    publication.commit = Some(reservation.commit());
    publication.extents = reservation.published_extents(&publishing.writer)?;
    publication.descriptor = Some(block);
    publication.checkpoint = Some(CheckpointStep::Slice);
    publication::publish(shared, publishing, publication, Vec::new())?;
    Ok(Outcome {
        outcomes: Vec::new(),
        made: Made::Something,
    })
}
