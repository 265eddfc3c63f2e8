#![expect(
    clippy::disallowed_methods,
    reason = "these tests look at files behind the back of the volume"
)]

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;
use crate::buffer::{AlignedBuffer, BufferPool};

const ID: VolumeId = VolumeId::from_bytes([3; 16]);
const EXTENT: ExtentId = ExtentId::new(1);

fn new_volume() -> (TempDir, LocalVolume) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let volume = LocalVolume::create(&dir.path().join("v"), ID).expect("a new volume");
    (dir, volume)
}

/// Every byte tells its position, with a period that no power of two divides.
fn painted(len: usize, start: usize) -> Vec<u8> {
    (start..start + len)
        .map(|position| u8::try_from(position % 251).expect("below 251"))
        .collect()
}

fn aligned(len: usize, start: usize) -> AlignedBuffer {
    let mut buffer = BufferPool::new(len.next_multiple_of(4096))
        .take(len)
        .expect("within the budget");
    buffer.copy_from_slice(&painted(len, start));
    buffer
}

fn read(volume: &LocalVolume, offset: u64, len: usize) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = vec![0; len];
    volume.read_at(EXTENT, offset, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn preallocated_bytes_have_real_blocks() {
    let (_dir, volume) = new_volume();
    let writer = volume
        .create_extent(EXTENT, b"header", 1 << 20)
        .expect("there is room");
    let metadata = fs::metadata(volume.extent_path(EXTENT)).expect("the file is there");
    assert_eq!(metadata.len(), 1 << 20);
    assert!(
        metadata.blocks() * 512 >= 1 << 20,
        "only {} blocks",
        metadata.blocks()
    );
    writer.preallocate(3 << 20).expect("there is room");
    let metadata = fs::metadata(volume.extent_path(EXTENT)).expect("the file is there");
    assert_eq!(metadata.len(), 3 << 20);
    assert!(
        metadata.blocks() * 512 >= 3 << 20,
        "only {} blocks",
        metadata.blocks()
    );
    writer.truncate(1 << 20).expect("a tail");
    let metadata = fs::metadata(volume.extent_path(EXTENT)).expect("the file is there");
    assert!(
        metadata.blocks() * 512 < 2 << 20,
        "the cut tail still has its blocks"
    );
}

#[test]
fn directories_and_files_are_for_the_owner_alone() {
    let (_dir, volume) = new_volume();
    volume.create_extent(EXTENT, b"header", 0).expect("there is room");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(volume.dir()), 0o700);
    assert_eq!(mode(&volume.dir().join("extents")), 0o700);
    assert_eq!(mode(&volume.dir().join("volume.bfv")), 0o600);
    assert_eq!(mode(&volume.extent_path(EXTENT)), 0o600);
}

#[test]
fn resuming_cuts_leftovers_off_the_file() {
    let (_dir, volume) = new_volume();
    let writer = volume
        .create_extent(EXTENT, b"header", 1 << 20)
        .expect("there is room");
    writer.write_at(6, &painted(10_000, 0)).expect("there is room");
    drop(writer);
    let writer = volume.resume_extent(EXTENT, 5_000).expect("the extent is longer");
    assert_eq!(
        fs::metadata(volume.extent_path(EXTENT))
            .expect("the file is there")
            .len(),
        5_000
    );
    writer.preallocate(20_000).expect("there is room");
    assert_eq!(
        read(&volume, 6, 4_994).expect("all there"),
        painted(4_994, 0),
        "what was kept"
    );
    assert_eq!(
        read(&volume, 5_000, 15_000).expect("all there"),
        vec![0; 15_000],
        "a leftover came back"
    );
}

#[test]
fn direct_and_buffered_writes_of_one_extent_give_the_same_bytes() {
    const LEN: usize = 3 << 20;
    // Cut so that aligned large pieces, unaligned ones, small ones and ragged ends follow each other.
    let cuts = [
        0,
        6,
        4_096,
        200_704,
        200_705,
        262_144,
        262_144 + 65_536,
        1 << 20,
        (1 << 20) + 300_001,
        LEN,
    ];
    for io_mode in [IoMode::Auto, IoMode::Direct, IoMode::Buffered] {
        let (_dir, volume) = new_volume();
        let volume = volume.with_options(&LocalVolumeOptions {
            io_mode,
            ..LocalVolumeOptions::default()
        });
        let writer = volume
            .create_extent(EXTENT, &[], LEN as u64)
            .expect("there is room");
        for pair in cuts.windows(2) {
            let piece = aligned(pair[1] - pair[0], pair[0]);
            writer.write_at(pair[0] as u64, &piece).expect("there is room");
            assert_eq!(
                read(&volume, pair[0] as u64, piece.len()).expect("readable at once"),
                *piece,
                "{io_mode:?}"
            );
        }
        writer.seal().expect("a sync");
        let mut bytes = aligned(LEN, 1);
        volume.read_once(EXTENT, 0, &mut bytes).expect("all there");
        assert!(*bytes == painted(LEN, 0), "{io_mode:?}");
    }
}

