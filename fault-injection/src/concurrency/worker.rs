//! The process that works among others: several threads that share one open archive, which is closed and opened between.

use std::{path::Path, sync::Arc, thread};

use bfdb::{Access, Archive, OpenOptions, RecoveryReport, host::Machine};

use super::{
    answers::wrong,
    hand::Hand,
    line::{Asked, Conflict, Told},
    recorder::{Recorder, now},
};
use crate::{
    Seeded,
    crashes::{
        setting::{explained, resources},
        violation::{Promise, guarded},
    },
    killing::{Death, DyingStorage},
};

/// What a process is to do.
#[derive(Debug)]
pub struct Work<'a> {
    /// Where the archive is.
    pub root: &'a Path,
    /// Where sources of commits are made.
    pub sources: &'a Path,
    /// What everything random follows from.
    pub seed: u64,
    /// Its number: no two processes in one archive have the same.
    pub process: u64,
    /// Which of those that work at once it is: whoever comes after a dead one works on under the same names.
    pub slot: u64,
    /// Threads that share the archive.
    pub threads: u64,
    /// Operations of each thread.
    pub operations: u64,
    /// When it dies.
    pub death: Option<Death>,
}

/// Operations of a thread between opening and closing.
const PHASE: u64 = 40;

/// Names that all use, and names of each thread.
const SHARED: u64 = 5;
const OWN: u64 = 2;

/// Works to the end or to death, telling of everything on standard output.
///
/// # Errors
/// When the archive cannot be opened or closed, in words.
pub fn work(work: &Work<'_>) -> Result<(), String> {
    let recorder = Recorder::to_standard_output(work.process);
    let machine = Machine {
        storage: Arc::new(DyingStorage::new(work.death)),
        ..Machine::default()
    };
    let mut left = work.operations;
    for phase in 0.. {
        if left == 0 {
            break;
        }
        let operations = left.min(PHASE);
        left -= operations;
        let archive = open(&machine, work.root, &recorder)?;
        let played = thread::scope(|scope| {
            let archive = &archive;
            let recorder = &recorder;
            let threads: Vec<_> = (0..work.threads)
                .map(|thread| {
                    scope.spawn(move || {
                        guarded(|| {
                            play(work, (thread, phase, operations), archive, recorder);
                            Ok(())
                        })
                    })
                })
                .collect();
            let mut threads = threads.into_iter();
            threads.try_for_each(|thread| thread.join().expect("panics are caught inside"))
        });
        played.map_err(|violation| violation.to_string())?;
        close(archive, &recorder)?;
    }
    Ok(())
}

/// Opens an archive for writing, and tells of it.
pub(super) fn open(machine: &Machine, root: &Path, recorder: &Recorder) -> Result<Archive, String> {
    let options = OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    };
    let number = recorder.number();
    recorder.begin(number, None, Asked::Open);
    let opened = Archive::open_on(machine, root, &options);
    let at = now();
    let (archive, report) = opened.map_err(|error| explained(&error))?;
    let told = if is_sound(&report) {
        Told::Done
    } else {
        wrong(Promise::Opens, &format!("{report:?}"))
    };
    recorder.end(number, (at, None), told);
    Ok(archive)
}

/// Closes an archive, and tells of it.
pub(super) fn close(archive: Archive, recorder: &Recorder) -> Result<(), String> {
    let number = recorder.number();
    recorder.begin(number, None, Asked::Other("close".to_owned()));
    let closed = archive.close();
    recorder.end(number, (now(), None), Told::Done);
    closed.map_err(|error| explained(&error))
}

/// Says whether an opening has found nothing but what dead processes leave.
fn is_sound(report: &RecoveryReport) -> bool {
    let is_newest = !report.is_catalog_old && !report.is_forked && !report.is_catalog_damaged;
    report.lost_epoch.is_none() && report.unknown_extents == 0 && is_newest
}

fn play(
    work: &Work<'_>,
    (thread, phase, operations): (u64, u64, u64),
    archive: &Archive,
    recorder: &Recorder,
) {
    let mut place = Seeded::new(work.seed ^ (work.process << 32) ^ (thread << 16) ^ phase);
    let mut names = Names {
        slot: work.slot,
        thread,
        seeded: Seeded::new(place.next_u64()),
    };
    let mut hand = Hand {
        archive,
        recorder,
        sources: work.sources,
        seeded: Seeded::new(place.next_u64()),
        last: None,
        open: Vec::new(),
    };
    for _ in 0..operations {
        act(&mut hand, &mut names);
    }
}

fn act(hand: &mut Hand<'_>, names: &mut Names) {
    match names.seeded.below(100) {
        0..13 => hand.store(&names.one(), Conflict::Replace),
        13..25 => hand.store(&names.one(), Conflict::Refuse),
        25..33 => hand.store_path(&names.one(), u64::MAX),
        33..37 => {
            let patience = names.seeded.below(12);
            hand.store_path(&names.one(), patience);
        }
        37..44 => hand.store_all(&names.some()),
        44..54 => hand.remove(&names.one()),
        54..58 => hand.remove_many(&names.some()),
        58..77 => hand.read(&names.one()),
        77..80 => hand.read_again(),
        80..88 => hand.list(),
        88..91 => hand.verify(&names.one()),
        91..93 => hand.verify_all(),
        93..94 => hand.scrub(),
        94..96 => hand.scrub_new(),
        96..97 => hand.repair(),
        _ => hand.end_waiting(),
    }
}

/// Chooses names: mostly those that all use.
struct Names {
    slot: u64,
    thread: u64,
    seeded: Seeded,
}

impl Names {
    fn one(&mut self) -> String {
        if self.seeded.below(5) > 0 {
            // What lies below one of them is no concern of it: the names of all are files.
            return format!("shared-{}", self.seeded.below(SHARED));
        }
        format!("own/{}-{}-{}", self.slot, self.thread, self.seeded.below(OWN))
    }

    /// Two to four different ones.
    fn some(&mut self) -> Vec<String> {
        let mut names: Vec<String> = (0..2 + self.seeded.below(3)).map(|_| self.one()).collect();
        names.sort();
        names.dedup();
        names
    }
}
