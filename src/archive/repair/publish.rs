//! What a repair tells the catalog: findings, and where shards lie from now on.

use std::{collections::BTreeSet, sync::Arc};

use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::{
    examine::DamagedBlockWork,
    rebuild::{BlockRebuild, Rebuilt},
};
use crate::{
    archive::{
        encoding::{Encoding, check_parity},
        inspect::{Task, inspect_shard},
        owned::OwnedExtents,
        publication,
        read::{BlockReader, Met},
        shared::Shared,
    },
    catalog::{CatalogWriter, DamageRecord, Knowledge, Look, Relocation, ShardPlace},
    error::{CatalogError, CommitError, RepairError},
    plan::{DamageKind, DamagePart},
    units::{BlockId, ByteRange},
};

/// Notes what was found when blocks were looked at; returns how many shards turned out to be whole.
pub(super) fn note_findings(shared: &Shared, batch: &[DamagedBlockWork]) -> Result<u64, CatalogError> {
    let found: Vec<DamageRecord> = batch
        .iter()
        .flat_map(|work| work.found().iter().cloned())
        .collect();
    let read: Vec<ShardPlace> = batch.iter().flat_map(DamagedBlockWork::looked_at).collect();
    let before: Vec<DamageRecord> = batch
        .iter()
        .flat_map(|work| work.known().iter().cloned())
        .collect();
    let right: Vec<_> = batch
        .iter()
        .flat_map(DamagedBlockWork::right)
        .map(|(owner, shard, record)| (owner, shard, record.address()))
        .collect();
    let mut writer = shared.catalog.write()?;
    let (news, cleared) = writer.record_look(&Look {
        read: &read,
        damage: &found,
        before: &before,
    })?;
    let cleared = cleared + writer.clear_encoding_damage(&right)?;
    if news + cleared > 0 {
        writer.commit()?;
    }
    shared.met.forget();
    Ok(cleared)
}

/// Notes bad leaves that were met in shards that nobody knew to be damaged; returns the blocks that have them.
pub(super) fn note_what_was_met(
    shared: &Shared,
    batch: &[DamagedBlockWork],
    blocks: &[BlockRebuild],
) -> Result<BTreeSet<BlockId>, CatalogError> {
    let now = shared.now();
    let mut found = Vec::new();
    let mut again = BTreeSet::new();
    for (work, block) in batch.iter().zip(blocks) {
        // What was found before and cannot be written anew is met again, and no news.
        let is_news = |shard| work.found().iter().all(|known| known.shard != shard);
        let met = block.reader.take_met();
        for (shard, columns) in block.met().into_iter().filter(|(shard, _)| is_news(*shard)) {
            let fault = met.get(&shard).map(|met| (met.part, met.kind));
            let (part, kind) = fault.unwrap_or((DamagePart::Payload, DamageKind::Checksum));
            found.extend(work.damage_of(shard, Met { part, kind, columns }, now));
            again.insert(work.id());
        }
        let wrong = met
            .into_iter()
            .filter(|(_, met)| met.kind == DamageKind::Encoding);
        for (shard, met) in wrong.filter(|(shard, _)| is_news(*shard)) {
            found.extend(work.damage_of(shard, met, now));
            again.insert(work.id());
        }
        if block.waits_for_data() {
            again.insert(work.id());
        }
    }
    if !found.is_empty() {
        let mut writer = shared.catalog.write()?;
        writer.record_damage(&found, Knowledge::Part)?;
        writer.commit()?;
    }
    Ok(again)
}

/// Reads every new frame from the medium, and verifies it.
pub(super) fn read_back(shared: &Arc<Shared>, blocks: &[BlockRebuild]) -> Result<(), RepairError> {
    let frames: Vec<(&BlockRebuild, Rebuilt)> = blocks
        .iter()
        .flat_map(|block| block.rebuilt().into_iter().map(move |rebuilt| (block, rebuilt)))
        .collect();
    let check = |(block, rebuilt): &(&BlockRebuild, Rebuilt)| read_frame_back(shared, block, rebuilt);
    shared.workers.install(|| frames.par_iter().try_for_each(check))
}

