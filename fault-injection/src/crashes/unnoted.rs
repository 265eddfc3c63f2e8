//! Whether an archive is in order of which nobody has noted what was asked of it: the contract of every outcome but for what
//! the names stand for, which is left to whoever uses it.

use std::path::Path;

use bfdb::{Archive, error::CommitError};

use super::{
    check::{Place, Visit, no_wait},
    image::{Half, Image},
    oracle::Allowed,
    setting::explained,
    view::see,
    violation::{Promise, Violation, guarded},
    waiting::still_waits,
};

/// Checks an archive on copies of one disk, in all steps of [`super::check`]; returns what belongs to nobody. Where there is no
/// archive, nothing is wrong with it.
///
/// # Errors
/// The first violation.
pub fn check_unnoted(image: &Image, root: &Path, seed: u64) -> Result<Vec<String>, Violation> {
    let place = Place { image, root, seed };
    guarded(|| {
        let read = image.fork();
        let Some(shown) = place.show(&read)? else {
            return Ok(Vec::new());
        };
        if shown.report.is_catalog_old || shown.report.is_catalog_damaged {
            return Err(Promise::Content.broken(format!("reader: {:?}", shown.report)));
        }
        let disk = place.disk_for_writing(read);
        let (archive, report) = place.open_for_writing(&disk)?;
        if report.unknown_extents > 0 {
            return Err(Promise::NoLeak.broken(format!("{report:?}")));
        }
        if report.records_rolled_forward == 0 {
            still_waits(&shown.waiting, &archive)?;
        }
        end_all(&archive, image).map_err(|error| Promise::Ends.broken(explained(&error)))?;
        let seen = see(&archive)?;
        no_wait(&disk)?;
        let visit = Visit { place, disk: &disk };
        visit.use_it(archive, &Allowed::exactly(&seen))
    })
}

/// Ends what waits: resumed on half of the images, as far as the sources allow, and rolled back otherwise.
fn end_all(archive: &Archive, image: &Image) -> Result<(), CommitError> {
    if !image.is_of(Half::RolledBack) {
        for commit in archive.unfinished()? {
            match archive.resume(commit.commit, &()) {
                // A source may be gone or have changed, and a name may be taken.
                Ok(_) | Err(_) => {}
            }
        }
    }
    for commit in archive.unfinished()? {
        archive.roll_back(commit.commit)?;
    }
    Ok(())
}
