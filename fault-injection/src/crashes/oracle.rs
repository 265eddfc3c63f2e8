//! What an archive may hold after a crash, worked out from what its user was told and from nothing else.
//!
//! A workload announces every effect before it asks for it, and notes the answer; both stand in the timeline of the disk as
//! markers. From the markers before a crash follows which content each name may have: the acknowledged one alone, or, while
//! an effect is in flight or was answered with an error, the old one or the new one. Shares no code with the engine.
//!
//! Invariant: what a name may have is a list, oldest first; whoever has seen one of them never sees an older one again.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use crate::{Seeded, simulation::Marker};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits; those of links say nothing.
    pub mode: u32,
    /// Seconds and nanoseconds of its modification; those of links say nothing.
    pub modified: (i64, u32),
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file and its bytes.
    File(Arc<[u8]>),
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Link(Arc<[u8]>),
}

/// One name that gets something else, or loses what it has.
#[derive(Debug, Clone)]
pub struct Effect {
    /// The name; `None` is the archive itself, which comes into being.
    pub name: Option<String>,
    /// What it stands for afterwards; `None` for nothing.
    pub becomes: Option<Entry>,
}

/// Returns the bytes of a version of a name: no two of them have any stretch in common.
pub fn content(seed: u64, name: &str, version: u64, len: usize) -> Arc<[u8]> {
    let mut hasher = DefaultHasher::new();
    (seed, name, version).hash(&mut hasher);
    let mut seeded = Seeded::new(hasher.finish());
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(seeded.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// What became of an effect, as it stands in a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to be asked for.
    Begun,
    /// The answer was success.
    Done,
    /// The answer was an error that may have come after the effect.
    Failed,
    /// The answer was that it was undone.
    Undone,
}

impl Moment {
    /// Returns the marker of this moment of the effect with an index.
    pub fn tag(self, effect: usize) -> String {
        let word = match self {
            Self::Begun => "begin",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undone => "undone",
        };
        format!("{word} {effect}")
    }

    fn parse(tag: &str) -> Option<(Self, usize)> {
        let (word, effect) = tag.split_once(' ')?;
        let moment = match word {
            "begin" => Self::Begun,
            "done" => Self::Done,
            "failed" => Self::Failed,
            "undone" => Self::Undone,
            _ => return None,
        };
        Some((moment, effect.parse().ok()?))
    }
}

/// Whether there is an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Existence {
    /// Nobody has begun to make one.
    Absent,
    /// Its creation is in flight.
    Perhaps,
    /// Its creation was acknowledged.
    Certain,
}

/// What an archive may hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Allowed {
    /// Whether there is one.
    pub existence: Existence,
    /// What each name may stand for, oldest first; names that were never asked for stand for nothing.
    names: BTreeMap<String, Vec<Option<Entry>>>,
}

/// What a listing has shown, with every byte of every file.
pub type Seen = BTreeMap<String, Entry>;

impl Allowed {
    /// Returns what holds when these markers were set and none behind them.
    ///
    /// # Panics
    /// When a marker is about an effect that is not there.
    pub fn after(effects: &[Effect], markers: &[Marker]) -> Self {
        let mut allowed = Self {
            existence: Existence::Absent,
            names: BTreeMap::new(),
        };
        for (moment, index) in markers.iter().filter_map(|marker| Moment::parse(&marker.tag)) {
            allowed.note(&effects[index], moment);
        }
        allowed
    }

    fn note(&mut self, effect: &Effect, moment: Moment) {
        let Some(name) = &effect.name else {
            match (moment, self.existence) {
                (Moment::Done, _) => self.existence = Existence::Certain,
                (Moment::Begun, Existence::Absent) => self.existence = Existence::Perhaps,
                (Moment::Begun | Moment::Failed | Moment::Undone, _) => {}
            }
            return;
        };
        let may_be = self.names.entry(name.clone()).or_insert_with(|| vec![None]);
        match moment {
            Moment::Begun => may_be.push(effect.becomes.clone()),
            Moment::Done => *may_be = vec![effect.becomes.clone()],
            Moment::Failed => {}
            Moment::Undone => drop(may_be.pop()),
        }
    }

    /// Returns what is allowed of an archive that was just made.
    pub fn nothing() -> Self {
        Self {
            existence: Existence::Certain,
            names: BTreeMap::new(),
        }
    }

    /// Returns a number that differs where the value does.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Judges what was seen; returns what may be seen from then on.
    ///
    /// # Errors
    /// A sentence that names what must not be.
    pub fn judge(&self, seen: &Seen) -> Result<Self, String> {
        for name in seen.keys() {
            if !self.names.contains_key(name) {
                return Err(format!("{name} was never stored"));
            }
        }
        let mut narrowed = self.clone();
        for (name, may_be) in &mut narrowed.names {
            let found = seen.get(name);
            let place = may_be.iter().position(|one| same(one.as_ref(), found));
            let place = place.ok_or_else(|| refusal(name, may_be, found))?;
            may_be.drain(..place);
        }
        Ok(narrowed)
    }

