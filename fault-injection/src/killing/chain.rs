//! One archive, and one process after another that dies in it.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use bfdb::{Access, Archive, OpenOptions};

use super::{
    copied::copied,
    process::{End, Ended, attend},
    script::Script,
};
use crate::{
    Seeded,
    crashes::{
        case::Case,
        explore::{Findings, judge},
        image::Image,
        oracle::{Allowed, Existence, Viewer},
        setting::{explained, resources},
        sources::Sources,
        view::see,
        violation::{Promise, Violation},
    },
    simulation::Marker,
};

/// What cases of killed processes begin with; behind it stands which process it was.
pub const WORKLOAD: &str = "process";

/// Acts of one script.
const ACTS: usize = 14;

/// Deaths of one chain at most; then the script is played to its end.
const DEATHS: u64 = 12;

/// Lines and microseconds in which a script is played, about.
const LIFE: (u64, u64) = (12, 30_000);

/// What is to be killed.
#[derive(Debug, Clone)]
pub struct Chain {
    /// A program that understands `die`: `bfdb-fault-injection`.
    pub program: PathBuf,
    /// What the script and the deaths follow from.
    pub seed: u64,
}

/// Kills process after process in one archive until the script is at its end.
///
/// # Errors
/// When the host cannot take the archive, or the program cannot be started.
pub fn run(chain: &Chain, findings: &Findings) -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let sources = Sources::new()?;
    let script = Script::new(chain.seed, ACTS);
    let items = script.acts.iter().flat_map(|act| &act.items);
    items.for_each(|item| drop(item.source(&sources)));
    let mut playing = Playing {
        chain,
        root: directory.path().join("a.bfdb"),
        sources: &sources,
        markers: Vec::new(),
        next: 0,
    };
    let mut seeded = Seeded::new(chain.seed ^ 0xDEAD);
    for number in 0.. {
        let end = (number < DEATHS).then(|| End::choose(&mut seeded, LIFE));
        let is_over = match playing.one_process(end)? {
            Ok(is_over) => is_over,
            Err(violation) => {
                findings.report(&playing.case(number), violation);
                return Ok(());
            }
        };
        if !is_over {
            findings.count_kill();
        }
        let allowed = Allowed::after(&script.effects, &playing.markers);
        if allowed.existence != Existence::Absent {
            let case = playing.case(number);
            let image = Image::new(copied(&playing.root)?, &case);
            judge(&case, &allowed, &image, findings);
        }
        if is_over {
            if let Err(violation) = playing.look(&allowed) {
                findings.report(&playing.case(number), violation);
            }
            break;
        }
    }
    Ok(())
}

struct Playing<'a> {
    chain: &'a Chain,
    root: PathBuf,
    sources: &'a Sources,
    markers: Vec<Marker>,
    /// The act that the next process begins with.
    next: usize,
}

impl Playing<'_> {
    fn case(&self, number: u64) -> Case {
        Case {
            workload: format!("{WORKLOAD}-{number}"),
            seed: self.chain.seed,
            fault: None,
            crashes: Vec::new(),
        }
    }

    /// Starts a process and waits for its end; says whether it came to the end of the script.
    fn one_process(&mut self, end: Option<End>) -> io::Result<Result<bool, Violation>> {
        let command = command(self.chain, (&self.root, self.sources), self.next);
        let (next, markers) = (&mut self.next, &mut self.markers);
        let mut listen = |line: &str| match line.strip_prefix("act ").map(str::parse::<usize>) {
            Some(Ok(act)) => *next = act + 1,
            Some(Err(_)) => {}
            None => markers.push(Marker {
                after_operation: 0,
                tag: line.to_owned(),
            }),
        };
        Ok(match attend(command, end, &|_| (), &mut listen)? {
            Ended::Killed => Ok(false),
            Ended::Well => Ok(true),
            Ended::Failed(said) => Err(Promise::Answers.broken(said)),
        })
    }

    /// Opens the archive itself, where it lies, and reads everything.
    fn look(&self, allowed: &Allowed) -> Result<(), Violation> {
        let archive = open(&self.root)?;
        let seen = see(&archive)?;
        let wrong = |wrong| Promise::Content.broken(format!("at the end: {wrong}"));
        drop(allowed.judge(&seen, Viewer::Writer).map_err(wrong)?);
        let scrub = archive.scrub(&());
        let scrub = scrub.map_err(|error| Promise::Whole.broken(explained(&error)))?;
        if !scrub.damage.is_empty() || !scrub.journal.is_empty() {
            return Err(Promise::Whole.broken(format!("at the end: {scrub:?}")));
        }
        archive
            .close()
            .map_err(|error| Promise::Writable.broken(explained(&error)))
    }
}

fn command(chain: &Chain, (root, sources): (&Path, &Sources), from: usize) -> Command {
    let mut command = Command::new(&chain.program);
    command
        .args(["die", "--acts", &ACTS.to_string()])
        .args(["--seed", &chain.seed.to_string()])
        .args(["--from", &from.to_string()])
        .arg("--root")
        .arg(root)
        .arg("--sources")
        .arg(sources.directory());
    command
}

fn open(root: &Path) -> Result<Archive, Violation> {
    let options = OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    };
    let opened = Archive::open(root, &options);
    let opened = opened.map_err(|error| Promise::Opens.broken(explained(&error)))?;
    Ok(opened.0)
}
