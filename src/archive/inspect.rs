//! Reading every byte of stored shards and judging what is found: the core of `scrub` and `verify`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    observer::{DamageKind, DamagePart, Event, Finding, Observer},
    read::{BlockReader, kind_of},
    shared::Shared,
};
use crate::{
    error::ScrubError,
    format::{ClaimedFrame, FrameFooter, FrameIdentity, FrameLayout},
    merkle::{HASH_LEN_BYTES, LeafTable},
    plan::{BlockVerdict, ColumnSet, DamageMap},
    units::{BlockId, BlockIndex, ByteRange, ColumnIndex, CommitId, FileName, ShardIndex, to_u64, to_usize},
};

/// A shard to inspect.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) block: Arc<BlockReader>,
    pub(super) name: FileName,
    /// The commit, when the block is not of a file but what a commit has written about its files.
    pub(super) descriptor: Option<CommitId>,
    pub(super) shard: ShardIndex,
}

/// Where tasks come from; asked by one worker at a time.
pub(super) trait Feed: Send {
    /// Returns the next shard, or `None` after the last.
    fn next(&mut self) -> Result<Option<Task>, ScrubError>;
}

/// What was read and what was found.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    pub(super) blocks: u64,
    pub(super) bytes_read: u64,
    pub(super) damage: Damage,
}

/// Damage of all files, block by block; nothing is kept of what is whole.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// What a descriptor is called may be the name of a file, too.
    blocks: BTreeMap<(FileName, Option<CommitId>, BlockIndex, BlockId), BlockDamage>,
}

#[derive(Debug)]
struct BlockDamage {
    map: DamageMap,
    findings: Vec<Finding>,
}

/// Damage of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDamage {
    /// The file.
    pub name: FileName,
    /// The commit, when this is no file but what the commit has written about its files, from which a lost catalog can be made
    /// again. Nobody can read or restore it by name.
    pub descriptor: Option<CommitId>,
    /// Shards that are damaged.
    pub damaged_shards: u64,
    /// Exactly the bytes that cannot be decoded, in order; empty where everything can.
    pub lost: Vec<ByteRange>,
}

/// Inspects everything that the feed hands out, on all workers. The observer is asked before each shard, at most some
/// megabytes, whether to go on.
pub(super) fn inspect(
    shared: &Shared,
    feed: impl Feed,
    observer: &dyn Observer,
) -> Result<Inspection, ScrubError> {
    let feed = Mutex::new(Some(feed));
    let total = Mutex::new(Inspection::default());
    let work = || -> Result<(), ScrubError> {
        loop {
            let mut slot = feed.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(source) = slot.as_mut() else {
                return Ok(());
            };
            if observer.is_cancelled() {
                *slot = None;
                return Err(ScrubError::Cancelled);
            }
            let task = match source.next() {
                Ok(Some(task)) => task,
                // The end, or a failure: nobody asks again.
                end => {
                    *slot = None;
                    return end.map(drop);
                }
            };
            drop(slot);
            let found = inspect_shard(shared, &task);
            observer.event(Event::Progress {
                bytes: found.bytes_read,
            });
            total
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(&task, found);
        }
    };
    let results = shared.work_together(usize::MAX, |_| work());
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    match results.into_iter().collect::<Result<(), ScrubError>>() {
        Ok(()) => Ok(total),
        Err(error) => {
            // What was found until then is true all the same.
            drop(total.damage.report(observer));
            Err(error)
        }
    }
}

impl Inspection {
    fn add(&mut self, task: &Task, found: ShardFound) {
        self.bytes_read += found.bytes_read;
        // Every block has its first shard.
        self.blocks += u64::from(task.shard == ShardIndex::new(0));
        let Some(finding) = found.finding else { return };
        let record = task.block.record();
        let key = (task.name.clone(), task.descriptor, record.index, record.id);
        let block = self.damage.blocks.entry(key).or_insert_with(|| BlockDamage {
            map: DamageMap::new(*task.block.geometry()),
            findings: Vec::new(),
        });
        finding
            .columns
            .iter()
            .for_each(|column| block.map.mark_leaf(task.shard, column));
        if found.lost_table
            && let Some(table) = task.block.geometry().table_column()
        {
            block.map.mark_leaf(task.shard, table);
        }
        block.findings.push(finding);
    }
}

