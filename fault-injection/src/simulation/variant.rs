//! What a crash may leave of the changes that no sync covers.

use std::ops::Range;

use super::{
    action::{Action, Form, Inode, Operation},
    content::intersection,
    disk::Disk,
    durability::Pending,
    page::PAGE_BYTES,
};
use crate::Seeded;

/// The smallest unit that a disk writes.
pub(super) const SECTOR_BYTES: u64 = 512;

/// What survives a crash beside what is durable. Indexes count the pending changes of the boundary, oldest first
/// ([`super::Timeline::pending`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashVariant {
    /// None of them.
    Nothing,
    /// All of them: the disk as its users saw it.
    Everything,
    /// This one alone.
    Only(usize),
    /// All without this one.
    AllBut(usize),
    /// The first so many.
    Prefix(usize),
    /// Some, chosen by a seed: each with a chance of a quarter, a half or three quarters.
    Random(u64),
    /// A part of one write.
    TornWrite {
        /// Which write.
        write: usize,
        /// Where it is torn: an offset in the file, inside the write.
        at: u64,
        /// Which side survives.
        part: TornPart,
        /// What becomes of the other changes.
        beside: Beside,
    },
    /// The bytes of one write before a sector, and noise in all of that sector, whoever its bytes are; what comes later and
    /// writes to the sector makes it whole.
    GarbageInTornSector {
        /// Which write.
        write: usize,
        /// Which sector: a range of the file that the write touches.
        sector: (u64, u64),
        /// What the noise follows from.
        seed: u64,
        /// What becomes of the other changes.
        beside: Beside,
    },
    /// All of them, but writes without their bytes: length and blocks, and zeros behind the old end.
    SizeBeforeData(LateBytes),
    /// All of them, but one new name is lost: the one that creating gave, or that renaming gave; the old name of a renaming
    /// is gone too.
    LostDirectoryEntry(usize),
    /// All of them, but one renaming is not whole.
    UndoneRename {
        /// Which renaming.
        rename: usize,
        /// What is left of it.
        shape: RenameShape,
    },
}

/// Which side of a torn write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TornPart {
    /// What lies before the tear.
    Head,
    /// What lies behind it: disks write sectors in the order that suits them.
    Tail,
}

/// Which pending changes survive beside a torn write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beside {
    /// None.
    Nothing,
    /// Those before it.
    Older,
    /// Those behind it.
    Newer,
    /// All.
    All,
}

impl Beside {
    /// All of them.
    pub const EACH: [Self; 4] = [Self::Nothing, Self::Older, Self::Newer, Self::All];

    const fn keeps_older(self) -> bool {
        matches!(self, Self::Older | Self::All)
    }

    const fn keeps_newer(self) -> bool {
        matches!(self, Self::Newer | Self::All)
    }
}

/// Whose bytes are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LateBytes {
    /// Those of all files.
    All,
    /// Those of the file that this pending write is for.
    FileOf(usize),
}

/// What is left of a renaming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenameShape {
    /// Nothing: the old name, and what the new name stood for before.
    Undone,
    /// The file has both names.
    BothNames,
}

/// The classes of variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashClass {
    /// [`CrashVariant::Nothing`].
    Nothing,
    /// [`CrashVariant::Everything`].
    Everything,
    /// [`CrashVariant::Only`].
    Only,
    /// [`CrashVariant::AllBut`].
    AllBut,
    /// [`CrashVariant::Prefix`].
    Prefix,
    /// [`CrashVariant::Random`].
    Random,
    /// [`CrashVariant::TornWrite`] at a multiple of 4096 bytes.
    TornAtPage,
    /// [`CrashVariant::TornWrite`] at another multiple of 512 bytes.
    TornAtSector,
    /// [`CrashVariant::TornWrite`] at any other byte.
    TornAtByte,
    /// [`CrashVariant::GarbageInTornSector`].
    GarbageInTornSector,
    /// [`CrashVariant::SizeBeforeData`].
    SizeBeforeData,
    /// [`CrashVariant::LostDirectoryEntry`].
    LostDirectoryEntry,
    /// [`CrashVariant::UndoneRename`].
    UndoneRename,
}

