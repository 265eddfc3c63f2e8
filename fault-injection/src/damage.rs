//! Damage at rest: changes real files of an archive the way disks and people do.
//!
//! Every function either does exactly what it says or fails and changes nothing; a range that is not wholly there is an
//! error, so a test never believes in damage that was not done. What is random comes from a [`Seeded`] generator.

#![expect(
    clippy::disallowed_methods,
    reason = "this module exists to change files behind the engine's back"
)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bfdb::units::ByteRange;

use crate::Seeded;

/// Bytes that are zeroed or copied at once.
const STEP_BYTES: u64 = 1024 * 1024;

/// Returns every extent file (`*.bfx`) at any depth below `archive_dir`, sorted; links are not followed.
///
/// # Errors
/// What the host said about a directory.
pub fn extent_files(archive_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![archive_dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "bfx") {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Inverts all bits of the byte at `offset`; a second call puts it right again.
///
/// # Errors
/// What the host said; [`io::ErrorKind::InvalidInput`] when the file has no such byte.
pub fn flip_byte(path: &Path, offset: u64) -> io::Result<()> {
    flip_bits(path, offset, 0xFF)
}

/// Inverts some bits of some byte and returns its offset.
///
/// # Errors
/// What the host said; [`io::ErrorKind::InvalidInput`] when the file is empty.
pub fn flip_random_byte(path: &Path, seeded: &mut Seeded) -> io::Result<u64> {
    let len = fs::metadata(path)?.len();
    if len == 0 {
        return Err(out_of_range(path, 0, 1, 0));
    }
    let offset = seeded.below(len);
    flip_bits(path, offset, seeded.flip_mask())?;
    Ok(offset)
}

fn flip_bits(path: &Path, offset: u64, mask: u8) -> io::Result<()> {
    let (file, _) = open_with(path, offset, 1)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ mask], offset)
}

/// Puts zeros over a range, as a disk does that lost its sectors and made new ones.
///
/// # Errors
/// What the host said; [`io::ErrorKind::InvalidInput`] when the range is empty or not wholly in the file.
pub fn zero_range(path: &Path, range: ByteRange) -> io::Result<()> {
    let (file, _) = open_with(path, range.start(), range.len())?;
    let zeros = vec![0; to_usize(STEP_BYTES.min(range.len()))];
    let mut offset = range.start();
    while offset < range.end() {
        let len = STEP_BYTES.min(range.end() - offset);
        file.write_all_at(&zeros[..to_usize(len)], offset)?;
        offset += len;
    }
    Ok(())
}

/// Cuts a file to `len_bytes`.
///
/// # Errors
/// What the host said; [`io::ErrorKind::InvalidInput`] when the file is not longer than that.
pub fn truncate(path: &Path, len_bytes: u64) -> io::Result<()> {
    let (file, _) = open_with(path, len_bytes, 1)?;
    file.set_len(len_bytes)
}

