//! Small archives that are to be damaged, and what was stored in each at every moment.
//!
//! They are made by the stage of [`crate::crashes`], in chapters: each opens the archive, uses it and closes it. What may be
//! found later follows from the answers alone.

use std::{collections::BTreeMap, fmt, io, path::Path, str::FromStr};

use bfdb::NameConflict;

use super::{edit, layout::CATALOG};
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        oracle::{Effect, Seen},
        scenario::Ground,
        setting::ROOT,
        sources::Sources,
        stage::{Stage, new_archive},
        what::What,
    },
    simulation::{CrashPoint, CrashVariant, Timeline},
};

/// How an archive was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Closed, with a catalog as small as any.
    Smallest,
    /// Closed.
    Closed,
    /// Its process was killed while nothing was asked of it.
    Killed,
    /// Its process was killed in the middle of a commit.
    InFlight,
    /// Closed, and then a copy of the catalog was put back that was made some publications before.
    OldCatalog,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Smallest,
        Self::Closed,
        Self::Killed,
        Self::InFlight,
        Self::OldCatalog,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Closed => "closed",
            Self::Killed => "killed",
            Self::InFlight => "inflight",
            Self::OldCatalog => "old",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or(())
    }
}

/// An archive at rest, and its past.
#[derive(Debug)]
pub struct Subject {
    /// How it was left.
    pub kind: Kind,
    /// What it was made from.
    pub seed: u64,
    /// The disk that it lies on; nobody has it open.
    pub disk: SimulatedStorage,
    /// What was stored after each publication, oldest first.
    pub states: Vec<Seen>,
    /// How many of the last states the archive may have: two while a commit is in flight.
    pub newest: usize,
    /// The disk at earlier moments, the latest first.
    pub past: Vec<SimulatedStorage>,
    /// The disk of another archive.
    pub other: SimulatedStorage,
    /// Whether shards were moved and room was given back before the last chapter.
    pub is_compacted: bool,
    /// Whether two checkpoints were taken, so that records are gone.
    pub has_forgotten: bool,
}

impl Subject {
    /// Makes the archive of a seed.
    ///
    /// # Errors
    /// When the host cannot take the sources of commits, or when making it failed although the disk works.
    pub fn new(kind: Kind, seed: u64) -> io::Result<Self> {
        let mut making = Making::begin(seed);
        making.chapter(if kind == Kind::Smallest { smallest } else { first })?;
        let mut old = making.disk.settled();
        if kind != Kind::Smallest {
            making.chapter(second)?;
            if Seeded::new(seed).below(2) == 0 {
                old = making.disk.settled();
            }
            match (kind, Seeded::new(seed).below(4)) {
                (_, 0 | 1) => {}
                (Kind::OldCatalog, _) => making.compacted()?,
                (_, 2) => making.checkpointed()?,
                // Two leave no record that a catalog from before needs.
                (_, _) => {
                    making.checkpointed()?;
                    making.compacted()?;
                    making.checkpointed()?;
                }
            }
            making.chapter(third)?;
        }
        let mut subject = Self {
            kind,
            seed,
            disk: making.disk.settled(),
            newest: 1,
            past: making.past,
            states: making.states,
            other: new_archive(!seed).disk,
            is_compacted: making.is_compacted,
            has_forgotten: making.checkpoints >= 2,
        };
        match kind {
            Kind::Smallest | Kind::Closed => {}
            Kind::Killed => {
                subject.disk = making.killed;
                subject.past.truncate(subject.past.len().saturating_sub(1));
            }
            Kind::InFlight => {
                (subject.disk, subject.newest) = (making.in_flight, 2);
                subject.past.truncate(subject.past.len().saturating_sub(2));
            }
            Kind::OldCatalog => {
                let catalog = Path::new(ROOT).join(CATALOG);
                let bytes = edit::contents(&old, &catalog).ok_or(io::ErrorKind::NotFound)?;
                edit::replace(&subject.disk, &catalog, &bytes)?;
                subject.disk = subject.disk.settled();
            }
        }
        subject.past.reverse();
        Ok(subject)
    }

    /// Returns what may be the newest state, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Seen> {
        self.states.iter().rev().take(self.newest)
    }
}

/// An archive while it is made.
struct Making {
    seed: u64,
    chapters: u64,
    disk: SimulatedStorage,
    states: Vec<Seen>,
    past: Vec<SimulatedStorage>,
    /// The last moment at which a process had it open and nothing was asked.
    killed: SimulatedStorage,
    /// A moment in the last commit.
    in_flight: SimulatedStorage,
    is_compacted: bool,
    checkpoints: u64,
}

impl Making {
    fn begin(seed: u64) -> Self {
        let disk = new_archive(seed).disk;
        Self {
            seed,
            chapters: 0,
            killed: disk.settled(),
            in_flight: disk.settled(),
            disk,
            states: vec![Seen::new()],
            past: Vec::new(),
            is_compacted: false,
            checkpoints: 0,
        }
    }

    fn checkpointed(&mut self) -> io::Result<()> {
        self.checkpoints += 1;
        self.chapter(checkpointed)
    }

    fn compacted(&mut self) -> io::Result<()> {
        self.is_compacted = true;
        self.chapter(compacted)
    }

