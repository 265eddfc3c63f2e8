//! Every crash of a scenario: each boundary, in each class of ways, each image checked once, and recovery crashed again.
//!
//! Invariant: what is explored follows from scenario, seed and limits alone; a budget only ends it early.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    case::{Case, Crash, FaultAt},
    image::Image,
    known::known,
    scenario::{Ground, Level, Record, Recovery, Scenario, State},
    sources::Sources,
    violation::{Promise, Violation, guarded},
};
use crate::{
    Seeded, SimulatedStorage,
    simulation::{Condition, CrashPoint, CrashVariant, Limits, Timeline},
};

/// How deep recoveries are crashed inside recoveries.
pub const DEPTH: usize = 3;

/// What was found, from all threads together.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is enough, where that is less than everything.
    enough: Option<Enough>,
    images: Mutex<HashSet<(u128, u64)>>,
    engine_images: AtomicU64,
    nested_images: AtomicU64,
    deepest: AtomicUsize,
    errors: AtomicU64,
    kills: AtomicU64,
    operations: AtomicU64,
    damaged: AtomicU64,
    known: Mutex<BTreeMap<&'static str, u64>>,
    violations: Mutex<Vec<Found>>,
    is_over: AtomicBool,
}

/// A violation, and how to see it again.
#[derive(Debug, Clone)]
pub struct Found {
    /// The image.
    pub case: Case,
    /// What is wrong with it.
    pub violation: Violation,
}

impl std::fmt::Display for Found {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { case, violation } = self;
        write!(
            out,
            "{violation}\n  seen again with: cargo run --release -p bfdb-fault-injection -- campaign --replay '{case}'"
        )
    }
}

/// Violations that are enough to stop at.
const ENOUGH: usize = 50;

/// When to stop before there is nothing more to try.
#[derive(Debug, Clone, Copy)]
pub struct Enough {
    /// So many violations.
    pub violations: usize,
    /// So many images.
    pub images: usize,
}

impl Findings {
    /// Begins a search that ends early.
    pub fn until(enough: Enough) -> Self {
        Self {
            enough: Some(enough),
            ..Self::default()
        }
    }

    /// Returns how many different images were checked: disk and what is allowed there.
    pub fn images(&self) -> u64 {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(images.len()).expect("an address fits 64 bits")
    }

    /// Returns how many of them went through the whole engine.
    pub fn engine_images(&self) -> u64 {
        self.engine_images.load(Ordering::Relaxed)
    }

    /// Returns how many were of crashes inside recoveries.
    pub fn nested_images(&self) -> u64 {
        self.nested_images.load(Ordering::Relaxed)
    }

    /// Returns how deep a recovery was crashed inside of another: 1 is a crash in the first.
    pub fn deepest(&self) -> usize {
        self.deepest.load(Ordering::Relaxed)
    }

    /// Returns how many runs had an error injected.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Returns how often each known defect was met.
    pub fn known(&self) -> BTreeMap<&'static str, u64> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns all violations that nobody knows of.
    pub fn violations(&self) -> Vec<Found> {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets everybody stop.
    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Says whether everybody is to stop.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Returns how many real processes were killed.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    pub(crate) fn count_kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many operations of concurrent processes were judged.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(crate) fn count_operations(&self, count: u64) {
        self.operations.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns how many archives that were damaged at rest were checked.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn count_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    fn count_nested(&self, depth: usize) {
        self.nested_images.fetch_add(1, Ordering::Relaxed);
        self.deepest.fetch_max(depth, Ordering::Relaxed);
    }

    /// Notes an image; says whether it is new.
    pub(super) fn is_new(&self, image: &Image, state: &dyn State, level: Level) -> bool {
        let key = (image.fingerprint(), state.digest());
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = images.insert(key);
        if self.enough.is_some_and(|enough| images.len() >= enough.images) {
            self.stop();
        }
        drop(images);
        if is_new && level == Level::Engine {
            self.engine_images.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Notes a violation in an image, unless it is a known one.
    pub(super) fn report_of(&self, case: &Case, image: &Image, violation: Violation) {
        if let Some(name) = known(case, image, &violation) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            *known.entry(name).or_default() += 1;
        } else {
            self.report(case, violation);
        }
    }

    /// Notes a violation.
    pub(crate) fn report(&self, case: &Case, violation: Violation) {
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.push(Found {
            case: case.clone(),
            violation,
        });
        if violations.len() >= self.enough.map_or(ENOUGH, |enough| enough.violations) {
            self.stop();
        }
    }
}

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Variants at each boundary of a scenario.
    pub limits: Limits,
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
            one_in,
            nested,
            stop: |_| false,
        }
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
            let variant = variants[self.seeded.index(variants.len())];
            self.visit(&timeline, (point, variant), recovery.state.as_ref());
        }
    }
}

/// Makes the image of a case again and checks it.
///
/// # Errors
/// When the host cannot take the sources, or no scenario has that name.
pub fn replay(case: &Case, findings: &Findings) -> io::Result<()> {
    let all = super::scenario::all();
    let scenario = all.iter().find(|scenario| scenario.name() == case.workload);
    let scenario =
        scenario.ok_or_else(|| io::Error::other(format!("no workload is named {}", case.workload)))?;
    let ground = scenario.ground(case.seed);
    let sources = Sources::new()?;
    let run = match play(
        scenario.as_ref(),
        case.seed,
        (&ground, case.fault.as_ref()),
        &sources,
    )? {
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
