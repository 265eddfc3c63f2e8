//! Files that have lost bytes, restored in part: what the oracle calls lost is left out, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    sync::Mutex,
};

use bfdb::{
    archive::{
        Archive, Event, FileInfo, Losses, Observer, OpenOptions, Resources, RestoreObserver, RestoreOptions,
        RestoreReceipt,
    },
    error::{HostError, RestoreError},
    host::{Durability, Existing, RestoreTarget},
    storage::Medium,
};

use crate::support::{LEAF, PARITY, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, name, painted};

use super::{
    chart::{Frame, frames_of},
    lost_of, one_file,
    oracle::{BLOCKED, Bench, Expected},
};

pub const PARTIAL: RestoreOptions = RestoreOptions {
    existing: Existing::Refuse,
    durability: Durability::Buffered,
    losses: Losses::LeaveOut,
};

impl Bench {
    /// Restores every file, in part where the oracle says so.
    pub fn check_partial_restore(&self, expected: &Expected, story: &str) {
        self.check_partial_restore_of(&self.store.archive, expected, story);
        let options = OpenOptions {
            resources: Resources {
                medium: Some(Medium::Rotating),
                ..Resources::default()
            },
            ..OpenOptions::default()
        };
        let (rotating, _) = Archive::open(&self.store.root(), &options).unwrap();
        self.check_partial_restore_of(&rotating, expected, &format!("shard by shard, {story}"));
    }

    fn check_partial_restore_of(&self, archive: &Archive, expected: &Expected, story: &str) {
        let dir = self.store.dir.path().join("partial");
        let target = RestoreTarget::open(&dir).unwrap();
        let snapshot = archive.snapshot().unwrap();
        let mut files = BTreeSet::new();
        for (file, content) in &self.contents {
            let lost = expected.files.get(file).map_or(&[][..], |damage| &damage.1);
            let everything = 0..content.len() as u64;
            match snapshot.restore(&name(file), &target, &PARTIAL, &()) {
                Ok(receipt) => {
                    assert_ne!(lost, [everything], "{file}, {story}");
                    check(&dir, content, &receipt, lost, story);
                    files.insert(receipt.restored_as.to_string());
                }
                Err(RestoreError::NothingLeft { len_bytes, .. }) => {
                    assert_eq!(lost, [everything], "{file}, {story}");
                    assert_eq!(len_bytes, content.len() as u64);
                }
                Err(other) => panic!("{file}: {other:?}, {story}"),
            }
        }
        assert_eq!(names_in(&dir), files, "nothing else is left, {story}");
        fs::remove_dir_all(dir).unwrap();
    }
}

/// Compares what was restored with the content of the file and what is lost of it.
pub fn check(dir: &Path, content: &[u8], receipt: &RestoreReceipt, lost: &[Range<u64>], story: &str) {
    let file = receipt.name.to_string();
    let told: Vec<Range<u64>> = receipt
        .lost
        .iter()
        .map(|range| range.start()..range.end())
        .collect();
    assert_eq!(told, lost, "what is told of {file}, {story}");
    let ending = if lost.is_empty() { "" } else { ".partial" };
    assert_eq!(
        receipt.restored_as.to_string(),
        format!("{file}{ending}"),
        "{story}"
    );
    assert_eq!(receipt.len_bytes, content.len() as u64);
    let mut left = content.to_vec();
    for range in lost {
        left[range.start as usize..range.end as usize].fill(0);
    }
    assert!(
        fs::read(dir.join(receipt.restored_as.to_string())).unwrap() == left,
        "O1: {file} is not what is left of it, {story}"
    );
}

pub fn names_in(dir: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(dir).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Damages so many shards of a block in one column that it does not decode; returns the bytes of the file that are lost.
pub fn lose_column(block: &[Frame], column: u32) -> Vec<Range<u64>> {
    let bad = usize::from(block[0].geometry.shape().parity()) + 1;
    let hit: Vec<&Frame> = block
        .iter()
        .filter(|frame| column < frame.leaf_count())
        .take(bad)
        .collect();
    assert_eq!(hit.len(), bad, "the column has so many leaves");
    for frame in &hit {
        frame.flip(frame.leaf(column).start..frame.leaf(column).start + 1);
    }
    hit.iter().filter_map(|frame| frame.in_file(column)).collect()
}

#[test]
fn every_tier_gives_what_is_left_around_columns_that_are_lost() {
    let bench = Bench::new(&[
        TINY_BELOW - 1,
        5 * SEGMENT - 7,
        SEGMENTED_BELOW - 1,
        SEGMENTED_BELOW,
        BLOCKED,
    ]);
    for file in bench.contents.keys() {
        let blocks: BTreeSet<u64> = bench.frames_of_file(file).map(|frame| frame.block).collect();
        for block in BTreeSet::from([0, blocks.len() as u64 / 2]) {
            for column in [0, 2] {
                let lost = lose_column(&bench.frames_of(file, block), column);
                assert!(!lost.is_empty());
            }
        }
        // The last leaf, which is shorter than the others, with all that could give it back.
        let last = *blocks.last().unwrap();
        bench.frames_of(file, last).iter().for_each(|frame| {
            let leaf = frame.leaf(frame.leaf_count() - 1);
            frame.flip(leaf.start..leaf.start + 1);
        });
        let expected = bench.check(file);
        assert!(expected.files[file].1.len() > 1, "several holes in {file}");
        bench.check_partial_restore(&expected, file);
        bench.mend();
    }
}

impl Bench {
    fn frames_of_file(&self, file: &str) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.file == file)
    }
}

