//! Directories and symbolic links, and rows that claim to be something that nothing is.

use super::*;
use crate::catalog::rows::{BlockRow, FileRow, ImpossibleField};
use crate::catalog::tables::{block_key, file_key, seal, unseal};
use crate::error::CatalogTable;

#[test]
fn directories_and_links_are_counted_beside_files_until_they_are_removed() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("d/f"), 10);
    world.insert_entry(&mut writer, &name("d"), EntryKind::Directory);
    for (link, target) in [("l", &b"d"[..]), ("longest", &[0xff; 4095])] {
        world.insert_entry(&mut writer, &name(link), link_to(target));
    }
    assert_eq!(Dump::of(&writer).expect("sound"), world.expected(0));
    let totals = writer.totals().expect("sound");
    assert_eq!(
        (totals.files, totals.directories, totals.symbolic_links),
        (1, 1, 2)
    );
    assert_eq!(
        totals.tiers[0],
        TierTotals { files: 1, bytes: 10 },
        "directories and links are no tiny files"
    );
    for gone in ["d/f", "d", "l", "longest"] {
        writer
            .remove_file(&name(gone))
            .expect("sound")
            .expect("it is there");
    }
    assert_eq!(writer.totals().expect("sound"), Totals::default());
}

/// Every way in which an entry can claim to be what nothing is, and the field that gives it away.
fn impossible_entries(entry: &FileRecord) -> Vec<(FileRecord, &'static str)> {
    let of_kind = |kind: EntryKind| FileRecord {
        kind,
        ..entry.clone()
    };
    let length = "length of a directory or link";
    let mut impossible: Vec<(FileRecord, &'static str)> = [&b""[..], b"a\0b", &[b'a'; 4096]]
        .map(|target| (of_kind(link_to(target)), "link target"))
        .into();
    for kind in [EntryKind::Directory, link_to(b"a")] {
        let changed = |change: fn(&mut FileRecord)| {
            let mut file = of_kind(kind.clone());
            change(&mut file);
            file
        };
        impossible.extend([
            (
                changed(|file| file.geometry = FileGeometry::new(5000, &policy())),
                length,
            ),
            (changed(|file| file.stored_bytes = 1), length),
            (
                changed(|file| file.root = RootHash::from_bytes([1; 32])),
                "root of a directory or link",
            ),
        ]);
    }
    impossible
}

#[test]
fn entries_that_cannot_be_are_refused_going_in_and_damage_coming_out() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let entry = world.entry(&mut writer, &name("e"), EntryKind::Directory);
    for (file, wanted) in impossible_entries(&entry) {
        let error = writer.insert_file(&file, []).expect_err("impossible");
        assert!(
            matches!(error, CatalogError::ImpossibleEntry { field, .. } if field == wanted),
            "{wanted}: {error:?}"
        );
        let read = FileRow::new(&file, None).parse(file.id);
        assert_eq!(read, Err(ImpossibleField(wanted)));
    }
    writer.insert_file(&entry, []).expect("nothing was spoilt");
}

/// Writes the bytes as they are.
struct Raw(Vec<u8>);
impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple as _;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

/// Changes the body of a row, byte by byte, as only a wrong program could: the checksum holds.
fn resealed(table: CatalogTable, key: &[u8], row: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = row[1..row.len() - 4].to_vec();
    change(&mut body);
    seal(table, key, &Raw(body))
}

#[test]
fn unknown_kinds_and_targets_of_files_and_directories_are_damage() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let entry = world.entry(&mut writer, &name("e"), EntryKind::Directory);
    let (table, key) = (CatalogTable::Files, file_key(entry.id));
    let row = seal(table, &key, &FileRow::new(&entry, None));
    // The name takes two bytes, then kind and target follow.
    let cases: [(&[u8], Result<EntryKind, ImpossibleField>); 6] = [
        (&[2, 0], Ok(EntryKind::Directory)),
        (&[3, 1, b'a'], Ok(link_to(b"a"))),
        (&[1, 1, b'a'], Err(ImpossibleField("link target"))),
        (&[2, 1, b'a'], Err(ImpossibleField("link target"))),
        (&[0, 0], Err(ImpossibleField("entry kind"))),
        (&[4, 0], Err(ImpossibleField("entry kind"))),
    ];
    for (bytes, wanted) in cases {
        let row = resealed(table, &key, &row, |body| {
            body.splice(2..4, bytes.iter().copied());
        });
        let row: FileRow = unseal(table, &key, &row).expect("the checksum holds");
        assert_eq!(
            row.parse(entry.id).map(|(file, _)| file.kind),
            wanted,
            "{bytes:?}"
        );
    }
}

#[test]
fn shards_of_a_replicated_block_differ_in_their_places_only() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let changes: [fn(&mut ShardRecord); 2] = [
        |shard| shard.digest = ShardDigest::from_bytes([9; 32]),
        |shard| shard.frame_len_bytes += 1,
    ];
    for change in changes {
        let (file, mut blocks) = world.file(&mut writer, &name("f"), 10);
        change(blocks[0].shards[1].as_mut().expect("a copy"));
        world.put_extents(&mut writer);
        let error = writer.insert_file(&file, blocks).expect_err("copies that differ");
        assert!(
            matches!(error, CatalogError::BlockMismatch { index: 0, .. }),
            "{error:?}"
        );
        writer = {
            drop(writer);
            catalog.write().expect("writer")
        };
    }
    let (file, mut blocks) = world.file(&mut writer, &name("f"), 10);
    blocks[0].reference_count = 2;
    world.put_extents(&mut writer);
    let error = writer
        .insert_file(&file, blocks)
        .expect_err("nobody else can list it");
    assert!(matches!(error, CatalogError::BlockMismatch { .. }), "{error:?}");
}

#[test]
fn lists_of_shards_that_are_too_short_or_too_long_are_damage() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let (_, blocks) = world.file(&mut writer, &name("f"), 9000);
    let block = &blocks[0];
    let (table, key) = (CatalogTable::Blocks, block_key(block.id));
    let parse = |row: &[u8]| {
        let row: BlockRow = unseal(table, &key, row).expect("the checksum holds");
        row.parse(block.id)
    };
    let row = seal(table, &key, &BlockRow::new(block));
    assert_eq!(parse(&row).as_ref(), Ok(block));
    // Behind everything else: three places of extent and offset, one frame of length and digest.
    let frame_len = 2 + 32;
    let (places, frames) = (3 * 3, 1 + frame_len);
    let at_frames = row.len() - 5 - frames;
    let at_places = at_frames - places - 1;
    assert_eq!((row[1 + at_places], row[1 + at_frames]), (3, 1), "the two counts");
    let shortened = resealed(table, &key, &row, |body| {
        body[at_places] = 2;
        body.drain(at_frames - 3..at_frames);
    });
    let lengthened = resealed(table, &key, &row, |body| {
        body[at_places] = 4;
        body.splice(at_frames..at_frames, [1, 1]);
    });
    let twice = resealed(table, &key, &row, |body| {
        body[at_frames] = 2;
        body.extend_from_within(at_frames + 1..);
    });
    let none = resealed(table, &key, &row, |body| {
        body[at_frames] = 0;
        body.truncate(at_frames + 1);
    });
    for row in [shortened, lengthened, twice, none] {
        assert_eq!(parse(&row), Err(ImpossibleField("list of shards")));
    }
}
