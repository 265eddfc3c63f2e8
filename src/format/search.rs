//! Looking for frames in bytes of which nothing is known: behind damage, or between frames.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{
    EXTENT_HEADER_LEN_BYTES, FRAME_FOOTER_LEN_BYTES, FrameFooter, SMALL_FRAME_ALIGNMENT_BYTES, record::magic,
};
use crate::error::RecordKind;

/// What all magics begin with.
const FIRST_BYTE: u8 = b'b';

/// Something that a search for frames has come upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameMark {
    /// The magic of a header, where one may stand.
    Header,
    /// The magic of a footer.
    Footer,
}

/// Returns the first mark that begins at or behind `from`, and where. The first of the bytes stands at a multiple of
/// [`SMALL_FRAME_ALIGNMENT_BYTES`] of its extent.
///
/// A mark says nothing by itself: what stands there has to parse, and to be compared with its place. One whose magic is cut off by
/// the end of the bytes is none.
pub fn next_frame_mark(bytes: &[u8], from: usize) -> Option<(usize, FrameMark)> {
    let (header, footer) = (magic(RecordKind::FrameHeader), magic(RecordKind::FrameFooter));
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        let step = rest.iter().position(|&byte| byte == FIRST_BYTE)?;
        at = at.checked_add(step)?;
        let rest = bytes.get(at..)?;
        let is_aligned = u64::try_from(at).is_ok_and(|at| at.is_multiple_of(SMALL_FRAME_ALIGNMENT_BYTES));
        if is_aligned && rest.starts_with(&header) {
            return Some((at, FrameMark::Header));
        }
        if rest.starts_with(&footer) {
            return Some((at, FrameMark::Footer));
        }
        at = at.checked_add(1)?;
    }
}

impl FrameFooter {
    /// Returns where the frame begins whose footer stands at an offset of an extent; `None` where no frame can.
    pub fn frame_start(&self, offset: u64) -> Option<u64> {
        let end = offset.checked_add(u64::try_from(FRAME_FOOTER_LEN_BYTES).ok()?)?;
        let start = end.checked_sub(self.content_len_bytes())?;
        let first = u64::try_from(EXTENT_HEADER_LEN_BYTES).ok()?;
        let may_begin = start >= first && start.is_multiple_of(SMALL_FRAME_ALIGNMENT_BYTES);
        may_begin.then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(len: usize, marks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![b'b'; len];
        for (at, mark) in marks {
            for (byte, mark) in bytes.iter_mut().skip(*at).zip(*mark) {
                *byte = *mark;
            }
        }
        bytes
    }

    #[test]
    fn headers_are_found_where_frames_may_begin_and_footers_anywhere() {
        let bytes = with(
            400,
            &[
                (65, b"bfdb-FRM"),
                (128, b"bfdb-FRM"),
                (201, b"bfdb-END"),
                (320, b"bfdb-EXT"),
            ],
        );
        assert_eq!(next_frame_mark(&bytes, 0), Some((128, FrameMark::Header)));
        assert_eq!(next_frame_mark(&bytes, 128), Some((128, FrameMark::Header)));
        assert_eq!(next_frame_mark(&bytes, 129), Some((201, FrameMark::Footer)));
        assert_eq!(next_frame_mark(&bytes, 202), None);
        assert_eq!(next_frame_mark(&bytes, 1000), None, "behind the end");
    }

    #[test]
    fn a_magic_that_is_cut_off_is_no_mark() {
        let bytes = with(71, &[(64, b"bfdb-FR")]);
        assert_eq!(next_frame_mark(&bytes, 0), None);
    }
}
