//! The pipeline in column order, for files: strips of all shards at once, by several workers.
//!
//! Each worker takes the next strip, reads its slice of every segment, hashes the leaves, encodes the columns and hands
//! the slices to the extents, while the bytes are in cache.

use core::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    block::BlockInFlight,
    deal::BlockDealer,
    outer::{Going, OuterSums},
    reservation::Reservation,
    strip::{Origin, StripBench, data_range},
    writing::Writing,
};
use crate::{
    archive::{
        observer::Event,
        shared::{blocks_together, strip_count, strip_len_bytes_of},
        team::Member,
    },
    codec::ColumnEncoder,
    error::CommitError,
    geometry::BlockGeometry,
    plan::{Strip, strips_of_block},
    units::{BlockIndex, ShardIndex, to_u64},
};

/// Works on all columns that are not done yet; returns what has become of each worker.
pub(super) fn write_by_columns(
    writing: &Writing<'_>,
    reservation: &Reservation,
) -> Vec<Result<(), CommitError>> {
    let pipeline = Pipeline {
        writing,
        cursor: Mutex::new(Cursor::new(reservation)),
    };
    let strips = strip_count(&writing.geometry);
    writing
        .shared
        .work_together(strips, |member| pipeline.work(member))
}

struct Pipeline<'a> {
    writing: &'a Writing<'a>,
    cursor: Mutex<Cursor<'a>>,
}

impl<'a> Pipeline<'a> {
    /// Works strip after strip until none is left or one has failed, here or elsewhere.
    fn work(&self, member: &Member<'_>) -> Result<(), CommitError> {
        let mut stop = StopsOthers {
            cursor: &self.cursor,
            outer: self.writing.outer.as_ref(),
            is_due: true,
        };
        let result = self.work_until_stopped(member);
        stop.is_due = result.is_err();
        result
    }

    fn work_until_stopped(&self, member: &Member<'_>) -> Result<(), CommitError> {
        let mut bench = StripBench::new(&self.writing.geometry);
        loop {
            if self.writing.observer.is_cancelled() {
                return Err(CommitError::Cancelled);
            }
            let Some(mut buffer) = member.buffer(bench.buffer_len())? else {
                return Ok(());
            };
            let Some((blocks, columns)) = self.claim() else {
                return Ok(());
            };
            if self.write(&mut bench, &mut buffer, (&blocks, &columns))? == Going::Stopped {
                return Ok(());
            }
            // Others may need it while the observer takes its time.
            drop(buffer);
            for block in &blocks {
                if self.finish_strip(block, &columns, bench.encoder())? == Going::Stopped {
                    return Ok(());
                }
            }
        }
    }

    fn write(
        &self,
        bench: &mut StripBench,
        buffer: &mut [u8],
        (blocks, columns): (&[Arc<BlockInFlight>], &Range<u32>),
    ) -> Result<Going, CommitError> {
        let origin = Origin {
            file: self.writing.file,
            outer: self.writing.outer.as_ref(),
        };
        match blocks {
            [only] => {
                let strip = Strip {
                    block: only.identity.index,
                    columns: columns.clone(),
                };
                bench.write(buffer, only, &strip, &origin)
            }
            several => {
                let blocks: Vec<&BlockInFlight> = several.iter().map(Arc::as_ref).collect();
                bench.write_columns(buffer, &blocks, columns.clone(), &origin)
            }
        }
    }

    /// Takes the next strip.
    fn claim(&self) -> Option<Piece> {
        self.cursor().next()
    }

    fn finish_strip(
        &self,
        block: &BlockInFlight,
        columns: &Range<u32>,
        encoder: &mut ColumnEncoder,
    ) -> Result<Going, CommitError> {
        let geometry = &block.geometry;
        if columns.start >= geometry.column_count() {
            return Ok(Going::On);
        }
        let strip = Strip {
            block: block.identity.index,
            columns: columns.start..columns.end.min(geometry.column_count()),
        };
        let data = (0..geometry.shape().data()).map(ShardIndex::new);
        let bytes = data
            .filter_map(|shard| data_range(geometry, shard, &strip))
            .map(|range| to_u64(range.1))
            .sum();
        if block.finish_strip() && self.writing.complete(block, encoder)? == Going::Stopped {
            return Ok(Going::Stopped);
        }
        self.writing.observer.event(Event::Progress { bytes });
        Ok(Going::On)
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor<'a>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the other workers when one is done for, also by a panic of the observer: none writes 100 GB for nobody.
struct StopsOthers<'a, 'b> {
    cursor: &'b Mutex<Cursor<'a>>,
    outer: Option<&'b OuterSums>,
    is_due: bool,
}

impl Drop for StopsOthers<'_, '_> {
    fn drop(&mut self) {
        if self.is_due {
            self.cursor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_stopped = true;
            if let Some(outer) = self.outer {
                outer.stop();
            }
        }
    }
}

/// Blocks that are worked on at once, and the columns of a strip of each.
type Piece = (Vec<Arc<BlockInFlight>>, Range<u32>);

/// Blocks that are worked on at once, and the strips of them that are left.
type Dealt = (Vec<Arc<BlockInFlight>>, std::vec::IntoIter<Range<u32>>);

/// Deals strips in order; blocks begin with their first strip. Blocks of a group that follow each other are dealt together, where that makes
/// outer parity faster.
struct Cursor<'a> {
    dealer: BlockDealer<'a>,
    blocks: Option<Dealt>,
    is_stopped: bool,
}

impl<'a> Cursor<'a> {
    fn new(reservation: &'a Reservation) -> Self {
        Self {
            dealer: BlockDealer::new(reservation),
            blocks: None,
            is_stopped: false,
        }
    }

    fn next(&mut self) -> Option<Piece> {
        loop {
            if self.is_stopped {
                return None;
            }
            if let Some((blocks, columns)) = &mut self.blocks
                && let Some(columns) = columns.next()
            {
                return Some((blocks.clone(), columns));
            }
            let (first, columns) = self.next_block()?;
            let mut blocks = vec![first];
            while self.takes_another(&blocks) {
                // No block is longer than one before it in its group.
                let (block, _) = self.next_block().expect("the group has more");
                blocks.push(block);
            }
            self.blocks = Some((blocks, columns.into_iter()));
        }
    }

    fn next_block(&mut self) -> Option<(Arc<BlockInFlight>, Vec<Range<u32>>)> {
        let strip_len = strip_len_bytes_of(self.dealer.geometry());
        let columns = |index: BlockIndex, geometry: &BlockGeometry| -> Vec<Range<u32>> {
            let strips = strips_of_block(index, geometry, strip_len);
            strips.map(|strip| strip.columns).collect()
        };
        let (block, columns) = self.dealer.next_block(columns)?;
        Some((Arc::new(block), columns))
    }

    /// Says whether the next block goes with these: it is of the same group, and there are not as many yet as are added at once best.
    fn takes_another(&self, blocks: &[Arc<BlockInFlight>]) -> bool {
        let geometry = self.dealer.geometry();
        let last = blocks.last().expect("there is one").identity.index;
        let Some(group) = geometry.group_of(last) else {
            return false;
        };
        let next = self.dealer.next_index();
        let together = to_u64(blocks_together(geometry));
        group.data_blocks().contains(&last.get())
            && group.data_blocks().contains(&next.get())
            && !(next.get() - group.data_blocks().start).is_multiple_of(together)
    }
}
