//! Many processes in one archive: they are started, listened to and killed, and what they said is judged.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use bfdb::{Archive, ArchiveOptions};

use super::{
    ending,
    histories::{Histories, Log},
    line::{Line, Said},
    linear::explain,
    recorder::now,
};
use crate::{
    Seeded,
    crashes::{
        case::Case,
        explore::Findings,
        setting::{explained, resources, small_policy},
        violation::Promise,
    },
    killing::process::{End, Ended, Victim, attend, kill},
};

/// What cases of concurrent processes are called.
pub const TOGETHER: &str = "together";

/// Nobody who works is silent for so long.
const SILENCE: Duration = Duration::from_secs(120);

/// Lines and microseconds until which one that is to die has died, mostly.
const LIFE: (u64, u64) = (120, 400_000);

/// Who works together.
#[derive(Debug, Clone)]
pub struct Together {
    /// A program that understands `work`: `bfdb-fault-injection`.
    pub program: PathBuf,
    /// What everything that they do follows from; what comes before what does not.
    pub seed: u64,
    /// Processes that live to their end.
    pub processes: u64,
    /// Threads of each.
    pub threads: u64,
    /// Operations of each thread.
    pub operations: u64,
    /// How often another process is killed, at most: one after the other, while the others work.
    pub deaths: u64,
    /// Where the archive lies.
    pub ground: Ground,
}

/// Where an archive lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Where temporary files are, on a disk: most of the time somebody waits for it.
    Disk,
    /// On a file system in memory, where there is one: nobody waits but for others.
    Memory,
}

impl Together {
    /// Returns a small company: on a disk, or, with an even seed, in memory and with more to do.
    pub const fn small(program: PathBuf, seed: u64) -> Self {
        let (ground, operations) = if seed.is_multiple_of(2) {
            (Ground::Memory, 120)
        } else {
            (Ground::Disk, 40)
        };
        Self {
            program,
            seed,
            processes: 3,
            threads: 2,
            operations,
            deaths: 12,
            ground,
        }
    }
}

/// Lets processes work in one archive, and judges what they were told and what they leave.
///
/// # Errors
/// When the host cannot take the archive, or the program cannot be started.
pub fn run(together: &Together, findings: &Findings) -> io::Result<()> {
    let directory = match together.ground {
        Ground::Disk => tempfile::tempdir()?,
        Ground::Memory => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?,
    };
    let case = Case {
        workload: TOGETHER.to_owned(),
        seed: together.seed,
        fault: None,
        crashes: Vec::new(),
    };
    let place = Place {
        root: directory.path().join("a.bfdb"),
        sources: directory.path().join("sources"),
    };
    place.make()?;
    let company = Company {
        together,
        place: &place,
        case: &case,
        findings,
        logs: Mutex::default(),
        victims: Mutex::default(),
        next: AtomicU64::new(1),
        last_line: AtomicU64::new(now()),
        is_over: AtomicBool::new(false),
    };
    company.work()?;
    if !company.is_over.load(Ordering::Relaxed) {
        company.end();
    }
    company.judge();
    Ok(())
}

/// Where they work.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) sources: PathBuf,
}

impl Place {
    #[expect(clippy::disallowed_methods, reason = "the sources of commits lie on the host")]
    fn make(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.sources)?;
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
            volumes: Vec::new(),
        };
        let made = Archive::create(&self.root, &options);
        let closed = made.map(|archive| archive.close().map_err(|error| explained(&error)));
        match closed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(error) => Err(io::Error::other(explained(&error))),
        }
    }
}

struct Company<'a> {
    together: &'a Together,
    place: &'a Place,
    case: &'a Case,
    findings: &'a Findings,
    logs: Mutex<Vec<Log>>,
    /// Those that live.
    victims: Mutex<Vec<Victim>>,
    /// The number of the next process.
    next: AtomicU64,
    /// When somebody said something last.
    last_line: AtomicU64,
    /// Something is wrong: everybody is to end.
    is_over: AtomicBool,
}

