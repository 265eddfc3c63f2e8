//! Rules about reading, listing, removing and slots.

use bfdb::error::VolumeError;
use bfdb::units::ExtentId;
use bfdb::volume::{SLOT_LEN_BYTES, SlotIndex, Volume};

use super::{Make, Rule, painted, painted_aligned, to_u64};

pub(super) fn read_is_all_or_error(rule: &Rule, make: Make<'_>) {
    const LEN: u64 = 10_000;
    let volume = make();
    let id = ExtentId::new(1);
    let content = painted(10_000, 0);
    rule.create(&*volume, 1, &content, 0);
    let offsets = [
        0,
        1,
        4095,
        4096,
        5000,
        LEN - 1,
        LEN,
        LEN + 1,
        LEN * 2,
        1 << 40,
        i64::MAX as u64,
        u64::MAX,
    ];
    for offset in offsets {
        for len in [0, 1, 2, 4096, 5000, 10_000, 10_001] {
            let end = offset.saturating_add(to_u64(len));
            let mut plain = vec![0xA5; len];
            let mut once = vec![0xA5; len];
            let outcomes = [
                ("read_at", volume.read_at(id, offset, &mut plain)),
                ("read_once", volume.read_once(id, offset, &mut once)),
            ];
            for ((name, outcome), bytes) in outcomes.into_iter().zip([plain, once]) {
                let call = format!("{name} of {len} bytes at {offset} of {LEN}");
                if end <= LEN {
                    rule.ok(outcome, &call);
                    let start = usize::try_from(offset).expect("a small number");
                    rule.same_bytes(&bytes, &content[start..start + len], &call);
                } else {
                    let error = rule.err(outcome, &call);
                    let expected = |error: &VolumeError| {
                        matches!(*error, VolumeError::Truncated { volume: from, extent, len_bytes: LEN, wanted_end }
                            if from == volume.id() && extent == id && wanted_end == end)
                    };
                    rule.is(&error, expected, &call);
                }
            }
        }
    }
    for len in [0, 1] {
        let error = rule.err(
            volume.read_at(ExtentId::new(2), 0, &mut vec![0; len]),
            "reading what was never made",
        );
        let missing = |error: &VolumeError| matches!(*error, VolumeError::Missing { extent, .. } if extent == ExtentId::new(2));
        rule.is(&error, missing, "reading what was never made");
    }
    if volume.id() != volume.id() {
        rule.broken("the volume changed its id");
    }
    long_reads_are_all_or_error(rule, &*volume);
}

/// In memory that lets them go past caches, up to the end of an extent inside a sector and beyond it.
fn long_reads_are_all_or_error(rule: &Rule, volume: &dyn Volume) {
    const LEN: usize = (2 << 20) + 100;
    let id = ExtentId::new(3);
    let content = painted_aligned(LEN, 0);
    let writer = rule.create(volume, 3, &[], 0);
    rule.ok(writer.write_at(0, &content), "write_at");
    // That unsynced bytes can be read is another rule.
    rule.ok(writer.sync(), "sync");
    for (start, len) in [
        (0, LEN),
        (0, 1 << 20),
        (4096, LEN - 4096),
        (1, LEN - 1),
        (0, LEN + 1),
        (4096, LEN),
    ] {
        let call = format!("read_once of {len} bytes at {start} of {LEN}");
        // None of them is right before.
        let mut bytes = painted_aligned(len, to_u64(start + 1));
        let outcome = volume.read_once(id, to_u64(start), &mut bytes);
        if start + len <= LEN {
            rule.ok(outcome, &call);
            rule.same_bytes(&bytes, &content[start..start + len], &call);
        } else {
            let is_truncated =
                |error: &VolumeError| matches!(*error, VolumeError::Truncated { extent, .. } if extent == id);
            rule.is(&rule.err(outcome, &call), is_truncated, &call);
        }
    }
}

