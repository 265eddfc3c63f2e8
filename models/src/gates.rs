//! The gate of an extent: a sync that succeeds tells the truth, a failed one is told to everybody, and a seal is the end.

use std::sync::{Mutex as StdMutex, PoisonError};

use loom::{sync::Arc, thread};

use crate::explore;
use gate::{Covers, Gate, NotSynced};

#[path = "../../src/volume/local/gate.rs"]
mod gate;

/// Two write and sync at the same time, on a disk that works.
pub fn what_was_written_before_a_sync_is_durable_behind_it() {
    explore(|| {
        let extent = Extent::new(Disk::default());
        both(&extent, |extent, who| {
            extent.write(who).expect("nobody closes it");
            extent.sync().expect("the disk works");
            assert!(extent.is_durable(who), "the sync said so");
        });
    });
}

/// Two write and sync at the same time, and the first sync fails: the disk tells one of them, and forgets the bytes.
pub fn after_a_failed_sync_nobody_is_told_that_all_is_well() {
    explore(|| {
        let extent = Extent::new(Disk {
            fails_once: true,
            ..Disk::default()
        });
        both(&extent, |extent, who| {
            if extent.write(who).is_ok() && extent.sync().is_ok() {
                assert!(extent.is_durable(who), "the sync said so");
            }
        });
        assert!(extent.write(9).is_err(), "it is closed for good");
        let again = extent.sync();
        assert!(
            matches!(again, Err(NotSynced::Closed(gate::Closed::Poisoned))),
            "it is closed for good: {again:?}"
        );
    });
}

/// One changes the length and syncs while another one syncs.
pub fn a_changed_length_is_covered_by_the_next_sync() {
    explore(|| {
        let extent = Extent::new(Disk::default());
        both(&extent, |extent, who| {
            if who == 0 {
                extent.set_len(7);
            }
            extent.sync().expect("the disk works");
            if who == 0 {
                assert_eq!(extent.durable_len(), 7, "the sync said so");
            }
        });
    });
}

/// One writes, another one seals.
pub fn behind_a_seal_nothing_changes() {
    explore(|| {
        let extent = Extent::new(Disk::default());
        both(&extent, |extent, who| {
            if who == 0 {
                let is_written = extent.write(0).is_ok();
                // It may have been sealed since, and then it was synced.
                assert!(
                    extent.sync().is_err() || is_written,
                    "a write that failed was the seal's doing"
                );
                return;
            }
            extent.seal().expect("the disk works");
            let sealed = extent.disk(|disk| disk.written.clone());
            assert!(extent.write(1).is_err(), "it is sealed");
            assert_eq!(
                extent.disk(|disk| disk.durable.clone()),
                sealed,
                "all of it is durable"
            );
        });
        let (written, durable) = extent.disk(|disk| (disk.written.clone(), disk.durable.clone()));
        assert_eq!(written, durable, "nothing came behind the last sync");
    });
}

/// A file and its disk: bytes are the numbers of their writers.
#[derive(Default)]
struct Disk {
    written: Vec<u8>,
    durable: Vec<u8>,
    len: u64,
    durable_len: u64,
    /// The next sync fails, and what it should have written is clean behind it.
    fails_once: bool,
}

struct Extent {
    gate: Gate,
    /// The system has its own locks: they order nothing for the gate.
    disk: StdMutex<Disk>,
}

impl Extent {
    fn new(disk: Disk) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(),
            disk: StdMutex::new(disk),
        })
    }

    fn disk<T>(&self, look: impl FnOnce(&mut Disk) -> T) -> T {
        look(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, who: u8) -> Result<(), gate::Closed> {
        let _entered = self.gate.enter()?;
        thread::yield_now();
        self.disk(|disk| disk.written.push(who));
        Ok(())
    }

    fn set_len(&self, len: u64) {
        let alone = self.gate.enter_alone().expect("nobody closes it");
        alone.changes_length();
        thread::yield_now();
        self.disk(|disk| disk.len = len);
    }

    fn sync(&self) -> Result<(), NotSynced<()>> {
        self.gate.sync(|covers| self.sync_disk(covers))
    }

    fn seal(&self) -> Result<(), NotSynced<()>> {
        self.gate.seal(|covers| self.sync_disk(covers))
    }

    fn sync_disk(&self, covers: Covers) -> Result<(), ()> {
        thread::yield_now();
        self.disk(|disk| {
            if disk.fails_once {
                disk.fails_once = false;
                // The pages count as clean now: no later sync writes them.
                disk.written = disk.durable.clone();
                return Err(());
            }
            disk.durable = disk.written.clone();
            if covers == Covers::DataAndLength {
                disk.durable_len = disk.len;
            }
            Ok(())
        })
    }

    fn is_durable(&self, who: u8) -> bool {
        self.disk(|disk| disk.durable.contains(&who))
    }

    fn durable_len(&self) -> u64 {
        self.disk(|disk| disk.durable_len)
    }
}

/// Two do the same, as number 0 and as number 1.
fn both(extent: &Arc<Extent>, what: fn(&Extent, u8)) {
    let other = {
        let extent = Arc::clone(extent);
        thread::spawn(move || what(&extent, 1))
    };
    what(extent, 0);
    other.join().expect("a panic ends the model");
}
