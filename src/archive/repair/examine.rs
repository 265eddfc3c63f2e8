//! Looking at blocks that are known to be damaged, before anything is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    donor::{Donor, DonorFile},
    subject::Subject,
};
use crate::{
    archive::{
        called::Called,
        encoding::{Encoding, ParityCheck, check_parity, wrong_sums},
        inspect::{Task, inspect_shard},
        observer::Observer,
        read::{BlockReader, Groups, Met},
        shared::Shared,
    },
    catalog::{CatalogReader, DamageRecord, DamagedBlock, ShardOwner, ShardPlace, ShardRecord},
    error::{CatalogError, RepairError, VolumeError},
    geometry::BlockGeometry,
    plan::{BlockVerdict, ColumnSet, DamageKind, DamageMap, DamagePart, RepairPlan},
    units::{BlockId, BlockIndex, ByteRange, CommitId, FileId, FileName, ShardIndex, Timestamp, to_u64},
};

/// A block that is known to be damaged.
pub(super) struct DamagedBlockWork {
    pub(super) subject: Subject,
    /// What the catalog knows.
    known: Vec<DamageRecord>,
    /// What was found of it, once it was looked at; findings say what to note.
    found: Vec<DamageRecord>,
    whole: Vec<ShardIndex>,
    /// Parity that was thought to be encoded wrongly, and is not.
    right: Vec<ShardIndex>,
    /// What cannot be had across its group either; `None` where the block alone can decode everything, or has no group.
    left: Option<DamageMap>,
}

impl DamagedBlockWork {
    /// Looks a damaged block up; `None` when it is gone or damaged no more.
    pub(super) fn find(shared: &Shared, block: &DamagedBlock) -> Result<Option<Self>, CatalogError> {
        Self::of_owner(shared, block.owner)
    }

    /// Looks it up once more, with what is known by now.
    pub(super) fn look_again(&self, shared: &Shared) -> Result<Option<Self>, CatalogError> {
        Self::of_owner(shared, self.owner())
    }

    fn of_owner(shared: &Shared, owner: ShardOwner) -> Result<Option<Self>, CatalogError> {
        let reader = shared.catalog.read()?;
        let Some(subject) = Subject::find_in(&reader, owner)? else {
            return Ok(None);
        };
        let mut known = reader.damage_of_block(subject.record.id)?;
        known.retain(|damage| {
            let shard = subject.shard(damage.shard);
            shard.is_some_and(|shard| shard.address() == damage.address)
        });
        if known.is_empty() {
            return Ok(None);
        }
        let mut work = Self {
            subject,
            known,
            found: Vec::new(),
            whole: Vec::new(),
            right: Vec::new(),
            left: None,
        };
        work.judge_across(&reader, &BTreeMap::new())?;
        Ok(Some(work))
    }

    /// Finds out what the other blocks of its group can do for it, where it needs them; of those in `found` that counts, of the others
    /// what the catalog knows.
    fn judge_across(
        &mut self,
        reader: &CatalogReader,
        found: &BTreeMap<BlockIndex, DamageMap>,
    ) -> Result<(), CatalogError> {
        self.left = None;
        let (Some(file), Some(group)) = (&self.subject.file, self.subject.group()) else {
            return Ok(());
        };
        let map = self.map();
        if matches!(map.verdict(), BlockVerdict::Lost { .. }) {
            let index = self.subject.record.index;
            let mut found = found.clone();
            found.retain(|other, _| file.geometry.group_of(*other) == Some(group));
            found.insert(index, map.clone());
            let mut verdict = reader.group_verdict(file, &group, &found)?;
            let left = verdict.left[group.position(index).as_usize()].take();
            self.left = Some(left.unwrap_or_else(|| DamageMap::new(*map.geometry())));
        }
        Ok(())
    }

    /// Returns what is bad of it: what was found where it was looked at, else what is known.
    fn map(&self) -> DamageMap {
        let damage = if self.found.is_empty() {
            &self.known
        } else {
            &self.found
        };
        map_of(self.geometry(), damage)
    }

    pub(super) const fn id(&self) -> BlockId {
        self.subject.record.id
    }

    pub(super) const fn owner(&self) -> ShardOwner {
        self.subject.owner
    }

    pub(super) const fn file(&self) -> FileId {
        self.subject.record.file
    }

    pub(super) const fn name(&self) -> &FileName {
        &self.subject.called.name
    }

    pub(super) const fn called(&self) -> &Called {
        &self.subject.called
    }

    pub(super) const fn geometry(&self) -> &BlockGeometry {
        &self.subject.record.geometry
    }

    /// Returns the commit, when this is its descriptor.
    pub(super) const fn descriptor(&self) -> Option<CommitId> {
        self.subject.descriptor()
    }

    /// Says whether the file has that name or lies below it; no descriptor does.
    pub(super) fn is_below(&self, prefix: &FileName) -> bool {
        let (name, prefix) = (self.subject.called.name.as_bytes(), prefix.as_bytes());
        let rest = name.strip_prefix(prefix);
        self.descriptor().is_none() && rest.is_some_and(|rest| rest.first().is_none_or(|&next| next == b'/'))
    }

