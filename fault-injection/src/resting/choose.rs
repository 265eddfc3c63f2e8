//! Which blows fall on an archive: seeded, and of every kind.

use super::{
    bits::HEADER_BITS,
    blow::{Blow, Harm, Slots, Span, Target},
    layout::COPIES,
    strike::areas,
    subject::{Kind, Subject},
};
use crate::Seeded;

/// What disks and file systems write at once.
const UNITS: [u64; 2] = [512, 4096];

/// Returns the next blows on a subject: one mostly, several now and then.
pub(super) fn blows(subject: &Subject, seeded: &mut Seeded) -> Vec<Blow> {
    let mut blows = vec![blow(subject, seeded)];
    if seeded.below(8) == 0 && matches!(blows[0].target, Target::Journal(_)) {
        // Copies that are damaged at different places.
        for _ in 0..=seeded.below(3) {
            let target = Target::Journal(some_copies(seeded));
            blows.push(of(target, subject, seeded));
        }
    }
    blows
}

fn blow(subject: &Subject, seeded: &mut Seeded) -> Blow {
    let is_old = subject.kind == Kind::OldCatalog;
    let target = match seeded.below(10) {
        // Two things at once that each other makes up for are no promise.
        0..5 if !is_old => Target::Catalog,
        0..8 => Target::Journal(some_copies(seeded)),
        _ => Target::Slots([Slots::First, Slots::Second, Slots::Both][seeded.index(3)]),
    };
    of(target, subject, seeded)
}

fn some_copies(seeded: &mut Seeded) -> Vec<u8> {
    match seeded.below(4) {
        0 => (0..COPIES).collect(),
        1 => vec![u8::try_from(seeded.below(COPIES.into())).expect("few copies")],
        _ => {
            let mask = 1 + seeded.below((1 << COPIES) - 1);
            (0..COPIES).filter(|copy| mask >> copy & 1 == 1).collect()
        }
    }
}

fn of(target: Target, subject: &Subject, seeded: &mut Seeded) -> Blow {
    let one = Blow {
        target,
        harm: Harm::Bit(0),
    };
    // Of copies that differ in length the shortest counts.
    let lengths = areas(&subject.disk, &one).into_iter().map(|area| area.len_bytes);
    let len_bytes = lengths.min().unwrap_or(0).max(1);
    // Most of a segment of the journal is room for more.
    let reach = if matches!(one.target, Target::Journal(_)) {
        len_bytes.min(96 << 10)
    } else {
        len_bytes
    };
    let harm = harm(&one.target, (reach, len_bytes), (subject, seeded));
    Blow { harm, ..one }
}

fn harm(target: &Target, (reach, len_bytes): (u64, u64), (subject, seeded): (&Subject, &mut Seeded)) -> Harm {
    let back = |seeded: &mut Seeded| seeded.index(subject.past.len());
    match seeded.below(24) {
        0..4 => Harm::Bit(seeded.below(reach * 8)),
        4..6 if *target == Target::Catalog => Harm::Bit(seeded.below(HEADER_BITS.min(reach * 8))),
        4..6 => Harm::Bit(seeded.below(reach.min(512) * 8)),
        6..9 => Harm::Noise(unit(reach, seeded), seeded.below(1 << 32)),
        9..11 => Harm::Zeros(range(reach, seeded)),
        11..14 => {
            let span = unit(reach, seeded);
            Harm::Moved(span, unit(reach, seeded).0 / span.1 * span.1)
        }
        14..18 => Harm::Old(unit(reach, seeded), back(seeded)),
        18..20 => Harm::Cut(cut(target, (reach, len_bytes), seeded)),
        // Half of a file is never missing.
        20 if !is_half(target) => Harm::Gone,
        20 => Harm::Zeros((0, len_bytes)),
        21..23 => Harm::OldWhole(back(seeded)),
        _ => Harm::Foreign,
    }
}

fn is_half(target: &Target) -> bool {
    matches!(target, Target::Slots(Slots::First | Slots::Second))
}

/// A sector or a page.
fn unit(reach: u64, seeded: &mut Seeded) -> Span {
    let unit = UNITS[seeded.index(UNITS.len())];
    (seeded.below(reach.div_ceil(unit)) * unit, unit)
}

/// Anything, mostly aligned.
fn range(reach: u64, seeded: &mut Seeded) -> Span {
    if seeded.below(2) == 0 {
        return unit(reach, seeded);
    }
    let offset = seeded.below(reach);
    (offset, 1 + seeded.below(reach - offset))
}

fn cut(target: &Target, (reach, len_bytes): (u64, u64), seeded: &mut Seeded) -> u64 {
    let aligned = seeded.below(reach.div_ceil(4096)) * 4096;
    match (seeded.below(4), target) {
        (0, _) => 0,
        (1, _) => aligned,
        (2, Target::Catalog) => len_bytes - 1,
        _ => seeded.below(reach),
    }
}
