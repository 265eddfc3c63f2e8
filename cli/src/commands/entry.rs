//! What is stored under a name, as listings show it: a file, a directory or a symbolic link.

use bfdb::{
    archive::{FileInfo, HealthClass, HealthState},
    catalog::EntryKind,
    units::FileName,
};
use serde::Serialize;

use crate::{context::Context, text};

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
    version: u32,
    /// Whether another entry has the name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
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
            version: info.version,
            kept: info.is_kept,
            committed_at: text::rfc3339(info.committed_at),
            state: class.map(class_name),
        }
    }
}

/// What a file is called in messages: its name, and for a kept version which one it is.
pub(super) fn called(name: &FileName, kept_version: Option<u32>) -> String {
    kept_version.map_or_else(
        || name.to_string(),
        |version| format!("{name} (version {version})"),
    )
}

/// The command that gets what is left of a file.
pub(super) fn restore_partly(name: &FileName, kept_version: Option<u32>, context: &Context) -> String {
    let command = kept_version.map_or_else(
        || "restore --partial -o DIR".to_owned(),
        |version| format!("restore --partial --version {version} -o DIR"),
    );
    context.command(&command, &[name])
}

/// The version of a file, where it is a kept one.
pub(super) fn kept_version(file: &FileInfo) -> Option<u32> {
    file.is_kept.then_some(file.version)
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
