//! Frames, extents and slots that are damaged, misplaced or gone.

use std::{fs, ops::Range, path::PathBuf, sync::Arc};

use bfdb::{
    archive::{DamageKind, DamagePart, RestoreOptions},
    catalog::Access,
    error::{OpenError, ReadError, RestoreError},
    host::RestoreTarget,
    units::ByteRange,
};
use bfdb_fault_injection::{Seeded, damage};

use crate::support::{
    BLOCKED_SEGMENT, DATA, Findings, LEAF, PARITY, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, name, open,
    painted,
};

use super::oracle::{BLOCKED, Bench, Expected, Frame};
use super::{lost_of, one_file};

#[test]
fn a_damaged_header_or_footer_is_found_and_costs_no_byte() {
    let bench = Bench::new(&[63, 2 * SEGMENT, BLOCKED]);
    for (part, range) in [
        (
            DamagePart::Header,
            (|_| Frame::header()) as fn(&Frame) -> Range<u64>,
        ),
        (DamagePart::Footer, Frame::footer),
    ] {
        bench
            .all_frames()
            .for_each(|frame| frame.flip(range(frame).start + 10..range(frame).start + 11));
        let expected = bench.check(&format!("every {part:?}"));
        assert_eq!(
            expected.findings.len(),
            bench.all_frames().count(),
            "each is found, none is lost"
        );
        assert!(
            expected
                .findings
                .iter()
                .all(|finding| finding.3.is_empty() && finding.4 == part)
        );
        assert!(expected.files.values().all(|file| file.1.is_empty()));
        bench.mend();
    }
}

#[test]
fn damaged_parity_is_found_while_all_data_is_whole() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 0);
    for parity in &block[usize::from(DATA)..] {
        for column in 0..parity.leaf_count() {
            parity.flip(parity.leaf(column).start..parity.leaf(column).start + 1);
            let expected = bench.check("one leaf of parity");
            assert_eq!(
                expected.findings,
                [(
                    "f0".to_owned(),
                    0,
                    parity.shard,
                    vec![column],
                    DamagePart::Payload
                )]
            );
            bench.mend();
        }
    }
}

#[test]
fn damaged_padding_changes_nothing() {
    let bench = Bench::new(&[63, 2 * SEGMENT, BLOCKED]);
    let mut hurt = 0;
    for frame in bench.all_frames() {
        let layout = &frame.layout;
        let behind_table = layout.table_a().map_or(192, ByteRange::end);
        for padding in [
            behind_table..layout.payload().start(),
            layout.footer().end()..layout.total_len_bytes(),
        ] {
            hurt += padding.end - padding.start;
            frame.flip(padding);
        }
    }
    assert!(hurt > 1000, "only {hurt} bytes of padding");
    assert_eq!(bench.check("padding"), Expected::default());
}

/// Cut inside a frame, a shard keeps the leaves and the table before the cut: scrub once called them gone.
#[test]
fn an_extent_cut_off_anywhere_in_a_frame_keeps_what_stands_before() {
    let bench = one_file(BLOCKED);
    for frame in [&bench.frames[4], &bench.frames[17], bench.frames.last().unwrap()] {
        let layout = &frame.layout;
        let cuts = [
            0,
            1,
            191,
            192,
            layout.payload().start() - 1,
            layout.payload().start(),
            layout.payload().start() + LEAF + 1,
            layout.payload().end() - 1,
            layout.payload().end(),
            layout.footer().start(),
            layout.footer().end() - 1,
        ];
        for cut in cuts {
            damage::truncate(&frame.extent, frame.offset + cut).unwrap();
            assert_eq!(
                lost_of(&bench.check(&format!("cut {cut} bytes into a frame"))),
                []
            );
            bench.mend();
        }
    }
}

/// The tables of four shards survive before a cut that takes their payloads: with them, the table column is not needed.
#[test]
fn tables_that_stand_before_a_cut_are_not_counted_as_lost() {
    let bench = one_file(SEGMENTED_BELOW);
    let block = bench.frames_of("f0", 4);
    for frame in &block[..4] {
        damage::truncate(&frame.extent, frame.offset + frame.layout.payload().start()).unwrap();
    }
    let expected = bench.check("four payloads cut off behind their tables");
    assert!(
        !lost_of(&expected).is_empty(),
        "four bad leaves in a column are more than three"
    );
}

#[test]
fn random_reads_of_four_kib_on_a_damaged_file_give_the_bytes() {
    let bench = one_file(300 * LEAF + 17);
    for path in bench.extents.keys().take(usize::from(PARITY)) {
        damage::delete(path).unwrap();
    }
    let snapshot = bench.store.archive.snapshot().unwrap();
    let findings = Arc::new(Findings::default());
    let reader = snapshot
        .open_file(&name("f0"), Arc::<Findings>::clone(&findings))
        .unwrap();
    let content = &bench.contents["f0"];
    let mut seeded = Seeded::new(9);
    for _ in 0..500 {
        let at = seeded.index(content.len());
        let mut bytes = [0; 4096];
        let count = reader.read_at(at as u64, &mut bytes).unwrap();
        assert!(
            bytes[..count] == content[at..(at + 4096).min(content.len())],
            "at {at}"
        );
    }
    assert!(
        !findings.0.lock().unwrap().is_empty(),
        "a reader tells of the damage that it meets"
    );
}

