//! Seeded damage, often just inside or just beyond what the codes survive.

use std::{fs, ops::Range, path::PathBuf};

use bfdb::units::ByteRange;
use bfdb_fault_injection::{Seeded, damage};

use super::oracle::{Bench, Frame};

/// Hurts an archive somewhere, often just inside or just beyond what its codes survive.
pub fn hurt(bench: &Bench, seeded: &mut Seeded) {
    let paths: Vec<&PathBuf> = bench.extents.keys().collect();
    let frames: Vec<&Frame> = bench.all_frames().collect();
    let frame = frames[seeded.index(frames.len())];
    let block = bench.frames_of(&frame.file, frame.block);
    let mut order: Vec<usize> = (0..block.len()).collect();
    seeded.shuffle(&mut order);
    let count = usize::from(frame.geometry.shape().parity()) + seeded.index(2);
    let chosen: Vec<&Frame> = order.iter().take(count).map(|&index| &block[index]).collect();
    let path = paths[seeded.index(paths.len())];
    let len = fs::metadata(path).map_or(0, |metadata| metadata.len());
    match seeded.below(9) {
        0 if len > 0 => (0..5).for_each(|_| drop(damage::flip_random_byte(path, seeded))),
        1 if len > 0 => {
            let start = seeded.below(len);
            let end = (start + 1 + seeded.below(6000)).min(len);
            damage::zero_range(path, ByteRange::new(start, end).unwrap()).unwrap();
        }
        2 if len > 0 && seeded.below(3) == 0 => damage::truncate(path, seeded.below(len)).unwrap(),
        3 if len > 0 && seeded.below(3) == 0 => damage::delete(path).unwrap(),
        4 | 5 => {
            let column = seeded.below(frame.leaf_count().into()) as u32;
            for frame in chosen {
                flip_in(frame, |frame| frame.leaf(column.min(frame.leaf_count() - 1)));
            }
        }
        6 => chosen.iter().for_each(|frame| {
            flip_in(frame, |frame| frame.tables_or_header()[0].clone());
            flip_in(frame, |frame| frame.tables_or_header()[1].clone());
        }),
        7 => {
            flip_in(frame, |_| Frame::header());
            flip_in(frame, Frame::footer);
        }
        _ => {
            // Anything in the frame, padding too.
            let at = seeded.below(frame.layout.total_len_bytes());
            flip_in(frame, |_| at..at + 1);
        }
    }
}

impl Frame {
    pub fn tables_or_header(&self) -> [Range<u64>; 2] {
        if self.leaf_count() > 1 {
            self.tables()
        } else {
            [Self::header(), self.footer()]
        }
    }
}

/// Flips the first byte of a range, where it still exists.
pub fn flip_in(frame: &Frame, range: impl Fn(&Frame) -> Range<u64>) {
    let at = frame.offset + range(frame).start;
    let len = fs::metadata(&frame.extent).map_or(0, |metadata| metadata.len());
    if at < len {
        damage::flip_byte(&frame.extent, at).unwrap();
    }
}
