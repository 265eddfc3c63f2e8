//! Opening regular files and nothing else.

use std::{
    fs::{File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::{
    fs::{FileType, OFlags, Stat, fcntl_setfl, fstat},
    io::Errno,
};

use super::place::Place;
use crate::error::{FileKind, HostError, HostOperation};

/// Opens a regular file for reading; never follows a symbolic link as the last part of the path, never waits for the other
/// end of a fifo.
///
/// # Errors
/// [`HostError::NotRegular`] says what else it is, [`HostError::Io`] why it cannot be opened.
pub(super) fn open_regular_at(place: &Place) -> Result<(File, Stat), HostError> {
    // Opening a device can do something (rewind a tape): what is no file now is not even opened. Where a directory has
    // said that it is one, that is enough. The check that counts is the one after opening.
    if place.listed_as() != Some(FileKind::Regular) {
        let named = place
            .stat()
            .map_err(HostError::io(HostOperation::Inspect, place.path()))?;
        expect_regular(place.path(), &named)?;
    }
    open_then_check(place)
}

/// Does it whatever has come to the place since it was last looked at.
fn open_then_check(place: &Place) -> Result<(File, Stat), HostError> {
    let path = place.path();
    let opened = place
        .open_with(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
        .map_err(|errno| match errno {
            // The last part: links on the way there were followed when the path was looked at.
            Errno::LOOP => HostError::NotRegular {
                path: path.to_owned(),
                kind: FileKind::SymbolicLink,
            },
            errno => HostError::io(HostOperation::Open, path)(errno),
        })?;
    let file = File::from(opened);
    let found = fstat(&file).map_err(HostError::io(HostOperation::Inspect, path))?;
    expect_regular(path, &found)?;
    // It is a file: reads wait for its bytes, also where a file system takes "do not block" at its word. Local ones do
    // not, but nothing here tells them from those that run in a process or on another host.
    fcntl_setfl(&file, OFlags::empty()).map_err(HostError::io(HostOperation::Open, path))?;
    Ok((file, found))
}

fn expect_regular(path: &Path, found: &Stat) -> Result<(), HostError> {
    let kind = kind_of(found.st_mode);
    if kind == FileKind::Regular {
        Ok(())
    } else {
        Err(HostError::NotRegular {
            path: path.to_owned(),
            kind,
        })
    }
}

/// Returns the kind that the type bits of a mode stand for.
pub(super) fn kind_of(mode: u32) -> FileKind {
    kind_of_type(FileType::from_raw_mode(mode))
}

/// Returns the kind that a directory means.
pub(super) fn kind_of_type(listed: FileType) -> FileKind {
    match listed {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::SymbolicLink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharacterDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => FileKind::Unknown,
    }
}

/// Says whether two answers speak of the same file, whatever its name.
pub(super) fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

    use std::fs;

    use rustix::fs::{CWD, Mode, fcntl_getfl, mkfifoat};

    use super::*;

    #[test]
    fn what_takes_the_place_of_a_file_after_it_was_looked_at_is_refused_without_waiting() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        mkfifoat(CWD, at("fifo"), Mode::RUSR | Mode::WUSR).expect("a fifo");
        fs::write(at("file"), b"bytes").expect("a file");
        std::os::unix::fs::symlink("file", at("link")).expect("a link");
        let cases = [
            (at("fifo"), FileKind::Fifo),
            (at("link"), FileKind::SymbolicLink),
            (directory.path().to_owned(), FileKind::Directory),
            ("/dev/zero".into(), FileKind::CharacterDevice),
        ];
        for (path, expected) in cases {
            match open_then_check(&Place::of_path(path)) {
                Err(HostError::NotRegular { kind, .. }) => assert_eq!(kind, expected),
                other => panic!("{other:?} instead of {expected}"),
            }
        }
    }

    #[test]
    fn reads_of_an_opened_file_wait_for_its_bytes() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let (opened, _) = open_regular_at(&Place::of_path(file.path())).expect("a file");
        let flags = fcntl_getfl(&opened).expect("flags");
        assert!(!flags.contains(OFlags::NONBLOCK), "{flags:?}");
    }
}
