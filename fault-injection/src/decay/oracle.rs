//! Which shards are damaged and which bytes are lost: worked out from the bytes before and after, as docs/format.md,
//! sections 5 and 6, have it. Slow and obvious; no judgement comes from the engine.

use std::{collections::BTreeMap, ops::Range};

use super::{
    chart::{Block, Chart, Extents, Holds},
    frame::{Frame, span},
    harm::Damaged,
};

/// What has to be told of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Expected {
    /// By name, and whether it is a descriptor.
    pub(super) damage: BTreeMap<(String, bool), Damage>,
    /// In the order of names, blocks and shards.
    pub(super) findings: Vec<Told>,
    /// The lost leaves of each file, in order, as bytes of it.
    pub(super) lost: BTreeMap<String, Vec<Range<u64>>>,
}

/// What is told of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Damage {
    pub(super) shards: u64,
    /// The lost bytes, neighbours together.
    pub(super) lost: Vec<Range<u64>>,
}

/// What is told of one shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) block: u64,
    pub(super) shard: u64,
    /// Columns in which its leaf is bad.
    pub(super) columns: Vec<u64>,
    /// Whether every byte of the block can still be had.
    pub(super) is_recoverable: bool,
    /// What of the frame is bad; where something cannot be read, its neighbours may be told instead.
    pub(super) part: Part,
    /// No repair brings it back: it has a bad leaf in a column that does not decode.
    pub(super) stays: bool,
}

/// The part of a frame that matters most of those that are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Something around the payload, and some of it cannot be read at all.
    Around,
    Header,
    Table,
    Footer,
    Payload,
}

/// What of a frame is right.
struct Shard {
    header: bool,
    footer: bool,
    tables: Vec<bool>,
    leaves: Vec<bool>,
    /// Some of it cannot be read.
    is_refused: bool,
}

/// Bytes before and after.
pub(super) struct Bytes<'a> {
    pub(super) before: &'a Extents,
    pub(super) damaged: &'a Damaged,
}

impl Expected {
    /// Returns what a repair leaves of the findings.
    pub(super) fn remains(&self) -> Vec<Told> {
        let stays = self.findings.iter().filter(|told| told.stays);
        stays.cloned().collect()
    }
}

impl Bytes<'_> {
    fn is_right(&self, extent: u64, range: &Range<u64>) -> bool {
        let Some(after) = self.damaged.after.get(&extent) else {
            return true;
        };
        let before = self.before.get(&extent);
        // What is not there was written later.
        let Some(before) = before.and_then(|before| before.get(span(range))) else {
            return true;
        };
        !self.is_refused(extent, range) && after.get(span(range)) == Some(before)
    }

    fn is_refused(&self, extent: u64, range: &Range<u64>) -> bool {
        let mut refused = self.damaged.unreadable.iter();
        refused.any(|(other, bad)| *other == extent && bad.start < range.end && range.start < bad.end)
    }

    fn shard(&self, frame: &Frame) -> Shard {
        let is_right = |range: &Range<u64>| self.is_right(frame.extent, range);
        Shard {
            header: is_right(&frame.header()),
            footer: is_right(&frame.footer()),
            tables: frame.tables().iter().map(is_right).collect(),
            leaves: (0..frame.leaf_count())
                .map(|column| is_right(&frame.leaf(column)))
                .collect(),
            is_refused: self.is_refused(frame.extent, &frame.whole()),
        }
    }
}

impl Shard {
    /// Says whether the frame alone is enough to know its leaf table: one leaf is in the catalog, a copy is right, or the payload
    /// is, whose hashes make the table again.
    fn knows_its_table(&self) -> bool {
        self.tables.is_empty() || self.tables.contains(&true) || !self.leaves.contains(&false)
    }

    fn part(&self) -> Option<Part> {
        let parts = [
            (self.leaves.contains(&false), Part::Payload),
            (!self.footer, Part::Footer),
            (self.tables.contains(&false), Part::Table),
            (!self.header, Part::Header),
        ];
        let (_, worst) = parts.into_iter().find(|(is_bad, _)| *is_bad)?;
        let is_vague = self.is_refused && worst != Part::Payload;
        Some(if is_vague { Part::Around } else { worst })
    }
}

