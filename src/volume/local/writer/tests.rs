#![expect(clippy::disallowed_methods, reason = "these tests write onto devices")]

use std::fs::OpenOptions;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::buffer::{AlignedBuffer, BufferPool};
use crate::storage::HostStorage;
use crate::volume::{LocalVolume, Volume as _};

const EXTENT: ExtentId = ExtentId::new(1);

struct Site {
    _dir: TempDir,
    volume: LocalVolume,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let id = VolumeId::from_bytes([3; 16]);
        let volume = LocalVolume::create(&dir.path().join("v"), id).expect("a new volume");
        volume.create_extent(EXTENT, b"header", 0).expect("there is room");
        Self { _dir: dir, volume }
    }

    /// A writer of the extent whose bytes go to `path` in place of the extent's file.
    fn writer_onto(&self, path: &Path) -> LocalWriter {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect("it can be opened");
        let file = HostStorage::file_of(file);
        LocalWriter::over(&self.volume.shared, EXTENT, path.to_path_buf(), file)
    }

    fn writer(&self) -> LocalWriter {
        self.writer_onto(&self.volume.extent_path(EXTENT))
    }
}

fn aligned(len: usize, byte: u8) -> AlignedBuffer {
    let mut buffer = BufferPool::new(len.next_multiple_of(4096))
        .take(len)
        .expect("within the budget");
    buffer.fill(byte);
    buffer
}

/// Character devices take writes, but cannot be synced: `fsync` of `/dev/zero` fails with EINVAL.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_sync_poisons_the_writer_and_whoever_resumes_the_extent() {
    type Call = fn(&LocalWriter) -> Result<(), VolumeError>;
    let calls: [Call; 5] = [
        |writer| writer.write_at(100, b"more"),
        |writer| writer.sync(),
        |writer| writer.preallocate(1000),
        |writer| writer.truncate(0),
        |writer| writer.seal(),
    ];
    for first in [
        |writer: &LocalWriter| writer.sync(),
        |writer: &LocalWriter| writer.seal(),
    ] {
        let site = Site::new();
        let writer = site.writer_onto(Path::new("/dev/zero"));
        writer.write_at(6, b"bytes").expect("it swallows everything");
        let error = first(&writer).expect_err("a device that cannot sync");
        assert!(
            matches!(error, VolumeError::Sync { extent: EXTENT, .. }),
            "{error}"
        );
        for (index, call) in calls.iter().enumerate() {
            let error = call(&writer).expect_err("the writer is poisoned");
            assert!(
                matches!(error, VolumeError::Poisoned { .. }),
                "call {index}: {error}"
            );
        }
        let error = site
            .volume
            .resume_extent(EXTENT, 6)
            .expect_err("the extent is abandoned");
        assert!(matches!(error, VolumeError::Poisoned { .. }), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn only_one_of_concurrent_syncs_hears_of_the_failure_but_none_is_told_that_all_is_well() {
    let site = Site::new();
    let writer = site.writer_onto(Path::new("/dev/zero"));
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let outcome = writer.sync();
                outcomes.lock().expect("no panic").push(outcome);
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("no panic");
    assert!(
        outcomes.iter().all(Result::is_err),
        "a sync succeeded beside a failed one: {outcomes:?}"
    );
    let heard = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(VolumeError::Sync { .. })));
    assert_eq!(heard.count(), 1, "the failed sync was tried again: {outcomes:?}");
}

/// `/dev/full` says ENOSPC to every write.
#[cfg(target_os = "linux")]
#[test]
fn a_write_without_room_says_that_the_volume_is_full() {
    let site = Site::new();
    let writer = site.writer_onto(Path::new("/dev/full"));
    let error = writer.write_at(0, &[1; 1234]).expect_err("no room");
    assert!(
        error.is_full()
            && matches!(
                error,
                VolumeError::Full {
                    needed_bytes: 1234,
                    ..
                }
            ),
        "{error}"
    );
}

