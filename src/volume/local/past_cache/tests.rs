#![expect(
    clippy::disallowed_methods,
    reason = "these tests put other files in the place of extents"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::buffer::{AlignedBuffer, BufferPool};
use crate::storage::{EntryInfo, HostStorage, Lock, Storage as _};
use crate::units::VolumeId;
use crate::volume::{LocalVolume, Volume as _};

const EXTENT: ExtentId = ExtentId::new(1);
const SECTOR: usize = 4096;
const LEN: usize = 2 * DIRECT_MIN_BYTES + 100;

/// A volume with an extent of [`LEN`] bytes, each of which tells its position.
struct Site {
    _dir: TempDir,
    volume: LocalVolume,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let id = VolumeId::from_bytes([3; 16]);
        let volume = LocalVolume::create(&dir.path().join("v"), id).expect("a new volume");
        volume
            .create_extent(EXTENT, &painted(0, LEN), 0)
            .expect("there is room");
        Self { _dir: dir, volume }
    }

    fn path(&self) -> PathBuf {
        self.volume.extent_path(EXTENT)
    }

    fn id(&self) -> FileIdentity {
        HostStorage.inspect(&self.path()).expect("it is there").id
    }

    /// Whether the file system of the test has a way past its cache.
    fn has_way(&self) -> bool {
        let opened = HostStorage.open_direct(&self.path(), FileAccess::Read);
        opened.expect("it is there").is_some()
    }

    fn read(&self, past_cache: &PastCache, offset: usize, into: &mut [u8]) -> io::Result<usize> {
        past_cache.read(
            &self.volume.shared,
            (EXTENT, self.id()),
            u64::try_from(offset).expect("a small number"),
            into,
        )
    }
}

/// A file that answers reads with what it was told to.
#[derive(Debug)]
struct Answering {
    id: FileIdentity,
    answers: Mutex<Vec<io::Result<usize>>>,
}

impl Answering {
    fn with(site: &Site, mut answers: Vec<io::Result<usize>>) -> Arc<dyn StorageFile> {
        answers.reverse();
        Arc::new(Self {
            id: site.id(),
            answers: Mutex::new(answers),
        })
    }
}

impl StorageFile for Answering {
    fn info(&self) -> io::Result<EntryInfo> {
        Ok(EntryInfo {
            kind: crate::error::FileKind::Regular,
            len_bytes: u64::MAX,
            allocated_bytes: 0,
            links: 1,
            id: self.id,
        })
    }

    fn read_at(&self, _offset: u64, _into: &mut [u8]) -> io::Result<usize> {
        let mut answers = self.answers.lock().expect("no panic");
        answers.pop().expect("nobody asks once more")
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
        unreachable!("nobody writes")
    }

    fn set_len(&self, _len_bytes: u64) -> io::Result<()> {
        unreachable!("nobody writes")
    }

    fn allocate(&self, _end_bytes: u64) -> io::Result<()> {
        unreachable!("nobody writes")
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("nobody writes")
    }

    fn sync_all(&self) -> io::Result<()> {
        unreachable!("nobody writes")
    }

    fn try_lock(&self, _lock: Lock) -> io::Result<bool> {
        unreachable!("nobody locks")
    }

    fn unlock(&self) -> io::Result<()> {
        unreachable!("nobody locks")
    }
}

fn painted(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .map(|position| u8::try_from(position % 251).expect("below 251"))
        .collect()
}

fn aligned(len: usize) -> AlignedBuffer {
    let pool = BufferPool::new(len.next_multiple_of(SECTOR));
    pool.take(len).expect("within the budget")
}

fn new_past_cache() -> PastCache {
    PastCache::new(&LocalVolumeOptions::default())
}

#[test]
fn whole_sectors_go_direct_and_the_rest_is_left() {
    let site = Site::new();
    let past_cache = new_past_cache();
    for (offset, len) in [
        (0, LEN),
        (SECTOR, DIRECT_MIN_BYTES + 1),
        (0, 2 * DIRECT_MIN_BYTES),
    ] {
        let mut bytes = aligned(len);
        let done = site.read(&past_cache, offset, &mut bytes).expect("readable");
        let expected = if site.has_way() { len / SECTOR * SECTOR } else { 0 };
        assert_eq!(done, expected, "{len} bytes at {offset}");
        assert!(
            bytes[..done] == painted(offset, offset + done),
            "{len} bytes at {offset}"
        );
    }
    let mut bytes = aligned(LEN);
    site.volume.read_once(EXTENT, 0, &mut bytes).expect("all there");
    assert!(*bytes == painted(0, LEN), "with the rest");
}

