//! What is measured: one file of each tier, and a tree of many small ones.

use std::fmt;

use serde::Serialize;

use crate::{options::Options, source::Files, tools::ToolName};

/// Below this many bytes one run says little: such workloads get [`SHORT_FACTOR`] times the rounds.
const SHORT_BYTES: u64 = 100_000_000;
const SHORT_FACTOR: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkloadKind {
    Tier1,
    Tier2,
    Tier3,
    Tier4,
    Tree,
}

impl WorkloadKind {
    /// Says whether it is about the number of files.
    pub(crate) const fn has_many_files(self) -> bool {
        matches!(self, Self::Tree)
    }
}

#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) kind: WorkloadKind,
    pub(crate) files: Files,
    pub(crate) rounds: u32,
}

impl Workload {
    /// The workloads that the options leave, short ones first: so what does not work shows early.
    pub(crate) fn chosen(options: &Options) -> Vec<Self> {
        let file = |kind, name, len_bytes| (kind, name, 1, len_bytes);
        let all = [
            file(WorkloadKind::Tier1, "tier1.bin", options.size_tier1),
            file(WorkloadKind::Tier2, "tier2.bin", options.size_tier2),
            (WorkloadKind::Tree, "tree", options.small_files, 1024),
            file(WorkloadKind::Tier3, "tier3.bin", options.size_tier3),
            file(WorkloadKind::Tier4, "tier4.bin", options.tier4),
        ];
        let wanted = all
            .into_iter()
            .filter(|(_, _, count, len_bytes)| count * len_bytes > 0);
        wanted
            .map(|(kind, name, count, len_bytes)| {
                let is_tree = kind == WorkloadKind::Tree;
                let is_short = !is_tree && len_bytes < SHORT_BYTES;
                Self {
                    kind,
                    files: Files {
                        name,
                        count,
                        len_bytes,
                        is_tree,
                    },
                    rounds: options.runs * if is_short { SHORT_FACTOR } else { 1 },
                }
            })
            .collect()
    }

    /// Whether a tool can take it at all, in a time that anybody waits for.
    pub(crate) fn suits(&self, tool: ToolName) -> bool {
        match self.kind {
            WorkloadKind::Tier1 | WorkloadKind::Tier2 | WorkloadKind::Tier3 => true,
            // Their rates are those of tier 3, and take many minutes to be seen again.
            WorkloadKind::Tier4 => matches!(tool, ToolName::Cp | ToolName::B3sum | ToolName::Bfdb),
            // par2 protects at most 32768 files at once, and so many paths are no command line for b3sum.
            WorkloadKind::Tree => !matches!(tool, ToolName::Par2 | ToolName::B3sum),
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tier1 => "tier 1",
            Self::Tier2 => "tier 2",
            Self::Tier3 => "tier 3",
            Self::Tier4 => "tier 4",
            Self::Tree => "small files",
        })
    }
}
