//! Headers of journal segments and records, and the state of a journal.
#![no_main]

mod envelope;

use bfdb::format::{
    JOURNAL_RECORD_LEN_BYTES, JOURNAL_SEGMENT_LEN_BYTES, JournalHeader, JournalSegment, JournalState,
};
use libfuzzer_sys::fuzz_target;

fn rewrite_segment(bytes: &[u8]) -> Option<Vec<u8>> {
    let segment = JournalSegment::parse(bytes).ok()?;
    Some(segment.encode().to_vec())
}

fn rewrite_record(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = JournalHeader::parse(bytes).ok()?;
    Some(header.encode().to_vec())
}

fuzz_target!(|input: &[u8]| {
    envelope::check(input, *b"bfdb-JSG", JOURNAL_SEGMENT_LEN_BYTES, rewrite_segment);
    envelope::check(input, *b"bfdb-JRN", JOURNAL_RECORD_LEN_BYTES, rewrite_record);
    if let Ok(state) = JournalState::parse(input) {
        assert_eq!(state.encode(), input, "a parser accepts what an encoder writes, nothing else");
    }
});
