//! Small archives that are to be damaged: files of every tier and length, and the frames of files that are gone.

use std::{collections::BTreeMap, io, ops::Range, path::Path};

use bfdb::{
    Archive, ArchiveOptions, NameConflict, Policy,
    geometry::{Grouping, PolicyParts},
    units::{CodeShape, LeafLen},
};

use super::{
    chart::{Chart, EXTENT_HEADER, Extents, path_of},
    frame::bytes,
};
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        oracle::{Entry, Kind},
        scenario::Ground,
        setting::{ROOT, explained, resources},
        sources::Sources,
        stage::Stage,
        what::What,
    },
    resting::edit,
};

/// Length of a leaf.
const LEAF: u64 = 1024;

/// A policy in small: codes and lengths.
struct Small {
    /// Replicas beside the first.
    tiny: u16,
    segmented: u16,
    blocked: (u16, u16),
    /// Lengths in leaves: where tiers end, and of segments.
    ends: (u64, u64),
    segments: (u64, u64),
}

/// Different counts of parity in each tier, blocks of one column and of several, absent shards and short ones.
const POLICIES: [Small; 4] = [
    Small {
        tiny: 3,
        segmented: 3,
        blocked: (4, 2),
        ends: (4, 10),
        segments: (3, 3),
    },
    Small {
        tiny: 1,
        segmented: 2,
        blocked: (3, 1),
        ends: (3, 8),
        segments: (3, 4),
    },
    Small {
        tiny: 2,
        segmented: 1,
        blocked: (5, 3),
        ends: (2, 5),
        segments: (2, 2),
    },
    Small {
        tiny: 3,
        segmented: 2,
        blocked: (2, 2),
        ends: (5, 9),
        segments: (2, 5),
    },
];

/// An archive at rest that is well.
#[derive(Debug)]
pub struct Subject {
    /// What it was made from.
    pub seed: u64,
    /// The disk that it lies on; nobody has it open.
    pub(super) disk: SimulatedStorage,
    /// What each name stands for.
    pub(super) stored: BTreeMap<String, Entry>,
    /// Where everything lies.
    pub(super) chart: Chart,
    /// What stands in the extents.
    pub(super) extents: Extents,
}

impl Subject {
    /// Makes the archive of a seed.
    ///
    /// # Errors
    /// When the host cannot take the sources of commits, when making it failed although the disk works, or when something
    /// does not lie where the format says.
    pub fn new(seed: u64) -> io::Result<Self> {
        let mut seeded = Seeded::new(seed ^ 0xDECA);
        let small = &POLICIES[seeded.index(POLICIES.len())];
        let sources = Sources::new()?;
        let ground = ground(seed, small)?;
        let mut stage = Stage::new(&ground, &sources, seed);
        stage.create();
        play(&mut stage, small);
        stage.close();
        let played = stage.end();
        if let Some(surprise) = played.surprises.first() {
            return Err(io::Error::other(format!(
                "an archive could not be made: {surprise}"
            )));
        }
        let mut stored = BTreeMap::new();
        for effect in &played.effects {
            let Some(name) = effect.name.clone() else { continue };
            match effect.becomes.clone() {
                Some(entry) => drop(stored.insert(name, entry)),
                None => drop(stored.remove(&name)),
            }
        }
        let disk = played.disk.settled();
        let chart = Chart::read(&disk).map_err(io::Error::other)?;
        let extents = chart.lanes.keys();
        let extents = extents.map(|id| (*id, edit::contents(&disk, &path_of(*id)).unwrap_or_default()));
        let subject = Self {
            seed,
            stored,
            extents: extents.collect(),
            chart,
            disk,
        };
        let content = |name: &str| subject.bytes_of(name).map(<[u8]>::to_vec);
        let agreed = subject.chart.agrees_with(&subject.extents, content);
        agreed.map_err(io::Error::other)?;
        Ok(subject)
    }

    /// Returns the bytes of a file.
    pub(super) fn bytes_of(&self, name: &str) -> Option<&[u8]> {
        match &self.stored.get(name)?.kind {
            Kind::File(bytes) => Some(bytes),
            Kind::Directory | Kind::Link(_) => None,
        }
    }

