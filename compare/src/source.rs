//! The files that all tools get: the same bytes for the same seed, wherever and whenever, and none that can be compressed.
//!
//! They are made again to compare what a tool gives back, so a source that was damaged meanwhile is seen, too.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// What one step of the generator makes: each piece has a state of its own, so that it depends on its place alone.
const PIECE_LEN_BYTES: usize = 64 * 1024;
const BUFFER_LEN_BYTES: usize = 16 * PIECE_LEN_BYTES;
const FILES_PER_DIRECTORY: u64 = 1000;

/// A set of files that can be made: one file, or a tree of many of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) len_bytes: u64,
    pub(crate) is_tree: bool,
}

/// Files that were made, below a directory.
#[derive(Debug)]
pub(crate) struct Source {
    files: Files,
    dir: PathBuf,
}

impl Files {
    pub(crate) fn bytes(&self) -> u64 {
        self.count * self.len_bytes
    }

    pub(crate) fn describe(&self) -> String {
        if self.is_tree {
            format!("{} files of {} bytes", self.count, self.len_bytes)
        } else {
            format!("a file of {} bytes", self.len_bytes)
        }
    }

    /// Makes all files in a new directory.
    pub(crate) fn create(&self, dir: &Path) -> Result<Source> {
        fs::create_dir(dir)?;
        let source = Source {
            files: self.clone(),
            dir: dir.to_owned(),
        };
        for index in 0..self.count {
            let path = self.path_at(&dir.join(self.name), index);
            if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
                fs::create_dir_all(parent)?;
            }
            self.write(index, &path)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(source)
    }

    fn path_at(&self, root: &Path, index: u64) -> PathBuf {
        if self.is_tree {
            root.join(self.path_below(index))
        } else {
            root.to_owned()
        }
    }

    /// Path of a file below the root; empty for the one file that is the root itself.
    fn path_below(&self, index: u64) -> PathBuf {
        if self.is_tree {
            format!("{:04}/{index:07}.bin", index / FILES_PER_DIRECTORY).into()
        } else {
            PathBuf::new()
        }
    }

    fn write(&self, index: u64, path: &Path) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        let mut buffer = vec![0; BUFFER_LEN_BYTES];
        let mut offset = 0;
        while offset < self.len_bytes {
            let piece = &mut buffer[..piece_len(self.len_bytes - offset)];
            fill(index, offset, piece);
            file.write_all(piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn matches(&self, index: u64, path: &Path) -> io::Result<bool> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        if file.metadata()?.len() != self.len_bytes {
            return Ok(false);
        }
        let (mut found, mut made) = (vec![0; BUFFER_LEN_BYTES], vec![0; BUFFER_LEN_BYTES]);
        let mut offset = 0;
        while offset < self.len_bytes {
            let len = piece_len(self.len_bytes - offset);
            file.read_exact(&mut found[..len])?;
            fill(index, offset, &mut made[..len]);
            if found[..len] != made[..len] {
                return Ok(false);
            }
            offset += len as u64;
        }
        Ok(true)
    }
}

impl Source {
    /// The file, or the root of the tree.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(self.files.name)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn name(&self) -> &'static str {
        self.files.name
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Paths of all files below the root; that of a single file is empty.
    pub(crate) fn paths_below(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..self.files.count).map(|index| self.files.path_below(index))
    }

    /// Whether `root` has every file with every byte; what else is there does not matter.
    pub(crate) fn is_whole_at(&self, root: &Path) -> Result<bool> {
        for index in 0..self.files.count {
            let path = self.files.path_at(root, index);
            let matches = self.files.matches(index, &path);
            if !matches.with_context(|| format!("comparing {}", path.display()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn piece_len(left_bytes: u64) -> usize {
    usize::try_from(left_bytes).map_or(BUFFER_LEN_BYTES, |left| left.min(BUFFER_LEN_BYTES))
}

/// The bytes of file `index` from `offset` on, which is where a piece begins: xoshiro256++, started anew for each piece.
fn fill(index: u64, offset: u64, buffer: &mut [u8]) {
    for (piece, bytes) in buffer.chunks_mut(PIECE_LEN_BYTES).enumerate() {
        let place = offset / PIECE_LEN_BYTES as u64 + piece as u64;
        let mut seed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.rotate_left(32);
        let mut state = [(); 4].map(|()| split_mix(&mut seed));
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&next(&mut state).to_le_bytes());
        }
        let rest = words.into_remainder();
        let last = next(&mut state).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

fn next(state: &mut [u64; 4]) -> u64 {
    let result = state[0]
        .wrapping_add(state[3])
        .rotate_left(23)
        .wrapping_add(state[0]);
    let shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = state[3].rotate_left(45);
    result
}

/// Spreads a seed that counts over all bits, as the authors of xoshiro advise.
fn split_mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: u64, len_bytes: u64) -> Files {
        Files {
            name: "data",
            count,
            len_bytes,
            is_tree: count > 1,
        }
    }

    #[test]
    fn bytes_depend_on_their_place_alone() {
        let mut whole = vec![0; 3 * PIECE_LEN_BYTES + 5];
        fill(7, 0, &mut whole);
        let mut part = vec![0; PIECE_LEN_BYTES + 5];
        fill(7, 2 * PIECE_LEN_BYTES as u64, &mut part);
        assert!(
            whole[2 * PIECE_LEN_BYTES..] == part,
            "a part is not what the whole has there"
        );
        // Golden: results of two machines or two years are about the same bytes.
        assert_eq!(
            blake3::hash(&whole).to_hex()[..16],
            *"cd586649335d7f3c",
            "the generator makes other bytes than it did"
        );
    }

    #[test]
    fn no_two_pieces_and_no_two_files_are_the_same() {
        let (mut one, mut other) = (vec![0; 2 * PIECE_LEN_BYTES], vec![0; 2 * PIECE_LEN_BYTES]);
        fill(0, 0, &mut one);
        fill(1, 0, &mut other);
        assert!(one[..PIECE_LEN_BYTES] != one[PIECE_LEN_BYTES..], "pieces repeat");
        assert!(one[..PIECE_LEN_BYTES] != other[..PIECE_LEN_BYTES], "files repeat");
        let ones: u32 = one.iter().map(|byte| byte.count_ones()).sum();
        let half = u32::try_from(one.len() * 4).expect("small");
        assert!(
            ones.abs_diff(half) < half / 100,
            "{ones} bits of {} are set",
            2 * half
        );
    }

    #[test]
    fn a_changed_byte_a_short_file_and_a_missing_one_are_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, made) in [("one", files(1, 3_000_001)), ("tree", files(3, 1024))] {
            let source = made.create(&dir.path().join(name)).expect("made");
            let root = source.path();
            assert!(source.is_whole_at(&root).expect("compared"), "{name} as made");
            let victim = if made.is_tree {
                root.join("0000/0000002.bin")
            } else {
                root.clone()
            };
            let whole = fs::read(&victim).expect("read");
            let mut changed = whole.clone();
            *changed.last_mut().expect("not empty") ^= 1;
            for damaged in [&changed[..], &whole[..whole.len() - 1]] {
                fs::write(&victim, damaged).expect("written");
                assert!(!source.is_whole_at(&root).expect("compared"), "{name} damaged");
            }
            fs::remove_file(&victim).expect("removed");
            assert!(!source.is_whole_at(&root).expect("compared"), "{name} incomplete");
        }
    }
}
