//! Files of which bytes are left out: they get a name that says so, and take the place of nothing.

use rustix::{
    fs::{FallocateFlags, fallocate, ftruncate},
    io::retry_on_intr,
};

use super::{super::directory::Existing, RestoreFile, refuse_what_stands};
use crate::{
    error::{HostError, HostOperation},
    units::{ByteRange, FileName},
};

/// What ends the name of a file that is not all there.
const SUFFIX: &str = ".partial";

/// Says whether a name is one that a file gets which is not all there: `<name>.partial`.
pub fn is_partial_name(name: &FileName) -> bool {
    name.as_bytes().ends_with(SUFFIX.as_bytes())
}

impl RestoreFile {
    /// Fails early where the name of a part cannot be given. What counts is the renaming in the end.
    ///
    /// # Errors
    /// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name is taken, [`HostError::Io`] otherwise, also
    /// when it is longer than the file system takes.
    pub fn check_partial_name(&self) -> Result<(), HostError> {
        refuse_what_stands(&self.temporary.spot_with(SUFFIX)?, Existing::Refuse)
    }

    /// Says that nothing is ever written to `ranges`, which touch no byte that was or will be written, nor each other.
    ///
    /// They are holes of the file and read as zeros; its length stays. The final name becomes `<name>.partial`, which is
    /// returned. It replaces nothing, whatever was asked for: an earlier part may have bytes that this one has not.
    ///
    /// # Errors
    /// [`HostError::Io`]; the final name stays then.
    ///
    /// # Panics
    /// When a range goes beyond the length that the file was begun with, or more bytes were written than the ranges leave.
    pub fn leave_out(&mut self, ranges: &[ByteRange]) -> Result<FileName, HostError> {
        let spot = self.temporary.spot_with(SUFFIX)?;
        // A file that had no room reserved ends with what was written last.
        ftruncate(&self.file, self.len_bytes).map_err(HostError::io(HostOperation::Write, &spot.path()))?;
        for range in ranges {
            assert!(
                range.end() <= self.len_bytes,
                "a hole beyond the length of a restored file"
            );
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match retry_on_intr(|| fallocate(&self.file, flags, range.start(), range.len())) {
                // Where the room that was reserved cannot be given back it reads as zeros all the same.
                Ok(()) | Err(_) => {}
            }
        }
        self.left_out = ranges.iter().map(|range| range.len()).sum();
        // Where the room can be given back, what stands there is gone by now, and nothing else would tell.
        assert!(
            *self.written.get_mut() + self.left_out <= self.len_bytes,
            "a hole where bytes were written"
        );
        self.existing = Existing::Refuse;
        self.temporary.set_final_name(spot.name.clone());
        Ok(spot.name)
    }
}
