//! The name of one image: what was played, with which seed, what went wrong, and where it crashed. Printed with a violation,
//! and read again to replay it.
//!
//! ```text
//! WORKLOAD:SEED[:FAULT][:OPERATION:VARIANT]...
//! blocked:1:97:only.3            crash behind operation 97, of the pending changes the fourth survives
//! blocked:1:97:nothing:5:all     the same for `nothing`, then a crash in recovery behind its operation 5
//! tiny:1:op80.io.once            operation 80 fails once; the disk as it is at the end
//! tiny:1:Read12.io.good:*:all    reads fail from the 13th on; then a crash at the end
//! ```

use std::{fmt, str::FromStr};

use super::scenario;
use crate::{
    concurrency, decay, killing, resting,
    simulation::{
        AfterDrop, Beside, CrashVariant, Fault, FaultRule, LateBytes, OperationKind, RenameShape, TornPart,
    },
};

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The workload.
    pub workload: String,
    /// Its seed.
    pub seed: u64,
    /// What was injected into it.
    pub fault: Option<FaultAt>,
    /// The crashes, the first in the workload, each other one in the recovery from the one before.
    pub crashes: Vec<Crash>,
}

impl Case {
    /// Says whether the program of this crate knows the workload: others are replayed by whoever wrote them.
    pub fn is_of_the_program(&self) -> bool {
        let known = scenario::all();
        known.iter().any(|scenario| scenario.name() == self.workload)
            || self.workload.starts_with(killing::WORKLOAD)
            || self.workload == concurrency::TOGETHER
            || resting::is_case(self)
            || decay::is_case(self)
    }
}

/// One crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// The last operation before it; `None` for the last of all.
    pub after_operation: Option<u64>,
    /// What survives.
    pub variant: CrashVariant,
}

/// Which operation fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultAt {
    /// Which.
    pub target: Target,
    /// How.
    pub fault: Fault,
    /// Whether everything later that the fault applies to fails too.
    pub is_for_good: bool,
}

/// Which operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The mutating one of this number.
    Mutating(u64),
    /// The one that has so many of its kind before it.
    Nth(OperationKind, u64),
}

impl FaultAt {
    /// Makes the rule for a disk.
    pub fn rule(&self) -> FaultRule {
        let rule = match self.target {
            Target::Mutating(number) => FaultRule::nth(number, self.fault),
            Target::Nth(kind, nth) => FaultRule::nth_of(kind, nth, self.fault),
        };
        if self.is_for_good { rule.for_good() } else { rule }
    }

    /// Says whether a caller may be told of it: not where asking again, or for the rest, is right.
    pub const fn is_an_excuse(&self) -> bool {
        !matches!(self.fault, Fault::Interrupted | Fault::Short { .. })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.workload, self.seed)?;
        if let Some(fault) = &self.fault {
            write!(out, ":{fault}")?;
        }
        for crash in &self.crashes {
            match crash.after_operation {
                Some(number) => write!(out, ":{number}")?,
                None => out.write_str(":*")?,
            }
            write!(out, ":{}", Named(crash.variant))?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultAt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Mutating(number) => write!(out, "op{number}")?,
            Target::Nth(kind, nth) => write!(out, "{kind:?}{nth}")?,
        }
        match self.fault {
            Fault::Io => out.write_str(".io")?,
            Fault::Full => out.write_str(".full")?,
            Fault::ReadOnly => out.write_str(".read-only")?,
            Fault::Interrupted => out.write_str(".interrupted")?,
            Fault::Short { len_bytes } => write!(out, ".short-{len_bytes}")?,
            Fault::Partial { len_bytes } => write!(out, ".partial-{len_bytes}")?,
            Fault::FlipBit { offset, bit } => write!(out, ".flip-{offset}-{bit}")?,
            Fault::SyncDropsBytes {
                view: AfterDrop::AtOnce,
            } => out.write_str(".drop")?,
            Fault::SyncDropsBytes {
                view: AfterDrop::UntilForgotten,
            } => out.write_str(".drop-later")?,
            Fault::SyncForgotten => out.write_str(".forgotten")?,
            Fault::SyncLate => out.write_str(".late")?,
            Fault::Vanish => out.write_str(".vanish")?,
        }
        out.write_str(if self.is_for_good { ".good" } else { ".once" })
    }
}