#[test]
fn what_is_short_or_not_aligned_or_buffered_is_left_to_the_page_cache() {
    let site = Site::new();
    let past_cache = new_past_cache();
    let mut bytes = aligned(LEN);
    let left = |past_cache: &PastCache, offset: usize, into: &mut [u8]| {
        assert_eq!(site.read(past_cache, offset, into).expect("nothing is read"), 0);
    };
    left(&past_cache, 0, &mut bytes[..DIRECT_MIN_BYTES - 1]);
    left(&past_cache, 0, &mut bytes[..0]);
    left(&past_cache, 512, &mut bytes[..DIRECT_MIN_BYTES]);
    left(&past_cache, 0, &mut bytes[1..=DIRECT_MIN_BYTES]);
    let buffered = PastCache::new(&LocalVolumeOptions {
        io_mode: IoMode::Buffered,
        ..LocalVolumeOptions::default()
    });
    left(&buffered, 0, &mut bytes);
}

#[test]
fn a_handle_of_another_file_is_not_read_through() {
    let site = Site::new();
    let past_cache = new_past_cache();
    let mut bytes = aligned(LEN);
    site.read(&past_cache, 0, &mut bytes).expect("readable");
    let gone = site.id();
    fs::rename(site.path(), site.path().with_extension("old")).expect("no other has the name");
    fs::write(site.path(), vec![7; LEN]).expect("there is room");
    let done = site.read(&past_cache, 0, &mut bytes).expect("readable");
    assert_eq!(done > 0, site.has_way(), "it is read again");
    assert!(
        bytes[..done].iter().all(|&byte| byte == 7),
        "the new file, not the one that was open"
    );
    let of_gone = past_cache.read(&site.volume.shared, (EXTENT, gone), 0, &mut bytes);
    assert_eq!(
        of_gone.expect("nothing is read"),
        0,
        "no name leads to the old one any more"
    );
}

#[test]
fn short_reads_go_on_where_a_sector_ends_and_stop_inside_one_and_at_the_end() {
    let site = Site::new();
    let mut bytes = aligned(LEN);
    let interrupted = || Err(io::ErrorKind::Interrupted.into());
    for (answers, expected) in [
        (vec![Ok(SECTOR), interrupted(), Ok(100)], SECTOR + 100),
        (vec![Ok(2 * SECTOR), Ok(0)], 2 * SECTOR),
        (vec![Ok(LEN / SECTOR * SECTOR)], LEN / SECTOR * SECTOR),
    ] {
        let past_cache = new_past_cache();
        past_cache.handles.put(EXTENT, &Answering::with(&site, answers));
        assert_eq!(site.read(&past_cache, 0, &mut bytes).expect("readable"), expected);
    }
}

#[test]
fn a_refused_read_is_the_last_and_one_that_the_disk_fails_is_an_error() {
    let site = Site::new();
    let mut bytes = aligned(LEN);
    let past_cache = new_past_cache();
    let refusal = || Err(io::ErrorKind::InvalidInput.into());
    past_cache
        .handles
        .put(EXTENT, &Answering::with(&site, vec![Ok(SECTOR), refusal()]));
    assert_eq!(
        site.read(&past_cache, 0, &mut bytes).expect("it can go on"),
        SECTOR
    );
    assert_eq!(
        site.read(&past_cache, 0, &mut bytes)
            .expect("the file is not asked"),
        0
    );

    // A full disk fails a write of somebody else, not this read: the file is asked again next time.
    for (failure, expected) in [
        (Errno::IO, None),
        (Errno::STALE, None),
        (Errno::NOSPC, Some(SECTOR)),
        (Errno::NOMEM, Some(SECTOR)),
    ] {
        let past_cache = new_past_cache();
        let failed = || Err(io::Error::from_raw_os_error(failure.raw_os_error()));
        let answers = vec![Ok(SECTOR), failed(), Ok(LEN / SECTOR * SECTOR)];
        past_cache.handles.put(EXTENT, &Answering::with(&site, answers));
        let first = site.read(&past_cache, 0, &mut bytes);
        let code = first.as_ref().err().and_then(io::Error::raw_os_error);
        assert_eq!(code.is_none(), expected.is_some(), "{failure}");
        assert_eq!(first.ok(), expected, "{failure}");
        let next = site.read(&past_cache, 0, &mut bytes).expect("it is asked again");
        assert_eq!(next, LEN / SECTOR * SECTOR);
    }
}
