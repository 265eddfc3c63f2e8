//! Everything that is on the volumes, and a catalog filled with it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    content::{Content, DescriptorBlock, Source},
    extent::scan_extent,
    filling::Filling,
    found::{FoundFrames, HighestIds},
    placing::Placing,
    report::DeepScanReport,
    volumes::FoundVolumes,
};
use crate::{
    archive::observer::Observer,
    catalog::{
        ArchiveRecord, Catalog, ExtentRecord, ExtentState, FORMAT_VERSION, SUPPORTED_FEATURES, VolumeRecord,
    },
    error::{CatalogError, OpenError},
    host::ArchiveLayout,
    units::{CommitId, to_u64},
};

/// What was found on the volumes, and of which archive it is.
pub(super) struct Scanned {
    pub(super) archive: ArchiveRecord,
    pub(super) volumes: FoundVolumes,
    found: FoundFrames,
    source: Source,
    report: DeepScanReport,
}

impl Scanned {
    /// Goes through every extent of the volumes.
    pub(super) fn new(
        mut volumes: FoundVolumes,
        root: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, OpenError> {
        let (mut found, mut report) = (FoundFrames::default(), DeepScanReport::default());
        let mut seen = BTreeSet::new();
        let archive = volumes.archive;
        for volume in &mut volumes.volumes {
            for stat in volume.volume.extents()? {
                HighestIds::see(&mut found.highest.extent, stat.extent.get());
                let is_second = seen.contains(&stat.extent);
                let scanned = if is_second {
                    None
                } else {
                    let scanned = scan_extent((archive, volume.volume.as_ref()), stat, &mut found, observer);
                    Some(scanned.ok_or(OpenError::Cancelled)?)
                };
                report.scanned_bytes += stat.len_bytes;
                match scanned.filter(|scanned| scanned.is_ours) {
                    Some(scanned) => {
                        seen.insert(stat.extent);
                        report.unreadable_bytes += scanned.unreadable_bytes;
                        let commit = scanned.header.map_or(0, |header| header.commit.get());
                        HighestIds::see(&mut found.highest.commit, commit);
                        volume.extents.push(scanned);
                    }
                    None => report.foreign_extents += 1,
                }
            }
        }
        found.sort();
        report.frames = to_u64(found.count());
        let source = Source {
            volumes: volumes.to_read(),
        };
        let archive =
            the_record(&volumes, &found, &source)?.ok_or_else(|| OpenError::DescriptorsMissing {
                path: root.to_path_buf(),
            })?;
        let (_, missing) = volumes.numbers(archive.policy.lanes())?;
        report.missing_volumes = missing;
        Ok(Self {
            archive,
            volumes,
            found,
            source,
            report,
        })
    }

    /// Returns the rows of the volumes, in the order in which they were found.
    pub(super) fn records(&self, layout: &ArchiveLayout) -> Result<Vec<VolumeRecord>, OpenError> {
        let (numbers, _) = self.volumes.numbers(self.archive.policy.lanes())?;
        let records = self.volumes.volumes.iter().zip(numbers);
        let record = records.map(|(found, number)| found.record(number, found.path_to_keep(layout)));
        Ok(record.collect())
    }

    /// Returns where the volumes are, in the same order.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.volumes.volumes.iter().map(|found| found.path.clone())
    }

    /// Fills a new catalog with everything that the descriptors say.
    pub(super) fn fill(
        self,
        catalog: &Catalog,
        records: &[VolumeRecord],
    ) -> Result<(HighestIds, DeepScanReport), CatalogError> {
        let lanes = self.archive.policy.lanes();
        let first = records.iter().min_by_key(|record| record.number);
        let first = first.expect("descriptors were found on a volume").id;
        let extents = self
            .volumes
            .volumes
            .iter()
            .zip(records)
            .flat_map(|(volume, record)| {
                let own = lanes.lane(record.number, 0).expect("a volume has its lanes");
                volume.extents.iter().map(move |extent| ExtentRecord {
                    id: extent.id,
                    volume: volume.id,
                    lane: extent.header.map_or(own, |header| header.lane),
                    state: ExtentState::Scanned,
                    owner: None,
                    end_bytes: extent.len_bytes,
                    live_bytes: 0,
                    live_shards: 0,
                    live_files: 0,
                })
            });
        let placing = Placing::new(extents, first, self.found.highest);
        let blocks: Vec<DescriptorBlock> = (self.found.descriptor_blocks())
            .filter_map(|frames| DescriptorBlock::of(frames, &self.found, &self.source))
            .collect();
        let mut filling = Filling::begin(catalog, &self.source, (self.found, placing), self.report);
        let mut last: Option<CommitId> = None;
        for block in blocks {
            match block.read(&self.source) {
                // A commit that was begun twice has said the same of itself twice.
                Content::Descriptor(said)
                    if said.archive.id == self.archive.id && last != Some(block.commit) =>
                {
                    last = Some(block.commit);
                    filling.add(block, said.entries)?;
                }
                Content::Descriptor(_) | Content::Other => {}
                Content::Lost => filling.report.descriptors_lost += 1,
            }
        }
        let (placing, report) = filling.end()?;
        Ok((placing.highest, report))
    }
}

/// Returns what the first descriptor that can be read says of the archive.
fn the_record(
    volumes: &FoundVolumes,
    found: &FoundFrames,
    source: &Source,
) -> Result<Option<ArchiveRecord>, OpenError> {
    let blocks = found.descriptor_blocks();
    let blocks = blocks.filter_map(|frames| DescriptorBlock::of(frames, found, source));
    let mut records = blocks.filter_map(|block| match block.read(source) {
        Content::Descriptor(said) => Some(said.archive).filter(|said| said.id == volumes.archive),
        Content::Other | Content::Lost => None,
    });
    let Some(record) = records.next() else {
        return Ok(None);
    };
    let unknown_features = record.required_features & !SUPPORTED_FEATURES;
    if record.format_version > FORMAT_VERSION || unknown_features != 0 {
        let format_version = record.format_version;
        let error = CatalogError::NewerFormat {
            format_version,
            unknown_features,
        };
        return Err(error.into());
    }
    Ok(Some(record))
}
