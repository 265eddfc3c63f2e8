//! docs/format.md against the code, both ways.

use std::collections::BTreeMap;

use super::*;
use crate::{
    format::{self, FormatVersion, FrameLayout, record},
    units::{ByteRange, MAX_BLOCK_SHARDS},
};

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// Returns the lines behind the one that begins with `marker`.
fn lines_after(marker: &str) -> impl Iterator<Item = &'static str> {
    let mut lines = DOCUMENT.lines();
    assert!(
        lines.any(|line| line.starts_with(marker)),
        "docs/format.md has a line {marker}"
    );
    lines
}

/// Returns the rows of the table whose head begins with `marker`, or that follows a line that does.
pub(super) fn document_table(marker: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = lines_after(marker)
        .skip_while(|line| line.is_empty() || line.starts_with("| Offset") || line.starts_with("|--"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect();
    assert!(!rows.is_empty(), "the table {marker} has rows");
    rows
}

/// Returns the bytes of the hex block behind `marker`.
fn document_hex(marker: &str) -> Vec<u8> {
    let digits: String = lines_after(marker)
        .skip_while(|line| *line != "```hex")
        .skip(1)
        .take_while(|line| *line != "```")
        .flat_map(str::split_whitespace)
        .collect();
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("hex digit");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).expect("two digits"))
        .collect()
}

fn number<T: std::str::FromStr>(cell: &str) -> T {
    cell.parse()
        .ok()
        .unwrap_or_else(|| panic!("{cell:?} is a number"))
}

#[test]
fn constants_of_the_document_are_those_of_the_code() {
    let log2_bounds = |log2: &u8| LeafLen::from_log2(*log2).is_some();
    let code: BTreeMap<&str, u64> = [
        ("FORMAT_VERSION", FormatVersion::CURRENT.get().into()),
        (
            "FRAME_HEADER_LEN_BYTES",
            crate::units::to_u64(format::FRAME_HEADER_LEN_BYTES),
        ),
        (
            "FRAME_FOOTER_LEN_BYTES",
            crate::units::to_u64(format::FRAME_FOOTER_LEN_BYTES),
        ),
        (
            "EXTENT_HEADER_LEN_BYTES",
            crate::units::to_u64(format::EXTENT_HEADER_LEN_BYTES),
        ),
        (
            "VOLUME_SLOT_LEN_BYTES",
            crate::units::to_u64(format::VOLUME_SLOT_LEN_BYTES),
        ),
        (
            "VOLUME_FILE_LEN_BYTES",
            crate::units::to_u64(format::VOLUME_FILE_LEN_BYTES),
        ),
        (
            "JOURNAL_SEGMENT_LEN_BYTES",
            crate::units::to_u64(format::JOURNAL_SEGMENT_LEN_BYTES),
        ),
        (
            "JOURNAL_RECORD_LEN_BYTES",
            crate::units::to_u64(format::JOURNAL_RECORD_LEN_BYTES),
        ),
        ("JOURNAL_ALIGNMENT_BYTES", format::JOURNAL_ALIGNMENT_BYTES),
        (
            "MAX_JOURNAL_BODY_LEN_BYTES",
            format::MAX_JOURNAL_BODY_LEN_BYTES.into(),
        ),
        (
            "MAX_JOURNAL_COPIES",
            crate::units::to_u64(format::MAX_JOURNAL_COPIES),
        ),
        ("HASH_LEN_BYTES", format::HASH_LEN_BYTES),
        ("LARGE_PAYLOAD_LEN_BYTES", format::LARGE_PAYLOAD_LEN_BYTES),
        ("LARGE_FRAME_ALIGNMENT_BYTES", format::LARGE_FRAME_ALIGNMENT_BYTES),
        ("SMALL_FRAME_ALIGNMENT_BYTES", format::SMALL_FRAME_ALIGNMENT_BYTES),
        ("MAX_FRAME_LEAVES", format::MAX_FRAME_LEAVES.into()),
        ("MAX_BLOCK_SHARDS", MAX_BLOCK_SHARDS.into()),
        (
            "MIN_LEAF_LOG2",
            (0..64).find(log2_bounds).expect("shortest").into(),
        ),
        (
            "MAX_LEAF_LOG2",
            (0..64).rfind(log2_bounds).expect("longest").into(),
        ),
        ("DEFAULT_LEAF_LOG2", LeafLen::DEFAULT.log2().into()),
    ]
    .into();
    let rows = document_table("| Constant |");
    let document: BTreeMap<&str, u64> = rows
        .iter()
        .map(|row| (row[0].as_str(), number(&row[1])))
        .collect();
    assert_eq!(document, code, "docs/format.md, section 1");
}

#[test]
fn magics_of_the_document_are_those_of_the_code() {
    let kinds = [
        crate::error::RecordKind::FrameHeader,
        crate::error::RecordKind::FrameFooter,
        crate::error::RecordKind::ExtentHeader,
        crate::error::RecordKind::VolumeSlot,
        crate::error::RecordKind::JournalSegment,
        crate::error::RecordKind::JournalRecord,
    ];
    let rows = document_table("| Magic |");
    assert_eq!(rows.len(), kinds.len(), "a row for each record");
    for (row, kind) in rows.iter().zip(kinds) {
        assert_eq!(row[0].as_bytes(), record::magic(kind), "magic of a {kind}");
        assert_eq!(row[1], kind.to_string(), "name of a record");
        assert_eq!(
            number::<usize>(&row[2]),
            record::len_bytes(kind),
            "length of a {kind}"
        );
    }
}

