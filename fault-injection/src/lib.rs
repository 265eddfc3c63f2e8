//! Storage that fails on purpose, and searches that crash everything everywhere: for the engine `bfdb`, for applications that
//! embed it, and for volumes that others bring.
//!
//! | who you are | what you want | where |
//! |---|---|---|
//! | your application embeds `bfdb` and keeps files beside the archive | every crash and every error under your workload | [`crashes::Application`] |
//! | you implement [`bfdb::volume::Volume`] | its contract, rule by rule | [`conformance::check`] |
//! | the same | every crash and every error of the disk below it | [`crashes::VolumeAlone`] |
//! | you use a volume | one that fails at a chosen call | [`FaultyVolume`] |
//! | your code uses [`bfdb::storage::Storage`] | a disk in memory that can be crashed anywhere | [`SimulatedStorage`] |
//! | you want to see damage found on real files | flipped bits, cuts, zeros, replayably | [`damage`] |
//! | you change the engine | everything at once, without end | [`crashes::campaign`], [`killing`], [`concurrency`], [`resting`], [`decay`] |
//!
//! `README.md` of this crate walks through the first four. The shortest program that is worth having stores two files and
//! remembers what was acknowledged; it is crashed between any two operations of its disk, in every class of ways, and each of
//! its operations is made to fail:
//!
//! ```
//! use std::{error::Error, io::Read as _, path::Path, sync::Arc};
//!
//! use bfdb::{Access, Archive, ArchiveOptions, CommitOptions, OpenOptions};
//! use bfdb_fault_injection::crashes::{
//!     Application, Effort, Findings, Restarted, Watched, explore, inject, resources, small_policy,
//! };
//!
//! const ROOT: &str = "/photos.bfdb";
//!
//! /// Names of files that were acknowledged.
//! type Stored = Vec<&'static str>;
//!
//! fn run(watched: &mut Watched<'_, Stored>) -> Result<(), Box<dyn Error>> {
//!     let options = ArchiveOptions {
//!         policy: small_policy(),
//!         resources: resources(),
//!         ..ArchiveOptions::default()
//!     };
//!     let archive = Archive::create_on(&watched.machine(), Path::new(ROOT), &options)?;
//!     for name in ["geysir", "hekla"] {
//!         let len = u64::try_from(name.len())?;
//!         archive.commit(&name.parse()?, name.as_bytes(), len, &CommitOptions::default())?;
//!         watched.note(|stored| stored.push(name)); // from here on it has to be there
//!     }
//!     Ok(archive.close()?)
//! }
//!
//! fn check(restarted: &Restarted, stored: &Stored) -> Result<(), Box<dyn Error>> {
//!     if stored.is_empty() {
//!         return Ok(()); // there need not be an archive yet
//!     }
//!     let options = OpenOptions {
//!         access: Access::Write,
//!         resources: resources(),
//!         ..OpenOptions::default()
//!     };
//!     let (archive, _) = Archive::open_on(&restarted.machine(), Path::new(ROOT), &options)?;
//!     for name in stored {
//!         let mut text = String::new();
//!         let mut file = archive.snapshot()?.open_file(&name.parse()?, Arc::new(()))?;
//!         file.read_to_string(&mut text)?;
//!         if text != *name {
//!             return Err(format!("{name} holds {text}").into());
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let application = Application::new("photos", run, check).with_archive(ROOT);
//!     let findings = Findings::default();
//!     explore(&application, 1, &Effort::default(), &findings)?;
//!     inject(&application, 1, 20, &findings)?;
//!     println!("{findings}");
//!     assert!(findings.violations().is_empty());
//!     Ok(())
//! }
//! ```
//!
//! Everything random comes from a seed, so whatever was found can be found again. The crate stands beside the engine and uses
//! its public API only.

pub mod concurrency;
pub mod conformance;
pub mod crashes;
pub mod damage;
pub mod decay;
pub mod discarding;
pub mod faulty;
pub mod killing;
pub mod resting;
pub mod rotating;
mod seeded;
pub mod simulation;
pub mod volumes;

pub use faulty::FaultyVolume;
pub use seeded::Seeded;
pub use simulation::SimulatedStorage;
