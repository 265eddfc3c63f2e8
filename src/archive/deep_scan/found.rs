//! The frames that a scan has found, some 80 bytes for each, and where the shards of a block lie by them.

use core::cmp::Reverse;

use crate::{
    catalog::{BlockRecord, ShardRecord},
    format::{FrameFooter, FrameHeader, FrameKind},
    geometry::BlockGeometry,
    merkle::ShardDigest,
    units::{BlockId, CommitId, ExtentId, ShardIndex},
};

/// Ids from here on nobody has got: who finds one has found what nobody wrote.
const MOST_IDS: u64 = 1 << 62;

/// The highest ids that were seen in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HighestIds {
    pub(super) file: u64,
    pub(super) block: u64,
    pub(super) extent: u64,
    pub(super) commit: u64,
}

impl HighestIds {
    pub(super) fn see(highest: &mut u64, id: u64) {
        if id < MOST_IDS {
            *highest = id.max(*highest);
        }
    }

    /// Says whether somebody may have got an id.
    pub(super) const fn is_possible(id: u64) -> bool {
        id < MOST_IDS
    }
}

/// A frame that says that it stands where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundFrame {
    pub(super) block: BlockId,
    pub(super) shard: ShardIndex,
    pub(super) extent: ExtentId,
    pub(super) offset: u64,
    pub(super) len_bytes: u64,
    pub(super) digest: ShardDigest,
    /// Whether a descriptor names the shard.
    is_named: bool,
}

impl FoundFrame {
    pub(super) fn of(header: &FrameHeader) -> Self {
        let identity = header.identity();
        Self {
            block: identity.block,
            shard: identity.shard,
            extent: identity.extent,
            offset: identity.offset,
            len_bytes: header.layout().total_len_bytes(),
            digest: header.digest(),
            is_named: false,
        }
    }

    pub(super) const fn record(&self) -> ShardRecord {
        ShardRecord {
            extent: self.extent,
            offset: self.offset,
            frame_len_bytes: self.len_bytes,
            digest: self.digest,
        }
    }
}

/// The end of a frame whose header is damaged: it does not say of which archive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundFooter {
    pub(super) block: BlockId,
    pub(super) shard: ShardIndex,
    pub(super) extent: ExtentId,
    /// Where the frame begins.
    pub(super) offset: u64,
    pub(super) content_len_bytes: u64,
}

impl FoundFooter {
    pub(super) const fn of(footer: &FrameFooter, (extent, offset): (ExtentId, u64)) -> Self {
        Self {
            block: footer.block(),
            shard: footer.shard(),
            extent,
            offset,
            content_len_bytes: footer.content_len_bytes(),
        }
    }
}

/// A frame of what a commit has written about its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorFrame {
    pub(super) frame: FoundFrame,
    pub(super) commit: CommitId,
    pub(super) geometry: BlockGeometry,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct FoundFrames {
    files: Vec<FoundFrame>,
    descriptors: Vec<DescriptorFrame>,
    pub(super) footers: Vec<FoundFooter>,
    /// Where frames begin, in order.
    places: Vec<(ExtentId, u64)>,
    /// Frames without the footer that belongs to them: they are damaged, or were never written to their end.
    pub(super) without_end: u64,
    pub(super) highest: HighestIds,
}

/// What became of frames of files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unnamed {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl FoundFrames {
    pub(super) fn add(&mut self, frame: FoundFrame, header: &FrameHeader) {
        HighestIds::see(&mut self.highest.block, frame.block.get());
        HighestIds::see(&mut self.highest.commit, header.commit().get());
        self.places.push((frame.extent, frame.offset));
        match header.kind() {
            FrameKind::File => self.files.push(frame),
            FrameKind::Descriptor => self.descriptors.push(DescriptorFrame {
                frame,
                commit: header.commit(),
                geometry: *header.block(),
            }),
        }
    }

    /// Returns how many frames were found.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Puts what was found in order, for those that look something up.
    pub(super) fn sort(&mut self) {
        let key = |frame: &FoundFrame| (frame.block, frame.shard, frame.extent, frame.offset);
        self.files.sort_unstable_by_key(key);
        // The newest commit first.
        self.descriptors.sort_unstable_by_key(|found| {
            (
                Reverse(found.commit),
                Reverse(found.frame.block),
                key(&found.frame),
            )
        });
        self.footers
            .sort_unstable_by_key(|footer| (footer.block, footer.shard, footer.extent, footer.offset));
        self.places.sort_unstable();
    }

    /// Returns the frames of each block of a descriptor kind, those of the newest commit first.
    pub(super) fn descriptor_blocks(&self) -> impl Iterator<Item = &[DescriptorFrame]> {
        self.descriptors.chunk_by(|a, b| a.frame.block == b.frame.block)
    }

    /// Says whether a frame begins at a place.
    pub(super) fn begins_at(&self, place: (ExtentId, u64)) -> bool {
        self.places.binary_search(&place).is_ok()
    }

    /// Returns the footers that a shard of that length may end with.
    pub(super) fn footers_of(
        &self,
        (block, shard): (BlockId, ShardIndex),
        content_len_bytes: u64,
    ) -> impl Iterator<Item = &FoundFooter> {
        let first = self
            .footers
            .partition_point(|footer| (footer.block, footer.shard) < (block, shard));
        self.footers[first..]
            .iter()
            .take_while(move |footer| (footer.block, footer.shard) == (block, shard))
            .filter(move |footer| footer.content_len_bytes == content_len_bytes)
    }

    /// Returns where a shard of a file lies by the frames that were found, and notes that a descriptor names it.
    ///
    /// One that lies elsewhere than its descriptor says was written anew later. The digest says which frame is meant; only parity of a
    /// coded block may have got another one since, when it was encoded again.
    pub(super) fn place_shard(
        &mut self,
        block: &BlockRecord,
        shard: ShardIndex,
        recorded: &ShardRecord,
    ) -> Option<ShardRecord> {
        let first = (self.files).partition_point(|frame| (frame.block, frame.shard) < (block.id, shard));
        let frames = self.files[first..]
            .iter_mut()
            .take_while(|frame| (frame.block, frame.shard) == (block.id, shard));
        let may_differ = !block.geometry.shape().is_replication() && !block.geometry.is_data(shard);
        let mut best: Option<FoundFrame> = None;
        for frame in frames {
            frame.is_named = true;
            let is_recorded = frame.digest == recorded.digest;
            if frame.len_bytes != recorded.frame_len_bytes || !(is_recorded || may_differ) {
                continue;
            }
            let key = |frame: &FoundFrame| {
                let is_elsewhere = frame.record().address() != recorded.address();
                let is_encoded_again = frame.digest != recorded.digest;
                (is_encoded_again, is_elsewhere, frame.extent, frame.offset)
            };
            if best.is_none_or(|best| key(&best) < key(frame)) {
                best = Some(*frame);
            }
        }
        best.map(|frame| frame.record())
    }

    /// Says how many frames of files no descriptor names.
    pub(super) fn unnamed(&self) -> Unnamed {
        let mut unnamed = Unnamed::default();
        for frame in self.files.iter().filter(|frame| !frame.is_named) {
            unnamed.frames += 1;
            unnamed.bytes += frame.len_bytes;
        }
        unnamed
    }

    /// Returns how many frames of files a descriptor names.
    pub(super) fn named(&self) -> usize {
        self.files.iter().filter(|frame| frame.is_named).count()
    }
}
