//! Damage at rest: what can be read, what is lost, and that every operation says the same about it.
//!
//! The oracle here compares the bytes of every extent with what they were, and follows docs/format.md, sections 5 and 6, in
//! the slowest way there is. From the library it takes lengths and places, and no judgement.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    archive::{DamageKind, DamagePart, FileDamage, Finding, RestoreOptions},
    catalog::Access,
    error::{OpenError, ReadError, RestoreError},
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry},
    host::{Durability, RestoreTarget},
    units::{BlockIndex, ByteRange, ColumnIndex, ShardIndex},
};
use bfdb_fault_injection::{Seeded, damage};

use crate::support::{
    BLOCKED_SEGMENT, DATA, Findings, LEAF, PARITY, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, edge_lengths,
    name, open, painted, small_policy,
};

/// A file of tier 3 with six blocks, the last data shard of each shorter than the others.
const BLOCKED: u64 = SEGMENTED_BELOW + 20 * LEAF + 333;

/// The frame of one shard.
#[derive(Clone)]
struct Frame {
    file: String,
    block: u64,
    shard: u16,
    extent: PathBuf,
    offset: u64,
    layout: FrameLayout,
    geometry: BlockGeometry,
}

impl Frame {
    fn leaf_count(&self) -> u32 {
        self.geometry.leaf_count(ShardIndex::new(self.shard))
    }

    /// The bytes of a leaf, counted in the frame.
    fn leaf(&self, column: u32) -> Range<u64> {
        let range = self
            .geometry
            .leaf_range(ShardIndex::new(self.shard), ColumnIndex::new(column));
        let start = self.layout.payload().start();
        let range = range.expect("the shard has that leaf");
        start + range.start()..start + range.end()
    }

    /// The bytes of the file that a leaf holds.
    fn in_file(&self, column: u32) -> Option<Range<u64>> {
        let range = self
            .geometry
            .leaf_range_in_file(ShardIndex::new(self.shard), ColumnIndex::new(column))?;
        Some(range.start()..range.end())
    }

    fn tables(&self) -> [Range<u64>; 2] {
        [self.layout.table_a(), self.layout.table_b()].map(|range| {
            let range = range.expect("the frame has tables");
            range.start()..range.end()
        })
    }

    fn header() -> Range<u64> {
        0..192
    }

    fn footer(&self) -> Range<u64> {
        self.layout.footer().start()..self.layout.footer().end()
    }

    /// Flips the bytes of a range of the frame.
    fn flip(&self, range: Range<u64>) {
        range.for_each(|at| damage::flip_byte(&self.extent, self.offset + at).unwrap());
    }

    fn flip_tables(&self) {
        self.tables().into_iter().for_each(|table| self.flip(table));
    }
}

/// What the oracle says about one archive.
#[derive(Debug, PartialEq, Eq, Default)]
struct Expected {
    /// By file: damaged shards, and the lost bytes.
    files: BTreeMap<String, (u64, Vec<Range<u64>>)>,
    /// File, block, shard, bad columns, worst part.
    findings: Vec<(String, u64, u16, Vec<u32>, DamagePart)>,
}

/// An archive whose bytes are known.
struct Bench {
    store: Store,
    contents: BTreeMap<String, Vec<u8>>,
    extents: BTreeMap<PathBuf, Vec<u8>>,
    frames: Vec<Frame>,
}

impl Bench {
    /// An archive with one file for each length, named by its position.
    fn new(lengths: &[u64]) -> Self {
        let store = Store::new();
        let mut contents = BTreeMap::new();
        for (index, &len) in lengths.iter().enumerate() {
            let (file, content) = (format!("f{index}"), painted(len, index as u64 + 1));
            if index % 2 == 0 {
                store.put(&file, &content);
            } else {
                store.put_file(&file, &content);
            }
            contents.insert(file, content);
        }
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        let extents = store.extents().into_iter().map(read).collect();
        let frames = frames_of(&store, &contents);
        Self {
            store,
            contents,
            extents,
            frames,
        }
    }

