//! What is there when everybody is gone.

use std::sync::{Arc, Mutex, PoisonError};

use bfdb::{Archive, host::Machine};

use super::{
    hand::Hand,
    histories::Log,
    line::Line,
    recorder::Recorder,
    run::Place,
    worker::{close, open},
};
use crate::{
    Seeded,
    crashes::{
        case::Case,
        explore::{Findings, judge},
        image::Image,
        oracle::{Allowed, Seen},
        setting::explained,
        view::see,
        violation::{Promise, Violation},
    },
    killing::copied::copied,
};

/// Commits that wait at the end at most.
const MOST_WAITING: usize = 10_000;

/// Opens for writing, ends what waits, reads every name and verifies everything; then a copy of the archive is checked like
/// the image of a crash. Returns what it was told, like any process.
pub(super) fn look(
    place: &Place,
    (process, case): (u64, &Case),
    findings: &Findings,
) -> (Log, Result<(), Violation>) {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let said = Arc::clone(&lines);
    let recorder = Recorder::new(process, move |line| {
        said.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line.trim_end().to_owned());
    });
    let ended = use_it(place, &recorder, case.seed).and_then(|seen| {
        let disk = copied(&place.root).map_err(|error| Promise::Opens.broken(explained(&error)))?;
        let image = Image::new(disk, case);
        judge(case, &Allowed::exactly(&seen), &image, findings);
        Ok(())
    });
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    let log = Log {
        lines: lines.iter().filter_map(|line| Line::parse(line)).collect(),
        died_at: None,
    };
    (log, ended)
}

fn use_it(place: &Place, recorder: &Recorder, seed: u64) -> Result<Seen, Violation> {
    let opened = open(&Machine::default(), &place.root, recorder);
    let archive = opened.map_err(|error| Promise::Opens.broken(format!("at the end: {error}")))?;
    let mut hand = Hand {
        archive: &archive,
        recorder,
        sources: &place.sources,
        seeded: Seeded::new(seed ^ 0xE2D),
        last: None,
        open: Vec::new(),
    };
    for ended in 0.. {
        if !waits(&archive)? {
            break;
        }
        if ended == MOST_WAITING {
            return Err(Promise::Ends.broken("what waits does not end"));
        }
        hand.end_waiting();
    }
    hand.list();
    let seen = see(&archive)?;
    for name in seen.keys() {
        hand.read(name);
    }
    hand.list();
    hand.verify_all();
    hand.scrub();
    drop(hand);
    close(archive, recorder).map_err(|error| Promise::Writable.broken(error))?;
    Ok(seen)
}

fn waits(archive: &Archive) -> Result<bool, Violation> {
    let unfinished = archive.unfinished();
    let unfinished = unfinished.map_err(|error| Promise::Ends.broken(explained(&error)))?;
    if let Some(running) = unfinished.iter().find(|commit| commit.is_running) {
        return Err(Promise::Ends.broken(format!("everybody is gone, and somebody works on {running:?}")));
    }
    Ok(!unfinished.is_empty())
}
