//! Crashes and errors everywhere, against an oracle.
//!
//! A [`workloads::Workload`] uses an archive on a disk in memory ([`crate::simulation`]) and notes what it asked for and
//! what it was told ([`stage`]). For a crash behind any operation the [`oracle`] says from these notes alone what may be
//! there, and [`check`] opens the image and sees: by reading alone, by recovery, by going on with it, and by a recount of
//! every byte ([`recount`]). [`explore`] makes the images and crashes the recoveries too, [`errors`] lets operations fail,
//! [`below`] does the same to single floors, and a [`case`] names one image so that it can be seen again.
//!
//! Invariant: no promise is checked by asking the engine whether it was kept.

mod application;
pub mod below;
pub mod books;
pub mod campaign;
pub mod case;
pub mod chain;
pub mod check;
pub mod errors;
pub mod explore;
mod findings;
pub mod image;
pub mod known;
mod moments;
pub mod oracle;
pub mod recount;
mod replay;
pub mod scenario;
pub mod setting;
pub mod sources;
pub mod stage;
mod unnoted;
pub mod view;
pub mod violation;
mod waiting;
pub mod what;
pub mod workloads;

pub use application::{Answer, Application, Restarted, Watched};
pub use below::{VolumeAlone, VolumeMaker};
pub use case::{Case, CaseError};
pub use errors::inject;
pub use explore::{Effort, Enough, Findings, Found, explore, replay, replay_of};
pub use scenario::Scenario;
pub use setting::{explained, resources, small_policy};
pub use unnoted::check_unnoted;
pub use violation::{Promise, Violation};