impl Company<'_> {
    /// Starts everybody, and waits for all.
    fn work(&self) -> io::Result<()> {
        let (over, waiting) = channel::<()>();
        let is_still_busy = AtomicBool::new(true);
        thread::scope(|scope| {
            scope.spawn(move || {
                while waiting.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    self.watch();
                }
            });
            let last = scope.spawn(|| {
                let mut seeded = Seeded::new(self.together.seed ^ 0xDEAD);
                for _ in 0..self.together.deaths {
                    if !is_still_busy.load(Ordering::Relaxed) || self.is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    self.one(0, Some(End::choose(&mut seeded, LIFE)))?;
                }
                Ok(())
            });
            let living: Vec<_> = (1..=self.together.processes)
                .map(|slot| scope.spawn(move || self.one(slot, None)))
                .collect();
            let ends: Vec<io::Result<()>> = living
                .into_iter()
                .map(|living| living.join().expect("it panics nowhere"))
                .collect();
            is_still_busy.store(false, Ordering::Relaxed);
            let last = last.join().expect("it panics nowhere");
            drop(over);
            ends.into_iter().chain([last]).collect()
        })
    }

    /// One process, from its start to its end.
    fn one(&self, slot: u64, end: Option<End>) -> io::Result<()> {
        let mut log = Log::default();
        let process = self.next.fetch_add(1, Ordering::Relaxed);
        let started = |victim: &Victim| {
            let mut victims = self.victims.lock().unwrap_or_else(PoisonError::into_inner);
            victims.push(Arc::clone(victim));
        };
        let mut listen = |line: &str| {
            self.last_line.store(now(), Ordering::Relaxed);
            log.lines.extend(Line::parse(line));
        };
        let ended = attend(self.command(process, slot), end, &started, &mut listen)?;
        match ended {
            Ended::Killed => {
                log.died_at = Some(now());
                if end.is_some() {
                    self.findings.count_kill();
                } else if !self.is_over.swap(true, Ordering::Relaxed) {
                    let violation =
                        Promise::NoPanic.broken(format!("process {process} was killed by nobody"));
                    self.findings.report(self.case, violation);
                }
            }
            Ended::Well => {}
            Ended::Failed(said) => {
                log.died_at = Some(now());
                self.is_over.store(true, Ordering::Relaxed);
                let violation = Promise::Answers.broken(format!("process {process}: {said}"));
                self.findings.report(self.case, violation);
            }
        }
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log);
        Ok(())
    }

    fn command(&self, process: u64, slot: u64) -> Command {
        let mut command = Command::new(&self.together.program);
        let numbers = [
            ("--seed", self.together.seed),
            ("--process", process),
            ("--slot", slot),
            ("--threads", self.together.threads),
            ("--operations", self.together.operations),
        ];
        command.arg("work");
        for (name, number) in numbers {
            command.args([name, &number.to_string()]);
        }
        let arg = |command: &mut Command, name: &str, path: &Path| {
            command.arg(name).arg(path);
        };
        arg(&mut command, "--root", &self.place.root);
        arg(&mut command, "--sources", &self.place.sources);
        command
    }

    /// Kills everybody where nobody has said anything for long.
    fn watch(&self) {
        let silence = Duration::from_nanos(now().saturating_sub(self.last_line.load(Ordering::Relaxed)));
        if silence < SILENCE || self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let detail = format!("nobody has said anything for {} s", silence.as_secs());
        self.findings.report(self.case, Promise::NoHang.broken(detail));
        let victims = self.victims.lock().unwrap_or_else(PoisonError::into_inner);
        for victim in victims.iter() {
            match kill(victim) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Opens the archive when everybody is gone, ends what waits, and looks at all of it.
    fn end(&self) {
        let process = self.next.fetch_add(1, Ordering::Relaxed);
        let (log, ended) = ending::look(self.place, (process, self.case), self.findings);
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log);
        if let Err(violation) = ended {
            self.findings.report(self.case, violation);
        }
    }

    fn judge(&self) {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let histories = Histories::new(&logs);
        self.findings.count_operations(histories.operations);
        for violation in histories.violations {
            self.findings.report(self.case, violation);
        }
        if self.is_over.load(Ordering::Relaxed) {
            let begun = logs.iter().flat_map(unended);
            begun.for_each(|line| {
                let detail = format!("never ended: {line}");
                self.findings.report(self.case, Promise::NoHang.broken(detail));
            });
        }
        for (name, history) in &histories.names {
            if let Err(unexplained) = explain(history) {
                let detail = format!("{name}, {} operations: {unexplained}", history.len());
                self.findings
                    .report(self.case, Promise::Linearizable.broken(detail));
            }
        }
    }
}

/// Returns what a process has begun and not ended.
fn unended(log: &Log) -> Vec<&Line> {
    let is_end = |line: &&Line| matches!(line.said, Said::End(_));
    let ended: Vec<u64> = log.lines.iter().filter(is_end).map(|line| line.number).collect();
    let is_left = |line: &&Line| matches!(line.said, Said::Begin(_)) && !ended.contains(&line.number);
    log.lines.iter().filter(is_left).collect()
}
