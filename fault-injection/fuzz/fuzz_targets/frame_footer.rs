//! Frame footers.
#![no_main]

mod envelope;

use bfdb::format::{FRAME_FOOTER_LEN_BYTES, FrameFooter};
use libfuzzer_sys::fuzz_target;

fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    FrameFooter::parse(bytes)
        .ok()
        .map(|footer| footer.encode().to_vec())
}

fuzz_target!(|input: &[u8]| envelope::check(input, *b"bfdb-END", FRAME_FOOTER_LEN_BYTES, rewrite));
