//! One search with a bug in it, and the same search without.

use std::{
    io,
    sync::{PoisonError, RwLock},
};

use bfdb::seeded_bugs::{SeededBug, switch_on};
use bfdb_fault_injection::{
    crashes::{
        errors::inject,
        explore::{Effort, Enough, Findings, Found, explore},
        scenario::{self, Ground, Level, Record, Scenario},
        sources::Sources,
        violation::{Promise, Violation},
    },
    simulation::{CrashClass, FaultRule, Limits},
};

/// Held by whoever needs the engine as it is; alone by whoever has a bug in it.
static ENGINE: RwLock<()> = RwLock::new(());

/// Images that are enough for a search that finds nothing.
const MOST_IMAGES: usize = 2000;

/// Where a bug is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    /// The scenario.
    pub(crate) scenario: &'static str,
    /// Its seed.
    pub(crate) seed: u64,
    /// What happens to it.
    pub(crate) way: Way,
    /// In which ways a crash goes.
    pub(crate) classes: &'static [CrashClass],
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// A crash at every boundary.
    Crashes,
    /// So many errors.
    Errors(usize),
}

impl Search {
    pub(crate) const fn crashes(scenario: &'static str) -> Self {
        Self {
            scenario,
            seed: 1,
            way: Way::Crashes,
            classes: &[CrashClass::Nothing],
        }
    }

    /// Lets crashes go these ways instead of losing all that is not synced.
    pub(crate) const fn leaving(self, classes: &'static [CrashClass]) -> Self {
        Self { classes, ..self }
    }

    pub(crate) const fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    pub(crate) const fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// Asserts that the first violation with a bug of the engine is of the promise, and that without it there is none.
    pub(crate) fn catches(self, bug: SeededBug, promise: Promise) {
        let images = {
            let _alone = ENGINE.write().unwrap_or_else(PoisonError::into_inner);
            let _switched = switch_on(bug);
            self.expect_violation(self.scenario().as_ref(), promise)
        };
        self.expect_none(images);
    }

    /// Does the same for a storage that spoils what the rules pick.
    pub(crate) fn catches_storage(self, rules: fn() -> Vec<FaultRule>, promise: Promise) {
        let images = {
            let _shared = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
            let spoiled = OnSpoiledStorage {
                scenario: self.scenario(),
                rules,
            };
            self.expect_violation(&spoiled, promise)
        };
        self.expect_none(images);
    }

    /// Returns how many images it took.
    fn expect_violation(self, scenario: &dyn Scenario, promise: Promise) -> usize {
        let findings = Findings::until(Enough {
            violations: 1,
            images: MOST_IMAGES,
        });
        self.run(scenario, &findings);
        let images = usize::try_from(findings.images()).expect("few images");
        let found = findings.violations();
        let first = found.first();
        let first = first.unwrap_or_else(|| panic!("nothing was noticed in {images} images: {self:?}"));
        assert_eq!(first.violation.promise, promise, "{first}");
        images
    }

    /// As many images as it took to find the bug show nothing without it.
    fn expect_none(self, images: usize) {
        let _shared = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
        let findings = Findings::until(Enough {
            violations: 1,
            images: images.max(1),
        });
        self.run(self.scenario().as_ref(), &findings);
        let found: Vec<String> = findings.violations().iter().map(Found::to_string).collect();
        assert!(found.is_empty(), "without a bug: {}", found.join("\n"));
    }

    fn run(self, scenario: &dyn Scenario, findings: &Findings) {
        let is_left_out = |class: &CrashClass| !self.classes.contains(class);
        let left_out = CrashClass::ALL.into_iter().filter(is_left_out);
        let limits = left_out.fold(Limits::new(1), Limits::without);
        let done = match self.way {
            Way::Crashes => {
                let effort = Effort::to_the_end(limits, u64::MAX, 1);
                explore(scenario, self.seed, &effort, findings)
            }
            Way::Errors(limit) => inject(scenario, self.seed, limit, findings),
        };
        done.expect("the host takes the sources");
    }

    fn scenario(self) -> Box<dyn Scenario> {
        let mut all = scenario::all().into_iter();
        let found = all.find(|scenario| scenario.name() == self.scenario);
        found.expect("a scenario of that name")
    }
}

/// Asserts that a check passes, and with a bug of the engine finds the promise broken.
pub(crate) fn is_noticed(bug: SeededBug, check: fn() -> Result<(), Violation>, promise: Promise) {
    {
        let _alone = ENGINE.write().unwrap_or_else(PoisonError::into_inner);
        let _switched = switch_on(bug);
        let violation = check().expect_err("nothing was noticed");
        assert_eq!(violation.promise, promise, "{violation}");
    }
    let _shared = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
    let without = check();
    assert!(without.is_ok(), "without a bug: {without:?}");
}

/// Does something with a bug of the engine, and something with what came of it without.
pub(crate) fn made_with<M, R>(bug: SeededBug, make: impl FnOnce() -> M, check: impl FnOnce(M) -> R) -> R {
    let made = {
        let _alone = ENGINE.write().unwrap_or_else(PoisonError::into_inner);
        let _switched = switch_on(bug);
        make()
    };
    let _shared = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
    check(made)
}

/// A scenario that is played on a storage with rules. Whoever checks an image gets a storage that works.
struct OnSpoiledStorage {
    scenario: Box<dyn Scenario>,
    rules: fn() -> Vec<FaultRule>,
}

impl Scenario for OnSpoiledStorage {
    fn name(&self) -> &'static str {
        self.scenario.name()
    }

    fn level(&self) -> Level {
        self.scenario.level()
    }

    fn ground(&self, seed: u64) -> Ground {
        self.scenario.ground(seed)
    }

    fn play(&self, ground: &Ground, sources: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        (self.rules)()
            .into_iter()
            .for_each(|rule| ground.disk.add_rule(rule));
        self.scenario.play(ground, sources, seed)
    }
}
