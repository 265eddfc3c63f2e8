//! Whether every byte on a disk has exactly one owner (O5): the catalog against the files, both ways.
//!
//! Looks at a disk that nobody has open, through the catalog and the names of the layout alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    Access,
    catalog::{Catalog, CatalogOptions, CatalogReader, Check, ExtentRecord, ExtentState},
    error::{CatalogError, FileKind},
    storage::Storage,
    units::{CommitId, ExtentId},
};

use super::setting::{ROOT, explained};
use crate::SimulatedStorage;

/// Names of an archive at rest, below its directory, that are always there or may be.
const NAMES: [&str; 8] = [
    "ballast",
    "catalog.redb",
    "sessions",
    "volumes",
    "volumes/v0",
    "volumes/v0/extents",
    "volumes/v0/volume.bfv",
    "lost+found",
];

/// Frames that are looked up at a time.
const PAGE_LEN: usize = 256;

/// Compares the catalog with what is on a disk.
///
/// Returns a sentence for each thing that belongs to nobody, or is not there.
///
/// # Errors
/// When the catalog or the disk cannot be read.
pub fn find_leaks(disk: &SimulatedStorage) -> Result<Vec<String>, String> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let catalog = Catalog::open(
        &storage,
        &Path::new(ROOT).join("catalog.redb"),
        Access::Read,
        Check::Always,
        CatalogOptions { cache_bytes: 1 << 20 },
    );
    let catalog = catalog.map_err(|error| explained(&error))?;
    let reader = catalog.read().map_err(|error| explained(&error))?;
    let extents = reader.extents().map_err(|error| explained(&error))?;
    let frames = frames(&reader).map_err(|error| explained(&error))?;
    let waiting = waiting(&reader).map_err(|error| explained(&error))?;
    drop(reader);
    catalog.close().map_err(|error| explained(&error))?;
    let mut found = Vec::new();
    walk(disk, Path::new(ROOT), &mut found)?;
    let mut rows: BTreeMap<PathBuf, &ExtentRecord> = extents
        .iter()
        .map(|extent| (path_of(extent.id), extent))
        .collect();
    let mut leaks = Vec::new();
    for (path, len_bytes) in &found {
        let below = path.strip_prefix(ROOT).unwrap_or(path);
        match rows.remove(path) {
            Some(extent) => leaks.extend(has_its_length(extent, *len_bytes, &waiting).err()),
            None if NAMES.iter().any(|known| Path::new(known) == below) || is_of_journal(below) => {}
            None => leaks.push(format!("{} belongs to nobody", below.display())),
        }
    }
    for (path, extent) in rows {
        let is_waiting = extent.owner.is_some_and(|owner| waiting.contains(&owner));
        if is_waiting && extent.end_bytes == 0 {
            // Reserved, and not made yet.
            continue;
        }
        leaks.push(format!("there is no {}, but a row: {extent:?}", path.display()));
    }
    for extent in &extents {
        let counted = frames.get(&extent.id).copied().unwrap_or_default();
        if counted != (extent.live_shards, extent.live_bytes) {
            leaks.push(format!("frames and bytes of frames are {counted:?}: {extent:?}"));
        }
    }
    Ok(leaks)
}

/// Says whether a name is that of the journal, one of its copies, or a segment; old segments stay.
fn is_of_journal(below: &Path) -> bool {
    let Ok(name) = below.strip_prefix("volumes/v0/journal") else {
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

fn path_of(extent: ExtentId) -> PathBuf {
    Path::new(ROOT).join(format!("volumes/v0/extents/{:08}.bfx", extent.get()))
}

/// Returns the commits that wait for somebody to end them: what they own is theirs.
fn waiting(reader: &CatalogReader) -> Result<BTreeSet<CommitId>, CatalogError> {
    let intents = reader.intents()?;
    let waiting = intents.iter().filter(|intent| intent.session.is_none());
    Ok(waiting.map(|intent| intent.commit).collect())
}

fn has_its_length(extent: &ExtentRecord, len_bytes: u64, waiting: &BTreeSet<CommitId>) -> Result<(), String> {
    match extent.owner {
        Some(owner) if !waiting.contains(&owner) => {
            return Err(format!("nobody works, but an extent has an owner: {extent:?}"));
        }
        Some(_) if len_bytes >= extent.end_bytes => return Ok(()),
        Some(_) | None => {}
    }
    // What cannot be cut back is sealed and left as it is: nobody's bytes behind its end are the price of a failed disk.
    let is_right = match extent.state {
        ExtentState::Open => len_bytes == extent.end_bytes,
        ExtentState::Sealed | ExtentState::Abandoned => len_bytes >= extent.end_bytes,
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("the file has {len_bytes} bytes: {extent:?}"))
    }
}

/// Counts the frames of each extent and their bytes.
fn frames(reader: &CatalogReader) -> Result<BTreeMap<ExtentId, (u64, u64)>, CatalogError> {
    let mut counted: BTreeMap<ExtentId, (u64, u64)> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reader.shards_page(after, PAGE_LEN)?;
        for place in &page {
            let block = reader.block_by_owner(place.owner)?;
            let shard = block.and_then(|block| block.shards.get(usize::from(place.shard.get())).copied()?);
            let sums = counted.entry(place.extent).or_default();
            sums.0 += 1;
            sums.1 += shard.map_or(0, |shard| shard.frame_len_bytes);
        }
        match page.last() {
            Some(last) if page.len() == PAGE_LEN => after = Some((last.extent, last.offset)),
            Some(_) | None => return Ok(counted),
        }
    }
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