/// Deletes a file.
///
/// # Errors
/// What the host said.
pub fn delete(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Exchanges two ranges of equal length, in one file or in two: whole bytes in the wrong place.
///
/// # Errors
/// What the host said; [`io::ErrorKind::InvalidInput`] when a range is empty, not wholly in its file, or overlaps the
/// other.
pub fn swap_ranges(one: (&Path, u64), other: (&Path, u64), len_bytes: u64) -> io::Result<()> {
    let (one_file, one_id) = open_with(one.0, one.1, len_bytes)?;
    let (other_file, other_id) = open_with(other.0, other.1, len_bytes)?;
    if one_id == other_id && one.1.abs_diff(other.1) < len_bytes {
        return Err(out_of_range(one.0, one.1, len_bytes, other.1));
    }
    let mut done = 0;
    while done < len_bytes {
        let len = to_usize(STEP_BYTES.min(len_bytes - done));
        let (mut from_one, mut from_other) = (vec![0; len], vec![0; len]);
        one_file.read_exact_at(&mut from_one, one.1 + done)?;
        other_file.read_exact_at(&mut from_other, other.1 + done)?;
        one_file.write_all_at(&from_other, one.1 + done)?;
        other_file.write_all_at(&from_one, other.1 + done)?;
        done += STEP_BYTES.min(len_bytes - done);
    }
    Ok(())
}

/// Opens a file that has these bytes; the numbers beside it say which file it is.
fn open_with(path: &Path, offset: u64, len_bytes: u64) -> io::Result<(File, (u64, u64))> {
    use std::os::unix::fs::MetadataExt as _;

    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let metadata = file.metadata()?;
    let end = offset.checked_add(len_bytes);
    if len_bytes == 0 || end.is_none_or(|end| end > metadata.len()) {
        return Err(out_of_range(path, offset, len_bytes, metadata.len()));
    }
    Ok((file, (metadata.dev(), metadata.ino())))
}

fn out_of_range(path: &Path, offset: u64, len_bytes: u64, bound: u64) -> io::Error {
    let path = path.display();
    let text = format!("{len_bytes} bytes at {offset} of {path} cannot be damaged, the bound is {bound}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("a step fits an address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("00000001.bfx");
        fs::write(&path, bytes).expect("there is room");
        (dir, path)
    }

    fn is_refused(outcome: io::Result<()>) -> bool {
        outcome.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)
    }

    #[test]
    fn flipping_changes_one_byte_and_flipping_again_mends_it() {
        let (_dir, path) = file_of(&[1, 2, 3]);
        flip_byte(&path, 1).expect("it is there");
        assert_eq!(fs::read(&path).expect("readable"), [1, 0xFD, 3]);
        flip_byte(&path, 1).expect("it is there");
        assert_eq!(fs::read(&path).expect("readable"), [1, 2, 3]);
        assert!(is_refused(flip_byte(&path, 3)), "there is no fourth byte");
        assert_eq!(fs::read(&path).expect("readable").len(), 3, "the file grew");
    }

    #[test]
    fn random_flips_change_exactly_one_byte_and_follow_from_the_seed() {
        let before = vec![0x55; 1000];
        let hurt = |seed| {
            let (_dir, path) = file_of(&before);
            let offset = flip_random_byte(&path, &mut Seeded::new(seed)).expect("not empty");
            (offset, fs::read(&path).expect("readable"))
        };
        for seed in 0..20 {
            let (offset, after) = hurt(seed);
            let changed: Vec<usize> = (0..1000).filter(|&index| after[index] != before[index]).collect();
            assert_eq!(changed, [to_usize(offset)], "seed {seed}");
            assert_eq!(hurt(seed), (offset, after), "seed {seed} gave something else");
        }
        assert_ne!(hurt(1), hurt(2), "the seed does not matter");
        let (_dir, path) = file_of(&[]);
        assert!(
            is_refused(flip_random_byte(&path, &mut Seeded::new(0)).map(drop)),
            "nothing to flip"
        );
    }

    #[test]
    fn zeroing_and_cutting_change_what_they_say_and_nothing_else() {
        let len = to_usize(STEP_BYTES) * 2;
        let (_dir, path) = file_of(&vec![7; len]);
        let range = ByteRange::new(3, STEP_BYTES + 10).expect("in order");
        zero_range(&path, range).expect("it is there");
        let after = fs::read(&path).expect("readable");
        assert!(
            after[..3]
                .iter()
                .chain(&after[to_usize(range.end())..])
                .all(|&byte| byte == 7),
            "beside it"
        );
        assert!(
            after[3..to_usize(range.end())].iter().all(|&byte| byte == 0),
            "inside it"
        );
        assert_eq!(after.len(), len);
        let beyond = ByteRange::new(0, STEP_BYTES * 2 + 1).expect("in order");
        assert!(is_refused(zero_range(&path, beyond)), "not wholly there");
        truncate(&path, 5).expect("it is longer");
        assert_eq!(fs::read(&path).expect("readable"), [7, 7, 7, 0, 0]);
        assert!(is_refused(truncate(&path, 5)), "nothing is cut");
        assert!(is_refused(truncate(&path, 6)), "nothing is cut");
    }

    #[test]
    fn swapping_exchanges_ranges_within_and_between_files() {
        let (_dir, one) = file_of(&[1, 2, 3, 4, 5]);
        swap_ranges((&one, 0), (&one, 3), 2).expect("both are there");
        assert_eq!(fs::read(&one).expect("readable"), [4, 5, 3, 1, 2]);
        assert!(is_refused(swap_ranges((&one, 0), (&one, 1), 2)), "they overlap");
        let (_dir, other) = file_of(&[9, 8, 7]);
        swap_ranges((&one, 0), (&other, 0), 3).expect("both are there, the offsets may be equal");
        assert_eq!(fs::read(&one).expect("readable"), [9, 8, 7, 1, 2]);
        assert_eq!(fs::read(&other).expect("readable"), [4, 5, 3]);
        assert!(
            is_refused(swap_ranges((&one, 0), (&other, 1), 3)),
            "the other is too short"
        );
    }

    #[test]
    fn extent_files_are_found_at_any_depth() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let extents = dir.path().join("volumes/v0/extents");
        fs::create_dir_all(&extents).expect("a directory");
        for name in ["00000002.bfx", "00000001.bfx", "00000001.bfj"] {
            fs::write(extents.join(name), []).expect("a file");
        }
        std::os::unix::fs::symlink(extents.join("00000001.bfx"), dir.path().join("link.bfx"))
            .expect("a link");
        let found = extent_files(dir.path()).expect("readable");
        assert_eq!(
            found,
            [extents.join("00000001.bfx"), extents.join("00000002.bfx")]
        );
        delete(&found[0]).expect("it is there");
        assert_eq!(extent_files(dir.path()).expect("readable"), found[1..]);
    }
}
