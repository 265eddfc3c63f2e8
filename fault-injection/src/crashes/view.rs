//! Everything that an open archive shows, and whether it agrees with itself.

use std::{io::Read as _, sync::Arc};

use bfdb::{Archive, EntryKind, FileInfo, Tier, catalog::Totals};

use super::{
    image::{Half, Image},
    oracle::{Entry, Kind, Seen},
    setting::explained,
    violation::{Promise, Violation},
};

/// Reads everything: names, kinds, every byte.
pub(crate) fn see(archive: &Archive) -> Result<Seen, Violation> {
    let refused = |error: &dyn std::error::Error| Promise::Content.broken(explained(error));
    let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
    let mut seen = Seen::new();
    let mut counted = Totals::default();
    for info in snapshot.files(None) {
        let info = info.map_err(|error| refused(&error))?;
        count(&mut counted, &info);
        let kind = match &info.kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::SymbolicLink { target } => Kind::Link(target.to_vec().into()),
            EntryKind::File => {
                let mut bytes = Vec::new();
                let reader = snapshot.open_file(&info.name, Arc::new(()));
                let mut reader = reader.map_err(|error| refused(&error))?;
                let read = reader.read_to_end(&mut bytes);
                read.map_err(|error| {
                    Promise::Content.broken(format!("{}: {}", info.name, explained(&error)))
                })?;
                Kind::File(bytes.into())
            }
        };
        let modified = (info.modified_at.seconds(), info.modified_at.nanoseconds());
        let entry = Entry {
            kind,
            mode: info.mode,
            modified,
        };
        seen.insert(info.name.to_string(), entry);
    }
    let totals = snapshot.totals().map_err(|error| refused(&error))?;
    // Blocks are counted by the scrub.
    counted.blocks = totals.blocks;
    if totals == counted {
        Ok(seen)
    } else {
        Err(Promise::Totals.broken(format!("{totals:?}, counted {counted:?}")))
    }
}

fn count(totals: &mut Totals, info: &FileInfo) {
    match info.kind {
        EntryKind::Directory => totals.directories += 1,
        EntryKind::SymbolicLink { .. } => totals.symbolic_links += 1,
        EntryKind::File => {
            totals.files += 1;
            totals.bytes += info.len_bytes;
            totals.stored_bytes += info.stored_bytes;
            let tier = match info.tier {
                Tier::Tiny => 0,
                Tier::Segmented => 1,
                Tier::Blocked => 2,
            };
            totals.tiers[tier].files += 1;
            totals.tiers[tier].bytes += info.len_bytes;
        }
    }
}

/// Verifies every shard: in the order of the disk, or by names.
pub(super) fn inspect(archive: &Archive, image: &Image) -> Result<(), Violation> {
    let refused = |error: &dyn std::error::Error| Promise::Whole.broken(explained(error));
    let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
    let totals = snapshot.totals().map_err(|error| refused(&error))?;
    let is_scrub = image.is_of(Half::Scrubbed);
    let report = if is_scrub {
        archive.scrub(&()).map_err(|error| refused(&error))?
    } else {
        snapshot.verify(None, &()).map_err(|error| refused(&error))?
    };
    if !report.damage.is_empty() {
        return Err(Promise::Whole.broken(format!("{:?}", report.damage)));
    }
    // A scrub reads the descriptors too.
    let is_right = report.blocks == totals.blocks || (is_scrub && report.blocks > totals.blocks);
    if is_right {
        Ok(())
    } else {
        let detail = format!("{} blocks, {} were read", totals.blocks, report.blocks);
        Err(Promise::Totals.broken(detail))
    }
}
