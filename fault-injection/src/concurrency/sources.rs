//! Files of the host to commit, each named after the operation that is to store it: so whoever goes on with a commit of a
//! dead process knows whose it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::content::bytes;

/// Makes the source of an operation.
///
/// # Panics
/// When the host fails: nothing can go on.
pub(super) fn source(directory: &Path, (number, content): (u64, u64), nanoseconds: u32) -> PathBuf {
    let path = directory.join(format!("{number}-{content}"));
    make(&path, content, nanoseconds).expect("the host takes a small file");
    path
}

/// Returns which operation made a source, and of which content.
pub(super) fn origin_of(path: &Path) -> Option<(u64, u64)> {
    let (number, content) = path.file_name()?.to_str()?.split_once('-')?;
    Some((number.parse().ok()?, content.parse().ok()?))
}

#[expect(clippy::disallowed_methods, reason = "the sources of commits lie on the host")]
fn make(path: &Path, content: u64, nanoseconds: u32) -> io::Result<()> {
    fs::write(path, bytes(content))?;
    fs::File::options()
        .write(true)
        .open(path)?
        .set_modified(UNIX_EPOCH + Duration::new(content, nanoseconds))
}