impl CrashClass {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Nothing,
        Self::Everything,
        Self::Only,
        Self::AllBut,
        Self::Prefix,
        Self::Random,
        Self::TornAtPage,
        Self::TornAtSector,
        Self::TornAtByte,
        Self::GarbageInTornSector,
        Self::SizeBeforeData,
        Self::LostDirectoryEntry,
        Self::UndoneRename,
    ];
}

impl CrashVariant {
    /// Returns the class.
    pub const fn class(&self) -> CrashClass {
        match self {
            Self::Nothing => CrashClass::Nothing,
            Self::Everything => CrashClass::Everything,
            Self::Only(_) => CrashClass::Only,
            Self::AllBut(_) => CrashClass::AllBut,
            Self::Prefix(_) => CrashClass::Prefix,
            Self::Random(_) => CrashClass::Random,
            Self::TornWrite { at, .. } if at.is_multiple_of(PAGE_BYTES) => CrashClass::TornAtPage,
            Self::TornWrite { at, .. } if at.is_multiple_of(SECTOR_BYTES) => CrashClass::TornAtSector,
            Self::TornWrite { .. } => CrashClass::TornAtByte,
            Self::GarbageInTornSector { .. } => CrashClass::GarbageInTornSector,
            Self::SizeBeforeData(_) => CrashClass::SizeBeforeData,
            Self::LostDirectoryEntry(_) => CrashClass::LostDirectoryEntry,
            Self::UndoneRename { .. } => CrashClass::UndoneRename,
        }
    }

    /// Returns the pending change that this is about, where it is about one.
    const fn subject(&self) -> Option<usize> {
        match self {
            Self::Only(index)
            | Self::AllBut(index)
            | Self::TornWrite { write: index, .. }
            | Self::GarbageInTornSector { write: index, .. }
            | Self::SizeBeforeData(LateBytes::FileOf(index))
            | Self::LostDirectoryEntry(index)
            | Self::UndoneRename { rename: index, .. } => Some(*index),
            Self::Nothing
            | Self::Everything
            | Self::Prefix(_)
            | Self::Random(_)
            | Self::SizeBeforeData(LateBytes::All) => None,
        }
    }

    /// Does to the durable state what the crash leaves of the pending changes.
    ///
    /// # Panics
    /// When this is about a change that is not there.
    pub(super) fn apply(&self, disk: &mut Disk, log: &[Operation], pending: &[Pending]) {
        let is_there = self.subject().is_none_or(|index| index < pending.len());
        assert!(
            is_there,
            "{self:?} is not about a boundary with {} pending changes",
            pending.len()
        );
        let late = self.late_files(log, pending);
        let mut chance = Chance::of(self);
        for (index, change) in pending.iter().enumerate() {
            let action = &log[change.index].action;
            match self.fate(index, *change, (action, &late), &mut chance) {
                Fate::Lost => {}
                Fate::Survives(form) => disk.apply(action, form),
                Fate::Torn(range) => disk.apply_torn(action, &range),
            }
        }
        if let Self::GarbageInTornSector {
            write,
            sector,
            seed,
            beside,
        } = *self
            && let Some(inode) = log[pending[write].index].action.changed_file()
            && !(beside.keeps_newer() && is_replaced(log, &pending[write..], &(sector.0..sector.1)))
        {
            // The sector is on its way as a whole: the file reaches as far as the write would have made it.
            let written = intersection(&log[pending[write].index].action.range(), &(sector.0..sector.1));
            let content = disk.content_mut(inode);
            content.make_room(written);
            content.spoil(sector.0..sector.1, seed);
        }
    }

