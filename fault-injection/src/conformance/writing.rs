//! Rules about making, writing, syncing and sealing extents.

use std::sync::Arc;
use std::thread;

use bfdb::error::VolumeError;
use bfdb::units::ExtentId;
use bfdb::volume::{ExtentWriter, Volume as _};

use super::{Make, Rule, painted, painted_aligned, to_u64, to_usize};
use crate::Seeded;
use crate::faulty::{Fault, FaultRule, FaultyVolume, OperationKind};

const ID: ExtentId = ExtentId::new(1);
const MIB: u64 = 1 << 20;

pub(super) fn create_is_exclusive(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let shapes = [
        (0, 0),
        (0, 100),
        (1, 0),
        (100, 50),
        (100, 100),
        (4096, MIB),
        (5000, 4096),
        (200_000, 200_001),
    ];
    for (id, (header_len, capacity)) in (1_u64..).zip(shapes) {
        let header = painted(header_len, id);
        let writer = rule.create(&*volume, id, &header, capacity);
        rule.equal(
            &(writer.volume(), writer.extent()),
            &(volume.id(), ExtentId::new(id)),
            "what the writer writes",
        );
        let what = format!("a header of {header_len} bytes and {capacity} bytes preallocated");
        let len = capacity.max(to_u64(header_len));
        rule.equal(&rule.len_bytes(&*volume, id), &Some(len), &what);
        let mut expected = header;
        expected.resize(to_usize(len), 0);
        rule.same_bytes(&rule.read(&*volume, id, 0, expected.len()), &expected, &what);

        let error = rule.err(
            volume.create_extent(ExtentId::new(id), &[9; 10], 2 * MIB),
            "creating it again",
        );
        let exists = |error: &VolumeError| matches!(*error, VolumeError::Exists { extent, .. } if extent == ExtentId::new(id));
        rule.is(&error, exists, "creating it again");
        rule.equal(
            &rule.len_bytes(&*volume, id),
            &Some(len),
            "length after it was created again",
        );
        rule.same_bytes(
            &rule.read(&*volume, id, 0, expected.len()),
            &expected,
            "content after that",
        );
    }
    let winners = thread::scope(|scope| {
        let racers: Vec<_> = (0..8_u8)
            .map(|racer| {
                let volume = &volume;
                scope.spawn(move || {
                    volume
                        .create_extent(ExtentId::new(100), &[racer + 1; 100], 0)
                        .is_ok()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("create does not panic"))
            .filter(|&won| won)
            .count()
    });
    rule.equal(&winners, &1, "winners of eight threads that create one extent");
}

pub(super) fn failed_create_leaves_nothing(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let Some(too_much) = rule.ok(volume.free_bytes(), "free_bytes").checked_add(1 << 40) else {
        return; // The host does not say what is free, so nothing is known to be too much.
    };
    let error = rule.err(
        volume.create_extent(ID, &[1; 100], too_much),
        "creating more than there is room for",
    );
    let full = |error: &VolumeError| {
        matches!(*error, VolumeError::Full { extent: ID, needed_bytes, free_bytes, .. }
            if needed_bytes > free_bytes && needed_bytes <= too_much)
    };
    rule.is(&error, full, "creating more than there is room for");
    if !error.is_full() {
        rule.broken("an error about a full volume does not say so");
    }
    rule.equal(&rule.len_bytes(&*volume, 1), &None, "the list");
    let error = rule.err(volume.read_at(ID, 0, &mut [0; 1]), "reading it");
    rule.is(
        &error,
        |error| matches!(error, VolumeError::Missing { .. }),
        "reading it",
    );
    rule.create(&*volume, 1, &[2; 100], 0);
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, 100),
        &[2; 100],
        "a smaller one of that id",
    );
}

pub(super) fn resume_cuts_leftovers(rule: &Rule, make: Make<'_>) {
    for end in [0_u64, 1, 99, 4096, 5000, 10_100, 65_536] {
        let volume = make();
        let writer = rule.create(&*volume, 1, &painted(100, 0), 65_536);
        rule.ok(writer.write_at(100, &painted(10_000, 100)), "write_at");
        rule.ok(writer.sync(), "sync");
        drop(writer);
        let mut kept = painted(10_100, 0);
        kept.resize(to_usize(end.max(10_100)), 0);
        kept.truncate(to_usize(end));

        let writer = rule.ok(volume.resume_extent(ID, end), "resume_extent");
        rule.equal(&rule.len_bytes(&*volume, 1), &Some(end), "length after resuming");
        rule.same_bytes(&rule.read(&*volume, 1, 0, kept.len()), &kept, "what was kept");
        rule.ok(writer.preallocate(end + 20_000), "preallocate");
        let behind = rule.read(&*volume, 1, end, 20_000);
        rule.same_bytes(&behind, &vec![0; 20_000], "what is preallocated after resuming");
        rule.ok(writer.write_at(end, &painted(500, 7)), "write_at");
        rule.ok(writer.seal(), "seal");
        rule.same_bytes(
            &rule.read(&*volume, 1, 0, kept.len()),
            &kept,
            "what was kept, after appending",
        );
        rule.same_bytes(
            &rule.read(&*volume, 1, end, 500),
            &painted(500, 7),
            "what was appended",
        );
    }
    let volume = make();
    let error = rule.err(volume.resume_extent(ID, 0), "resuming what was never made");
    rule.is(
        &error,
        |error| matches!(error, VolumeError::Missing { extent: ID, .. }),
        "resuming what was never made",
    );
    rule.create(&*volume, 1, &painted(100, 0), 0);
    let error = rule.err(volume.resume_extent(ID, 101), "resuming behind the end");
    let truncated = |error: &VolumeError| {
        matches!(
            error,
            VolumeError::Truncated {
                extent: ID,
                len_bytes: 100,
                wanted_end: 101,
                ..
            }
        )
    };
    rule.is(&error, truncated, "resuming behind the end");
    rule.equal(
        &rule.len_bytes(&*volume, 1),
        &Some(100),
        "length after a refused resume",
    );
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, 100),
        &painted(100, 0),
        "content after a refused resume",
    );
}