/// Says what has to be told of an archive.
pub(super) fn expected(chart: &Chart, bytes: &Bytes<'_>) -> Expected {
    let mut expected = Expected::default();
    for block in &chart.blocks {
        let shards: Vec<Shard> = block.frames.iter().map(|frame| bytes.shard(frame)).collect();
        let (known, decodes_tables) = known_tables(block, &shards);
        let lost = lost_leaves(block, &shards, &known);
        let beyond = columns_beyond(block, &shards, &known);
        let mut count = 0;
        for ((frame, shard), known) in block.frames.iter().zip(&shards).zip(&known) {
            let Some(part) = shard.part() else { continue };
            count += 1;
            let is_bad = |column: &u64| !known || !shard.leaves[index(*column)];
            let has_table_slice = has_slice(block, frame, shard);
            expected.findings.push(Told {
                name: block.name.clone(),
                block: block.index,
                shard: frame.shard,
                columns: (0..frame.leaf_count()).filter(is_bad).collect(),
                is_recoverable: lost.is_empty(),
                part,
                stays: beyond
                    .iter()
                    .any(|column| *column < frame.leaf_count() && is_bad(column))
                    || (block.code.has_table_column() && !has_table_slice && !decodes_tables),
            });
        }
        if count == 0 {
            continue;
        }
        let is_descriptor = block.holds == Holds::Descriptor;
        let key = (block.name.clone(), is_descriptor);
        let damage = expected.damage.entry(key).or_default();
        damage.shards += count;
        for leaf in &lost {
            match damage.lost.last_mut() {
                Some(last) if last.end == leaf.start => last.end = leaf.end,
                Some(_) | None => damage.lost.push(leaf.clone()),
            }
        }
        if !is_descriptor && !lost.is_empty() {
            expected.lost.entry(block.name.clone()).or_default().extend(lost);
        }
    }
    expected.findings.sort();
    expected
}

/// Says of each shard whether its leaves can be told from wrong ones, and whether the table column decodes.
fn known_tables(block: &Block, shards: &[Shard]) -> (Vec<bool>, bool) {
    let own: Vec<bool> = shards.iter().map(Shard::knows_its_table).collect();
    if block.code.is_replication() {
        // All replicas have the same table.
        return (vec![own.contains(&true); own.len()], false);
    }
    let of_block = block.frames.iter().zip(shards);
    let gone = of_block
        .filter(|(frame, shard)| !has_slice(block, frame, shard))
        .count();
    let decodes =
        block.code.has_table_column() && u64::try_from(gone).is_ok_and(|gone| gone <= block.code.parity);
    let is_known = |(frame, own): (&Frame, &bool)| *own || (decodes && block.code.is_data(frame.shard));
    (block.frames.iter().zip(&own).map(is_known).collect(), decodes)
}

/// Says whether a shard has its part of the table column: a data shard its table, a parity shard a slice that it can prove.
fn has_slice(block: &Block, frame: &Frame, shard: &Shard) -> bool {
    let is_free = block.code.is_data(frame.shard) || !block.code.has_table_column();
    shard.knows_its_table() && (is_free || shard.leaves[index(block.code.columns())])
}

/// Returns the columns of which more leaves are bad than the code survives.
fn columns_beyond(block: &Block, shards: &[Shard], known: &[bool]) -> Vec<u64> {
    let count_bad = |column: u64| {
        let shards = shards.iter().zip(known);
        let bad = shards.filter(|(shard, known)| {
            let leaf = shard.leaves.get(index(column));
            leaf.is_some_and(|is_right| !is_right || !**known)
        });
        u64::try_from(bad.count()).expect("few shards")
    };
    (0..block.code.columns())
        .filter(|column| count_bad(*column) > block.code.parity)
        .collect()
}

/// Returns the bytes of the file of each leaf that no column gives back, in order.
fn lost_leaves(block: &Block, shards: &[Shard], known: &[bool]) -> Vec<Range<u64>> {
    let mut lost = Vec::new();
    for column in 0..block.code.columns() {
        let is_bad = |at: &usize| {
            let leaf = shards[*at].leaves.get(index(column));
            leaf == Some(&false) || (leaf.is_some() && !known[*at])
        };
        let bad: Vec<usize> = (0..shards.len()).filter(is_bad).collect();
        let decodes = u64::try_from(bad.len()).is_ok_and(|bad| bad <= block.code.parity);
        for at in bad {
            // What decodes must still be compared, and where there is no table there is nothing to compare with.
            if !(decodes && known[at]) {
                lost.extend(block.code.in_file(block.frames[at].shard, column));
            }
        }
    }
    lost.sort_by_key(|range| range.start);
    lost.dedup();
    lost
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("few columns")
}
