//! Signals: the first asks the command to end, the second ends the program as if nobody listened.
//!
//! Handlers only set flags. Whatever may take long asks [`Interrupt::is_set`] between pieces of work: observers of the
//! library through [`Progress`](crate::progress::Progress), loops over listings themselves, and [`Patient`] while it waits
//! for a pipe.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bfdb::archive::{Event, Observer};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::exit;

const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// How long a wait for bytes goes on before the flag is looked at again: a signal between the look and the wait ends no
/// wait by itself.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Whether, and by which signal, the command was asked to end.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    /// 0 is none.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on. A signal that the surroundings ignore (`nohup`) stays ignored.
    pub(crate) fn listen() -> Self {
        let interrupt = Self::default();
        let is_asked = Arc::new(AtomicBool::new(false));
        let ignored = ignored_signals();
        for signal in SIGNALS {
            if ignored & (1 << (signal - 1)) != 0 {
                continue;
            }
            let number = usize::try_from(signal).expect("signals are positive");
            // In this order: only a second signal finds the flag set when it comes. Where a handler cannot be had the
            // signal ends the program, which loses nothing either.
            let registered = flag::register_conditional_default(signal, Arc::clone(&is_asked))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&interrupt.signal), number))
                .and_then(|_| flag::register(signal, Arc::clone(&is_asked)));
            registered.ok();
        }
        interrupt
    }

    /// Says whether the command should end.
    pub(crate) fn is_set(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Returns the exit code of a command that ended because it was asked to, as shells report it.
    pub(crate) fn exit_code(&self) -> u8 {
        let signal = self.signal.load(Ordering::Relaxed);
        u8::try_from(signal)
            .ok()
            .filter(|&signal| signal != 0)
            .and_then(|signal| signal.checked_add(128))
            .unwrap_or(exit::INTERRUPTED)
    }
}

/// For work that shows no progress.
impl Observer for Interrupt {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        self.is_set()
    }
}

/// Returns the signals that are ignored already, bit 0 is signal 1; none where the system does not tell.
fn ignored_signals() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel's word about this process, no file of anybody"
    )]
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Reads what may never come: a pipe or a terminal, until its end or until the command is asked to end.
pub(crate) struct Patient<'a, R> {
    source: R,
    interrupt: &'a Interrupt,
}

impl<'a, R: AsFd> Patient<'a, R> {
    /// `source` must keep nothing back that was read already.
    pub(crate) fn new(source: R, interrupt: &'a Interrupt) -> Self {
        Self { source, interrupt }
    }
}

impl<R: AsFd> Read for Patient<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.interrupt.is_set() {
                // Not `ErrorKind::Interrupted`: readers try that again.
                return Err(io::Error::other("interrupted"));
            }
            let mut waited_for = [PollFd::new(&self.source, PollFlags::IN)];
            match poll(&mut waited_for, Some(&PATIENCE)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match rustix::io::read(&self.source, &mut *into) {
                // Another reader of the same pipe was faster.
                Err(Errno::INTR | Errno::AGAIN) => {}
                read => return Ok(read?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_wait_for_bytes_that_never_come_ends_when_the_command_is_asked_to() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let interrupt = Interrupt::default();
        writer.write_all(b"abc").expect("room");
        let mut patient = Patient::new(&reader, &interrupt);
        let mut bytes = [0; 8];
        assert_eq!(patient.read(&mut bytes).expect("readable"), 3);
        interrupt.signal.store(15, Ordering::Relaxed);
        let error = patient.read(&mut bytes).expect_err("nothing will come");
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_eq!(interrupt.exit_code(), 143);
        drop(writer);
    }

    #[test]
    fn without_a_signal_the_code_is_that_of_ctrl_c() {
        assert_eq!(Interrupt::default().exit_code(), exit::INTERRUPTED);
        assert!(!Interrupt::default().is_set());
    }
}
