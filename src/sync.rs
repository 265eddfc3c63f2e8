//! Locks and atomics of the modules whose schedules are explored.
//!
//! They are the standard library's; the crate of models compiles the same modules with those of a model checker.

pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};
