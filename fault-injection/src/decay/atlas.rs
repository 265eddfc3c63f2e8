//! The atlas of faults: for a kind of damage, a block and how far to go, which bytes to hurt.

use std::ops::Range;

use super::{
    chart::{Block, EXTENT_HEADER},
    frame::{Frame, bytes},
    harm::{Harm, Wound, whole},
    kind::{Kind, Reach},
    subject::Subject,
};
use crate::Seeded;

/// What disks refuse at once.
const UNITS: [u64; 2] = [512, 4096];

/// Returns wounds of a kind that are just inside of what a block survives, or just beyond; none where the block has no
/// place for them.
pub(super) fn wounds(
    subject: &Subject,
    block: &Block,
    (kind, reach): (Kind, Reach),
    seeded: &mut Seeded,
) -> Vec<Wound> {
    let mut plan = Plan {
        subject,
        block,
        reach,
        seeded,
    };
    let wounds = match kind {
        Kind::Bits
        | Kind::Noise
        | Kind::Zeros
        | Kind::Misplaced
        | Kind::Stale
        | Kind::Cut
        | Kind::Gone
        | Kind::Lanes
        | Kind::Unreadable => plan.in_a_column(kind),
        Kind::Tables => plan.tables(),
        Kind::Slices => plan.slices(),
        Kind::Spread => plan.spread(),
        Kind::Highest => plan.highest(),
        Kind::Parity => plan.parity(),
        Kind::Block => Some(block.frames.iter().map(Plan::zeros).collect()),
        Kind::Header => plan.labels(Frame::header),
        Kind::Footer => plan.labels(Frame::footer),
        Kind::AllTables => plan.all_tables(),
        Kind::Copy => plan.in_every_frame(Frame::tables),
        Kind::Padding => Some(plan.padding()),
        Kind::Dead => Some(plan.dead()),
        Kind::Behind => Some(plan.behind()),
        Kind::ExtentHeader => Some(plan.extent_headers()),
    };
    let mut wounds = wounds.unwrap_or_default();
    let mut seen = Vec::new();
    wounds.retain(|wound| {
        let is_new = !seen.contains(wound);
        seen.push(*wound);
        is_new
    });
    wounds
}

struct Plan<'a> {
    subject: &'a Subject,
    block: &'a Block,
    reach: Reach,
    seeded: &'a mut Seeded,
}