/// What cannot be proven is not written, though the stored bytes of most of its leaves are right.
#[test]
fn leaves_that_nothing_can_prove_are_left_out() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for frame in &block[..=usize::from(PARITY)] {
        frame.flip_tables();
        frame.flip(frame.leaf(0).start..frame.leaf(0).start + 1);
    }
    let expected = bench.check("four tables");
    let whole_shards = lost_of(&expected)
        .iter()
        .map(|range| range.end - range.start)
        .sum::<u64>();
    assert!(
        whole_shards > 4 * 2 * LEAF,
        "more than the leaves that are damaged"
    );
    bench.check_partial_restore(&expected, "four tables");
}

#[test]
fn a_file_without_any_byte_left_is_told_of_and_not_made() {
    let bench = Bench::new(&[LEAF - 3, 2 * SEGMENT + 1, BLOCKED]);
    for frame in bench.all_frames() {
        frame.flip(0..frame.layout.content_len_bytes());
    }
    let expected = bench.expected();
    for (file, content) in &bench.contents {
        let everything = Range {
            start: 0,
            end: content.len() as u64,
        };
        assert_eq!(expected.files[file].1, [everything]);
    }
    bench.check_partial_restore(&expected, "everything");
}

/// What became of each entry.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, Result<RestoreReceipt, RestoreError>>>);

impl Observer for Told {
    fn event(&self, _: Event<'_>) {}
}

impl RestoreObserver for Told {
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        let before = self.0.lock().unwrap().insert(entry.name.to_string(), result);
        assert!(before.is_none(), "{} was told of twice", entry.name);
    }
}

fn restore_all(
    store: &Store,
    dir: &Path,
    options: RestoreOptions,
) -> BTreeMap<String, Result<RestoreReceipt, RestoreError>> {
    let told = Told::default();
    let target = RestoreTarget::open(dir).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    snapshot.restore_all(None, &target, &options, &told).unwrap();
    told.0.into_inner().unwrap()
}

/// A tree with a short and a long file that have lost their second leaf, among whole ones, a directory and a link.
fn lossy_tree() -> (Store, BTreeMap<String, Vec<u8>>) {
    let store = Store::new();
    let contents: BTreeMap<String, Vec<u8>> = [
        ("d/long", (1 << 20) + 5),
        ("d/long whole", (1 << 20) + 6),
        ("d/short", 3 * LEAF),
        ("d/short whole", 3 * LEAF),
        ("empty", 0),
    ]
    .into_iter()
    .zip(1..)
    .map(|((file, len), seed)| (file.to_owned(), painted(len, seed)))
    .collect();
    for (file, content) in &contents {
        store.put(file, content);
    }
    let (directory, link) = (store.dir.path().join("e"), store.dir.path().join("l"));
    fs::create_dir(&directory).unwrap();
    symlink("d/short", &link).unwrap();
    for (file, path) in [("e", &directory), ("l", &link)] {
        drop(store.archive.commit_path(&name(file), path, &()).unwrap());
    }
    for frame in frames_of(&store, &contents) {
        if matches!(&frame.file[..], "d/long" | "d/short") && frame.block == 0 && frame.leaf_count() > 1 {
            frame.flip(frame.leaf(1).start..frame.leaf(1).start + 1);
        }
    }
    (store, contents)
}

