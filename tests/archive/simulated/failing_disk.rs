//! Sectors that cannot be read.

use bfdb::{Archive, OpenOptions, catalog::Access, error::OpenError};
use bfdb_fault_injection::simulation::FaultRule;

use super::{Bench, ROOT, check_sound, content, put, resources};
use crate::support::painted;

/// One bad sector kept everybody from writing, although the other slot says all that is needed.
#[test]
fn a_slot_that_cannot_be_read_costs_nothing_while_the_other_can() {
    for slot in [0..4096, 4096..8192] {
        let bench = Bench::new();
        let rule = FaultRule::bad_range(slot.clone()).on_paths(|path| path.ends_with("volume.bfv"));
        bench.disk.add_rule(rule);
        let (archive, _) = bench.open();
        put(&archive, "file", &painted(2000, 4));
        assert!(content(&archive, "file").unwrap() == painted(2000, 4), "{slot:?}");
        check_sound(&archive);
        archive.close().unwrap();
        let (archive, _) = bench.open();
        check_sound(&archive);
    }
}

#[test]
fn a_volume_of_which_no_slot_can_be_read_is_not_written() {
    let bench = Bench::new();
    let rule = FaultRule::bad_range(0..8192).on_paths(|path| path.ends_with("volume.bfv"));
    bench.disk.add_rule(rule);
    let open = |access| {
        let options = OpenOptions {
            access,
            resources: resources(),
        };
        Archive::open_on(&bench.machine, ROOT.as_ref(), &options)
    };
    let refused = open(Access::Write).map(drop);
    assert!(matches!(refused, Err(OpenError::Volume { .. })), "{refused:?}");
    let (reader, _) = open(Access::Read).unwrap();
    assert!(content(&reader, "before").unwrap() == painted(30_000, 1));
}
