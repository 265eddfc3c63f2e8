//! What damage means for blocks and files, block by block.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{Look, Task};
use crate::{
    archive::{
        called::Called,
        observer::{Event, Finding, Observer},
    },
    catalog::{CatalogReader, FileRecord},
    error::CatalogError,
    geometry::GroupGeometry,
    plan::{BlockVerdict, ColumnSet, DamageMap},
    units::{BlockId, BlockIndex, ByteRange, CommitId, FileId, FileName, ShardIndex},
};

/// Damage of all files, block by block; nothing is kept of what is whole.
#[derive(Debug, Default)]
pub(in crate::archive) struct Damage {
    /// What a descriptor is called may be the name of a file, too.
    blocks: BTreeMap<(Called, Option<CommitId>, BlockIndex, BlockId), BlockDamage>,
}

#[derive(Debug)]
struct BlockDamage {
    map: DamageMap,
    /// What cannot be decoded across its group either, once that was looked at; without a group, what cannot be decoded.
    left: Option<DamageMap>,
    /// One for each damaged shard.
    findings: BTreeMap<ShardIndex, Finding>,
}

/// Damage of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDamage {
    /// The file.
    pub name: FileName,
    /// Its version, where it is a kept one: another file has the name.
    pub kept_version: Option<u32>,
    /// The commit, when this is no file but what the commit has written about its files, from which a lost catalog can be made
    /// again. Nobody can read or restore it by name.
    pub descriptor: Option<CommitId>,
    /// Shards that are damaged.
    pub damaged_shards: u64,
    /// Exactly the bytes that cannot be decoded, in order; empty where everything can.
    pub lost: Vec<ByteRange>,
}

impl FileDamage {
    /// Puts together what was told of at two times.
    pub(in crate::archive) fn merged(told: Vec<Self>, more: Vec<Self>) -> Vec<Self> {
        if told.is_empty() {
            return more;
        }
        let mut files: BTreeMap<(Called, Option<CommitId>), Self> = BTreeMap::new();
        for file in told.into_iter().chain(more) {
            match files.entry((file.called(), file.descriptor)) {
                Entry::Vacant(free) => {
                    free.insert(file);
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.damaged_shards += file.damaged_shards;
                    known.lost.extend(file.lost);
                    ByteRange::merge(&mut known.lost);
                }
            }
        }
        files.into_values().collect()
    }

    /// Says whether it is damage of that file.
    pub(in crate::archive) fn is_of(&self, file: &FileRecord) -> bool {
        self.descriptor.is_none() && self.called() == Called::of(file)
    }

    fn called(&self) -> Called {
        Called {
            name: self.name.clone(),
            kept_version: self.kept_version,
        }
    }
}

impl Damage {
    /// Returns the number of damaged blocks.
    pub(in crate::archive) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Adds a finding of a shard; `columns` are bad in it, also the table column where it is gone with the shard.
    pub(super) fn add(&mut self, task: &Task, finding: Finding, columns: &ColumnSet) {
        let record = task.block.record();
        let key = (task.called.clone(), task.descriptor, record.index, record.id);
        let block = self.blocks.entry(key).or_insert_with(|| BlockDamage {
            map: DamageMap::new(*task.block.geometry()),
            left: None,
            findings: BTreeMap::new(),
        });
        for column in columns.iter() {
            block.map.mark_leaf(finding.shard, column);
        }
        block.add(finding);
    }

