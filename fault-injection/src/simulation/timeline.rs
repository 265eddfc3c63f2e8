//! Everything that happened to a disk, and the images that a crash anywhere in there can leave.

use std::{fmt, path::Path, sync::Arc};

use super::{
    action::{Form, Operation, Outcome},
    choice::{Choice, Limits},
    disk::Disk,
    durability::{Durability, Pending},
    page::{to_u64, to_usize},
    storage::SimulatedStorage,
    variant::CrashVariant,
};
use crate::Seeded;

/// A boundary between two mutating operations: the machine stops here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrashPoint {
    /// The last operation that happened; 0 before the first.
    pub after_operation: u64,
}

/// What a workload noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The last mutating operation before it.
    pub after_operation: u64,
    /// What it says.
    pub tag: String,
}

/// A recording of what happened to a disk. It never changes, and every image of it can be made at any time, in any order,
/// from several threads.
#[derive(Clone)]
pub struct Timeline {
    log: Arc<[Operation]>,
    markers: Arc<[Marker]>,
    /// The durable state after each operation that changed it, the initial one first; they share what did not change.
    checkpoints: Arc<[Checkpoint]>,
    capacity_bytes: Option<u64>,
}

struct Checkpoint {
    /// How many operations of the log are in it.
    count: usize,
    durability: Durability,
}

impl fmt::Debug for Timeline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Timeline")
            .field("operations", &self.log.len())
            .field("markers", &self.markers.len())
            .finish_non_exhaustive()
    }
}

impl Timeline {
    pub(super) fn new(
        initial: Disk,
        log: Vec<Operation>,
        markers: Vec<Marker>,
        capacity_bytes: Option<u64>,
    ) -> Self {
        let mut durability = Durability::new(initial);
        let mut checkpoints = vec![Checkpoint {
            count: 0,
            durability: durability.clone(),
        }];
        for index in 0..log.len() {
            if durability.record(&log, index) {
                checkpoints.push(Checkpoint {
                    count: index + 1,
                    durability: durability.clone(),
                });
            }
        }
        Self {
            log: log.into(),
            markers: markers.into(),
            checkpoints: checkpoints.into(),
            capacity_bytes,
        }
    }

    /// Returns all mutating operations, in their order; the first has number 1.
    pub fn operations(&self) -> &[Operation] {
        &self.log
    }

    /// Returns everywhere that a crash can happen: before the first operation, and after each.
    pub fn boundaries(&self) -> impl DoubleEndedIterator<Item = CrashPoint> + use<> {
        (0..=to_u64(self.log.len())).map(|after_operation| CrashPoint { after_operation })
    }

    /// Returns all markers, in their order.
    pub fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Returns the markers that were set before a crash at a boundary, those at the boundary itself among them.
    pub fn markers_before(&self, point: CrashPoint) -> &[Marker] {
        let is_before = |marker: &Marker| marker.after_operation <= point.after_operation;
        &self.markers[..self.markers.partition_point(is_before)]
    }

    /// Returns the operations that no sync covers at a boundary, oldest first: what the indexes of variants count.
    ///
    /// # Panics
    /// When the boundary is not one of this timeline.
    pub fn pending(&self, point: CrashPoint) -> Vec<&Operation> {
        let (_, pending) = self.state_at(point);
        pending.iter().map(|pending| &self.log[pending.index]).collect()
    }

    /// Chooses variants of a crash at a boundary: every class that applies there at least once, the others as limits and
    /// chance will have it. Some of them may leave the same image.
    ///
    /// # Panics
    /// When the boundary is not one of this timeline.
    pub fn variants_at(
        &self,
        point: CrashPoint,
        seeded: &mut Seeded,
        limits: &Limits,
    ) -> impl ExactSizeIterator<Item = CrashVariant> + use<> {
        let (_, pending) = self.state_at(point);
        let choice = Choice {
            log: &self.log,
            pending: &pending,
        };
        choice.variants(seeded, limits).into_iter()
    }

    /// Returns what a crash leaves: a new disk of which everything is durable, with an empty timeline of its own, so that
    /// what recovers from the crash can be crashed too. Costs about as much as the changes that survive.
    ///
    /// # Panics
    /// When the boundary is not one of this timeline, or the variant is about a change that is not pending there.
    pub fn image(&self, point: CrashPoint, variant: &CrashVariant) -> SimulatedStorage {
        let (durable, pending) = self.state_at(point);
        let mut disk = durable.clone();
        variant.apply(&mut disk, &self.log, &pending);
        disk.drop_nameless();
        SimulatedStorage::mount(disk, self.capacity_bytes)
    }

    /// Returns the path of the write that a variant tears, or whose sector it fills with noise.
    ///
    /// # Panics
    /// When the boundary is not one of this timeline.
    pub fn torn_path(&self, point: CrashPoint, variant: &CrashVariant) -> Option<&Path> {
        let (CrashVariant::TornWrite { write, .. } | CrashVariant::GarbageInTornSector { write, .. }) =
            variant
        else {
            return None;
        };
        let (_, pending) = self.state_at(point);
        let torn = pending.get(*write)?;
        Some(self.log[torn.index].path())
    }

    fn state_at(&self, point: CrashPoint) -> (&Disk, Vec<Pending>) {
        let count = to_usize(point.after_operation);
        assert!(
            count <= self.log.len(),
            "{point:?} lies behind the last of {} operations",
            self.log.len()
        );
        let behind = self
            .checkpoints
            .partition_point(|checkpoint| checkpoint.count <= count);
        let Checkpoint {
            count: done,
            durability,
        } = &self.checkpoints[behind - 1];
        let mut pending = durability.pending.clone();
        // Between two checkpoints nothing becomes durable: what took effect is pending.
        let changes = (*done..count).filter(|index| self.log[*index].outcome == Outcome::Done);
        pending.extend(changes.map(|index| Pending {
            index,
            form: Form::Whole,
        }));
        (&durability.disk, pending)
    }
}
