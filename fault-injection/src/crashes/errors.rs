//! Every operation of a scenario that fails in every way, once and for good; the disk is checked afterwards as it is, and
//! after crashes right behind the failure, later, and at the end.

use std::{collections::BTreeSet, io};

use super::{
    case::{Case, Crash, FaultAt, Target},
    explore::{Findings, Run, judge, play},
    image::Image,
    scenario::{Level, Scenario},
    sources::Sources,
};
use crate::{
    Seeded,
    simulation::{AfterDrop, Counts, CrashPoint, CrashVariant, Fault, Limits, OperationKind, Timeline},
};

/// Injects errors into a scenario: one into each mutating operation first, then others, as many as `limit` says, chosen by the
/// seed.
///
/// # Errors
/// When the host cannot take the sources of commits.
pub fn inject(scenario: &dyn Scenario, seed: u64, limit: usize, findings: &Findings) -> io::Result<()> {
    if limit == 0 {
        return Ok(());
    }
    let sources = Sources::new()?;
    let ground = scenario.ground(seed);
    let Ok(well) = play(scenario, seed, (&ground.fork(), None), &sources)? else {
        // Exploring its crashes reports that.
        return Ok(());
    };
    let mut seeded = Seeded::new(seed ^ 0x0E44_0425);
    let mut faults = in_order(
        all_faults(&well.disk.timeline(), &well.disk.counts()),
        &mut seeded,
    );
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
        let run = match play(scenario, seed, (&ground.fork(), Some(&fault)), &sources)? {
            Ok(run) => run,
            Err(panic) => {
                findings.report(&case, panic);
                continue;
            }
        };
        let Some(failed) = run.disk.first_rule_fired() else {
            continue;
        };
        findings.count_error();
        // A lock that cannot be given back is held until its handle goes: others wait, as on any system.
        if !matches!(fault.target, Target::Nth(OperationKind::Lock, _)) {
            run.hang()
                .into_iter()
                .for_each(|hang| findings.report(&case, hang));
        }
        if !fault.is_an_excuse() {
            let surprise = run.record.surprise().into_iter();
            surprise.for_each(|surprise| findings.report(&case, surprise));
        }
        crash(&run, (&mut case, failed, scenario.level()), &mut seeded, findings);
    }
    Ok(())
}

/// Checks the disk of a run whose operation `failed` has failed: as it is, and after crashes.
fn crash(
    run: &Run,
    (case, failed, level): (&mut Case, u64, Level),
    seeded: &mut Seeded,
    findings: &Findings,
) {
    let timeline = run.disk.timeline();
    let last = u64::try_from(timeline.operations().len()).expect("few operations");
    let state = run.record.state_after(timeline.markers());
    let image = Image::new(run.disk.settled(), case);
    if findings.is_new(&image, state.as_ref(), level) {
        judge(case, state.as_ref(), &image, findings);
    }
    let later = failed + seeded.below(last + 1 - failed);
    let any = |at: u64, seeded: &mut Seeded| {
        let point = CrashPoint { after_operation: at };
        let variants: Vec<CrashVariant> = timeline.variants_at(point, seeded, &Limits::new(1)).collect();
        (at, variants[seeded.index(variants.len())])
    };
    let crashes = [
        any(failed, seeded),
        any(later, seeded),
        (last, CrashVariant::Nothing),
        (last, CrashVariant::Random(seeded.next_u64())),
    ];
    for (at, variant) in crashes {
        let point = CrashPoint { after_operation: at };
        case.crashes = vec![Crash {
            after_operation: (at < last).then_some(at),
            variant,
        }];
        let state = run.record.state_after(timeline.markers_before(point));
        let image = Image::after_crash(&timeline, (point, &variant), case);
        if findings.is_new(&image, state.as_ref(), level) {
            judge(case, state.as_ref(), &image, findings);
        }
    }
}

/// Brings faults into the order in which they are tried: one of each mutating operation, then the rest.
fn in_order(mut faults: Vec<FaultAt>, seeded: &mut Seeded) -> Vec<FaultAt> {
    seeded.shuffle(&mut faults);
    let mut met = BTreeSet::new();
    let is_first = |fault: &FaultAt| match fault.target {
        Target::Mutating(number) => met.insert(number),
        Target::Nth(..) => false,
    };
    let (first, rest): (Vec<FaultAt>, Vec<FaultAt>) = faults.into_iter().partition(is_first);
    [first, rest].concat()
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