#[test]
fn large_aligned_writes_go_direct_and_others_do_not() {
    let site = Site::new();
    let writer = site.writer();
    let large = aligned(DIRECT_MIN_BYTES + 4096, 1);
    assert_eq!(
        writer
            .write_direct(4096, &large[..DIRECT_MIN_BYTES - 1])
            .expect("not tried"),
        0,
        "too short"
    );
    assert_eq!(
        writer.write_direct(4097, &large).expect("not tried"),
        0,
        "the offset is not aligned"
    );
    assert_eq!(
        writer.write_direct(4096, &large[8..]).expect("not tried"),
        0,
        "the memory is not aligned"
    );
    assert!(
        writer.direct.get().is_none(),
        "the second handle is opened only when it is needed"
    );

    let ragged = writer
        .write_direct(4096, &large[..DIRECT_MIN_BYTES + 77])
        .expect("there is room");
    let went_direct = writer.direct.get().is_some_and(Option::is_some) && !writer.direct_refused.into_inner();
    assert_eq!(
        ragged,
        if went_direct { DIRECT_MIN_BYTES } else { 0 },
        "whole sectors go direct, the rest is left"
    );
}

/// This kernel file says EINVAL to all bytes that are no number, as a filesystem does that refuses direct I/O.
#[cfg(target_os = "linux")]
#[test]
fn a_refused_direct_write_is_buffered_and_no_other_is_tried() {
    let site = Site::new();
    let writer = site.writer();
    let refusing = OpenOptions::new()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .expect("our own file");
    assert!(
        writer.direct.set(Some(HostStorage::file_of(refusing))).is_ok(),
        "nothing was written yet"
    );
    writer
        .write_at(4096, &aligned(DIRECT_MIN_BYTES, b'x'))
        .expect("it goes the other way");
    assert!(
        writer.direct_refused.load(Ordering::Relaxed),
        "the refusal was forgotten"
    );
    let mut bytes = vec![0; DIRECT_MIN_BYTES];
    site.volume.read_at(EXTENT, 4096, &mut bytes).expect("all there");
    assert!(
        bytes.iter().all(|&byte| byte == b'x'),
        "the refused bytes were lost"
    );
}

#[test]
fn no_write_lands_behind_a_seal_that_other_threads_race_with() {
    let site = Site::new();
    let writer = site.writer();
    let accepted = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut accepted = 0_u64;
            while writer.write_at(6 + accepted, &[7]).is_ok() {
                accepted += 1;
            }
            accepted
        });
        while site.volume.extents().expect("a list")[0].len_bytes < 50 {
            std::thread::yield_now();
        }
        writer.seal().expect("a sync");
        let len_at_seal = site.volume.extents().expect("a list")[0].len_bytes;
        let accepted = writing.join().expect("no panic");
        assert_eq!(len_at_seal, 6 + accepted, "the extent grew behind its seal");
        accepted
    });
    assert!(accepted >= 44, "the race was one");
}

#[test]
fn an_offset_that_no_file_reaches_is_an_error() {
    let site = Site::new();
    for offset in [u64::MAX, u64::MAX - 1, i64::MAX.unsigned_abs()] {
        let error = site.writer().write_at(offset, &[1, 2]).expect_err("out of reach");
        assert!(matches!(error, VolumeError::Write { .. }), "{error}");
    }
}

#[test]
fn write_back_starts_after_every_eight_mebibytes_of_buffered_bytes() {
    let mut pace = Pace::default();
    assert_eq!(pace.add(1_000, PACE_BYTES / 2), None);
    assert_eq!(pace.add(0, 10), None);
    let due = pace.add(PACE_BYTES, PACE_BYTES / 2);
    assert_eq!(
        due,
        ByteRange::new(0, PACE_BYTES + PACE_BYTES / 2),
        "all that was written is covered"
    );
    assert_eq!(pace.add(7, 1), None, "counting starts anew");
    assert_eq!(pace.range, ByteRange::at(7, 1));
}
