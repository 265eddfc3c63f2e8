//! Contents that say which commit they are of: by their first bytes, by their length, by their time, and by all their bytes.

use bfdb::units::Timestamp;

use crate::crashes::oracle;

/// Lengths of contents, of every tier of the small policy, before they are made to differ.
const LENGTHS: [u64; 8] = [8, 700, 1500, 3100, 5000, 10_900, 13_000, 40_000];

/// Bytes that the number of a content takes at its start.
const NUMBER_LEN: usize = 8;

/// Returns the length of a content. Few have the same, so that a length tells much of which it is.
pub(super) const fn len_bytes(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let tier = match mixed % 8 {
        0 => LENGTHS[0],
        1 => LENGTHS[1],
        2 => LENGTHS[2],
        3 => LENGTHS[3],
        4 => LENGTHS[4],
        5 => LENGTHS[5],
        6 => LENGTHS[6],
        _ => LENGTHS[7],
    };
    tier + (mixed / 8) % 797
}

/// Returns the bytes of a content.
pub(super) fn bytes(number: u64) -> Vec<u8> {
    let len = usize::try_from(len_bytes(number)).expect("a short file");
    let mut bytes = oracle::content(number, "together", 1, len).to_vec();
    bytes[..NUMBER_LEN].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Returns which content begins with these bytes.
pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = bytes.get(..NUMBER_LEN)?;
    Some(u64::from_le_bytes(number.try_into().ok()?))
}

/// Returns when a content was changed last, so that a listing tells which it is. The part below a second is that of one commit.
pub(super) fn modified_at(number: u64, nanoseconds: u32) -> Timestamp {
    let seconds = i64::try_from(number).expect("contents are counted from 1 on");
    Timestamp::new(seconds, nanoseconds).expect("a part of a second")
}

/// Returns which content was changed then.
pub(super) fn number_at(time: Timestamp) -> Option<u64> {
    u64::try_from(time.seconds()).ok()
}
