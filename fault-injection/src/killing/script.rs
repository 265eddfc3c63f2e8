//! What processes that are to die do: a list that follows from a seed, the same in them and in whoever waits for their death.

use std::path::PathBuf;

use crate::{
    Seeded,
    crashes::{
        oracle::{Effect, Entry, Kind, content},
        sources::Sources,
    },
};

/// One thing that a process asks of the archive.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) kind: ActKind,
    /// What it stores or removes; the number of the effect beside each.
    pub(super) items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActKind {
    /// A stream, over what has the name.
    Commit,
    /// A file of the host, over what has the name; a long one can go on after a death.
    CommitPath,
    /// Many files of the host at once.
    CommitAll,
    /// Names are taken away, in one transaction.
    Remove,
    /// The archive is closed and opened again.
    Reopen,
}

/// One name.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) effect: usize,
    /// What it becomes; `None` where it is removed.
    pub(super) entry: Option<Entry>,
    /// Which version of the name: its content and its source.
    version: u64,
}

/// A list of acts.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) acts: Vec<Act>,
    /// What all of them change, by number; the first is that the archive comes into being.
    pub(super) effects: Vec<Effect>,
}

/// Lengths of files, of every tier of the small policy.
const LENGTHS: [u64; 8] = [0, 700, 1500, 3900, 5000, 11_000, 13_000, 40_000];

/// Names, few enough that they meet again.
const NAMES: u64 = 7;

impl Script {
    pub(super) fn new(seed: u64, acts: usize) -> Self {
        let mut writing = Writing {
            seed,
            seeded: Seeded::new(seed ^ 0x0005_C217),
            effects: vec![Effect {
                name: None,
                becomes: None,
            }],
        };
        Self {
            acts: (0..acts).map(|_| writing.act()).collect(),
            effects: writing.effects,
        }
    }
}

impl Item {
    /// Returns the source of it on the host; the first call makes it.
    pub(super) fn source(&self, sources: &Sources) -> Option<PathBuf> {
        let entry = self.entry.as_ref()?;
        Some(sources.path(&self.name, self.version, entry))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self.entry.as_ref().map(|entry| &entry.kind) {
            Some(Kind::File(bytes)) => bytes,
            Some(Kind::Directory | Kind::Link(_)) | None => &[],
        }
    }
}

struct Writing {
    seed: u64,
    seeded: Seeded,
    effects: Vec<Effect>,
}

impl Writing {
    fn act(&mut self) -> Act {
        let kind = match self.seeded.below(10) {
            0..=2 => ActKind::Commit,
            3..=5 => ActKind::CommitPath,
            6 | 7 => ActKind::CommitAll,
            8 => ActKind::Remove,
            _ => ActKind::Reopen,
        };
        let items = match kind {
            ActKind::Commit => vec![self.stored()],
            ActKind::CommitPath => {
                let mut item = self.stored();
                if self.seeded.below(2) == 0 {
                    item = self.with_len(item, 60_000);
                }
                vec![item]
            }
            ActKind::CommitAll => (0..2 + self.seeded.below(4)).map(|_| self.stored()).collect(),
            ActKind::Remove => (0..=self.seeded.below(2)).map(|_| self.removed()).collect(),
            ActKind::Reopen => Vec::new(),
        };
        Act {
            kind,
            items: distinct(items),
        }
    }

    fn name(&mut self) -> String {
        format!("file-{}", self.seeded.below(NAMES))
    }

    fn stored(&mut self) -> Item {
        let len = LENGTHS[self.seeded.index(LENGTHS.len())];
        let item = Item {
            name: self.name(),
            effect: 0,
            entry: None,
            version: 0,
        };
        self.with_len(item, len)
    }

    fn with_len(&mut self, item: Item, len: u64) -> Item {
        // Versions are never the same twice, so that no commit finds its content there already.
        let version = u64::try_from(self.effects.len()).expect("few effects");
        let bytes = content(
            self.seed,
            &item.name,
            version,
            usize::try_from(len).expect("a short file"),
        );
        let entry = Entry {
            kind: Kind::File(bytes),
            mode: 0o644,
            modified: (1_000_000 + i64::try_from(version).expect("few effects"), 7),
        };
        self.effect(Item {
            entry: Some(entry),
            version,
            ..item
        })
    }

    fn removed(&mut self) -> Item {
        let name = self.name();
        self.effect(Item {
            name,
            effect: 0,
            entry: None,
            version: 0,
        })
    }

    fn effect(&mut self, item: Item) -> Item {
        let effect = self.effects.len();
        self.effects.push(Effect {
            name: Some(item.name.clone()),
            becomes: item.entry.clone(),
        });
        Item { effect, ..item }
    }
}

/// Leaves out names that come again: what becomes of one within one call is tried elsewhere.
fn distinct(mut items: Vec<Item>) -> Vec<Item> {
    let mut seen = std::collections::BTreeSet::new();
    items.retain(|item| seen.insert(item.name.clone()));
    items
}