fn read_frame_back(shared: &Arc<Shared>, block: &BlockRebuild, rebuilt: &Rebuilt) -> Result<(), RepairError> {
    shared.volumes().forget_cached([&rebuilt.record]);
    // What was encoded from other shards that are new as well is compared with those.
    let mut record = block.reader.record().clone();
    for all in block.rebuilt() {
        record.shards[all.shard.as_usize()] = Some(all.record);
    }
    let called = block.reader.called().clone();
    let task = Task {
        block: Arc::new(BlockReader::new(shared.volumes(), called.clone(), record)),
        owner: block.owner,
        called: called.clone(),
        descriptor: None,
        shard: rebuilt.shard,
        encoding: Encoding::Nothing,
    };
    let is_whole = || inspect_shard(shared, &task).finding.is_none();
    // No digest that was known before says so of parity that was encoded again.
    let is_right = || !rebuilt.has_new_digest || is_encoded_rightly(block, &task);
    if is_whole() && is_right() {
        return Ok(());
    }
    Err(RepairError::ReadBack {
        name: called.name,
        block: block.reader.record().index,
        shard: rebuilt.shard,
    })
}

fn is_encoded_rightly(block: &BlockRebuild, task: &Task) -> bool {
    if !task.block.geometry().is_data(task.shard) {
        return !check_parity(&task.block).wrong.contains_key(&task.shard);
    }
    let groups = block
        .groups
        .as_ref()
        .expect("only outer parity is data and encoded");
    groups.check_sums(&task.block, task.shard).wrong.is_empty()
}

/// Publishes new addresses, of each shard that still lies where it did; returns which those are.
pub(super) fn publish<'a>(
    shared: &Shared,
    owned: &OwnedExtents,
    blocks: &'a [BlockRebuild],
) -> Result<Vec<(&'a BlockRebuild, Rebuilt)>, CommitError> {
    let publishing = publication::begin(shared)?;
    owned.check_owned(&publishing.writer)?;
    let mut publication = publication::empty(&publishing.writer)?;
    let mut published = Vec::new();
    for block in blocks {
        let Some(now) = publishing.writer.block_by_owner(block.owner)? else {
            continue;
        };
        for rebuilt in block.rebuilt() {
            let shard = now.shards.get(rebuilt.shard.as_usize()).and_then(Option::as_ref);
            // Somebody has removed or moved it meanwhile: its new frame is dead, and so is the old one.
            if shard.is_none_or(|shard| shard.address() != rebuilt.from) {
                continue;
            }
            publication.relocated.push(Relocation {
                owner: block.owner,
                shard: rebuilt.shard,
                from: rebuilt.from,
                to: rebuilt.record.address(),
                digest: rebuilt.has_new_digest.then_some(rebuilt.record.digest),
            });
            published.push((block, rebuilt));
        }
    }
    if published.is_empty() {
        return Ok(published);
    }
    publication.commit = Some(owned.commit());
    publication.extents = owned.published_extents(&publishing.writer)?;
    // Behind the publication: the new frames lie below the ends of their extents only then.
    let note = |writer: &mut CatalogWriter| note_repairs(shared, writer, &published);
    publication::publish_noting(shared, publishing, (publication, Vec::new()), note)?;
    Ok(published)
}

/// Notes what only this catalog knows: how much was repaired of which volume, and that the new frames were read back.
fn note_repairs(
    shared: &Shared,
    writer: &mut CatalogWriter,
    published: &[(&BlockRebuild, Rebuilt)],
) -> Result<(), CatalogError> {
    let now = shared.now();
    for (_, rebuilt) in published {
        let record = &rebuilt.record;
        let volume = shared.volumes().of_extent(rebuilt.from.extent).id();
        writer.count_repairs(volume, 1, record.frame_len_bytes)?;
        let range = ByteRange::at(record.offset, record.frame_len_bytes);
        writer.mark_verified(record.extent, range.expect("it was placed there"), now)?;
    }
    Ok(())
}
