//! Everything that touches the host, except volumes: sources and trees of them, restored files, time and randomness; and
//! what an archive keeps beside its volumes on its storage: sessions and their locks, its directory, its ballast.
//!
//! This is the second and last place (beside `storage`) that names `std::fs`, and the only one that asks the system
//! for the time or for random bytes. It promises that a source is read as it was or not at all ([`SourceFile`]), that
//! restoring never leaves its directory nor shows half a file ([`RestoreTarget`]), and that the death of a writing process
//! is seen by the next one ([`sessions`]).
//!
//! It knows no catalog, no volume and no format; names of stored files and ids are all it shares with them. It prints
//! nothing and reads no environment variable.

mod alone;
mod ballast;
mod clock;
mod directory;
mod files;
mod layout;
mod lock;
mod machine;
mod open;
mod place;
mod random;
mod restore;
mod session;
mod source;
mod space;
mod spool;
mod tree;

pub use alone::{FileLocks, alone, refuse_beside_alone, try_file_locks};
pub use ballast::{BALLAST_LEN_BYTES, Ballast};
pub use clock::{Clock, SystemClock};
pub use directory::Existing;
pub use files::publish;
pub use layout::{ArchiveLayout, ArchiveState, BuildLock, Building};
pub use machine::Machine;
pub use place::Place;
pub use random::{Randomness, SystemRandomness};
pub use restore::{CompleteFile, Durability, Made, RestoreFile, RestoreTarget, Restored, is_partial_name};
pub use session::{DeadSession, SeenSession, Session, SessionInfo, SessionState};
pub use session::{SessionGlance, SessionLife, glance_at_sessions, sessions};
pub use source::{SourceFile, SourceIdentity, absolute_path, path_is_inside};
pub use space::same_device;
pub use spool::Spool;
pub use tree::{ExcludedDirectories, SkipReason, TreeEntry, TreeWalk, Walked};