    fn frames_of(&self, file: &str, block: u64) -> Vec<Frame> {
        self.frames
            .iter()
            .filter(|frame| frame.file == file && frame.block == block)
            .cloned()
            .collect()
    }

    /// Puts every extent back as it was.
    fn mend(&self) {
        for (path, bytes) in &self.extents {
            if fs::read(path).ok().as_ref() != Some(bytes) {
                fs::write(path, bytes).unwrap();
            }
        }
    }

    /// Asks the oracle, then every operation, and compares.
    fn check(&self, story: &str) -> Expected {
        let expected = self.expected();
        self.check_scrub_and_verify(&expected, story);
        for file in self.contents.keys() {
            let lost = expected.files.get(file).map_or(&[][..], |damage| &damage.1);
            self.check_positional_reads(file, lost, story);
            self.check_sequential_read(file, lost, story);
        }
        expected
    }

    fn check_scrub_and_verify(&self, expected: &Expected, story: &str) {
        let listed = |damage: &[FileDamage]| -> BTreeMap<String, (u64, Vec<Range<u64>>)> {
            let one = |file: &FileDamage| {
                let lost = file.lost.iter().map(|range| range.start()..range.end()).collect();
                (file.name.to_string(), (file.damaged_shards, lost))
            };
            damage.iter().map(one).collect()
        };
        let findings = Findings::default();
        let scrubbed = self.store.archive.scrub(&findings).unwrap();
        assert_eq!(listed(&scrubbed.damage), expected.files, "scrub, {story}");
        let findings = findings.0.into_inner().unwrap();
        let found: Vec<_> = findings.iter().map(told).collect();
        assert_eq!(found, expected.findings, "what scrub tells, {story}");
        for finding in &findings {
            let geometry = self.frames_of(&finding.name.to_string(), finding.block.get())[0].geometry;
            let block = geometry.range().start()..geometry.range().end();
            let lost = &expected.files[&finding.name.to_string()].1;
            let is_hit = lost
                .iter()
                .any(|lost| lost.start < block.end && block.start < lost.end);
            assert_eq!(finding.is_recoverable, !is_hit, "{finding:?}, {story}");
        }
        let verified_findings = Findings::default();
        let snapshot = self.store.archive.snapshot().unwrap();
        let verified = snapshot.verify(None, &verified_findings).unwrap();
        assert_eq!(verified.damage, scrubbed.damage, "verify, {story}");
        assert_eq!(
            verified_findings.0.into_inner().unwrap(),
            findings,
            "what verify tells, {story}"
        );
    }

    fn check_positional_reads(&self, file: &str, lost: &[Range<u64>], story: &str) {
        let content = &self.contents[file];
        let snapshot = self.store.archive.snapshot().unwrap();
        let reader = snapshot.open_file(&name(file), Arc::new(())).unwrap();
        let mut leaf = vec![0; LEAF as usize];
        for start in (0..content.len() as u64).step_by(LEAF as usize) {
            let end = (start + LEAF).min(content.len() as u64);
            let is_lost = lost.iter().any(|lost| lost.start <= start && end <= lost.end);
            match reader.read_at(start, &mut leaf) {
                Ok(count) => {
                    assert!(!is_lost, "{file} at {start} was served though lost, {story}");
                    assert_eq!(count as u64, end - start);
                    assert!(
                        leaf[..count] == content[start as usize..end as usize],
                        "O1: wrong bytes of {file} at {start}, {story}"
                    );
                }
                Err(ReadError::Lost { range, .. }) => {
                    assert!(
                        is_lost,
                        "O3: {file} at {start} can be decoded and is called lost, {story}"
                    );
                    assert_eq!((range.start(), range.end()), (start, end), "{story}");
                }
                Err(other) => panic!("{other:?}, {story}"),
            }
        }
    }

