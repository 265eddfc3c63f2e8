//! The volume contract against every implementation, and the suite against volumes that break it.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bfdb::error::VolumeError;
use bfdb::units::{ByteRange, ExtentId, VolumeId};
use bfdb::volume::{
    ExtentStat, ExtentWriter, IoMode, LocalVolume, LocalVolumeOptions, MemoryVolume, Punched, SlotBytes,
    SlotIndex, Volume,
};
use bfdb_fault_injection::{FaultyVolume, conformance};

const ID: VolumeId = VolumeId::from_bytes([4; 16]);

fn memory() -> Arc<dyn Volume> {
    Arc::new(MemoryVolume::new(ID, 64 << 20))
}

fn check_local(options: &LocalVolumeOptions) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let made = AtomicU64::new(0);
    conformance::check(|| {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let volume = LocalVolume::create(&dir.path().join(format!("v{number}")), ID).expect("a new volume");
        Arc::new(volume.with_options(options))
    });
}

#[test]
fn a_local_volume_keeps_the_contract() {
    check_local(&LocalVolumeOptions::default());
}

#[test]
fn a_local_volume_keeps_the_contract_through_the_page_cache() {
    check_local(&LocalVolumeOptions {
        io_mode: IoMode::Buffered,
        ..LocalVolumeOptions::default()
    });
}

#[test]
fn a_local_volume_keeps_the_contract_with_a_single_handle() {
    check_local(&LocalVolumeOptions {
        open_handles: 1,
        ..LocalVolumeOptions::default()
    });
}

#[test]
fn a_volume_in_memory_keeps_the_contract() {
    conformance::check(memory);
}

#[test]
fn a_faulty_volume_without_rules_keeps_the_contract() {
    conformance::check(|| Arc::new(FaultyVolume::new(memory(), [])));
}

/// Breaks the rule of one number and keeps the others as well as it can.
#[derive(Debug)]
struct Bent {
    inner: Arc<dyn Volume>,
    broken_rule: u8,
}

#[derive(Debug)]
struct BentWriter {
    inner: Arc<dyn ExtentWriter>,
    broken_rule: u8,
    /// What rule 5 would have made readable already.
    held_back: Mutex<Vec<(u64, Vec<u8>)>>,
    syncs: AtomicU64,
}

impl Bent {
    fn bend(&self, inner: Arc<dyn ExtentWriter>) -> Arc<dyn ExtentWriter> {
        let broken_rule = self.broken_rule;
        Arc::new(BentWriter {
            inner,
            broken_rule,
            held_back: Mutex::default(),
            syncs: AtomicU64::new(0),
        })
    }
}

impl Volume for Bent {
    fn id(&self) -> VolumeId {
        self.inner.id()
    }

    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        match self.inner.create_extent(extent, header, capacity_bytes) {
            Err(VolumeError::Exists { .. }) if self.broken_rule == 1 => {
                self.inner.remove_extent(extent)?;
                Ok(self.bend(self.inner.create_extent(extent, header, capacity_bytes)?))
            }
            Err(error) => {
                if self.broken_rule == 2 && error.is_full() {
                    self.inner.create_extent(extent, header, 0)?;
                }
                Err(error)
            }
            Ok(writer) => Ok(self.bend(writer)),
        }
    }

    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let len_bytes = self
            .extents()?
            .iter()
            .find(|stat| stat.extent == extent)
            .map(|stat| stat.len_bytes);
        let end_bytes = match (self.broken_rule, len_bytes) {
            (3, Some(len_bytes)) => len_bytes.max(end_bytes),
            _ => end_bytes,
        };
        Ok(self.bend(self.inner.resume_extent(extent, end_bytes)?))
    }

    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        match self.inner.read_at(extent, offset, into) {
            Err(VolumeError::Truncated { .. }) if self.broken_rule == 4 => Ok(()),
            outcome => outcome,
        }
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        let mut extents = self.inner.extents()?;
        if self.broken_rule == 11 {
            extents.reverse();
        }
        Ok(extents)
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        match self.inner.remove_extent(extent) {
            Err(VolumeError::Missing { .. }) if self.broken_rule == 12 => Ok(()),
            outcome => outcome,
        }
    }

    fn punch(&self, extent: ExtentId, ranges: &[ByteRange]) -> Result<Punched, VolumeError> {
        match self.inner.punch(extent, ranges) {
            Ok(Punched::Unsupported) if self.broken_rule == 15 => Ok(Punched::Done),
            outcome => outcome,
        }
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        self.inner.free_bytes()
    }

    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError> {
        self.inner.read_slot(
            if self.broken_rule == 13 {
                SlotIndex::A
            } else {
                slot
            },
            into,
        )
    }

    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError> {
        self.inner.write_slot(
            if self.broken_rule == 13 {
                SlotIndex::A
            } else {
                slot
            },
            bytes,
        )
    }
}

impl BentWriter {
    fn release(&self) -> Result<(), VolumeError> {
        let held_back = std::mem::take(&mut *self.held_back.lock().expect("no panic"));
        held_back
            .iter()
            .try_for_each(|(offset, bytes)| self.inner.write_at(*offset, bytes))
    }
}

impl ExtentWriter for BentWriter {
    fn volume(&self) -> VolumeId {
        self.inner.volume()
    }

    fn extent(&self) -> ExtentId {
        self.inner.extent()
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let shortens = self.broken_rule == 7 && end_bytes <= 100;
        if shortens {
            self.inner.truncate(end_bytes)
        } else {
            self.inner.preallocate(end_bytes)
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        match self.broken_rule {
            5 => {
                self.held_back
                    .lock()
                    .expect("no panic")
                    .push((offset, bytes.to_vec()));
                Ok(())
            }
            // The last byte of a write that ends just behind a sector gets lost.
            6 if bytes.len() == 65_537 => self.inner.write_at(offset, &bytes[..bytes.len() - 1]),
            _ => self.inner.write_at(offset, bytes),
        }
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.release()?;
        if self.broken_rule == 10 && self.syncs.fetch_add(1, Ordering::Relaxed) == 9 {
            let source = std::io::ErrorKind::Interrupted.into();
            return Err(VolumeError::Sync {
                volume: self.volume(),
                extent: self.extent(),
                source,
            });
        }
        self.inner.sync()
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        if self.broken_rule == 8 {
            self.inner.preallocate(end_bytes)?;
        }
        self.inner.truncate(end_bytes)
    }

    fn seal(&self) -> Result<(), VolumeError> {
        self.release()?;
        if self.broken_rule == 9 {
            self.inner.sync()
        } else {
            self.inner.seal()
        }
    }
}

impl Drop for BentWriter {
    fn drop(&mut self) {
        self.release().unwrap_or_default();
        if self.broken_rule == 14 {
            // Cuts the preallocated tail, which nobody asked for.
            self.inner.truncate(105_000).unwrap_or_default();
        }
    }
}

#[test]
fn the_suite_names_the_rule_that_is_broken() {
    conformance::check(|| {
        Arc::new(Bent {
            inner: memory(),
            broken_rule: 0,
        })
    });
    for broken_rule in 1..=15 {
        let checked = panic::catch_unwind(AssertUnwindSafe(|| {
            conformance::check(|| {
                Arc::new(Bent {
                    inner: memory(),
                    broken_rule,
                })
            });
        }));
        let panicked = checked.expect_err("the suite found nothing wrong");
        let message = panicked.downcast_ref::<String>().expect("a text");
        let expected = format!("rule {broken_rule} of the volume contract is broken");
        assert!(
            message.starts_with(&expected),
            "rule {broken_rule} is broken, but the suite said: {message}"
        );
    }
}
