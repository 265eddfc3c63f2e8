//! One image again, by the name of its case.

use std::io;

use super::{
    case::{Case, Crash},
    explore::{judge, play},
    findings::Findings,
    image::Image,
    scenario::Scenario,
    sources::Sources,
};
use crate::simulation::{CrashPoint, Timeline};

/// Makes the image of a case again and checks it.
///
/// # Errors
/// When the host cannot take the sources, or no scenario has that name.
pub fn replay(case: &Case, findings: &Findings) -> io::Result<()> {
    let all = super::scenario::all();
    let scenario = all.iter().find(|scenario| scenario.name() == case.workload);
    let scenario =
        scenario.ok_or_else(|| io::Error::other(format!("no workload is named {}", case.workload)))?;
    replay_of(scenario.as_ref(), case, findings)
}

/// Does the same with a scenario that is not one of the engine's own.
///
/// # Errors
/// When the host cannot take the sources, or the case is one of another scenario.
pub fn replay_of(scenario: &dyn Scenario, case: &Case, findings: &Findings) -> io::Result<()> {
    if scenario.name() != case.workload {
        let wrong = format!("{case} is no case of {}", scenario.name());
        return Err(io::Error::other(wrong));
    }
    let ground = scenario.ground(case.seed);
    let sources = Sources::new()?;
    let run = match play(scenario, case.seed, (&ground, case.fault.as_ref()), &sources)? {
        Ok(run) => run,
        Err(violation) => {
            findings.report(case, violation);
            return Ok(());
        }
    };
    run.hang()
        .into_iter()
        .for_each(|hang| findings.report(case, hang));
    if case.fault.is_none_or(|fault| !fault.is_an_excuse())
        && let Some(surprise) = run.record.surprise()
    {
        findings.report(case, surprise);
    }
    let mut timeline = run.disk.timeline();
    let last = |timeline: &Timeline| timeline.boundaries().next_back();
    let Some(first) = case.crashes.first() else {
        let state = run.record.state_after(timeline.markers());
        judge(
            case,
            state.as_ref(),
            &Image::new(run.disk.settled(), case),
            findings,
        );
        return Ok(());
    };
    let point_of = |crash: &Crash, timeline: &Timeline| {
        let after_operation = crash.after_operation;
        let given = after_operation.map(|after_operation| CrashPoint { after_operation });
        given
            .or_else(|| last(timeline))
            .unwrap_or(CrashPoint { after_operation: 0 })
    };
    let mut state = run
        .record
        .state_after(timeline.markers_before(point_of(first, &timeline)));
    let mut so_far = Case {
        crashes: Vec::new(),
        ..case.clone()
    };
    for (index, crash) in case.crashes.iter().enumerate() {
        so_far.crashes.push(*crash);
        let image = Image::after_crash(&timeline, (point_of(crash, &timeline), &crash.variant), &so_far);
        if index + 1 == case.crashes.len() {
            judge(case, state.as_ref(), &image, findings);
            break;
        }
        let Ok(verdict) = state.check(&image, case.seed) else {
            break;
        };
        let Some(recovery) = verdict.recovery else {
            break;
        };
        (timeline, state) = (recovery.timeline(), recovery.state);
    }
    Ok(())
}