pub(super) fn written_bytes_are_readable(rule: &Rule, make: Make<'_>) {
    const MIB: usize = 1 << 20;
    let volume = make();
    let writer = rule.create(&*volume, 1, &[], to_u64(2 * MIB));
    // A handle or cache that was filled before must not hide what is written later.
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, 2 * MIB),
        &vec![0; 2 * MIB],
        "preallocated bytes",
    );
    let pieces = [
        (0, 4096),
        (4096, MIB),
        (4096 + MIB, 100),
        (4196 + MIB, 1),
        (8192 + MIB, 256 * 1024),
    ];
    for (start, len) in pieces {
        let offset = to_u64(start);
        let piece = painted_aligned(len, offset);
        rule.ok(writer.write_at(offset, &piece), "write_at");
        let what = format!("{len} bytes just written at {start}");
        rule.same_bytes(&rule.read(&*volume, 1, offset, len), &piece, &what);
        // Also in memory that lets it go past caches where it is long.
        let read_once = |what: &str| {
            let mut again = painted_aligned(len, offset + 1);
            let read = volume.read_once(ExtentId::new(1), offset, &mut again);
            rule.ok(read, "read_once");
            rule.same_bytes(&again, &piece, what);
        };
        read_once(&what);
        rule.ok(writer.sync(), "sync");
        volume.forget_cached(ExtentId::new(1), offset, to_u64(len));
        read_once(&format!("{what}, synced and forgotten"));
    }
}

pub(super) fn list_is_complete_and_sorted(rule: &Rule, make: Make<'_>) {
    let volume = make();
    rule.equal(
        &rule.ok(volume.extents(), "extents"),
        &Vec::new(),
        "a fresh volume",
    );
    let ids = [7, 100_000_000, 0, 99_999_999, 1 << 40, 3, u64::MAX];
    for id in ids {
        rule.create(&*volume, id, &[1; 10], 10 + id % 10);
    }
    let mut expected: Vec<(u64, u64)> = ids.iter().map(|&id| (id, 10 + id % 10)).collect();
    expected.sort_unstable();
    let listed = || -> Vec<(u64, u64)> {
        let extents = rule.ok(volume.extents(), "extents");
        extents
            .iter()
            .map(|stat| (stat.extent.get(), stat.len_bytes))
            .collect()
    };
    rule.equal(&listed(), &expected, "ids and lengths");
    rule.ok(volume.remove_extent(ExtentId::new(7)), "remove_extent");
    expected.retain(|&(id, _)| id != 7);
    rule.equal(&listed(), &expected, "ids and lengths after a removal");
}

pub(super) fn removed_is_gone(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let id = ExtentId::new(1);
    rule.create(&*volume, 1, &painted(5000, 0), 1 << 20);
    rule.create(&*volume, 2, &painted(100, 0), 0);
    rule.read(&*volume, 1, 0, 5000); // Whatever caches handles has one now.
    rule.ok(volume.remove_extent(id), "remove_extent");
    let missing = |error: &VolumeError| matches!(*error, VolumeError::Missing { extent, .. } if extent == id);
    let outcomes = [
        ("reading it", volume.read_at(id, 0, &mut [0; 10])),
        ("reading it once", volume.read_once(id, 0, &mut [0; 10])),
        ("removing it again", volume.remove_extent(id)),
        ("resuming it", volume.resume_extent(id, 0).map(drop)),
    ];
    for (call, outcome) in outcomes {
        rule.is(&rule.err(outcome, call), missing, call);
    }
    rule.equal(&rule.len_bytes(&*volume, 1), &None, "the list");
    rule.same_bytes(
        &rule.read(&*volume, 2, 0, 100),
        &painted(100, 0),
        "the extent beside it",
    );
    // The engine never uses an id again, but a volume that remembered old bytes would show here.
    rule.create(&*volume, 1, &[9; 3], 10);
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, 10),
        &[9, 9, 9, 0, 0, 0, 0, 0, 0, 0],
        "an extent made anew",
    );
}

pub(super) fn slots_are_independent(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let check = |expected: [u8; 2], what: &str| {
        for (slot, byte) in SlotIndex::BOTH.into_iter().zip(expected) {
            let mut bytes = [0xA5; SLOT_LEN_BYTES];
            rule.ok(volume.read_slot(slot, &mut bytes), "read_slot");
            rule.same_bytes(&bytes, &[byte; SLOT_LEN_BYTES], &format!("slot {slot} {what}"));
        }
    };
    check([0, 0], "of a fresh volume");
    rule.ok(
        volume.write_slot(SlotIndex::B, &[2; SLOT_LEN_BYTES]),
        "write_slot",
    );
    check([0, 2], "after B was written");
    rule.ok(
        volume.write_slot(SlotIndex::A, &[1; SLOT_LEN_BYTES]),
        "write_slot",
    );
    check([1, 2], "after A was written");
    rule.ok(
        volume.write_slot(SlotIndex::B, &[3; SLOT_LEN_BYTES]),
        "write_slot",
    );
    check([1, 3], "after B was written again");
    rule.equal(
        &rule.ok(volume.extents(), "extents"),
        &Vec::new(),
        "slots in the list of extents",
    );
}
