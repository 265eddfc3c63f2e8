//! Finding copies of a journal where no catalog says which there are.

use std::{ffi::OsString, io, path::Path};

use super::{
    CopyPlace,
    layout::{list_segments, segment_path},
};
use crate::{
    format::{JOURNAL_SEGMENT_LEN_BYTES, JournalSegment},
    storage::{FileAccess, Storage},
    units::{ArchiveId, VolumeId},
};

/// Returns the copies in the directory of journals of a volume, ascending.
///
/// The number of the volume is what a header says of this archive and this volume; a copy without such a header counts where
/// another one has it. Without any there is none.
///
/// # Errors
/// That the directory cannot be listed; one that is not there holds no copy.
pub fn copies_below(
    storage: &dyn Storage,
    directory: &Path,
    (archive, volume_id): (ArchiveId, VolumeId),
) -> io::Result<Vec<CopyPlace>> {
    let names = match storage.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut numbers: Vec<u8> = names.iter().filter_map(copy_number).collect();
    numbers.sort_unstable();
    let mut copies = Vec::new();
    let mut volume = None;
    for copy in numbers {
        let directory = directory.join(format!("c{copy}"));
        // What cannot be listed has nothing to say, as if it were not there.
        let segments = list_segments(storage, &directory).unwrap_or_default();
        if segments.is_empty() {
            continue;
        }
        let headers = segments
            .iter()
            .filter_map(|&segment| header_of(storage, &segment_path(&directory, segment)));
        let mut ours = headers.filter(|header| (header.archive, header.volume_id) == (archive, volume_id));
        volume = volume.or_else(|| ours.next().map(|header| header.place.volume));
        copies.push((copy, directory));
    }
    let Some(volume) = volume else {
        return Ok(Vec::new());
    };
    let place = |(copy, directory)| CopyPlace {
        volume,
        volume_id,
        copy,
        directory,
    };
    Ok(copies.into_iter().map(place).collect())
}

fn copy_number(name: &OsString) -> Option<u8> {
    let digits = name.to_str()?.strip_prefix('c')?;
    let number: u8 = digits.parse().ok()?;
    // One name for each number.
    (number.to_string() == digits).then_some(number)
}

fn header_of(storage: &dyn Storage, path: &Path) -> Option<JournalSegment> {
    let file = storage.open(path, FileAccess::Read).ok()?;
    let mut bytes = [0; JOURNAL_SEGMENT_LEN_BYTES];
    file.read_exact_at(0, &mut bytes).ok()?;
    JournalSegment::parse(&bytes).ok()
}