#[test]
fn sixteen_threads_write_disjoint_ranges_of_one_extent() {
    const PIECE: usize = 128 * 1024;
    let (_dir, volume) = new_volume();
    let writer = volume.create_extent(EXTENT, &[], 0).expect("there is room");
    std::thread::scope(|scope| {
        for thread in 0..16_usize {
            let writer = &writer;
            scope.spawn(move || {
                // Even threads lengthen and write small and buffered, odd ones large and direct.
                let start = thread * PIECE;
                let piece = aligned(PIECE, start);
                let step = if thread.is_multiple_of(2) { 1_000 } else { PIECE };
                writer.preallocate((start + PIECE) as u64).expect("there is room");
                for (index, part) in piece.chunks(step).enumerate() {
                    writer
                        .write_at((start + index * step) as u64, part)
                        .expect("there is room");
                }
            });
        }
    });
    writer.seal().expect("a sync");
    assert!(
        read(&volume, 0, 16 * PIECE).expect("all there") == painted(16 * PIECE, 0),
        "bytes got lost"
    );
}

#[test]
fn an_extent_that_is_deleted_or_cut_behind_our_back_shows_as_such() {
    let (_dir, volume) = new_volume();
    let writer = volume
        .create_extent(EXTENT, &painted(10_000, 0), 0)
        .expect("there is room");
    drop(writer);
    read(&volume, 0, 10_000).expect("all there, and the handle is cached now");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(volume.extent_path(EXTENT))
        .expect("the file is there");
    rustix::fs::ftruncate(&file, 9_000).expect("a shorter file");
    let error = read(&volume, 0, 10_000).expect_err("the end is gone");
    assert!(
        matches!(
            error,
            VolumeError::Truncated {
                len_bytes: 9_000,
                wanted_end: 10_000,
                ..
            }
        ),
        "{error} is not about the length"
    );
    fs::remove_file(volume.extent_path(EXTENT)).expect("the file is there");
    let error = read(&volume, 0, 9_000).expect_err("the file is gone, though a handle still has it");
    assert!(
        matches!(error, VolumeError::Missing { .. }) && error.is_absent(),
        "{error}"
    );
    fs::write(volume.extent_path(EXTENT), painted(10_000, 5)).expect("a file put back");
    assert_eq!(
        read(&volume, 0, 10_000).expect("it is back"),
        painted(10_000, 5),
        "an old handle served"
    );
}

#[test]
fn names_of_other_things_are_not_listed_and_links_are_not_followed() {
    let (dir, volume) = new_volume();
    volume
        .create_extent(ExtentId::new(7), b"seven", 0)
        .expect("there is room");
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, b"not ours").expect("a file");
    let extents = volume.dir().join("extents");
    symlink(&elsewhere, volume.extent_path(EXTENT)).expect("a link");
    fs::write(extents.join("00000002.bfx~"), b"").expect("a file");
    fs::write(extents.join("3.bfx"), b"").expect("a file");
    fs::create_dir(extents.join("00000004.bfx")).expect("a directory");
    let listed = volume.extents().expect("a list");
    assert_eq!(
        listed,
        [ExtentStat {
            extent: ExtentId::new(7),
            len_bytes: 5
        }]
    );
    assert!(
        matches!(read(&volume, 0, 3), Err(VolumeError::Open { .. })),
        "a link was followed"
    );
    assert!(
        matches!(volume.resume_extent(EXTENT, 0), Err(VolumeError::Open { .. })),
        "a link was followed"
    );
    let made = volume
        .create_extent(EXTENT, b"mine", 0)
        .expect_err("the name is taken");
    assert!(matches!(made, VolumeError::Exists { .. }), "{made}");
    assert_eq!(fs::read(&elsewhere).expect("it is there"), b"not ours");
}

