//! Writing the frame of one shard: its payload piece by piece, and what stands before and behind it.

use std::sync::Arc;

use super::run::LaneRun;
use crate::{
    archive::shared::Shared,
    catalog::ShardRecord,
    error::CommitError,
    format::{FrameFooter, FrameHeader, FrameIdentity, FrameKind, FrameLayout},
    geometry::BlockGeometry,
    merkle::{LeafTable, ShardDigest},
    plan::Placement,
    units::{BlockId, BlockIndex, CommitId, FileId, ShardIndex, VolumeId, to_usize},
    volume::ExtentWriter,
};

/// Who a block belongs to.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct BlockIdentity {
    pub(in crate::archive) kind: FrameKind,
    pub(in crate::archive) commit: CommitId,
    pub(in crate::archive) file: FileId,
    pub(in crate::archive) block: BlockId,
    pub(in crate::archive) index: BlockIndex,
}

/// The frame of one shard.
#[derive(Debug)]
pub(in crate::archive) struct FrameTarget {
    pub(in crate::archive) sink: FrameSink,
    pub(in crate::archive) place: Placement,
    pub(in crate::archive) layout: FrameLayout,
}

/// Where the bytes of a frame go.
#[derive(Debug)]
pub(in crate::archive) enum FrameSink {
    /// To its extent.
    Extent(Arc<dyn ExtentWriter>),
    /// Into a run of small frames, which is written to its extent as a whole.
    Run(Arc<LaneRun>),
}

impl FrameSink {
    fn volume(&self) -> VolumeId {
        match self {
            Self::Extent(writer) => writer.volume(),
            Self::Run(run) => run.volume(),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), CommitError> {
        match self {
            Self::Extent(writer) => writer.write_at(offset, bytes)?,
            Self::Run(run) => run.write_at(offset, bytes),
        }
        Ok(())
    }
}

impl FrameTarget {
    /// Writes a piece of the payload.
    pub(in crate::archive) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), CommitError> {
        let payload = self.place.offset + self.layout.payload().start();
        self.sink.write_at(payload + offset, bytes)
    }

    /// Writes what stands before and behind the payload of a frame.
    pub(in crate::archive) fn close(
        &self,
        shared: &Shared,
        of: (&BlockIdentity, &BlockGeometry, ShardIndex),
        table: &LeafTable,
    ) -> Result<ShardRecord, CommitError> {
        let (head, tail) = self.ends(shared, of, table);
        self.sink.write_at(self.place.offset, &head)?;
        let tail_offset = self.layout.payload().end();
        self.sink.write_at(self.place.offset + tail_offset, &tail)?;
        Ok(self.record(table))
    }

    /// Writes a frame in one go: `frame` has its length, and its payload in its place.
    pub(in crate::archive) fn write_whole(
        &self,
        shared: &Shared,
        of: (&BlockIdentity, &BlockGeometry, ShardIndex),
        (table, frame): (&LeafTable, &mut [u8]),
    ) -> Result<ShardRecord, CommitError> {
        let (head, tail) = self.ends(shared, of, table);
        put(frame, 0, &head);
        put(frame, self.layout.payload().end(), &tail);
        let write = || self.sink.write_at(self.place.offset, frame);
        shared.arms.hold(self.sink.volume(), write)?;
        Ok(self.record(table))
    }

    fn record(&self, table: &LeafTable) -> ShardRecord {
        ShardRecord {
            extent: self.place.extent,
            offset: self.place.offset,
            frame_len_bytes: self.layout.total_len_bytes(),
            digest: table.digest(),
        }
    }

    /// Makes what stands before and behind the payload.
    fn ends(
        &self,
        shared: &Shared,
        of: (&BlockIdentity, &BlockGeometry, ShardIndex),
        table: &LeafTable,
    ) -> (Vec<u8>, Vec<u8>) {
        let header = self.header(shared, of, table.digest());
        let layout = &self.layout;
        let table_bytes = if table.len() > 1 {
            table.to_bytes()
        } else {
            Vec::new()
        };
        let mut head = vec![0; to_usize(layout.payload().start())];
        put(&mut head, 0, &header.encode());
        layout
            .table_a()
            .inspect(|range| put(&mut head, range.start(), &table_bytes));
        let tail_offset = layout.payload().end();
        let mut tail = vec![0; to_usize(layout.total_len_bytes() - tail_offset)];
        layout
            .table_b()
            .inspect(|range| put(&mut tail, range.start() - tail_offset, &table_bytes));
        put(
            &mut tail,
            layout.footer().start() - tail_offset,
            &FrameFooter::of(&header).encode(),
        );
        (head, tail)
    }

    fn header(
        &self,
        shared: &Shared,
        (about, geometry, shard): (&BlockIdentity, &BlockGeometry, ShardIndex),
        digest: ShardDigest,
    ) -> FrameHeader {
        let identity = FrameIdentity {
            archive: shared.archive_id(),
            volume: self.sink.volume(),
            extent: self.place.extent,
            offset: self.place.offset,
            block: about.block,
            shard,
        };
        FrameHeader::of_shard(about.kind, identity, about.commit, *geometry, digest)
    }
}

fn put(into: &mut [u8], offset: u64, bytes: &[u8]) {
    into[to_usize(offset)..][..bytes.len()].copy_from_slice(bytes);
}