impl Plan<'_> {
    /// Returns how many leaves of a column are to be bad.
    fn count(&self) -> usize {
        let parity = usize::try_from(self.block.code.parity).unwrap_or(usize::MAX);
        match self.reach {
            Reach::Inside => parity,
            Reach::Beyond => parity + 1,
        }
    }

    /// Returns some shards that have a leaf in a column, as many as are to be bad.
    fn some_with(&mut self, column: u64) -> Option<Vec<Frame>> {
        let frames = self.block.frames.iter().copied();
        let mut with: Vec<Frame> = frames.filter(|frame| frame.leaf_count() > column).collect();
        self.seeded.shuffle(&mut with);
        let count = self.count();
        with.truncate(count);
        (with.len() == count).then_some(with)
    }

    fn in_a_column(&mut self, kind: Kind) -> Option<Vec<Wound>> {
        let column = self.seeded.below(self.block.code.columns());
        let chosen = self.some_with(column)?;
        let wounds = chosen.iter().map(|frame| self.hurt(kind, frame, column));
        let wounds: Option<Vec<Vec<Wound>>> = wounds.collect();
        Some(wounds?.into_iter().flatten().collect())
    }

    /// Hurts the leaf of a frame in a column, and what has to go with it.
    fn hurt(&mut self, kind: Kind, frame: &Frame, column: u64) -> Option<Vec<Wound>> {
        let leaf = frame.leaf(column);
        let harm = match kind {
            Kind::Noise => {
                let start = leaf.start + self.seeded.below(leaf.end - leaf.start);
                let len = 1 + self.seeded.below(leaf.end - start);
                // Of one byte of noise some are what stood there.
                Harm::Noise(
                    (start, len.max((leaf.end - start).min(8))),
                    self.seeded.below(1 << 32),
                )
            }
            Kind::Zeros => Harm::Zeros(whole(&frame.whole())),
            Kind::Misplaced => return self.misplaced(frame),
            Kind::Stale => {
                let len = leaf.end - leaf.start;
                let mut dead = self.subject.dead();
                dead.retain(|(_, range)| range.end - range.start >= len);
                if dead.is_empty() {
                    return None;
                }
                let (extent, range) = dead.swap_remove(self.seeded.index(dead.len()));
                let from = range.start + self.seeded.below(range.end - range.start - len + 1);
                Harm::Copied(whole(&leaf), (extent, from))
            }
            Kind::Cut => Harm::Cut(leaf.start + self.seeded.below(leaf.end - leaf.start)),
            Kind::Gone => Harm::Gone,
            Kind::Lanes => {
                let lane = self.subject.chart.lanes.get(&frame.extent)?;
                let all = self
                    .subject
                    .chart
                    .lanes
                    .iter()
                    .filter(|(_, other)| *other == lane);
                let gone = all.map(|(extent, _)| Wound {
                    extent: *extent,
                    harm: Harm::Gone,
                });
                return Some(gone.collect());
            }
            Kind::Unreadable => {
                let at = leaf.start + self.seeded.below(leaf.end - leaf.start);
                let unit = UNITS[self.seeded.index(UNITS.len())];
                Harm::Unreadable((at / unit * unit, unit))
            }
            Kind::Bits => return Some(vec![self.bit_in(frame, &leaf)]),
            Kind::Tables
            | Kind::Slices
            | Kind::Spread
            | Kind::Highest
            | Kind::Parity
            | Kind::Block
            | Kind::Header
            | Kind::Footer
            | Kind::AllTables
            | Kind::Copy
            | Kind::Padding
            | Kind::Dead
            | Kind::Behind
            | Kind::ExtentHeader => return None,
        };
        let extent = frame.extent;
        Some(vec![Wound { extent, harm }])
    }

    /// Puts over a frame what stands from another frame on.
    fn misplaced(&mut self, frame: &Frame) -> Option<Vec<Wound>> {
        let len = frame.whole().end - frame.whole().start;
        let end_of = |extent: u64| {
            let bytes_of = self.subject.extents.get(&extent);
            bytes_of.map_or(0, |found| bytes(found.len()))
        };
        // A replica in the place of another is right but for its header.
        let is_replica =
            |other: &Frame| self.block.code.is_replication() && self.block.frames.contains(other);
        let others = self.subject.chart.frames();
        let others: Vec<&Frame> = others
            .filter(|other| *other != frame && !is_replica(other))
            .filter(|other| other.offset + len <= end_of(other.extent))
            .collect();
        if others.is_empty() {
            return None;
        }
        let other = others[self.seeded.index(others.len())];
        Some(vec![Wound {
            extent: frame.extent,
            harm: Harm::Copied((frame.offset, len), (other.extent, other.offset)),
        }])
    }

    fn bit_in(&mut self, frame: &Frame, range: &Range<u64>) -> Wound {
        let bit = range.start * 8 + self.seeded.below((range.end - range.start) * 8);
        Wound {
            extent: frame.extent,
            harm: Harm::Bit(bit),
        }
    }

    fn both_tables(&mut self, frame: &Frame) -> Vec<Wound> {
        let tables = frame.tables();
        tables.iter().map(|table| self.bit_in(frame, table)).collect()
    }

    /// Takes the tables of shards, and a leaf of each that only they could prove.
    fn tables(&mut self) -> Option<Vec<Wound>> {
        if self.block.code.columns() < 2 {
            return None;
        }
        let column = self.seeded.below(2);
        let chosen = self.some_with(column)?;
        if self.reach == Reach::Beyond && !chosen.iter().any(|frame| self.is_long_data(frame)) {
            return None;
        }
        let mut wounds = Vec::new();
        for frame in &chosen {
            wounds.extend(self.both_tables(frame));
            wounds.push(self.bit_in(frame, &frame.leaf(column)));
        }
        Some(wounds)
    }

    fn is_long_data(&self, frame: &Frame) -> bool {
        self.block.code.is_data(frame.shard) && frame.leaf_count() > 1 || self.block.code.is_replication()
    }

    /// Takes what the table column is decoded from: a data shard that has lost its tables and a leaf, and slices of parity.
    fn slices(&mut self) -> Option<Vec<Wound>> {
        if !self.block.code.has_table_column() {
            return None;
        }
        let frames = self.block.frames.iter().copied();
        let (mut data, mut parity): (Vec<Frame>, Vec<Frame>) =
            frames.partition(|frame| self.block.code.is_data(frame.shard));
        data.retain(|frame| frame.leaf_count() > 1);
        self.seeded.shuffle(&mut data);
        self.seeded.shuffle(&mut parity);
        let data = data.first()?;
        let mut wounds = self.both_tables(data);
        // A payload that is whole proves its table, whatever became of the column.
        let is_whole = self.reach == Reach::Inside && self.seeded.below(2) == 0;
        if !is_whole {
            parity.truncate(self.count() - 1);
            let column = self.seeded.below(data.leaf_count());
            wounds.push(self.bit_in(data, &data.leaf(column)));
        }
        for frame in &parity {
            let slice = frame.leaf(self.block.code.columns());
            wounds.push(self.bit_in(frame, &slice));
        }
        Some(wounds)
    }

    /// Hits every shard in one column, and no column more often than the code survives; or one column once more.
    fn spread(&mut self) -> Option<Vec<Wound>> {
        let mut frames = self.block.frames.clone();
        self.seeded.shuffle(&mut frames);
        frames.sort_by_key(Frame::leaf_count);
        let columns = self.block.code.columns() + u64::from(self.block.code.has_table_column());
        let mut hits: Vec<Vec<Frame>> = vec![Vec::new(); usize::try_from(columns).ok()?];
        for frame in &frames {
            let leaves = usize::try_from(frame.leaf_count()).ok()?;
            let fewest = hits[..leaves].iter_mut().min_by_key(|hit| hit.len())?;
            fewest.push(*frame);
        }
        let parity = usize::try_from(self.block.code.parity).ok()?;
        if hits.iter().any(|hit| hit.len() > parity) {
            return None;
        }
        if self.reach == Reach::Beyond {
            let column = self.seeded.below(self.block.code.columns());
            let at = usize::try_from(column).ok()?;
            for frame in frames.iter().filter(|frame| frame.leaf_count() > column) {
                if hits[at].len() <= parity && !hits[at].contains(frame) {
                    hits[at].push(*frame);
                }
            }
            if hits[at].len() <= parity {
                return None;
            }
        }
        let mut wounds = Vec::new();
        for (column, hit) in (0..).zip(&hits) {
            for frame in hit {
                wounds.push(self.bit_in(frame, &frame.leaf(column)));
            }
        }
        Some(wounds)
    }

    fn zeros(frame: &Frame) -> Wound {
        Wound {
            extent: frame.extent,
            harm: Harm::Zeros(whole(&frame.whole())),
        }
    }

    fn highest(&mut self) -> Option<Vec<Wound>> {
        let code = self.block.code;
        let (highest, mut others): (Vec<Frame>, Vec<Frame>) = {
            let data = |frame: &&Frame| code.is_data(frame.shard);
            let last = self.block.frames.iter().rfind(data)?.shard;
            let frames = self.block.frames.iter().copied();
            frames.partition(|frame| frame.shard == last)
        };
        self.seeded.shuffle(&mut others);
        // In columns that the last one does not have it takes nothing away.
        let leaves = highest.first()?.leaf_count();
        others.retain(|frame| frame.leaf_count() >= leaves);
        others.truncate(self.count() - 1);
        let all = highest.iter().chain(&others);
        (others.len() + 1 == self.count()).then(|| all.map(Self::zeros).collect())
    }

    fn parity(&mut self) -> Option<Vec<Wound>> {
        let code = self.block.code;
        let frames = self.block.frames.iter().copied();
        let (mut data, parity): (Vec<Frame>, Vec<Frame>) =
            frames.partition(|frame| code.is_data(frame.shard));
        let mut wounds: Vec<Wound> = parity.iter().map(Self::zeros).collect();
        if self.reach == Reach::Beyond {
            self.seeded.shuffle(&mut data);
            let data = data.first()?;
            let column = self.seeded.below(data.leaf_count());
            wounds.push(self.bit_in(data, &data.leaf(column)));
        }
        Some(wounds)
    }

    /// Hurts what says which frame it is.
    fn labels(&mut self, label: impl Fn(&Frame) -> Range<u64>) -> Option<Vec<Wound>> {
        if self.seeded.below(2) == 0 {
            return self.in_every_frame(|frame| vec![label(frame)]);
        }
        let others: Vec<&Frame> = self.subject.chart.frames().collect();
        let mut wounds = Vec::new();
        for frame in &self.block.frames {
            let other = others[self.seeded.index(others.len())];
            if other != frame {
                let harm = Harm::Copied(whole(&label(frame)), (other.extent, label(other).start));
                let extent = frame.extent;
                wounds.push(Wound { extent, harm });
            }
        }
        Some(wounds)
    }

    fn all_tables(&mut self) -> Option<Vec<Wound>> {
        let mut wounds = Vec::new();
        for frame in &self.block.frames {
            wounds.extend(self.both_tables(frame));
        }
        (!wounds.is_empty()).then_some(wounds)
    }

    /// Flips a bit in one of the ranges of each frame.
    fn in_every_frame(&mut self, ranges: impl Fn(&Frame) -> Vec<Range<u64>>) -> Option<Vec<Wound>> {
        let mut wounds = Vec::new();
        for frame in &self.block.frames {
            let ranges = ranges(frame);
            if ranges.is_empty() {
                return None;
            }
            let range = &ranges[self.seeded.index(ranges.len())];
            wounds.push(self.bit_in(frame, range));
        }
        Some(wounds)
    }

    fn padding(&mut self) -> Vec<Wound> {
        let mut wounds = Vec::new();
        for frame in &self.block.frames {
            let ranges = frame.padding().into_iter();
            for range in ranges.filter(|range| !range.is_empty()) {
                let harm = Harm::Noise(whole(&range), self.seeded.below(1 << 32));
                let extent = frame.extent;
                wounds.push(Wound { extent, harm });
            }
        }
        wounds
    }

    fn dead(&mut self) -> Vec<Wound> {
        let mut wounds = Vec::new();
        for (extent, range) in self.subject.dead() {
            let harm = match self.seeded.below(4) {
                0 => continue,
                1 => Harm::Unreadable(whole(&range)),
                2 => Harm::Zeros(whole(&range)),
                _ => Harm::Noise(whole(&range), self.seeded.below(1 << 32)),
            };
            wounds.push(Wound { extent, harm });
        }
        wounds
    }

    fn behind(&mut self) -> Vec<Wound> {
        let mut wounds = Vec::new();
        for extent in self.subject.extents.keys().copied() {
            if self.seeded.below(3) > 0 {
                let harm = Harm::Longer(1 + self.seeded.below(9000), self.seeded.below(1 << 32));
                wounds.push(Wound { extent, harm });
            }
        }
        wounds
    }

    fn extent_headers(&mut self) -> Vec<Wound> {
        let mut wounds = Vec::new();
        for extent in self.subject.extents.keys().copied() {
            let harm = match self.seeded.below(4) {
                0 => continue,
                1 => Harm::Zeros(whole(&EXTENT_HEADER)),
                2 => Harm::Unreadable(whole(&EXTENT_HEADER)),
                _ => Harm::Noise(whole(&EXTENT_HEADER), self.seeded.below(1 << 32)),
            };
            wounds.push(Wound { extent, harm });
        }
        wounds
    }
}
