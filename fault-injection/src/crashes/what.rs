//! What workloads say of the entries that they store.

use bfdb::{CommitOptions, FileName, NameConflict, units::Timestamp};

use super::oracle::{Entry, Kind, content};

/// What a workload says of one entry.
#[derive(Debug, Clone, Copy)]
pub struct What {
    /// The name.
    pub name: &'static str,
    /// Which content: another number, other bytes.
    pub version: u64,
    /// Length of a file; directories and links have none.
    pub len: usize,
    /// Permission bits.
    pub mode: u32,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    File,
    Directory,
    Link,
}

impl What {
    /// A file.
    pub const fn file(name: &'static str, version: u64, len: usize) -> Self {
        let (mode, shape) = (0o644, Shape::File);
        Self {
            name,
            version,
            len,
            mode,
            shape,
        }
    }

    /// A directory.
    pub const fn directory(name: &'static str) -> Self {
        let (mode, shape) = (0o755, Shape::Directory);
        Self {
            name,
            version: 1,
            len: 0,
            mode,
            shape,
        }
    }

    /// A link.
    pub const fn link(name: &'static str, version: u64) -> Self {
        let (mode, shape) = (0o777, Shape::Link);
        Self {
            name,
            version,
            len: 0,
            mode,
            shape,
        }
    }

    /// The same bytes with other permissions and another time.
    #[must_use]
    pub const fn touched(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(super) fn entry(&self, seed: u64) -> Entry {
        let version = i64::try_from(self.version).expect("few versions");
        let kind = match self.shape {
            Shape::File => Kind::File(content(seed, self.name, self.version, self.len)),
            Shape::Directory => Kind::Directory,
            Shape::Link => Kind::Link(format!("target-{}", self.version).into_bytes().into()),
        };
        Entry {
            kind,
            mode: self.mode,
            modified: (1_000_000 + version + i64::from(self.mode), 7),
        }
    }

    pub(super) fn file_name(&self) -> FileName {
        parsed(self.name)
    }
}

pub(super) fn parsed(name: &str) -> FileName {
    name.parse().expect("names of workloads are names")
}

/// Returns the bytes of a file; none of anything else.
pub(super) fn bytes_of(entry: &Entry) -> &[u8] {
    match &entry.kind {
        Kind::File(bytes) => bytes,
        Kind::Directory | Kind::Link(_) => &[],
    }
}

/// Returns how a stream with this entry is committed.
pub(super) fn options_of(entry: &Entry, name_conflict: NameConflict) -> CommitOptions {
    let (seconds, nanoseconds) = entry.modified;
    CommitOptions {
        mode: entry.mode,
        name_conflict,
        modified_at: Timestamp::new(seconds, nanoseconds),
    }
}
