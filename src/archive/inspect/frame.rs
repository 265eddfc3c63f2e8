//! Looking at one frame: its header, both tables, the payload, the footer.

use std::borrow::Cow;

use super::Task;
use crate::{
    archive::{
        observer::{DamageKind, DamagePart, Finding},
        read::kind_of,
        shared::Shared,
    },
    buffer::Scratch,
    catalog::DamageRecord,
    error::VolumeError,
    format::{ClaimedFrame, FRAME_HEADER_LEN_BYTES, FrameFooter, FrameIdentity},
    merkle::{HASH_LEN_BYTES, LeafTable},
    plan::ColumnSet,
    units::{ByteRange, ColumnIndex, Timestamp, to_u64, to_usize},
};

/// What one shard turned out to be.
pub(in crate::archive) struct ShardFound {
    pub(in crate::archive) bytes_read: u64,
    pub(in crate::archive) finding: Option<Finding>,
    /// The shard does not tell its leaf table: neither copy is right, and the payload is not whole either.
    pub(in crate::archive) lost_table: bool,
}

impl ShardFound {
    /// Returns what the catalog is to know of it, where anything is wrong.
    pub(in crate::archive) fn to_record(&self, task: &Task, now: Timestamp) -> Option<DamageRecord> {
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
pub(super) fn glance_at_shard(shared: &Shared, task: &Task) -> ShardFound {
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

/// What has come of reading a frame in one go.
pub(super) enum Loaded<'a> {
    Frame(&'a [u8]),
    /// It is longer than is read at once, or nobody has tried.
    NotTried,
    /// It was not read, for that reason. Its parts may be.
    Failed(DamageKind),
}

/// Reads a frame in one go, of its padding what `into` has room for: that is to whole sectors, as reads past caches want it.
pub(super) fn read_frame(task: &Task, into: &mut [u8]) -> Result<(), DamageKind> {
    let (block, shard) = (task.block.as_ref(), task.shard);
    let record = block.shard(shard);
    let record = record.expect("only shards that are present are inspected");
    let read = match block.read_once(record, 0, into) {
        // Nobody misses padding that is cut off.
        Err(VolumeError::Truncated { .. }) => {
            let content_len = to_usize(block.layout(shard).content_len_bytes());
            block.read_once(record, 0, &mut into[..content_len])
        }
        read => read,
    };
    read.map_err(|error| kind_of(&error))
}

/// Reads one frame completely: header, both tables, payload, footer.
pub(in crate::archive) fn inspect_shard(shared: &Shared, task: &Task) -> ShardFound {
    inspect_frame(shared, task, &Loaded::NotTried, &mut Scratch::default())
}

/// Judges one frame, which was loaded or is read now.
pub(super) fn inspect_frame(
    shared: &Shared,
    task: &Task,
    result: &Loaded<'_>,
    memory: &mut Scratch,
) -> ShardFound {
    let block = task.block.as_ref();
    let (loaded, failure) = match result {
        Loaded::Frame(frame) => (Some(*frame), None),
        Loaded::NotTried => (None, None),
        Loaded::Failed(kind) => (None, Some(*kind)),
    };
    let layout = block.layout(task.shard);
    let mut faults = Faults::default();
    // In the order in which they lie on the disk, one behind the other.
    let first_table = read_head(shared, task, loaded, &mut faults);
    let hashed = match loaded {
        Some(frame) => Ok(block.hash_loaded(task.shard, part(frame, layout.payload()))),
        None => block.hash_payload_once(task.shard, memory),
    };
    let second_table = read_tail(task, loaded, &mut faults);
    let stored = first_table.or(second_table);
    let leaves = block.geometry().leaf_count(task.shard);
    let mut bad = ColumnSet::default();
    let mut lost_table = false;
    // One part that cannot be read hides the table beside it from the reads above, not from this one.
    let is_table_lost = || stored.is_none() && !block.has_stored_table(task.shard);
    match hashed {
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
            bad = bad_leaves(task, &mut faults);
            lost_table = is_table_lost();
            faults.add(DamagePart::Payload, kind_of(&error));
        }
    }
    // A disk that has answered at the second try only is one to know of.
    if let Some(kind) = failure
        && faults.found.is_empty()
    {
        faults.add(DamagePart::Payload, kind);
    }
    let finding = faults.worst().map(|(part, kind)| finding(task, part, kind, bad));
    ShardFound {
        bytes_read: faults.bytes_read,
        finding,
        lost_table,
    }
}

/// Reads leaf by leaf, so that one bad sector costs the leaves that it hits, and returns those that are wrong.
fn bad_leaves(task: &Task, faults: &mut Faults) -> ColumnSet {
    let block = task.block.as_ref();
    let mut bad = ColumnSet::default();
    let mut leaf = Vec::new();
    for column in 0..block.geometry().leaf_count(task.shard) {
        leaf.resize(block.run_len(task.shard, column..column + 1), 0);
        let one = block.read_verified(task.shard, column..column + 1, &mut leaf, &());
        if one.is_empty() {
            faults.bytes_read += to_u64(leaf.len());
        }
        bad.union_with(&one);
    }
    bad
}

/// Reads what stands before the payload: the header, and the first copy of the table, which is returned when right.
fn read_head(shared: &Shared, task: &Task, loaded: Option<&[u8]>, faults: &mut Faults) -> Option<LeafTable> {
    let layout = task.block.layout(task.shard);
    let range = ByteRange::new(0, layout.payload().start())?;
    let head = match read_part(task, loaded, range) {
        Ok(head) => head,
        Err(error) => {
            faults.add(DamagePart::Header, kind_of(&error));
            return None;
        }
    };
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
fn read_tail(task: &Task, loaded: Option<&[u8]>, faults: &mut Faults) -> Option<LeafTable> {
    let block = task.block.as_ref();
    let layout = block.layout(task.shard);
    let start = layout.payload().end();
    let range = ByteRange::new(start, layout.content_len_bytes())?;
    let tail = match read_part(task, loaded, range) {
        Ok(tail) => tail,
        Err(error) => {
            faults.add(DamagePart::Footer, kind_of(&error));
            return None;
        }
    };
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

/// Returns a part of the frame, from memory or from its extent.
fn read_part<'a>(
    task: &Task,
    loaded: Option<&'a [u8]>,
    range: ByteRange,
) -> Result<Cow<'a, [u8]>, VolumeError> {
    if let Some(frame) = loaded {
        return Ok(Cow::Borrowed(part(frame, range)));
    }
    let record = task.block.shard(task.shard);
    let record = record.expect("only shards that are present are inspected");
    let mut bytes = vec![0; to_usize(range.len())];
    task.block.read_at(record, range.start(), &mut bytes)?;
    Ok(Cow::Owned(bytes))
}

fn part(frame: &[u8], range: ByteRange) -> &[u8] {
    &frame[to_usize(range.start())..to_usize(range.end())]
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
        name: task.called.name.clone(),
        kept_version: task.called.kept_version,
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
