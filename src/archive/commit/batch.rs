//! Many small files with one sync and one transaction.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    NameConflict, Source,
    block::BlockInFlight,
    frame::{BlockIdentity, FrameSink, FrameTarget},
    leg_plan::PlannedFile,
    outer::Going,
    publish::{Action, Change, Published, publish, store, store_again},
    reservation::{Draft, Reservation},
    run::{LaneRun, PlacedFrame, Run, runs_of},
    strip::{Origin, StripBench},
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{Shared, strip_len_bytes},
        team::Member,
    },
    buffer::AlignedBuffer,
    catalog::{BlockRecord, EntryKind, FileRecord},
    error::CommitError,
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry},
    merkle::{RootFolder, RootHash},
    plan::{Placement, Strip, strips_of_block},
    units::{BlockIndex, FileName, Timestamp, to_u64},
};

/// Entries that are published together at most.
const MAX_ENTRIES: usize = 4096;

/// Bytes of content that are published together, unless a single file has more.
const MAX_LEN_BYTES: usize = 4 << 20;

/// Sources that are stored together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    names: BTreeSet<FileName>,
    len_bytes: usize,
}

/// One source of a batch, looked at and read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) source: Source,
    pub(super) what: What,
}

/// What is to be done about one source.
#[derive(Debug)]
pub(super) enum What {
    /// A new version is stored.
    Store {
        kind: EntryKind,
        metadata: Metadata,
        /// Empty for anything but a file.
        content: Vec<u8>,
    },
    /// The stored version gets the permissions and the time of this record.
    Touch(Box<FileRecord>),
}

/// What a source is beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) modified_at: Timestamp,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES || self.len_bytes >= MAX_LEN_BYTES
    }

    pub(super) fn has(&self, name: &FileName) -> bool {
        self.names.contains(name)
    }

    /// Hands out the names of a batch that gets no more.
    pub(super) fn take_names(&mut self) -> BTreeSet<FileName> {
        std::mem::take(&mut self.names)
    }

    /// Adds a source whose name the batch does not have.
    pub(super) fn push(&mut self, entry: Entry) {
        if let What::Store { content, .. } = &entry.what {
            self.len_bytes += content.len();
        }
        let is_new = self.names.insert(entry.source.name.clone());
        assert!(is_new, "a batch has every name once");
        self.entries.push(entry);
    }

    /// Stores the only source.
    pub(super) fn store_only(
        self,
        shared: &Shared,
        conflict: NameConflict,
        observer: &dyn Observer,
    ) -> Published {
        let [(_, published)] =
            <[_; 1]>::try_from(self.store(shared, conflict, observer)?).expect("one source has one result");
        published
    }

    /// Stores everything: durable and visible when this returns. Each source has a result of its own.
    ///
    /// After an error nothing of the batch is stored.
    pub(super) fn store(
        self,
        shared: &Shared,
        conflict: NameConflict,
        observer: &dyn Observer,
    ) -> Result<Vec<(Source, Published)>, CommitError> {
        let (mut sources, mut touches, mut news) = (Vec::new(), Vec::new(), Vec::new());
        let (mut touched, mut stored) = (Vec::new(), Vec::new());
        for Entry { source, what } in self.entries {
            match what {
                What::Touch(record) => {
                    touches.push(Change {
                        record: *record,
                        blocks: Vec::new(),
                        action: Action::Touch,
                    });
                    touched.push(source);
                }
                What::Store {
                    kind,
                    metadata,
                    content,
                } => {
                    news.push(New {
                        name: source.name.clone(),
                        kind,
                        metadata,
                        content,
                    });
                    stored.push(source);
                }
            }
        }
        sources.append(&mut touched);
        sources.append(&mut stored);
        if news.is_empty() {
            let published = publish(shared, None, touches, conflict)?;
            return Ok(sources.into_iter().zip(published.outcomes).collect());
        }
        let drafts: Vec<Draft> = news.iter().map(|new| new.draft(shared)).collect();
        // What is in memory can be written again, elsewhere, when an extent fails.
        let published = store_again(shared, || {
            let reservation = Reservation::take(shared, &drafts, None)?;
            store(shared, reservation, conflict, |reservation| {
                let mut changes = touches.clone();
                changes.append(&mut write(shared, reservation, &news, observer)?);
                Ok(changes)
            })
        })?;
        Ok(sources.into_iter().zip(published).collect())
    }
}

