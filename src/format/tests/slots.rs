//! Volume slots: which of two is believed, and where the next one goes.

use super::*;
use crate::format::{SlotPlace, VOLUME_FILE_LEN_BYTES, VOLUME_SLOT_LEN_BYTES};
use proptest::prelude::{any, prop_assert_eq, proptest};

/// The example slot with another sequence number, encoded.
fn slot(sequence: u64) -> (VolumeSlot, Vec<u8>) {
    let slot = VolumeSlot {
        sequence,
        ..example_slot()
    };
    (slot, slot.encode().to_vec())
}

#[test]
fn the_valid_slot_with_the_higher_number_wins_wherever_it_stands() {
    for (first, second, winner) in [
        (4, 5, 5),
        (6, 5, 6),
        (0, 1, 1),
        (u64::MAX - 1, u64::MAX, u64::MAX),
    ] {
        assert_eq!(
            VolumeSlot::newest(&slot(first).1, &slot(second).1),
            Ok(slot(winner).0),
            "{first} and {second}"
        );
    }
}

#[test]
fn one_valid_slot_alone_serves() {
    let torn = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[512..].fill(0xee);
        bytes
    };
    let (old, old_bytes) = slot(4);
    let (new, new_bytes) = slot(5);
    assert_eq!(
        VolumeSlot::newest(&old_bytes, &torn(&new_bytes)),
        Ok(old),
        "torn write"
    );
    assert_eq!(
        VolumeSlot::newest(&torn(&old_bytes), &new_bytes),
        Ok(new),
        "bad old slot"
    );
    assert_eq!(
        VolumeSlot::newest(&slot(0).1, &[0; 4096]),
        Ok(slot(0).0),
        "new volume"
    );
    assert_eq!(VolumeSlot::newest(&slot(0).1, &[]), Ok(slot(0).0), "cut short");
}

#[test]
fn without_a_valid_slot_both_faults_are_named() {
    let error = VolumeSlot::newest(&[0; 4096], &[]).expect_err("nothing there");
    let FormatError::NoValidSlot { first, second } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*first, FormatError::Magic { .. }), "{first:?}");
    assert!(matches!(*second, FormatError::Truncated { .. }), "{second:?}");
}

#[test]
fn a_slot_in_the_wrong_half_is_not_believed() {
    let (old, old_bytes) = slot(4);
    let (_, new_bytes) = slot(5);
    assert_eq!(VolumeSlot::newest(&old_bytes, &old_bytes), Ok(old));
    let error = VolumeSlot::newest(&new_bytes, &old_bytes).expect_err("swapped");
    let FormatError::NoValidSlot { first, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(*first, FormatError::SlotPlace { sequence: 5 });
}

#[test]
fn slots_of_different_volumes_are_refused() {
    let (_, ours) = slot(4);
    let foreign = VolumeSlot {
        volume: VolumeId::from_bytes([9; 16]),
        ..slot(5).0
    };
    let error = VolumeSlot::newest(&ours, &foreign.encode()).expect_err("two volumes");
    assert!(
        matches!(error, FormatError::SlotsDisagree { first, second, .. }
            if first == example_slot().volume && second == foreign.volume),
        "{error:?}"
    );
    let foreign = VolumeSlot {
        archive: ArchiveId::from_bytes([9; 16]),
        ..slot(5).0
    };
    let error = VolumeSlot::newest(&ours, &foreign.encode()).expect_err("two archives");
    assert!(matches!(error, FormatError::SlotsDisagree { .. }), "{error:?}");
}

/// An old bfdb on an archive that a newer one has written: the older slot is valid, but far behind, and the next write
/// would replace the newer one.
#[test]
fn a_newer_slot_beside_an_older_valid_one_is_never_passed_over() {
    let (_, old) = slot(4);
    let newer_version = forge(&slot(5).1, 8, &[2, 0]);
    let newer_feature = forge(&slot(5).1, 96, &[0, 1]);
    let error = VolumeSlot::newest(&old, &newer_version).expect_err("newer version");
    assert!(matches!(error, FormatError::NewerVersion { .. }), "{error:?}");
    let error = VolumeSlot::newest(&old, &newer_feature).expect_err("newer feature");
    assert_eq!(error, FormatError::UnsupportedFeature { bit: 8 });
    let error = VolumeSlot::newest(&[0; 4096], &newer_feature).expect_err("newer feature alone");
    assert_eq!(error, FormatError::UnsupportedFeature { bit: 8 });
    let newer_first = forge(&slot(6).1, 8, &[2, 0]);
    let error = VolumeSlot::newest(&newer_first, &slot(5).1).expect_err("newer version first");
    assert!(error.needs_newer_version(), "{error:?}");
}

#[test]
fn successors_take_the_other_half_and_keep_the_identity() {
    assert_eq!(SlotPlace::First.offset_bytes(), 0);
    assert_eq!(
        usize::try_from(SlotPlace::Second.offset_bytes()).expect("small"),
        VOLUME_SLOT_LEN_BYTES
    );
    assert_eq!(VOLUME_FILE_LEN_BYTES, 2 * VOLUME_SLOT_LEN_BYTES);
    let before = slot(6).0;
    let after = before.successor(Epoch::new(77), [3; 32]);
    assert_eq!(
        (before.place(), after.place()),
        (SlotPlace::First, SlotPlace::Second)
    );
    assert_eq!(
        after,
        VolumeSlot {
            sequence: 7,
            epoch: Epoch::new(77),
            chain_hash: [3; 32],
            ..before
        }
    );
    assert_eq!(VolumeSlot::newest(&before.encode(), &after.encode()), Ok(after));
}

#[test]
fn every_unknown_feature_bit_is_named() {
    for bit in 0..64 {
        assert_eq!(
            Features::from_bits(1 << bit),
            Err(FormatError::UnsupportedFeature { bit })
        );
    }
    assert_eq!(Features::from_bits(0), Ok(Features::NONE));
    assert_eq!(
        Features::from_bits(0b1010_0000),
        Err(FormatError::UnsupportedFeature { bit: 5 }),
        "the lowest"
    );
}

proptest! {
    #[test]
    fn every_slot_reads_back(archive in any::<[u8; 16]>(), volume in any::<[u8; 16]>(), sequence in any::<u64>(), epoch in any::<u64>(), chain_hash in any::<[u8; 32]>()) {
        let slot = VolumeSlot {
            archive: ArchiveId::from_bytes(archive),
            volume: VolumeId::from_bytes(volume),
            sequence,
            epoch: Epoch::new(epoch),
            chain_hash,
            features: Features::NONE,
        };
        prop_assert_eq!(VolumeSlot::parse(&slot.encode()), Ok(slot));
    }
}
