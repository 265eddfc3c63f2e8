//! The journal of an archive that was closed: one chain up to the catalog, whole on every copy.

use std::sync::Arc;

use bfdb::{
    catalog::{VolumeRecord, VolumeState},
    journal::{CopyPlace, Journal, JournalFault, JournalState},
    units::Epoch,
};

use super::{
    books::Books,
    setting::explained,
    violation::{Promise, Violation},
};
use crate::SimulatedStorage;

/// Volumes that have copies.
const VOLUMES: usize = 4;

/// Reads all of the journal.
///
/// # Errors
/// A fork, a copy that lacks a record, a record that all of them lack, an end that is not the catalog's.
pub fn check_chain(disk: &SimulatedStorage, books: &Books) -> Result<(), Violation> {
    let wrong = |detail: String| Err(Promise::Journal.broken(detail));
    let active: Vec<&VolumeRecord> = (books.volumes.iter())
        .filter(|volume| volume.state == VolumeState::Active)
        .take(VOLUMES)
        .collect();
    let copies = match active.len() {
        0 => return wrong("there is no volume".to_owned()),
        1 => 4,
        2 => 2,
        _ => 1,
    };
    let places = active.iter().flat_map(|volume| {
        (0..copies).map(|copy| CopyPlace {
            volume: volume.number,
            volume_id: volume.id,
            copy,
            directory: books.directory_of(volume).join(format!("journal/c{copy}")),
        })
    });
    let places = places.collect();
    let journal = Journal::new(Arc::new(disk.clone()), books.archive, places);
    let state = match JournalState::parse(&books.journal) {
        Ok(state) => state,
        Err(error) => return wrong(explained(&error)),
    };
    let scan = match journal.scan_behind(state.forgotten) {
        Ok(scan) => scan,
        Err(error) => return wrong(explained(&error)),
    };
    // An old catalog from behind what is forgotten is brought forward, so nothing of that may ever be lost on all copies.
    if let Some(first) = scan.first_epoch.filter(|first| *first > state.forgotten.next()) {
        return wrong(format!("no copy has all that was published before {first}"));
    }
    let epoch = scan.head.map_or(Epoch::ZERO, |head| head.epoch);
    if epoch != books.epoch {
        return wrong(format!("it ends at {epoch}, the catalog is at {}", books.epoch));
    }
    if let Some(fork) = scan.forks.first() {
        return wrong(format!("{fork:?}"));
    }
    let is_lack = |fault: &JournalFault| matches!(fault, JournalFault::Lacks { .. });
    match scan.findings.iter().find(|finding| is_lack(&finding.fault)) {
        Some(finding) => wrong(format!("{finding:?}")),
        None => Ok(()),
    }
}