    fn check_sequential_read(&self, file: &str, lost: &[Range<u64>], story: &str) {
        let content = &self.contents[file];
        let snapshot = self.store.archive.snapshot().unwrap();
        let mut reader = snapshot.open_file(&name(file), Arc::new(())).unwrap();
        let mut read = Vec::new();
        let mut piece = vec![0; 3000];
        let end = loop {
            match reader.read_next(&mut piece) {
                Ok(0) => break None,
                Ok(count) => read.extend_from_slice(&piece[..count]),
                Err(ReadError::Lost { range, .. }) => break Some(range.start()),
                Err(other) => panic!("{other:?}, {story}"),
            }
        };
        let first = lost.first().map(|range| range.start);
        assert_eq!(end, first, "where reading {file} ends, {story}");
        let good = first.unwrap_or(content.len() as u64);
        assert!(
            read == content[..good as usize],
            "O1: wrong bytes of {file}, {story}"
        );
    }

    fn check_restore(&self, expected: &Expected, story: &str) {
        let dir = self.store.dir.path().join("restored");
        let target = RestoreTarget::open(&dir).unwrap();
        let options = RestoreOptions {
            durability: Durability::Buffered,
            ..RestoreOptions::default()
        };
        let snapshot = self.store.archive.snapshot().unwrap();
        for (file, content) in &self.contents {
            let lost = expected.files.get(file).map_or(&[][..], |damage| &damage.1);
            match snapshot.restore(&name(file), &target, &options, &()) {
                Ok(_) => {
                    assert_eq!(lost, [], "{file} was restored though bytes are lost, {story}");
                    assert!(
                        fs::read(dir.join(file)).unwrap() == *content,
                        "O1: {file}, {story}"
                    );
                    fs::remove_file(dir.join(file)).unwrap();
                }
                Err(RestoreError::Read {
                    source: ReadError::Lost { range, .. },
                }) => assert!(
                    lost.iter()
                        .any(|lost| lost.start <= range.start() && range.end() <= lost.end),
                    "O3: {file} at {range}, {story}"
                ),
                Err(other) => panic!("{file}: {other:?}, {story}"),
            }
        }
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            0,
            "nothing is left behind, {story}"
        );
    }

    /// The oracle.
    fn expected(&self) -> Expected {
        let now: BTreeMap<&Path, Vec<u8>> = self
            .extents
            .keys()
            .map(|path| (path.as_path(), fs::read(path).unwrap_or_default()))
            .collect();
        let is_whole = |frame: &Frame, range: Range<u64>| {
            let range = (frame.offset + range.start) as usize..(frame.offset + range.end) as usize;
            now[frame.extent.as_path()].get(range.clone()) == Some(&self.extents[&frame.extent][range])
        };
        let mut expected = Expected::default();
        let mut blocks: BTreeMap<(String, u64), Vec<&Frame>> = BTreeMap::new();
        for frame in &self.frames {
            blocks
                .entry((frame.file.clone(), frame.block))
                .or_default()
                .push(frame);
        }
        for ((file, _), frames) in blocks {
            let shards: Vec<ShardState> = frames
                .iter()
                .map(|frame| ShardState::of(frame, |range| is_whole(frame, range)))
                .collect();
            let known = known_tables(&frames, &shards);
            let lost = lost_bytes(&frames, &shards, &known);
            let damaged = findings_of(&frames, &shards, &known);
            if damaged.is_empty() {
                assert!(lost.is_empty());
                continue;
            }
            let entry = expected.files.entry(file).or_default();
            entry.0 += damaged.len() as u64;
            for range in lost {
                match entry.1.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => entry.1.push(range),
                }
            }
            expected.findings.extend(damaged);
        }
        expected
    }
}

/// What of a frame is as it was written.
struct ShardState {
    header: bool,
    footer: bool,
    tables: Option<[bool; 2]>,
    leaves: Vec<bool>,
}