pub(super) fn writes_go_anywhere(rule: &Rule, make: Make<'_>) {
    one_thread_in_random_order(rule, make);
    threads_at_disjoint_ranges(rule, make);
    let volume = make();
    let writer = rule.create(&*volume, 1, &[5; 10], 0);
    rule.ok(writer.write_at(20_000, &[6; 10]), "write_at behind the end");
    rule.equal(
        &rule.len_bytes(&*volume, 1),
        &Some(20_010),
        "length after a write behind the end",
    );
    rule.same_bytes(&rule.read(&*volume, 1, 10, 19_990), &vec![0; 19_990], "the gap");
    rule.ok(writer.write_at(10, &[]), "writing nothing");
    rule.ok(writer.write_at(50_000, &[]), "writing nothing behind the end");
    rule.equal(
        &rule.len_bytes(&*volume, 1),
        &Some(20_010),
        "length after writing nothing",
    );
    let error = rule.err(
        writer.write_at(u64::MAX - 1, &[1; 10]),
        "writing where no offset reaches",
    );
    let expected =
        |error: &VolumeError| matches!(error, VolumeError::Write { .. } | VolumeError::Full { .. });
    rule.is(&error, expected, "writing where no offset reaches");
}

fn one_thread_in_random_order(rule: &Rule, make: Make<'_>) {
    let mut seeded = Seeded::new(6);
    let volume = make();
    let writer = rule.create(&*volume, 1, &[], MIB);
    // Pieces of all sizes: sectors, large aligned ones and odd ones, some left out.
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < 3 * MIB {
        let len = [
            1 + seeded.below(5000),
            4096,
            65_536,
            131_072,
            65_537,
            4096 - start % 4096,
        ][seeded.index(6)];
        pieces.push((start, len, seeded.below(5) > 0));
        start += len;
    }
    let end = pieces
        .iter()
        .filter(|piece| piece.2)
        .map(|piece| piece.0 + piece.1)
        .max()
        .unwrap_or(0)
        .max(MIB);
    let mut expected = vec![0; to_usize(end)];
    seeded.shuffle(&mut pieces);
    for &(start, len, _) in pieces.iter().filter(|piece| piece.2) {
        let piece = painted_aligned(to_usize(len), start);
        expected[to_usize(start)..][..piece.len()].copy_from_slice(&piece);
        rule.ok(writer.write_at(start, &piece), "write_at");
    }
    rule.equal(
        &rule.len_bytes(&*volume, 1),
        &Some(end),
        "length after writes in random order",
    );
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, expected.len()),
        &expected,
        "writes in random order",
    );
    rule.ok(writer.seal(), "seal");
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, expected.len()),
        &expected,
        "the same, sealed",
    );
}

