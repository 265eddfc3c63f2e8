//! Everything that a catalog says, asked for in every way, to be compared.

use super::*;

/// Everything that a catalog says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump {
    pub(super) epoch: Epoch,
    pub(super) journal: Vec<u8>,
    pub(super) totals: Totals,
    pub(super) volumes: Vec<VolumeRecord>,
    pub(super) extents: Vec<ExtentRecord>,
    pub(super) freed: BTreeMap<ExtentId, Vec<ByteRange>>,
    pub(super) files: Vec<(FileRecord, Vec<BlockRecord>)>,
    pub(super) kept: Vec<(FileRecord, Vec<BlockRecord>)>,
    pub(super) shards: Vec<ShardPlace>,
    pub(super) intents: Vec<IntentRecord>,
    pub(super) descriptors: Vec<DescriptorRecord>,
    pub(super) checkpoints: Checkpoints,
    pub(super) said: said::Said,
}

impl Dump {
    pub(super) fn of(reader: &CatalogReader) -> Result<Self, CatalogError> {
        let mut files: Vec<(FileRecord, Vec<BlockRecord>)> = Vec::new();
        loop {
            let after = files.last().map(|(file, _)| file.name.clone());
            let page = reader.files_page(None, after.as_ref(), 7)?;
            let is_last = page.len() < 7;
            assert!(files.len() < 1000, "a listing ends");
            for (file, inline_block) in page {
                let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
                let blocks = indexes
                    .map(|index| reader.block(&file, index))
                    .collect::<Result<Vec<_>, _>>()?;
                let is_inline = blocks.len() == 1;
                let only = blocks.first().filter(|_| is_inline);
                assert_eq!(inline_block.as_ref(), only, "the block of {}", file.name);
                assert_eq!(reader.file(file.id)?.as_ref(), Some(&file));
                assert_eq!(reader.file_by_name(&file.name)?.as_ref(), Some(&file));
                files.push((file, blocks));
            }
            if is_last {
                break;
            }
        }
        let kept = versions::all_kept(reader)?;
        let mut shards: Vec<ShardPlace> = Vec::new();
        loop {
            let after = shards.last().map(|place| (place.extent, place.offset));
            let page = reader.shards_page(after, 10)?;
            shards.extend(&page);
            assert!(shards.len() < 10_000, "a listing ends");
            if page.len() < 10 {
                break;
            }
        }
        let mut descriptors: Vec<DescriptorRecord> = Vec::new();
        loop {
            let after = descriptors.last().map(|descriptor| descriptor.commit);
            let page = reader.descriptors_page(after, 2)?;
            descriptors.extend_from_slice(&page);
            assert!(descriptors.len() < 1000, "a listing ends");
            if page.len() < 2 {
                break;
            }
        }
        for found in &descriptors {
            assert_eq!(reader.descriptor(found.commit)?.as_ref(), Some(found));
        }
        let intents = intents::all(reader)?;
        let extents = reader.extents()?;
        let freed = freed(reader, &extents)?;
        Ok(Self {
            epoch: reader.epoch()?,
            journal: reader.journal()?,
            totals: reader.totals()?,
            volumes: reader.volumes()?,
            said: said::Said::of(
                reader,
                &[files.as_slice(), &kept].concat(),
                &descriptors,
                &extents,
            )?,
            extents,
            freed,
            files,
            kept,
            shards,
            intents,
            descriptors,
            checkpoints: reader.checkpoints()?,
        })
    }

    pub(super) fn at(path: &Path, access: Access) -> Result<Self, CatalogError> {
        let catalog = open(path, access)?;
        assert_eq!(*catalog.archive(), archive());
        let dump = Self::of(&catalog.read()?)?;
        catalog.close()?;
        Ok(dump)
    }
}

/// Everything that was given back, listed extent by extent and summed up.
fn freed(
    reader: &CatalogReader,
    extents: &[ExtentRecord],
) -> Result<BTreeMap<ExtentId, Vec<ByteRange>>, CatalogError> {
    let mut freed = extents
        .iter()
        .map(|extent| Ok((extent.id, reader.freed_of(extent.id)?)))
        .collect::<Result<BTreeMap<_, _>, CatalogError>>()?;
    freed.retain(|_, ranges| !ranges.is_empty());
    let counted: u64 = reader.freed_bytes()?.values().sum();
    let listed = freed.values().flatten();
    assert_eq!(counted, listed.map(|range| range.len()).sum::<u64>());
    Ok(freed)
}