    /// Returns the bytes of the frames that are known to be damaged.
    pub(super) fn damaged_len_bytes(&self) -> u64 {
        let shards = self.known.iter().filter_map(|damage| self.shard(damage.shard));
        shards.map(|shard| shard.frame_len_bytes).sum()
    }

    /// Returns how many shards are known to be damaged.
    pub(super) fn damaged_count(&self) -> u64 {
        to_u64(self.known.len())
    }

    /// Returns exactly the bytes of the file that cannot be decoded, by what is known, or was found where it was looked at.
    pub(super) fn lost_ranges(&self) -> Vec<ByteRange> {
        let left = self.left.clone().unwrap_or_else(|| self.map());
        match left.verdict() {
            BlockVerdict::Intact | BlockVerdict::Degraded { .. } => Vec::new(),
            BlockVerdict::Lost { ranges, .. } => ranges,
        }
    }

    /// Returns the damaged shards that can be written anew, by what was found. With an original at hand all are tried.
    pub(super) fn to_rewrite(&self, donor: Option<&Donor>) -> Vec<(ShardIndex, ShardRecord)> {
        let damaged = self.found.iter().map(|damage| damage.shard);
        let shards: Vec<ShardIndex> = if donor.is_some() {
            damaged.collect()
        } else {
            let map = map_of(self.geometry(), &self.found);
            let only_frames = self.found.iter().filter(|damage| damage.columns.is_empty());
            let bad_frames: BTreeSet<ShardIndex> = only_frames.map(|damage| damage.shard).collect();
            match &self.left {
                Some(left) => RepairPlan::in_group(&map, left, &bad_frames).rewrite,
                None => RepairPlan::of(&map, &bad_frames).rewrite,
            }
        };
        shards
            .into_iter()
            .filter_map(|shard| Some((shard, *self.shard(shard)?)))
            .collect()
    }

    /// Opens an original of the file.
    pub(super) fn original_in(&self, donor: &Donor) -> Option<DonorFile> {
        match self.descriptor() {
            Some(_) => None,
            None => donor.open(&self.subject.called.name, self.subject.file_len_bytes),
        }
    }

    /// Returns what was found to be damaged.
    pub(super) fn found(&self) -> &[DamageRecord] {
        &self.found
    }

    /// Returns what was known of it when it was looked up.
    pub(super) fn known(&self) -> &[DamageRecord] {
        &self.known
    }

    /// Returns how many shards turned out to be whole.
    pub(super) fn whole_count(&self) -> u64 {
        to_u64(self.whole.len())
    }

    /// Returns the frames that were looked at.
    pub(super) fn looked_at(&self) -> impl Iterator<Item = ShardPlace> {
        let shards = self.known.iter().chain(&self.found).map(|damage| damage.shard);
        let shards: BTreeSet<ShardIndex> = shards.collect();
        let place = |shard| {
            let address = self.shard(shard)?.address();
            Some(ShardPlace {
                extent: address.extent,
                offset: address.offset,
                owner: self.owner(),
                shard,
            })
        };
        shards.into_iter().filter_map(place)
    }

    /// Returns the parity shards that were encoded again and turned out to be right, each where it lies.
    pub(super) fn right(&self) -> impl Iterator<Item = (ShardOwner, ShardIndex, ShardRecord)> {
        let shards = self.right.iter();
        shards.filter_map(|&shard| Some((self.owner(), shard, *self.shard(shard)?)))
    }

    /// Returns the columns in which parity is not what its data encode to, whatever its hashes say.
    pub(super) fn mistrusted(&self) -> BTreeMap<ShardIndex, ColumnSet> {
        let wrong = self.found.iter().filter(|damage| is_wrong_parity(damage));
        wrong
            .map(|damage| (damage.shard, damage.columns.clone()))
            .collect()
    }

    /// Makes the record of damage in one of its shards.
    pub(super) fn damage_of(&self, shard: ShardIndex, found: Met, since: Timestamp) -> Option<DamageRecord> {
        let address = self.shard(shard)?.address();
        Some(DamageRecord {
            owner: self.owner(),
            block: self.subject.record.id,
            shard,
            address,
            columns: found.columns,
            part: found.part,
            kind: found.kind,
            since,
        })
    }

    fn shard(&self, shard: ShardIndex) -> Option<&ShardRecord> {
        self.subject.shard(shard)
    }

    fn add(&mut self, shard: ShardIndex, found: Option<DamageRecord>) {
        match found {
            Some(damage) => self.found.push(damage),
            None => self.whole.push(shard),
        }
    }

    /// Encodes parity again; of outer parity also what it is known to be wrong in.
    fn check_encoding(&self, shared: &Arc<Shared>, block: &BlockReader) -> ParityCheck {
        let mut check = check_parity(block);
        if let Some(file) = &self.subject.file {
            let groups = Groups::of(shared, file);
            for shard in wrong_sums(self.geometry(), &self.known) {
                check.add_sums(self.geometry(), shard, &groups.check_sums(block, shard));
            }
        }
        check
    }

