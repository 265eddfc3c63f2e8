//! From what processes said to one history for each name.
//!
//! Whatever somebody was told is certain. What somebody was about to ask for when it died may have happened, until it is known
//! that it does not happen any more: the next opening for writing settles what dead processes have left, all but long files of
//! the host; those wait until somebody goes on with them or gives them back.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    content::len_bytes,
    line::{Asked, Conflict, Line, Said, SourceKind, Told},
    linear::{Certainty, NEVER, Operation, Over, Step},
};
use crate::crashes::{
    setting::resources,
    violation::{Promise, Violation},
};

/// What one process said.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<Line>,
    /// When it was known to be dead; `None` when it came to its end.
    pub(super) died_at: Option<u64>,
}

/// What all of them did.
#[derive(Debug, Default)]
pub(super) struct Histories {
    /// By name.
    pub(super) names: BTreeMap<String, Vec<Operation>>,
    /// What somebody noticed at once.
    pub(super) violations: Vec<Violation>,
    /// Operations that ended.
    pub(super) operations: u64,
}

impl Histories {
    pub(super) fn new(logs: &[Log]) -> Self {
        let events: Vec<Event<'_>> = logs.iter().flat_map(events).collect();
        let mut found = Self {
            operations: count(&events),
            ..Self::default()
        };
        for event in &events {
            if let Asked::Store { name, .. } | Asked::Remove { name } | Asked::See { name } = event.asked {
                found.names.entry(name.clone()).or_default();
            }
        }
        let known = Known::new(&events);
        for event in &events {
            found.add(event, &known);
        }
        found
    }

    fn add(&mut self, event: &Event<'_>, known: &Known<'_>) {
        if let Some(Told::Wrong(promise, detail)) = event.told() {
            let asked = event.asked;
            self.violations.push(promise.broken(format!("{asked}: {detail}")));
        }
        let steps = match steps(event, known) {
            Ok(steps) => steps,
            Err(violation) => {
                self.violations.push(violation);
                return;
            }
        };
        if let (Asked::List, Some(Told::Listed(entries))) = (event.asked, event.told()) {
            self.add_listing(event, entries);
        }
        let Some((name, step, certainty)) = steps else {
            return;
        };
        let operation = event.operation(step, certainty, known);
        if certainty == Certainty::Certain && operation.places.0 > operation.places.1 {
            let detail = format!(
                "{}: acknowledged, but nothing was published: {event:?}",
                event.asked
            );
            self.violations.push(Promise::Answers.broken(detail));
        }
        self.names.entry(name.to_owned()).or_default().push(operation);
    }

    /// A listing sees every name, whether it is in it or not.
    fn add_listing(&mut self, event: &Event<'_>, entries: &[(String, u64)]) {
        let listed: BTreeMap<&str, u64> = (entries.iter())
            .map(|(name, content)| (name.as_str(), *content))
            .collect();
        if listed.len() != entries.len() {
            let detail = format!("a name is listed twice: {entries:?}");
            self.violations.push(Promise::Content.broken(detail));
        }
        if let Some(unknown) = listed.keys().find(|name| !self.names.contains_key(**name)) {
            let detail = format!("{unknown} is listed, and nobody has stored it");
            self.violations.push(Promise::Content.broken(detail));
        }
        let nobody = Known::default();
        for (name, history) in &mut self.names {
            let step = Step::See(listed.get(name.as_str()).copied());
            history.push(event.operation(step, Certainty::Certain, &nobody));
        }
    }
}

/// One operation as it was told.
#[derive(Debug)]
struct Event<'a> {
    number: u64,
    asked: &'a Asked,
    begin: (u64, Option<u64>),
    end: Option<(u64, Option<u64>, &'a Told)>,
    died_at: Option<u64>,
}

