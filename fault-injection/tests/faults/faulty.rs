//! What a faulty volume does when it is told to fail.

use std::sync::Arc;

use bfdb::error::VolumeError;
use bfdb::units::{ByteRange, ExtentId, VolumeId};
use bfdb::volume::{ExtentWriter, MemoryVolume, SlotIndex, Volume as _};
use bfdb_fault_injection::FaultyVolume;
use bfdb_fault_injection::faulty::{Fault, FaultRule, Lasting, OperationKind, When};

const EXTENT: ExtentId = ExtentId::new(1);

fn faulty(rules: impl IntoIterator<Item = FaultRule>) -> FaultyVolume {
    let inner = MemoryVolume::new(VolumeId::from_bytes([1; 16]), 1 << 20);
    FaultyVolume::new(Arc::new(inner), rules)
}

fn new_extent(volume: &FaultyVolume) -> Arc<dyn ExtentWriter> {
    volume
        .create_extent(EXTENT, &[1; 100], 0)
        .expect("no rule for this")
}

fn read(volume: &FaultyVolume, offset: u64, len: usize) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = vec![0xA5; len];
    volume.read_at(EXTENT, offset, &mut bytes).map(|()| bytes)
}

/// One of everything: what a test enumerates its failures over.
fn one_of_everything(volume: &FaultyVolume) -> Result<(), VolumeError> {
    let mut slot = [0; 4096];
    volume.free_bytes()?;
    let writer = volume.create_extent(EXTENT, &[1; 100], 0)?;
    writer.preallocate(1000)?;
    writer.write_at(100, &[2; 100])?;
    writer.sync()?;
    writer.truncate(200)?;
    let writer = volume.resume_extent(EXTENT, 200)?;
    writer.seal()?;
    volume.read_at(EXTENT, 0, &mut slot[..10])?;
    volume.read_once(EXTENT, 0, &mut slot[..10])?;
    volume.write_slot(SlotIndex::A, &slot)?;
    volume.read_slot(SlotIndex::A, &mut slot)?;
    volume.extents()?;
    volume.remove_extent(EXTENT)
}

#[test]
fn every_operation_is_counted_and_can_be_failed_by_its_number() {
    let well = faulty([]);
    one_of_everything(&well).expect("no rules");
    let log = well.operations();
    assert_eq!(well.operation_count(), 14);
    assert_eq!(well.injected_count(), 0);
    let indexes: Vec<u64> = log.iter().map(|operation| operation.index).collect();
    assert_eq!(indexes, (0..14).collect::<Vec<_>>());
    for index in 0..well.operation_count() {
        let volume = faulty([FaultRule::nth(index)]);
        let error = one_of_everything(&volume).expect_err("one operation fails");
        let failed = volume.operations().pop().expect("it is logged");
        assert_eq!(
            (failed.index, failed.injected),
            (index, Some(Fault::Io)),
            "{error}"
        );
        assert_eq!(
            failed.kind,
            log[usize::try_from(index).expect("small")].kind,
            "{error}"
        );
        assert_eq!(volume.injected_count(), 1);
    }
}

