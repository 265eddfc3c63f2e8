//! Records of the journal, their hash, and the state that the catalog keeps.

use super::*;
use crate::{
    error::JournalStateError,
    format::{
        CopyPosition, JournalState, MAX_JOURNAL_BODY_LEN_BYTES, MAX_JOURNAL_COPIES, journal_record_len_bytes,
    },
};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

fn places(count: u8) -> Vec<SegmentPlace> {
    (0..count)
        .map(|copy| SegmentPlace {
            volume: u16::from(copy / 4),
            copy: copy % 4,
            segment: u32::from(copy) + 1,
        })
        .collect()
}

fn state(count: u8) -> JournalState {
    JournalState {
        epoch: Epoch::new(3),
        hash: ChainHash::from_bytes(counting(0xe0)),
        forgotten: Epoch::new(2),
        written_bytes: 0x5000,
        copies: places(count)
            .into_iter()
            .map(|place| CopyPosition {
                volume: place.volume,
                copy: place.copy,
                segment: place.segment,
                end_bytes: 4096 * u64::from(place.segment),
            })
            .collect(),
    }
}

#[test]
fn a_set_of_segments_is_ascending_and_has_one_to_sixteen_copies() {
    for count in 1..=16 {
        let set = SegmentSet::new(&places(count)).expect("a set");
        assert_eq!(set.as_slice(), places(count), "{count} copies");
        assert!(places(count).into_iter().all(|place| set.contains(place)));
    }
    assert_eq!(SegmentSet::new(&[]), None, "no copy");
    assert_eq!(SegmentSet::new(&places(17)), None, "too many");
    let [first, second] = example_places();
    assert_eq!(SegmentSet::new(&[second, first]), None, "not in order");
    let twice = SegmentPlace { segment: 77, ..first };
    assert_eq!(SegmentSet::new(&[first, twice]), None, "one copy twice");
    assert!(
        !SegmentSet::new(&[first]).expect("a set").contains(twice),
        "another segment of the copy"
    );
}

#[test]
fn forged_fields_of_a_record_are_refused_by_name() {
    let example = example_journal_header().encode();
    let refused = |offset, field: &[u8]| {
        JournalHeader::parse(&forge(&example, offset, field)).expect_err("a field no encoder writes")
    };
    assert_eq!(refused(10, &[0]), FormatError::JournalCopies { count: 0 });
    assert_eq!(refused(10, &[17]), FormatError::JournalCopies { count: 17 });
    assert_eq!(
        refused(104, &[9, 0]),
        FormatError::JournalCopies { count: 2 },
        "order"
    );
    assert_eq!(
        refused(12, &(MAX_JOURNAL_BODY_LEN_BYTES + 1).to_le_bytes()),
        FormatError::JournalBody {
            found_bytes: MAX_JOURNAL_BODY_LEN_BYTES + 1
        }
    );
    for epoch in [0, 1] {
        assert_eq!(
            refused(32, &[epoch]),
            FormatError::JournalEpoch {
                epoch: Epoch::new(epoch.into())
            }
        );
    }
    assert_eq!(
        refused(40, &[0; 32]),
        FormatError::JournalEpoch { epoch: Epoch::new(6) }
    );
    assert_eq!(
        refused(10, &[1]),
        FormatError::ReservedInUse {
            record: crate::error::RecordKind::JournalRecord,
            offset: 112
        },
        "a row that is not taken"
    );
}

