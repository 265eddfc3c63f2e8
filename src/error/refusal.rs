//! Errors that say something of who has asked, and nothing of what was asked for.

use std::io;

use rustix::io::Errno;

/// Returns an error once more when the system refused because of who asked, and how much that one has.
pub(crate) fn refusal(error: &io::Error) -> Option<io::Error> {
    let code = error.raw_os_error()?;
    // Too many open files, of the process or of the system.
    let has_no_handles = [Errno::MFILE, Errno::NFILE]
        .map(Errno::raw_os_error)
        .contains(&code);
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::OutOfMemory];
    let is_refusal = has_no_handles || kinds.contains(&error.kind());
    is_refusal.then(|| io::Error::from_raw_os_error(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_sector_is_no_refusal_and_a_full_table_of_files_is() {
        let is_refusal =
            |errno: Errno| refusal(&io::Error::from_raw_os_error(errno.raw_os_error())).is_some();
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::ACCESS,
            Errno::PERM,
            Errno::NOMEM,
        ] {
            assert!(is_refusal(errno), "{errno:?}");
        }
        for errno in [Errno::IO, Errno::NOENT, Errno::NODEV, Errno::STALE, Errno::NOSPC] {
            assert!(!is_refusal(errno), "{errno:?}");
        }
        assert!(refusal(&io::ErrorKind::Other.into()).is_none());
    }
}
