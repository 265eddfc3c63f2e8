//! Which variants of a crash are tried at a boundary.

use super::{
    action::{Action, Form, Operation},
    durability::Pending,
    page::{PAGE_BYTES, to_u64},
    variant::{Beside, CrashClass, CrashVariant, LateBytes, RenameShape, SECTOR_BYTES, TornPart},
};
use crate::Seeded;

/// How many variants of each class are tried at a boundary. Every class that applies there is tried at least once; where
/// it has no more variants than the limit, all of them are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    per_class: usize,
    random: usize,
    left_out: Vec<CrashClass>,
}

impl Limits {
    /// Tries so many of each class, but at least one.
    pub const fn new(per_class: usize) -> Self {
        Self {
            per_class,
            random: per_class,
            left_out: Vec::new(),
        }
    }

    /// Tries all there are, and so many random ones.
    pub const fn exhaustive(random: usize) -> Self {
        Self {
            per_class: usize::MAX,
            random,
            left_out: Vec::new(),
        }
    }

    /// Leaves a class out: a file system that cannot fail so, or code that does not promise to survive it.
    #[must_use]
    pub fn without(mut self, class: CrashClass) -> Self {
        self.left_out.push(class);
        self
    }
}

/// Where writes are torn: at multiples of the first that are no multiples of the second.
const GRIDS: [(u64, u64); 3] = [
    (PAGE_BYTES, u64::MAX),
    (SECTOR_BYTES, PAGE_BYTES),
    (1, SECTOR_BYTES),
];

/// The pending changes of a boundary.
pub(super) struct Choice<'a> {
    pub(super) log: &'a [Operation],
    pub(super) pending: &'a [Pending],
}