#[test]
fn damage_that_is_met_by_many_reads_of_one_block_is_told_once() {
    let bench = one_file(TINY_BELOW - 1);
    let frame = &bench.frames_of("f0", 0)[0];
    frame.flip(frame.leaf(3));
    let snapshot = bench.store.archive.snapshot().unwrap();
    let findings = Arc::new(Findings::default());
    let reader = snapshot
        .open_file(&name("f0"), Arc::<Findings>::clone(&findings))
        .unwrap();
    for _ in 0..191 {
        reader.read_at(3 * LEAF, &mut [0; 100]).unwrap();
    }
    assert_eq!(findings.0.lock().unwrap().len(), 1);
}

#[test]
fn restoring_a_damaged_file_gives_the_bytes_and_restoring_a_lost_one_leaves_nothing() {
    let bench = Bench::new(&[BLOCKED, 5 * SEGMENT]);
    let target_dir = bench.store.dir.path().join("out");
    let restore = |file: &str| {
        let target = RestoreTarget::open(&target_dir).unwrap();
        let snapshot = bench.store.archive.snapshot().unwrap();
        snapshot.restore(&name(file), &target, &RestoreOptions::default(), &())
    };
    let block = bench.frames_of("f0", 1);
    for frame in &block[..3] {
        frame.flip(frame.leaf(1));
        frame.flip_tables();
    }
    drop(restore("f0").unwrap());
    assert!(fs::read(target_dir.join("f0")).unwrap() == bench.contents["f0"]);
    fs::remove_file(target_dir.join("f0")).unwrap();
    block[5].flip(block[5].leaf(1));
    let error = restore("f0").unwrap_err();
    let RestoreError::Read {
        source: ReadError::Lost { range, .. },
    } = error
    else {
        panic!("{error:?}");
    };
    let first = block[0].in_file(1).unwrap();
    assert_eq!(range.start()..range.end(), first);
    assert_eq!(
        fs::read_dir(&target_dir).unwrap().count(),
        0,
        "nothing is left behind"
    );
    drop(restore("f1").unwrap());
    assert!(fs::read(target_dir.join("f1")).unwrap() == bench.contents["f1"]);
}

#[test]
fn a_lost_file_does_not_keep_scrub_from_the_others() {
    let bench = Bench::new(&[5000, 6000, 7000]);
    for frame in bench.frames_of("f1", 0) {
        frame.flip(0..frame.layout.content_len_bytes());
    }
    let expected = bench.check("one file of three");
    assert_eq!(expected.files.keys().collect::<Vec<_>>(), ["f1"]);
    let report = bench.store.archive.scrub(&()).unwrap();
    assert_eq!(
        (report.files, report.files_lost(), report.files_degraded()),
        (3, 1, 0)
    );
}

#[test]
fn frames_that_belong_elsewhere_are_called_misplaced_and_never_served() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 0);
    let (one, other) = (&block[0], &block[1]);
    damage::swap_ranges(
        (&one.extent, one.offset),
        (&other.extent, other.offset),
        one.layout.total_len_bytes(),
    )
    .unwrap();
    assert_eq!(lost_of(&bench.check("two frames swapped")), []);
    let findings = Findings::default();
    drop(bench.store.archive.scrub(&findings).unwrap());
    let kinds: Vec<_> = findings
        .0
        .into_inner()
        .unwrap()
        .iter()
        .map(|finding| (finding.shard.get(), finding.kind))
        .collect();
    assert_eq!(kinds, [(0, DamageKind::Misplaced), (1, DamageKind::Misplaced)]);
}

#[test]
fn swapped_extent_files_cost_as_much_as_two_lost_ones() {
    let bench = Bench::new(&[BLOCKED, 4000]);
    let paths: Vec<&PathBuf> = bench.extents.keys().collect();
    for (one, other) in [(0, 1), (2, 8), (6, 7)] {
        fs::write(paths[one], &bench.extents[paths[other]]).unwrap();
        fs::write(paths[other], &bench.extents[paths[one]]).unwrap();
        assert_eq!(lost_of(&bench.check(&format!("{one} and {other} swapped"))), []);
        bench.mend();
    }
}