/// What survives beside a torn write, in the words of a case.
const BESIDE: [(Beside, &str); 4] = [
    (Beside::Nothing, "lost"),
    (Beside::Older, "kept"),
    (Beside::Newer, "newer"),
    (Beside::All, "all"),
];

/// A variant in the words of a case.
struct Named(CrashVariant);

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |beside| {
            BESIDE
                .iter()
                .find(|(known, _)| *known == beside)
                .map_or("", |(_, word)| word)
        };
        match self.0 {
            CrashVariant::Nothing => out.write_str("nothing"),
            CrashVariant::Everything => out.write_str("all"),
            CrashVariant::Only(index) => write!(out, "only.{index}"),
            CrashVariant::AllBut(index) => write!(out, "allbut.{index}"),
            CrashVariant::Prefix(count) => write!(out, "prefix.{count}"),
            CrashVariant::Random(seed) => write!(out, "random.{seed}"),
            CrashVariant::TornWrite {
                write,
                at,
                part,
                beside,
            } => {
                let part = if part == TornPart::Head { "head" } else { "tail" };
                write!(out, "torn.{write}.{at}.{part}.{}", word(beside))
            }
            CrashVariant::GarbageInTornSector {
                write,
                sector,
                seed,
                beside,
            } => {
                write!(
                    out,
                    "garbage.{write}.{}.{}.{seed}.{}",
                    sector.0,
                    sector.1,
                    word(beside)
                )
            }
            CrashVariant::SizeBeforeData(LateBytes::All) => out.write_str("sizes"),
            CrashVariant::SizeBeforeData(LateBytes::FileOf(write)) => write!(out, "size.{write}"),
            CrashVariant::LostDirectoryEntry(index) => write!(out, "lostname.{index}"),
            CrashVariant::UndoneRename {
                rename,
                shape: RenameShape::Undone,
            } => write!(out, "undone.{rename}"),
            CrashVariant::UndoneRename {
                rename,
                shape: RenameShape::BothNames,
            } => write!(out, "both.{rename}"),
        }
    }
}

/// Says which part of a case is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no case is named so: {part}")]
pub struct CaseError {
    /// The part.
    pub part: String,
}

impl FromStr for Case {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<Self, CaseError> {
        let wrong = |part: &str| CaseError {
            part: part.to_owned(),
        };
        let mut parts = text.split(':').peekable();
        let workload = parts.next().unwrap_or_default().to_owned();
        let seed = parts.next().unwrap_or_default();
        let seed = seed.parse().map_err(|_source| wrong(seed))?;
        let fault = parts
            .next_if(|part| part.contains('.'))
            .map(|part| fault_of(part).ok_or_else(|| wrong(part)));
        let fault = fault.transpose()?;
        let mut crashes = Vec::new();
        while let Some(operation) = parts.next() {
            let after_operation = match operation {
                "*" => None,
                number => Some(number.parse().map_err(|_source| wrong(number))?),
            };
            let variant = parts.next().unwrap_or_default();
            let variant = variant_of(variant).ok_or_else(|| wrong(variant))?;
            crashes.push(Crash {
                after_operation,
                variant,
            });
        }
        Ok(Self {
            workload,
            seed,
            fault,
            crashes,
        })
    }
}