    /// Adds what has come of encoding parity again. What could not be compared stays as wrong as it was said to be.
    fn add_parity(&mut self, check: &ParityCheck, now: Timestamp) {
        let (right, still): (Vec<&DamageRecord>, Vec<&DamageRecord>) = (self.known.iter())
            .filter(|damage| is_wrong_parity(damage))
            .partition(|damage| check.right.contains(&damage.shard));
        let mut wrong: Vec<DamageRecord> = still.into_iter().cloned().collect();
        wrong.extend(check.wrong.iter().filter_map(|(shard, columns)| {
            let found = Met {
                part: DamagePart::Payload,
                kind: DamageKind::Encoding,
                columns: columns.clone(),
            };
            self.damage_of(*shard, found, now)
        }));
        let is_found = |shard: ShardIndex| self.found.iter().any(|damage| damage.shard == shard);
        let right = right.into_iter().map(|damage| damage.shard);
        self.right = right.filter(|shard| !is_found(*shard)).collect();
        for damage in wrong {
            self.whole.retain(|shard| *shard != damage.shard);
            match self.found.iter_mut().find(|found| found.shard == damage.shard) {
                Some(found) => found.add(&damage),
                None => self.found.push(damage),
            }
        }
        self.found.sort_by_key(|damage| damage.shard);
    }
}

/// Reads the frames that are known to be damaged, all of each: what is known may be what a read happened to meet, or no more. Returns
/// the places in the batch of those that the system did not let this process read.
pub(super) fn examine(
    shared: &Arc<Shared>,
    batch: &mut [DamagedBlockWork],
    observer: &dyn Observer,
) -> Result<BTreeMap<usize, VolumeError>, RepairError> {
    let mut tasks: Vec<(usize, Task, bool)> = Vec::new();
    for (index, work) in batch.iter_mut().enumerate() {
        (work.found, work.whole, work.right) = (Vec::new(), Vec::new(), Vec::new());
        let block = work.subject.reader(shared);
        let known = work.known.iter().filter_map(|damage| work.shard(damage.shard));
        shared.volumes().forget_cached(known);
        // Once for each block.
        let wrong = work.known.iter().position(is_wrong_parity);
        tasks.extend(work.known.iter().enumerate().map(|(position, damage)| {
            let checks_encoding = wrong == Some(position);
            let task = Task {
                block: Arc::clone(&block),
                owner: work.owner(),
                called: work.subject.called.clone(),
                descriptor: work.descriptor(),
                shard: damage.shard,
                encoding: Encoding::Nothing,
            };
            (index, task, checks_encoding)
        }));
    }
    let batch_of_known: &[DamagedBlockWork] = batch;
    let (count, now) = (tasks.len(), shared.now());
    let queue = Mutex::new(tasks.into_iter());
    let refused = Mutex::new(BTreeMap::new());
    let found = Mutex::new(Vec::with_capacity(count));
    shared.work_together(count, |_| {
        while !observer.is_cancelled() {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, task, checks_encoding)) = next else {
                break;
            };
            let one = inspect_shard(shared, &task).to_record(&task, now);
            let parity = checks_encoding.then(|| batch_of_known[index].check_encoding(shared, &task.block));
            if let Some(refusal) = task.block.refusal() {
                let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.insert(index, refusal);
                continue;
            }
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push((index, task.shard, one, parity));
        }
    });
    if observer.is_cancelled() {
        return Err(RepairError::Cancelled);
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, shard, ..)| (*index, *shard));
    for (index, shard, one, _) in &mut found {
        batch[*index].add(*shard, one.take());
    }
    for (index, _, _, parity) in found {
        if let Some(check) = parity {
            batch[index].add_parity(&check, now);
        }
    }
    judge_groups(&shared.catalog.read()?, batch)?;
    Ok(refused.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Finds out for each block what the others of its group can do for it, by what was found of all of them.
fn judge_groups(reader: &CatalogReader, batch: &mut [DamagedBlockWork]) -> Result<(), CatalogError> {
    let mut found: BTreeMap<FileId, BTreeMap<BlockIndex, DamageMap>> = BTreeMap::new();
    for work in batch.iter().filter(|work| work.subject.group().is_some()) {
        let map = map_of(work.geometry(), &work.found);
        found
            .entry(work.file())
            .or_default()
            .insert(work.subject.record.index, map);
    }
    for work in batch {
        if let Some(found) = found.get(&work.file()) {
            work.judge_across(reader, found)?;
        }
    }
    Ok(())
}

const fn is_wrong_parity(damage: &DamageRecord) -> bool {
    matches!(damage.kind, DamageKind::Encoding)
}

fn map_of(geometry: &BlockGeometry, damage: &[DamageRecord]) -> DamageMap {
    let mut map = DamageMap::new(*geometry);
    for shard in damage {
        for column in shard.columns.iter() {
            map.mark_leaf(shard.shard, column);
        }
    }
    map
}
