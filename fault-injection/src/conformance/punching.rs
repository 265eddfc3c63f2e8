//! The rule about giving ranges of an extent back.

use bfdb::error::VolumeError;
use bfdb::units::{ByteRange, ExtentId};
use bfdb::volume::Punched;

use super::{Make, Rule, painted, to_u64, to_usize};

const ID: ExtentId = ExtentId::new(1);
const LEN_BYTES: usize = 300_000;

/// Whole pages, parts of pages, one byte, and the first and last bytes.
const RANGES: [(u64, u64); 5] = [
    (0, 1),
    (4096, 12_288),
    (50_000, 50_001),
    (70_000, 130_000),
    (299_999, 300_000),
];

pub(super) fn punch_gives_ranges_back(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let writer = rule.create(&*volume, 1, &painted(LEN_BYTES, 0), 0);
    rule.create(&*volume, 2, &painted(LEN_BYTES, 9), 0);
    rule.ok(writer.sync(), "sync");
    // Through whatever the volume keeps open or in memory.
    rule.read(&*volume, 1, 0, LEN_BYTES);
    let ranges = RANGES.map(|(start, end)| ByteRange::new(start, end).expect("in order"));
    let punched = rule.ok(volume.punch(ID, &ranges), "punch");
    let mut expected = painted(LEN_BYTES, 0);
    if punched == Punched::Done {
        for (start, end) in RANGES {
            expected[to_usize(start)..to_usize(end)].fill(0);
        }
    }
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, LEN_BYTES),
        &expected,
        "an extent with holes",
    );
    rule.equal(
        &rule.len_bytes(&*volume, 1),
        &Some(to_u64(LEN_BYTES)),
        "its length",
    );
    rule.same_bytes(
        &rule.read(&*volume, 2, 0, LEN_BYTES),
        &painted(LEN_BYTES, 9),
        "another extent",
    );
    rule.ok(
        writer.write_at(to_u64(LEN_BYTES), &painted(5000, 7)),
        "appending behind holes",
    );
    rule.ok(writer.sync(), "sync behind holes");
    expected.extend(painted(5000, 7));
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, expected.len()),
        &expected,
        "what was appended",
    );
    if punched == Punched::Done {
        let again = rule.ok(volume.punch(ID, &ranges), "punching again");
        rule.equal(&again, &Punched::Done, "punching again");
        let error = rule.err(
            volume.punch(ExtentId::new(3), &ranges),
            "punching what is not there",
        );
        rule.is(
            &error,
            |error| matches!(error, VolumeError::Missing { .. }),
            "punching what is not there",
        );
    }
}
