//! What nothing lives in, what was given back of it, and extents that were dropped.

use super::*;
use crate::error::CatalogTable;

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).expect("in order")
}

/// A catalog with files of each length, some of which are removed again; and the ranges in which nothing lives, by extent.
fn with_gaps() -> (World, BTreeMap<ExtentId, Vec<ByteRange>>) {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    for round in 0..3 {
        for len_bytes in LENGTHS {
            world.insert(&mut writer, &name(&format!("f{round}/{len_bytes}")), len_bytes);
        }
    }
    for len_bytes in LENGTHS {
        let file = name(&format!("f1/{len_bytes}"));
        writer.remove_file(&file).expect("sound").expect("there");
        world.files.remove(&file);
    }
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    let mut gaps: BTreeMap<ExtentId, Vec<ByteRange>> = BTreeMap::new();
    for (extent, end) in (1..).map(ExtentId::new).zip(world.ends) {
        let frames = world.files.values().flat_map(|(_, blocks)| blocks);
        let frames = frames.flat_map(|block| block.shards.iter().flatten());
        let mut frames: Vec<(u64, u64)> = frames
            .filter(|shard| shard.extent == extent)
            .map(|shard| (shard.offset, shard.offset + shard.frame_len_bytes))
            .collect();
        frames.push((end, end));
        frames.sort_unstable();
        let mut behind = 4096;
        for (start, until) in frames {
            if start > behind {
                gaps.entry(extent).or_default().push(range(behind, start));
            }
            behind = behind.max(until);
        }
    }
    (world, gaps)
}

#[test]
fn dead_ranges_are_all_that_lies_between_the_frames() {
    let (world, gaps) = with_gaps();
    assert!(gaps.len() > 1, "{gaps:?}");
    let reader = world.open(Access::Read).read().expect("reader");
    for extent in world.extents() {
        let dead = reader.dead_ranges(extent.id, 4096).expect("sound");
        assert_eq!(dead, gaps.get(&extent.id).cloned().unwrap_or_default());
    }
    assert_eq!(reader.dead_ranges(ExtentId::new(999), 0).expect("sound"), []);
}

#[test]
fn what_was_given_back_is_kept_joined_and_goes_with_its_bytes() {
    let (world, _) = with_gaps();
    let catalog = world.open(Access::Write);
    let extent = world.extent(1);
    let mut writer = catalog.write().expect("writer");
    let mut freed = |ranges: &[ByteRange]| {
        writer.mark_freed(extent.id, ranges).expect("sound");
        let found = writer.freed_of(extent.id).expect("sound");
        let bytes: u64 = found.iter().map(|range| range.len()).sum();
        let sums = writer.freed_bytes().expect("sound");
        assert_eq!(sums.get(&extent.id).copied().unwrap_or(0), bytes);
        found
    };
    assert_eq!(freed(&[range(8192, 12288)]), [range(8192, 12288)]);
    assert_eq!(freed(&[range(12288, 16384)]), [range(8192, 16384)]);
    assert_eq!(freed(&[range(8192, 8193)]), [range(8192, 16384)]);
    let end = extent.end_bytes;
    assert_eq!(
        freed(&[range(4096, 4100), range(end - 1, end + 50)]),
        [range(4096, 4100), range(8192, 16384), range(end - 1, end)],
        "nothing behind the end"
    );
    drop(writer);
    let mut writer = catalog.write().expect("writer");
    writer
        .mark_freed(ExtentId::new(999), &[range(0, 9)])
        .expect("sound");
    assert_eq!(writer.freed_of(ExtentId::new(999)).expect("sound"), []);
    // An extent that is cut back, and one that goes.
    let empty = ExtentRecord {
        id: ExtentId::new(60),
        end_bytes: 20_000,
        ..world.extent(1)
    };
    writer.put_extent(&empty).expect("a known volume");
    writer
        .mark_freed(empty.id, &[range(0, 4096), range(8192, 16384)])
        .expect("sound");
    let shorter = ExtentRecord {
        end_bytes: 9000,
        ..empty.clone()
    };
    writer.put_extent(&shorter).expect("nothing lives behind");
    assert_eq!(
        writer.freed_of(empty.id).expect("sound"),
        [range(0, 4096), range(8192, 9000)]
    );
    writer.remove_extent(empty.id).expect("nothing lives there");
    writer.commit().expect("committed");
    let counts = catalog.read().expect("reader").row_counts().expect("sound");
    assert_eq!(counts.get(CatalogTable::Freed), 0);
}

#[test]
fn a_dropped_extent_stays_as_a_row_that_holds_nothing() {
    let (mut world, _) = with_gaps();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let extent = ExtentRecord {
        id: ExtentId::new(60),
        end_bytes: 20_000,
        owner: None,
        ..world.extent(1)
    };
    writer.put_extent(&extent).expect("a known volume");
    writer.mark_freed(extent.id, &[range(4096, 8192)]).expect("sound");
    let (file, blocks) = world.file(&mut writer, &name("later"), 700);
    let next_ids = writer.next_ids().expect("sound");
    let drop_it = |end_bytes| Publication {
        extents: vec![PublishedExtent {
            id: extent.id,
            volume: 2,
            lane: extent.lane,
            state: ExtentState::Dropped,
            end_bytes,
        }],
        ..Publication::of_nothing(next_ids)
    };
    let wrong = writer.apply(&drop_it(4096), Vec::new());
    assert!(
        matches!(wrong, Err(CatalogError::ImpossiblePublication { .. })),
        "{wrong:?}"
    );
    writer
        .apply(&drop_it(0), Vec::new())
        .expect("nothing lives there");
    let dropped = writer.extent(extent.id).expect("sound").expect("a row");
    assert_eq!((dropped.state, dropped.end_bytes), (ExtentState::Dropped, 0));
    assert_eq!(writer.freed_of(extent.id).expect("sound"), []);
    drop((file, blocks));
    // One in which something lives is not.
    let full = PublishedExtent {
        id: ExtentId::new(2),
        lane: LaneIndex::new(1),
        ..drop_it(0).extents[0]
    };
    drop(writer);
    let mut writer = catalog.write().expect("writer");
    let publication = Publication {
        extents: vec![full],
        ..drop_it(0)
    };
    let refused = writer.apply(&publication, Vec::new());
    assert!(
        matches!(refused, Err(CatalogError::BehindExtentEnd { .. })),
        "{refused:?}"
    );
}
