//! The directories below a target: entered one from the other, never through a symbolic link.
//!
//! The last few are kept open, because files come in the order of their names. One that is kept is used again only while
//! the whole path from the target, without links, still leads to it; the system walks that in one step (`openat2`), and
//! where it cannot, we do. So a directory that was moved or removed meanwhile, or moved and linked back, is missed from
//! the next file on. Looking at the last step alone, or by a path that may have links in it, would cost less, and would
//! go on filling a directory that somebody has moved out of the target.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs::{DirBuilder, File},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, open, openat, openat2},
    io::Errno,
};

use super::{
    super::{
        directory::{kind_at, sync_opened_directory},
        files::create_directories,
    },
    MAX_TRIES,
    file_system::FileSystem,
};
use crate::{
    error::{HostError, HostOperation},
    storage::HostStorage,
    units::FileName,
};

/// What a restored directory may be at most; the process's mask takes away from it.
const DIRECTORY_MODE: u32 = 0o777;
/// How many directories are kept open.
const MAX_KEPT: usize = 64;
/// How many file systems are kept open to be synced as a whole; a tree has one or two.
const MAX_FILE_SYSTEMS: usize = 16;

/// The target and the directories below it.
#[derive(Debug)]
pub(super) struct Tree {
    root: Arc<Directory>,
    path: PathBuf,
    /// The last used first.
    kept: Mutex<VecDeque<Kept>>,
    file_systems: Mutex<Vec<Arc<FileSystem>>>,
    open_count: OpenCount,
}

/// A directory that is kept open, and its path below the target.
type Kept = (Box<[u8]>, Arc<Directory>);

/// A directory that was entered.
#[derive(Debug)]
pub(super) struct Directory {
    opened: OwnedFd,
    identity: Identity,
    /// How many steps it is below the target.
    depth: usize,
    file_system: Arc<FileSystem>,
    #[expect(dead_code, reason = "it counts by being there")]
    counted: OpenCount,
}

/// How many directories of a tree are open: as many as there are clones of it, less the tree's own.
#[derive(Debug, Clone, Default)]
struct OpenCount(Arc<()>);

/// Device and inode: no other directory has them while this one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

/// What happens when a directory on the way is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Fail,
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, HostError> {
        create_directories(&HostStorage, path, |missing| {
            DirBuilder::new().mode(DIRECTORY_MODE).create(missing)
        })?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty()).map_err(HostError::io(HostOperation::Open, path))?;
        let found = fstat(&opened).map_err(HostError::io(HostOperation::Inspect, path))?;
        let file_system = Arc::new(FileSystem::of_directory(&opened, found.st_dev));
        let open_count = OpenCount::default();
        Ok(Self {
            file_systems: Mutex::new(vec![Arc::clone(&file_system)]),
            root: Arc::new(Directory {
                opened,
                identity: Identity::of(&found),
                depth: 0,
                file_system,
                counted: open_count.clone(),
            }),
            open_count,
            path: path.to_owned(),
            kept: Mutex::default(),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of something below the target, for messages.
    pub(super) fn path_of(&self, below: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(below))
    }

    /// Returns how many directories are open, kept or in use.
    pub(super) fn open_count(&self) -> usize {
        Arc::strong_count(&self.open_count.0) - 1
    }

    /// Enters the directory that holds a name.
    pub(super) fn parent_of(&self, name: &FileName, missing: Missing) -> Result<Arc<Directory>, HostError> {
        self.directory(split(name).0, missing)
    }

    /// Enters a directory by its path below the target; the empty path is the target.
    fn directory(&self, path: &[u8], missing: Missing) -> Result<Arc<Directory>, HostError> {
        let (mut directory, mut entered_len) = self.nearest_kept(path);
        while entered_len < path.len() {
            let start = if entered_len == 0 { 0 } else { entered_len + 1 };
            let part = path[start..]
                .split(|&byte| byte == b'/')
                .next()
                .expect("a split has a first part");
            entered_len = start + part.len();
            let below = &path[..entered_len];
            directory = Arc::new(self.enter(&directory, part, missing, below)?);
            self.keep(below, &directory);
        }
        Ok(directory)
    }

    /// Finds the kept directory that the path goes farthest along, and how much of the path leads there.
    fn nearest_kept(&self, path: &[u8]) -> (Arc<Directory>, usize) {
        let mut len = path.len();
        while len > 0 {
            let below = &path[..len];
            if let Some(directory) = self.kept_as(below) {
                if self.still_leads_to(below, &directory) {
                    return (directory, len);
                }
                self.kept().retain(|(_, kept)| !Arc::ptr_eq(kept, &directory));
            }
            len = below.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        }
        (Arc::clone(&self.root), 0)
    }

    fn kept_as(&self, path: &[u8]) -> Option<Arc<Directory>> {
        let mut kept = self.kept();
        let index = kept.iter().position(|(kept_path, _)| **kept_path == *path)?;
        let found = kept.remove(index)?;
        let directory = Arc::clone(&found.1);
        kept.push_front(found);
        Some(directory)
    }

    fn still_leads_to(&self, path: &[u8], directory: &Directory) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let no_way_out = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        openat2(&self.root.opened, path, flags, Mode::empty(), no_way_out)
            .and_then(fstat)
            .is_ok_and(|found| Identity::of(&found) == directory.identity)
    }

    /// Keeps a directory open for those that come next.
    pub(super) fn keep(&self, path: &[u8], directory: &Arc<Directory>) {
        let mut kept = self.kept();
        kept.retain(|(kept_path, _)| **kept_path != *path);
        kept.push_front((path.into(), Arc::clone(directory)));
        kept.truncate(MAX_KEPT);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the directory `part` of `parent`, and makes it when it is missing and may be made; `below` is its whole path.
    pub(super) fn enter(
        &self,
        parent: &Directory,
        part: &[u8],
        missing: Missing,
        below: &[u8],
    ) -> Result<Directory, HostError> {
        // PATH: entering takes no permission to list.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = || self.path_of(below);
        for _ in 0..MAX_TRIES {
            match openat(&parent.opened, part, flags, Mode::empty()) {
                Ok(opened) => return self.entered(opened, parent, &path()),
                Err(Errno::NOENT) if missing == Missing::Make => {
                    match mkdirat(&parent.opened, part, Mode::from_raw_mode(DIRECTORY_MODE)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => {
                            return Err(HostError::io(HostOperation::CreateDirectory, &path())(errno));
                        }
                    }
                }
                Err(errno) => return Err(not_entered(parent, part, errno, path())),
            }
        }
        Err(HostError::io(HostOperation::CreateDirectory, &path())(
            Errno::NOENT,
        ))
    }

    fn entered(&self, opened: OwnedFd, parent: &Directory, path: &Path) -> Result<Directory, HostError> {
        let found = fstat(&opened).map_err(HostError::io(HostOperation::Inspect, path))?;
        let file_system = if found.st_dev == parent.file_system.device() {
            Arc::clone(&parent.file_system)
        } else {
            self.file_system_of(&opened, found.st_dev)
        };
        Ok(Directory {
            opened,
            identity: Identity::of(&found),
            depth: parent.depth + 1,
            file_system,
            counted: self.open_count.clone(),
        })
    }

    /// Something else is mounted here.
    fn file_system_of(&self, directory: &OwnedFd, device: u64) -> Arc<FileSystem> {
        let mut known = self.file_systems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|known| known.device() == device) {
            return Arc::clone(found);
        }
        if known.len() == MAX_FILE_SYSTEMS {
            return Arc::new(FileSystem::one_by_one(device));
        }
        let file_system = Arc::new(FileSystem::of_directory(directory, device));
        known.push(Arc::clone(&file_system));
        file_system
    }

    /// Syncs every file system that can be synced as a whole.
    pub(super) fn sync_all(&self) -> Result<(), HostError> {
        let known = self
            .file_systems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // All of them, whatever one says: what can be made durable is.
        let outcomes: Vec<_> = known.iter().map(|file_system| file_system.sync()).collect();
        outcomes
            .into_iter()
            .collect::<Result<(), Errno>>()
            .map_err(HostError::io(HostOperation::Sync, &self.path))
    }
}