impl<'a> Event<'a> {
    fn told(&self) -> Option<&'a Told> {
        self.end.map(|(_, _, told)| told)
    }

    fn operation(&self, step: Step, certainty: Certainty, known: &Known<'_>) -> Operation {
        let commit = self.commit();
        let end = match (certainty, self.end) {
            (Certainty::Certain, Some((at, ..))) => at,
            (Certainty::Certain | Certainty::Perhaps, _) => known.deadline(self),
        };
        Operation {
            begin: self.begin.0,
            end,
            places: self.places(step, certainty),
            step,
            certainty,
            commit,
        }
    }

    /// Returns which commit it is about.
    fn commit(&self) -> u64 {
        if let Asked::Resume { origin, .. } = self.asked {
            *origin
        } else {
            self.number
        }
    }

    fn places(&self, step: Step, certainty: Certainty) -> (u64, u64) {
        let before = self.begin.1.unwrap_or(0);
        let after = self.end.and_then(|(_, epoch, _)| epoch);
        let is_change = match step {
            // What nobody has stored before is not there already.
            Step::Store { content, over } => {
                matches!(over, Over::Nothing | Over::Something) || content == self.number
            }
            Step::Remove { .. } => true,
            Step::See(_) | Step::SeeLen(_) => false,
        };
        if is_change {
            let last = after.filter(|_| certainty == Certainty::Certain);
            (2 * (before + 1), last.map_or(NEVER, |after| 2 * after))
        } else {
            (2 * before + 1, after.map_or(NEVER, |after| 2 * after + 1))
        }
    }
}

/// Counts what was told of; what nobody asked an archive for is not among it.
fn count(events: &[Event<'_>]) -> u64 {
    let ended = events.iter().filter(|event| event.end.is_some()).count();
    u64::try_from(ended).expect("an address fits 64 bits")
}

fn events(log: &Log) -> Vec<Event<'_>> {
    let mut ends = BTreeMap::new();
    for line in &log.lines {
        if let Said::End(told) = &line.said {
            ends.insert(line.number, (line.at, line.epoch, told));
        }
    }
    let begun = log.lines.iter().filter_map(|line| match &line.said {
        Said::Begin(asked) => Some(Event {
            number: line.number,
            asked,
            begin: (line.at, line.epoch),
            end: ends.get(&line.number).copied(),
            died_at: log.died_at,
        }),
        Said::End(_) => None,
    });
    begun.collect()
}

/// What is known of all operations together.
#[derive(Debug, Default)]
struct Known<'a> {
    stores: BTreeMap<u64, &'a Asked>,
    /// Begin and end of every opening for writing, in the order of their ends.
    openings: Vec<(u64, u64)>,
    /// Commits that somebody else went on with or gave back: they did not happen before.
    ended: BTreeSet<u64>,
    /// Commits that were found to be gone, and when that was known.
    gone: BTreeMap<u64, u64>,
}