    /// Adds what was found elsewhere, also of the same blocks.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, block) in other.blocks {
            match self.blocks.get_mut(&key) {
                Some(known) => {
                    known.map.union_with(&block.map);
                    block
                        .findings
                        .into_values()
                        .for_each(|finding| known.add(finding));
                }
                None => {
                    self.blocks.insert(key, block);
                }
            }
        }
    }

    /// Adds what the catalog knows of the blocks that are damaged: what can still be decoded follows from all of it. Of shards that
    /// were looked at wholly, what was found counts. It is told of by whoever has found it.
    pub(in crate::archive) fn add_known(
        &mut self,
        reader: &CatalogReader,
        look: Look,
    ) -> Result<(), CatalogError> {
        for ((.., id), block) in &mut self.blocks {
            for known in reader.damage_of_block(*id)? {
                let is_new = look == Look::AtHeaders || !block.findings.contains_key(&known.shard);
                let columns = known.columns.iter().filter(|_| is_new);
                columns.for_each(|column| block.map.mark_leaf(known.shard, column));
            }
        }
        Ok(())
    }

    /// Finds out what the blocks of a group can do for those that cannot be decoded alone. Of blocks without damage here counts what
    /// the catalog knows.
    pub(in crate::archive) fn judge_groups(&mut self, reader: &CatalogReader) -> Result<(), CatalogError> {
        let mut groups: BTreeMap<(Called, FileId, u64), (FileRecord, GroupGeometry)> = BTreeMap::new();
        for ((called, descriptor, index, id), block) in &self.blocks {
            let is_lost = matches!(block.map.verdict(), BlockVerdict::Lost { .. });
            if !is_lost || descriptor.is_some() {
                continue;
            }
            let record = reader.block_by_id(*id)?;
            let file = record
                .map(|record| reader.file(record.file))
                .transpose()?
                .flatten();
            if let Some(file) = file
                && let Some(group) = file.geometry.group_of(*index)
            {
                groups.insert((called.clone(), file.id, group.index()), (file, group));
            }
        }
        for ((called, ..), (file, group)) in groups {
            let mut found = BTreeMap::new();
            for ((name, descriptor, index, _), block) in &self.blocks {
                if *name == called && descriptor.is_none() && file.geometry.group_of(*index) == Some(group) {
                    found.insert(*index, block.map.clone());
                }
            }
            let mut verdict = reader.group_verdict(&file, &group, &found)?;
            for ((name, descriptor, index, _), block) in &mut self.blocks {
                if *name == called && descriptor.is_none() && found.contains_key(index) {
                    let left = verdict.left[group.position(*index).as_usize()].take();
                    block.left = Some(left.unwrap_or_else(|| DamageMap::new(*block.map.geometry())));
                }
            }
        }
        Ok(())
    }

    /// Tells the observer of every finding, in the order of names, blocks and shards, now that it is known what can
    /// still be decoded; returns what it means for each file.
    pub(in crate::archive) fn report(mut self, observer: &dyn Observer) -> Vec<FileDamage> {
        let mut files: Vec<FileDamage> = Vec::new();
        for ((called, descriptor, ..), block) in &mut self.blocks {
            let left = block.left.as_ref().unwrap_or(&block.map);
            let lost = match left.verdict() {
                BlockVerdict::Intact | BlockVerdict::Degraded { .. } => Vec::new(),
                BlockVerdict::Lost { ranges, .. } => ranges,
            };
            for finding in block.findings.values_mut() {
                finding.is_recoverable = lost.is_empty();
                observer.event(Event::Damage(finding));
            }
            let shards = u64::try_from(block.findings.len()).expect("at most 256 shards");
            match files.last_mut() {
                Some(file) if (&file.called(), &file.descriptor) == (called, descriptor) => {
                    file.damaged_shards += shards;
                    file.lost.extend(lost);
                }
                _ => files.push(FileDamage {
                    name: called.name.clone(),
                    kept_version: called.kept_version,
                    descriptor: *descriptor,
                    damaged_shards: shards,
                    lost,
                }),
            }
        }
        for file in &mut files {
            ByteRange::merge(&mut file.lost);
        }
        files
    }
}

impl BlockDamage {
    /// Adds a finding; several of one shard are one, and say what is worst.
    fn add(&mut self, finding: Finding) {
        match self.findings.entry(finding.shard) {
            Entry::Vacant(free) => {
                free.insert(finding);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.columns.union_with(&finding.columns);
                (known.part, known.kind) = (known.part, known.kind).max((finding.part, finding.kind));
            }
        }
    }
}
