//! Blows done to a disk.

use std::{io, path::PathBuf};

use bfdb::storage::Storage as _;

use super::{
    blow::{Blow, Harm, Slots, Span, Target},
    edit,
    layout::{SLOT_BYTES, catalog, segments, slots},
    subject::Subject,
};
use crate::{Seeded, SimulatedStorage};

/// Something that a blow falls on: a file, or a part of one.
#[derive(Debug, Clone)]
pub(super) struct Area {
    pub(super) path: PathBuf,
    /// Where it begins in the file.
    base: u64,
    pub(super) len_bytes: u64,
    /// Whether it is the whole file.
    is_file: bool,
}

/// Returns a copy of the disk of a subject with these blows.
///
/// # Errors
/// When a blow is about something that is not there.
pub(super) fn struck(subject: &Subject, blows: &[Blow]) -> io::Result<SimulatedStorage> {
    let disk = subject.disk.settled();
    for blow in blows {
        for (index, area) in (0_u64..).zip(areas(&disk, blow)) {
            strike(subject, &disk, (&area, index), blow.harm)?;
        }
    }
    Ok(disk.settled())
}

/// Returns what a blow falls on.
pub(super) fn areas(disk: &SimulatedStorage, blow: &Blow) -> Vec<Area> {
    let whole = |path: PathBuf| Area {
        len_bytes: edit::length(disk, &path),
        path,
        base: 0,
        is_file: true,
    };
    let slot = |base| Area {
        path: slots(),
        base,
        len_bytes: SLOT_BYTES,
        is_file: false,
    };
    match (&blow.target, blow.harm) {
        (Target::Catalog, _) => vec![whole(catalog())],
        (Target::Journal(copies), Harm::Gone) => {
            let all = copies.iter().flat_map(|copy| segments(disk, *copy));
            all.map(whole).collect()
        }
        (Target::Journal(copies), _) => {
            let newest = copies.iter().filter_map(|copy| segments(disk, *copy).pop());
            newest.map(whole).collect()
        }
        (Target::Slots(Slots::First), _) => vec![slot(0)],
        (Target::Slots(Slots::Second), _) => vec![slot(SLOT_BYTES)],
        (Target::Slots(Slots::Both), Harm::Cut(_) | Harm::Gone | Harm::OldWhole(_) | Harm::Foreign) => {
            vec![whole(slots())]
        }
        (Target::Slots(Slots::Both), _) => vec![slot(0), slot(SLOT_BYTES)],
    }
}

fn strike(
    subject: &Subject,
    disk: &SimulatedStorage,
    (area, index): (&Area, u64),
    harm: Harm,
) -> io::Result<()> {
    let place = |(offset, len): Span| (area.base + offset, len);
    let put = |span: Span, bytes: &[u8]| edit::overwrite(disk, &area.path, (place(span).0, bytes));
    let from = |other: &SimulatedStorage, span: Span| edit::read(other, &area.path, place(span));
    match harm {
        Harm::Bit(bit) => {
            let span = (bit / 8, 1);
            let mut byte = from(disk, span)?;
            byte.iter_mut().for_each(|byte| *byte ^= 1 << (bit % 8));
            put(span, &byte)
        }
        Harm::Noise(span, seed) => put(span, &noise(seed.wrapping_add(index), span.1)),
        Harm::Zeros(span) => put(span, &vec![0; usize::try_from(span.1).map_err(io::Error::other)?]),
        Harm::Moved(span, begin) => put(span, &from(disk, (begin, span.1))?),
        Harm::Old(span, back) => put(span, &from(past(subject, back)?, span)?),
        Harm::Cut(len_bytes) => edit::cut(disk, &area.path, area.base + len_bytes),
        Harm::Gone => disk.remove_file(&area.path),
        Harm::OldWhole(back) => put_whole(disk, past(subject, back)?, area),
        Harm::Foreign => put_whole(disk, &subject.other, area),
    }
}

fn put_whole(disk: &SimulatedStorage, from: &SimulatedStorage, area: &Area) -> io::Result<()> {
    if area.is_file {
        let bytes = edit::contents(from, &area.path).ok_or(io::ErrorKind::NotFound)?;
        return edit::replace(disk, &area.path, &bytes);
    }
    let bytes = edit::read(from, &area.path, (area.base, area.len_bytes))?;
    edit::overwrite(disk, &area.path, (area.base, &bytes))
}

fn past(subject: &Subject, back: usize) -> io::Result<&SimulatedStorage> {
    let missing = || io::Error::other("the archive is not so old");
    subject.past.get(back).ok_or_else(missing)
}

fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut seeded = Seeded::new(seed);
    (0..len).map(|_| seeded.next_u64().to_le_bytes()[0]).collect()
}
