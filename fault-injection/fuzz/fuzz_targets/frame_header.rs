//! Frame headers; what parses must have a layout in order and a footer that belongs to it.
#![no_main]

mod envelope;

use bfdb::format::{ClaimedFrame, FRAME_HEADER_LEN_BYTES, FrameFooter};
use libfuzzer_sys::fuzz_target;

fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    let claimed = ClaimedFrame::parse(bytes).ok()?;
    let identity = *claimed.identity();
    let frame = claimed.check(&identity).expect("it is what it claims");
    let (header, layout) = (frame.header(), frame.layout());
    assert!(
        layout.payload().end() <= layout.footer().start(),
        "the footer follows the payload"
    );
    assert!(
        layout.footer().end() <= layout.total_len_bytes(),
        "the footer lies in the frame"
    );
    assert_eq!(
        layout.payload().len(),
        frame.block().shard_len_bytes(identity.shard),
        "length of the shard"
    );
    FrameFooter::check(&FrameFooter::of(header).encode(), header).expect("its own footer");
    Some(header.encode().to_vec())
}

fuzz_target!(|input: &[u8]| envelope::check(input, *b"bfdb-FRM", FRAME_HEADER_LEN_BYTES, rewrite));
