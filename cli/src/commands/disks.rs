//! Directories that one disk takes with it when it dies.

use std::path::{Path, PathBuf};

use bfdb::host::same_device;

use super::damage::as_u64;
use crate::{context::Context, text};

/// Warns of volumes that share a disk, and of how many disks may die then; `survive` is how many volumes may.
pub(super) fn warn_of_disks(volumes: &[PathBuf], survive: u16, context: &Context) {
    let disks = disks(volumes);
    for disk in disks.iter().filter(|disk| disk.len() > 1) {
        let paths: Vec<String> = disk.iter().map(|path| text::path(path)).collect();
        let message = format!(
            "{} volumes are on one disk, which takes all of them with it when it dies: {}",
            disk.len(),
            paths.join(", ")
        );
        context.warn(message, Vec::new());
    }
    let lost = |disk: &Vec<&Path>| disk.len() > usize::from(survive);
    if survive > 0 && disks.iter().any(lost) {
        let message = format!(
            "any {} may be lost, but not any disk: the {} volumes are on {}; put each volume on a disk of its own",
            text::count(u64::from(survive), "volume"),
            volumes.len(),
            text::count(as_u64(disks.len()), "disk")
        );
        context.warn(message, Vec::new());
    }
}

/// Warns of a source whose disk takes it and more volumes than may be lost with it; `survived` is how many may.
pub(super) fn warn_of_sources(
    sources: &[PathBuf],
    (volumes, survived): (&[PathBuf], u16),
    context: &Context,
) {
    let beside = |source: &PathBuf| volumes.iter().filter(|volume| share(source, volume)).count();
    let found = (sources.iter())
        .map(|source| (source, beside(source)))
        .find(|(_, count)| *count > usize::from(survived));
    if let Some((source, count)) = found {
        let (source, count) = (text::path(source), text::count(as_u64(count), "volume"));
        let survived = match survived {
            0 => "none".to_owned(),
            survived => survived.to_string(),
        };
        let message = format!(
            "{source} is on one disk with {count}, and {survived} may be lost: when that disk dies, it may take the source and what is \
             stored of it"
        );
        context.warn(message, Vec::new());
    }
}

fn share(one: &Path, other: &Path) -> bool {
    same_device(there(one), there(other)).is_ok_and(|is_same| is_same)
}

/// Sorts directories by the disk that they are on, or the first that is there above them.
fn disks(volumes: &[PathBuf]) -> Vec<Vec<&Path>> {
    let mut disks: Vec<(&Path, Vec<&Path>)> = Vec::new();
    for volume in volumes {
        let there = there(volume);
        let known = disks.iter_mut().find(|(other, _)| share(other, there));
        match known {
            Some((_, volumes)) => volumes.push(volume),
            None => disks.push((there, vec![volume])),
        }
    }
    disks.into_iter().map(|(_, volumes)| volumes).collect()
}

/// Returns a directory, or what is there above it.
pub(super) fn there(path: &Path) -> &Path {
    let mut above = path.ancestors();
    let found = above.find(|path| path.exists());
    found.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_sorted_by_the_disk_that_they_will_be_on() {
        let volumes = ["/proc/missing", "src", "src/missing/below", "missing"].map(PathBuf::from);
        let numbers: Vec<usize> = disks(&volumes).iter().map(Vec::len).collect();
        assert_eq!(numbers, [1, 3]);
    }
}
