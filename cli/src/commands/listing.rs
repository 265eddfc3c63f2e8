//! Stored names line by line: what `ls` and `find` share.

use bfdb::{
    archive::{FileInfo, HealthClass, Snapshot},
    catalog::EntryKind,
    error::CatalogError,
    units::FileName,
};
use serde::Serialize;

use super::entry::{Counts, Entry, class_name, kind_name, mode_text, target, tier_column};
use crate::{context::Context, output::Form, text};

/// How a name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Name,
    Long,
    /// All versions, each with its number and when it was committed.
    Versions,
}

/// An entry and how it is.
type Listed = Result<(FileInfo, Option<HealthClass>), CatalogError>;

/// A listing while it is printed.
pub(super) struct Listing<'a> {
    context: &'a Context<'a>,
    detail: Detail,
    summary: Summary,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    bytes: u64,
    /// Those of these that are kept versions, where they are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_versions: Option<u64>,
}

impl<'a> Listing<'a> {
    pub(super) fn new(context: &'a Context<'a>, detail: Detail) -> Self {
        Self {
            context,
            detail,
            summary: Summary {
                kept_versions: (detail == Detail::Versions).then_some(0),
                ..Summary::default()
            },
        }
    }

    /// Lists what a prefix names and everything below it; how each is is looked up only where it is shown.
    pub(super) fn entries(
        &self,
        snapshot: &Snapshot,
        prefix: Option<&FileName>,
    ) -> Box<dyn Iterator<Item = Listed>> {
        if self.detail == Detail::Versions {
            Box::new(snapshot.versions_with_class(prefix))
        } else if self.detail == Detail::Name && self.context.output.form() == Form::People {
            Box::new(snapshot.files(prefix).map(|info| Ok((info?, None))))
        } else {
            Box::new(snapshot.files_with_class(prefix))
        }
    }

    pub(super) fn show(&mut self, entry: &FileInfo, class: Option<HealthClass>) {
        self.summary.counts.add(&entry.kind);
        self.summary.bytes += entry.len_bytes;
        if let Some(kept_versions) = &mut self.summary.kept_versions {
            *kept_versions += u64::from(entry.is_kept);
        }
        self.context.output.json(&Entry::of(entry, class));
        match self.detail {
            Detail::Name => self.context.output.line(&entry.name.to_string()),
            Detail::Long => self.context.output.line(&long_line(entry, class)),
            Detail::Versions => self.context.output.line(&version_line(entry, class)),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.summary.counts.total() == 0
    }

    pub(super) fn finish(self) {
        self.context.output.json(&self.summary);
    }
}

/// What tells versions of a name apart, the name last.
fn version_line(entry: &FileInfo, class: Option<HealthClass>) -> String {
    let size = match entry.kind {
        EntryKind::File => text::size(entry.len_bytes),
        EntryKind::Directory | EntryKind::SymbolicLink { .. } => kind_name(&entry.kind).to_owned(),
    };
    let standing = if entry.is_kept { "kept" } else { "current" };
    let state = class.map_or("-", class_name);
    format!(
        "{:>5}  {standing:<7}  {size:>10}  {}  {state:<10}  {}",
        entry.version,
        text::time(entry.committed_at),
        entry.name
    )
}

/// Columns of fixed width, so that a listing of any length needs no memory.
fn long_line(entry: &FileInfo, class: Option<HealthClass>) -> String {
    let size = match entry.kind {
        EntryKind::File => text::size(entry.len_bytes),
        EntryKind::Directory | EntryKind::SymbolicLink { .. } => "-".to_owned(),
    };
    let state = class.map_or("-", class_name);
    let mut line = format!(
        "{}  {:<6}  {size:>10}  {}  {state:<10}  {}",
        mode_text(entry),
        tier_column(entry),
        text::time(entry.committed_at),
        entry.name
    );
    if let Some(target) = target(&entry.kind) {
        line.push_str(" -> ");
        line.push_str(&target);
    }
    line
}
