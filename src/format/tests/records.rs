//! What holds for every record: flipped, cut, forged and random bytes.

use super::*;
use crate::error::RecordKind;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

const NEWER_VERSION: [u8; 2] = [2, 0];

#[test]
fn every_flipped_bit_of_a_record_is_noticed_and_none_passes_for_a_newer_version() {
    for Record {
        name,
        example,
        rewrite,
    } in records()
    {
        let mut bytes = example.clone();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = rewrite(&bytes).expect_err("a flipped bit");
            assert!(!error.needs_newer_version(), "bit {bit} of {name}: {error}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(rewrite(&bytes), Ok(example), "{name} is whole again");
    }
}

#[test]
fn every_record_cut_short_is_truncated() {
    for Record {
        name,
        example,
        rewrite,
    } in records()
    {
        for found in 0..example.len() {
            let error = rewrite(&example[..found]).expect_err("cut short");
            assert!(
                matches!(error, FormatError::Truncated { needed_bytes, found_bytes, .. }
                    if needed_bytes == example.len() && found_bytes == found),
                "{found} bytes of {name}: {error:?}"
            );
        }
    }
}

#[test]
fn bytes_behind_a_record_do_not_matter() {
    for Record {
        name,
        example,
        rewrite,
    } in records()
    {
        let mut bytes = example.clone();
        bytes.extend([0xff; 100]);
        assert_eq!(rewrite(&bytes), Ok(example), "{name}");
    }
}

#[test]
fn a_record_is_not_taken_for_one_of_another_kind() {
    for (index, record) in records().iter().enumerate() {
        let mut padded = record.example.clone();
        padded.resize(4096, 0);
        for (other, parser) in records().iter().enumerate() {
            let result = (parser.rewrite)(&padded);
            if other != index {
                assert!(
                    matches!(result, Err(FormatError::Magic { .. })),
                    "{} read as {}: {result:?}",
                    record.name,
                    parser.name
                );
            }
        }
    }
}

#[test]
fn an_intact_newer_version_is_named_and_version_zero_never_existed() {
    for Record {
        name,
        example,
        rewrite,
    } in records()
    {
        let newer = rewrite(&forge(&example, 8, &NEWER_VERSION)).expect_err("version 2");
        assert!(
            matches!(
                newer,
                FormatError::NewerVersion {
                    found: 2,
                    supported: 1,
                    ..
                }
            ),
            "{name}: {newer:?}"
        );
        assert!(newer.needs_newer_version(), "{name}");
        let zero = rewrite(&forge(&example, 8, &[0, 0])).expect_err("version 0");
        assert!(
            matches!(zero, FormatError::UnknownVersion { found: 0, .. }),
            "{name}: {zero:?}"
        );
        assert!(!zero.needs_newer_version(), "{name}");
    }
}

#[test]
fn every_reserved_byte_in_use_is_named_by_its_offset() {
    for Record {
        name,
        example,
        rewrite,
    } in records()
    {
        for row in document::document_table(&format!("Layout of `{name}`:")) {
            if row[2] != "reserved" {
                continue;
            }
            let start: usize = row[0].parse().expect("offset");
            let len: usize = row[1].parse().expect("length");
            for used in start..start + len {
                let error = rewrite(&forge(&example, used, &[1])).expect_err("a reserved byte");
                assert!(
                    matches!(error, FormatError::ReservedInUse { offset, .. } if offset == used),
                    "{name} byte {used}: {error:?}"
                );
                assert!(error.needs_newer_version(), "{name} byte {used}");
            }
        }
    }
}

#[test]
fn zeros_are_no_record() {
    for Record { name, rewrite, .. } in records() {
        let error = rewrite(&[0; 4096]).expect_err("zeros");
        assert!(
            matches!(
                error,
                FormatError::Magic {
                    found: [0, 0, 0, 0, 0, 0, 0, 0],
                    ..
                }
            ),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn errors_say_which_record_and_which_numbers() {
    let error = VolumeSlot::parse(&[]).expect_err("nothing");
    assert_eq!(
        error,
        FormatError::Truncated {
            record: RecordKind::VolumeSlot,
            needed_bytes: 4096,
            found_bytes: 0
        }
    );
    assert_eq!(
        error.to_string(),
        "a volume slot has 4096 bytes, only 0 are there"
    );
}

proptest! {
    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for Record { rewrite, .. } in records() {
            prop_assert!(rewrite(&bytes).is_err());
        }
    }

    /// Behind a right checksum anything may stand: no claim panics, and what is accepted is what would be written.
    #[test]
    fn forged_claims_are_refused_or_are_exactly_what_would_be_written(
        edits in prop::collection::vec((8..188_usize, prop::collection::vec(any::<u8>(), 1..9)), 1..4)
    ) {
        for Record { example, rewrite, .. } in records() {
            let mut bytes = example;
            for (offset, field) in &edits {
                let body_len = bytes.len() - 4;
                let start = (*offset).min(body_len);
                let end = (start + field.len()).min(body_len);
                bytes = forge(&bytes, start, &field[..end - start]);
            }
            if let Ok(written) = rewrite(&bytes) {
                prop_assert_eq!(written, bytes);
            }
        }
    }
}
