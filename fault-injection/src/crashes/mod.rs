//! Crashes and errors everywhere, against an oracle.
//!
//! A [`workloads::Workload`] uses an archive on a disk in memory ([`crate::simulation`]) and notes what it asked for and
//! what it was told ([`stage`]). For a crash behind any operation the [`oracle`] says from these notes alone what may be
//! there, and [`check`] opens the image and sees: by reading alone, by recovery, by going on with it, and by a recount of
//! every byte ([`recount`]). [`explore`] makes the images and crashes the recoveries too, [`errors`] lets operations fail,
//! [`below`] does the same to single floors, and a [`case`] names one image so that it can be seen again.
//!
//! Invariant: no promise is checked by asking the engine whether it was kept.

pub mod below;
pub mod books;
pub mod campaign;
pub mod case;
pub mod chain;
pub mod check;
pub mod errors;
pub mod explore;
pub mod image;
pub mod known;
pub mod oracle;
pub mod recount;
pub mod scenario;
pub mod setting;
pub mod sources;
pub mod stage;
pub mod view;
pub mod violation;
mod waiting;
pub mod what;
pub mod workloads;
