//! What led to an image, for people: the last operations of its disk before each crash.

use std::io;

use super::{
    case::Case,
    explore::play,
    replay::{last_of, stops},
    scenario::Scenario,
    sources::Sources,
};
use crate::simulation::{CrashPoint, Operation, Timeline};

/// Tells what a disk was asked for before each crash of a case: the last operations with their numbers, those that no sync
/// covers with the index that variants count, and the moments at which something was noted.
///
/// # Errors
/// As for [`super::replay_of`]; also when the scenario panics.
pub fn trace_of(scenario: &dyn Scenario, case: &Case) -> io::Result<String> {
    let ground = scenario.ground(case.seed);
    let sources = Sources::new()?;
    let played = play(scenario, case.seed, (&ground, case.fault.as_ref()), &sources)?;
    let run = played.map_err(|panic| io::Error::other(panic.to_string()))?;
    let mut lines = Vec::new();
    if case.crashes.is_empty() {
        let timeline = run.disk.timeline();
        tell(&timeline, last_of(&timeline), &mut lines);
        return Ok(lines.join("\n"));
    }
    for (index, stop) in stops(case, &run).iter().enumerate() {
        tell(&stop.timeline, stop.point, &mut lines);
        lines.push(format!("crash {} here", index + 1));
    }
    Ok(lines.join("\n"))
}

/// Operations that are told of before a crash.
const TOLD: u64 = 15;

fn tell(timeline: &Timeline, point: CrashPoint, lines: &mut Vec<String>) {
    let pending: Vec<u64> = timeline.pending(point).iter().map(|one| one.number()).collect();
    let last = point.after_operation;
    for number in last.saturating_sub(TOLD)..=last {
        let mut operations = timeline.operations().iter();
        if let Some(operation) = operations.find(|one| one.number() == number) {
            lines.push(line_of(operation, &pending));
        }
        let markers = timeline.markers_before(point).iter();
        let here = markers.filter(|marker| marker.after_operation == number);
        lines.extend(here.map(|marker| format!("        noted: {}", marker.tag)));
    }
}

fn line_of(operation: &Operation, pending: &[u64]) -> String {
    let (number, kind, path) = (operation.number(), operation.kind(), operation.path());
    let range = operation.range();
    let bytes = (!range.is_empty()).then(|| format!(", bytes {} to {}", range.start, range.end));
    let fault = operation
        .injected()
        .map(|fault| format!(", made to fail: {fault:?}"));
    let index = pending.iter().position(|pending| *pending == number);
    let index = index.map(|index| format!(" (pending, {index})"));
    let [bytes, fault, index] = [bytes, fault, index].map(Option::unwrap_or_default);
    format!("{number:6}  {kind:?} of {}{bytes}{fault}{index}", path.display())
}
