//! One damage to one extent, and its name.
//!
//! ```text
//! x3.bit.123456              bit 123456 of extent 3 is flipped
//! x3.noise.4096.512.9        noise of seed 9 in 512 bytes from 4096 on
//! x3.zeros.4096.512          zeros there
//! x3.copied.4096.512.5.8192  the bytes of extent 5 from 8192 on there
//! x3.cut.9000                everything from there on is gone
//! x3.gone                    the file is gone
//! x3.unreadable.4096.512     these bytes cannot be read (EIO)
//! x3.longer.512.9            noise behind the end
//! ```

use std::{fmt, io, ops::Range, str::FromStr};

use bfdb::storage::{FileAccess, Storage as _};

use super::{
    chart::{Extents, path_of},
    frame::span,
};
use crate::{Seeded, SimulatedStorage, resting::edit, simulation::FaultRule};

/// One damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wound {
    /// To which extent.
    pub extent: u64,
    /// Which.
    pub harm: Harm,
}

/// A damage; places and lengths in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A bit is flipped, counted from the start of the extent.
    Bit(u64),
    /// Noise of a seed.
    Noise(Span, u64),
    /// Zeros.
    Zeros(Span),
    /// What stands in an extent at an offset.
    Copied(Span, (u64, u64)),
    /// Everything from here on is gone.
    Cut(u64),
    /// The file is gone.
    Gone,
    /// These bytes cannot be read.
    Unreadable(Span),
    /// So many bytes of noise stand behind the end.
    Longer(u64, u64),
}

/// A range: where it begins, and its length.
pub(super) type Span = (u64, u64);

pub(super) const fn whole(range: &Range<u64>) -> Span {
    (range.start, range.end - range.start)
}

/// A disk with damage.
#[derive(Debug)]
pub(super) struct Damaged {
    disk: SimulatedStorage,
    /// What cannot be read, by extent.
    pub(super) unreadable: Vec<(u64, Range<u64>)>,
    /// The bytes of the extents that were hurt, as they are now; none of one that is gone.
    pub(super) after: Extents,
}

impl Damaged {
    /// Damages a copy of a disk; `before` has what stands in its extents.
    ///
    /// # Errors
    /// When a wound is about something that is not there.
    pub(super) fn new(disk: &SimulatedStorage, before: &Extents, wounds: &[Wound]) -> io::Result<Self> {
        let disk = disk.settled();
        let mut unreadable = Vec::new();
        for wound in wounds {
            if let Harm::Unreadable((offset, len)) = wound.harm {
                unreadable.push((wound.extent, offset..offset.saturating_add(len)));
            } else {
                strike(&disk, before, *wound)?;
            }
        }
        let hurt = wounds.iter().map(|wound| wound.extent);
        let after = hurt.map(|extent| {
            (
                extent,
                edit::contents(&disk, &path_of(extent)).unwrap_or_default(),
            )
        });
        Ok(Self {
            after: after.collect(),
            disk: disk.settled(),
            unreadable,
        })
    }

    /// Returns a copy of the disk that refuses to read what it cannot.
    pub(super) fn fork(&self) -> SimulatedStorage {
        self.on(&self.disk)
    }

    /// Returns a copy of a later state of the disk that refuses the same.
    pub(super) fn on(&self, disk: &SimulatedStorage) -> SimulatedStorage {
        let disk = disk.settled();
        disk.refuse_waits();
        for (extent, range) in &self.unreadable {
            let path = path_of(*extent);
            disk.add_rule(FaultRule::bad_range(range.clone()).on_paths(move |other| other == path));
        }
        disk
    }

    /// Returns a number that follows from the damage, for choices.
    pub(super) fn number(&self) -> u64 {
        let low = self.disk.fingerprint() & u128::from(u64::MAX);
        let low = u64::try_from(low).expect("the low half");
        let unreadable = self.unreadable.iter().map(|(_, range)| range.start ^ range.end);
        unreadable.fold(low, |number, other| number.rotate_left(7) ^ other)
    }

    /// Says whether anything is other than it was.
    pub(super) fn differs_from(&self, disk: &SimulatedStorage) -> bool {
        !self.unreadable.is_empty() || self.disk.fingerprint() != disk.fingerprint()
    }
}