    /// Returns what no live frame lies in, behind the header of each extent.
    pub(super) fn dead(&self) -> Vec<(u64, Range<u64>)> {
        let mut frames: Vec<(u64, Range<u64>)> = self
            .chart
            .frames()
            .map(|frame| (frame.extent, frame.whole()))
            .collect();
        frames.sort_by_key(|(extent, range)| (*extent, range.start));
        let mut dead = Vec::new();
        for (extent, stored) in &self.extents {
            let mut at = EXTENT_HEADER.end;
            for (_, range) in frames.iter().filter(|(other, _)| other == extent) {
                dead.push((*extent, at..range.start));
                at = range.end;
            }
            dead.push((*extent, at..bytes(stored.len())));
        }
        dead.retain(|(_, range)| !range.is_empty());
        dead
    }
}

fn ground(seed: u64, small: &Small) -> io::Result<Ground> {
    let shape = |(data, parity)| CodeShape::new(data, parity).map_err(io::Error::other);
    let (tiny, segmented) = small.ends;
    let (row, widest) = small.segments;
    let policy = Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(LEAF.ilog2().try_into().map_err(io::Error::other)?)
            .ok_or(io::ErrorKind::InvalidInput)?,
        tiny_below_bytes: tiny * LEAF,
        tiny_shape: shape((1, small.tiny))?,
        segmented_below_bytes: segmented * LEAF,
        segmented_shape: shape((1, small.segmented))?,
        segmented_segment_len_bytes: row * LEAF,
        blocked_shape: shape(small.blocked)?,
        blocked_segment_max_len_bytes: widest * LEAF,
        blocked_below_bytes: u64::MAX,
        grouped: Grouping {
            shape: shape(small.blocked)?,
            ..Grouping::DEFAULT
        },
        survive_volumes: 0,
    });
    let options = ArchiveOptions {
        policy: policy.map_err(io::Error::other)?,
        resources: resources(),
        volumes: Vec::new(),
    };
    let disk = SimulatedStorage::new();
    let wrong = |error: &dyn std::error::Error| io::Error::other(explained(error));
    let made = Archive::create_on(&disk.machine(seed), Path::new(ROOT), &options);
    let closed = made.map_err(|error| wrong(&error))?.close();
    closed.map_err(|error| wrong(&error))?;
    Ok(Ground {
        disk: disk.settled(),
        has_archive: true,
    })
}

/// Stores some of everything, and lets some of it go.
fn play(stage: &mut Stage<'_>, small: &Small) {
    let (tiny, coded) = (small.ends.0 * LEAF, small.ends.1 * LEAF);
    let row = small.segments.0 * LEAF;
    let block = small.segments.1 * LEAF * u64::from(small.blocked.0);
    let early = [
        a_file(stage, "leaf", 1..LEAF + 1),
        a_file(stage, "replaced", LEAF..tiny),
        a_file(stage, "removed", coded..3 * coded),
    ];
    early.into_iter().for_each(|what| stage.commit(what));
    let batch = [
        What::directory("tree"),
        a_file(stage, "tree/a", 1..LEAF),
        a_file(stage, "tree/b", LEAF..tiny),
        a_file(stage, "tree/c", 1..300),
        a_file(stage, "tree/empty", 0..1),
        What::link("tree/link", 1),
        a_file(stage, "tree/rows", tiny..coded),
    ];
    stage.commit_all(&batch, NameConflict::Refuse);
    let rows = tiny.next_multiple_of(row);
    let files = [
        a_file(stage, "tiny", LEAF + 1..tiny),
        // As long as whole rows, one byte less than coded, and as short as coded.
        a_file(stage, "rows", rows..rows + 1),
        a_file(stage, "edge", coded - 1..coded),
        a_file(stage, "segmented", tiny..coded),
        a_file(stage, "shortest", coded..coded + 1),
    ];
    files.into_iter().for_each(|what| stage.commit(what));
    // The inner one finds the extents taken, and begins its own.
    let (outer, inner) = (
        a_file(stage, "outer", coded..2 * coded),
        a_file(stage, "inner", coded..2 * coded),
    );
    stage.open_other();
    stage.commit_around(outer, inner);
    stage.take_turns();
    stage.close();
    stage.take_turns();
    let mut replaced = a_file(stage, "replaced", 1..tiny);
    replaced.version = 2;
    stage.replace(replaced);
    stage.remove("removed");
    let blocked = a_file(stage, "blocked", 2 * block..3 * block);
    stage.commit(blocked);
    stage.commit(What::file("empty", 1, 0));
}

/// A file of any of these lengths.
fn a_file(stage: &mut Stage<'_>, name: &'static str, lengths: Range<u64>) -> What {
    let len = lengths.start + stage.choose(lengths.end - lengths.start);
    What::file(name, 1, usize::try_from(len).unwrap_or(0))
}