/// A new version of something small.
struct New {
    name: FileName,
    kind: EntryKind,
    metadata: Metadata,
    content: Vec<u8>,
}

impl New {
    fn draft(&self, shared: &Shared) -> Draft {
        Draft {
            name: self.name.clone(),
            kind: self.kind.clone(),
            metadata: self.metadata,
            geometry: FileGeometry::new(to_u64(self.content.len()), shared.policy()),
        }
    }
}

/// Writes all contents and returns what to publish, in their order.
fn write(
    shared: &Shared,
    reservation: &Reservation,
    news: &[New],
    observer: &dyn Observer,
) -> Result<Vec<Change>, CommitError> {
    let written = BatchWriter::new(shared, reservation, news).write(observer)?;
    let change = |(file, written): (&PlannedFile, Option<WrittenSmall>)| {
        let mut record = file.record.clone();
        let block = written.map(|written| {
            record.root = written.root;
            written.block
        });
        let shards = block.iter().flat_map(|block| block.shards.iter().flatten());
        record.stored_bytes = shards.map(|shard| shard.frame_len_bytes).sum();
        Change {
            record,
            blocks: block.into_iter().collect(),
            action: Action::Store,
        }
    };
    Ok(reservation.files().iter().zip(written).map(change).collect())
}

/// A small file that is written, but not synced.
struct WrittenSmall {
    root: RootHash,
    block: BlockRecord,
}

/// One block of a batch: the position of its file, and its frames.
struct Placed {
    file: usize,
    geometry: BlockGeometry,
    frames: Vec<Option<(Placement, FrameLayout)>>,
}

/// The work of one batch, shared by the workers.
struct BatchWriter<'a> {
    shared: &'a Shared,
    reservation: &'a Reservation,
    news: &'a [New],
    blocks: Vec<Placed>,
    runs: Vec<Run>,
    /// The next run that nobody has taken.
    next: AtomicUsize,
    written: Mutex<Vec<Option<WrittenSmall>>>,
}

impl<'a> BatchWriter<'a> {
    fn new(shared: &'a Shared, reservation: &'a Reservation, news: &'a [New]) -> Self {
        let mut layout = reservation.layout();
        let files = reservation.files().iter().enumerate();
        let blocks: Vec<Placed> = files
            .filter(|(_, file)| file.record.geometry.block_count() > 0)
            .map(|(index, file)| {
                assert_eq!(
                    file.record.geometry.block_count(),
                    1,
                    "small files have one block"
                );
                let geometry = file.record.geometry.block(BlockIndex::new(0));
                Placed {
                    file: index,
                    geometry,
                    frames: reservation.place(&geometry, &mut layout).collect(),
                }
            })
            .collect();
        let frames: Vec<Vec<Option<PlacedFrame>>> = blocks.iter().map(Placed::placed_frames).collect();
        Self {
            shared,
            reservation,
            news,
            runs: runs_of(&frames),
            blocks,
            next: AtomicUsize::new(0),
            written: Mutex::new(news.iter().map(|_| None).collect()),
        }
    }

