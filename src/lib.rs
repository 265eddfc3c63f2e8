//! bfdb, an embedded, self-healing archive engine: files of any size on ordinary disks, every byte verified whenever it is
//! read, and decoded from the rest where it is damaged.
//!
//! An [`Archive`] is a directory with a catalog and a volume. A commit stores a file, wholly or not at all: cut into
//! shards and leaves, encoded with parity, synced, and only then named in the catalog. Trees of files, directories and links
//! are stored with [`Archive::commit_all`], small files thousands at a time, and come back with [`Snapshot::restore_all`]. A [`FileReader`] is `Read` and
//! `Seek`; it returns right bytes or an error that names the lost ones, never wrong bytes. What bytes mean on disk is
//! written down in docs/format.md and docs/catalog.md, when they are durable in docs/durability.md.
//!
//! ```
//! use std::{io::{Read as _, Seek as _, SeekFrom}, sync::Arc};
//! use bfdb::{Archive, ArchiveOptions, CommitOptions, FileName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let archive = Archive::create(&dir.path().join("photos.bfdb"), &ArchiveOptions::default())?;
//! let name: FileName = "2024/iceland.raw".parse()?;
//! let bytes = b"forty thousand waterfalls";
//! let receipt = archive.commit(&name, &bytes[..], 25, &CommitOptions::default())?; // durable from here on
//! assert_eq!(receipt.root.to_string(), blake3::hash(bytes).to_string()); // what b3sum prints
//!
//! let mut reader = archive.snapshot()?.open_file(&name, Arc::new(()))?;
//! reader.seek(SeekFrom::Start(15))?;
//! let mut tail = String::new();
//! reader.read_to_string(&mut tail)?;
//! assert_eq!(tail, "waterfalls");
//! # drop(reader);
//! archive.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! The house, from the roof down; who may use whom is checked by `tests/tidy.rs`:
//!
//! ```text
//! roof        archive                             open, commit, read, restore, verify, scrub, remove
//! floor 2     catalog                             what is stored, in one database file
//! floor 1     volume, journal, buffer, host       bytes on disks; what was published; memory; everything else
//!             storage                             files of an archive, on the host or a simulated disk
//! ground      plan                                where frames go, what damage means
//! ground      geometry, codec, merkle, format     arithmetic, Reed-Solomon, BLAKE3 trees, byte layouts
//! ground      units, error                        numbers that never mix, errors with their numbers
//! ```
//!
//! The library is synchronous. It prints nothing, ends no process and reads no environment variable, with one exception
//! that is not its own: where a damaged catalog makes the database panic, the panic is caught, and the hook of the process
//! may print it.

pub mod archive;
pub mod buffer;
pub mod catalog;
pub mod codec;
pub mod error;
pub mod format;
pub mod geometry;
pub mod host;
pub mod journal;
pub mod merkle;
pub mod plan;
#[cfg(feature = "seeded-bugs")]
pub mod seeded_bugs;
#[cfg(not(feature = "seeded-bugs"))]
mod seeded_bugs;
pub mod storage;
mod sync;
pub mod units;
pub mod volume;

pub use archive::{
    Archive, ArchiveOptions, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, CommitReceipt,
    Event, FileHealth, FileInfo, FileReader, Finding, HealthClass, HealthQuery, HealthState, Loss, Losses,
    NameConflict, Observer, OpenOptions, RecoveryReport, Removal, RepairOptions, RepairReport, Resources,
    RestoreObserver, RestoreOptions, RestoreReceipt, ScrubOptions, ScrubReport, Snapshot, Source,
};
pub use catalog::{Access, EntryKind};
pub use geometry::{Policy, Tier};
pub use host::{Place, RestoreTarget};
pub use merkle::RootHash;
pub use units::FileName;
