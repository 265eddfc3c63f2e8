//! One damage to one part of an archive, and its name.
//!
//! ```text
//! catalog.bit.123456              bit 123456 of the catalog is flipped
//! journal0+2.noise.4096.512.9     in copies 0 and 2 of the journal, noise of seed 9 in 512 bytes from 4096 on
//! slot1.old.0.512.3               a sector of the second slot as it was three moments before
//! slots.gone                      the file with both slots is gone
//! ```

use std::{fmt, str::FromStr};

use super::layout::COPIES;

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blow {
    /// To what.
    pub target: Target,
    /// Which.
    pub harm: Harm,
}

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The catalog.
    Catalog,
    /// The newest segment of each of these copies of the journal, ascending, each at the same place.
    Journal(Vec<u8>),
    /// Slots of the volume, each at the same place.
    Slots(Slots),
}

/// Which slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// The first.
    First,
    /// The second.
    Second,
    /// Both; what is done to a whole file is done to theirs.
    Both,
}

/// A damage. Places are bytes from the start of what is damaged, a bit is counted from there too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A bit is flipped.
    Bit(u64),
    /// Noise stands in a range.
    Noise(Span, u64),
    /// Zeros stand in a range.
    Zeros(Span),
    /// A range has the bytes of another one: a write that went to the wrong place.
    Moved(Span, u64),
    /// A range has the bytes that it had so many moments before: a write that was lost.
    Old(Span, usize),
    /// Everything from here on is gone.
    Cut(u64),
    /// The file is gone.
    Gone,
    /// The whole is as it was so many moments before.
    OldWhole(usize),
    /// The whole is that of another archive.
    Foreign,
}

/// A range: where it begins, and its length.
pub(super) type Span = (u64, u64);

/// The kinds of harm, by the words that name them.
pub const KINDS: [&str; 9] = [
    "bit", "noise", "zeros", "moved", "old", "cut", "gone", "oldwhole", "foreign",
];

impl Harm {
    /// Returns the word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bit(_) => "bit",
            Self::Noise(..) => "noise",
            Self::Zeros(_) => "zeros",
            Self::Moved(..) => "moved",
            Self::Old(..) => "old",
            Self::Cut(_) => "cut",
            Self::Gone => "gone",
            Self::OldWhole(_) => "oldwhole",
            Self::Foreign => "foreign",
        }
    }
}

impl Target {
    /// Returns the word for what is damaged, whichever copies.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Journal(copies) if copies.len() == COPIES as usize => "every journal",
            Self::Journal(_) => "journal",
            Self::Slots(Slots::Both) => "slots",
            Self::Slots(Slots::First | Slots::Second) => "slot",
        }
    }
}

/// All of [`Target::kind`].
pub const TARGETS: [&str; 5] = ["catalog", "journal", "every journal", "slot", "slots"];

impl fmt::Display for Blow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.target, self.harm.kind())?;
        match self.harm {
            Harm::Bit(number) | Harm::Cut(number) => write!(out, ".{number}"),
            Harm::Noise((offset, len), number) | Harm::Moved((offset, len), number) => {
                write!(out, ".{offset}.{len}.{number}")
            }
            Harm::Zeros((offset, len)) => write!(out, ".{offset}.{len}"),
            Harm::Old((offset, len), back) => write!(out, ".{offset}.{len}.{back}"),
            Harm::OldWhole(back) => write!(out, ".{back}"),
            Harm::Gone | Harm::Foreign => Ok(()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog => out.write_str("catalog"),
            Self::Journal(copies) => {
                let copies: Vec<String> = copies.iter().map(u8::to_string).collect();
                write!(out, "journal{}", copies.join("+"))
            }
            Self::Slots(Slots::First) => out.write_str("slot0"),
            Self::Slots(Slots::Second) => out.write_str("slot1"),
            Self::Slots(Slots::Both) => out.write_str("slots"),
        }
    }
}

impl FromStr for Blow {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (target, harm) = text.split_once('.').ok_or(())?;
        Ok(Self {
            target: target.parse()?,
            harm: harm.parse()?,
        })
    }
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "catalog" => Self::Catalog,
            "slot0" => Self::Slots(Slots::First),
            "slot1" => Self::Slots(Slots::Second),
            "slots" => Self::Slots(Slots::Both),
            copies => {
                let copies = copies.strip_prefix("journal").ok_or(())?.split('+');
                let copies = copies.map(|copy| copy.parse().map_err(drop));
                let copies = copies.collect::<Result<Vec<u8>, ()>>()?;
                let is_ascending = copies.is_sorted_by(|one, next| one < next);
                if !is_ascending || copies.iter().any(|copy| *copy >= COPIES) {
                    return Err(());
                }
                Self::Journal(copies)
            }
        })
    }
}

impl FromStr for Harm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let kind = parts.next().ok_or(())?;
        let numbers = parts.map(|part| part.parse().map_err(drop));
        let numbers = numbers.collect::<Result<Vec<u64>, ()>>()?;
        let moments = |back: u64| usize::try_from(back).map_err(drop);
        Ok(match (kind, &numbers[..]) {
            ("bit", &[bit]) => Self::Bit(bit),
            ("noise", &[offset, len, seed]) => Self::Noise((offset, len), seed),
            ("zeros", &[offset, len]) => Self::Zeros((offset, len)),
            ("moved", &[offset, len, from]) => Self::Moved((offset, len), from),
            ("old", &[offset, len, back]) => Self::Old((offset, len), moments(back)?),
            ("cut", &[len]) => Self::Cut(len),
            ("gone", &[]) => Self::Gone,
            ("oldwhole", &[back]) => Self::OldWhole(moments(back)?),
            ("foreign", &[]) => Self::Foreign,
            _ => return Err(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blow_is_read_as_it_is_printed() {
        for text in [
            "catalog.bit.123456",
            "journal0+2.noise.4096.512.9",
            "journal3.zeros.0.4096",
            "catalog.moved.8192.4096.0",
            "slot1.old.0.512.3",
            "slots.cut.4096",
            "journal0+1+2+3.gone",
            "slot0.oldwhole.2",
            "slots.foreign",
        ] {
            let blow: Blow = text.parse().expect("a blow");
            assert_eq!(blow.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_blow_is_refused() {
        for text in [
            "",
            "catalog",
            "catalog.bit",
            "catalog.bit.x",
            "catalog.gone.1",
            "journal.gone",
            "journal4.gone",
            "journal1+0.gone",
            "slot2.gone",
            "catalog.what.1",
        ] {
            assert!(text.parse::<Blow>().is_err(), "{text}");
        }
    }
}
