//! Damage that reads have met: noted at once where the catalog can be written, kept for somebody who can where not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{
    observer::{Event, Observer},
    read::BlockReader,
    shared::Shared,
};
use crate::{
    catalog::{
        Access, BlockRecord, Catalog, DamageRecord, FileRecord, Knowledge, ShardAddress, ShardOwner,
        TransactionSize,
    },
    error::{CatalogError, ReadError},
    units::{BlockId, to_u64},
};

/// Findings that are kept; of an archive that is open for reading a scrub finds the others.
const MOST_FINDINGS: usize = 16 * 1024;

/// Damage that reads of an archive that was open for reading have met.
#[derive(Debug, Clone, Default)]
pub struct MetDamage(Vec<DamageRecord>);

impl MetDamage {
    /// Says whether no damage was met.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn findings(&self) -> &[DamageRecord] {
        &self.0
    }
}

/// What the reads of one open archive have met.
#[derive(Debug)]
pub(super) struct MetLog {
    access: Access,
    findings: Mutex<BTreeMap<(BlockId, ShardAddress), DamageRecord>>,
}

impl MetLog {
    pub(super) fn new(access: Access) -> Self {
        Self {
            access,
            findings: Mutex::default(),
        }
    }

    /// Notes findings, each once: a read that meets the same damage again asks for no transaction. That one cannot be noted is
    /// no reason for a read to fail.
    pub(super) fn note(&self, shared: &Shared, found: &[DamageRecord]) {
        let news = self.add(found);
        let size = TransactionSize {
            damaged_shards: to_u64(news.len()),
            ..TransactionSize::default()
        };
        if news.is_empty() || shared.takes_notes(size) && record(&shared.catalog, &news).is_ok() {
            return;
        }
        if self.access == Access::Write {
            // Whoever meets it next tries again.
            let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            news.iter().for_each(|damage| {
                findings.remove(&(damage.block, damage.address));
            });
        }
    }

    /// Forgets what was noted: somebody has looked at shards since, and what is met again may be news again.
    pub(super) fn forget(&self) {
        if self.access == Access::Write {
            let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.clear();
        }
    }

    /// Takes what was met and nobody has noted.
    pub(super) fn take(&self) -> MetDamage {
        if self.access == Access::Write {
            return MetDamage::default();
        }
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        MetDamage(std::mem::take(&mut *findings).into_values().collect())
    }

    /// Returns what of it is news, with all that is known of it by now.
    fn add(&self, found: &[DamageRecord]) -> Vec<DamageRecord> {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = Vec::new();
        for damage in found {
            let key = (damage.block, damage.address);
            if self.access == Access::Write && findings.len() >= MOST_FINDINGS {
                // The catalog has them; to note one again costs a transaction and changes nothing.
                findings.clear();
            }
            let has_room = findings.len() < MOST_FINDINGS;
            match findings.get_mut(&key) {
                Some(known) => {
                    let before = known.columns.clone();
                    known.columns.union_with(&damage.columns);
                    if known.columns.to_bytes() != before.to_bytes() {
                        news.push(known.clone());
                    }
                }
                None if has_room => {
                    findings.insert(key, damage.clone());
                    news.push(damage.clone());
                }
                None => {}
            }
        }
        news
    }
}

/// Where damage was met in a block of a file, looks whether it is still there: an address is a hint, and shards are written anew
/// elsewhere. Tells of the damage that is, and notes it. Returns the block as it is now, where it lies elsewhere.
pub(super) fn look_again(
    shared: &Shared,
    file: &FileRecord,
    block: &BlockReader,
    observer: &dyn Observer,
) -> Option<BlockRecord> {
    let met = block.take_met();
    if met.is_empty() {
        return None;
    }
    let owner = match file.geometry.block_count() {
        1 => ShardOwner::InlineBlockOf(file.id),
        _ => ShardOwner::Block(block.record().id),
    };
    // Removed meanwhile, or not to be looked up: nobody is told what may not be true.
    let reader = shared.catalog.read().ok()?;
    let now = reader.block_by_owner(owner).ok().flatten()?;
    drop(reader);
    let since = shared.now();
    let mut damage = Vec::new();
    for (shard, met) in met {
        let known = block
            .shard(shard)
            .filter(|known| now.shards[shard.as_usize()].as_ref() == Some(*known));
        let Some(known) = known else { continue };
        if block.is_news(shard) {
            observer.event(Event::Damage(&block.finding(shard, &met)));
        }
        damage.push(DamageRecord {
            owner,
            block: now.id,
            shard,
            address: known.address(),
            columns: met.columns,
            part: met.part,
            kind: met.kind,
            since,
        });
    }
    shared.met.note(shared, &damage);
    (now.shards != block.record().shards).then_some(now)
}

/// Returns what to tell of a version whose bytes are not there: that it was removed meanwhile, when it was. Its room may have been
/// given back.
pub(super) fn removed_meanwhile(shared: &Shared, file: &FileRecord) -> Option<ReadError> {
    let reader = shared.catalog.read().ok()?;
    let is_there = reader.file(file.id).ok()?.is_some();
    (!is_there).then(|| ReadError::NotFound {
        name: file.name.clone(),
    })
}

/// Lets the catalog know of damage; returns how much of it is news. What lies elsewhere by now is dropped.
pub(super) fn record(catalog: &Catalog, found: &[DamageRecord]) -> Result<u64, CatalogError> {
    let mut writer = catalog.write()?;
    let news = writer.record_damage(found, Knowledge::Part)?;
    if news > 0 {
        writer.commit()?;
    }
    Ok(news)
}
