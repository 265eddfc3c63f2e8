//! One image again, by the name of its case.

use std::io;

use super::{
    case::Case,
    explore::{Run, judge, play},
    findings::Findings,
    image::Image,
    scenario::{Scenario, State},
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
    if case.crashes.is_empty() {
        let state = run.record.state_after(run.disk.timeline().markers());
        judge(
            case,
            state.as_ref(),
            &Image::new(run.disk.settled(), case),
            findings,
        );
        return Ok(());
    }
    let stops = stops(case, &run);
    if stops.len() == case.crashes.len()
        && let Some(last) = stops.last()
    {
        judge(case, last.state.as_ref(), &last.image, findings);
    }
    Ok(())
}

/// One crash of a case.
pub(super) struct Stop {
    pub(super) timeline: Timeline,
    pub(super) point: CrashPoint,
    image: Image,
    state: Box<dyn State>,
}

/// Makes the image of each crash in turn; fewer where a recovery does not come to its end any more.
pub(super) fn stops(case: &Case, run: &Run) -> Vec<Stop> {
    let mut stops: Vec<Stop> = Vec::new();
    let mut so_far = Case {
        crashes: Vec::new(),
        ..case.clone()
    };
    for crash in &case.crashes {
        let before = match stops.last() {
            None => Some((run.disk.timeline(), None)),
            Some(stop) => {
                let verdict = stop.state.check(&stop.image, case.seed).unwrap_or_default();
                let recovery = verdict.recovery;
                recovery.map(|recovery| (recovery.timeline(), Some(recovery.state)))
            }
        };
        let Some((timeline, state)) = before else { break };
        let given = crash.after_operation;
        let point = given.map_or_else(
            || last_of(&timeline),
            |after_operation| CrashPoint { after_operation },
        );
        let state = state.unwrap_or_else(|| run.record.state_after(timeline.markers_before(point)));
        so_far.crashes.push(*crash);
        let image = Image::after_crash(&timeline, (point, &crash.variant), &so_far);
        stops.push(Stop {
            timeline,
            point,
            image,
            state,
        });
    }
    stops
}

pub(super) fn last_of(timeline: &Timeline) -> CrashPoint {
    let last = timeline.boundaries().next_back();
    last.unwrap_or(CrashPoint { after_operation: 0 })
}