impl ShardState {
    fn of(frame: &Frame, is_whole: impl Fn(Range<u64>) -> bool) -> Self {
        Self {
            header: is_whole(Frame::header()),
            footer: is_whole(frame.footer()),
            tables: (frame.leaf_count() > 1).then(|| frame.tables().map(&is_whole)),
            leaves: (0..frame.leaf_count())
                .map(|column| is_whole(frame.leaf(column)))
                .collect(),
        }
    }

    /// Whether the shard alone is enough to know its leaf table: a copy, the catalog's digest of its one leaf, or hashing
    /// a payload that is whole.
    fn knows_its_table(&self) -> bool {
        self.tables.is_none_or(|[a, b]| a || b) || self.leaves.iter().all(|&leaf| leaf)
    }
}

/// For every shard, whether its leaves can be told from wrong ones.
fn known_tables(frames: &[&Frame], shards: &[ShardState]) -> Vec<bool> {
    let geometry = frames[0].geometry;
    let own: Vec<bool> = shards.iter().map(ShardState::knows_its_table).collect();
    if geometry.shape().is_replication() {
        // All replicas have the same table.
        return vec![own.contains(&true); own.len()];
    }
    let table_column = geometry.table_column().map(|column| column.get() as usize);
    let has_slice = |index: usize| {
        let is_parity = frames[index].shard >= geometry.shape().data();
        own[index] && (!is_parity || table_column.is_none_or(|column| shards[index].leaves[column]))
    };
    let gone = (0..shards.len()).filter(|index| !has_slice(*index)).count();
    let decodes = table_column.is_some() && gone <= usize::from(geometry.shape().parity());
    own.iter()
        .zip(frames)
        .map(|(own, frame)| *own || (decodes && frame.shard < geometry.shape().data()))
        .collect()
}

/// The bytes of the file that no column gives back, in order.
fn lost_bytes(frames: &[&Frame], shards: &[ShardState], known: &[bool]) -> Vec<Range<u64>> {
    let geometry = frames[0].geometry;
    let is_bad =
        |index: usize, column: usize| shards[index].leaves.get(column) == Some(&false) || !known[index];
    let has_leaf = |index: usize, column: usize| column < shards[index].leaves.len();
    let mut lost = Vec::new();
    for column in 0..geometry.column_count() {
        let at = column as usize;
        let bad: Vec<usize> = (0..frames.len())
            .filter(|&index| has_leaf(index, at) && is_bad(index, at))
            .collect();
        let decodes = bad.len() <= usize::from(geometry.shape().parity());
        for index in bad {
            // What decodes must still be checked, and a data shard without a table has nothing to be checked against.
            if !(decodes && known[index]) {
                lost.extend(frames[index].in_file(column));
            }
        }
    }
    lost.sort_by_key(|range| range.start);
    lost.dedup();
    lost
}

fn findings_of(
    frames: &[&Frame],
    shards: &[ShardState],
    known: &[bool],
) -> Vec<(String, u64, u16, Vec<u32>, DamagePart)> {
    let mut findings = Vec::new();
    for ((frame, shard), known) in frames.iter().zip(shards).zip(known) {
        let columns: Vec<u32> = (0..frame.leaf_count())
            .filter(|&column| !known || !shard.leaves[column as usize])
            .collect();
        let part = if shard.leaves.contains(&false) {
            DamagePart::Payload
        } else if !shard.footer {
            DamagePart::Footer
        } else if shard.tables.is_some_and(|tables| tables.contains(&false)) {
            DamagePart::Table
        } else if !shard.header {
            DamagePart::Header
        } else {
            continue;
        };
        findings.push((frame.file.clone(), frame.block, frame.shard, columns, part));
    }
    findings
}

fn told(finding: &Finding) -> (String, u64, u16, Vec<u32>, DamagePart) {
    (
        finding.name.to_string(),
        finding.block.get(),
        finding.shard.get(),
        finding.columns.iter().map(ColumnIndex::get).collect(),
        finding.part,
    )
}

fn extent_path(root: &Path, extent: u64) -> PathBuf {
    root.join(format!("volumes/v0/extents/{extent:08}.bfx"))
}

