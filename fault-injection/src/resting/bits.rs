//! Every bit of a small catalog, one after another: each flipped alone.
//!
//! Which archive that is follows from a seed, so a run that was ended goes on at the bit that it had come to.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{
    Tally,
    blow::{Blow, Harm, Target},
    edit, judge,
    layout::catalog,
    subject::{Kind, Subject},
    verdict::Depth,
};
use crate::{Seeded, crashes::explore::Findings};

/// One in so many archives is opened for writing too: all that is done there is done to others as well.
const WRITER_ONE_IN: u64 = 16;

/// Bits that a thread takes at a time.
const JOB_BITS: u64 = 1 << 10;

/// Bits of what the database reads first: its header, and the slots with its roots.
pub(super) const HEADER_BITS: u64 = 320 * 8;

/// A small archive of whose catalog every bit is flipped.
#[derive(Debug)]
pub struct EveryBit {
    subject: Subject,
    count: u64,
}

impl EveryBit {
    /// Makes the archive of a seed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(seed: u64) -> io::Result<Self> {
        let subject = Subject::new(Kind::Smallest, seed)?;
        let count = edit::length(&subject.disk, &catalog()) * 8;
        Ok(Self { subject, count })
    }

    /// Returns how many bits there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Flips bits on so many threads until there are no more, or it is enough.
    pub fn flip_all(
        &self,
        bits: Range<u64>,
        threads: usize,
        (findings, tally): (&Findings, &Tally),
        is_enough: &(dyn Fn() -> bool + Sync),
    ) {
        let next = AtomicU64::new(bits.start);
        let end = bits.end.min(self.count);
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let first = next.fetch_add(JOB_BITS, Ordering::Relaxed);
                        if first >= end || findings.is_over() || is_enough() {
                            break;
                        }
                        for bit in first..end.min(first + JOB_BITS) {
                            flip(&self.subject, bit, findings, tally);
                        }
                    }
                });
            }
        });
    }
}

/// Flips some bits of the catalog of a small archive: a part of the header, and others anywhere.
pub(super) fn flip_some(
    subject: &Subject,
    (seeded, count): (&mut Seeded, u64),
    findings: &Findings,
    tally: &Tally,
) {
    let all = edit::length(&subject.disk, &catalog()) * 8;
    for number in 0..count {
        let bit = if number % 4 == 0 {
            seeded.below(HEADER_BITS.min(all))
        } else {
            seeded.below(all)
        };
        flip(subject, bit, findings, tally);
    }
}

fn flip(subject: &Subject, bit: u64, findings: &Findings, tally: &Tally) {
    let blow = Blow {
        target: Target::Catalog,
        harm: Harm::Bit(bit),
    };
    // Neighbours go different ways.
    let depth = if Seeded::new(bit).below(WRITER_ONE_IN) == 0 {
        Depth::Write
    } else {
        Depth::Read
    };
    judge(subject, (&[blow], depth), findings, tally);
}