fn threads_at_disjoint_ranges(rule: &Rule, make: Make<'_>) {
    const THREADS: u64 = 8;
    const PIECE: u64 = 96 * 1024;
    let volume = make();
    let writer = rule.create(&*volume, 1, &[], 0);
    thread::scope(|scope| {
        for lane in 0..THREADS {
            let writer = &writer;
            scope.spawn(move || {
                for round in 0..4 {
                    let start = (round * THREADS + lane) * PIECE;
                    // Preallocations of some threads run beside the writes of others: neither hurts the other.
                    rule.ok(writer.preallocate(start + PIECE / 2), "preallocate");
                    let piece = painted_aligned(to_usize(PIECE), start);
                    let (one, other) = piece.split_at(to_usize(if lane % 2 == 0 { 65_536 } else { 1000 }));
                    rule.ok(writer.write_at(start + to_u64(one.len()), other), "write_at");
                    rule.ok(writer.write_at(start, one), "write_at");
                }
                rule.ok(writer.sync(), "sync");
            });
        }
    });
    let expected = painted(to_usize(4 * THREADS * PIECE), 0);
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, expected.len()),
        &expected,
        "bytes of eight threads",
    );
}

pub(super) fn preallocate_only_lengthens(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let writer = rule.create(&*volume, 1, &painted(5000, 0), 0);
    let mut expected = painted(5000, 0);
    for (end, len) in [
        (5001, 5001),
        (5000, 5001),
        (0, 5001),
        (MIB, MIB),
        (100, MIB),
        (3 * MIB + 1, 3 * MIB + 1),
    ] {
        rule.ok(writer.preallocate(end), "preallocate");
        let what = format!("preallocating up to {end}");
        rule.equal(&rule.len_bytes(&*volume, 1), &Some(len), &what);
        expected.resize(to_usize(len), 0);
        rule.same_bytes(&rule.read(&*volume, 1, 0, expected.len()), &expected, &what);
    }
    if let Some(too_much) = rule.ok(volume.free_bytes(), "free_bytes").checked_add(1 << 40) {
        let error = rule.err(
            writer.preallocate(too_much),
            "preallocating more than there is room for",
        );
        rule.is(
            &error,
            VolumeError::is_full,
            "preallocating more than there is room for",
        );
        rule.equal(
            &rule.len_bytes(&*volume, 1),
            &Some(3 * MIB + 1),
            "length after that",
        );
        rule.ok(writer.write_at(5000, &painted(100, 5000)), "writing after that");
        rule.ok(writer.sync(), "syncing after that");
        rule.same_bytes(
            &rule.read(&*volume, 1, 0, 5100),
            &painted(5100, 0),
            "content after that",
        );
    }
}

pub(super) fn truncate_only_shortens(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let writer = rule.create(&*volume, 1, &painted(5000, 0), MIB);
    for (end, len) in [
        (2 * MIB, MIB),
        (MIB, MIB),
        (6000, 6000),
        (4999, 4999),
        (5000, 4999),
        (10, 10),
    ] {
        rule.ok(writer.truncate(end), "truncate");
        let what = format!("truncating to {end}");
        rule.equal(&rule.len_bytes(&*volume, 1), &Some(len), &what);
        let kept = to_usize(len.min(5000));
        rule.same_bytes(&rule.read(&*volume, 1, 0, kept), &painted(kept, 0), &what);
        let error = rule.err(volume.read_at(ID, len, &mut [0; 1]), "reading behind the new end");
        rule.is(
            &error,
            |error| matches!(error, VolumeError::Truncated { .. }),
            "reading behind the new end",
        );
    }
    rule.ok(writer.preallocate(5000), "preallocate");
    rule.same_bytes(
        &rule.read(&*volume, 1, 10, 4990),
        &vec![0; 4990],
        "what was cut and preallocated again",
    );
}

