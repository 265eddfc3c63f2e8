//! Making a volume in a directory of its own.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::volumes::expect_direct;
use crate::{
    error::{HostError, HostOperation, OpenError, VolumeError},
    format::VolumeSlot,
    host::ArchiveLayout,
    storage::Storage,
    units::VolumeId,
    volume::{IoMode, LocalVolume},
};

/// Names that a volume consists of, or that every file system has at its root.
const EXPECTED_NAMES: [&str; 4] = ["volume.bfv", "extents", "journal", "lost+found"];

/// Directories that volumes may be made in: absolute, apart from each other, from the archive and from the volumes that it has.
pub(super) struct NewPlaces(Vec<PathBuf>);

impl NewPlaces {
    /// Checks directories, which may be absent; those above them are there.
    pub(super) fn check(
        layout: &ArchiveLayout,
        paths: &[PathBuf],
        taken: &[PathBuf],
    ) -> Result<Self, OpenError> {
        let storage = layout.machine().storage.as_ref();
        let mut others = vec![resolved(storage, layout.root())?];
        for path in taken {
            // One that is not there now takes no room from anybody.
            others.extend(resolved(storage, path));
        }
        let mut places = Vec::new();
        for path in paths {
            let place = resolved(storage, path)?;
            let is_nested = |other: &&PathBuf| other.starts_with(&place) || place.starts_with(other);
            if let Some(other) = others.iter().find(is_nested) {
                let (path, other) = (place, other.clone());
                return Err(OpenError::VolumeNested { path, other });
            }
            others.push(place.clone());
            places.push(place);
        }
        Ok(Self(places))
    }

    /// Refuses directories in which a volume cannot be made.
    pub(super) fn refuse_what_is_there(&self, storage: &dyn Storage) -> Result<(), OpenError> {
        self.paths()
            .try_for_each(|path| refuse_what_is_there(storage, path))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }
}

/// Makes a volume in a directory that is absent or empty, or holds one that is nobody's; durable on return.
///
/// It is nobody's itself until it is told of its archive, so that what is refused behind this stands in nobody's way.
pub(super) fn make_volume_at(
    layout: &ArchiveLayout,
    io: IoMode,
    path: &Path,
) -> Result<LocalVolume, OpenError> {
    let storage = &layout.machine().storage;
    refuse_what_is_there(storage.as_ref(), path)?;
    let id = VolumeId::from_bytes(layout.machine().random_bytes()?);
    let local = LocalVolume::create_on(Arc::clone(storage), path, id)?;
    expect_direct(io, storage.as_ref(), path)?;
    Ok(local)
}

/// Returns the slot of a volume that lies in a directory.
pub(super) fn slot_at(storage: &dyn Storage, path: &Path) -> Option<VolumeSlot> {
    let [first, second] = LocalVolume::read_slots_on(storage, path);
    let zeros = || Box::new([0; crate::volume::SLOT_LEN_BYTES]);
    let (first, second) = (
        first.unwrap_or_else(|_| zeros()),
        second.unwrap_or_else(|_| zeros()),
    );
    VolumeSlot::newest(&first[..], &second[..]).ok()
}

fn refuse_what_is_there(storage: &dyn Storage, path: &Path) -> Result<(), OpenError> {
    if let Some(slot) = slot_at(storage, path) {
        return Err(OpenError::VolumeTaken {
            path: path.to_path_buf(),
            volume: slot.volume,
            archive: slot.archive,
        });
    }
    let names = match storage.list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let path = path.to_path_buf();
            return Err(VolumeError::Directory { path, source }.into());
        }
    };
    let is_expected = |name: &OsStr| {
        let mut expected = EXPECTED_NAMES.iter();
        expected.any(|expected| expected.as_bytes() == name.as_bytes())
    };
    if names.iter().all(|name| is_expected(name)) {
        return Ok(());
    }
    let path = path.to_path_buf();
    Err(OpenError::VolumeNotEmpty { path })
}

/// Returns a path without links and dots; its last part may be missing.
fn resolved(storage: &dyn Storage, path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |source| -> OpenError { HostError::io(HostOperation::Resolve, path)(source).into() };
    match storage.canonical(path) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error).map_err(failed)?;
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            let above = storage
                .canonical(above.unwrap_or(Path::new(".")))
                .map_err(failed)?;
            Ok(above.join(name))
        }
        Err(error) => Err(failed(error)),
    }
}