fn frames_of(store: &Store, contents: &BTreeMap<String, Vec<u8>>) -> Vec<Frame> {
    let snapshot = store.archive.snapshot().unwrap();
    let mut frames = Vec::new();
    for (file, content) in contents {
        let geometry = FileGeometry::new(content.len() as u64, &small_policy());
        let places = snapshot.places(&name(file)).unwrap();
        assert_eq!(places.len() as u64, geometry.block_count());
        for (index, places) in (0..).zip(places) {
            let block = geometry.block(BlockIndex::new(index));
            for (shard, place) in (0..).zip(places.shards) {
                let layout = FrameLayout::of_shard(&block, ShardIndex::new(shard));
                assert_eq!(
                    place.is_some(),
                    layout.is_some(),
                    "shards that exist have a place"
                );
                let (Some((_, extent, offset)), Some(layout)) = (place, layout) else {
                    continue;
                };
                frames.push(Frame {
                    file: file.clone(),
                    block: index,
                    shard,
                    extent: extent_path(&store.root(), extent.get()),
                    offset,
                    layout,
                    geometry: block,
                });
            }
        }
    }
    frames
}

/// Hurts an archive somewhere, often just inside or just beyond what its codes survive.
fn hurt(bench: &Bench, seeded: &mut Seeded) {
    let paths: Vec<&PathBuf> = bench.extents.keys().collect();
    let frame = &bench.frames[seeded.index(bench.frames.len())];
    let block = bench.frames_of(&frame.file, frame.block);
    let mut order: Vec<usize> = (0..block.len()).collect();
    seeded.shuffle(&mut order);
    let count = usize::from(frame.geometry.shape().parity()) + seeded.index(2);
    let chosen: Vec<&Frame> = order.iter().take(count).map(|&index| &block[index]).collect();
    let path = paths[seeded.index(paths.len())];
    let len = fs::metadata(path).map_or(0, |metadata| metadata.len());
    match seeded.below(9) {
        0 if len > 0 => (0..5).for_each(|_| drop(damage::flip_random_byte(path, seeded))),
        1 if len > 0 => {
            let start = seeded.below(len);
            let end = (start + 1 + seeded.below(6000)).min(len);
            damage::zero_range(path, ByteRange::new(start, end).unwrap()).unwrap();
        }
        2 if len > 0 && seeded.below(3) == 0 => damage::truncate(path, seeded.below(len)).unwrap(),
        3 if len > 0 && seeded.below(3) == 0 => damage::delete(path).unwrap(),
        4 | 5 => {
            let column = seeded.below(frame.leaf_count().into()) as u32;
            for frame in chosen {
                flip_in(frame, |frame| frame.leaf(column.min(frame.leaf_count() - 1)));
            }
        }
        6 => chosen.iter().for_each(|frame| {
            flip_in(frame, |frame| frame.tables_or_header()[0].clone());
            flip_in(frame, |frame| frame.tables_or_header()[1].clone());
        }),
        7 => {
            flip_in(frame, |_| Frame::header());
            flip_in(frame, Frame::footer);
        }
        _ => {
            // Anything in the frame, padding too.
            let at = seeded.below(frame.layout.total_len_bytes());
            flip_in(frame, |_| at..at + 1);
        }
    }
}

impl Frame {
    fn tables_or_header(&self) -> [Range<u64>; 2] {
        if self.leaf_count() > 1 {
            self.tables()
        } else {
            [Self::header(), self.footer()]
        }
    }
}

/// Flips the first byte of a range, where it still exists.
fn flip_in(frame: &Frame, range: impl Fn(&Frame) -> Range<u64>) {
    let at = frame.offset + range(frame).start;
    let len = fs::metadata(&frame.extent).map_or(0, |metadata| metadata.len());
    if at < len {
        damage::flip_byte(&frame.extent, at).unwrap();
    }
}

