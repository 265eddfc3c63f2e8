//! Every crash of a scenario: each boundary, in each class of ways, each image checked once, and recovery crashed again.
//!
//! Invariant: what is explored follows from scenario, seed and limits alone; a budget only ends it early.

use std::io;

use super::{
    case::{Case, Crash, FaultAt},
    image::Image,
    scenario::{Ground, Level, Record, Recovery, Scenario, State},
    sources::Sources,
    violation::{Promise, Violation, guarded},
};
use crate::{
    Seeded, SimulatedStorage,
    simulation::{Condition, CrashPoint, CrashVariant, Limits, Timeline},
};

pub use super::{
    findings::{Enough, Findings, Found},
    replay::{replay, replay_of},
    trace::trace_of,
};

/// How deep recoveries are crashed inside recoveries.
pub const DEPTH: usize = 3;

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Variants at each boundary of a scenario.
    pub limits: Limits,
    /// Of so many boundaries one is crashed at, at random.
    pub one_boundary_in: u64,
    /// One in so many images has its recovery crashed too.
    pub one_in: u64,
    /// Crashes that are tried in each such recovery; half as many in the recovery from each of those, but at least one.
    pub nested: usize,
    /// Says when it is enough, before there is nothing more to try.
    pub stop: fn(&Findings) -> bool,
}

impl Effort {
    /// Tries everything that there is.
    pub const fn to_the_end(limits: Limits, one_in: u64, nested: usize) -> Self {
        Self {
            limits,
            one_boundary_in: 1,
            one_in,
            nested,
            stop: |_| false,
        }
    }

    /// Crashes at one boundary of so many only.
    #[must_use]
    pub const fn at_one_boundary_in(mut self, count: u64) -> Self {
        self.one_boundary_in = count;
        self
    }
}

impl Default for Effort {
    /// One variant of each class at every boundary, and for one image in twenty three crashes of its recovery.
    fn default() -> Self {
        Self::to_the_end(Limits::new(1), 20, 3)
    }
}

impl Run {
    /// Says whether somebody would have waited for ever.
    pub(super) fn hang(&self) -> Option<Violation> {
        let waits = self.disk.refused_waits();
        (waits > 0)
            .then(|| Promise::NoHang.broken(format!("{waits} waits for a lock that nobody gives back")))
    }
}

/// A scenario that was played, on a disk that nobody uses any more.
pub struct Run {
    /// The disk.
    pub disk: SimulatedStorage,
    /// What was asked and answered.
    pub record: Box<dyn Record>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Run")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

/// Plays a scenario, with a fault if there is one; the disk works again when this returns.
///
/// # Errors
/// When the host cannot take the sources, or the scenario panics.
pub fn play(
    scenario: &dyn Scenario,
    seed: u64,
    (ground, fault): (&Ground, Option<&FaultAt>),
    sources: &Sources,
) -> io::Result<Result<Run, Violation>> {
    let disk = ground.disk.clone();
    // One thread plays all processes: a wait would never end.
    disk.refuse_waits();
    if let Some(fault) = fault {
        disk.add_rule(fault.rule());
    }
    let played = guarded(|| Ok(scenario.play(ground, sources, seed)));
    disk.clear_rules();
    disk.set_condition(Condition::Well);
    match played {
        Ok(record) => Ok(Ok(Run {
            record: record?,
            disk,
        })),
        Err(panic) => Ok(Err(panic)),
    }
}

/// Crashes a scenario at every boundary.
///
/// # Errors
/// When the host cannot take the sources of commits.
pub fn explore(scenario: &dyn Scenario, seed: u64, effort: &Effort, findings: &Findings) -> io::Result<()> {
    let case = Case {
        workload: scenario.name().to_owned(),
        seed,
        fault: None,
        crashes: Vec::new(),
    };
    // Commits that wait are resumed in checks, so the sources have to stay.
    let sources = Sources::new()?;
    let run = match play(scenario, seed, (&scenario.ground(seed), None), &sources)? {
        Ok(run) => run,
        Err(violation) => {
            findings.report(&case, violation);
            return Ok(());
        }
    };
    let surprises = run.record.surprise().into_iter().chain(run.hang());
    surprises.for_each(|surprise| findings.report(&case, surprise));
    let timeline = run.disk.timeline();
    let mut explorer = Explorer {
        effort,
        findings,
        level: scenario.level(),
        seeded: Seeded::new(seed ^ 0xC4A5_4E5D),
        case,
    };
    let mut state = run.record.state_after(&[]);
    let mut markers = 0;
    for point in timeline.boundaries() {
        let before = timeline.markers_before(point);
        if before.len() != markers {
            markers = before.len();
            state = run.record.state_after(before);
        }
        if explorer.seeded.below(effort.one_boundary_in) > 0 {
            continue;
        }
        let variants = timeline.variants_at(point, &mut explorer.seeded, &effort.limits);
        for variant in variants {
            if findings.is_over() || (effort.stop)(findings) {
                return Ok(());
            }
            explorer.visit(&timeline, (point, variant), state.as_ref());
        }
    }
    Ok(())
}

struct Explorer<'a> {
    effort: &'a Effort,
    findings: &'a Findings,
    level: Level,
    seeded: Seeded,
    case: Case,
}

impl Explorer<'_> {
    /// Checks one image, and perhaps those that a crash of its recovery leaves.
    fn visit(
        &mut self,
        timeline: &Timeline,
        (point, variant): (CrashPoint, CrashVariant),
        state: &dyn State,
    ) {
        let depth = self.case.crashes.len();
        self.case.crashes.push(Crash {
            after_operation: Some(point.after_operation),
            variant,
        });
        let image = Image::after_crash(timeline, (point, &variant), &self.case);
        if self.findings.is_new(&image, state, self.level) {
            if depth > 0 {
                self.findings.count_nested(depth);
            }
            self.check(&image, state, depth);
        }
        self.case.crashes.pop();
    }

    fn check(&mut self, image: &Image, state: &dyn State, depth: usize) {
        let recovery = judge(&self.case, state, image, self.findings);
        let is_chosen = depth > 0 || self.seeded.below(self.effort.one_in) == 0;
        if let Some(recovery) = recovery
            && depth < DEPTH
            && is_chosen
        {
            self.crash_recovery(&recovery, depth);
        }
    }

    fn crash_recovery(&mut self, recovery: &Recovery, depth: usize) {
        let timeline = recovery.timeline();
        let points: Vec<CrashPoint> = timeline.boundaries().skip(1).collect();
        if points.is_empty() {
            return;
        }
        // Fewer and fewer: each of them may have as many below.
        for _ in 0..(self.effort.nested >> depth).max(1) {
            let point = points[self.seeded.index(points.len())];
            let variants: Vec<CrashVariant> = timeline
                .variants_at(point, &mut self.seeded, &self.effort.limits)
                .collect();
            // Where nothing is under way there may be nothing that the limits allow to go wrong.
            if variants.is_empty() {
                continue;
            }
            let variant = variants[self.seeded.index(variants.len())];
            self.visit(&timeline, (point, variant), recovery.state.as_ref());
        }
    }
}

/// Checks an image and reports everything about it; returns its recovery if the check came so far.
pub(crate) fn judge(case: &Case, state: &dyn State, image: &Image, findings: &Findings) -> Option<Recovery> {
    match state.check(image, case.seed) {
        Err(violation) => {
            findings.report_of(case, image, violation);
            None
        }
        Ok(verdict) => {
            let minor = verdict.minor.into_iter();
            minor.for_each(|minor| findings.report_of(case, image, minor));
            verdict.recovery
        }
    }
}
