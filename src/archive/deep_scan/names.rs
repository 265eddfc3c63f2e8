//! Under which names entries are offered of which nobody knows whether they live: never under their own.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalog::{EntryKind, FileRecord},
    units::{CommitId, FileId, FileName, MAX_NAME_LEN_BYTES},
};

/// What is above the newest entry of each name.
const NEWEST: &str = "recovered";

/// What is above all others, each below its commit.
const OLDER: &str = "recovered-older";

/// Which entry of its name one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Newest,
    Older,
}

/// What may be below a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Anything,
    Nothing,
}

/// The names that were given. Entries come in newest first.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The own names of those that are offered as the newest.
    newest: BTreeMap<Vec<u8>, Below>,
    /// What is above them, without being an entry for that.
    above: BTreeSet<Vec<u8>>,
    given: BTreeSet<FileName>,
}

impl Names {
    /// Gives an entry a name. The newest entry of each name keeps the name behind a prefix, unless it cannot be in one tree with newer
    /// ones: a file with something below it, or something below a file.
    pub(super) fn give(&mut self, entry: &FileRecord) -> (FileName, Age) {
        let own = entry.name.as_bytes();
        let below = match entry.kind {
            EntryKind::Directory => Below::Anything,
            EntryKind::File | EntryKind::SymbolicLink { .. } => Below::Nothing,
        };
        let age = if self.has_place(own, below) {
            self.newest.insert(own.to_vec(), below);
            self.above.extend(ancestors(own).map(<[u8]>::to_vec));
            Age::Newest
        } else {
            Age::Older
        };
        let name = recovered_name((age, entry.commit), &entry.name, entry.id);
        let name = if self.given.contains(&name) {
            // A commit that has a name twice, or names that shortening has made one.
            shortened(&format!("{OLDER}/{}", entry.commit), own, entry.id)
        } else {
            name
        };
        self.given.insert(name.clone());
        (name, age)
    }

    fn has_place(&self, own: &[u8], below: Below) -> bool {
        let is_free = !self.newest.contains_key(own);
        let hides_nothing = below == Below::Anything || !self.above.contains(own);
        let is_below_file = |above: &[u8]| self.newest.get(above) == Some(&Below::Nothing);
        is_free && hides_nothing && !ancestors(own).any(is_below_file)
    }
}

/// Returns the name that an entry is offered under.
fn recovered_name((age, commit): (Age, CommitId), own: &FileName, id: FileId) -> FileName {
    let prefix = match age {
        Age::Newest => NEWEST.to_owned(),
        Age::Older => format!("{OLDER}/{commit}"),
    };
    let whole = [prefix.as_bytes(), b"/", own.as_bytes()].concat();
    match FileName::from_bytes(&whole) {
        Ok(name) => name,
        // It is too long: nothing else can be wrong with a name behind another one.
        Err(_) => shortened(&prefix, own.as_bytes(), id),
    }
}

/// Puts the end of a name behind a prefix and the id of its entry, which nothing else has: whole parts where the last one is short
/// enough.
fn shortened(prefix: &str, own: &[u8], id: FileId) -> FileName {
    let head = format!("{prefix}/shortened-{id}/");
    let kept = own
        .len()
        .saturating_sub(own.len().min(MAX_NAME_LEN_BYTES - head.len()));
    let end = &own[kept..];
    let first_part = end.iter().position(|&byte| byte == b'/').filter(|_| kept > 0);
    let end = match first_part {
        Some(slash) => &end[slash + 1..],
        None => whole_characters(end),
    };
    let name = FileName::from_bytes(&[head.as_bytes(), end].concat());
    name.expect("the parts of a name behind a prefix, and not too many bytes")
}

/// Leaves out what is behind the first byte of a character whose beginning was cut off.
fn whole_characters(end: &[u8]) -> &[u8] {
    let cut_off = end
        .iter()
        .take(3)
        .take_while(|&&byte| byte & 0xC0 == 0x80)
        .count();
    &end[cut_off..]
}

/// Returns the names above one.
fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::{FileGeometry, Policy},
        merkle::RootFolder,
        units::{LeafLen, Timestamp},
    };

    fn entry(name: &[u8], commit: u64, kind: EntryKind) -> FileRecord {
        let time = Timestamp::new(0, 0).expect("valid");
        FileRecord {
            is_kept: false,
            id: FileId::new(commit * 10),
            name: FileName::from_bytes(name).expect("a name"),
            kind,
            mode: 0,
            modified_at: time,
            committed_at: time,
            version: 1,
            commit: CommitId::new(commit),
            geometry: FileGeometry::new(0, &Policy::default()),
            root: RootFolder::new(LeafLen::DEFAULT).finish(),
            stored_bytes: 0,
        }
    }

    fn given(entries: &[FileRecord]) -> Vec<String> {
        let mut names = Names::default();
        entries
            .iter()
            .map(|entry| names.give(entry).0.to_string())
            .collect()
    }

    #[test]
    fn the_newest_entry_of_a_name_is_recovered_and_all_others_are_older() {
        let file = |name: &[u8], commit| entry(name, commit, EntryKind::File);
        let entries = [file(b"a/b", 9), file(b"a/b", 8), file(b"c", 8), file(b"a/b", 2)];
        let expected = [
            "recovered/a/b",
            "recovered-older/8/a/b",
            "recovered/c",
            "recovered-older/2/a/b",
        ];
        assert_eq!(given(&entries), expected);
    }

    #[test]
    fn what_cannot_be_in_one_tree_with_newer_entries_is_older() {
        let file = |name: &[u8], commit| entry(name, commit, EntryKind::File);
        let entries = [
            file(b"a/b/c", 9),
            file(b"a", 8),
            entry(b"a", 7, EntryKind::Directory),
            file(b"d", 6),
            file(b"d/e", 5),
        ];
        let expected = [
            "recovered/a/b/c",
            "recovered-older/8/a",
            "recovered/a",
            "recovered/d",
            "recovered-older/5/d/e",
        ];
        assert_eq!(given(&entries), expected);
    }

    #[test]
    fn a_commit_that_has_a_name_twice_gives_it_two() {
        let mut second = entry(b"a", 3, EntryKind::File);
        second.id = FileId::new(31);
        let third = FileRecord {
            id: FileId::new(32),
            ..second.clone()
        };
        let expected = [
            "recovered/a",
            "recovered-older/3/a",
            "recovered-older/3/shortened-32/a",
        ];
        assert_eq!(given(&[entry(b"a", 3, EntryKind::File), second, third]), expected);
    }

    #[test]
    fn names_that_get_too_long_keep_their_end_whatever_their_length() {
        for len in 4080..=MAX_NAME_LEN_BYTES {
            let tail = b"/the/end.txt";
            let long = [&vec![b'x'; len - tail.len()], tail.as_slice()].concat();
            let (name, _) = Names::default().give(&entry(&long, 7, EntryKind::File));
            assert!(name.as_bytes().ends_with(b"/end.txt"), "{len}");
            let is_whole = len + "recovered/".len() <= MAX_NAME_LEN_BYTES;
            assert_eq!(name.as_bytes().ends_with(&long), is_whole, "{len}");
        }
        let one_part = "\u{e9}".repeat(MAX_NAME_LEN_BYTES / 2);
        let (name, _) = Names::default().give(&entry(one_part.as_bytes(), 7, EntryKind::File));
        let text = core::str::from_utf8(name.as_bytes()).expect("no character is cut");
        assert!(text.starts_with("recovered/shortened-70/\u{e9}") && text.ends_with('\u{e9}'));
    }
}