fn random_damage(lengths: &[u64], seeds: Range<u64>) {
    let bench = Bench::new(lengths);
    let (mut lost, mut degraded) = (0, 0);
    for seed in seeds {
        let mut seeded = Seeded::new(seed);
        (0..=seeded.below(6)).for_each(|_| hurt(&bench, &mut seeded));
        let story = format!("seed {seed}, lengths {lengths:?}");
        let expected = bench.check(&story);
        if seed % 4 == 0 {
            bench.check_restore(&expected, &story);
        }
        lost += usize::from(expected.files.values().any(|file| !file.1.is_empty()));
        degraded += usize::from(expected.files.values().any(|file| file.1.is_empty()));
        bench.mend();
    }
    assert!(
        lost > 0 && degraded > 0,
        "{lost} lost, {degraded} degraded: the damage is too much or too little"
    );
    bench.check("after mending everything");
}

#[test]
fn random_damage_of_tiny_files_is_served_around_or_named_exactly() {
    random_damage(&[1, LEAF, LEAF + 1, 3 * LEAF + 77, TINY_BELOW - 1], 1000..1120);
}

#[test]
fn random_damage_of_segmented_files_is_served_around_or_named_exactly() {
    random_damage(
        &[TINY_BELOW, 2 * SEGMENT + 1, 5 * SEGMENT - 7, SEGMENTED_BELOW - 1],
        2000..2120,
    );
}

#[test]
fn random_damage_of_blocked_files_is_served_around_or_named_exactly() {
    random_damage(&[SEGMENTED_BELOW, BLOCKED, 200_000], 3000..3130);
}

#[test]
fn random_damage_of_all_tiers_side_by_side_is_served_around_or_named_exactly() {
    random_damage(
        &[0, 63, 5000, TINY_BELOW + 1, SEGMENTED_BELOW + 1, 6 * 24 * LEAF],
        4000..4080,
    );
}

#[test]
fn random_damage_of_every_edge_length_is_served_around_or_named_exactly() {
    random_damage(&edge_lengths(), 5000..5012);
}

fn one_file(len: u64) -> Bench {
    Bench::new(&[len])
}

fn lost_of(expected: &Expected) -> Vec<Range<u64>> {
    expected
        .files
        .get("f0")
        .map_or_else(Vec::new, |file| file.1.clone())
}

#[test]
fn a_byte_flipped_at_a_random_place_of_every_extent_in_turn_is_served_right() {
    let bench = Bench::new(&[63, TINY_BELOW - 1, 5 * SEGMENT - 7, BLOCKED]);
    for (seed, path) in (0..).zip(bench.extents.keys().cycle().take(4 * bench.extents.len())) {
        let at = damage::flip_random_byte(path, &mut Seeded::new(seed)).unwrap();
        let expected = bench.check(&format!("{} at {at}", path.display()));
        assert!(expected.files.values().all(|file| file.1.is_empty()));
        bench.mend();
    }
}

#[test]
fn any_extents_up_to_the_parity_count_may_be_deleted() {
    let bench = Bench::new(&[LEAF, TINY_BELOW, BLOCKED, 200_000]);
    let paths: Vec<&PathBuf> = bench.extents.keys().collect();
    assert_eq!(
        paths.len(),
        usize::from(DATA + PARITY),
        "one extent for each lane"
    );
    for first in 0..paths.len() {
        for step in [1, 2, 4] {
            for index in 0..usize::from(PARITY) {
                drop(damage::delete(paths[(first + index * step) % paths.len()]));
            }
            let expected = bench.check(&format!("from {first} in steps of {step}"));
            assert!(expected.files.values().all(|file| file.1.is_empty()));
            bench.mend();
        }
    }
}

