//! What an archive may hold after a crash, worked out from what its user was told and from nothing else.
//!
//! A workload announces every effect before it asks for it, and notes the answer; both stand in the timeline of the disk as
//! markers. From the markers before a crash follows which content each name may have: the acknowledged one alone, or, while
//! an effect is in flight or was answered with an error, the old one or the new one. Shares no code with the engine.
//!
//! Invariant: what a name may have is a list, oldest first; whoever has seen one of them never sees an older one again.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// The answer was that it is stored for good, and will be seen when the archive was opened for writing again.
    Promised,
    /// The answer was an error: nothing of it is there, and nothing ever will be.
    Undone,
}

impl Moment {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Begun, "begin"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Promised, "promised"),
        (Self::Undone, "undone"),
    ];

    /// Returns the marker of this moment of the effect with an index.
    ///
    /// # Panics
    /// Never: every moment has a word.
    pub fn tag(self, effect: usize) -> String {
        let named = Self::ALL.iter().find(|(moment, _)| *moment == self);
        let (_, word) = named.expect("every moment has a word");
        format!("{word} {effect}")
    }

    fn parse(tag: &str) -> Option<(Self, usize)> {
        let (word, effect) = tag.split_once(' ')?;
        let (moment, _) = Self::ALL.iter().find(|(_, known)| *known == word)?;
        Some((*moment, effect.parse().ok()?))
    }
}

/// The marker from which on an old catalog may lie in the place of the newest.
pub const OLD_CATALOG: &str = "an old catalog";

/// The marker from which on the catalog is the newest again.
pub const NEW_CATALOG: &str = "the newest catalog";

/// The marker from which on shards are damaged, of every block as many as its code survives.
pub const DAMAGED: &str = "extents are damaged";

/// The marker from which on they are repaired.
pub const REPAIRED: &str = "what was damaged is repaired";

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

/// Which catalog lies in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CatalogAge {
    Newest,
    PerhapsOld,
    /// It was an old one, and was brought forward.
    NewestAgain,
}

impl CatalogAge {
    const fn brought_forward(self) -> Self {
        match self {
            Self::Newest => Self::Newest,
            Self::PerhapsOld | Self::NewestAgain => Self::NewestAgain,
        }
    }
}

/// What may be wrong with the extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Harm {
    /// Nothing, ever.
    None,
    /// Shards may be damaged, and a file gone.
    Perhaps,
    /// What was damaged was written anew elsewhere.
    Repaired,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Somebody who has opened for reading, and has settled nothing.
    Reader,
    /// Somebody who has opened for writing.
    Writer,
}

/// What an archive may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Whether there is one.
    pub existence: Existence,
    /// What became of the extents.
    pub harm: Harm,
    catalog: CatalogAge,
    /// What each name may stand for; names that were never asked for stand for nothing.
    names: BTreeMap<String, Candidates>,
    /// Everything that each name was ever asked to stand for: what a commit that waits may become.
    asked: BTreeMap<String, Vec<Entry>>,
    /// Names of which the last thing that was asked for was to store something, and it was acknowledged.
    settled: BTreeSet<String>,
}

/// What a name may stand for, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Candidates {
    may_be: Vec<Option<Entry>>,
    /// How many of them are over once the archive was opened for writing.
    passing: usize,
}

impl Candidates {
    fn only(entry: Option<Entry>) -> Self {
        Self {
            may_be: vec![entry],
            passing: 0,
        }
    }