/// The bytes that each field of the examples has, by the name it has in the document.
fn example_fields(record: &str) -> Vec<(&'static str, Vec<u8>)> {
    let identity = example_identity();
    let mut fields = vec![("version", vec![1, 0])];
    if record != "FrameFooter" {
        fields.push(("archive", counting::<16>(0xa0).to_vec()));
    }
    if record != "FrameFooter" && record != "JournalRecord" {
        fields.push(("volume", counting::<16>(0xb0).to_vec()));
    }
    let u16_of = |value: u16| value.to_le_bytes().to_vec();
    let u64_of = |value: u64| value.to_le_bytes().to_vec();
    match record {
        "FrameHeader" => fields.extend([
            ("magic", b"bfdb-FRM".to_vec()),
            ("kind", vec![1]),
            ("leaf_log2", vec![10]),
            ("shard", u16_of(2)),
            ("file_leaves", vec![2]),
            ("extent", u64_of(7)),
            ("offset", u64_of(identity.offset)),
            ("commit", u64_of(9)),
            ("block", u64_of(11)),
            ("data_shards", u16_of(2)),
            ("parity_shards", u16_of(1)),
            ("leaf_count", vec![3, 0, 0, 0]),
            ("base_offset", u64_of(4096)),
            ("data_len", u64_of(3048)),
            ("payload_len", u64_of(2112)),
            ("stored_len", u64_of(2112)),
            ("transform", vec![0; 4]),
            ("digest", counting::<32>(0xc0).to_vec()),
        ]),
        "FrameFooter" => fields.extend([
            ("magic", b"bfdb-END".to_vec()),
            ("shard", u16_of(2)),
            ("header_crc", example_header().encode()[188..].to_vec()),
            ("block", u64_of(11)),
            // Header and table A 288, payload from 320, table B 96, footer 64.
            ("content_len", u64_of(320 + 2112 + 96 + 64)),
        ]),
        "ExtentHeader" => fields.extend([
            ("magic", b"bfdb-EXT".to_vec()),
            ("lane", u16_of(3)),
            ("extent", u64_of(7)),
            ("commit", u64_of(5)),
        ]),
        "VolumeSlot" => fields.extend([
            ("magic", b"bfdb-VOL".to_vec()),
            ("sequence", u64_of(13)),
            ("epoch", u64_of(6)),
            ("chain_hash", counting::<32>(0xe0).to_vec()),
            ("features", u64_of(0)),
        ]),
        _ => fields.extend(journal_fields(record)),
    }
    fields
}

fn journal_fields(record: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut rows = vec![1, 0, 2, 0, 9, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0];
    rows.resize(128, 0);
    match record {
        "JournalSegment" => vec![
            ("magic", b"bfdb-JSG".to_vec()),
            ("volume_number", vec![1, 0]),
            ("copy", vec![2]),
            ("segment", vec![9, 0, 0, 0]),
        ],
        "JournalRecord" => vec![
            ("magic", b"bfdb-JRN".to_vec()),
            ("copy_count", vec![2]),
            ("body_len", vec![44, 1, 0, 0]),
            ("epoch", 6_u64.to_le_bytes().to_vec()),
            ("previous", counting::<32>(0xe0).to_vec()),
            ("hash", counting::<32>(0xc0).to_vec()),
            ("copies", rows),
        ],
        _ => panic!("{record} is no record"),
    }
}

#[test]
fn fields_stand_where_the_document_draws_them() {
    for Record { name, example, .. } in records() {
        let mut expected: BTreeMap<&str, Vec<u8>> = example_fields(name).into_iter().collect();
        let crc = crc32fast::hash(&example[..example.len() - 4]);
        expected.insert("crc", crc.to_le_bytes().to_vec());
        let mut next = 0;
        for row in document_table(&format!("Layout of `{name}`:")) {
            let (offset, len): (usize, usize) = (number(&row[0]), number(&row[1]));
            let field = row[2].as_str();
            assert_eq!(offset, next, "{name}: {field} follows the field before it");
            next = offset + len;
            let bytes = match field {
                "reserved" => vec![0; len],
                _ => expected
                    .remove(field)
                    .unwrap_or_else(|| panic!("{name} has no second field {field}")),
            };
            assert_eq!(example[offset..next], bytes, "{name}: {field}");
        }
        assert_eq!(next, example.len(), "the table of {name} draws the whole record");
        assert!(
            expected.is_empty(),
            "{name}: not in the document: {:?}",
            expected.keys()
        );
    }
}

#[test]
fn example_bytes_of_the_document_are_what_is_written_and_read() {
    for Record {
        name,
        example,
        rewrite,
    } in records()
    {
        let mut document = document_hex(&format!("`{name}`:"));
        // The document leaves out the zeros before the checksum.
        let crc = document.split_off(document.len().saturating_sub(4));
        document.resize(example.len() - 4, 0);
        document.extend(crc);
        assert_eq!(example, document, "{name} as written, in hex {}", hex(&example));
        assert_eq!(rewrite(&document), Ok(example), "{name} as read");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).expect("a digit"))
        .collect()
}

#[test]
fn layouts_of_the_document_are_those_of_the_code() {
    for row in document_table("| Payload |") {
        let payload_len_bytes = number(&row[0]);
        let layout = FrameLayout::new(payload_len_bytes, number(&row[1])).expect("a layout");
        let start =
            |range: Option<ByteRange>| range.map_or("-".to_owned(), |range| range.start().to_string());
        let code = [
            start(layout.table_a()),
            start(Some(layout.payload())),
            start(layout.table_b()),
            start(Some(layout.footer())),
            layout.total_len_bytes().to_string(),
            layout.alignment_bytes().to_string(),
        ];
        assert_eq!(row[2..], code, "frame of {payload_len_bytes} bytes");
    }
}

#[test]
fn the_checksum_is_the_one_that_the_document_names() {
    assert_eq!(
        crc32fast::hash(b"123456789"),
        0xCBF4_3926,
        "check value of section 1"
    );
}
