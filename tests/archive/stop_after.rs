//! An observer that asks for an end, and counts what it is told of until then.

use std::sync::atomic::{AtomicU64, Ordering};

use bfdb::archive::{Event, Observer};

/// Asks for an end once it was told of so much progress.
#[derive(Debug)]
pub struct StopAfter {
    events_left: AtomicU64,
    bytes: AtomicU64,
    damage: AtomicU64,
}

impl StopAfter {
    pub fn new(events: u64) -> Self {
        Self {
            events_left: AtomicU64::new(events),
            bytes: AtomicU64::new(0),
            damage: AtomicU64::new(0),
        }
    }

    /// One that never asks.
    pub fn never() -> Self {
        Self::new(u64::MAX)
    }

    /// How often it was told of bytes, where it never asks for an end.
    pub fn events(&self) -> u64 {
        u64::MAX - self.events_left.load(Ordering::SeqCst)
    }

    /// Bytes that it was told of.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Damaged shards that it was told of.
    pub fn damage(&self) -> u64 {
        self.damage.load(Ordering::SeqCst)
    }
}

impl Observer for StopAfter {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Progress { bytes } => {
                self.bytes.fetch_add(bytes, Ordering::SeqCst);
                // Several pieces may come to their ends at once.
                let less = |left: u64| Some(left.saturating_sub(1));
                self.events_left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                    .unwrap();
            }
            Event::Damage(_) => drop(self.damage.fetch_add(1, Ordering::SeqCst)),
            Event::GoingOn { .. } | _ => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        self.events_left.load(Ordering::SeqCst) == 0
    }
}
