//! Storage that fails on purpose, and the engine on it. One program, so that no processor waits for the last test of another one;
//! `seeded_bugs` alone has its own, since a bug is switched on for a whole process.

mod applications;
mod concurrency;
mod conformance;
mod crashes;
mod damage;
mod decay;
mod faulty;
mod kills;
mod processors;
mod readme;
mod rebuilding;
mod resting;
mod simulation;
mod versions;
mod volumes;
