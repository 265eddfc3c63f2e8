//! What a search has found, from all threads together: counts, and violations that name their case.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    case::Case,
    image::Image,
    known::known,
    scenario::{Level, State},
    violation::Violation,
};

/// What was found, from all threads together.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is enough, where that is less than everything.
    enough: Option<Enough>,
    images: Mutex<HashSet<(u128, u64)>>,
    engine_images: AtomicU64,
    nested_images: AtomicU64,
    deepest: AtomicUsize,
    errors: AtomicU64,
    kills: AtomicU64,
    operations: AtomicU64,
    damaged: AtomicU64,
    decayed: AtomicU64,
    known: Mutex<BTreeMap<&'static str, u64>>,
    violations: Mutex<Vec<Found>>,
    is_over: AtomicBool,
}

/// A violation, and how to see it again.
#[derive(Debug, Clone)]
pub struct Found {
    /// The image.
    pub case: Case,
    /// What is wrong with it.
    pub violation: Violation,
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, violation } = self;
        if case.is_of_the_program() {
            write!(
                out,
                "{violation}\n  seen again with: cargo run --release -p bfdb-fault-injection -- campaign --replay '{case}'"
            )
        } else {
            write!(
                out,
                "{violation}\n  seen again with: replay_of(&scenario, &\"{case}\".parse()?, &findings)"
            )
        }
    }
}

impl fmt::Display for Findings {
    /// Writes the counts in one line, and behind it each violation and each known defect that was met.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violations = self.violations();
        write!(
            out,
            "{} images, {} of them in recoveries, {} errors, {} violations",
            self.images(),
            self.nested_images(),
            self.errors(),
            violations.len(),
        )?;
        violations.iter().try_for_each(|found| write!(out, "\n{found}"))?;
        let known = self.known();
        known.iter().try_for_each(|(name, count)| {
            write!(out, "\nknown defect of the engine, met {count} times: {name}")
        })
    }
}

/// Violations that are enough to stop at.
const ENOUGH: usize = 50;

/// When to stop before there is nothing more to try.
#[derive(Debug, Clone, Copy)]
pub struct Enough {
    /// So many violations.
    pub violations: usize,
    /// So many images.
    pub images: usize,
}

impl Enough {
    /// So many violations, and any number of images.
    pub const fn violations(violations: usize) -> Self {
        Self {
            violations,
            images: usize::MAX,
        }
    }
}

impl Findings {
    /// Begins a search that ends early.
    pub fn until(enough: Enough) -> Self {
        Self {
            enough: Some(enough),
            ..Self::default()
        }
    }

    /// Returns how many different images were checked: disk and what is allowed there.
    pub fn images(&self) -> u64 {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(images.len()).expect("an address fits 64 bits")
    }

    /// Returns how many of them went through the whole engine.
    pub fn engine_images(&self) -> u64 {
        self.engine_images.load(Ordering::Relaxed)
    }

    /// Returns how many were of crashes inside recoveries.
    pub fn nested_images(&self) -> u64 {
        self.nested_images.load(Ordering::Relaxed)
    }

    /// Returns how deep a recovery was crashed inside of another: 1 is a crash in the first.
    pub fn deepest(&self) -> usize {
        self.deepest.load(Ordering::Relaxed)
    }

    /// Returns how many runs had an error injected.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Returns how often each known defect was met.
    pub fn known(&self) -> BTreeMap<&'static str, u64> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns all violations that nobody knows of.
    pub fn violations(&self) -> Vec<Found> {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets everybody stop.
    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Says whether everybody is to stop.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Returns how many real processes were killed.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    pub(crate) fn count_kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many operations of concurrent processes were judged.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(crate) fn count_operations(&self, count: u64) {
        self.operations.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns how many archives that were damaged at rest were checked.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Returns how many of them had damaged extents.
    pub fn decayed(&self) -> u64 {
        self.decayed.load(Ordering::Relaxed)
    }

    pub(crate) fn count_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_decayed(&self) {
        self.count_damaged();
        self.decayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_nested(&self, depth: usize) {
        self.nested_images.fetch_add(1, Ordering::Relaxed);
        self.deepest.fetch_max(depth, Ordering::Relaxed);
    }

    /// Notes an image; says whether it is new.
    pub(super) fn is_new(&self, image: &Image, state: &dyn State, level: Level) -> bool {
        let key = (image.fingerprint(), state.digest());
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = images.insert(key);
        if self.enough.is_some_and(|enough| images.len() >= enough.images) {
            self.stop();
        }
        drop(images);
        if is_new && level == Level::Engine {
            self.engine_images.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Notes a violation in an image, unless it is a known one.
    pub(super) fn report_of(&self, case: &Case, image: &Image, violation: Violation) {
        if let Some(name) = known(case, image, &violation) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            *known.entry(name).or_default() += 1;
        } else {
            self.report(case, violation);
        }
    }

    /// Notes a violation.
    pub(crate) fn report(&self, case: &Case, violation: Violation) {
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.push(Found {
            case: case.clone(),
            violation,
        });
        if violations.len() >= self.enough.map_or(ENOUGH, |enough| enough.violations) {
            self.stop();
        }
    }
}