fn fault_of(text: &str) -> Option<FaultAt> {
    let [target, fault, lasting] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
    let digits = target.find(|found: char| found.is_ascii_digit())?;
    let (kind, number) = target.split_at(digits);
    let number = number.parse().ok()?;
    let of_kind = |wanted: &&OperationKind| format!("{wanted:?}") == kind;
    let target = match kind {
        "op" => Target::Mutating(number),
        _ => Target::Nth(*OperationKind::ALL.iter().find(of_kind)?, number),
    };
    let mut numbers = fault.split('-').skip(1).map_while(|number| number.parse().ok());
    let fault = match fault.split('-').next()? {
        "io" => Fault::Io,
        "full" => Fault::Full,
        "read" => Fault::ReadOnly,
        "interrupted" => Fault::Interrupted,
        "short" => Fault::Short {
            len_bytes: numbers.next()?,
        },
        "partial" => Fault::Partial {
            len_bytes: numbers.next()?,
        },
        "flip" => Fault::FlipBit {
            offset: numbers.next()?,
            bit: u8::try_from(numbers.next()?).ok()?,
        },
        "drop" if fault == "drop" => Fault::SyncDropsBytes {
            view: AfterDrop::AtOnce,
        },
        "drop" => Fault::SyncDropsBytes {
            view: AfterDrop::UntilForgotten,
        },
        "forgotten" => Fault::SyncForgotten,
        "late" => Fault::SyncLate,
        "vanish" => Fault::Vanish,
        _ => return None,
    };
    let is_for_good = match lasting {
        "good" => true,
        "once" => false,
        _ => return None,
    };
    Some(FaultAt {
        target,
        fault,
        is_for_good,
    })
}

fn variant_of(text: &str) -> Option<CrashVariant> {
    let mut parts = text.split('.');
    let class = parts.next()?;
    let rest: Vec<&str> = parts.collect();
    let number = |at: usize| -> Option<u64> { rest.get(at)?.parse().ok() };
    let index = |at: usize| -> Option<usize> { rest.get(at)?.parse().ok() };
    let beside = |at: usize| {
        let word = *rest.get(at)?;
        let known = BESIDE.iter().find(|(_, known)| *known == word);
        known.map(|(beside, _)| *beside)
    };
    Some(match class {
        "nothing" => CrashVariant::Nothing,
        "all" => CrashVariant::Everything,
        "only" => CrashVariant::Only(index(0)?),
        "allbut" => CrashVariant::AllBut(index(0)?),
        "prefix" => CrashVariant::Prefix(index(0)?),
        "random" => CrashVariant::Random(number(0)?),
        "torn" => CrashVariant::TornWrite {
            write: index(0)?,
            at: number(1)?,
            part: match *rest.get(2)? {
                "head" => TornPart::Head,
                "tail" => TornPart::Tail,
                _ => return None,
            },
            beside: beside(3)?,
        },
        "garbage" => CrashVariant::GarbageInTornSector {
            write: index(0)?,
            sector: (number(1)?, number(2)?),
            seed: number(3)?,
            beside: beside(4)?,
        },
        "sizes" => CrashVariant::SizeBeforeData(LateBytes::All),
        "size" => CrashVariant::SizeBeforeData(LateBytes::FileOf(index(0)?)),
        "lostname" => CrashVariant::LostDirectoryEntry(index(0)?),
        "undone" => CrashVariant::UndoneRename {
            rename: index(0)?,
            shape: RenameShape::Undone,
        },
        "both" => CrashVariant::UndoneRename {
            rename: index(0)?,
            shape: RenameShape::BothNames,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_read_as_it_is_printed() {
        let texts = [
            "blocked:1:97:only.3",
            "blocked:18446744073709551615:0:nothing:5:all:7:allbut.2",
            "tiny:1:op80.io.once",
            "tiny:1:Read12.short-3.good:*:prefix.4",
            "tiny:1:op7.drop.once:*:random.99",
            "tiny:1:op7.drop-later.once:*:sizes",
            "a:2:op7.partial-9.once:*:size.3",
            "a:2:SyncFile3.interrupted.once:1:torn.3.512.tail.kept:2:torn.0.9.head.lost:3:torn.1.9.head.newer",
            "a:2:Lock0.full.good:1:garbage.3.0.512.77.all:2:lostname.1:3:undone.0:4:both.9",
            "a:2:Read0.flip-5-7.once",
            "a:2:op1.vanish.good",
            "a:2:op4.forgotten.once:*:nothing",
            "a:2:SyncDirectory0.late.good",
        ];
        for text in texts {
            let case: Case = text.parse().expect("a case");
            assert_eq!(case.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_case_is_refused() {
        for text in [
            "",
            "a",
            "a:b",
            "a:1:2",
            "a:1:2:what",
            "a:1:op1.io",
            "a:1:opx.io.once",
            "a:1:1:torn.1.2.head",
        ] {
            assert!(text.parse::<Case>().is_err(), "{text}");
        }
    }
}