#[test]
fn a_lossy_file_in_a_tree_is_restored_in_part_and_all_others_as_always() {
    let (store, contents) = lossy_tree();
    for durability in [Durability::Buffered, Durability::Batched, Durability::Synced] {
        let dir = store.dir.path().join("out");
        let options = RestoreOptions {
            durability,
            ..PARTIAL
        };
        let told = restore_all(&store, &dir, options);
        assert_eq!(told.len(), contents.len() + 2);
        let damage = store
            .archive
            .snapshot()
            .unwrap()
            .verify(None, &())
            .unwrap()
            .damage;
        let lost: BTreeMap<String, Vec<Range<u64>>> = damage
            .iter()
            .map(|file| {
                let ranges = file.lost.iter().map(|range| range.start()..range.end());
                (file.name.to_string(), ranges.collect())
            })
            .collect();
        assert_eq!(
            lost.keys().collect::<Vec<_>>(),
            ["d/long", "d/short"],
            "what verify says"
        );
        for (file, outcome) in &told {
            let receipt = outcome.as_ref().unwrap();
            let lost = lost.get(file).map_or(&[][..], Vec::as_slice);
            match contents.get(file) {
                Some(content) => check(&dir, content, receipt, lost, "a tree"),
                None => assert_eq!(
                    (receipt.restored_as.to_string(), &receipt.lost[..]),
                    (file.clone(), &[][..])
                ),
            }
        }
        let expected = ["long whole", "long.partial", "short whole", "short.partial"];
        assert_eq!(names_in(&dir.join("d")), expected.map(str::to_owned).into());
        assert_eq!(names_in(&dir), ["d", "e", "empty", "l"].map(str::to_owned).into());
        fs::remove_dir_all(&dir).unwrap();
    }
    // Nobody asked for parts.
    let dir = store.dir.path().join("refused");
    let told = restore_all(&store, &dir, RestoreOptions::default());
    let failed: Vec<&String> = told
        .iter()
        .filter(|told| told.1.is_err())
        .map(|told| told.0)
        .collect();
    assert_eq!(failed, ["d/long", "d/short"]);
    assert_eq!(
        names_in(&dir.join("d")),
        ["long whole", "short whole"].map(str::to_owned).into()
    );
}

#[test]
fn neither_a_whole_file_nor_an_earlier_part_is_replaced_by_a_part() {
    let (store, contents) = lossy_tree();
    let dir = store.dir.path().join("out");
    let options = RestoreOptions {
        existing: Existing::Overwrite,
        ..PARTIAL
    };
    fs::create_dir_all(dir.join("d")).unwrap();
    for file in ["long", "short", "short.partial", "short whole"] {
        fs::write(dir.join("d").join(file), "precious").unwrap();
    }
    let told = restore_all(&store, &dir, options);
    assert!(
        matches!(
            &told["d/short"],
            Err(RestoreError::Host {
                source: HostError::Exists { path }
            }) if *path == dir.join("d/short.partial")
        ),
        "{:?}",
        told["d/short"]
    );
    assert!(told["d/long"].is_ok());
    for file in ["long", "short", "short.partial"] {
        assert_eq!(fs::read(dir.join("d").join(file)).unwrap(), b"precious", "{file}");
    }
    assert!(fs::read(dir.join("d/short whole")).unwrap() == contents["d/short whole"]);
    let before = fs::metadata(dir.join("d/long.partial")).unwrap().ino();

    // Again: what could be replaced is, and parts are refused.
    let told = restore_all(&store, &dir, options);
    for (file, outcome) in &told {
        assert_eq!(
            outcome.is_err(),
            ["d/long", "d/short"].contains(&&file[..]),
            "{file}"
        );
    }
    assert_eq!(fs::metadata(dir.join("d/long.partial")).unwrap().ino(), before);
    let left = names_in(&dir.join("d"));
    assert!(left.iter().all(|file| !file.starts_with(".bfdb")), "{left:?}");

    // Where the whole file may not be replaced, what is left of it does not come beside it.
    let dir = store.dir.path().join("refused");
    fs::create_dir_all(dir.join("d")).unwrap();
    fs::write(dir.join("d/short"), "precious").unwrap();
    let told = restore_all(&store, &dir, PARTIAL);
    assert!(told["d/short"].is_err());
    assert!(!dir.join("d/short.partial").exists());
}

/// A stored file, link or directory may have the very name that a part would get: one of them is refused, and told of.
#[test]
fn a_stored_name_that_looks_like_a_part_and_a_part_do_not_replace_each_other() {
    for existing in [Existing::Refuse, Existing::Overwrite] {
        for kind in ["file", "long file", "link", "directory"] {
            let (store, _) = lossy_tree();
            let path = store.dir.path().join("other");
            match kind {
                "file" => fs::write(&path, "other").unwrap(),
                "long file" => fs::write(&path, painted(1 << 21, 9)).unwrap(),
                "link" => symlink("anywhere", &path).unwrap(),
                _ => fs::create_dir(&path).unwrap(),
            }
            for file in ["d/long.partial", "d/short.partial"] {
                drop(store.archive.commit_path(&name(file), &path, &()).unwrap());
            }
            let dir = store.dir.path().join("out");
            let told = restore_all(&store, &dir, RestoreOptions { existing, ..PARTIAL });
            for file in ["d/long", "d/short"] {
                let other = format!("{file}.partial");
                assert!(
                    told[file].is_err() != told[&other].is_err(),
                    "{kind}: {:?}, {:?}",
                    told[file],
                    told[&other]
                );
                let is_part = fs::symlink_metadata(dir.join(&other))
                    .is_ok_and(|found| found.is_file() && [3 * LEAF, (1 << 20) + 5].contains(&found.len()));
                assert_eq!(is_part, told[file].is_ok(), "{kind}: who has {other}");
            }
        }
    }
}
