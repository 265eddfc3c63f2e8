//! Sessions: a file for every writing process, locked while it lives.
//!
//! A process makes its session before its first transaction. When it dies, however it dies, the kernel frees the lock, and
//! the next writer finds a session file without one: somebody has left work half done. A copied archive brings session
//! files along; that is the same case.
//!
//! It does not know what a session owns, nor how that is recovered: it hands out the proof that the owner is dead.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use rustix::system::uname;

use super::{
    Machine,
    clock::Clock,
    files::list_directory,
    lock::{Claim, LockedFile, contents_of, glance},
};
use crate::{
    error::HostError,
    storage::{Storage, StorageFile},
    units::SessionId,
};

/// Characters that a text in a session file keeps.
const MAX_TEXT_CHARACTERS: usize = 1024;

/// The session of this process: its file and the lock on it.
///
/// Dropped without [`Session::end`], it leaves the file without a lock, as a death does: the next writer recovers.
#[derive(Debug)]
pub struct Session {
    locked: LockedFile,
    id: SessionId,
}

/// Who works in a session, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The process.
    pub pid: u32,
    /// The machine it runs on.
    pub host_name: String,
    /// When it began, in seconds since 1970 (UTC).
    pub started_unix_seconds: i64,
    /// What it was told to do.
    pub command: String,
}

/// A session that was found.
#[derive(Debug)]
pub struct SeenSession {
    /// Which.
    pub id: SessionId,
    /// Whether somebody holds it.
    pub state: SessionState,
}

/// Whether the process of a session lives.
#[derive(Debug)]
pub enum SessionState {
    /// It does, or somebody else is clearing up after it this moment. `None` when the file does not say who it is.
    Live(Option<SessionInfo>),
    /// It does not; its lock is ours now.
    Dead(DeadSession),
}

/// A session whose process is dead, locked for whoever recovers what it left. Dropped, it is as it was: the next one finds it.
#[derive(Debug)]
#[must_use]
pub struct DeadSession {
    locked: LockedFile,
    id: SessionId,
    info: Option<SessionInfo>,
}

/// A session that was looked at without being touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionGlance {
    /// Which.
    pub id: SessionId,
    /// Whether its process lives.
    pub life: SessionLife,
    /// Who works or worked in it; `None` when the file does not say.
    pub info: Option<SessionInfo>,
}

/// Whether somebody holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionLife {
    /// Its process lives, or somebody is clearing up after it.
    Live,
    /// Its process is dead.
    Dead,
}

impl Session {
    /// Begins a session: makes `sessions_dir/<id as 16 hex digits>`, which nobody ever finds unlocked. When this returns,
    /// the file survives a crash of the machine, so that the next writer learns of it.
    ///
    /// # Errors
    /// [`HostError::Exists`] when there is a session of that id, [`HostError::Io`] when it cannot be made or locked.
    pub fn create(
        machine: &Machine,
        sessions_dir: &Path,
        id: SessionId,
        about: &SessionInfo,
    ) -> Result<Self, HostError> {
        let locked = LockedFile::create(machine, &path_of(sessions_dir, id), &about.to_bytes())?;
        Ok(Self { locked, id })
    }

    /// Returns its id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Says whether its file is still there: without it, others take what it owns back.
    ///
    /// # Errors
    /// [`HostError::Io`] when that cannot be told.
    pub fn has_its_file(&self) -> Result<bool, HostError> {
        self.locked.has_its_name()
    }

    /// Ends the session: removes its file, then lets go of the lock.
    ///
    /// # Errors
    /// [`HostError::Io`] when the file cannot be removed: the next writer will take the session for a dead one.
    pub fn end(self) -> Result<(), HostError> {
        self.locked.remove()
    }
}

impl DeadSession {
    /// Returns which session it was.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns who worked in it; `None` when the file does not say.
    pub fn info(&self) -> Option<&SessionInfo> {
        self.info.as_ref()
    }

    /// Removes the file, when nothing is left to recover.
    ///
    /// # Errors
    /// [`HostError::Io`]: the session will be found again.
    pub fn remove(self) -> Result<(), HostError> {
        self.locked.remove()
    }
}

