//! Runs a command as a process of its own, and says what it took.
//!
//! Wall time ends when the process has ended, before it is reaped. Processor time is what the system has noted of it and of children
//! that it waited for, in steps of a hundredth of a second. The peak of its memory is the kernel's own high-water mark, which is
//! gone with the process: it is read every few milliseconds, so only what comes in the last of them escapes.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    process::{Pid, Signal, WaitId, WaitIdOptions},
    time::ClockId,
};
use serde::Serialize;

/// How much of what a failed command printed is shown.
const SHOWN_BYTES: usize = 4000;

/// What a command took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Cost {
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_memory_bytes: u64,
}

impl Cost {
    /// Both one after the other.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            wall_seconds: self.wall_seconds + next.wall_seconds,
            cpu_seconds: self.cpu_seconds + next.cpu_seconds,
            peak_memory_bytes: self.peak_memory_bytes.max(next.peak_memory_bytes),
        }
    }
}

/// Runs a command that has to exit with `expected`, and shows what it printed where it does not.
///
/// `log` is a file that takes its output: a pipe that fills up would be part of the measurement.
pub(crate) fn run(
    command: &mut Command,
    expected: i32,
    log: &Path,
    interrupted: &AtomicBool,
) -> Result<Cost> {
    let shown = format!("{command:?}");
    let output = File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
    let (stop, stopped) = mpsc::channel::<()>();
    let pid = Pid::from_child(&child);
    let (ended, peak_memory_bytes) = thread::scope(|scope| {
        let watcher = scope.spawn(move || watch(pid, &stopped, interrupted));
        let ended = wait_unreaped(pid).map(|()| began.elapsed());
        drop(stop);
        (ended, watcher.join().expect("the watcher does not panic"))
    });
    let wall_seconds = ended?.as_secs_f64();
    let cpu_seconds = cpu_seconds_of(pid)?;
    let status = reap(&mut child)?;
    if interrupted.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    if status != Some(expected) {
        let how = status.map_or("by a signal".to_owned(), |code| format!("with {code}"));
        bail!(
            "{shown} ended {how}, expected was {expected}; it said:\n{}",
            end_of(log)?
        );
    }
    Ok(Cost {
        wall_seconds,
        cpu_seconds,
        peak_memory_bytes,
    })
}

/// Measures what this process does itself.
pub(crate) fn own(work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    work()?;
    Ok(Cost {
        wall_seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds() - cpu,
        peak_memory_bytes: 0,
    })
}

/// Follows the high-water mark of a process until it ends; after a signal, ends it.
fn watch(pid: Pid, stopped: &Receiver<()>, interrupted: &AtomicBool) -> u64 {
    let (began, mut peak) = (Instant::now(), 0);
    loop {
        peak = peak.max(high_water_bytes(pid).unwrap_or(0));
        if interrupted.load(Ordering::Relaxed) {
            // Where it is gone already there is nothing left to watch.
            if rustix::process::kill_process(pid, Signal::TERM).is_err() {
                return peak;
            }
        }
        // Short commands are looked at often, and long ones are not slowed down by it.
        let pause = (began.elapsed() / 32).clamp(Duration::from_micros(500), Duration::from_millis(10));
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return peak;
        }
    }
}

fn wait_unreaped(pid: Pid) -> Result<()> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options))?;
    Ok(())
}

fn reap(child: &mut Child) -> Result<Option<i32>> {
    Ok(child.wait()?.code())
}

fn high_water_bytes(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    parse_high_water(&status)
}

fn parse_high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// User and system time of a process that has ended and was not reaped, with those of its children.
fn cpu_seconds_of(pid: Pid) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    let ticks = parse_cpu_ticks(&stat).context("the system does not say what a process took")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    // The name of the program stands in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    (times.len() == 4).then(|| times.iter().sum())
}

fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The end of what a command has printed.
fn end_of(log: &Path) -> Result<String> {
    let bytes = fs::read(log)?;
    let shown = &bytes[bytes.len().saturating_sub(SHOWN_BYTES)..];
    Ok(String::from_utf8_lossy(shown).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, expected: i32, interrupted: &AtomicBool) -> Result<Cost> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(&mut command, expected, &dir.path().join("log"), interrupted)
    }

    #[test]
    fn times_and_memory_of_a_process_are_its_own() {
        // A child of the shell makes 64 MiB of nothing: its time counts, and the shell's memory does not grow by it.
        let cost = shell(
            "head -c 67108864 /dev/zero | sha512sum >/dev/null; exit 3",
            3,
            &AtomicBool::new(false),
        )
        .expect("it ran");
        assert!(cost.wall_seconds > 0.0, "it took no time");
        assert!(cost.cpu_seconds >= 0.01, "children took {} s", cost.cpu_seconds);
        assert!(
            cost.peak_memory_bytes > 100_000,
            "a shell in {} bytes",
            cost.peak_memory_bytes
        );
        assert!(
            cost.peak_memory_bytes < 60 << 20,
            "a shell in {} bytes",
            cost.peak_memory_bytes
        );
    }

    #[test]
    fn another_exit_status_than_expected_shows_what_was_said() {
        let error =
            shell("echo nobody expects this >&2; exit 5", 0, &AtomicBool::new(false)).expect_err("it failed");
        let text = error.to_string();
        assert!(text.contains("with 5, expected was 0"), "{text}");
        assert!(text.contains("nobody expects this"), "{text}");
        let error = shell("kill -9 $$", 0, &AtomicBool::new(false)).expect_err("it was killed");
        assert!(error.to_string().contains("by a signal"), "{error}");
    }

    #[test]
    fn a_signal_ends_the_command_that_runs() {
        let error = shell("exec sleep 1000", 0, &AtomicBool::new(true)).expect_err("it was ended");
        assert_eq!(error.to_string(), "interrupted");
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0";
        assert_eq!(parse_cpu_ticks(stat), Some(127));
        assert_eq!(parse_cpu_ticks("42 (a) S 1 2"), None);
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   123 kB\n";
        assert_eq!(parse_high_water(status), Some(123 * 1024));
        assert_eq!(parse_high_water("Name:\tzombie\n"), None);
    }
}
