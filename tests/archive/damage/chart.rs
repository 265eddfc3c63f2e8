//! Where frames lie, and what is where in them.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use bfdb::{
    format::{ClaimedFrame, FRAME_HEADER_LEN_BYTES, FrameKind, FrameLayout},
    geometry::{BlockGeometry, FileGeometry},
    units::{BlockIndex, ColumnIndex, ShardIndex},
};
use bfdb_fault_injection::damage;

use crate::support::{Store, name};

/// Where the first frame of an extent begins, and what every frame begins at a multiple of.
const EXTENT_HEADER_SECTOR: usize = 4096;
const FRAME_ALIGNMENT: usize = 64;

/// The frame of one shard.
#[derive(Clone)]
pub struct Frame {
    pub file: String,
    pub block: u64,
    pub shard: u16,
    pub extent: PathBuf,
    pub offset: u64,
    pub layout: FrameLayout,
    pub geometry: BlockGeometry,
}

impl Frame {
    pub fn leaf_count(&self) -> u32 {
        self.geometry.leaf_count(ShardIndex::new(self.shard))
    }

    /// The bytes of a leaf, counted in the frame.
    pub fn leaf(&self, column: u32) -> Range<u64> {
        let range = self
            .geometry
            .leaf_range(ShardIndex::new(self.shard), ColumnIndex::new(column));
        let start = self.layout.payload().start();
        let range = range.expect("the shard has that leaf");
        start + range.start()..start + range.end()
    }

    /// The bytes of the file that a leaf holds.
    pub fn in_file(&self, column: u32) -> Option<Range<u64>> {
        let range = self
            .geometry
            .leaf_range_in_file(ShardIndex::new(self.shard), ColumnIndex::new(column))?;
        Some(range.start()..range.end())
    }

    pub fn tables(&self) -> [Range<u64>; 2] {
        [self.layout.table_a(), self.layout.table_b()].map(|range| {
            let range = range.expect("the frame has tables");
            range.start()..range.end()
        })
    }

    pub fn header() -> Range<u64> {
        0..192
    }

    pub fn footer(&self) -> Range<u64> {
        self.layout.footer().start()..self.layout.footer().end()
    }

    /// Flips the bytes of a range of the frame.
    pub fn flip(&self, range: Range<u64>) {
        range.for_each(|at| damage::flip_byte(&self.extent, self.offset + at).unwrap());
    }

    pub fn flip_tables(&self) {
        self.tables().into_iter().for_each(|table| self.flip(table));
    }
}

pub fn extent_path(root: &Path, extent: u64) -> PathBuf {
    root.join(format!("volumes/v0/extents/{extent:08}.bfx"))
}

pub fn frames_of(store: &Store, contents: &BTreeMap<String, Vec<u8>>) -> Vec<Frame> {
    let snapshot = store.archive.snapshot().unwrap();
    let mut frames = Vec::new();
    for (file, content) in contents {
        let geometry = FileGeometry::new(content.len() as u64, store.archive.policy());
        let places = snapshot.places(&name(file)).unwrap();
        assert_eq!(places.len() as u64, geometry.block_count());
        for (index, places) in (0..).zip(places) {
            let block = geometry.block(BlockIndex::new(index));
            for (shard, place) in (0..).zip(places.shards) {
                let layout = FrameLayout::of_shard(&block, ShardIndex::new(shard));
                assert_eq!(
                    place.is_some(),
                    layout.is_some(),
                    "shards that exist have a place"
                );
                let (Some((_, extent, offset)), Some(layout)) = (place, layout) else {
                    continue;
                };
                frames.push(Frame {
                    file: file.clone(),
                    block: index,
                    shard,
                    extent: extent_path(&store.root(), extent.get()),
                    offset,
                    layout,
                    geometry: block,
                });
            }
        }
    }
    frames
}

/// Finds the descriptors where they lie: no file lists them, but each frame says what it is.
pub fn descriptors_of(extents: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<Frame> {
    let mut frames = frames_in(extents);
    frames.retain(|frame| frame.file.starts_with("descriptor"));
    frames.sort_by_key(|frame| (frame.file.clone(), frame.shard));
    frames
}

/// Finds every frame where it lies, extent by extent, whoever lists it. One of a file does not say of which.
pub fn frames_in(extents: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (path, bytes) in extents {
        let mut offset = EXTENT_HEADER_SECTOR;
        while let Some(head) = bytes.get(offset..offset + FRAME_HEADER_LEN_BYTES) {
            let Ok(claimed) = ClaimedFrame::parse(head) else {
                // Padding up to the sector that a batch begins on.
                offset += FRAME_ALIGNMENT;
                continue;
            };
            let place = claimed.identity().place();
            let frame = claimed.check_place(&place).unwrap();
            let header = frame.header();
            let holds = match header.kind() {
                FrameKind::Descriptor => "descriptor",
                FrameKind::File => "files",
            };
            frames.push(Frame {
                file: format!("{holds} of commit {}", header.commit()),
                block: 0,
                shard: header.identity().shard.get(),
                extent: path.clone(),
                offset: place.offset,
                layout: *frame.layout(),
                geometry: *frame.block(),
            });
            offset += frame.layout().total_len_bytes() as usize;
        }
    }
    frames
}
