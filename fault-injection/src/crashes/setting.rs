//! What all workloads and checks agree on: where the archive lies, how its files are protected, what it may use.

use std::path::Path;

use bfdb::{
    Access, Archive, OpenOptions, Policy, RecoveryReport, Resources,
    geometry::{Grouping, PolicyParts},
    host::Machine,
    units::{CodeShape, LeafLen},
    volume::IoMode,
};

/// Where the archive lies on the simulated disk.
pub const ROOT: &str = "/crashes.bfdb";

/// Opens the archive that workloads use.
///
/// # Errors
/// What the engine says.
pub fn open_on(machine: &Machine, access: Access) -> Result<(Archive, RecoveryReport), String> {
    open_at((machine, Path::new(ROOT)), access)
}

/// Opens the archive in a directory, with [`resources`].
///
/// # Errors
/// What the engine says, with all causes.
pub fn open_at(
    (machine, root): (&Machine, &Path),
    access: Access,
) -> Result<(Archive, RecoveryReport), String> {
    let options = OpenOptions {
        access,
        resources: resources(),
        volumes: Vec::new(),
    };
    Archive::open_on(machine, root, &options).map_err(|error| explained(&error))
}

/// Returns an error with all its causes.
pub fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What an operation may use: one thread, so that the same seed does the same again, and little memory.
pub const fn resources() -> Resources {
    Resources {
        threads: 1,
        memory_bytes: 1 << 20,
        catalog_cache_bytes: 1 << 20,
        io: IoMode::Buffered,
        medium: None,
        progress_bytes: 4 << 10,
        checkpoint_bytes: u64::MAX,
    }
}

/// A policy whose tiers begin at a few KiB, the last of them at 15: of groups of two blocks and more, with one of outer parity.
///
/// # Panics
/// Never: the numbers are a policy.
pub fn small_policy() -> Policy {
    let replicas = || CodeShape::new(1, 3).expect("a code");
    Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(10).expect("a length"),
        tiny_below_bytes: 4 << 10,
        tiny_shape: replicas(),
        segmented_below_bytes: 12 << 10,
        segmented_shape: replicas(),
        segmented_segment_len_bytes: 4 << 10,
        blocked_shape: CodeShape::new(4, 2).expect("a code"),
        blocked_segment_max_len_bytes: 2 << 10,
        blocked_below_bytes: 15 << 10,
        grouped: Grouping {
            shape: CodeShape::new(4, 2).expect("a code"),
            segment_max_len_bytes: 2 << 10,
            parity: 1,
            blocks_min: 2,
        },
        survive_volumes: 0,
    })
    .expect("a policy")
}
