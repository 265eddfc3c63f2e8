//! Dead ranges inside of extents that live on: holes where the file system has such.

use super::{Compaction, KeptWhy};
use crate::{
    archive::{shared::Shared, space::dead_bytes},
    catalog::{CatalogReader, ExtentRecord, TransactionSize},
    error::{RepairError, VolumeError},
    format::EXTENT_HEADER_LEN_BYTES,
    seeded_bugs::{SeededBug, is_on},
    units::{ByteRange, ExtentId, to_u64},
    volume::{Punched, SECTOR_LEN_BYTES},
};

/// Holes that are made before they are noted.
const NOTED_LEN: usize = 4096;

/// Holes that were made and are not noted yet.
type Unnoted = Vec<(ExtentId, Vec<ByteRange>)>;

impl Compaction<'_> {
    /// Gives back whole pages in which nothing lives.
    pub(super) fn punch(&mut self) -> Result<(), RepairError> {
        let reader = self.shared.catalog.read()?;
        let (extents, freed) = (reader.extents()?, reader.freed_bytes()?);
        drop(reader);
        let mut unnoted = Unnoted::new();
        for extent in extents {
            let freed = freed.get(&extent.id).copied().unwrap_or(0);
            if !self.is_free(&extent)
                || self.without_holes.contains(&extent.volume)
                || dead_bytes(&extent, freed) < SECTOR_LEN_BYTES
            {
                continue;
            }
            if let Err(cancelled) = self.expect_going_on() {
                self.note(&mut unnoted)?;
                return Err(cancelled);
            }
            self.punch_extent(&extent, &mut unnoted)?;
            if unnoted.iter().map(|(_, ranges)| ranges.len()).sum::<usize>() >= NOTED_LEN {
                self.note(&mut unnoted)?;
            }
        }
        self.note(&mut unnoted)
    }

    /// Sums up the holes that would be made.
    pub(super) fn plan_holes(&mut self, extents: &[ExtentRecord]) -> Result<(), RepairError> {
        let freed = self.shared.catalog.read()?.freed_bytes()?;
        for extent in extents {
            let known = self.freed(&freed, extent.id);
            if !self.is_free(extent) || dead_bytes(extent, known) < SECTOR_LEN_BYTES {
                continue;
            }
            let pages = dead_pages(&self.shared.catalog.read()?, extent.id)?;
            let bytes = pages.iter().map(|pages| pages.len()).sum::<u64>();
            self.report.hole_bytes += bytes;
            *self.would_go.entry(extent.id).or_default() += bytes;
        }
        Ok(())
    }

    fn punch_extent(&mut self, extent: &ExtentRecord, unnoted: &mut Unnoted) -> Result<(), RepairError> {
        let volumes = self.shared.volumes();
        let Some(volume) = volumes.writable(extent.volume) else {
            return Ok(());
        };
        // A transaction of its own sees what is published by now: what is dead then stays so.
        let pages = dead_pages(&self.shared.catalog.read()?, extent.id)?;
        if pages.is_empty() {
            return Ok(());
        }
        match volume.punch(extent.id, &pages) {
            Ok(Punched::Done) => {
                self.report.hole_bytes += pages.iter().map(|pages| pages.len()).sum::<u64>();
                unnoted.push((extent.id, pages));
            }
            Ok(Punched::Unsupported) => {
                self.without_holes.insert(extent.volume);
            }
            Ok(Punched::Shared) => {
                self.kept.insert(extent.id, KeptWhy::SharedFile);
            }
            // Damage, and a matter for scrub.
            Err(VolumeError::Missing { .. }) => {}
            Err(_) => {
                self.kept.insert(extent.id, KeptWhy::Failed);
            }
        }
        Ok(())
    }

    /// Notes what was given back. What is not noted for want of room is given back once more the next time, at no cost.
    fn note(&self, unnoted: &mut Unnoted) -> Result<(), RepairError> {
        let unnoted = std::mem::take(unnoted);
        let count: usize = unnoted.iter().map(|(_, ranges)| ranges.len()).sum();
        let size = TransactionSize {
            verified: to_u64(count),
            ..TransactionSize::default()
        };
        if unnoted.is_empty() || !self.shared.takes_notes(size) {
            return Ok(());
        }
        let mut writer = self.shared.catalog.write()?;
        for (extent, ranges) in &unnoted {
            writer.mark_freed(*extent, ranges)?;
        }
        writer.commit()?;
        Ok(())
    }
}

/// What [`SeededBug::RoomGivenBackTooEarly`] does: gives back what will be dead when a transaction is committed.
pub(in crate::archive) fn punch_too_early(shared: &Shared, writer: &CatalogReader) {
    for extent in writer.extents().unwrap_or_default() {
        let pages = dead_pages(writer, extent.id).unwrap_or_default();
        if let Some(volume) = shared.volumes().writable(extent.volume) {
            match volume.punch(extent.id, &pages) {
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Returns the pages of an extent in which nothing lives and that were not given back yet.
fn dead_pages(reader: &CatalogReader, extent: ExtentId) -> Result<Vec<ByteRange>, RepairError> {
    let dead = reader.dead_ranges(extent, to_u64(EXTENT_HEADER_LEN_BYTES))?;
    let freed = reader.freed_of(extent)?;
    let pages = dead.iter().filter_map(|range| {
        let (start, end) = if is_on(SeededBug::SharedPagesPunched) {
            let start = range.start() / SECTOR_LEN_BYTES;
            (start, range.end().div_ceil(SECTOR_LEN_BYTES))
        } else {
            let start = range.start().div_ceil(SECTOR_LEN_BYTES);
            (start, range.end() / SECTOR_LEN_BYTES)
        };
        ByteRange::new(start * SECTOR_LEN_BYTES, end * SECTOR_LEN_BYTES)
    });
    Ok(without(pages.filter(|range| !range.is_empty()), &freed))
}

/// Returns what is left of ranges without others; both rise.
fn without(ranges: impl Iterator<Item = ByteRange>, gone: &[ByteRange]) -> Vec<ByteRange> {
    let mut left = Vec::new();
    for range in ranges {
        let mut start = range.start();
        for gone in gone {
            if gone.end() <= start || gone.start() >= range.end() {
                continue;
            }
            left.extend(ByteRange::new(start, gone.start()));
            start = gone.end();
        }
        left.extend(ByteRange::new(start, range.end()));
    }
    left.retain(|range| !range.is_empty());
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every two ranges without every other one, against bytes one by one.
    #[test]
    fn what_is_left_of_ranges_is_every_byte_that_is_not_gone() {
        const LEN: u64 = 7;
        let range = |start, end| ByteRange::new(start, end).expect("in order");
        let all = || (0..LEN).flat_map(move |start| (start + 1..=LEN).map(move |end| range(start, end)));
        let has = |ranges: &[ByteRange], at: u64| {
            let mut ranges = ranges.iter();
            ranges.any(|range| (range.start()..range.end()).contains(&at))
        };
        for first in all() {
            for second in all().filter(|second| second.start() > first.end()) {
                for gone in all() {
                    let (dead, gone) = ([first, second], [gone]);
                    let left = without(dead.into_iter(), &gone);
                    assert!(left.is_sorted_by(|a, b| a.end() <= b.start()));
                    for at in 0..LEN {
                        let expected = has(&dead, at) && !has(&gone, at);
                        assert_eq!(has(&left, at), expected, "{dead:?} without {gone:?} at {at}");
                        let turned = without(gone.into_iter(), &dead);
                        assert_eq!(has(&turned, at), has(&gone, at) && !has(&dead, at));
                    }
                }
            }
        }
    }
}
