//! Whether the catalog of an archive that was closed comes out again when it is lost.

use std::{collections::BTreeMap, path::Path};

use bfdb::{
    Access, Archive, OpenOptions,
    catalog::{ExtentRecord, VolumeRecord},
    storage::Storage as _,
    units::ExtentId,
};

use super::{
    books::Books,
    oracle::{Allowed, Seen, Viewer},
    setting::{explained, resources},
    view::see,
    violation::{Promise, Violation},
};
use crate::SimulatedStorage;

/// Loses the catalog on a copy of the disk and makes it again: it shows the same, and says the same of where it lies.
///
/// # Errors
/// That it cannot be made again, or what differs.
pub(super) fn check_rebuild(
    disk: &SimulatedStorage,
    (root, seed): (&Path, u64),
    (seen, books): (&Seen, &Books),
) -> Result<(), Violation> {
    let wrong = |detail: String| Promise::Rebuilds.broken(detail);
    let disk = disk.settled();
    disk.refuse_waits();
    (disk.remove_file(&root.join("catalog.redb")))
        .and_then(|()| disk.sync_directory(root))
        .map_err(|error| wrong(explained(&error)))?;
    let options = OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    };
    let made = Archive::rebuild_catalog(&disk.machine(seed ^ 0x5EED_0008), root, &options);
    let (archive, _) = made.map_err(|error| wrong(explained(&error)))?;
    let exactly = Allowed::exactly(seen);
    exactly.judge(&see(&archive)?, Viewer::Writer).map_err(wrong)?;
    archive.close().map_err(|error| wrong(explained(&error)))?;
    let again = Books::read(&disk, root).map_err(wrong)?;
    match differences(books, &again) {
        None => Ok(()),
        Some(differs) => Err(wrong(format!("{differs}: {books:?}, {again:?}"))),
    }
}

/// Says in what a catalog that was made again differs from the lost one, as far as it must not.
fn differences(lost: &Books, again: &Books) -> Option<&'static str> {
    let volumes = |books: &Books| -> Vec<VolumeRecord> {
        let of_no_epoch = books.volumes.iter().cloned();
        of_no_epoch
            .map(|volume| VolumeRecord {
                epoch: bfdb::units::Epoch::ZERO,
                ..volume
            })
            .collect()
    };
    [
        ("the epoch", lost.epoch == again.epoch),
        ("frames", lost.frames == again.frames),
        ("the files in extents", lost.files_in == again.files_in),
        ("volumes", volumes(lost) == volumes(again)),
        ("what lives in extents", lives(lost) == lives(again)),
        ("sums", again.wrong_sums.is_empty()),
    ]
    .into_iter()
    .find_map(|(what, is_same)| (!is_same).then_some(what))
}

/// What lives in each extent that holds anything.
fn lives(books: &Books) -> BTreeMap<ExtentId, (u64, u64, u64)> {
    let holds = |extent: &&ExtentRecord| extent.live_shards > 0;
    let extents = books.extents.iter().filter(holds);
    extents
        .map(|extent| {
            let lives = (extent.live_bytes, extent.live_shards, extent.live_files);
            (extent.id, lives)
        })
        .collect()
}
