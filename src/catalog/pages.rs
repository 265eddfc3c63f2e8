//! Whether the pages of a catalog that is only read are those that were written.
//!
//! Rows carry checksums of their own, so a flipped bit shows in the row that it hit. A page that is an old one, because the
//! disk lost a write, holds whole rows: it shows only in the page above, which has the checksum of the one that should be there.
//! The database verifies those when it opens a file for writing. Here it does so in memory, for a reader: the file is
//! neither written nor locked, and nobody waits.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use redb::DatabaseError;

use super::guard::Guard;
use super::open::builder;
use super::overlay::Overlay;
use super::{CatalogOptions, Check, SMALL_CATALOG_LEN_BYTES};
use crate::error::CatalogTable;
use crate::storage::StorageFile;

/// What is known of the pages of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// Every one of them is what was written.
    Sound,
    /// One of them is not.
    Damaged,
    /// Nobody has looked: there are too many, they cannot all be read, or a writer was faster every time.
    Unknown,
}

/// Times that pages are looked at again because a writer has come between.
pub(super) const LOOKS: u32 = 3;

/// The page that names the roots of the trees: it changes with every commit.
const HEADER_LEN: usize = 4096;

/// What a catalog was when pages were looked at.
type Moment = (u64, Box<[u8; HEADER_LEN]>);

/// Verifies every page that the newest root of a small catalog leads to.
pub(super) fn look(file: &Arc<dyn StorageFile>, options: CatalogOptions) -> Pages {
    look_between(file, options, || {})
}

/// The same, with something in front of each look.
pub(super) fn look_between(
    file: &Arc<dyn StorageFile>,
    options: CatalogOptions,
    between: impl Fn(),
) -> Pages {
    for _ in 0..LOOKS {
        let Ok(before) = moment(file) else { break };
        if before.0 > SMALL_CATALOG_LEN_BYTES {
            break;
        }
        between();
        match look_once(file, options) {
            Pages::Sound => return Pages::Sound,
            Pages::Unknown => break,
            // Invariant: a commit writes its root last, and what a root leads to is written over only by commits behind the one
            // that replaces it. So where the root is the same before and behind, so was all that it leads to.
            Pages::Damaged => match moment(file) {
                Ok(behind) if behind == before => return Pages::Damaged,
                Ok(_) => {}
                Err(_) => break,
            },
        }
    }
    Pages::Unknown
}

fn moment(file: &Arc<dyn StorageFile>) -> io::Result<Moment> {
    let mut header = Box::new([0; HEADER_LEN]);
    file.read_exact_at(0, header.as_mut_slice())?;
    Ok((file.info()?.len_bytes, header))
}

fn look_once(file: &Arc<dyn StorageFile>, options: CatalogOptions) -> Pages {
    // Of its own: the database may panic on a bad page, and the reader has another handle.
    let guard = Guard::default();
    let are_verified = Rc::new(Cell::new(None));
    let noted = Rc::clone(&are_verified);
    let opened = guard.run(CatalogTable::Database, || {
        let mut builder = builder(options, Check::Always);
        // It begins with the pages of the newest root. Behind them it says how far it is: 0.3 when it goes on to an older
        // root, which is no answer here, and 0.6 when all are right. What it would do then is for writers.
        builder.set_repair_callback(move |session| {
            if session.progress() > 0.0 {
                noted.set(Some(session.progress() > 0.5));
                session.abort();
            }
        });
        match builder.create_with_backend(Overlay::new(Arc::clone(file))?) {
            Err(DatabaseError::RepairAborted) => Ok(()),
            opened => opened.map(drop).map_err(redb::Error::from),
        }
    });
    match (opened, are_verified.get()) {
        (Ok(()), Some(true)) => Pages::Sound,
        (Ok(()), Some(false)) => Pages::Damaged,
        (Err(error), _) if error.is_damaged() => Pages::Damaged,
        (Ok(()), None) | (Err(_), _) => Pages::Unknown,
    }
}
