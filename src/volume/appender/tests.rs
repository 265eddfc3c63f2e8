use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::buffer::BufferPool;
use crate::units::{ExtentId, VolumeId};
use crate::volume::{MemoryVolume, Volume as _};

const EXTENT: ExtentId = ExtentId::new(1);

/// Notes what is written before it passes it on; fails from the n-th write on.
#[derive(Debug)]
struct Recorder {
    inner: Arc<dyn ExtentWriter>,
    /// Offset, length and address of each write.
    writes: Mutex<Vec<(u64, usize, usize)>>,
    fail_from: usize,
}

impl ExtentWriter for Recorder {
    fn volume(&self) -> VolumeId {
        self.inner.volume()
    }

    fn extent(&self) -> ExtentId {
        self.inner.extent()
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        self.inner.preallocate(end_bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let mut writes = self.writes.lock().expect("no panic");
        if writes.len() >= self.fail_from {
            return Err(VolumeError::Full {
                volume: self.volume(),
                extent: EXTENT,
                needed_bytes: to_u64(bytes.len()),
                free_bytes: 0,
            });
        }
        writes.push((offset, bytes.len(), bytes.as_ptr().addr()));
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.inner.sync()
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        self.inner.truncate(end_bytes)
    }

    fn seal(&self) -> Result<(), VolumeError> {
        self.inner.seal()
    }
}

/// The memory volume panics when a byte is written twice, which every test here checks by the way.
fn recorder(fail_from: usize) -> (MemoryVolume, Arc<Recorder>) {
    let volume = MemoryVolume::new(VolumeId::from_bytes([1; 16]), 1 << 30);
    let inner = volume.create_extent(EXTENT, &[], 0).expect("there is room");
    (
        volume,
        Arc::new(Recorder {
            inner,
            writes: Mutex::default(),
            fail_from,
        }),
    )
}

fn painted(len: usize) -> Vec<u8> {
    (0..len)
        .map(|position| u8::try_from(position % 251).expect("below 251"))
        .collect()
}

fn appender<B: DerefMut<Target = [u8]>>(writer: &Arc<Recorder>, start: u64, buffer: B) -> ExtentAppender<B> {
    let writer: Arc<dyn ExtentWriter> = Arc::<Recorder>::clone(writer);
    ExtentAppender::new(writer, start, buffer)
}

fn stored(volume: &MemoryVolume, start: u64) -> Vec<u8> {
    let end = volume.extents().expect("a list")[0].len_bytes;
    if end < start {
        return Vec::new(); // Nothing was written yet.
    }
    let mut bytes = vec![0; to_usize(end - start)];
    volume.read_at(EXTENT, start, &mut bytes).expect("all there");
    bytes
}

/// One step of a stream.
#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    PadTo(u64),
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..200).prop_map(Step::Append),
        4 => (0_usize..50_000).prop_map(Step::Append),
        1 => prop_oneof![Just(1_u64), Just(64), Just(4096), Just(1000)].prop_map(Step::PadTo),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_length_arrive_as_the_plain_bytes(
        start in 0_u64..10_000,
        buffer_sectors in 2_usize..6,
        steps in steps(),
    ) {
        let (volume, writer) = recorder(usize::MAX);
        let mut buffer = BufferPool::new(1 << 20).take(buffer_sectors * SECTOR).expect("within the budget");
        buffer.fill(0xEE);
        let mut appender = appender(&writer, start, buffer);
        let source = painted(30 * 50_000);
        let (mut expected, mut taken, mut flushed) = (Vec::new(), 0, false);
        for step in &steps {
            match *step {
                Step::Append(len) => {
                    appender.append(&source[taken..taken + len]).expect("there is room");
                    expected.extend_from_slice(&source[taken..taken + len]);
                    taken += len;
                }
                Step::PadTo(alignment) => {
                    appender.pad_to(alignment).expect("there is room");
                    prop_assert!(appender.position().is_multiple_of(alignment));
                    expected.resize(to_usize(appender.position() - start), 0);
                }
                Step::Flush => {
                    appender.flush().expect("there is room");
                    flushed = true;
                    prop_assert_eq!(&stored(&volume, start), &expected);
                }
            }
            prop_assert_eq!(appender.position(), start + to_u64(expected.len()));
        }
        prop_assert_eq!(appender.finish().expect("there is room"), start + to_u64(expected.len()));
        prop_assert!(stored(&volume, start) == expected, "the bytes differ");
        let writes = writer.writes.lock().expect("no panic");
        for (index, &(offset, len, address)) in writes.iter().enumerate() {
            // Only the first write may begin inside a sector and only the last may end in one, unless asked to flush.
            let last = index + 1 == writes.len();
            prop_assert!(index == 0 || flushed || offset.is_multiple_of(SECTOR_LEN_BYTES), "write {} of {:?}", index, writes);
            let end = offset + to_u64(len);
            prop_assert!(last || flushed || end.is_multiple_of(SECTOR_LEN_BYTES), "write {} of {:?}", index, writes);
            prop_assert!(
                len < SECTOR || address % SECTOR == sector_phase(offset),
                "memory and offset of write {} disagree: {:?}", index, writes
            );
        }
    }
}

