//! The commands, tried as a user does: the real program, real files, real archives, in directories of their own.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make and change files of their own, also behind the engine's back"
)]

mod archives;
mod catalogs;
mod commit;
mod compacting;
mod damage;
mod harness;
mod health;
mod listing;
mod options;
mod partial;
mod plan;
mod reading;
mod rebuilding;
mod recover;
mod refusals;
mod repairs;
mod restore;
mod signals;
mod sources;
mod trees;
mod versions;
mod volumes;