    /// Writes every run; one result for each file, `None` for those without bytes.
    fn write(self, observer: &dyn Observer) -> Result<Vec<Option<WrittenSmall>>, CommitError> {
        let threads = self.shared.batch_threads().min(self.runs.len());
        let work = |member: &Member<'_>| self.work(member, observer);
        let results = self.shared.work_together(threads, work);
        results.into_iter().collect::<Result<(), CommitError>>()?;
        Ok(self.written.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn work(&self, member: &Member<'_>, observer: &dyn Observer) -> Result<(), CommitError> {
        // Small files are of one shape.
        let Some(first) = self.blocks.first() else {
            return Ok(());
        };
        let mut bench = StripBench::new(&self.reservation.files()[first.file].record.geometry);
        loop {
            let Some(buffer) = member.buffer(bench.buffer_len())? else {
                return Ok(());
            };
            let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(());
            };
            let written = if observer.is_cancelled() {
                Err(CommitError::Cancelled)
            } else {
                self.write_run(run, &mut bench, buffer)
            };
            if written.is_err() {
                // The others need not go on.
                self.next.store(self.runs.len(), Ordering::Relaxed);
            }
            observer.event(Event::Progress { bytes: written? });
        }
    }

    /// Encodes the blocks of a run in memory and writes each lane with one call; returns how many bytes of content it held.
    fn write_run(
        &self,
        run: &Run,
        bench: &mut StripBench,
        mut buffer: AlignedBuffer,
    ) -> Result<u64, CommitError> {
        let lanes: Vec<Option<Arc<LaneRun>>> = (run.lanes.iter())
            .map(|span| {
                let span = span.as_ref()?;
                let volume = self.reservation.writer(span.extent).volume();
                Some(Arc::new(LaneRun::new(span, volume)))
            })
            .collect();
        let mut bytes = 0;
        for placed in &self.blocks[run.blocks.clone()] {
            let written = self.encode(placed, &lanes, (bench, &mut buffer))?;
            bytes += placed.geometry.data_len_bytes();
            self.written.lock().unwrap_or_else(PoisonError::into_inner)[placed.file] = Some(written);
        }
        for (span, lane) in run.lanes.iter().flatten().zip(lanes.into_iter().flatten()) {
            let lane = Arc::into_inner(lane).expect("the blocks of the run are written");
            let (offset, image) = lane.into_parts();
            self.reservation.writer(span.extent).write_at(offset, &image)?;
        }
        Ok(bytes)
    }

    fn encode(
        &self,
        placed: &Placed,
        lanes: &[Option<Arc<LaneRun>>],
        (bench, buffer): (&mut StripBench, &mut [u8]),
    ) -> Result<WrittenSmall, CommitError> {
        let index = BlockIndex::new(0);
        let file = &self.reservation.files()[placed.file];
        let strips: Vec<Strip> =
            strips_of_block(index, &placed.geometry, strip_len_bytes(placed.geometry.shape())).collect();
        let frames = placed.frames.iter().zip(lanes).map(|(frame, lane)| {
            let ((place, layout), lane) = frame.as_ref().zip(lane.as_ref())?;
            Some(FrameTarget {
                sink: FrameSink::Run(Arc::clone(lane)),
                place: *place,
                layout: *layout,
            })
        });
        let identity = BlockIdentity::of(self.reservation, file, index);
        let block = BlockInFlight::new(identity, placed.geometry, frames.collect(), to_u64(strips.len()));
        for strip in &strips {
            let origin = Origin {
                file: &self.news[placed.file].content,
                outer: None,
            };
            let going = bench.write(buffer, &block, strip, &origin)?;
            assert_eq!(going, Going::On, "nothing is stopped where nothing is grouped");
            block.finish_strip();
        }
        let written = block.complete(self.shared, bench.encoder())?;
        let mut folder = RootFolder::new(placed.geometry.leaf());
        written.leaves.into_iter().for_each(|leaf| folder.push(leaf));
        Ok(WrittenSmall {
            root: folder.finish(),
            block: written.record,
        })
    }
}

impl Placed {
    fn placed_frames(&self) -> Vec<Option<PlacedFrame>> {
        let frame = |frame: &Option<(Placement, FrameLayout)>| {
            frame.as_ref().map(|(place, layout)| PlacedFrame {
                place: *place,
                len_bytes: layout.total_len_bytes(),
            })
        };
        self.frames.iter().map(frame).collect()
    }
}