#[test]
fn one_leaf_more_than_the_parity_count_is_exactly_the_lost_range() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 2);
    for shard in [0, 7, 8] {
        damage::delete(&block[shard].extent).unwrap();
    }
    assert_eq!(lost_of(&bench.check("as many as the code survives")), []);
    block[3].flip(block[3].leaf(1).start..block[3].leaf(1).start + 1);
    let mut lost = [block[0].in_file(1), block[3].in_file(1)].map(|range| range.unwrap());
    lost.sort_by_key(|range| range.start);
    assert_eq!(lost_of(&bench.check("and one leaf")), lost);
    let read = bench.store.get("f0");
    let Err(ReadError::Lost {
        range,
        block,
        bad,
        tolerated,
        ..
    }) = read
    else {
        panic!("{read:?}");
    };
    assert_eq!(
        (range.start()..range.end(), block.get(), bad, tolerated),
        (lost[0].clone(), 2, 4, 3)
    );
}

#[test]
fn the_highest_segment_a_whole_block_of_parity_and_all_parity_may_be_gone() {
    let bench = one_file(BLOCKED);
    for block in 0..=bench.frames.iter().map(|frame| frame.block).max().unwrap() {
        let frames = bench.frames_of("f0", block);
        let highest = frames.iter().rfind(|frame| frame.shard < DATA).unwrap();
        highest.flip(0..highest.layout.content_len_bytes());
    }
    assert_eq!(lost_of(&bench.check("the highest segment of every block")), []);
    bench.mend();
    for frame in bench.frames.iter().filter(|frame| frame.shard >= DATA) {
        frame.flip(0..frame.layout.content_len_bytes());
    }
    let expected = bench.check("all parity");
    assert_eq!(
        lost_of(&expected),
        [],
        "the predecessor called this unrecoverable, or healthy"
    );
    assert_eq!(
        expected.files["f0"].0,
        u64::from(PARITY) * (bench.frames.last().unwrap().block + 1)
    );
}

/// The tables of m shards are decoded from the table column.
#[test]
fn leaf_tables_of_as_many_shards_as_the_code_survives_may_be_destroyed() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for shards in [[0, 1, 2], [3, 4, 5], [0, 5, 6], [6, 7, 8], [2, 4, 8]] {
        for frame in shards.map(|shard: usize| &block[shard]) {
            frame.flip_tables();
            frame.flip(frame.leaf(0).start..frame.leaf(0).start + 1);
        }
        assert_eq!(
            lost_of(&bench.check(&format!("tables and a leaf of {shards:?}"))),
            []
        );
        bench.mend();
    }
}

/// Scrub once called every byte of such shards lost, although hashing them proves each.
#[test]
fn tables_of_more_shards_than_parity_cost_nothing_while_payloads_are_whole() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for count in [4, 6, 9] {
        block[..count].iter().for_each(Frame::flip_tables);
        let expected = bench.check(&format!("{count} tables"));
        assert_eq!(lost_of(&expected), []);
        assert!(
            expected
                .findings
                .iter()
                .all(|finding| finding.4 == DamagePart::Table)
        );
        bench.mend();
    }
}

/// The table of a shard with a bad leaf was once not decoded when another had to be found by hashing its shard.
#[test]
fn a_shard_that_lost_its_tables_but_no_leaf_still_helps_to_decode_the_tables_of_others() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    block[..6].iter().for_each(Frame::flip_tables);
    for frame in &block[..3] {
        frame.flip(frame.leaf(2).start..frame.leaf(2).start + 1);
    }
    assert_eq!(lost_of(&bench.check("six tables, three of them by hashing")), []);
}

/// Leaves that nothing can prove were once counted as decodable by scrub, and verify failed with a wrong root.
#[test]
fn a_shard_whose_table_is_beyond_decoding_is_lost_as_a_whole_and_no_other_is() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for parity in &block[usize::from(DATA)..] {
        let table_slice = parity.leaf(parity.leaf_count() - 1);
        parity.flip(table_slice.start..table_slice.start + 1);
    }
    for frame in &block[1..3] {
        frame.flip(frame.leaf(1).start..frame.leaf(1).start + 1);
    }
    block[1].flip_tables();
    let expected = bench.check("three table slices, one table, one leaf of its shard");
    let (first, last) = (block[1].in_file(0).unwrap(), block[1].in_file(3).unwrap());
    assert_eq!(
        lost_of(&expected),
        vec![Range {
            start: first.start,
            end: last.end
        }]
    );
}

