//! Every operation of a scenario that fails in every way, once and for good; the disk is checked afterwards as it is, and
//! after a crash at the end.

use std::io;

use super::{
    case::{Case, Crash, FaultAt, Target},
    explore::{Findings, judge, play},
    scenario::Scenario,
    sources::Sources,
};
use crate::{
    Seeded,
    simulation::{AfterDrop, Counts, CrashVariant, Fault, OperationKind, Timeline},
};

/// Injects errors into a scenario: all that there are, or as many as `limit` says, chosen by the seed.
///
/// # Errors
/// When the host cannot take the sources of commits.
pub fn inject(scenario: &dyn Scenario, seed: u64, limit: usize, findings: &Findings) -> io::Result<()> {
    let sources = Sources::new()?;
    let Ok(well) = play(scenario, seed, None, &sources)? else {
        // Exploring its crashes reports that.
        return Ok(());
    };
    let mut seeded = Seeded::new(seed ^ 0x0E44_0425);
    let mut faults = all_faults(&well.disk.timeline(), &well.disk.counts());
    seeded.shuffle(&mut faults);
    faults.truncate(limit);
    for fault in faults {
        if findings.is_over() {
            return Ok(());
        }
        let mut case = Case {
            workload: scenario.name().to_owned(),
            seed,
            fault: Some(fault),
            crashes: Vec::new(),
        };
        let run = match play(scenario, seed, Some(&fault), &sources)? {
            Ok(run) => run,
            Err(panic) => {
                findings.report(&case, panic);
                continue;
            }
        };
        if run.disk.counts().injected() == 0 {
            continue;
        }
        findings.count_error();
        // A lock that cannot be given back is held until its handle goes: others wait, as on any system.
        if !matches!(fault.target, Target::Nth(OperationKind::Lock, _)) {
            run.hang()
                .into_iter()
                .for_each(|hang| findings.report(&case, hang));
        }
        let timeline = run.disk.timeline();
        let state = run.record.state_after(timeline.markers());
        if findings.is_new(&run.disk, state.as_ref(), scenario.level()) {
            judge(&case, state.as_ref(), &|| run.disk.settled(), findings);
        }
        let Some(point) = timeline.boundaries().next_back() else {
            continue;
        };
        let random = CrashVariant::Random(seeded.next_u64());
        for variant in [CrashVariant::Nothing, CrashVariant::Everything, random] {
            case.crashes = vec![Crash {
                after_operation: None,
                variant,
            }];
            let image = || timeline.image(point, &variant);
            if findings.is_new(&image(), state.as_ref(), scenario.level()) {
                judge(&case, state.as_ref(), &image, findings);
            }
        }
    }
    Ok(())
}

/// Returns every way in which one operation can fail.
fn all_faults(timeline: &Timeline, counts: &Counts) -> Vec<FaultAt> {
    let mut all = Vec::new();
    for operation in timeline.operations() {
        let len_bytes = (operation.range().end - operation.range().start) / 2;
        of_kind(
            Target::Mutating(operation.number()),
            operation.kind(),
            len_bytes,
            &mut all,
        );
    }
    for kind in OperationKind::ALL.into_iter().filter(|kind| !kind.is_mutating()) {
        for nth in 0..counts.of(kind) {
            of_kind(Target::Nth(kind, nth), kind, 100, &mut all);
        }
    }
    all
}

fn of_kind(target: Target, kind: OperationKind, len_bytes: u64, all: &mut Vec<FaultAt>) {
    let once = [
        Fault::Interrupted,
        Fault::Short { len_bytes },
        Fault::Partial { len_bytes },
        Fault::SyncDropsBytes {
            view: AfterDrop::AtOnce,
        },
        Fault::SyncDropsBytes {
            view: AfterDrop::UntilForgotten,
        },
    ];
    // For good, a signal before each call keeps a caller busy for ever, and a short transfer only makes it slow.
    let lasting = [Fault::Io, Fault::Full];
    let at = |fault, is_for_good| FaultAt {
        target,
        fault,
        is_for_good,
    };
    all.extend(once.map(|fault| at(fault, false)));
    all.extend(lasting.map(|fault| at(fault, false)));
    all.extend(lasting.map(|fault| at(fault, true)));
    all.retain(|one| one.target != target || one.fault.applies_to(kind));
}
