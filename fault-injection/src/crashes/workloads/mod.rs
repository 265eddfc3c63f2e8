//! What is done to an archive while its disk is watched: one list.

mod checkpoints;
mod compacting;
mod lives;
mod mishaps;
mod repairs;
mod streams;
mod trees;
mod volumes;

use super::stage::Stage;

/// Which workloads run beside which in `cargo test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Streams of every tier.
    Streams,
    /// Many entries at once, replaced and removed.
    Trees,
    /// Processes that come, go, die and work side by side.
    Lives,
    /// Volumes that come and go.
    Volumes,
    /// Checkpoints of the catalog.
    Checkpoints,
}

/// Something that is done to an archive.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// Whether the making of the archive is a part of it; else it begins with one that was made and closed.
    pub begins_with_nothing: bool,
    /// Plays it.
    pub play: fn(&mut Stage<'_>),
}

/// Returns all workloads.
pub fn all() -> Vec<Workload> {
    [
        streams::LIST,
        trees::LIST,
        lives::LIST,
        mishaps::LIST,
        repairs::LIST,
        compacting::LIST,
        volumes::LIST,
        checkpoints::LIST,
    ]
    .concat()
}

/// Returns the workload of a name.
pub fn named(name: &str) -> Option<Workload> {
    all().into_iter().find(|workload| workload.name == name)
}
