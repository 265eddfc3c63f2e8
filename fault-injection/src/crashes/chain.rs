//! The journal of an archive that was closed: one chain up to the catalog, whole on every copy.

use std::sync::Arc;

use bfdb::{
    journal::{CopyPlace, Journal, JournalFault},
    units::Epoch,
};

use super::{
    books::Books,
    setting::explained,
    violation::{Promise, Violation},
};
use crate::SimulatedStorage;

/// Copies on the volume of an archive that has one.
const COPIES: u8 = 4;

/// Reads all of the journal.
///
/// # Errors
/// A fork, a copy that lacks a record, a record that all of them lack, an end that is not the catalog's.
pub fn check_chain(disk: &SimulatedStorage, books: &Books) -> Result<(), Violation> {
    let wrong = |detail: String| Err(Promise::Journal.broken(detail));
    let Some(volume) = books.volumes.first() else {
        return wrong("there is no volume".to_owned());
    };
    let place = |copy| CopyPlace {
        volume: volume.number,
        volume_id: volume.id,
        copy,
        directory: books.root.join(format!("volumes/v0/journal/c{copy}")),
    };
    let places = (0..COPIES).map(place).collect();
    let journal = Journal::new(Arc::new(disk.clone()), books.archive, places);
    let scan = match journal.scan() {
        Ok(scan) => scan,
        Err(error) => return wrong(explained(&error)),
    };
    // An old catalog of any age is brought forward, so nothing of it may ever be lost on all copies.
    if let Some(first) = scan.first_epoch.filter(|first| *first != Epoch::ZERO.next()) {
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
