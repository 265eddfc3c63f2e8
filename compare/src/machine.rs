//! The machine and the programs that a result is about.

use std::{collections::BTreeMap, fs, path::Path, thread};

use serde::Serialize;

use crate::tools::{Missing, ToolName};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) threads: usize,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) system: String,
    pub(crate) file_system: String,
    pub(crate) load_before: Option<String>,
    /// What each tool says about itself.
    pub(crate) versions: BTreeMap<ToolName, String>,
    /// Tools that were not measured, and why.
    pub(crate) missing: Missing,
}

impl Machine {
    /// Looks at the machine, and at the disk that `dir` is on.
    pub(crate) fn look(dir: &Path, versions: BTreeMap<ToolName, String>, missing: Missing) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = rustix::system::uname();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            threads: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib(&read("/proc/meminfo"), "MemTotal"),
            system: format!(
                "{} {} {}",
                kernel.sysname().to_string_lossy(),
                kernel.release().to_string_lossy(),
                kernel.machine().to_string_lossy()
            ),
            file_system: file_system(&read("/proc/self/mounts"), dir).unwrap_or_else(|| "unknown".to_owned()),
            load_before: read("/proc/loadavg").split_whitespace().next().map(str::to_owned),
            versions,
            missing,
        }
    }
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = field(text, name)?;
    Some(value.strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Kind, device and options of the file system that is mounted deepest above `dir`.
fn file_system(mounts: &str, dir: &Path) -> Option<String> {
    let rows = mounts.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [device, mounted_at, kind, options, ..] = words[..] else {
            return None;
        };
        // Spaces in a path are written so there.
        let mounted_at = mounted_at.replace("\\040", " ");
        dir.starts_with(&mounted_at)
            .then(|| (mounted_at.len(), format!("{kind} on {device} ({options})")))
    });
    // Of several at one place the last one is seen.
    rows.max_by_key(|(depth, _)| *depth).map(|(_, shown)| shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let processors = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Another\n";
        assert_eq!(
            field(processors, "model name").as_deref(),
            Some("Some CPU @ 3 GHz")
        );
        assert_eq!(field(processors, "model"), None);
        assert_eq!(
            kib("MemTotal:       16 kB\nMemFree: 1 kB\n", "MemTotal"),
            Some(16384)
        );
    }

    #[test]
    fn the_file_system_is_the_deepest_one_above() {
        let mounts =
            "/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw,noatime 0 0\ntmpfs /data/my\\040tmp tmpfs rw 0 0\n";
        for (dir, expected) in [
            ("/home", "ext4 on /dev/a (rw)"),
            ("/data/x", "xfs on /dev/b (rw,noatime)"),
            ("/database", "ext4 on /dev/a (rw)"),
            ("/data/my tmp/y", "tmpfs on tmpfs (rw)"),
        ] {
            assert_eq!(
                file_system(mounts, Path::new(dir)).as_deref(),
                Some(expected),
                "{dir}"
            );
        }
    }
}