    fn fate(
        &self,
        index: usize,
        change: Pending,
        (action, late): (&Action, &Late),
        chance: &mut Chance,
    ) -> Fate {
        let kept = Fate::Survives(change.form);
        let kept_if = |is_kept: bool| if is_kept { kept.clone() } else { Fate::Lost };
        match *self {
            Self::Nothing => Fate::Lost,
            Self::Only(only) => kept_if(index == only),
            Self::AllBut(lost) => kept_if(index != lost),
            Self::Prefix(count) => kept_if(index < count),
            Self::Random(_) => kept_if(chance.strikes()),
            Self::TornWrite { write, at, part, .. } if index == write => Fate::Torn(match part {
                TornPart::Head => 0..at,
                TornPart::Tail => at..u64::MAX,
            }),
            Self::GarbageInTornSector { write, sector, .. } if index == write => Fate::Torn(0..sector.0),
            Self::TornWrite { write, beside, .. } | Self::GarbageInTornSector { write, beside, .. } => {
                kept_if(if index < write {
                    beside.keeps_older()
                } else {
                    beside.keeps_newer()
                })
            }
            Self::SizeBeforeData(_) if late.has(action) => Fate::Survives(Form::SizeOnly),
            Self::LostDirectoryEntry(lost) if index == lost => match (action, change.form) {
                (Action::Rename { .. }, Form::Whole) => Fate::Survives(Form::RemovedOnly),
                _ => Fate::Lost,
            },
            Self::UndoneRename { rename, shape } if index == rename => match shape {
                RenameShape::Undone => Fate::Lost,
                RenameShape::BothNames => Fate::Survives(Form::AddedOnly),
            },
            Self::Everything
            | Self::SizeBeforeData(_)
            | Self::LostDirectoryEntry(_)
            | Self::UndoneRename { .. } => kept,
        }
    }

    fn late_files(&self, log: &[Operation], pending: &[Pending]) -> Late {
        match self {
            Self::SizeBeforeData(LateBytes::All) => Late::All,
            Self::SizeBeforeData(LateBytes::FileOf(index)) => log[pending[*index].index]
                .action
                .changed_file()
                .map_or(Late::None, Late::File),
            Self::Nothing
            | Self::Everything
            | Self::Only(_)
            | Self::AllBut(_)
            | Self::Prefix(_)
            | Self::Random(_)
            | Self::TornWrite { .. }
            | Self::GarbageInTornSector { .. }
            | Self::LostDirectoryEntry(_)
            | Self::UndoneRename { .. } => Late::None,
        }
    }
}

/// Says whether a change behind the first of `pending` writes to a sector of its file, or cuts the file.
fn is_replaced(log: &[Operation], pending: &[Pending], sector: &Range<u64>) -> bool {
    let action = |pending: &Pending| &log[pending.index].action;
    let Some((written, newer)) = pending.split_first() else {
        return false;
    };
    let inode = action(written).changed_file();
    newer.iter().map(action).any(|newer| {
        let touches = newer.range().start < sector.end && sector.start < newer.range().end;
        newer.changed_file() == inode && (touches || matches!(newer, Action::SetLen { .. }))
    })
}

/// What becomes of one pending change.
#[derive(Debug, Clone)]
enum Fate {
    Lost,
    Survives(Form),
    Torn(Range<u64>),
}

/// Whose writes come without bytes.
#[derive(Debug, Clone, Copy)]
enum Late {
    None,
    All,
    File(Inode),
}

impl Late {
    fn has(self, action: &Action) -> bool {
        let Action::Write { inode, .. } = action else {
            return false;
        };
        match self {
            Self::None => false,
            Self::All => true,
            Self::File(late) => late == *inode,
        }
    }
}

/// Throws for each pending change in turn.
struct Chance {
    seeded: Seeded,
    of_four: u64,
}

impl Chance {
    fn of(variant: &CrashVariant) -> Self {
        let seed = if let CrashVariant::Random(seed) = variant {
            *seed
        } else {
            0
        };
        let mut seeded = Seeded::new(seed);
        let of_four = 1 + seeded.below(3);
        Self { seeded, of_four }
    }

    fn strikes(&mut self) -> bool {
        self.seeded.below(4) < self.of_four
    }
}