#[test]
fn a_volume_is_made_only_where_there_is_none() {
    let (_dir, volume) = new_volume();
    let dir = volume.dir().to_path_buf();
    LocalVolume::create(&dir, ID).expect("nothing was written yet: a crashed creation is taken up again");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(dir.join("volume.bfv"))
        .expect("the slots");
    rustix::fs::ftruncate(&file, 100).expect("a shorter file");
    LocalVolume::create(&dir, ID).expect("the same, crashed while the slots were made");
    assert_eq!(
        fs::metadata(dir.join("volume.bfv")).expect("the slots").len(),
        8192
    );

    volume.create_extent(EXTENT, b"header", 0).expect("there is room");
    let error = LocalVolume::create(&dir, ID).expect_err("an extent is there");
    assert!(matches!(error, VolumeError::InUse { .. }), "{error}");
    volume.remove_extent(EXTENT).expect("it is there");
    volume
        .write_slot(SlotIndex::B, &[1; 4096])
        .expect("there is room");
    let error = LocalVolume::create(&dir, ID).expect_err("a slot is written");
    assert!(matches!(error, VolumeError::InUse { .. }), "{error}");
    let mut slot = [0; 4096];
    volume.read_slot(SlotIndex::B, &mut slot).expect("it is there");
    assert_eq!(slot, [1; 4096], "a refused creation changed the volume");
}

#[test]
fn opening_something_that_is_no_volume_fails() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(matches!(
        LocalVolume::open(dir.path(), ID),
        Err(VolumeError::Directory { .. })
    ));
    let missing_parent = dir.path().join("a/b");
    assert!(matches!(
        LocalVolume::create(&missing_parent, ID),
        Err(VolumeError::Directory { .. })
    ));
}

#[test]
fn a_slot_that_is_cut_off_does_not_hide_the_other() {
    let (_dir, volume) = new_volume();
    volume
        .write_slot(SlotIndex::A, &[1; 4096])
        .expect("there is room");
    volume
        .write_slot(SlotIndex::B, &[2; 4096])
        .expect("there is room");
    let [a, b] = LocalVolume::read_slots_of(volume.dir());
    assert_eq!((*a.expect("slot A"), *b.expect("slot B")), ([1; 4096], [2; 4096]));
    let path = volume.dir().join("volume.bfv");
    let file = fs::OpenOptions::new().write(true).open(path).expect("the slots");
    rustix::fs::ftruncate(&file, 8191).expect("a shorter file");
    let [a, b] = LocalVolume::read_slots_of(volume.dir());
    assert_eq!(*a.expect("slot A is whole"), [1; 4096]);
    assert!(
        matches!(b, Err(VolumeError::Directory { .. })),
        "a short slot was taken for whole"
    );
}

#[test]
fn more_extents_than_handles_can_be_read_in_turn() {
    let (_dir, volume) = new_volume();
    let volume = volume.with_options(&LocalVolumeOptions {
        open_handles: 2,
        ..LocalVolumeOptions::default()
    });
    for id in 0..8_u8 {
        volume
            .create_extent(ExtentId::new(id.into()), &[id; 100], 0)
            .expect("there is room");
    }
    for id in (0..8_u8).chain((0..8).rev()) {
        let mut bytes = [255; 100];
        volume
            .read_at(ExtentId::new(id.into()), 0, &mut bytes)
            .expect("all there");
        assert_eq!(bytes, [id; 100]);
    }
}

#[test]
fn removing_a_large_extent_spares_a_backup_made_of_hard_links() {
    const LEN: u64 = 600 << 20;
    let (dir, volume) = new_volume();
    for id in [1, 2] {
        volume
            .create_extent(ExtentId::new(id), b"header", 0)
            .expect("there is room");
        let path = volume.extent_path(ExtentId::new(id));
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .expect("the file is there");
        rustix::fs::ftruncate(&file, LEN).expect("a sparse file will do");
    }
    let backup = dir.path().join("backup");
    fs::hard_link(volume.extent_path(EXTENT), &backup).expect("a link");
    volume.remove_extent(EXTENT).expect("it is there");
    volume.remove_extent(ExtentId::new(2)).expect("it is there");
    assert_eq!(volume.extents().expect("a list"), [], "both are gone");
    assert_eq!(
        fs::metadata(&backup).expect("the backup is there").len(),
        LEN,
        "the backup was cut"
    );
    let mut header = [0; 6];
    fs::File::open(&backup)
        .and_then(|file| file.read_exact_at(&mut header, 0))
        .expect("readable");
    assert_eq!(&header, b"header");
}

#[test]
fn a_poisoned_extent_stays_poisoned_under_changed_options() {
    let (_dir, volume) = new_volume();
    volume.create_extent(EXTENT, b"header", 0).expect("there is room");
    volume.shared.poison(EXTENT);
    let volume = volume.with_options(&LocalVolumeOptions::default());
    let error = volume.resume_extent(EXTENT, 6).expect_err("abandoned");
    assert!(matches!(error, VolumeError::Poisoned { .. }), "{error}");
    assert_eq!(read(&volume, 0, 6).expect("reading goes on"), b"header");
}
