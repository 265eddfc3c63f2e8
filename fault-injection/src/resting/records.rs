//! Records of the journal, found by docs/format.md, section 3.3, alone: what of them there is on which copy.

use std::collections::BTreeSet;

use super::{
    edit,
    layout::{COPIES, JOURNAL_ALIGNMENT, segments},
};
use crate::SimulatedStorage;

const MAGIC: &[u8] = b"bfdb-JRN";
const HEADER_LEN: usize = 256;

/// A record: its epoch, then all its bytes.
type Record = (u64, Vec<u8>);

/// The records of the journal of an archive that is well, ascending.
pub(super) fn records(disk: &SimulatedStorage) -> BTreeSet<Record> {
    let mut records = BTreeSet::new();
    for copy in 0..COPIES {
        for bytes in contents(disk, copy) {
            let mut at = JOURNAL_ALIGNMENT;
            while let Some(record) = bytes.get(at..).and_then(record_of) {
                at += record.1.len().next_multiple_of(JOURNAL_ALIGNMENT);
                records.insert(record);
            }
        }
    }
    records
}

/// Returns the copies of the journal on which a record of `all` is not, that a healed journal has to have there: one that is
/// on a copy of `damaged`, and behind which none is lost on all of them.
pub(super) fn find_lacking(
    all: &BTreeSet<Record>,
    damaged: &SimulatedStorage,
    healed: &SimulatedStorage,
) -> Option<String> {
    let copies = |disk| (0..COPIES).map(|copy| contents(disk, copy)).collect::<Vec<_>>();
    let (before, after) = (copies(damaged), copies(healed));
    let on_any = |record: &&Record| before.iter().any(|copy| has(copy, &record.1));
    for (epoch, record) in all.iter().rev().take_while(on_any) {
        let lacking = (0..COPIES).zip(&after).find(|(_, copy)| !has(copy, record));
        if let Some((copy, _)) = lacking {
            return Some(format!(
                "copy {copy} of the journal still lacks the record of epoch {epoch}"
            ));
        }
    }
    None
}

fn contents(disk: &SimulatedStorage, copy: u8) -> Vec<Vec<u8>> {
    let segments = segments(disk, copy);
    segments
        .iter()
        .filter_map(|path| edit::contents(disk, path))
        .collect()
}

fn has(segments: &[Vec<u8>], record: &[u8]) -> bool {
    let starts = |bytes: &Vec<u8>| {
        let mut at = JOURNAL_ALIGNMENT;
        while at < bytes.len() {
            if bytes[at..].starts_with(record) {
                return true;
            }
            at += JOURNAL_ALIGNMENT;
        }
        false
    };
    segments.iter().any(starts)
}

fn record_of(bytes: &[u8]) -> Option<Record> {
    let header = bytes.get(..HEADER_LEN)?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let body_len = u32::from_le_bytes(header[12..16].try_into().ok()?);
    let epoch = u64::from_le_bytes(header[32..40].try_into().ok()?);
    let len = HEADER_LEN + usize::try_from(body_len).ok()?;
    Some((epoch, bytes.get(..len)?.to_vec()))
}
