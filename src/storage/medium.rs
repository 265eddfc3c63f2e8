//! What kind of disk files lie on, as far as that decides in which order they are best written and read.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where Linux tells of its block devices.
#[cfg(target_os = "linux")]
const DEVICES: &str = "/sys/dev/block";

/// Devices that are made of others that are made of others, and so on: more than anybody has.
const MOST_LAYERS: u32 = 8;

/// What it costs to go on at another place of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Medium {
    /// Next to nothing: flash, memory, and everything that does not say what it is.
    #[default]
    Solid,
    /// Milliseconds, in which a megabyte and more would have passed under the head: a rotating disk.
    Rotating,
}

impl Medium {
    /// Returns what a device is by its number, as the system tells it; [`Medium::Solid`] where it does not.
    pub(crate) fn of_device(device: u64) -> Self {
        #[cfg(target_os = "linux")]
        {
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            of_path(&Path::new(DEVICES).join(format!("{major}:{minor}")), MOST_LAYERS)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = device;
            Self::Solid
        }
    }

    /// Returns what the file system of a path lies on.
    pub(super) fn of_file_system(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(path).map_or(Self::Solid, |found| Self::of_device(found.dev()))
    }
}

/// Returns what a device is by its directory in the system's tree. What is made of others rotates when one of them does.
fn of_path(device: &Path, layers: u32) -> Medium {
    // Where it really stands says what it is connected to.
    let Ok(device) = fs::canonicalize(device) else {
        return Medium::Solid;
    };
    let below = members(&device);
    if !below.is_empty() {
        let rotates = |member: &PathBuf| layers > 0 && of_path(member, layers - 1) == Medium::Rotating;
        return if below.iter().any(rotates) {
            Medium::Rotating
        } else {
            Medium::Solid
        };
    }
    // A partition has no queue of its own.
    let flag = ["queue/rotational", "../queue/rotational"]
        .iter()
        .find_map(|flag| fs::read_to_string(device.join(flag)).ok());
    let says_so = flag.is_some_and(|flag| flag.trim() == "1");
    if says_so && !is_virtual(&device) {
        Medium::Rotating
    } else {
        Medium::Solid
    }
}

/// Returns the devices that one is made of: an array, a logical volume, an encrypted disk.
fn members(device: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(device.join("slaves")) else {
        return Vec::new();
    };
    listed.flatten().map(|entry| entry.path()).collect()
}

/// Says whether nothing is known of what is behind a device: disks of virtual machines say that they rotate, whatever they are.
fn is_virtual(device: &Path) -> bool {
    device.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part == "virtual" || part.starts_with("virtio") || part.starts_with("vbd-")
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make trees of files")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree as Linux has it.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a temporary directory"))
        }

        /// Makes a disk at a place of the tree; returns its directory.
        fn disk(&self, place: &str, rotational: &str) -> PathBuf {
            let disk = self.0.path().join("devices").join(place);
            fs::create_dir_all(disk.join("queue")).expect("made");
            fs::write(disk.join("queue/rotational"), rotational).expect("written");
            disk
        }

        /// Makes a device out of others, which claims to rotate.
        fn made_of(&self, place: &str, members: &[&Path]) -> PathBuf {
            let device = self.disk(place, "1\n");
            fs::create_dir_all(device.join("slaves")).expect("made");
            for (index, member) in members.iter().enumerate() {
                symlink(member, device.join("slaves").join(index.to_string())).expect("linked");
            }
            device
        }
    }

    fn medium(device: &Path) -> Medium {
        of_path(device, MOST_LAYERS)
    }

    #[test]
    fn a_disk_is_what_its_flag_says_and_a_partition_what_its_disk_is() {
        let tree = Tree::new();
        let disk = tree.disk("pci0/ata1/host0/block/sda", "1\n");
        assert_eq!(medium(&disk), Medium::Rotating);
        let partition = disk.join("sda1");
        fs::create_dir_all(&partition).expect("made");
        assert_eq!(medium(&partition), Medium::Rotating);
        assert_eq!(medium(&tree.disk("pci0/nvme/nvme0n1", "0\n")), Medium::Solid);
        let link = tree.0.path().join("8:0");
        symlink(&disk, &link).expect("linked");
        assert_eq!(medium(&link), Medium::Rotating);
    }

    #[test]
    fn what_is_made_of_others_rotates_when_one_of_them_does() {
        let tree = Tree::new();
        let rotating = tree.disk("pci0/ata1/host0/block/sda", "1\n");
        let solid = tree.disk("pci0/ata2/host1/block/sdb", "0\n");
        let mixed = tree.made_of("virtual/block/md0", &[&solid, &rotating]);
        assert_eq!(medium(&mixed), Medium::Rotating);
        assert_eq!(
            medium(&tree.made_of("virtual/block/dm-1", &[&mixed])),
            Medium::Rotating
        );
        assert_eq!(
            medium(&tree.made_of("virtual/block/dm-2", &[&solid])),
            Medium::Solid
        );
        let of_itself = tree.made_of("virtual/block/dm-3", &[]);
        symlink(&of_itself, of_itself.join("slaves/0")).expect("linked");
        assert_eq!(medium(&of_itself), Medium::Solid, "a circle comes to an end");
    }

    #[test]
    fn disks_of_virtual_machines_and_unknown_devices_do_not_count_as_rotating() {
        let tree = Tree::new();
        assert_eq!(medium(&tree.disk("pci0/virtio1/block/vda", "1\n")), Medium::Solid);
        assert_eq!(medium(&tree.disk("vbd-51712/block/xvda", "1\n")), Medium::Solid);
        assert_eq!(medium(&tree.disk("virtual/block/loop0", "1\n")), Medium::Solid);
        assert_eq!(medium(&tree.0.path().join("0:42")), Medium::Solid);
        assert_eq!(medium(&tree.disk("pci0/ata3/block/sdc", "?")), Medium::Solid);
    }
}
