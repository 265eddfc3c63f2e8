//! Checkpoints on a disk that fails under them.

use core::ops::ControlFlow;

use bfdb::{archive::Archive, catalog::Described};
use bfdb_fault_injection::simulation::{Fault, FaultRule};

use super::{Bench, content, put};
use crate::support::painted;

/// Slices that belong to no checkpoint.
fn pending(archive: &Archive) -> u64 {
    let mut slices = 0;
    let mut count = |slice: bfdb::catalog::Slice| {
        let is_slice = |found: &&bfdb::catalog::DescriptorRecord| found.described == Described::Slice;
        slices += slice.descriptors.iter().filter(is_slice).count() as u64;
        ControlFlow::Continue(())
    };
    archive.snapshot().unwrap().export(&mut count).unwrap();
    slices - archive.check_catalog().unwrap().slices
}

#[test]
fn a_checkpoint_that_fails_at_any_step_leaves_no_slice_behind_and_the_next_one_works() {
    let mut failed = 0;
    for step in 1.. {
        let bench = Bench::new();
        let (archive, _) = bench.open();
        put(&archive, "file", &painted(5000, 2));
        let before = bench.disk.counts().mutating();
        bench.disk.add_rule(FaultRule::nth(before + step, Fault::Io));
        let taken = archive.checkpoint();
        let is_over = bench.disk.counts().mutating() < before + step;
        bench.disk.clear_rules();
        if let Err(error) = taken {
            failed += 1;
            assert!(
                error.may_be_published() || pending(&archive) == 0,
                "{step}: {error:?}"
            );
        }
        for _ in 0..2 {
            // An append whose outcome nobody knows is settled by the next opening.
            if archive.checkpoint().is_err() {
                break;
            }
            assert_eq!(pending(&archive), 0, "{step}");
        }
        archive.close().unwrap();
        let (archive, _) = bench.open();
        let _taken = archive.checkpoint().unwrap().unwrap();
        assert_eq!(pending(&archive), 0, "{step}");
        assert!(content(&archive, "file") == Some(painted(5000, 2)));
        assert!(archive.check_catalog().unwrap().problems.is_empty(), "{step}");
        archive.close().unwrap();
        if is_over {
            break;
        }
    }
    assert!(failed >= 5, "only {failed} errors showed");
}