impl<'a> Known<'a> {
    fn new(events: &[Event<'a>]) -> Self {
        let mut known = Self::default();
        for event in events {
            if let Asked::Store { .. } = event.asked {
                known.stores.insert(event.number, event.asked);
            }
            let Some((at, _, told)) = event.end else {
                continue;
            };
            match (event.asked, told) {
                (Asked::Open, Told::Done) => known.openings.push((event.begin.0, at)),
                (Asked::Resume { origin, .. } | Asked::RollBack { origin }, Told::Gone) => {
                    let first = known.gone.entry(*origin).or_insert(at);
                    *first = at.min(*first);
                }
                (
                    Asked::Resume { origin, .. },
                    Told::Committed | Told::Replaced | Told::Unchanged | Told::Taken(_),
                )
                | (Asked::RollBack { origin }, Told::Done) => {
                    known.ended.insert(*origin);
                }
                _ => {}
            }
        }
        known.openings.sort_by_key(|(_, end)| *end);
        known
    }

    /// Returns when something that may have happened does not happen any more.
    fn deadline(&self, event: &Event<'_>) -> u64 {
        let may_wait = match event.asked {
            Asked::Store { content, source, .. } => {
                *source == SourceKind::Path && len_bytes(*content) >= resources().progress_bytes
            }
            Asked::Resume { .. } => true,
            Asked::Remove { .. }
            | Asked::See { .. }
            | Asked::List
            | Asked::RollBack { .. }
            | Asked::Open
            | Asked::Other(_) => false,
        };
        let gone = self.gone.get(&event.commit()).copied();
        let settled = || {
            let died_at = event.died_at?;
            let opening = self.openings.iter().find(|(begin, _)| *begin > died_at);
            opening.map(|(_, end)| *end)
        };
        let settled = if may_wait { None } else { settled() };
        gone.into_iter().chain(settled).min().unwrap_or(NEVER)
    }
}

/// Returns what an operation did to its name; `None` when it did and saw nothing.
fn steps<'a>(event: &Event<'a>, known: &Known<'a>) -> Result<Option<(&'a str, Step, Certainty)>, Violation> {
    let certain = |name: &'a str, step| Ok(Some((name, step, Certainty::Certain)));
    match event.asked {
        Asked::Store {
            name,
            content,
            conflict,
            ..
        } => stored(event, known, (name, *content, *conflict)),
        Asked::Resume {
            name,
            content,
            origin,
        } => match known.stores.get(origin) {
            Some(Asked::Store {
                name: first,
                conflict,
                ..
            }) if first == name => stored(event, known, (name, *content, *conflict)),
            begun => Err(Promise::Ends.broken(format!("{}: begun as {begun:?}", event.asked))),
        },
        Asked::Remove { name } => match event.told() {
            Some(Told::Removed(len)) => certain(
                name,
                Step::Remove {
                    len_bytes: Some(*len),
                },
            ),
            Some(Told::Missing) => certain(name, Step::See(None)),
            Some(_) | None => Ok(Some((name, Step::Remove { len_bytes: None }, Certainty::Perhaps))),
        },
        Asked::See { name } => match event.told() {
            Some(Told::Saw(content)) => certain(name, Step::See(Some(*content))),
            Some(Told::Missing) => certain(name, Step::See(None)),
            Some(_) | None => Ok(None),
        },
        Asked::List | Asked::RollBack { .. } | Asked::Open | Asked::Other(_) => Ok(None),
    }
}

fn stored<'a>(
    event: &Event<'a>,
    known: &Known<'a>,
    (name, content, conflict): (&'a str, u64, Conflict),
) -> Result<Option<(&'a str, Step, Certainty)>, Violation> {
    let store = |over| Step::Store { content, over };
    let certain = |step| Ok(Some((name, step, Certainty::Certain)));
    match (event.told(), conflict) {
        (Some(Told::Stored), Conflict::Refuse) => certain(store(Over::NothingOrSame)),
        (Some(Told::Stored), Conflict::Replace) => certain(store(Over::Anything)),
        (Some(Told::Committed), _) => certain(store(Over::Nothing)),
        (Some(Told::Replaced), Conflict::Replace) => certain(store(Over::Something)),
        (Some(Told::Unchanged), _) => certain(Step::See(Some(content))),
        (Some(Told::Taken(len)), Conflict::Refuse) => certain(Step::SeeLen(*len)),
        (Some(Told::Nothing | Told::Gone), _) => Ok(None),
        (Some(Told::Wrong(..)) | None, _) if known.ended.contains(&event.commit()) => Ok(None),
        (Some(Told::Wrong(..)) | None, Conflict::Refuse) => {
            Ok(Some((name, store(Over::Nothing), Certainty::Perhaps)))
        }
        (Some(Told::Wrong(..)) | None, Conflict::Replace) => {
            Ok(Some((name, store(Over::Anything), Certainty::Perhaps)))
        }
        (Some(told), _) => Err(Promise::Answers.broken(format!("{}: {told}", event.asked))),
    }
}

#[cfg(test)]
mod tests;