#[test]
fn a_rule_for_one_kind_counts_that_kind_alone() {
    let volume = faulty([FaultRule::nth_of(OperationKind::Write, 1)]);
    let writer = new_extent(&volume);
    writer.write_at(100, &[2; 10]).expect("the first write");
    writer.preallocate(500).expect("another kind");
    let error = writer.write_at(110, &[3; 10]).expect_err("the second write");
    assert!(
        matches!(
            error,
            VolumeError::Write {
                offset: 110,
                len: 10,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        read(&volume, 110, 10).expect("preallocated"),
        [0; 10],
        "the failed write wrote"
    );
    writer.write_at(120, &[4; 10]).expect("once only");
}

#[test]
fn a_rule_for_good_fails_everything_from_its_number_on() {
    let volume = faulty([FaultRule::nth(2).for_good()]);
    let writer = new_extent(&volume);
    writer.write_at(100, &[2; 10]).expect("operation 1");
    for _ in 0..3 {
        writer
            .write_at(110, &[3; 10])
            .expect_err("operations 2 and later");
        volume.extents().expect_err("of every kind");
    }
    volume.clear_rules();
    writer.write_at(110, &[3; 10]).expect("the storage is well again");
}

#[test]
fn a_full_volume_says_how_much_was_wanted() {
    let rules = [
        OperationKind::Create,
        OperationKind::Preallocate,
        OperationKind::Write,
    ]
    .map(|kind| FaultRule::nth_of(kind, 0).with(Fault::Full));
    let volume = faulty(rules);
    let error = volume
        .create_extent(EXTENT, &[1; 100], 5000)
        .expect_err("no room");
    assert!(
        matches!(
            error,
            VolumeError::Full {
                needed_bytes: 5000,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(volume.extents().expect("a list"), []);
    let writer = new_extent(&volume);
    assert!(writer.preallocate(5000).expect_err("no room").is_full());
    assert!(writer.write_at(100, &[2; 10]).expect_err("no room").is_full());
    assert_eq!(
        volume.extents().expect("a list")[0].len_bytes,
        100,
        "the extent grew"
    );
}

#[test]
fn a_partial_write_leaves_its_first_bytes_and_a_partial_read_gets_them() {
    let partial = Fault::Partial { len_bytes: 4 };
    let volume = faulty([
        FaultRule::nth_of(OperationKind::Write, 0).with(partial),
        FaultRule::nth_of(OperationKind::Read, 1).with(partial),
    ]);
    let writer = new_extent(&volume);
    writer.preallocate(200).expect("no rule for this");
    writer.write_at(100, &[2; 10]).expect_err("short");
    assert_eq!(
        read(&volume, 100, 10).expect("the first read"),
        [2, 2, 2, 2, 0, 0, 0, 0, 0, 0]
    );
    let mut bytes = [0xA5; 6];
    let error = volume
        .read_at(EXTENT, 0, &mut bytes)
        .expect_err("the second read is short");
    assert!(
        matches!(
            error,
            VolumeError::Read {
                offset: 0,
                len: 6,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(bytes, [1, 1, 1, 1, 0xA5, 0xA5]);
}

#[test]
fn bad_ranges_fail_every_read_that_touches_them_and_no_other() {
    let range = ByteRange::new(10, 20).expect("in order");
    let volume = faulty([FaultRule::bad_range(EXTENT, range)]);
    let writer = new_extent(&volume);
    for (offset, len, touches) in [
        (0, 10, 0),
        (0, 11, 1),
        (15, 1, 1),
        (19, 5, 1),
        (20, 5, 0),
        (0, 100, 1),
    ] {
        for _ in 0..2 {
            assert_eq!(
                i32::from(read(&volume, offset, len).is_err()),
                touches,
                "{len} bytes at {offset}"
            );
        }
    }
    volume
        .create_extent(ExtentId::new(2), &[1; 100], 0)
        .expect("no rule for this");
    volume
        .read_at(ExtentId::new(2), 0, &mut [0; 100])
        .expect("another extent");
    writer.write_at(100, &[1]).expect("another kind");
}

#[test]
fn a_flipped_bit_shows_in_every_read_of_its_byte_and_nowhere_else() {
    let volume = faulty([FaultRule::flipped_bit(EXTENT, 50, 3)]);
    new_extent(&volume);
    let mut expected = vec![1; 100];
    expected[50] ^= 8;
    for _ in 0..2 {
        assert_eq!(read(&volume, 0, 100).expect("no error"), expected);
    }
    assert_eq!(read(&volume, 50, 1).expect("no error"), [1 ^ 8]);
    assert_eq!(read(&volume, 51, 49).expect("no error"), [1; 49]);
    assert_eq!(read(&volume, 0, 50).expect("no error"), [1; 50]);
}

#[test]
fn a_failed_sync_that_drops_its_pages_shows_zeros_and_poisons_the_extent() {
    let volume = faulty([FaultRule::nth_of(OperationKind::Sync, 1).with(Fault::SyncDropsData)]);
    let writer = new_extent(&volume);
    writer.write_at(100, &[2; 100]).expect("no rule for this");
    writer.sync().expect("the first sync");
    writer.write_at(200, &[3; 100]).expect("no rule for this");
    assert_eq!(
        read(&volume, 200, 100).expect("readable before the sync"),
        [3; 100]
    );
    writer.sync().expect_err("the second sync");
    assert_eq!(
        read(&volume, 0, 200).expect("synced"),
        [[1; 100], [2; 100]].concat()
    );
    assert_eq!(
        read(&volume, 150, 150).expect("readable"),
        [&[2; 50][..], &[0; 100]].concat(),
        "dropped bytes"
    );
    // A second sync would succeed on a real disk and mean nothing: it is not even tried.
    let before = volume.operation_count();
    assert!(matches!(writer.sync(), Err(VolumeError::Poisoned { .. })));
    assert!(matches!(
        writer.write_at(300, &[4]),
        Err(VolumeError::Poisoned { .. })
    ));
    assert!(matches!(
        volume.resume_extent(EXTENT, 200),
        Err(VolumeError::Poisoned { .. })
    ));
    assert_eq!(
        volume.operation_count(),
        before,
        "a refused call reached the storage"
    );
}

#[test]
fn lost_writes_are_acknowledged_and_never_arrive() {
    let rules = [OperationKind::Write, OperationKind::WriteSlot]
        .map(|kind| FaultRule::nth_of(kind, 0).with(Fault::LoseWrite));
    let volume = faulty(rules);
    let writer = new_extent(&volume);
    writer.write_at(100, &[2; 10]).expect("a lie");
    writer.write_at(110, &[3; 10]).expect("the truth");
    assert_eq!(
        read(&volume, 100, 20).expect("readable"),
        [[0; 10], [3; 10]].concat()
    );
    volume.write_slot(SlotIndex::A, &[5; 4096]).expect("a lie");
    let mut slot = [1; 4096];
    volume.read_slot(SlotIndex::A, &mut slot).expect("readable");
    assert_eq!(slot, [0; 4096]);
}

#[test]
fn a_torn_slot_is_new_up_to_the_tear_and_old_behind_it() {
    let torn = FaultRule::nth_of(OperationKind::WriteSlot, 1).with(Fault::Partial { len_bytes: 512 });
    let volume = faulty([torn]);
    volume
        .write_slot(SlotIndex::B, &[1; 4096])
        .expect("the first write");
    volume.write_slot(SlotIndex::B, &[2; 4096]).expect_err("torn");
    let mut slot = [0; 4096];
    volume.read_slot(SlotIndex::B, &mut slot).expect("readable");
    assert!(
        slot[..512].iter().all(|&byte| byte == 2) && slot[512..].iter().all(|&byte| byte == 1),
        "torn"
    );
}

#[test]
fn rules_pass_over_operations_that_their_fault_does_not_apply_to() {
    let rule = FaultRule {
        when: When::Nth(0),
        fault: Fault::SyncDropsData,
        lasting: Lasting::ForGood,
    };
    let volume = faulty([rule]);
    let writer = new_extent(&volume);
    writer.write_at(100, &[2; 10]).expect("a write is no sync");
    writer.sync().expect_err("this is one");
}
