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
    catalog::{CatalogReader, DamageRecord, ShardOwner},
    error::{CatalogError, ScrubError},
    format::{ClaimedFrame, FRAME_HEADER_LEN_BYTES, FrameFooter, FrameIdentity, FrameLayout},
    merkle::{HASH_LEN_BYTES, LeafTable},
    plan::{BlockVerdict, ColumnSet, DamageMap},
    units::{
        BlockId, BlockIndex, ByteRange, ColumnIndex, CommitId, FileName, ShardIndex, Timestamp, to_u64,
        to_usize,
    },
};

/// A shard to inspect.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) block: Arc<BlockReader>,
    pub(super) owner: ShardOwner,
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

impl<F: Feed> Feed for &mut F {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        (**self).next()
    }
}

/// How much of a frame is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Whether it is there, and its header.
    AtHeaders,
    /// All of it.
    AtEverything,
}

/// What was read and what was found.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    pub(super) blocks: u64,
    pub(super) bytes_read: u64,
    pub(super) damage: Damage,
    /// The same damage as the catalog notes it, in the order in which it was met.
    pub(super) found: Vec<DamageRecord>,
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
    look: Look,
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
            let found = match look {
                Look::AtHeaders => glance_at_shard(shared, &task),
                Look::AtEverything => inspect_shard(shared, &task),
            };
            observer.event(Event::Progress {
                bytes: found.bytes_read,
            });
            total
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(&task, found, shared.now());
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
    fn add(&mut self, task: &Task, found: ShardFound, now: Timestamp) {
        self.found.extend(found.to_record(task, now));
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

impl Inspection {
    /// Adds what was found elsewhere, also of the same blocks.
    pub(super) fn merge(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes_read += other.bytes_read;
        for (key, block) in other.damage.blocks {
            match self.damage.blocks.get_mut(&key) {
                Some(known) => {
                    known.map.union_with(&block.map);
                    known.findings.extend(block.findings);
                }
                None => {
                    self.damage.blocks.insert(key, block);
                }
            }
        }
    }
}

impl Damage {
    /// Adds what the catalog knows of other shards of the blocks that are damaged: what can still be decoded follows from all
    /// of it. It is told of by whoever has found it.
    pub(super) fn add_known(&mut self, reader: &CatalogReader) -> Result<(), CatalogError> {
        for ((.., id), block) in &mut self.blocks {
            for known in reader.damage_of_block(*id)? {
                let is_new = block.findings.iter().all(|finding| finding.shard != known.shard);
                let columns = known.columns.iter().filter(|_| is_new);
                columns.for_each(|column| block.map.mark_leaf(known.shard, column));
            }
        }
        Ok(())
    }

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
pub(super) struct ShardFound {
    pub(super) bytes_read: u64,
    pub(super) finding: Option<Finding>,
    /// The shard does not tell its leaf table: neither copy is right, and the payload is not whole either.
    pub(super) lost_table: bool,
}

impl ShardFound {
    /// Returns what the catalog is to know of it, where anything is wrong.
    pub(super) fn to_record(&self, task: &Task, now: Timestamp) -> Option<DamageRecord> {
        let finding = self.finding.as_ref()?;
        let mut columns = finding.columns.clone();
        if self.lost_table
            && let Some(table) = task.block.geometry().table_column()
        {
            columns.insert(table);
        }
        let record = task.block.shard(task.shard)?;
        Some(DamageRecord {
            owner: task.owner,
            block: task.block.record().id,
            shard: task.shard,
            address: record.address(),
            columns,
            part: finding.part,
            kind: finding.kind,
            since: now,
        })
    }
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

/// Looks whether one frame is there, and at its header.
fn glance_at_shard(shared: &Shared, task: &Task) -> ShardFound {
    let block = task.block.as_ref();
    let layout = block.layout(task.shard);
    let mut faults = Faults::default();
    let mut head = [0; FRAME_HEADER_LEN_BYTES];
    let record = block
        .shard(task.shard)
        .expect("only shards that are present are inspected");
    match block.read_at(record, 0, &mut head) {
        Ok(()) => check_header(shared, task, &head, &mut faults),
        Err(error) => faults.add(DamagePart::Header, kind_of(&error)),
    }
    // The footer is its last part that says anything: where it is not, some leaves may still be.
    let end = block.read_at(record, layout.content_len_bytes() - 1, &mut [0]);
    if end.is_err_and(|error| error.is_absent()) {
        return inspect_shard(shared, task);
    }
    let finding = faults.worst();
    ShardFound {
        bytes_read: to_u64(FRAME_HEADER_LEN_BYTES),
        finding: finding.map(|(part, kind)| self::finding(task, part, kind, ColumnSet::default())),
        lost_table: false,
    }
}

/// Reads one frame completely: header, both tables, payload, footer.
pub(super) fn inspect_shard(shared: &Shared, task: &Task) -> ShardFound {
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
    check_header(shared, task, &head, faults);
    stored_table(task, &head, layout.table_a().map(ByteRange::start), faults)
}

fn check_header(shared: &Shared, task: &Task, head: &[u8], faults: &mut Faults) {
    let block = task.block.as_ref();
    let record = block
        .shard(task.shard)
        .expect("only shards that are present are inspected");
    let identity = FrameIdentity {
        archive: shared.archive_id(),
        volume: block.volume_id(record),
        extent: record.extent,
        offset: record.offset,
        block: block.record().id,
        shard: task.shard,
    };
    match ClaimedFrame::parse(head).map(|claimed| claimed.check(&identity)) {
        Ok(Ok(_)) => {}
        Ok(Err(_mismatch)) => faults.add(DamagePart::Header, DamageKind::Misplaced),
        Err(_) => faults.add(DamagePart::Header, DamageKind::Checksum),
    }
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
