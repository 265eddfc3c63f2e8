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
    archive::{DamagePart, FileDamage, Finding, Resources, RestoreOptions},
    error::{ReadError, RestoreError},
    geometry::Policy,
    host::{Durability, RestoreTarget},
    units::ColumnIndex,
};

pub use super::chart::Frame;
use super::chart::{descriptors_of, frames_of};
use crate::support::{Findings, LEAF, SEGMENTED_BELOW, Store, name, painted, small_policy};

/// A file of tier 3 with six blocks, the last data shard of each shorter than the others.
pub const BLOCKED: u64 = SEGMENTED_BELOW + 20 * LEAF + 333;

/// What the oracle says about one archive.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Expected {
    /// By file: damaged shards, and the lost bytes.
    pub files: BTreeMap<String, (u64, Vec<Range<u64>>)>,
    /// File, block, shard, bad columns, worst part.
    pub findings: Vec<(String, u64, u16, Vec<u32>, DamagePart)>,
}

/// An archive whose bytes are known.
pub struct Bench {
    pub store: Store,
    pub contents: BTreeMap<String, Vec<u8>>,
    pub extents: BTreeMap<PathBuf, Vec<u8>>,
    /// Those that hold files.
    pub frames: Vec<Frame>,
    /// Those that hold what commits have written about their files; to reports these are files of their own.
    pub descriptors: Vec<Frame>,
}

impl Bench {
    /// An archive with one file for each length, named by its position.
    pub fn new(lengths: &[u64]) -> Self {
        Self::with_policy(small_policy(), lengths)
    }

    pub fn with_policy(policy: Policy, lengths: &[u64]) -> Self {
        let store = Store::in_memory(policy, Resources::default());
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
        let extents = store.extent_bytes();
        let frames = frames_of(&store, &contents);
        let descriptors = descriptors_of(&extents);
        let replicas = usize::from(small_policy().parts().tiny_shape.total());
        assert_eq!(
            descriptors.len(),
            lengths.len() * replicas,
            "each commit has a descriptor"
        );
        Self {
            store,
            contents,
            extents,
            frames,
            descriptors,
        }
    }

    /// The same archive, taken as one that was never damaged: what is there now is what has to stay. Descriptors are left out:
    /// frames that were repaired elsewhere still lie where they were.
    pub fn looked_at_again(self) -> Self {
        let extents = self.store.extent_bytes();
        let frames = frames_of(&self.store, &self.contents);
        Self {
            extents,
            frames,
            descriptors: Vec::new(),
            ..self
        }
    }

    /// Every frame there is.
    pub fn all_frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().chain(&self.descriptors)
    }

    pub fn frames_of(&self, file: &str, block: u64) -> Vec<Frame> {
        self.all_frames()
            .filter(|frame| frame.file == file && frame.block == block)
            .cloned()
            .collect()
    }

    /// Puts every extent back as it was.
    pub fn mend(&self) {
        for (path, bytes) in &self.extents {
            if fs::read(path).ok().as_ref() != Some(bytes) {
                fs::write(path, bytes).unwrap();
            }
        }
    }

    /// Asks the oracle, then every operation, and compares.
    pub fn check(&self, story: &str) -> Expected {
        let expected = self.expected();
        self.check_scrub_and_verify(&expected, story);
        for file in self.contents.keys() {
            let lost = expected.files.get(file).map_or(&[][..], |damage| &damage.1);
            self.check_positional_reads(file, lost, story);
            self.check_sequential_read(file, lost, story);
        }
        expected
    }

    pub fn check_scrub_and_verify(&self, expected: &Expected, story: &str) {
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
            // Outer parity has no bytes of the file, and so none that are lost.
            let is_hit = !geometry.is_outer_parity()
                && lost
                    .iter()
                    .any(|lost| lost.start < block.end && block.start < lost.end);
            assert_eq!(finding.is_recoverable, !is_hit, "{finding:?}, {story}");
        }
        let verified_findings = Findings::default();
        let snapshot = self.store.archive.snapshot().unwrap();
        let verified = snapshot.verify(None, &verified_findings).unwrap();
        // It reads files, and descriptors are none.
        let mut of_files = scrubbed.damage;
        of_files.retain(|damage| self.contents.contains_key(&damage.name.to_string()));
        assert_eq!(verified.damage, of_files, "verify, {story}");
        let mut of_files = findings;
        of_files.retain(|finding| self.contents.contains_key(&finding.name.to_string()));
        assert_eq!(
            verified_findings.0.into_inner().unwrap(),
            of_files,
            "what verify tells, {story}"
        );
    }

    pub fn check_positional_reads(&self, file: &str, lost: &[Range<u64>], story: &str) {
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

    pub fn check_sequential_read(&self, file: &str, lost: &[Range<u64>], story: &str) {
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

    pub fn check_restore(&self, expected: &Expected, story: &str) {
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
    pub fn expected(&self) -> Expected {
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
        let mut across = self.lost_across_groups(is_whole);
        let mut blocks: BTreeMap<(String, u64), Vec<&Frame>> = BTreeMap::new();
        for frame in self.all_frames() {
            blocks
                .entry((frame.file.clone(), frame.block))
                .or_default()
                .push(frame);
        }
        for ((file, block), frames) in blocks {
            let shards: Vec<ShardState> = frames
                .iter()
                .map(|frame| ShardState::of(frame, |range| is_whole(frame, range)))
                .collect();
            let known = known_tables(&frames, &shards);
            let lost = match across.remove(&(file.clone(), block)) {
                Some(lost) => lost,
                None => lost_bytes(&frames, &shards, &known),
            };
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
pub struct ShardState {
    pub header: bool,
    pub footer: bool,
    pub tables: Option<[bool; 2]>,
    pub leaves: Vec<bool>,
}

impl ShardState {
    pub fn of(frame: &Frame, is_whole: impl Fn(Range<u64>) -> bool) -> Self {
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
    pub fn knows_its_table(&self) -> bool {
        self.tables.is_none_or(|[a, b]| a || b) || self.leaves.iter().all(|&leaf| leaf)
    }
}

/// For every shard, whether its leaves can be told from wrong ones.
pub fn known_tables(frames: &[&Frame], shards: &[ShardState]) -> Vec<bool> {
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
pub fn lost_bytes(frames: &[&Frame], shards: &[ShardState], known: &[bool]) -> Vec<Range<u64>> {
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

pub fn findings_of(
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

pub fn told(finding: &Finding) -> (String, u64, u16, Vec<u32>, DamagePart) {
    (
        finding.name.to_string(),
        finding.block.get(),
        finding.shard.get(),
        finding.columns.iter().map(ColumnIndex::get).collect(),
        finding.part,
    )
}