#[test]
fn a_large_aligned_piece_is_not_copied() {
    let (volume, writer) = recorder(usize::MAX);
    let mut piece = BufferPool::new(1 << 20).take(100_000).expect("within the budget");
    piece.copy_from_slice(&painted(100_000));
    let mut appender = appender(&writer, 0, vec![0; 4 * SECTOR]);
    appender.append(&painted(SECTOR)).expect("there is room");
    appender.append(&piece).expect("there is room");
    appender.finish().expect("there is room");
    let whole_sectors = 100_000 / SECTOR * SECTOR;
    let writes = writer.writes.lock().expect("no panic");
    assert_eq!(
        writes.len(),
        3,
        "what was pending, the piece, its ragged end: {writes:?}"
    );
    assert_eq!(
        writes[1],
        (SECTOR_LEN_BYTES, whole_sectors, piece.as_ptr().addr())
    );
    assert!(
        stored(&volume, SECTOR_LEN_BYTES) == painted(100_000),
        "the bytes differ"
    );
}

#[test]
fn after_a_failed_write_nothing_is_written_again() {
    let (_volume, writer) = recorder(1);
    let mut appender = appender(&writer, 0, vec![0; 2 * SECTOR]);
    appender
        .append(&painted(2 * SECTOR))
        .expect("the first write passes");
    let error = appender
        .append(&painted(3 * SECTOR))
        .expect_err("the second write fails");
    assert!(error.is_full(), "{error}");
    assert!(matches!(appender.append(&[1]), Err(VolumeError::Poisoned { .. })));
    assert!(matches!(appender.pad_to(4096), Err(VolumeError::Poisoned { .. })));
    assert!(matches!(appender.flush(), Err(VolumeError::Poisoned { .. })));
    assert!(
        matches!(appender.finish(), Err(VolumeError::Poisoned { .. })),
        "and dropping it is no bug"
    );
    assert_eq!(writer.writes.lock().expect("no panic").len(), 1);
}

#[test]
fn abandoned_bytes_are_not_written() {
    let (volume, writer) = recorder(usize::MAX);
    let mut appender = appender(&writer, 0, vec![0; 2 * SECTOR]);
    appender.append(b"never mind").expect("there is room");
    appender.abandon();
    assert_eq!(stored(&volume, 0), b"");
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "finish or abandon it")]
fn dropping_bytes_that_nobody_wrote_is_a_bug() {
    let (_volume, writer) = recorder(usize::MAX);
    let mut appender = appender(&writer, 0, vec![0; 2 * SECTOR]);
    appender.append(b"precious").expect("there is room");
    drop(appender);
}
