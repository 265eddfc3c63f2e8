//! A process that is started, listened to, and killed: at a call of its own, after a line, or at a moment.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, Scope},
    time::Duration,
};

use super::storage::{Death, Moment};
use crate::Seeded;

/// How a process ends before its work does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At a call of its own.
    At(Death),
    /// Some time after it has said so many lines.
    AfterLines(u64),
    /// So long after it has said so many lines, or was started: in the middle of whatever it does then.
    AfterTime {
        /// The lines.
        lines: u64,
        /// How long.
        time: Duration,
    },
}

impl End {
    /// Chooses one; `lines` and `micros` are about what a process takes for all of its work.
    pub(crate) fn choose(seeded: &mut Seeded, (lines, micros): (u64, u64)) -> Self {
        match seeded.below(8) {
            0 => Self::AfterLines(1 + seeded.below(lines)),
            1 | 2 => Self::AfterTime {
                lines: seeded.below(lines / 2),
                time: Duration::from_micros(seeded.below(micros)),
            },
            // Most are early: what a process does first is to settle what the one before has left.
            _ => {
                let reach = [40, 150, 600][seeded.index(3)];
                Self::At(Death {
                    call: 1 + seeded.below(reach),
                    moment: [Moment::Before, Moment::Within, Moment::Behind][seeded.index(3)],
                })
            }
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A signal, and nobody else sends any.
    Killed,
    /// It came to its end.
    Well,
    /// It failed, and said this.
    Failed(String),
}

/// A process that others may kill, too.
pub(crate) type Victim = Arc<Mutex<Child>>;

/// Kills a process, unless it has ended.
pub(crate) fn kill(victim: &Victim) -> io::Result<()> {
    victim.lock().unwrap_or_else(PoisonError::into_inner).kill()
}

/// Starts a process, listens to every whole line that it says, kills it when it is time, and waits for its end.
pub(crate) fn attend(
    mut command: Command,
    end: Option<End>,
    started: &dyn Fn(&Victim),
    listen: &mut dyn FnMut(&str),
) -> io::Result<Ended> {
    if let Some(End::At(death)) = end {
        command.args(["--at", &death.to_string()]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut out = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut errors = child.stderr.take().expect("it is a pipe");
    let victim: Victim = Arc::new(Mutex::new(child));
    started(&victim);
    thread::scope(|scope| -> io::Result<()> {
        let mut timer = is_time(end, 0, (scope, &victim))?;
        let mut said = Vec::new();
        for lines in 1.. {
            said.clear();
            // What it has said before its death is read to the end; what it has said by halves counts for nothing.
            if out.read_until(b'\n', &mut said)? == 0 || said.pop() != Some(b'\n') {
                break;
            }
            listen(&String::from_utf8_lossy(&said));
            timer = is_time(end, lines, (scope, &victim))?.or(timer);
        }
        drop(timer);
        Ok(())
    })?;
    let mut said = String::new();
    errors.read_to_string(&mut said)?;
    let status = victim.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
    Ok(match status.code() {
        None => Ended::Killed,
        Some(0) => Ended::Well,
        Some(code) => Ended::Failed(format!("exit status {code}: {}", said.trim())),
    })
}

/// Kills a process that has said so many lines, or sets a timer for that. A timer whose other end is dropped does nothing.
fn is_time<'scope>(
    end: Option<End>,
    said: u64,
    (scope, victim): (&'scope Scope<'scope, '_>, &Victim),
) -> io::Result<Option<Sender<()>>> {
    match end {
        Some(End::AfterLines(lines)) if lines == said => kill(victim).map(|()| None),
        Some(End::AfterTime { lines, time }) if lines == said => {
            let (over, waiting) = channel::<()>();
            let victim = Arc::clone(victim);
            scope.spawn(move || {
                if waiting.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                    match kill(&victim) {
                        Ok(()) | Err(_) => {}
                    }
                }
            });
            Ok(Some(over))
        }
        Some(End::At(_) | End::AfterLines(_) | End::AfterTime { .. }) | None => Ok(None),
    }
}
