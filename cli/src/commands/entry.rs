//! What is stored under a name, as listings show it: a file, a directory or a symbolic link.

use bfdb::{
    archive::{FileInfo, HealthClass, HealthState},
    catalog::EntryKind,
};
use serde::Serialize;

use crate::text;

/// The JSON line of what is stored under a name.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
pub(super) struct Entry {
    name: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    length: u64,
    /// Null for what has no bytes of its own, like the root.
    tier: Option<u8>,
    root: Option<String>,
    committed_at: Option<String>,
    state: Option<&'static str>,
}

/// How many of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) files: u64,
    directories: u64,
    symlinks: u64,
}

impl Entry {
    pub(super) fn of(info: &FileInfo, class: Option<HealthClass>) -> Self {
        let is_file = info.kind == EntryKind::File;
        Self {
            name: info.name.to_string(),
            kind: kind_name(&info.kind),
            target: target(&info.kind),
            length: info.len_bytes,
            tier: is_file.then(|| info.tier.number()),
            root: is_file.then(|| info.root.to_string()),
            committed_at: text::rfc3339(info.committed_at),
            state: class.map(class_name),
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, kind: &EntryKind) {
        *match kind {
            EntryKind::File => &mut self.files,
            EntryKind::Directory => &mut self.directories,
            EntryKind::SymbolicLink { .. } => &mut self.symlinks,
        } += 1;
    }

    pub(super) const fn total(&self) -> u64 {
        self.files + self.directories + self.symlinks
    }

    /// `3 files`, and directories and links where there are any.
    pub(super) fn in_words(&self) -> String {
        let mut words = vec![text::count(self.files, "file")];
        for (count, noun) in [(self.directories, "directory"), (self.symlinks, "symbolic link")] {
            if count > 0 {
                words.push(text::count(count, noun));
            }
        }
        words.join(", ")
    }
}

/// What everybody calls a state.
pub(super) const fn state_name(state: HealthState) -> &'static str {
    match state {
        HealthState::Healthy => "healthy",
        HealthState::Degraded => "degraded",
        HealthState::Lost => "lost",
    }
}

/// The one word for how a file is.
pub(super) const fn class_name(class: HealthClass) -> &'static str {
    match class {
        HealthClass::State(state) => state_name(state),
        HealthClass::Unverified => "unverified",
    }
}

/// What JSON lines call a kind.
pub(super) const fn kind_name(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::SymbolicLink { .. } => "symlink",
    }
}

/// Where a symbolic link leads, escaped.
pub(super) fn target(kind: &EntryKind) -> Option<String> {
    match kind {
        EntryKind::SymbolicLink { target } => Some(text::link_target(target)),
        EntryKind::File | EntryKind::Directory => None,
    }
}

/// Kind and permissions as `ls` writes them.
pub(super) fn mode_text(info: &FileInfo) -> String {
    let kind = match info.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::SymbolicLink { .. } => 'l',
    };
    format!("{kind}{}", text::permissions(info.mode))
}

/// The tier of a file, or what it is, for a column of six characters.
pub(super) fn tier_column(info: &FileInfo) -> String {
    match info.kind {
        EntryKind::File => format!("tier {}", info.tier),
        EntryKind::Directory => "dir".to_owned(),
        EntryKind::SymbolicLink { .. } => "link".to_owned(),
    }
}