    /// Returns what is allowed when nothing is to change any more: exactly what was seen.
    pub fn exactly(seen: &Seen) -> Self {
        let only = |(name, entry): (&String, &Entry)| (name.clone(), vec![Some(entry.clone())]);
        Self {
            existence: Existence::Certain,
            names: seen.iter().map(only).collect(),
        }
    }
}

/// Compares what counts: of a link where it leads, of anything else permissions and time too.
fn same(expected: Option<&Entry>, found: Option<&Entry>) -> bool {
    match (expected, found) {
        (None, None) => true,
        (Some(expected), Some(found)) => {
            let is_link = matches!(expected.kind, Kind::Link(_));
            let bits = |entry: &Entry| entry.mode & 0o7777;
            expected.kind == found.kind
                && (is_link || (bits(expected) == bits(found) && expected.modified == found.modified))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn refusal(name: &str, may_be: &[Option<Entry>], found: Option<&Entry>) -> String {
    let allowed: Vec<String> = may_be.iter().map(|one| describe(one.as_ref())).collect();
    format!(
        "{name} is {}; allowed, oldest first: {}",
        describe(found),
        allowed.join(", or ")
    )
}

fn describe(entry: Option<&Entry>) -> String {
    let Some(entry) = entry else {
        return "not there".to_owned();
    };
    let about = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        format!("{} bytes with hash {:016x}", bytes.len(), hasher.finish())
    };
    let kind = match &entry.kind {
        Kind::File(bytes) => format!("a file of {}", about(bytes)),
        Kind::Directory => "a directory".to_owned(),
        Kind::Link(target) => format!("a link to {}", about(target)),
    };
    format!("{kind}, mode {:o}, modified {:?}", entry.mode, entry.modified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u64) -> Entry {
        Entry {
            kind: Kind::File(content(1, "a", version, 10)),
            mode: 0o644,
            modified: (5, 0),
        }
    }

    fn effects() -> Vec<Effect> {
        let becomes = [Some(file(1)), Some(file(2)), None];
        let of_name = |becomes| Effect {
            name: Some("a".to_owned()),
            becomes,
        };
        becomes.into_iter().map(of_name).collect()
    }

    fn allowed(tags: &[&str]) -> Allowed {
        let markers: Vec<Marker> = tags
            .iter()
            .map(|tag| Marker {
                after_operation: 0,
                tag: (*tag).to_owned(),
            })
            .collect();
        Allowed::after(&effects(), &markers)
    }

    fn seen(version: Option<u64>) -> Seen {
        version
            .map(|version| ("a".to_owned(), file(version)))
            .into_iter()
            .collect()
    }

    #[test]
    fn what_is_in_flight_is_there_or_not_and_what_is_acknowledged_is_there() {
        let cases: [(&[&str], [bool; 3]); 7] = [
            (&["begin 0", "undone 0"], [true, false, false]),
            (&[], [true, false, false]),
            (&["begin 0"], [true, true, false]),
            (&["begin 0", "done 0"], [false, true, false]),
            (&["begin 0", "failed 0", "begin 1"], [true, true, true]),
            (&["begin 0", "done 0", "begin 1", "done 1"], [false, false, true]),
            (&["begin 0", "done 0", "begin 2"], [true, true, false]),
        ];
        for (tags, verdicts) in cases {
            for (version, is_allowed) in [None, Some(1), Some(2)].into_iter().zip(verdicts) {
                let judged = allowed(tags).judge(&seen(version));
                assert_eq!(judged.is_ok(), is_allowed, "{tags:?} {version:?}: {judged:?}");
            }
        }
    }

    #[test]
    fn what_was_seen_is_never_taken_back() {
        let after = allowed(&["begin 0"]).judge(&seen(Some(1))).expect("the new one");
        assert!(after.judge(&seen(None)).is_err(), "it is gone again");
        let before = allowed(&["begin 0"]).judge(&seen(None)).expect("the old one");
        assert!(before.judge(&seen(Some(1))).is_ok(), "it may still come");
    }

    #[test]
    fn a_name_that_nobody_stored_a_bit_a_mode_and_a_time_are_noticed() {
        let settled = allowed(&["begin 0", "done 0"]);
        let mut other = seen(Some(1));
        other.insert("b".to_owned(), file(1));
        assert!(settled.judge(&other).is_err(), "another name");
        let mode = Entry {
            mode: 0o600,
            ..file(1)
        };
        let time = Entry {
            modified: (5, 1),
            ..file(1)
        };
        let mut bytes = content(1, "a", 1, 10).to_vec();
        bytes[9] ^= 1;
        let bit = Entry {
            kind: Kind::File(bytes.into()),
            ..file(1)
        };
        for wrong in [mode, time, bit] {
            let seen = Seen::from([("a".to_owned(), wrong)]);
            assert!(settled.judge(&seen).is_err(), "{seen:?}");
        }
    }
}
