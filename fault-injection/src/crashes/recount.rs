//! Whether every byte on a disk has exactly one owner (O5) and sums are right (O8): the catalog against the files, both ways.
//!
//! Looks at a disk that nobody has open, through the names of the layout alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bfdb::{
    catalog::{ExtentRecord, ExtentState, VolumeState},
    error::FileKind,
    storage::Storage as _,
    units::{ByteRange, ExtentId, VolumeId},
};

use super::{
    books::{Books, Frame},
    setting::explained,
};
use crate::SimulatedStorage;

/// Names of an archive at rest, below its directory, that are always there or may be.
const NAMES: [&str; 6] = [
    "ballast",
    "catalog.redb",
    "sessions",
    "volumes",
    "volumes/v0",
    "lost+found",
];

/// Names of a volume, below its directory.
const NAMES_OF_VOLUME: [&str; 2] = ["extents", "volume.bfv"];

/// What has become of a catalog before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogPast {
    /// It was the newest all the while.
    Newest,
    /// An old one was put back, and brought forward since.
    OnceOld,
}

/// Compares a catalog with what is on its disk; nothing waits there any more.
///
/// Returns a sentence for each thing that belongs to nobody, is not there, or was counted wrong.
///
/// # Errors
/// When the disk cannot be read.
pub fn find_leaks(
    disk: &SimulatedStorage,
    books: &Books,
    catalog: CatalogPast,
) -> Result<Vec<String>, String> {
    let mut leaks = Vec::new();
    let mut found = Vec::new();
    let volumes: BTreeMap<VolumeId, PathBuf> = (books.volumes.iter())
        .map(|volume| (volume.id, books.directory_of(volume)))
        .collect();
    walk(disk, &books.root, &mut found)?;
    let is_of_volume = |path: &Path| {
        volumes
            .values()
            .any(|volume| path.starts_with(volume) && path != volume)
    };
    found.retain(|(path, _)| !is_of_volume(path));
    for (path, _) in found.drain(..) {
        let below = path.strip_prefix(&books.root).unwrap_or(&path);
        if !NAMES.iter().any(|known| Path::new(known) == below) {
            leaks.push(format!("{} belongs to nobody", below.display()));
        }
    }
    let mut rows: BTreeMap<PathBuf, &ExtentRecord> = BTreeMap::new();
    for extent in &books.extents {
        let volume = volumes.get(&extent.volume).cloned().unwrap_or_default();
        rows.insert(volume.join(path_of(extent.id)), extent);
    }
    // What is on a volume that was removed is nobody's business.
    for volume in books
        .volumes
        .iter()
        .filter(|volume| volume.state != VolumeState::Removed)
    {
        let directory = books.directory_of(volume);
        walk(disk, &directory, &mut found)?;
        for (path, len_bytes) in found.drain(..) {
            let below = path.strip_prefix(&directory).unwrap_or(&path);
            match rows.remove(&path) {
                Some(extent) => leaks.extend(has_its_length(extent, len_bytes, catalog).err()),
                None if NAMES_OF_VOLUME.iter().any(|known| Path::new(known) == below)
                    || is_of_journal(below) => {}
                None => leaks.push(format!("{} belongs to nobody", path.display())),
            }
        }
    }
    let missing = rows
        .iter()
        .filter(|(_, extent)| extent.state != ExtentState::Dropped);
    leaks.extend(
        missing.map(|(path, extent)| format!("there is no {}, but a row: {extent:?}", path.display())),
    );
    let left = books.intents.iter();
    leaks.extend(left.map(|intent| format!("nobody works, but an intent is left: {intent:?}")));
    leaks.extend(books.extents.iter().filter_map(|extent| recount(extent, books)));
    leaks.extend(
        books
            .extents
            .iter()
            .filter_map(|extent| recount_freed(extent, books)),
    );
    leaks.extend(books.wrong_sums.iter().cloned());
    leaks.extend(neighbours(&books.frames));
    Ok(leaks)
}

