//! A disk that fails for a while under an open catalog.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::disk::Disk;
use super::*;
use crate::error::CatalogDamage;

/// A switch for the disk under a catalog.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<AtomicI64>);

impl Faults {
    const HEALTHY: i64 = 0;
    const PANICS: i64 = -1;

    /// From the `number`th call on, the disk takes no byte more.
    fn fill_at(&self, number: i64) {
        self.0.store(number, Ordering::Release);
    }

    /// The `number`th call from now on fails, and no other.
    pub(crate) fn fail_once_at(&self, number: i64) {
        self.0.store(Self::PANICS - number, Ordering::Release);
    }

    /// Says whether the disk has failed once as asked, or was never asked to.
    pub(crate) fn is_healthy(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::HEALTHY
    }

    pub(crate) fn heal(&self) {
        self.0.store(Self::HEALTHY, Ordering::Release);
    }

    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Acquire) {
            Self::HEALTHY => Ok(()),
            Self::PANICS => panic!("a bad page"),
            1 => Err(io::ErrorKind::StorageFull.into()),
            left if left < Self::PANICS => {
                let is_due = left == Self::PANICS - 1;
                self.0
                    .store(if is_due { Self::HEALTHY } else { left + 1 }, Ordering::Release);
                if is_due {
                    Err(io::ErrorKind::StorageFull.into())
                } else {
                    Ok(())
                }
            }
            left => {
                self.0.store(left - 1, Ordering::Release);
                Ok(())
            }
        }
    }
}

fn open_with_faults(world: &World) -> (Catalog, Faults) {
    open_on_faulty_disk(&world.path())
}

/// Opens the catalog at a path on a disk that fails when it is told to.
pub(crate) fn open_on_faulty_disk(path: &Path) -> (Catalog, Faults) {
    let faults = Faults::default();
    let disk = Disk {
        faults: faults.clone(),
        ..Disk::default()
    };
    let options = CatalogOptions::default();
    let catalog = Catalog::open(&disk.shared(), path, Access::Write, Check::Always, options).expect("opened");
    (catalog, faults)
}

/// Stores a file; the world remembers it only when that is certain.
fn store(world: &mut World, catalog: &Catalog, text: &str) -> Result<(), CatalogError> {
    let kept = (world.ends, world.files.clone());
    let mut run = || {
        let mut writer = catalog.write()?;
        world.try_insert(&mut writer, &name(text), 9000)?;
        writer.advance_epoch();
        writer.commit().map(|_epoch| ())
    };
    let result = run();
    if result.is_err() {
        (world.ends, world.files) = kept;
    }
    result
}

#[test]
fn a_catalog_goes_on_after_its_disk_was_full_wherever_that_struck() {
    let mut world = furnished();
    let (catalog, faults) = open_with_faults(&world);
    let (mut failed, mut epoch) = (0, 3);
    for round in 1..40 {
        let before = world.expected(epoch);
        let text = format!("round/{round}");
        let old_reader = catalog.read().expect("healed");
        faults.fill_at(round);
        let with_new = match store(&mut world, &catalog, &text) {
            Ok(()) => None,
            Err(error) => {
                failed += 1;
                let is_known = matches!(
                    error,
                    CatalogError::CommitOutcomeUnknown { .. } | CatalogError::Io { .. }
                );
                assert!(is_known, "round {round}: {error:?}");
                Some(error)
            }
        };
        faults.heal();
        let seen = Dump::of(&catalog.read().expect("opened anew")).expect("sound");
        if with_new.is_none() {
            epoch += 1;
            assert_eq!(seen, world.expected(epoch), "round {round}");
            continue;
        }
        assert!(old_reader.extents().is_err(), "readers of before are gone");
        if seen != before {
            // The outcome was unknown, and it is there: take it out again.
            let mut writer = catalog.write().expect("writer");
            writer
                .remove_file(&name(&text))
                .expect("sound")
                .expect("it is there");
            for lane in 0..LANES {
                writer
                    .put_extent(&world.extent(lane))
                    .expect("nothing lives there");
            }
            writer.commit().expect("committed");
            epoch += 1;
            let seen = Dump::of(&catalog.read().expect("reader")).expect("sound");
            assert_eq!(seen, world.expected(epoch), "round {round}");
        }
        store(&mut world, &catalog, &format!("after/{round}")).expect("there is room again");
        epoch += 1;
    }
    assert!(failed >= 10, "the disk was full in {failed} of 39 transactions");
    catalog.close().expect("closed");
    assert_eq!(
        Dump::at(&world.path(), Access::Write).expect("sound"),
        world.expected(epoch)
    );
}

#[test]
fn nothing_is_opened_anew_while_a_failed_writer_lives() {
    let mut world = furnished();
    let (catalog, faults) = open_with_faults(&world);
    let first = catalog.write().expect("writer");
    first
        .guard
        .commit(|| Err(redb::Error::PreviousIo))
        .expect_err("it failed");
    for _ in 0..2 {
        let error = catalog.read().expect_err("a writer lives");
        assert!(matches!(error, CatalogError::MustReopen), "{error:?}");
    }
    drop(first);
    store(&mut world, &catalog, "new").expect("opened anew");
    faults.fill_at(1);
    store(&mut world, &catalog, "newer").expect_err("full");
    for _ in 0..2 {
        let error = catalog
            .read()
            .expect_err("opening mends the file, and the disk takes nothing");
        assert!(matches!(error, CatalogError::Io { .. }), "{error:?}");
    }
    faults.heal();
    assert_eq!(
        Dump::of(&catalog.read().expect("reader")).expect("sound"),
        world.expected(4)
    );
}

#[test]
fn after_a_panic_nothing_is_opened_anew() {
    let mut world = furnished();
    let (catalog, faults) = open_with_faults(&world);
    faults.fill_at(Faults::PANICS);
    store(&mut world, &catalog, "new").expect_err("the database panicked");
    faults.heal();
    for _ in 0..2 {
        let error = catalog.read().expect_err("never again");
        let panicked = matches!(
            error,
            CatalogError::Damaged {
                detail: CatalogDamage::Panicked,
                ..
            }
        );
        assert!(panicked, "{error:?}");
    }
}