    fn note(&mut self, becomes: Option<&Entry>, moment: Moment) {
        let place = self.may_be.iter().rposition(|one| one.as_ref() == becomes);
        match moment {
            Moment::Begun => self.may_be.push(becomes.cloned()),
            Moment::Done => *self = Self::only(becomes.cloned()),
            Moment::Failed => {}
            Moment::Promised => self.passing = place.unwrap_or(0),
            Moment::Undone => {
                if let Some(place) = place {
                    self.may_be.remove(place);
                    self.passing -= usize::from(place < self.passing);
                }
            }
        }
    }
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
            ..Self::nothing()
        };
        for marker in markers {
            match (marker.tag.as_str(), Moment::parse(&marker.tag)) {
                (OLD_CATALOG, _) => allowed.catalog = CatalogAge::PerhapsOld,
                (NEW_CATALOG, _) => allowed.catalog = CatalogAge::NewestAgain,
                (DAMAGED, _) => allowed.harm = Harm::Perhaps,
                (REPAIRED, _) => allowed.harm = Harm::Repaired,
                (_, Some((moment, index))) => allowed.note(&effects[index], moment),
                (_, None) => {}
            }
        }
        allowed
    }

    fn note(&mut self, effect: &Effect, moment: Moment) {
        let Some(name) = &effect.name else {
            match (moment, self.existence) {
                (Moment::Done, _) => self.existence = Existence::Certain,
                (Moment::Begun, Existence::Absent) => self.existence = Existence::Perhaps,
                (Moment::Begun | Moment::Failed | Moment::Promised | Moment::Undone, _) => {}
            }
            return;
        };
        let nothing = || Candidates::only(None);
        let candidates = self.names.entry(name.clone()).or_insert_with(nothing);
        candidates.note(effect.becomes.as_ref(), moment);
        let asked = self.asked.entry(name.clone()).or_default();
        asked.extend(effect.becomes.clone().filter(|_| moment == Moment::Begun));
        if moment == Moment::Begun {
            self.settled.remove(name);
        } else if moment == Moment::Done && effect.becomes.is_some() {
            self.settled.insert(name.clone());
        }
    }

    /// Returns what is allowed of an archive that was just made.
    pub const fn nothing() -> Self {
        Self {
            existence: Existence::Certain,
            harm: Harm::None,
            catalog: CatalogAge::Newest,
            names: BTreeMap::new(),
            asked: BTreeMap::new(),
            settled: BTreeSet::new(),
        }
    }

    /// Says whether a name was stored and acknowledged, and nothing was asked of it since: nothing waits under it.
    pub fn is_settled(&self, name: &str) -> bool {
        self.settled.contains(name)
    }

    /// Says whether the catalog may be an old one that somebody has put back.
    pub fn may_be_old(&self) -> bool {
        self.catalog == CatalogAge::PerhapsOld
    }

    /// Says whether an old catalog was ever put back: what was done meanwhile without a record is not known to it.
    pub fn was_ever_old(&self) -> bool {
        self.catalog != CatalogAge::Newest
    }

    /// Returns the same where the catalog is the newest for certain.
    #[must_use]
    pub fn of_the_newest_catalog(&self) -> Self {
        Self {
            catalog: self.catalog.brought_forward(),
            ..self.clone()
        }
    }

    /// Returns a number that differs where what may be seen does.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.existence, self.harm, self.catalog, &self.names).hash(&mut hasher);
        hasher.finish()
    }

    /// Judges what was seen; returns what may be seen from then on.
    ///
    /// # Errors
    /// A sentence that names what must not be.
    pub fn judge(&self, seen: &Seen, viewer: Viewer) -> Result<Self, String> {
        for (name, entry) in seen {
            if !self.names.contains_key(name) {
                return Err(format!("{name} was never stored"));
            }
            if self.may_be_old() && !self.was_asked(name, entry) {
                return Err(format!("{name} was never {}", describe(Some(entry))));
            }
        }
        if viewer == Viewer::Reader && self.may_be_old() {
            // Of an old catalog a reader sees an old state, and is told so.
            return Ok(self.clone());
        }
        let mut narrowed = self.clone();
        for (name, candidates) in &mut narrowed.names {
            let found = seen.get(name);
            if viewer == Viewer::Writer {
                candidates.may_be.drain(..candidates.passing);
                candidates.passing = 0;
            }
            let may_be = &mut candidates.may_be;
            let place = may_be.iter().position(|one| same(one.as_ref(), found));
            let place = place.ok_or_else(|| refusal(name, may_be, found))?;
            may_be.drain(..place);
            candidates.passing = candidates.passing.saturating_sub(place);
        }
        if viewer == Viewer::Writer {
            narrowed.catalog = self.catalog.brought_forward();
        }
        Ok(narrowed)
    }

    /// Judges what is seen after some names were stored by commits that had waited: what those were once asked to be, but
    /// nothing older than what was seen, and else what was seen before.
    ///
    /// # Errors
    /// A sentence that names what must not be.
    pub fn judge_resumed(&self, before: &Seen, after: &Seen, resumed: &[String]) -> Result<(), String> {
        let mut expected = Self::exactly(before);
        for name in resumed {
            let found = after.get(name);
            match found {
                Some(entry) if self.may_follow(name, before.get(name), entry) => {
                    expected
                        .names
                        .insert(name.clone(), Candidates::only(found.cloned()));
                }
                found => return Err(format!("{name} was resumed and is {}", describe(found))),
            }
        }
        expected.judge(after, Viewer::Writer).map(drop)
    }

    /// Says whether an entry was asked for behind another one of its name; what was never asked for comes before all.
    fn may_follow(&self, name: &str, before: Option<&Entry>, entry: &Entry) -> bool {
        let last_asked = |entry: &Entry| {
            let asked = self.asked.get(name)?;
            asked.iter().rposition(|one| same(Some(one), Some(entry)))
        };
        last_asked(entry).is_some_and(|place| before.and_then(last_asked) <= Some(place))
    }

    fn was_asked(&self, name: &str, entry: &Entry) -> bool {
        let asked = self.asked.get(name);
        asked.is_some_and(|asked| asked.iter().any(|one| same(Some(one), Some(entry))))
    }

    /// Returns what is allowed when nothing is to change any more: exactly what was seen.
    pub fn exactly(seen: &Seen) -> Self {
        let only = |(name, entry): (&String, &Entry)| (name.clone(), Candidates::only(Some(entry.clone())));
        Self {
            names: seen.iter().map(only).collect(),
            ..Self::nothing()
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
mod tests;