fn strike(disk: &SimulatedStorage, before: &Extents, wound: Wound) -> io::Result<()> {
    let path = path_of(wound.extent);
    let put = |offset: u64, bytes: &[u8]| edit::overwrite(disk, &path, (offset, bytes));
    match wound.harm {
        Harm::Bit(bit) => {
            let mut byte = edit::read(disk, &path, (bit / 8, 1))?;
            byte.iter_mut().for_each(|byte| *byte ^= 1 << (bit % 8));
            put(bit / 8, &byte)
        }
        Harm::Noise((offset, len), seed) => put(offset, &noise(seed, len)),
        Harm::Zeros((offset, len)) => put(offset, &vec![0; usize::try_from(len).map_err(io::Error::other)?]),
        Harm::Copied((offset, len), (extent, from)) => {
            let source = before.get(&extent).ok_or(io::ErrorKind::NotFound)?;
            let range = span(&(from..from.saturating_add(len)));
            put(offset, source.get(range).ok_or(io::ErrorKind::UnexpectedEof)?)
        }
        Harm::Cut(len) => {
            let len = len.min(edit::length(disk, &path));
            edit::cut(disk, &path, len)
        }
        Harm::Gone => disk.remove_file(&path),
        Harm::Unreadable(_) => Ok(()),
        Harm::Longer(len, seed) => {
            let file = disk.open(&path, FileAccess::ReadWrite)?;
            file.write_all_at(file.info()?.len_bytes, &noise(seed, len))
        }
    }
}

fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut seeded = Seeded::new(seed);
    (0..len).map(|_| seeded.next_u64().to_le_bytes()[0]).collect()
}

impl fmt::Display for Wound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "x{}.", self.extent)?;
        match self.harm {
            Harm::Bit(bit) => write!(out, "bit.{bit}"),
            Harm::Noise((offset, len), seed) => write!(out, "noise.{offset}.{len}.{seed}"),
            Harm::Zeros((offset, len)) => write!(out, "zeros.{offset}.{len}"),
            Harm::Copied((offset, len), (extent, from)) => {
                write!(out, "copied.{offset}.{len}.{extent}.{from}")
            }
            Harm::Cut(len) => write!(out, "cut.{len}"),
            Harm::Gone => out.write_str("gone"),
            Harm::Unreadable((offset, len)) => write!(out, "unreadable.{offset}.{len}"),
            Harm::Longer(len, seed) => write!(out, "longer.{len}.{seed}"),
        }
    }
}

impl FromStr for Wound {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.strip_prefix('x').ok_or(())?.split('.');
        let extent = parts.next().ok_or(())?.parse().map_err(drop)?;
        let kind = parts.next().ok_or(())?;
        let numbers = parts.map(|part| part.parse().map_err(drop));
        let numbers = numbers.collect::<Result<Vec<u64>, ()>>()?;
        let harm = match (kind, &numbers[..]) {
            ("bit", &[bit]) => Harm::Bit(bit),
            ("noise", &[offset, len, seed]) => Harm::Noise((offset, len), seed),
            ("zeros", &[offset, len]) => Harm::Zeros((offset, len)),
            ("copied", &[offset, len, extent, from]) => Harm::Copied((offset, len), (extent, from)),
            ("cut", &[len]) => Harm::Cut(len),
            ("gone", &[]) => Harm::Gone,
            ("unreadable", &[offset, len]) => Harm::Unreadable((offset, len)),
            ("longer", &[len, seed]) => Harm::Longer(len, seed),
            _ => return Err(()),
        };
        Ok(Self { extent, harm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wound_is_read_as_it_is_printed() {
        for text in [
            "x3.bit.123456",
            "x3.noise.4096.512.9",
            "x3.zeros.4096.512",
            "x3.copied.4096.512.5.8192",
            "x3.cut.9000",
            "x30.gone",
            "x3.unreadable.4096.512",
            "x3.longer.512.9",
        ] {
            let wound: Wound = text.parse().expect("a wound");
            assert_eq!(wound.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_wound_is_refused() {
        for text in [
            "",
            "x",
            "x3",
            "3.gone",
            "x3.gone.1",
            "x3.bit",
            "x3.bit.y",
            "x3.what.1",
            "xy.gone",
        ] {
            assert!(text.parse::<Wound>().is_err(), "{text}");
        }
    }
}
