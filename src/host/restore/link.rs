//! Symbolic links, restored as what they are: text, which nothing here follows.

use std::{
    ffi::OsStr,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use rustix::{
    fs::{AtFlags, symlinkat, utimensat},
    io::Errno,
};

use super::{
    super::directory::{Existing, name_is_taken},
    Durability, Restored, modified_at,
    temporary::{Spot, TemporaryNames},
};
use crate::{
    error::{HostError, HostOperation},
    units::Timestamp,
};

/// What a link is to be.
pub(super) struct Link<'a> {
    pub(super) target: &'a [u8],
    pub(super) mtime: Timestamp,
    pub(super) existing: Existing,
    pub(super) durability: Durability,
}

/// Makes a link. It has no state in between: it is made with its text, so only one that replaces something needs a
/// temporary name.
pub(super) fn create(spot: Spot, names: &TemporaryNames, link: &Link<'_>) -> Result<Restored, HostError> {
    let path = spot.path();
    let target = OsStr::from_bytes(link.target);
    let set_time = |directory: BorrowedFd<'_>, part: &Path| {
        utimensat(
            directory,
            part,
            &modified_at(link.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(HostError::io(HostOperation::SetTime, &path))
    };
    let (directory, kept) = match link.existing {
        Existing::Refuse => {
            let parent = spot.directory.as_fd();
            symlinkat(target, parent, spot.last()).map_err(|errno| match errno {
                Errno::EXIST => name_is_taken(parent, spot.last(), &path),
                errno => HostError::io(HostOperation::Create, &path)(errno),
            })?;
            let kept = set_time(parent, spot.last());
            (spot.directory, kept)
        }
        Existing::Overwrite => {
            let (kept, temporary) = names.make(spot, |directory, part| {
                symlinkat(target, directory, part).map(|()| set_time(directory, part))
            })?;
            (temporary.rename(link.existing)?, kept)
        }
    };
    if link.durability.is_due_at_once(&directory) {
        directory.sync_upwards(&path)?;
    }
    Ok(Restored {
        not_kept: kept.err().into_iter().collect(),
    })
}