impl Damage {
    /// Tells the observer of every finding, in the order of names, blocks and shards, now that it is known what can
    /// still be decoded; returns what it means for each file.
    pub(super) fn report(mut self, observer: &dyn Observer) -> Vec<FileDamage> {
        let mut files: Vec<FileDamage> = Vec::new();
        for ((name, descriptor, ..), block) in &mut self.blocks {
            let lost = match block.map.verdict() {
                BlockVerdict::Intact | BlockVerdict::Degraded { .. } => Vec::new(),
                BlockVerdict::Lost { ranges, .. } => ranges,
            };
            block.findings.sort_by_key(|finding| finding.shard);
            for finding in &mut block.findings {
                finding.is_recoverable = lost.is_empty();
                observer.event(Event::Damage(finding));
            }
            let shards = u64::try_from(block.findings.len()).expect("at most 256 shards");
            match files.last_mut() {
                Some(file) if (&file.name, &file.descriptor) == (name, descriptor) => {
                    file.damaged_shards += shards;
                    file.lost.extend(lost);
                }
                _ => files.push(FileDamage {
                    name: name.clone(),
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

/// What one shard turned out to be.
struct ShardFound {
    bytes_read: u64,
    finding: Option<Finding>,
    /// The shard does not tell its leaf table: neither copy is right, and the payload is not whole either.
    lost_table: bool,
}

/// What is wrong with a frame, worst last.
#[derive(Default)]
struct Faults {
    found: Vec<(DamagePart, DamageKind)>,
    /// Bytes that could be read, right or wrong.
    bytes_read: u64,
}

impl Faults {
    fn add(&mut self, part: DamagePart, kind: DamageKind) {
        self.found.push((part, kind));
    }

    /// The part that matters most to a reader, and what is wrong with it.
    ///
    /// A payload that does not match and stands behind the intact header of another frame is not rotten but misplaced.
    fn worst(&self) -> Option<(DamagePart, DamageKind)> {
        let is_misplaced = self.found.contains(&(DamagePart::Header, DamageKind::Misplaced));
        match self.found.iter().copied().max() {
            Some((part, DamageKind::Checksum)) if is_misplaced => Some((part, DamageKind::Misplaced)),
            worst => worst,
        }
    }
}

/// Reads one frame completely: header, both tables, payload, footer.
fn inspect_shard(shared: &Shared, task: &Task) -> ShardFound {
    let block = task.block.as_ref();
    let layout = block.layout(task.shard);
    let mut faults = Faults::default();
    let tables = [
        read_head(shared, task, &layout, &mut faults),
        read_tail(task, &layout, &mut faults),
    ];
    let stored = tables.into_iter().flatten().next();
    let leaves = block.geometry().leaf_count(task.shard);
    let mut bad = ColumnSet::default();
    let mut lost_table = false;
    // One part that cannot be read hides the table beside it from the reads above, not from this one.
    let is_table_lost = || stored.is_none() && !block.has_stored_table(task.shard);
    match block.hash_payload(task.shard) {
        Ok(found) => {
            faults.bytes_read += layout.payload().len();
            let digest = block
                .shard(task.shard)
                .expect("only shards that are present are inspected")
                .digest;
            if found.digest() != digest {
                // The stored table says which leaves are wrong; without one another copy or the table column does, and
                // without those nothing of the shard can be told from wrong bytes.
                bad = match stored.as_ref().or_else(|| block.table(task.shard, &())) {
                    Some(table) => differing_columns(&found, table),
                    None => ColumnSet::first(leaves),
                };
                lost_table = is_table_lost();
                faults.add(DamagePart::Payload, DamageKind::Checksum);
            }
        }
        Err(error) => {
            // Leaf by leaf: one bad sector costs the leaves that it hits.
            let mut leaf = Vec::new();
            for column in 0..leaves {
                leaf.resize(block.run_len(task.shard, column..column + 1), 0);
                let one = block.read_verified(task.shard, column..column + 1, &mut leaf, &());
                if one.is_empty() {
                    faults.bytes_read += to_u64(leaf.len());
                }
                bad.union_with(&one);
            }
            lost_table = is_table_lost();
            faults.add(DamagePart::Payload, kind_of(&error));
        }
    }
    let finding = faults.worst().map(|(part, kind)| finding(task, part, kind, bad));
    ShardFound {
        bytes_read: faults.bytes_read,
        finding,
        lost_table,
    }
}

/// Reads what stands before the payload: the header, and the first copy of the table, which is returned when right.
fn read_head(shared: &Shared, task: &Task, layout: &FrameLayout, faults: &mut Faults) -> Option<LeafTable> {
    let block = task.block.as_ref();
    let record = block.shard(task.shard)?;
    let mut head = vec![0; to_usize(layout.payload().start())];
    if let Err(error) = block.read_at(record, 0, &mut head) {
        faults.add(DamagePart::Header, kind_of(&error));
        return None;
    }
    faults.bytes_read += to_u64(head.len());
    let identity = FrameIdentity {
        archive: shared.archive_id(),
        volume: block.volume_id(record),
        extent: record.extent,
        offset: record.offset,
        block: block.record().id,
        shard: task.shard,
    };
    match ClaimedFrame::parse(&head).map(|claimed| claimed.check(&identity)) {
        Ok(Ok(_)) => {}
        Ok(Err(_mismatch)) => faults.add(DamagePart::Header, DamageKind::Misplaced),
        Err(_) => faults.add(DamagePart::Header, DamageKind::Checksum),
    }
    stored_table(task, &head, layout.table_a().map(ByteRange::start), faults)
}

/// Reads what stands behind the payload: the second copy of the table, and the footer.
fn read_tail(task: &Task, layout: &FrameLayout, faults: &mut Faults) -> Option<LeafTable> {
    let block = task.block.as_ref();
    let record = block.shard(task.shard)?;
    let start = layout.payload().end();
    let mut tail = vec![0; to_usize(layout.content_len_bytes() - start)];
    if let Err(error) = block.read_at(record, start, &mut tail) {
        faults.add(DamagePart::Footer, kind_of(&error));
        return None;
    }
    // The padding behind counts with it: it belongs to the frame and says nothing.
    faults.bytes_read += layout.total_len_bytes() - start;
    let is_ours = |footer: &FrameFooter| {
        (footer.block(), footer.shard(), footer.content_len_bytes())
            == (block.record().id, task.shard, layout.content_len_bytes())
    };
    match FrameFooter::parse(&tail[to_usize(layout.footer().start() - start)..]) {
        Ok(footer) if is_ours(&footer) => {}
        Ok(_) => faults.add(DamagePart::Footer, DamageKind::Misplaced),
        Err(_) => faults.add(DamagePart::Footer, DamageKind::Checksum),
    }
    stored_table(
        task,
        &tail,
        layout.table_b().map(|range| range.start() - start),
        faults,
    )
}

/// Returns the table that `bytes` hold at `offset`, when it is right.
fn stored_table(task: &Task, bytes: &[u8], offset: Option<u64>, faults: &mut Faults) -> Option<LeafTable> {
    let record = task.block.shard(task.shard)?;
    let entries = to_usize(u64::from(task.block.geometry().leaf_count(task.shard)));
    // A frame of one leaf carries no table: the digest is the leaf hash.
    let Some(offset) = offset else {
        return Some(LeafTable::from_single(&record.digest));
    };
    let bytes = &bytes[to_usize(offset)..][..entries * HASH_LEN_BYTES];
    let table = LeafTable::parse_verified(bytes, entries, &record.digest);
    if table.is_none() {
        faults.add(DamagePart::Table, DamageKind::Checksum);
    }
    table
}

fn differing_columns(found: &LeafTable, expected: &LeafTable) -> ColumnSet {
    let mut bad = ColumnSet::default();
    for ((found, expected), column) in found.iter().zip(expected.iter()).zip(0..) {
        if found != expected {
            bad.insert(ColumnIndex::new(column));
        }
    }
    bad
}

fn finding(task: &Task, part: DamagePart, kind: DamageKind, columns: ColumnSet) -> Finding {
    let record = task
        .block
        .shard(task.shard)
        .expect("only shards that are present are inspected");
    Finding {
        name: task.name.clone(),
        block: task.block.record().index,
        shard: task.shard,
        volume: task.block.volume_id(record),
        extent: record.extent,
        columns,
        part,
        kind,
        is_recoverable: true,
    }
}
