//! A stored file as listings show it.

use bfdb::archive::FileInfo;
use serde::Serialize;

use crate::text;

/// What is known about whether a file can be read: nothing records verification yet, so no file is known to be either
/// healthy or damaged.
pub(super) const STATE: &str = "unverified";

/// The JSON line of a stored file.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
pub(super) struct Entry {
    name: String,
    kind: &'static str,
    length: u64,
    tier: u8,
    root: String,
    committed_at: Option<String>,
    state: &'static str,
}

impl Entry {
    pub(super) fn of(info: &FileInfo) -> Self {
        Self {
            name: info.name.to_string(),
            kind: "file",
            length: info.len_bytes,
            tier: info.tier.number(),
            root: info.root.to_string(),
            committed_at: text::rfc3339(info.committed_at),
            state: STATE,
        }
    }
}
