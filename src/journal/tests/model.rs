//! Random appends, failures, crashes of the catalog, lost files and new processes against a list of bodies.

use std::io::ErrorKind;

use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{failing::Call, *};
use crate::error::AppendError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catalog {
    Commits,
    Fails,
}

#[derive(Debug, Clone)]
enum Step {
    /// An append of so many bytes; whether the catalog commits after it.
    Append { len: u16, catalog: Catalog },
    /// From now on the nth call of the kind fails, and so many after it.
    Fail { call: u8, nth: u8, count: u8 },
    /// Another process.
    Reopen,
    /// One copy loses its newest segment.
    Lose { copy: u8 },
    /// All copies are scanned and healed.
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..20_000_u16).prop_map(|len| Step::Append { len, catalog: Catalog::Commits }),
        2 => (0..20_000_u16).prop_map(|len| Step::Append { len, catalog: Catalog::Fails }),
        2 => (0..4_u8, 0..8_u8, 1..10_u8).prop_map(|(call, nth, count)| Step::Fail { call, nth, count }),
        2 => Just(Step::Reopen),
        1 => (0..4_u8).prop_map(|copy| Step::Lose { copy }),
        1 => Just(Step::Heal),
    ]
}

/// The bodies that were acknowledged, and what the catalog has.
struct Model {
    bodies: Vec<Vec<u8>>,
    catalog: JournalState,
    /// A body whose append had an unknown outcome.
    in_doubt: Option<Vec<u8>>,
}

impl Model {
    /// As the roof publishes: what is ahead first, all of it, then heal where copies are missing.
    fn catch_up(&mut self, bench: &Bench) -> Option<JournalState> {
        let tail = bench.journal.tail(&self.catalog).expect("no fork");
        let mut state = tail.state;
        for entry in &tail.ahead {
            let record = bench.journal.load(entry).ok()?;
            match usize::try_from(record.epoch.get()).expect("small") - 1 {
                known if known < self.bodies.len() => assert_eq!(self.bodies[known], record.body),
                _ => {
                    assert_eq!(
                        self.in_doubt.take(),
                        Some(record.body.clone()),
                        "nobody else appends"
                    );
                    self.bodies.push(record.body.clone());
                }
            }
            state = bench.journal.prepare(&state, record.body.len()).ok()?;
            state = bench.journal.restate(&state, &record).ok()?;
        }
        let is_all = usize::try_from(state.epoch.get()).expect("small") == self.bodies.len();
        assert!(
            is_all,
            "an acknowledged record is gone: {} of {}",
            state.epoch,
            self.bodies.len()
        );
        self.catalog = state.clone();
        Some(state)
    }

    fn append(&mut self, bench: &Bench, len: u16, catalog: Catalog) {
        let Some(state) = self.catch_up(bench) else { return };
        // Nothing of it was found: another takes its place.
        let body = vec![u8::try_from(len % 251).expect("small"); usize::from(len)];
        let Ok(state) = bench.journal.prepare(&state, body.len()) else {
            return;
        };
        match bench.journal.append(&state, &body) {
            Ok(state) => {
                self.in_doubt = None;
                self.bodies.push(body);
                if catalog == Catalog::Commits {
                    self.catalog = state;
                }
            }
            Err(AppendError::OutcomeUnknown { .. }) => self.in_doubt = Some(body),
            Err(_) => {}
        }
    }

    /// Loses a segment of a copy, as long as another knows everything that was acknowledged.
    fn lose(bench: &Bench, copy: u8) {
        let scan = bench.journal.scan().expect("a scan");
        let whole = (0..4).filter(|&other| {
            other != usize::from(copy) && bench.journal.missing_on(other, scan.chain()).next().is_none()
        });
        let newest = bench
            .journal
            .list(usize::from(copy))
            .ok()
            .and_then(|listed| listed.last().copied());
        if whole.count() >= 1
            && let Some(segment) = newest
        {
            HostStorage
                .remove_file(&bench.path(copy, segment))
                .expect("removed");
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(96))]

    #[test]
    fn what_was_acknowledged_stays_in_order_whatever_fails(steps in prop::collection::vec(step(), 1..30)) {
        let mut bench = Bench::new();
        let mut model = Model {
            bodies: Vec::new(),
            catalog: bench.journal.create().expect("a new journal"),
            in_doubt: None,
        };
        for step in steps {
            match step {
                Step::Append { len, catalog } => model.append(&bench, len, catalog),
                Step::Fail { call, nth, count } => {
                    let wanted = [Call::Write, Call::Sync, Call::Create, Call::Allocate][usize::from(call)];
                    let mut seen = 0;
                    bench.storage.fail(move |call, _| {
                        seen += u16::from(call == wanted);
                        let fails = seen > nth.into() && seen <= u16::from(nth) + u16::from(count);
                        (call == wanted && fails).then_some(ErrorKind::Other)
                    });
                }
                Step::Reopen => bench.reopen(),
                Step::Lose { copy } => {
                    bench.reopen();
                    Model::lose(&bench, copy);
                }
                Step::Heal => {
                    bench.reopen();
                    if model.catch_up(&bench).is_some() {
                        let scan = bench.journal.scan().expect("a scan");
                        model.catalog = bench.journal.heal(&scan, &model.catalog).expect("healed");
                        prop_assert_eq!(model.catalog.copies.len(), 4);
                    }
                }
            }
        }
        bench.reopen();
        model.catch_up(&bench);
        let scan = bench.journal.scan().expect("a scan");
        prop_assert_eq!(&scan.forks[..], &[]);
        prop_assert_eq!(scan.chain().len(), model.bodies.len());
        for (entry, body) in scan.chain().iter().zip(&model.bodies) {
            prop_assert!(bench.journal.load(entry).expect("a record").body == *body);
        }
    }
}