impl Directory {
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_fd()
    }

    pub(super) fn file_system(&self) -> &Arc<FileSystem> {
        &self.file_system
    }

    /// Makes durable every name from those in this directory up to the first part below the target. Others may have made
    /// the directories without asking for that, so none is left out.
    pub(super) fn sync_upwards(&self, path: &Path) -> Result<(), HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let step = |from: BorrowedFd<'_>, to: &str| {
            let opened = openat(from, to, flags, Mode::empty());
            opened
                .map(File::from)
                .map_err(HostError::io(HostOperation::Sync, path))
        };
        let mut directory = step(self.opened.as_fd(), ".")?;
        sync_opened_directory(&directory, path)?;
        for _ in 0..self.depth {
            directory = step(directory.as_fd(), "..")?;
            sync_opened_directory(&directory, path)?;
        }
        Ok(())
    }
}

impl Identity {
    fn of(found: &Stat) -> Self {
        Self(found.st_dev, found.st_ino)
    }
}

/// Cuts a name into the path of its directory and its last part.
pub(super) fn split(name: &FileName) -> (&[u8], &[u8]) {
    let bytes = name.as_bytes();
    match bytes.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (&[], bytes),
    }
}

/// Says why a directory could not be entered.
pub(super) fn not_entered(parent: &Directory, part: &[u8], errno: Errno, path: PathBuf) -> HostError {
    match errno {
        Errno::NOTDIR | Errno::LOOP => HostError::NotDirectory {
            kind: kind_at(parent.as_fd(), Path::new(OsStr::from_bytes(part))),
            path,
        },
        errno => HostError::io(HostOperation::Open, &path)(errno),
    }
}

#[cfg(test)]
impl Tree {
    /// Opens a target on a file system that cannot be synced as a whole.
    pub(super) fn open_one_by_one(path: &Path) -> Self {
        let mut tree = Self::open(path).expect("a target");
        let root = Arc::get_mut(&mut tree.root).expect("nothing else has it yet");
        root.file_system = Arc::new(FileSystem::one_by_one(root.identity.0));
        tree.file_systems = Mutex::new(vec![Arc::clone(&root.file_system)]);
        tree
    }

    /// Returns how many directories are kept open.
    pub(super) fn kept_count(&self) -> usize {
        self.kept().len()
    }

    /// Returns the file system of the target.
    pub(super) fn file_system(&self) -> &FileSystem {
        &self.root.file_system
    }
}