/// A data shard of one leaf needs no table: the catalog has its hash. It once counted as a lost table when its extent was
/// gone, and so cost bytes in the report.
#[test]
fn a_shard_of_one_leaf_never_loses_its_table() {
    let bench = one_file(SEGMENTED_BELOW);
    let block: Vec<Frame> = bench.frames.clone();
    let short: Vec<&Frame> = block.iter().filter(|frame| frame.leaf_count() == 1).collect();
    assert!(
        !short.is_empty(),
        "100 leaves in 17 columns of 6 leave a short shard"
    );
    for frame in short {
        damage::delete(&frame.extent).unwrap();
        let others = bench.frames_of("f0", frame.block);
        for other in others.iter().filter(|other| other.leaf_count() > 1).take(3) {
            other.flip_tables();
            other.flip(other.leaf(1).start..other.leaf(1).start + 1);
        }
        assert_eq!(lost_of(&bench.check("a short shard and three tables")), []);
        bench.mend();
    }
}

#[test]
fn every_shard_of_a_block_may_be_damaged_in_another_column() {
    let bench = one_file(BLOCKED);
    for frame in bench.frames_of("f0", 3) {
        let column = u32::from(frame.shard) % frame.leaf_count().min(4);
        frame.flip(frame.leaf(column).start..frame.leaf(column).end);
    }
    assert_eq!(lost_of(&bench.check("nine shards, four columns")), []);
}

#[test]
fn all_four_replicas_may_be_damaged_in_different_leaves() {
    for len in [TINY_BELOW - 1, 2 * SEGMENT] {
        let bench = one_file(len);
        for frame in bench.frames_of("f0", 0) {
            frame.flip(frame.leaf(u32::from(frame.shard) * 2));
        }
        assert_eq!(lost_of(&bench.check("four replicas")), []);
    }
}

/// One whole replica proves the table for all. Restoring once failed with a wrong root here, and verify with an error.
#[test]
fn a_replica_that_is_whole_makes_up_for_all_leaf_tables() {
    let bench = one_file(TINY_BELOW - 1);
    for frame in bench.frames_of("f0", 0) {
        frame.flip_tables();
        if frame.shard != 2 {
            let leaf = frame.leaf(u32::from(frame.shard));
            frame.flip(leaf.start..leaf.start + 1);
        }
    }
    let expected = bench.check("no table, one whole payload");
    assert_eq!(lost_of(&expected), []);
    let columns: Vec<&[u32]> = expected.findings.iter().map(|finding| &finding.3[..]).collect();
    assert_eq!(
        columns,
        [&[0][..], &[1], &[], &[3]],
        "each finding names the leaf that is bad, no more"
    );
    let target = RestoreTarget::open(&bench.store.dir.path().join("out")).unwrap();
    let snapshot = bench.store.archive.snapshot().unwrap();
    drop(
        snapshot
            .restore(&name("f0"), &target, &RestoreOptions::default(), &())
            .unwrap(),
    );
}

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
            .frames
            .iter()
            .for_each(|frame| frame.flip(range(frame).start + 10..range(frame).start + 11));
        let expected = bench.check(&format!("every {part:?}"));
        assert_eq!(
            expected.findings.len(),
            bench.frames.len(),
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
    for frame in &bench.frames {
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
    let bench = one_file(5 * SEGMENT);
    let twin = one_file(5 * SEGMENT);
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
    assert_eq!(report.damaged_shards, bench.frames.len() as u64);
    let findings = findings.0.into_inner().unwrap();
    assert!(
        findings
            .iter()
            .all(|finding| finding.kind == DamageKind::Misplaced && finding.part == DamagePart::Header)
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
        assert_eq!(
            report.damage.len(),
            1,
            "the new file has no part in the old damage"
        );
        assert_eq!(report.damage[0].lost, []);
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
