//! Files on the disk that is measured: room, reading into memory, syncing, removing, copying and damaging.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use rustix::fs::Advice;

use crate::{tools::Tool, workload::Workload};

const BUFFER_LEN_BYTES: usize = 1 << 20;
/// What a small file takes on a disk: pages of data and of metadata.
const ROOM_PER_FILE_BYTES: u64 = 8 << 10;
const SPARE_BYTES: u64 = 256 << 20;

/// Says how much room the comparison needs, and refuses to begin where there is less.
pub(crate) fn check_room(dir: &Path, workloads: &[Workload], tools: &[Box<dyn Tool>]) -> Result<()> {
    let (kept, removed): (Vec<&Workload>, Vec<&Workload>) = workloads
        .iter()
        .partition(|workload| workload.kind.has_many_files());
    // What was made of many files stays to the end.
    let kept: u64 = kept.iter().map(|workload| kept_bytes(workload, tools)).sum();
    let most = removed.iter().map(|workload| needed_bytes(workload, tools));
    let needed = kept + most.max().unwrap_or(0) + SPARE_BYTES;
    let room =
        rustix::fs::statvfs(dir).with_context(|| format!("asking for the room on {}", dir.display()))?;
    let free = room.f_bavail * room.f_frsize;
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    eprintln!(
        "needs {:.1} GB in {}, where {:.1} GB are free",
        gigabytes(needed),
        dir.display(),
        gigabytes(free)
    );
    ensure!(
        needed <= free,
        "there is not enough room: see --dir, --only and the lengths"
    );
    Ok(())
}

/// The most that a workload takes at a time: the source, and what the hungriest tool makes of it.
fn needed_bytes(workload: &Workload, tools: &[Box<dyn Tool>]) -> u64 {
    let files = &workload.files;
    let source = files.bytes() + files.count * ROOM_PER_FILE_BYTES;
    let percent = tools
        .iter()
        .filter(|tool| tool.takes(workload))
        .map(|tool| tool.room_percent(workload.kind))
        .max();
    source + source / 100 * percent.unwrap_or(0)
}

/// What a workload takes when nothing is removed between its rounds.
fn kept_bytes(workload: &Workload, tools: &[Box<dyn Tool>]) -> u64 {
    let files = &workload.files;
    let source = files.bytes() + files.count * ROOM_PER_FILE_BYTES;
    let tools = tools.iter().filter(|tool| tool.takes(workload));
    let percent: u64 = tools.map(|tool| tool.room_percent(workload.kind)).sum();
    source + source / 100 * percent * u64::from(workload.rounds)
}

/// Every file at or below a path.
pub(crate) fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
                left.push(entry?.path());
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads everything at or below a path, so that it lies in memory.
pub(crate) fn read_all(path: &Path) -> Result<()> {
    let mut buffer = vec![0; BUFFER_LEN_BYTES];
    for path in files_below(path)? {
        let mut file = File::open(&path)?;
        while file
            .read(&mut buffer)
            .with_context(|| format!("reading {}", path.display()))?
            > 0
        {}
    }
    Ok(())
}

/// Leaves nothing of what is at or below a path in memory: whoever reads it then waits for the disk.
pub(crate) fn forget_all(path: &Path) -> Result<()> {
    sync(path)?;
    for path in files_below(path)? {
        rustix::fs::fadvise(File::open(&path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Returns when the disk has a file, or everything of the file system that a directory is on.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        sync_file_system(&file)?;
    } else {
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn sync_file_system(dir: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(dir)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Removes a directory and everything in it, and waits until the disk knows.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    sync(dir.parent().context("a directory has a parent")?)
}

/// Room that is taken at and below a path.
pub(crate) fn used_bytes(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in files_below(path)? {
        bytes += fs::metadata(&path)?.blocks() * 512;
    }
    Ok(bytes)
}

/// Turns every bit of some bytes of a file over.
pub(crate) fn invert(file: &File, offset: u64, len: usize) -> io::Result<()> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    for byte in &mut bytes {
        *byte = !*byte;
    }
    file.write_all_at(&bytes, offset)
}

/// Damages a run of bytes as a disk would: neither length nor time of the file tell of it.
pub(crate) fn damage(path: &Path, offset: u64, len_bytes: u64) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let modified = file.metadata()?.modified()?;
    let end = offset + len_bytes;
    let mut at = offset;
    while at < end {
        let len = usize::try_from(end - at).map_or(BUFFER_LEN_BYTES, |left| left.min(BUFFER_LEN_BYTES));
        invert(&file, at, len).with_context(|| format!("damaging {}", path.display()))?;
        at += len as u64;
    }
    file.set_modified(modified)?;
    Ok(())
}

/// Copies the bytes of `from` between two offsets to a new file.
pub(crate) fn copy_part(from: &Path, range: (u64, u64), to: &Path) -> Result<()> {
    let mut source = File::open(from)?;
    io::Seek::seek(&mut source, io::SeekFrom::Start(range.0))?;
    let mut part = source.take(range.1 - range.0);
    io::copy(&mut part, &mut File::create_new(to)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_changes_bytes_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a");
        let whole: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
        fs::write(&path, &whole).expect("written");
        let before = fs::metadata(&path).expect("there");
        damage(&path, 100, 2_000_000).expect("damaged");
        let (found, after) = (
            fs::read(&path).expect("read"),
            fs::metadata(&path).expect("there"),
        );
        assert!(found[..100] == whole[..100], "something before was changed");
        assert!(
            found[2_000_100..] == whole[2_000_100..],
            "something behind was changed"
        );
        let same = (100..2_000_100).filter(|at| found[*at] == whole[*at]).count();
        assert_eq!(same, 0, "bytes that stayed as they were");
        assert_eq!(
            before.modified().expect("a time"),
            after.modified().expect("a time")
        );
    }

    #[test]
    fn all_files_below_are_found_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("b/c")).expect("made");
        for name in ["z", "b/c/y", "a"] {
            fs::write(dir.path().join(name), [1; 5000]).expect("written");
        }
        let found = files_below(dir.path()).expect("listed");
        assert_eq!(found, ["a", "b/c/y", "z"].map(|name| dir.path().join(name)));
        assert_eq!(files_below(&found[0]).expect("listed"), [found[0].clone()]);
        remove(&dir.path().join("b")).expect("removed");
        assert_eq!(files_below(dir.path()).expect("listed").len(), 2);
    }
}