impl Choice<'_> {
    /// Returns variants of every class that applies. With one pending change most classes say what "nothing" and
    /// "everything" say, so they apply from two on.
    pub(super) fn variants(&self, seeded: &mut Seeded, limits: &Limits) -> Vec<CrashVariant> {
        let count = self.pending.len();
        let mut chosen = vec![CrashVariant::Nothing];
        if count > 0 {
            chosen.push(CrashVariant::Everything);
        }
        if count > 1 {
            let per_class = limits.per_class;
            chosen.extend(some(
                (0..count).map(CrashVariant::Only).collect(),
                per_class,
                seeded,
            ));
            chosen.extend(some(
                (0..count).map(CrashVariant::AllBut).collect(),
                per_class,
                seeded,
            ));
            chosen.extend(some(
                (1..count).map(CrashVariant::Prefix).collect(),
                per_class,
                seeded,
            ));
        }
        if count > 2 {
            let seeds = (0..limits.random.max(1)).map(|_| CrashVariant::Random(seeded.next_u64()));
            chosen.extend(seeds);
        }
        for grid in GRIDS {
            self.torn(grid, (&mut *seeded, limits.per_class), &mut chosen);
        }
        self.garbage(seeded, limits.per_class, &mut chosen);
        chosen.extend(some(self.sizes(), limits.per_class, seeded));
        chosen.extend(some(self.lost_names(), limits.per_class, seeded));
        chosen.extend(self.undone_renames(seeded, limits.per_class));
        chosen.retain(|variant| !limits.left_out.contains(&variant.class()));
        chosen
    }

    fn action(&self, index: usize) -> &Action {
        &self.log[self.pending[index].index].action
    }

    /// Returns the pending writes that have bytes.
    fn writes(&self) -> Vec<usize> {
        let is_write = |index: &usize| {
            let form = self.pending[*index].form;
            matches!(self.action(*index), Action::Write { payload, .. } if form == Form::Whole && !payload.range().is_empty())
        };
        (0..self.pending.len()).filter(is_write).collect()
    }

    fn torn(
        &self,
        (unit, coarser): (u64, u64),
        choosing: (&mut Seeded, usize),
        chosen: &mut Vec<CrashVariant>,
    ) {
        let (seeded, limit) = choosing;
        let tears = |write: &usize| {
            let range = self.action(*write).range();
            range.start / unit + 1..range.end.div_ceil(unit)
        };
        let is_meant = |at: &u64| !at.is_multiple_of(coarser);
        let mut tear = |write: usize, at: u64, part: TornPart, beside: Beside| {
            chosen.push(CrashVariant::TornWrite {
                write,
                at,
                part,
                beside,
            });
        };
        let meant = |write: usize| tears(&write).map(|multiple| multiple * unit).filter(is_meant);
        let writes: Vec<usize> = self
            .writes()
            .into_iter()
            .filter(|write| meant(*write).next().is_some())
            .collect();
        let all: u64 = writes
            .iter()
            .map(|write| tears(write).end - tears(write).start)
            .sum();
        if all.saturating_mul(2) <= to_u64(limit) {
            for write in writes {
                for at in meant(write) {
                    for beside in self.beside(write) {
                        tear(write, at, TornPart::Head, *beside);
                        tear(write, at, TornPart::Tail, *beside);
                    }
                }
            }
            return;
        }
        for _ in 0..limit.max(1) {
            let Some(write) = pick(&writes, seeded) else {
                return;
            };
            let range = tears(&write);
            let first = range.start + seeded.below(range.end - range.start);
            // Where this multiple belongs to a coarser grid, a neighbour does not.
            let near = [first, first + 1, first.saturating_sub(1)]
                .into_iter()
                .filter(|at| range.contains(at));
            let part = [TornPart::Head, TornPart::Tail][seeded.index(2)];
            let beside = self.beside(write)[seeded.index(self.beside(write).len())];
            if let Some(at) = near.map(|multiple| multiple * unit).find(is_meant) {
                tear(write, at, part, beside);
            }
        }
    }

    fn garbage(&self, seeded: &mut Seeded, limit: usize, chosen: &mut Vec<CrashVariant>) {
        let writes = self.writes();
        let mut spoil = |write: usize, sector: (u64, u64), beside: Beside, seed: u64| {
            chosen.push(CrashVariant::GarbageInTornSector {
                write,
                sector,
                seed,
                beside,
            });
        };
        let sectors = |write: usize, unit: u64| {
            let range = self.action(write).range();
            range.start / unit..range.end.div_ceil(unit)
        };
        let units = [SECTOR_BYTES, PAGE_BYTES];
        let count = |write: &usize| {
            units
                .map(|unit| sectors(*write, unit))
                .map(|all| all.end - all.start)
        };
        let all: u64 = writes.iter().flat_map(count).sum();
        if all <= to_u64(limit) {
            for write in writes {
                for (unit, beside) in units
                    .iter()
                    .flat_map(|unit| self.beside(write).iter().map(move |beside| (unit, beside)))
                {
                    let seed = seeded.next_u64();
                    sectors(write, *unit)
                        .for_each(|at| spoil(write, (at * unit, (at + 1) * unit), *beside, seed));
                }
            }
            return;
        }
        for _ in 0..limit.max(1) {
            let Some(write) = pick(&writes, seeded) else {
                return;
            };
            let unit = units[seeded.index(units.len())];
            let range = sectors(write, unit);
            let at = range.start + seeded.below(range.end - range.start);
            let beside = self.beside(write)[seeded.index(self.beside(write).len())];
            spoil(write, (at * unit, (at + 1) * unit), beside, seeded.next_u64());
        }
    }

    /// What may have become of the changes beside a write, where there are any.
    const fn beside(&self, write: usize) -> &'static [Beside] {
        match (write == 0, write + 1 == self.pending.len()) {
            (true, true) => &[Beside::Nothing],
            (false, true) => &[Beside::Nothing, Beside::Older],
            (true, false) => &[Beside::Nothing, Beside::Newer],
            (false, false) => &Beside::EACH,
        }
    }

    fn sizes(&self) -> Vec<CrashVariant> {
        let mut files = Vec::new();
        let mut variants = Vec::new();
        for write in self.writes() {
            let file = self.action(write).changed_file();
            if !files.contains(&file) {
                files.push(file);
                variants.push(CrashVariant::SizeBeforeData(LateBytes::FileOf(write)));
            }
        }
        if files.len() > 1 {
            variants.push(CrashVariant::SizeBeforeData(LateBytes::All));
        }
        variants
    }

    fn lost_names(&self) -> Vec<CrashVariant> {
        let gives_a_name = |index: &usize| {
            self.action(*index).named().is_some() && self.pending[*index].form != Form::RemovedOnly
        };
        (0..self.pending.len())
            .filter(gives_a_name)
            .map(CrashVariant::LostDirectoryEntry)
            .collect()
    }

    fn undone_renames(&self, seeded: &mut Seeded, limit: usize) -> Vec<CrashVariant> {
        let is_whole = |index: &usize| {
            matches!(self.action(*index), Action::Rename { .. }) && self.pending[*index].form == Form::Whole
        };
        let renames = (0..self.pending.len()).filter(is_whole).collect();
        let shapes = |rename| {
            let undone = |shape| CrashVariant::UndoneRename { rename, shape };
            [undone(RenameShape::Undone), undone(RenameShape::BothNames)]
        };
        some(renames, limit, seeded)
            .into_iter()
            .flat_map(shapes)
            .collect()
    }
}

/// Returns all, or so many of them chosen at random, in their order.
fn some<T: Clone>(all: Vec<T>, limit: usize, seeded: &mut Seeded) -> Vec<T> {
    let limit = limit.max(1);
    if all.len() <= limit {
        return all;
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    seeded.shuffle(&mut order);
    order.truncate(limit);
    order.sort_unstable();
    order.into_iter().map(|index| all[index].clone()).collect()
}

fn pick(all: &[usize], seeded: &mut Seeded) -> Option<usize> {
    (!all.is_empty()).then(|| all[seeded.index(all.len())])
}
