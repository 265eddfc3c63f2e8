//! Extent headers.
#![no_main]

mod envelope;

use bfdb::format::{ClaimedExtent, EXTENT_HEADER_LEN_BYTES};
use libfuzzer_sys::fuzz_target;

fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    let claimed = ClaimedExtent::parse(bytes).ok()?;
    let identity = *claimed.identity();
    let header = claimed.check(&identity).expect("it is what it claims");
    Some(header.encode().to_vec())
}

fuzz_target!(|input: &[u8]| envelope::check(input, *b"bfdb-EXT", EXTENT_HEADER_LEN_BYTES, rewrite));