#[test]
fn the_hash_covers_every_field_and_the_body_but_not_itself() {
    let header = example_journal_header();
    let hash = |header: &JournalHeader, body: &[u8]| {
        let mut hasher = header.hasher();
        hasher.update(body);
        hasher.finish()
    };
    let expected = hash(&header, b"body");
    let itself = JournalHeader {
        hash: ChainHash::NONE,
        ..header
    };
    assert_eq!(hash(&itself, b"body"), expected, "the hash is not hashed");
    let others = [
        JournalHeader {
            archive: ArchiveId::from_bytes([1; 16]),
            ..header
        },
        JournalHeader {
            epoch: Epoch::new(7),
            ..header
        },
        JournalHeader {
            previous: ChainHash::from_bytes([1; 32]),
            ..header
        },
        JournalHeader {
            body_len_bytes: 301,
            ..header
        },
        JournalHeader {
            copies: SegmentSet::new(&example_places()[..1]).expect("a set"),
            ..header
        },
    ];
    for other in others {
        assert_ne!(hash(&other, b"body"), expected, "{other:?}");
    }
    assert_ne!(hash(&header, b"Body"), expected, "the body");

    // By the words of the document.
    let bytes = header.encode();
    let words = [&bytes[..72], &bytes[104..252], b"body"].concat();
    let by_hand = blake3::derive_key("bfdb 2026-11 journal record v1", &words);
    assert_eq!(expected.to_bytes(), by_hand, "the definition of section 3.3");
}

#[test]
fn records_fill_whole_sectors() {
    for (body, total) in [(0, 4096), (3840, 4096), (3841, 8192), (7936, 8192)] {
        assert_eq!(journal_record_len_bytes(body), total, "a body of {body} bytes");
    }
    assert_eq!(
        journal_record_len_bytes(MAX_JOURNAL_BODY_LEN_BYTES),
        64 * 1024 * 1024 + 4096
    );
}

#[test]
fn every_state_reads_back_and_every_cut_one_is_refused() {
    for count in 0..=16 {
        let bytes = state(count).encode();
        assert_eq!(bytes.len(), 64 + 16 * usize::from(count));
        assert_eq!(JournalState::parse(&bytes), Ok(state(count)));
        for end in 0..bytes.len() {
            assert_eq!(
                JournalState::parse(&bytes[..end]),
                Err(JournalStateError::Len { found_bytes: end }),
                "cut at {end}"
            );
        }
    }
    assert_eq!(MAX_JOURNAL_COPIES, 16);
    assert_eq!(state(4).position(0, 3).expect("a copy").segment, 4);
    assert_eq!(state(4).position(1, 0), None);
    assert_eq!(state(0).segments(), None);
    assert_eq!(state(4).segments(), SegmentSet::new(&places(4)));
}

/// The bytes are in every catalog: they never change without a new version.
#[test]
fn golden_bytes_of_a_state() {
    let bytes = state(2).encode();
    let expected = [
        &[1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..],
        &counting::<32>(0xe0),
        &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0],
        &[0, 0, 1, 0, 2, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_state_that_no_encoder_writes_is_refused_by_name() {
    let bytes = state(2).encode();
    let refused = |offset: usize, field: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[offset..offset + field.len()].copy_from_slice(field);
        JournalState::parse(&bytes).expect_err("a state that no encoder writes")
    };
    assert_eq!(refused(0, &[2]), JournalStateError::Version { found: 2 });
    assert_eq!(refused(2, &[3]), JournalStateError::Len { found_bytes: 96 });
    assert_eq!(refused(7, &[1]), JournalStateError::Reserved);
    assert_eq!(refused(67, &[1]), JournalStateError::Reserved);
    assert_eq!(refused(8, &[0]), JournalStateError::Head { epoch: Epoch::ZERO });
    assert_eq!(
        refused(16, &[0; 32]),
        JournalStateError::Head { epoch: Epoch::new(3) }
    );
    assert_eq!(
        refused(48, &[4]),
        JournalStateError::Forgotten {
            forgotten: Epoch::new(4),
            epoch: Epoch::new(3)
        }
    );
    assert_eq!(refused(73, &[0]), JournalStateError::Position { end_bytes: 0 });
    assert_eq!(refused(72, &[1]), JournalStateError::Position { end_bytes: 4097 });
    assert_eq!(refused(82, &[0]), JournalStateError::Order);
}

proptest! {
    #[test]
    fn mutated_states_are_refused_or_are_exactly_what_would_be_written(
        count in 0..=16_u8,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = state(count).encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(parsed) = JournalState::parse(&bytes) {
            prop_assert_eq!(parsed.encode(), bytes);
        }
    }

    #[test]
    fn random_bytes_are_no_state(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(parsed) = JournalState::parse(&bytes) {
            prop_assert!(parsed.encode() == bytes);
        }
    }
}
