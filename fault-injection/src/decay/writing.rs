//! Somebody writes beside the damage: takes a file away, stores others, and finds the rest as it was.

use std::collections::BTreeMap;

use bfdb::{Access, Archive, CommitOptions, FileName};

use super::{
    chart::Chart,
    frame::bytes,
    oracle::{self, Expected},
    verdict::{Truth, Visit, close, no_wait, open},
};
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        oracle::content,
        setting::explained,
        violation::{Promise, Violation},
    },
};

/// Names that nobody but this check uses, and how long they are: a replicated file and a coded one.
const NEW: [(&str, usize); 2] = [("new-short", 1800), ("new-long", 14_000)];

impl Visit<'_> {
    /// Opens for writing on what a reader has left, and works there; opens again.
    pub(super) fn write(&self, read: &SimulatedStorage, expected: &Expected) -> Result<(), Violation> {
        let disk = self.damaged.on(read);
        let archive = open(&disk, Access::Write)?;
        let seed = self.subject.seed;
        let removed = self.removed(expected);
        let refused = |what: &str, error: &dyn std::error::Error| {
            Promise::Writable.broken(format!("{what}: {}", explained(error)))
        };
        let gone = archive.remove(&name(&removed));
        drop(gone.map_err(|error| refused("removed", &error))?);
        let stored = NEW.map(|(name, len)| (name, content(seed, name, 1, len)));
        for (new, content) in &stored {
            commit(&archive, new, content).map_err(|error| refused("committed", &error))?;
        }
        let chart = Chart::read(&disk).map_err(|error| Promise::Opens.broken(error))?;
        let bytes = oracle::Bytes {
            before: &self.subject.extents,
            damaged: self.damaged,
        };
        let mut contents = self.subject.contents();
        contents.remove(removed.as_str());
        contents.extend(stored.iter().map(|(name, content)| (*name, &content[..])));
        let truth = Truth {
            expected: &oracle::expected(&chart, &bytes),
            chart: &chart,
            contents,
        };
        truth.scrub(&archive)?;
        close(archive)?;
        no_wait(&disk)?;
        let disk = self.damaged.on(&disk);
        let again = open(&disk, Access::Write)?;
        self.judge(&again, &truth)?;
        close(again)?;
        no_wait(&disk)
    }

    /// Chooses what is taken away: something damaged, where there is, or anything.
    fn removed(&self, expected: &Expected) -> String {
        let damaged = expected.damage.keys();
        let mut names: Vec<&str> = damaged
            .filter(|(_, is_descriptor)| !is_descriptor)
            .map(|(name, _)| name.as_str())
            .collect();
        let mut seeded = Seeded::new(self.subject.seed ^ bytes(names.len()));
        if names.is_empty() || seeded.below(2) == 0 {
            names = self.subject.contents().into_keys().collect();
        }
        names[seeded.index(names.len())].to_owned()
    }
}

impl super::Subject {
    /// Returns the bytes of every file.
    pub(super) fn contents(&self) -> BTreeMap<&str, &[u8]> {
        let names = self.stored.keys();
        names
            .filter_map(|name| Some((name.as_str(), self.bytes_of(name)?)))
            .collect()
    }
}

fn commit(archive: &Archive, new: &str, content: &[u8]) -> Result<(), bfdb::error::CommitError> {
    let len = bytes(content.len());
    archive
        .commit(&name(new), content, len, &CommitOptions::default())
        .map(drop)
}

fn name(name: &str) -> FileName {
    name.parse().expect("names of tests are names")
}