impl SessionInfo {
    /// Describes this process.
    pub fn of_this_process(command: &str, clock: &dyn Clock) -> Self {
        Self {
            pid: std::process::id(),
            host_name: plain(&uname().nodename().to_string_lossy()),
            started_unix_seconds: clock.now().seconds(),
            command: plain(command),
        }
    }

    /// Reads the text of a session file; `None` when it does not say everything. Any bytes will do, and what comes out is
    /// safe to print: control characters are gone, lengths are bounded.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let value = |wanted: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find_map(|(key, value)| (key == wanted).then_some(value))
        };
        Some(Self {
            pid: value("pid")?.parse().ok()?,
            host_name: plain(value("host")?),
            started_unix_seconds: value("started")?.parse().ok()?,
            command: plain(value("command")?),
        })
    }

    /// Returns the text of a session file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        let Self {
            pid,
            host_name,
            started_unix_seconds,
            command,
        } = self;
        let (host_name, command) = (plain(host_name), plain(command));
        write!(
            text,
            "pid={pid}\nhost={host_name}\nstarted={started_unix_seconds}\ncommand={command}\n"
        )
        .expect("memory takes any text");
        text.into_bytes()
    }
}

/// Lists the sessions of an archive by id, the caller's own among them. **Locks the dead ones**: for a writer, who recovers
/// them; whoever only wants to know uses [`glance_at_sessions`]. Without the directory there are none.
///
/// # Errors
/// [`HostError::Io`] when the directory or one of the files cannot be read or locked, [`HostError::NotRegular`] when a
/// session is no file, [`HostError::Locked`] when lookers never let go of one: not knowing who works is no ground to go on.
pub fn sessions(machine: &Machine, sessions_dir: &Path) -> Result<Vec<SeenSession>, HostError> {
    let mut seen = Vec::new();
    for (id, path) in session_files(machine.storage.as_ref(), sessions_dir)? {
        let state = match LockedFile::claim(&machine.storage, &path)? {
            Claim::Gone => continue,
            Claim::Held(file) => SessionState::Live(info_in(file.as_ref(), &path)?),
            Claim::Taken(locked) => {
                let info = SessionInfo::parse(&locked.contents()?);
                SessionState::Dead(DeadSession { locked, id, info })
            }
        };
        seen.push(SeenSession { id, state });
    }
    Ok(seen)
}

/// Lists the sessions of an archive by id and takes none of them: what it says of the dead may be outdated at once.
///
/// # Errors
/// As [`sessions`].
pub fn glance_at_sessions(machine: &Machine, sessions_dir: &Path) -> Result<Vec<SessionGlance>, HostError> {
    let mut seen = Vec::new();
    for (id, path) in session_files(machine.storage.as_ref(), sessions_dir)? {
        if let Some(seen_file) = glance(machine.storage.as_ref(), &path)? {
            let life = if seen_file.is_held {
                SessionLife::Live
            } else {
                SessionLife::Dead
            };
            seen.push(SessionGlance {
                id,
                life,
                info: info_in(seen_file.file.as_ref(), &path)?,
            });
        }
    }
    Ok(seen)
}

fn info_in(file: &dyn StorageFile, path: &Path) -> Result<Option<SessionInfo>, HostError> {
    Ok(SessionInfo::parse(&contents_of(file, path)?))
}

/// Returns what is named like a session, by id; other names are not ours to judge.
fn session_files(storage: &dyn Storage, sessions_dir: &Path) -> Result<Vec<(SessionId, PathBuf)>, HostError> {
    let names = list_directory(storage, sessions_dir)?.unwrap_or_default();
    let of_session = |name: PathBuf| Some((id_in(name.as_os_str())?, sessions_dir.join(name)));
    let mut found: Vec<(SessionId, PathBuf)> = names.into_iter().filter_map(of_session).collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found)
}

fn path_of(sessions_dir: &Path, id: SessionId) -> PathBuf {
    sessions_dir.join(format!("{:016x}", id.get()))
}

/// Parses the one spelling that [`path_of`] writes.
fn id_in(name: &OsStr) -> Option<SessionId> {
    let name = name.to_str()?;
    let id = u64::from_str_radix(name, 16).ok()?;
    (format!("{id:016x}") == name).then_some(SessionId::new(id))
}

/// Makes a text that fits one line and does nothing to a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .take(MAX_TEXT_CHARACTERS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
