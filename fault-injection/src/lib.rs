//! Storage that fails on purpose.
//!
//! Stands beside the engine and uses its public traits only: a suite that every volume must pass, a volume that fails
//! when it is told to, a disk in memory whose crashes
//! can be enumerated, processes that die at a chosen call or work at once, and tools that damage real archives on disk. Everything random comes from a seed, so whatever
//! was found can be found again.

pub mod concurrency;
pub mod conformance;
pub mod crashes;
pub mod damage;
pub mod faulty;
pub mod killing;
pub mod resting;
mod seeded;
pub mod simulation;

pub use faulty::FaultyVolume;
pub use seeded::Seeded;
pub use simulation::SimulatedStorage;
