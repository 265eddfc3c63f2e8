//! Directories that are restored as such: made first and closed to others, given what was stored of them last.

use std::{
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags, chmod, fchmod, futimens, mkdirat, openat},
    io::Errno,
};

use super::{
    super::directory::sync_opened_directory,
    Durability, Restored, kept_mode, modified_at,
    temporary::Spot,
    tree::{Missing, not_entered, split},
};
use crate::{
    error::{HostError, HostOperation},
    units::Timestamp,
};

/// Others see what is in a directory when its own permissions say so, which is when it is full.
const OWNER_ALONE: u32 = 0o700;

/// Whether a directory is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    New,
    /// It was there, and is as it was.
    WasThere,
}

/// Makes the directory of a name.
pub(super) fn make(spot: &Spot, durability: Durability) -> Result<Made, HostError> {
    let made = match mkdirat(
        spot.directory.as_fd(),
        spot.last(),
        Mode::from_raw_mode(OWNER_ALONE),
    ) {
        Ok(()) => Made::New,
        Err(Errno::EXIST) => Made::WasThere,
        Err(errno) => {
            return Err(HostError::io(HostOperation::CreateDirectory, &spot.path())(errno));
        }
    };
    let below = spot.name.as_bytes();
    let entered = spot
        .tree
        .enter(&spot.directory, split(&spot.name).1, Missing::Fail, below)?;
    spot.tree.keep(below, &Arc::new(entered));
    if durability.is_due_at_once(&spot.directory) {
        spot.directory.sync_upwards(&spot.path())?;
    }
    Ok(made)
}

/// Gives a directory its permissions and its time.
pub(super) fn set_metadata(
    spot: &Spot,
    mtime: Timestamp,
    mode: u32,
    durability: Durability,
) -> Result<Restored, HostError> {
    let path = spot.path();
    let is_due = durability.is_due_at_once(&spot.directory);
    let not_kept = match open_to_change(spot, &path)? {
        Ok(opened) => {
            let kept = [
                fchmod(&opened, kept_mode(mode)).map_err(HostError::io(HostOperation::SetMode, &path)),
                futimens(&opened, &modified_at(mtime)).map_err(HostError::io(HostOperation::SetTime, &path)),
            ];
            if is_due {
                sync_opened_directory(&File::from(opened), &path)?;
            }
            kept.into_iter().filter_map(Result::err).collect()
        }
        Err(refused) => vec![refused],
    };
    if is_due {
        spot.directory.sync_upwards(&path)?;
    }
    Ok(Restored { not_kept })
}

/// Opens a directory so that it can be changed and synced, also one that its owner may not read. The inner error is that
/// of one that belongs to somebody else and may not be read by us.
fn open_to_change(spot: &Spot, path: &Path) -> Result<Result<OwnedFd, HostError>, HostError> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |access: OFlags| openat(spot.directory.as_fd(), spot.last(), access | flags, Mode::empty());
    let refuse = |errno| not_entered(&spot.directory, split(&spot.name).1, errno, spot.path());
    match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => {}
        opened => return opened.map(Ok).map_err(refuse),
    }
    let found = open(OFlags::PATH).map_err(refuse)?;
    // The only way to change what is open as a path alone; a name could lead to something else by now.
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    if let Err(errno) = chmod(itself, Mode::from_raw_mode(OWNER_ALONE)) {
        return Ok(Err(HostError::io(HostOperation::SetMode, path)(errno)));
    }
    openat(found.as_fd(), ".", OFlags::RDONLY | flags, Mode::empty())
        .map(Ok)
        .map_err(HostError::io(HostOperation::Open, path))
}
