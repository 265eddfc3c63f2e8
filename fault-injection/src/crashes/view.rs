//! Everything that an open archive shows, and whether it agrees with itself.

use std::{io::Read as _, sync::Arc};

use bfdb::{Archive, EntryKind, FileInfo, Tier, catalog::Totals};

use super::{
    image::{Half, Image},
    oracle::{Entry, Kind, Seen},
    setting::explained,
    violation::{Promise, Violation},
};

/// Names that are read at most, and bytes of each: what never ends is no answer.
const MOST_NAMES: usize = 10_000;
const MOST_BYTES: u64 = 1 << 24;

/// Why not everything was seen.
#[derive(Debug)]
pub(crate) enum Unseen {
    /// The archive has said so.
    Refused(Box<dyn std::error::Error>),
    /// What it shows does not agree with itself.
    Wrong(Violation),
}

impl<E: std::error::Error + 'static> From<E> for Unseen {
    fn from(error: E) -> Self {
        Self::Refused(Box::new(error))
    }
}

/// Reads everything: names, kinds, every byte. Every error is a violation.
pub(crate) fn see(archive: &Archive) -> Result<Seen, Violation> {
    try_see(archive).map_err(|unseen| match unseen {
        Unseen::Refused(error) => Promise::Content.broken(explained(error.as_ref())),
        Unseen::Wrong(violation) => violation,
    })
}

/// Reads everything where the archive may say that it is damaged.
pub(crate) fn try_see(archive: &Archive) -> Result<Seen, Unseen> {
    let snapshot = archive.snapshot()?;
    let mut seen = Seen::new();
    let mut counted = Totals::default();
    for info in snapshot.files_and_versions(None) {
        let info = info?;
        if seen.len() >= MOST_NAMES {
            let wrong = Promise::NoHang.broken(format!("more than {MOST_NAMES} names are listed"));
            return Err(Unseen::Wrong(wrong));
        }
        count(&mut counted, &info);
        let kind = match &info.kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::SymbolicLink { target } => Kind::Link(target.to_vec().into()),
            EntryKind::File => {
                let mut bytes = Vec::new();
                let version = snapshot.of_version(info.version);
                let reader = version.open_file(&info.name, Arc::new(()))?;
                reader.take(MOST_BYTES).read_to_end(&mut bytes)?;
                Kind::File(bytes.into())
            }
        };
        if info.is_kept {
            // It can be read, and nobody sees it under its name.
            continue;
        }
        let modified = (info.modified_at.seconds(), info.modified_at.nanoseconds());
        let entry = Entry {
            kind,
            mode: info.mode,
            modified,
        };
        seen.insert(info.name.to_string(), entry);
    }
    let totals = snapshot.totals()?;
    // Blocks are counted by the scrub.
    counted.blocks = totals.blocks;
    if totals == counted {
        Ok(seen)
    } else {
        let wrong = Promise::Totals.broken(format!("{totals:?}, counted {counted:?}"));
        Err(Unseen::Wrong(wrong))
    }
}

/// Adds one entry to sums.
pub(crate) fn count(totals: &mut Totals, info: &FileInfo) {
    match info.kind {
        EntryKind::SymbolicLink { .. } if info.is_kept => totals.kept.symbolic_links += 1,
        EntryKind::File if info.is_kept => {
            totals.kept.files += 1;
            totals.kept.bytes += info.len_bytes;
            totals.kept.stored_bytes += info.stored_bytes;
        }
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
                Tier::Grouped => 3,
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
    let known = snapshot.health_totals().map_err(|error| refused(&error))?.known;
    if (known.damaged_shards, known.degraded_files, known.lost_files) != (0, 0, 0) {
        return Err(Promise::Totals.broken(format!("nothing is damaged, and known is {known:?}")));
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
