//! The contract of [`Volume`], checked rule by rule.
//!
//! [`check`] runs against any implementation: a new one is right when it passes. Each function below checks the rule of
//! its number in the documentation of [`Volume`] on fresh volumes, and panics with number and text of the rule.
//!
//! What a running process cannot see (that synced bytes survive a loss of power, that preallocated blocks are real) is
//! not checked here but in the crash simulation and in the tests of the implementation.

mod punching;
mod reading;
mod writing;

use std::fmt::Debug;
use std::sync::Arc;

use bfdb::buffer::{AlignedBuffer, BufferPool};
use bfdb::error::VolumeError;
use bfdb::units::ExtentId;
use bfdb::volume::{ExtentWriter, Volume};

/// Makes a fresh, empty volume each time; room for 64 MiB is enough.
type Make<'a> = &'a dyn Fn() -> Arc<dyn Volume>;

/// Checks every rule of the volume contract on volumes that `make` makes: fresh and empty ones, with room for 64 MiB.
///
/// # Panics
/// With number and text of the first rule that is broken.
pub fn check(make: impl Fn() -> Arc<dyn Volume>) {
    for rule in RULES {
        (rule.check)(rule, &make);
    }
}

/// One numbered rule.
struct Rule {
    number: u8,
    text: &'static str,
    check: fn(&Rule, Make<'_>),
}

const RULES: &[Rule] = &[
    Rule {
        number: 1,
        text: "create makes a new extent, exclusively",
        check: writing::create_is_exclusive,
    },
    Rule {
        number: 2,
        text: "a create that fails leaves no extent",
        check: writing::failed_create_leaves_nothing,
    },
    Rule {
        number: 3,
        text: "resume cuts to the end that it is given",
        check: writing::resume_cuts_leftovers,
    },
    Rule {
        number: 4,
        text: "read fills all or says what is missing",
        check: reading::read_is_all_or_error,
    },
    Rule {
        number: 5,
        text: "written bytes are readable at once",
        check: reading::written_bytes_are_readable,
    },
    Rule {
        number: 6,
        text: "writes go anywhere and change nothing else",
        check: writing::writes_go_anywhere,
    },
    Rule {
        number: 7,
        text: "preallocate only lengthens",
        check: writing::preallocate_only_lengthens,
    },
    Rule {
        number: 8,
        text: "truncate only shortens",
        check: writing::truncate_only_shortens,
    },
    Rule {
        number: 9,
        text: "nothing is written behind a seal",
        check: writing::seal_ends_writing,
    },
    Rule {
        number: 10,
        text: "sync succeeds or poisons",
        check: writing::sync_succeeds_or_poisons,
    },
    Rule {
        number: 11,
        text: "list gives every extent by id",
        check: reading::list_is_complete_and_sorted,
    },
    Rule {
        number: 12,
        text: "a removed extent is gone",
        check: reading::removed_is_gone,
    },
    Rule {
        number: 13,
        text: "slots are independent and start as zeros",
        check: reading::slots_are_independent,
    },
    Rule {
        number: 14,
        text: "dropping a writer changes nothing",
        check: writing::dropping_changes_nothing,
    },
    Rule {
        number: 15,
        text: "punching gives ranges back and nothing else",
        check: punching::punch_gives_ranges_back,
    },
];

impl Rule {
    fn broken(&self, what: &str) -> ! {
        panic!(
            "rule {} of the volume contract is broken ({}): {what}",
            self.number, self.text
        )
    }

    /// The call must have succeeded.
    fn ok<T>(&self, outcome: Result<T, VolumeError>, call: &str) -> T {
        outcome.unwrap_or_else(|error| self.broken(&format!("{call} failed: {error:?}")))
    }

    /// The call must have failed, and this is how.
    fn err<T>(&self, outcome: Result<T, VolumeError>, call: &str) -> VolumeError {
        match outcome {
            Ok(_) => self.broken(&format!("{call} succeeded")),
            Err(error) => error,
        }
    }

    fn is<E>(&self, error: &VolumeError, expected: E, call: &str)
    where
        E: FnOnce(&VolumeError) -> bool,
    {
        if !expected(error) {
            self.broken(&format!("{call} failed in another way: {error:?}"));
        }
    }

    fn equal<T: PartialEq + Debug>(&self, found: &T, expected: &T, what: &str) {
        if found != expected {
            self.broken(&format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }

    /// Like [`equal`](Self::equal) for many bytes, of which only the first wrong one is shown.
    fn same_bytes(&self, found: &[u8], expected: &[u8], what: &str) {
        self.equal(&found.len(), &expected.len(), &format!("{what}, length"));
        if let Some(at) = (0..found.len()).find(|&at| found[at] != expected[at]) {
            let (found, expected) = (found[at], expected[at]);
            self.broken(&format!("{what}: byte {at} is {found}, expected {expected}"));
        }
    }

    fn create(&self, volume: &dyn Volume, id: u64, header: &[u8], capacity: u64) -> Arc<dyn ExtentWriter> {
        self.ok(
            volume.create_extent(ExtentId::new(id), header, capacity),
            "create_extent",
        )
    }

    fn read(&self, volume: &dyn Volume, id: u64, offset: u64, len: usize) -> Vec<u8> {
        // Painted, so that a read that does nothing is seen.
        let mut bytes = vec![0xA5; len];
        self.ok(volume.read_at(ExtentId::new(id), offset, &mut bytes), "read_at");
        bytes
    }

    fn len_bytes(&self, volume: &dyn Volume, id: u64) -> Option<u64> {
        let extents = self.ok(volume.extents(), "extents");
        extents
            .iter()
            .find(|stat| stat.extent == ExtentId::new(id))
            .map(|stat| stat.len_bytes)
    }
}

/// Bytes that tell their position, with a period that no power of two divides; none of them is zero.
fn painted(len: usize, start: u64) -> Vec<u8> {
    let byte = |position: u64| u8::try_from(position % 251 + 1).expect("at most 251");
    (0..to_u64(len)).map(|index| byte(start + index)).collect()
}

/// The same in memory that is aligned as direct I/O wants it.
fn painted_aligned(len: usize, start: u64) -> AlignedBuffer {
    let pool = BufferPool::new(len.next_multiple_of(4096).max(4096));
    let mut buffer = pool.take(len).expect("the pool is as large as the buffer");
    buffer.copy_from_slice(&painted(len, start));
    buffer
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("an address fits 64 bits")
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("a length of this suite fits an address")
}
