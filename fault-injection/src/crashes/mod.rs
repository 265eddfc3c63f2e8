//! Crashes and errors everywhere, against an oracle.
//!
//! Somebody uses a disk in memory ([`crate::simulation`]) and notes what was asked for and what was told: that is a
//! [`Scenario`]. [`explore`](fn@explore) plays it once and makes the image of the disk after a crash behind any operation, in
//! each class of ways; [`inject`] plays it again for each operation that is made to fail. Every image is checked against the
//! notes from before the crash, and what recovery did to it is crashed again. [`Findings`] counts, a [`Violation`] says what is
//! wrong, and a [`Case`] names the image, so that [`replay_of`] sees it again.
//!
//! | scenario | what is checked |
//! |---|---|
//! | [`Application`] | code of others with files of its own beside an archive, by its own check and by [`check_unnoted`] |
//! | [`VolumeAlone`] | any volume, the engine's or another one, by what was synced |
//! | [`workloads::Workload`] | the engine, by all that it promises ([`check`], [`oracle`]) |
//! | [`below`] | single floors of the engine |
//!
//! For the engine a [`stage`] notes every effect before it is asked for; the [`oracle`] says from these notes alone what may be
//! there, and [`check`] opens the image and sees: by reading alone, by recovery, by going on with it, and by a recount of
//! every byte ([`recount`]). A [`campaign`] does all of it, seed after seed.
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
mod mending;
mod moments;
pub mod oracle;
mod rebuilding;
pub mod recount;
mod replay;
pub mod scenario;
pub mod setting;
pub mod sources;
pub mod stage;
mod trace;
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
pub use explore::{Effort, Enough, Findings, Found, explore, replay, replay_of, trace_of};
pub use scenario::Scenario;
pub use setting::{explained, resources, small_policy};
pub use unnoted::check_unnoted;
pub use violation::{Promise, Violation};