/// Says whether a name is that of the journal, one of its copies, or a segment; old segments stay.
fn is_of_journal(below: &Path) -> bool {
    let Ok(name) = below.strip_prefix("journal") else {
        return false;
    };
    let parts: Vec<&str> = name.iter().filter_map(|part| part.to_str()).collect();
    let is_copy = |copy: &str| ["c0", "c1", "c2", "c3"].contains(&copy);
    let is_segment = |name: &str| {
        let digits = name.strip_suffix(".bfj").unwrap_or_default();
        digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match parts[..] {
        [] => true,
        [copy] => is_copy(copy),
        [copy, segment] => is_copy(copy) && is_segment(segment),
        _ => false,
    }
}

/// Returns where an extent lies below the directory of its volume.
fn path_of(extent: ExtentId) -> PathBuf {
    PathBuf::from(format!("extents/{:08}.bfx", extent.get()))
}

fn has_its_length(extent: &ExtentRecord, len_bytes: u64, catalog: CatalogPast) -> Result<(), String> {
    if extent.owner.is_some() {
        return Err(format!("nobody works, but an extent has an owner: {extent:?}"));
    }
    let may_be_longer = match extent.state {
        ExtentState::Open => false,
        // That a sync had failed there is in no record, and what stands behind may be what others have published: it is sealed.
        ExtentState::Sealed => catalog == CatalogPast::OnceOld,
        // What stands behind is cut off when that works, a dropped one is removed by whoever comes next, and behind the end of one
        // that was scanned may stand what nobody knows.
        ExtentState::Abandoned | ExtentState::Dropped | ExtentState::Scanned => true,
    };
    let is_right = len_bytes == extent.end_bytes || (may_be_longer && len_bytes > extent.end_bytes);
    if is_right {
        Ok(())
    } else {
        Err(format!("the file has {len_bytes} bytes: {extent:?}"))
    }
}

/// Adds the frames of an extent up: they lie below its end, none in another. Counts the files that they belong to, too.
fn recount(extent: &ExtentRecord, books: &Books) -> Option<String> {
    let (mut count, mut bytes, mut end) = (0, 0, 0);
    for frame in books.frames.iter().filter(|frame| frame.extent == extent.id) {
        if frame.offset < end {
            return Some(format!("{frame:?} begins inside another: {extent:?}"));
        }
        end = frame.offset + frame.len_bytes;
        count += 1;
        bytes += frame.len_bytes;
    }
    if end > extent.end_bytes {
        return Some(format!("frames reach to {end}: {extent:?}"));
    }
    let files = books.files_in.get(&extent.id).copied().unwrap_or(0);
    let is_right = (count, bytes, files) == (extent.live_shards, extent.live_bytes, extent.live_files);
    (!is_right).then(|| format!("{count} frames of {bytes} bytes and {files} files: {extent:?}"))
}

/// Says whether something lives in what is said to be given back, or that lies behind the end.
fn recount_freed(extent: &ExtentRecord, books: &Books) -> Option<String> {
    let freed = books.freed.get(&extent.id)?;
    let frames = || books.frames.iter().filter(|frame| frame.extent == extent.id);
    let is_wrong = |range: &&ByteRange| {
        let is_hit =
            |frame: &Frame| frame.offset < range.end() && range.start() < frame.offset + frame.len_bytes;
        range.end() > extent.end_bytes || range.start() < 4096 || frames().any(is_hit)
    };
    let wrong = freed.iter().find(is_wrong)?;
    Some(format!("{wrong} is said to be given back: {extent:?}"))
}

/// Finds blocks of which two shards lie in one extent: one damaged file would cost two of them.
fn neighbours(frames: &[Frame]) -> Vec<String> {
    let mut met = BTreeSet::new();
    let is_second = |frame: &&Frame| !met.insert((frame.owner, frame.extent));
    let second = frames.iter().filter(is_second);
    second
        .map(|frame| format!("another shard of the same block is in that extent: {frame:?}"))
        .collect()
}

/// Lists everything below a directory, with its length.
fn walk(disk: &SimulatedStorage, directory: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<(), String> {
    for name in disk.list(directory).map_err(|error| explained(&error))? {
        let path = directory.join(name);
        let info = disk.inspect(&path).map_err(|error| explained(&error))?;
        found.push((path.clone(), info.len_bytes));
        if info.kind == FileKind::Directory {
            walk(disk, &path, found)?;
        }
    }
    Ok(())
}
