//! Volume slots, alone and in pairs.
#![no_main]

mod envelope;

use bfdb::format::{VOLUME_SLOT_LEN_BYTES, VolumeSlot};
use libfuzzer_sys::fuzz_target;

fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    let slot = VolumeSlot::parse(bytes).ok()?;
    let other = VolumeSlot {
        sequence: slot.sequence ^ 1,
        ..slot
    };
    let (first, second) = if slot.sequence % 2 == 0 {
        (slot, other)
    } else {
        (other, slot)
    };
    let newest = VolumeSlot::newest(&first.encode(), &second.encode());
    assert_eq!(newest, Ok(second), "the odd number of the pair is the higher");
    Some(slot.encode().to_vec())
}

fuzz_target!(|input: &[u8]| {
    let (first, second) = input.split_at(input.len() / 2);
    drop(VolumeSlot::newest(first, second));
    envelope::check(input, *b"bfdb-VOL", VOLUME_SLOT_LEN_BYTES, rewrite);
});