type Call = fn(&dyn ExtentWriter) -> Result<(), VolumeError>;

/// Everything that a writer can be asked.
const CALLS: [(&str, Call); 5] = [
    ("write_at", |writer| writer.write_at(2 * MIB, &[1; 10])),
    ("preallocate", |writer| writer.preallocate(4 * MIB)),
    ("truncate", |writer| writer.truncate(1)),
    ("sync", |writer| writer.sync()),
    ("seal", |writer| writer.seal()),
];

pub(super) fn seal_ends_writing(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let writer = rule.create(&*volume, 1, &painted(5000, 0), 0);
    rule.ok(writer.write_at(5000, &painted(100_000, 5000)), "write_at");
    rule.ok(writer.seal(), "seal");
    for (name, call) in CALLS {
        let what = format!("{name} after a seal");
        let error = rule.err(call(&*writer), &what);
        rule.is(
            &error,
            |error| matches!(error, VolumeError::Sealed { extent: ID, .. }),
            &what,
        );
    }
    rule.equal(
        &rule.len_bytes(&*volume, 1),
        &Some(105_000),
        "length after a seal",
    );
    rule.same_bytes(
        &rule.read(&*volume, 1, 0, 105_000),
        &painted(105_000, 0),
        "content after a seal",
    );
}

pub(super) fn sync_succeeds_or_poisons(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let writer = rule.create(&*volume, 1, &[], 0);
    for round in 0..12 {
        rule.ok(
            writer.write_at(round * 1000, &painted(1000, round * 1000)),
            "write_at",
        );
        rule.ok(writer.sync(), "sync");
    }
    rule.ok(writer.sync(), "sync of nothing");
    for kind in [OperationKind::Sync, OperationKind::Seal] {
        for fault in [Fault::Io, Fault::SyncDropsData] {
            poisoned_by(rule, make, kind, fault);
        }
    }
}

/// A real volume cannot be made to fail here, so the failure is put before it; the tests of each implementation have
/// their own ways to provoke one.
fn poisoned_by(rule: &Rule, make: Make<'_>, kind: OperationKind, fault: Fault) {
    let inner = make();
    let volume = FaultyVolume::new(Arc::clone(&inner), [FaultRule::nth_of(kind, 0).with(fault)]);
    let writer = rule.create(&volume, 1, &painted(5000, 0), 0);
    rule.ok(writer.write_at(5000, &painted(5000, 5000)), "write_at");
    let failed = if kind == OperationKind::Seal {
        writer.seal()
    } else {
        writer.sync()
    };
    let error = rule.err(failed, "the sync that was told to fail");
    rule.is(
        &error,
        |error| matches!(error, VolumeError::Sync { extent: ID, .. }),
        "the sync that was told to fail",
    );
    for (name, call) in CALLS {
        let what = format!("{name} after a failed {kind:?}");
        let error = rule.err(call(&*writer), &what);
        rule.is(
            &error,
            |error| matches!(error, VolumeError::Poisoned { extent: ID, .. }),
            &what,
        );
    }
    let error = rule.err(volume.resume_extent(ID, 5000), "resuming a poisoned extent");
    rule.is(
        &error,
        |error| matches!(error, VolumeError::Poisoned { .. }),
        "resuming a poisoned extent",
    );
    rule.same_bytes(
        &rule.read(&volume, 1, 0, 5000),
        &painted(5000, 0),
        "what was durable before",
    );
    let other = rule.create(&volume, 2, &[1; 10], 0);
    rule.ok(other.sync(), "syncing another extent");
}

pub(super) fn dropping_changes_nothing(rule: &Rule, make: Make<'_>) {
    let volume = make();
    let writer = rule.create(&*volume, 1, &painted(5000, 0), MIB);
    rule.ok(writer.write_at(5000, &painted(100_000, 5000)), "write_at");
    drop(writer);
    let expect = |what: &str| {
        rule.equal(&rule.len_bytes(&*volume, 1), &Some(MIB), what);
        rule.same_bytes(&rule.read(&*volume, 1, 0, 105_000), &painted(105_000, 0), what);
    };
    expect("after a writer was dropped");
    drop(rule.ok(volume.resume_extent(ID, MIB), "resume_extent"));
    expect("after a resumed writer was dropped");
}