#[test]
fn extents_of_another_archive_are_misplaced_even_where_their_bytes_are_right() {
    // The same length, content and name. What their descriptors say is not the same: they were not committed at one moment.
    let (bench, twin) = (one_file(5 * SEGMENT), one_file(5 * SEGMENT));
    for path in bench.extents.keys() {
        let theirs = twin
            .store
            .root()
            .join(path.strip_prefix(bench.store.root()).unwrap());
        fs::copy(theirs, path).unwrap();
    }
    assert!(bench.store.get("f0").unwrap() == bench.contents["f0"]);
    let findings = Findings::default();
    let report = bench.store.archive.scrub(&findings).unwrap();
    assert_eq!(report.damaged_shards, bench.all_frames().count() as u64);
    let findings = findings.0.into_inner().unwrap();
    assert!(
        findings
            .iter()
            .all(|finding| finding.kind == DamageKind::Misplaced)
    );
    assert!(
        findings
            .iter()
            .filter(|finding| finding.name == name("f0"))
            .all(|finding| finding.part == DamagePart::Header)
    );
}

/// Without its slots nobody knows how new the catalog is, so nothing is written; reading needs no slot. A missing or cut
/// slot file once kept readers out too.
#[test]
fn without_the_slots_of_a_volume_files_are_read_and_opening_for_writing_is_refused() {
    let store = Store::new();
    store.put("file", &painted(BLOCKED, 4));
    store.put("again", &painted(10, 4));
    let (root, slots) = (store.root(), store.root().join("volumes/v0/volume.bfv"));
    store.archive.close().unwrap();
    let _dir = store.dir;
    let whole = fs::read(&slots).unwrap();
    let zeros = vec![0; 8192];
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    flipped[4096 + 20] ^= 1;
    for (story, bytes) in [
        ("zeros", Some(&zeros[..])),
        ("flipped bits", Some(&flipped)),
        ("empty", Some(&[])),
        ("cut", Some(&whole[..100])),
        ("missing", None),
    ] {
        match bytes {
            Some(bytes) => fs::write(&slots, bytes).unwrap(),
            None => fs::remove_file(&slots).unwrap(),
        }
        let archive = open(&root, Access::Read);
        assert!(
            crate::support::get(&archive, "file").unwrap() == painted(BLOCKED, 4),
            "{story}"
        );
        let refused = crate::support::try_open(&root, Access::Write).unwrap_err();
        assert!(
            matches!(refused, OpenError::VolumeSlots { .. } | OpenError::Volume { .. }),
            "{story}: {refused:?}"
        );
    }
    fs::write(&slots, whole).unwrap();
    drop(open(&root, Access::Write));
}

#[test]
fn one_slot_alone_serves() {
    let store = Store::new();
    for index in 0..3 {
        store.put(&index.to_string(), b"something");
    }
    let slots = store.root().join("volumes/v0/volume.bfv");
    let store = store.reopen();
    let whole = fs::read(&slots).unwrap();
    let newest = usize::from(whole[4096 + 48] > whole[48]);
    let mut other_gone = whole.clone();
    other_gone[(1 - newest) * 4096..][..4096].fill(0xEE);
    fs::write(&slots, other_gone).unwrap();
    let store = store.reopen();
    store.put("more", b"something");
    let store = store.reopen();
    assert_eq!(store.names().len(), 4);
}

#[test]
fn an_open_extent_that_was_damaged_is_left_alone_and_the_next_commit_goes_elsewhere() {
    for deletes in [true, false] {
        let store = Store::new();
        store.put("before", &painted(BLOCKED, 1));
        let extents = store.extents();
        if deletes {
            extents[..3].iter().for_each(|path| damage::delete(path).unwrap());
        } else {
            extents[..3]
                .iter()
                .for_each(|path| damage::truncate(path, 5000).unwrap());
        }
        store.put("after", &painted(BLOCKED, 2));
        assert!(store.get("before").unwrap() == painted(BLOCKED, 1));
        assert!(store.get("after").unwrap() == painted(BLOCKED, 2));
        let report = store.archive.scrub(&()).unwrap();
        let damaged: Vec<String> = report.damage.iter().map(|file| file.name.to_string()).collect();
        assert_eq!(
            damaged,
            ["before", "descriptor of commit 1"],
            "the new file has no part in the old damage"
        );
        assert!(report.damage.iter().all(|file| file.lost.is_empty()));
    }
}

#[test]
fn the_last_data_shard_of_odd_lengths_and_short_blocks_may_be_gone() {
    for len in [
        1,
        1023,
        1025,
        TINY_BELOW + 1,
        SEGMENTED_BELOW + 1,
        5 * u64::from(DATA) * BLOCKED_SEGMENT + 1,
    ] {
        let bench = one_file(len);
        let last_block = bench.frames.last().unwrap().block;
        let frames = bench.frames_of("f0", last_block);
        let last = frames
            .iter()
            .rfind(|frame| frame.shard < frame.geometry.shape().data());
        let last = last.unwrap();
        last.flip(0..last.layout.content_len_bytes());
        assert_eq!(lost_of(&bench.check(&format!("{len} bytes"))), []);
    }
}
