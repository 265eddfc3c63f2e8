//! A disk in memory whose crashes can be enumerated.
//!
//! [`SimulatedStorage`] stands for the file system that an archive lies on. It keeps one timeline over everything: each
//! mutating operation, of whatever file and directory, gets the next number. From the recording ([`Timeline`]) the image
//! of the disk after a crash at any boundary can be made, in each way that a crash can go ([`CrashVariant`]), without
//! running the workload again. An image is a disk like any other, so recovery can be crashed too.
//!
//! ```
//! use std::path::Path;
//!
//! use bfdb::storage::{FileAccess, Storage as _};
//! use bfdb_fault_injection::{Seeded, simulation::{Limits, SimulatedStorage}};
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = SimulatedStorage::new();
//! let file = disk.create_new(Path::new("/note"))?;
//! file.write_all_at(0, b"keep this")?;
//! file.sync_all()?;
//! disk.sync_directory(Path::new("/"))?;
//! disk.marker("kept");
//!
//! let timeline = disk.timeline();
//! let mut seeded = Seeded::new(1);
//! for point in timeline.boundaries() {
//!     for variant in timeline.variants_at(point, &mut seeded, &Limits::new(2)) {
//!         let image = timeline.image(point, &variant);
//!         if !timeline.markers_before(point).is_empty() {
//!             let mut bytes = [0; 9];
//!             image.open(Path::new("/note"), FileAccess::Read)?.read_exact_at(0, &mut bytes)?;
//!             assert_eq!(&bytes, b"keep this", "lost by {variant:?} at {point:?}");
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a sync means
//!
//! The worst reading of POSIX that disks and file systems live up to:
//!
//! * A sync of a file makes durable what was written to it, its length and its blocks, whichever handle was used. It says
//!   nothing of its name: a file that is durable and whose name is not is lost.
//! * A sync of a directory makes the names in this one directory durable, not what they stand for. A name may stand for
//!   an empty file after a crash. A renaming from one directory into another is covered by half.
//! * Whatever no sync covers yet is *pending*. Each pending change survives a crash or does not, independent of all others
//!   and of their order. Those that survive are done in their order.
//! * A removed name comes back with everything that was durable of its file, unless its directory was synced.
//! * What is durable stays as it was, but for bytes that share a sector with a write that was torn while it was on its
//!   way: [`CrashVariant::GarbageInTornSector`] does not spare them.
//!
//! Not modelled: disks that lose what they acknowledged (damage at rest is what [`crate::damage`] does), directories that
//! are renamed or removed, links. A sync happens at one moment; a crash during it is the boundary before it.
//!
//! # What a fault means
//!
//! Rules ([`FaultRule`]) spoil operations as they are asked for. An operation that cannot be done anyway (no such file, no
//! room, not permitted) fails by itself: no rule sees it, and it gets no number. A spoiled operation gets its number, and
//! what was done of it stands in the timeline. Of several rules that would spoil an operation, the first does.
//!
//! | fault | what an application sees | what is true |
//! |---|---|---|
//! | [`Fault::Io`] | EIO | nothing was done; after a sync everything is still pending, and another sync covers it |
//! | [`Fault::Full`] | ENOSPC | nothing was done |
//! | [`Fault::Interrupted`] | EINTR | nothing was done; asking again is right |
//! | [`Fault::Short`] | fewer bytes | just as many were read or written |
//! | [`Fault::Partial`] | EIO | the first bytes were written |
//! | [`Fault::FlipBit`] | success | one bit is wrong, now and then, or always |
//! | [`Fault::SyncDropsBytes`] | EIO, and the next sync succeeds | the bytes never reach the disk; readers see them until the system forgets them |
//! | [`Fault::SyncForgotten`] | success | nothing was synced; everything is still pending |
//! | [`Fault::SyncLate`] | success | it is done behind the next sync, as an operation of its own |
//! | [`Fault::Vanish`] | EIO from now on | the disk is gone |
//!
//! A disk that is really full writes as much as there is room for, and allocates so much before it fails.
//!
//! # Locks
//!
//! As those of Linux: of a whole file as `flock` has them (an exchange gives up the old lock first), of ranges as open file
//! descriptions have them (they split and exchange); neither kind sees the other. Every handle stands for an open file
//! description of its own, in this process or in another one. A lock ends with its handle; an image has none. A disk may have
//! fewer locks, or none, or grant all of them to everybody ([`LockSupport`]).
//!
//! One mutex guards a disk, and nothing is called while it is held but rules.
//! Invariant: the image of a crash is a function of timeline, boundary and variant alone.

mod action;
mod choice;
mod content;
mod disk;
mod durability;
mod faults;
mod file;
mod hash;
mod machine;
mod page;
mod state;
mod storage;
mod timeline;
mod variant;

pub use self::action::Operation;
pub use self::choice::Limits;
pub use self::faults::{AfterDrop, Asked, Condition, Counts, Fault, FaultRule, LockSupport, OperationKind};
pub use self::machine::{SimulatedClock, SimulatedRandomness};
pub use self::storage::SimulatedStorage;
pub use self::timeline::{CrashPoint, Marker, Timeline};
pub use self::variant::{Beside, CrashClass, CrashVariant, LateBytes, RenameShape, TornPart};
