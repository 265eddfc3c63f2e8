//! Room that is given back on a disk that is full, that has no holes, or beside a commit that waits.

use bfdb::archive::{CompactOptions, KeptWhy};
use bfdb_fault_injection::simulation::{Fault, FaultRule, OperationKind};

use super::{Bench, content, put};
use crate::support::{name, painted};

fn eager() -> CompactOptions {
    CompactOptions {
        min_dead_percent: 0,
        min_dead_bytes: 1,
        ..CompactOptions::default()
    }
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_gets_room_by_a_removal_and_compaction() {
    for has_holes in [true, false] {
        let bench = Bench::new();
        if !has_holes {
            bench.disk.refuse_holes();
        }
        let (archive, _) = bench.open();
        for index in 0..6 {
            put(&archive, &format!("file/{index}"), &painted(120_000, index));
        }
        bench.disk.set_capacity(Some(bench.disk.allocated_bytes()));
        for index in [1, 2, 4] {
            drop(archive.remove(&name(&format!("file/{index}"))).unwrap());
        }
        // The ballast was released for it; somebody else takes that.
        bench.disk.set_capacity(Some(bench.disk.allocated_bytes()));
        let before = bench.disk.allocated_bytes();
        let report = archive.compact(&eager(), &()).unwrap();
        if has_holes {
            assert!(report.given_back_bytes() > 100_000, "{report:?}");
            assert!(bench.disk.allocated_bytes() + 100_000 < before, "{report:?}");
        } else {
            assert_eq!(report.hole_bytes, 0);
            let why: Vec<KeptWhy> = report.kept.iter().map(|kept| kept.why).collect();
            assert!(
                why.contains(&KeptWhy::NoRoom) || report.given_back_bytes() > 0,
                "{report:?}"
            );
        }
        for index in [0, 3, 5] {
            let expected = painted(120_000, index);
            assert!(content(&archive, &format!("file/{index}")) == Some(expected));
        }
        bench.disk.set_capacity(None);
        let report = archive.compact(&eager(), &()).unwrap();
        assert!(
            report.kept.iter().all(|kept| kept.why == KeptWhy::Scattered),
            "{report:?}"
        );
        assert_eq!(archive.scrub(&()).unwrap().damage, []);
        archive.close().unwrap();
    }
}

#[test]
fn holes_that_the_system_refuses_are_said_and_made_the_next_time() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    put(&archive, "file", &painted(120_000, 1));
    put(&archive, "other", &painted(120_000, 2));
    drop(archive.remove(&name("file")).unwrap());
    let gentle = CompactOptions {
        min_dead_percent: 101,
        ..CompactOptions::default()
    };
    bench.disk.add_rule(FaultRule::from_fn(|asked| {
        (asked.kind == OperationKind::Punch).then_some(Fault::Io)
    }));
    let report = archive.compact(&gentle, &()).unwrap();
    assert_eq!(report.hole_bytes, 0);
    assert!(
        report.kept.iter().any(|kept| kept.why == KeptWhy::Failed),
        "{report:?}"
    );
    bench.disk.clear_rules();
    assert!(archive.compact(&gentle, &()).unwrap().hole_bytes > 0);
    assert!(content(&archive, "other") == Some(painted(120_000, 2)));
    archive.close().unwrap();
}

#[test]
fn a_commit_that_waits_keeps_its_bytes_and_goes_on_behind_a_compaction() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    put(&archive, "removed", &painted(300_000, 1));
    let long = painted(900_000, 2);
    let source = bench.source(&long);
    let before = bench.disk.counts().mutating();
    bench.disk.add_rule(FaultRule::nth(before + 160, Fault::Vanish));
    let interrupted = archive.commit_path(&name("long"), &source, &());
    assert!(interrupted.is_err(), "it was interrupted");
    bench.kill(archive);
    let (archive, report) = bench.open();
    assert_eq!(report.commits_waiting, 1);
    drop(archive.remove(&name("removed")).unwrap());
    let report = archive.compact(&eager(), &()).unwrap();
    // It goes on in every extent that there is.
    assert_eq!(report.given_back_bytes(), 0);
    assert!(
        report.kept.iter().all(|kept| kept.why == KeptWhy::InUse),
        "{report:?}"
    );
    let waiting = archive.unfinished().unwrap();
    let done = waiting[0].resumable.as_ref().unwrap().done_bytes;
    assert!(done > 0, "some of it is done");
    drop(archive.resume(waiting[0].commit, &()).unwrap());
    assert!(content(&archive, "long") == Some(long));
    assert!(content(&archive, "removed").is_none());
    assert!(archive.compact(&eager(), &()).unwrap().given_back_bytes() > 100_000);
    assert!(content(&archive, "long") == Some(painted(900_000, 2)));
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    archive.close().unwrap();
}