    fn chapter(&mut self, play: fn(&mut Stage<'_>)) -> io::Result<()> {
        self.chapters += 1;
        let sources = Sources::new()?;
        let ground = Ground {
            disk: self.disk.settled(),
            has_archive: true,
        };
        let mut stage = Stage::new(&ground, &sources, self.seed ^ (self.chapters << 56));
        stage.create();
        play(&mut stage);
        stage.close();
        let played = stage.end();
        if let Some(surprise) = played.surprises.first() {
            return Err(io::Error::other(format!(
                "an archive could not be made: {surprise}"
            )));
        }
        let timeline = played.disk.timeline();
        let mut seen = self.states.last().cloned().unwrap_or_default();
        for (operation, effects) in acknowledged(&timeline, &played.effects) {
            for effect in effects {
                let Some(name) = effect.name.clone() else { continue };
                match effect.becomes.clone() {
                    Some(entry) => drop(seen.insert(name, entry)),
                    None => drop(seen.remove(&name)),
                }
            }
            self.states.push(seen.clone());
            self.killed = at(&timeline, operation);
            self.past.push(self.killed.clone());
        }
        self.in_flight = in_the_last(&timeline, self.seed);
        self.past.push(played.disk.settled());
        self.disk = played.disk;
        Ok(())
    }
}

/// Returns what was acknowledged, by the operation after which it was; what was published together stands together.
fn acknowledged<'a>(timeline: &Timeline, effects: &'a [Effect]) -> BTreeMap<u64, Vec<&'a Effect>> {
    let mut done: BTreeMap<u64, Vec<&Effect>> = BTreeMap::new();
    for marker in timeline.markers() {
        let index = marker
            .tag
            .strip_prefix("done ")
            .and_then(|index| index.parse::<usize>().ok());
        let effect = index.and_then(|index| effects.get(index));
        if let Some(effect) = effect.filter(|effect| effect.name.is_some()) {
            done.entry(marker.after_operation).or_default().push(effect);
        }
    }
    done
}

/// Returns the disk as its users saw it behind an operation.
fn at(timeline: &Timeline, after_operation: u64) -> SimulatedStorage {
    timeline.image(CrashPoint { after_operation }, &CrashVariant::Everything)
}

/// Returns the disk somewhere between the last question and its answer.
fn in_the_last(timeline: &Timeline, seed: u64) -> SimulatedStorage {
    let last = |word: &str| {
        let mut markers = timeline.markers().iter().rev();
        markers
            .find(|marker| marker.tag.starts_with(word))
            .map_or(0, |marker| marker.after_operation)
    };
    let (begun, done) = (last("begin "), last("done "));
    at(
        timeline,
        begun + Seeded::new(seed).below(done.saturating_sub(begun) + 1),
    )
}

/// As little as there can be of every tier.
fn smallest(stage: &mut Stage<'_>) {
    stage.commit(What::file("tiny", 1, 700));
    stage.commit(What::file("blocked", 1, 13_000));
    stage.commit_all(
        &[What::link("link", 1), What::file("empty", 1, 0)],
        NameConflict::Refuse,
    );
}

/// Some of everything.
fn first(stage: &mut Stage<'_>) {
    let len =
        |stage: &mut Stage<'_>, from: usize, to: u64| from + usize::try_from(stage.choose(to)).unwrap_or(0);
    let all = [
        What::directory("tree"),
        What::file("tree/a", 1, len(stage, 1, 4000)),
        What::file("tree/b", 1, len(stage, 4096, 8000)),
        What::file("tree/empty", 1, 0),
        What::link("tree/link", 1),
    ];
    stage.commit_all(&all, NameConflict::Refuse);
    let tiny = len(stage, 1, 4000);
    stage.commit(What::file("tiny", 1, tiny));
    let segmented = len(stage, 4096, 8000);
    stage.commit(What::file("segmented", 1, segmented));
    let blocked = len(stage, 12_288, 9000);
    stage.commit(What::file("blocked", 1, blocked));
    stage.commit(What::file("replaced", 1, 900));
    stage.commit(What::file("removed", 1, 5000));
}

/// Versions that take the place of others, names that go, and perhaps a commit that waits.
fn second(stage: &mut Stage<'_>) {
    stage.replace(What::file("replaced", 2, 13_000));
    stage.remove("removed");
    if stage.choose(2) == 0 {
        let asked = 4 + stage.choose(30);
        stage.commit_path_cancelled(What::file("long", 1, 30_000), asked);
    }
    stage.replace(What::file("tree/a", 2, 400));
    if stage.choose(2) == 0 {
        stage.replace(What::file("tiny", 2, 2100).touched(0o600));
    }
}

/// What the catalog says is stored in the archive.
fn checkpointed(stage: &mut Stage<'_>) {
    stage.checkpoint();
    stage.replace(What::file("tree/b", 3, 900));
}

/// Room is given back: extents go, and what lives beside dead bytes lies elsewhere.
fn compacted(stage: &mut Stage<'_>) {
    stage.compact();
    stage.replace(What::file("replaced", 4, 2100));
}

/// A few more, so that the last publications differ.
fn third(stage: &mut Stage<'_>) {
    if stage.choose(2) == 0 {
        stage.remove_many(&["tree/b", "tree/link"]);
    }
    stage.commit(What::file("late", 1, 6000));
    match stage.choose(3) {
        0 => stage.remove("late"),
        1 => stage.replace(What::file("late", 2, 14_000)),
        _ => stage.commit(What::file("last", 1, 800)),
    }
}
