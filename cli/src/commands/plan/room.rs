//! Whether what is planned fits on the volumes.

use std::path::{Path, PathBuf};

use bfdb::{
    geometry::spread_counts,
    host::{Machine, same_device},
};

use super::tiers::TierSums;
use crate::commands::disks::there;

/// Pieces that a tier is dealt in at most, or as many as it has files that are as long as its longest.
const PIECES: u64 = 1024;

/// Free bytes of the disks that volumes are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    /// Of each disk, once, however many volumes it has.
    free_bytes: Vec<u64>,
    /// On which of them each volume is.
    disk_of: Vec<usize>,
}

impl Room {
    /// Returns the room on volumes that are there, each with its free bytes.
    pub(super) fn of_volumes(volumes: &[(PathBuf, u64)]) -> Self {
        let mut room = Self {
            free_bytes: Vec::new(),
            disk_of: Vec::new(),
        };
        let mut known: Vec<&Path> = Vec::new();
        for (path, free) in volumes {
            let place = there(path);
            let is_same = |other: &&Path| same_device(other, place).is_ok_and(|is_same| is_same);
            let disk = known.iter().position(is_same).unwrap_or_else(|| {
                known.push(place);
                room.free_bytes.push(*free);
                known.len() - 1
            });
            room.disk_of.push(disk);
        }
        room
    }

    /// Returns the room on volumes that would be made; a place that cannot be asked has none.
    pub(super) fn of_places(places: &[PathBuf]) -> Self {
        let storage = Machine::default().storage;
        let free = |path: &PathBuf| storage.free_bytes(there(path)).unwrap_or(0);
        let volumes: Vec<(PathBuf, u64)> = places.iter().map(|path| (path.clone(), free(path))).collect();
        Self::of_volumes(&volumes)
    }

    /// Returns the free bytes of all disks.
    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.iter().copied().fold(0, u64::saturating_add)
    }

    /// Says whether everything fits when it is dealt as a commit does: to as many volumes as a code is spread over, to those
    /// with most room. What a catalog, a journal and the ends of extents take is not counted.
    pub(super) fn fits(&self, tiers: &[TierSums]) -> bool {
        let mut left = self.clone();
        tiers.iter().all(|tier| left.take(tier))
    }

    fn take(&mut self, tier: &TierSums) -> bool {
        let volumes = u16::try_from(self.disk_of.len()).unwrap_or(u16::MAX);
        if tier.stored_bytes == 0 || volumes == 0 {
            return tier.stored_bytes == 0;
        }
        let counts = spread_counts(tier.shape, volumes);
        // A file whose code is not spread lies whole on one volume, so that no piece is shorter than the longest file.
        let longest_piece = tier.longest_stored_bytes.max(tier.stored_bytes.div_ceil(PIECES));
        let mut to_take = tier.stored_bytes;
        while to_take > 0 {
            let piece = longest_piece.min(to_take);
            to_take -= piece;
            let mut best = self.disk_of.clone();
            best.sort_by_key(|disk| u64::MAX - self.free_bytes[*disk]);
            for (count, disk) in counts.iter().zip(best) {
                let share = u128::from(piece) * u128::from(*count);
                let share = share.div_ceil(u128::from(tier.shape.total()));
                let share = u64::try_from(share).expect("a share is not more than the piece");
                let Some(rest) = self.free_bytes[disk].checked_sub(share) else {
                    return false;
                };
                self.free_bytes[disk] = rest;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use bfdb::{geometry::Tier, units::CodeShape};

    use super::*;

    const GB: u64 = 1_000_000_000;

    fn tier((data, parity): (u16, u16), stored_bytes: u64, longest_stored_bytes: u64) -> TierSums {
        TierSums {
            stored_bytes,
            longest_stored_bytes,
            ..TierSums::new(Tier::Tiny, CodeShape::new(data, parity).expect("a shape"))
        }
    }

    fn room(free_bytes: &[u64], disk_of: &[usize]) -> Room {
        Room {
            free_bytes: free_bytes.to_vec(),
            disk_of: disk_of.to_vec(),
        }
    }

    #[test]
    fn what_is_spread_needs_room_on_each_volume_and_what_is_not_on_one() {
        let copies = |stored| [tier((1, 3), stored, 1)];
        assert!(room(&[10 * GB, 10 * GB], &[0, 1]).fits(&copies(19 * GB)));
        assert!(
            !room(&[30 * GB, GB], &[0, 1]).fits(&copies(4 * GB)),
            "half of it goes to each"
        );
        let whole = |stored, longest| [tier((30, 3), stored, longest)];
        assert!(room(&[10 * GB, 10 * GB], &[0, 1]).fits(&whole(19 * GB, GB)));
        assert!(
            !room(&[10 * GB, 10 * GB], &[0, 1]).fits(&whole(11 * GB, 11 * GB)),
            "one file"
        );
        assert!(!room(&[], &[]).fits(&copies(1)) && room(&[], &[]).fits(&copies(0)));
    }

    #[test]
    fn volumes_on_one_disk_share_its_room() {
        let copies = [tier((1, 3), 11 * GB, 1)];
        assert!(!room(&[10 * GB], &[0, 0]).fits(&copies));
        assert_eq!(room(&[10 * GB], &[0, 0]).free_bytes(), 10 * GB);
        let volumes = ["/proc", "src", "Cargo.toml"].map(|path| (PathBuf::from(path), 5));
        assert_eq!(Room::of_volumes(&volumes), room(&[5, 5], &[0, 1, 1]));
    }
}
