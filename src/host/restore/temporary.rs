//! Temporary names: what something is called until it is whole.

use std::{
    ffi::OsStr,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, unlinkat},
    io::Errno,
};

use super::{
    super::{
        directory::{Existing, rename_into_place},
        random::{SystemRandomness, random_bytes},
    },
    MAX_TRIES,
    tree::{Directory, Missing, Tree, split},
};
use crate::{
    error::{HostError, HostOperation},
    units::FileName,
};

/// As long as no more directories than this are open, those with files that wait for their names stay so.
const MAX_OPEN: usize = 256;

/// Where something is restored to.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) tree: Arc<Tree>,
    pub(super) directory: Arc<Directory>,
    pub(super) name: FileName,
}

/// A source of names that collide with nothing: counted from a random number, and from another one if they do.
#[derive(Debug)]
pub(super) struct TemporaryNames {
    next: AtomicU64,
}

/// Something under its temporary name; dropped before [`Temporary::rename`] it is removed.
#[derive(Debug)]
pub(super) struct Temporary {
    tree: Arc<Tree>,
    directory: Hold,
    /// The final name, from the target.
    name: FileName,
    /// The temporary name, in the directory.
    part: PathBuf,
    stands_under: StandsUnder,
}

/// How a temporary name keeps its directory.
#[derive(Debug)]
enum Hold {
    /// Open: the name is found wherever the directory is moved to.
    Open(Arc<Directory>),
    /// Open only as long as others keep it so; then it is entered anew, by its path.
    Loose(Weak<Directory>),
}

/// Which of its names something has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandsUnder {
    TemporaryName,
    FinalName,
}

impl Spot {
    /// Returns the final name in its directory.
    pub(super) fn last(&self) -> &Path {
        last_of(&self.name)
    }

    /// Returns the path for messages: what it leads to may have changed.
    pub(super) fn path(&self) -> PathBuf {
        self.tree.path_of(self.name.as_bytes())
    }
}

impl TemporaryNames {
    pub(super) fn new() -> Result<Self, HostError> {
        Ok(Self {
            next: AtomicU64::new(random()?),
        })
    }

    /// Makes something under a name that nothing has: `make` says `EXIST` when something does.
    pub(super) fn make<T>(
        &self,
        spot: Spot,
        make: impl Fn(BorrowedFd<'_>, &Path) -> Result<T, Errno>,
    ) -> Result<(T, Temporary), HostError> {
        for _ in 0..MAX_TRIES {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let part = PathBuf::from(format!(".bfdb-{number:016x}.part"));
            match make(spot.directory.as_fd(), &part) {
                Ok(made) => {
                    let temporary = Temporary {
                        tree: spot.tree,
                        directory: Hold::Open(spot.directory),
                        name: spot.name,
                        part,
                        stands_under: StandsUnder::TemporaryName,
                    };
                    return Ok((made, temporary));
                }
                // Somebody who counts along is left behind.
                Err(Errno::EXIST) => self.next.store(random()?, Ordering::Relaxed),
                Err(errno) => return Err(HostError::io(HostOperation::Create, &spot.path())(errno)),
            }
        }
        Err(HostError::io(HostOperation::Create, &spot.path())(Errno::EXIST))
    }
}

impl Temporary {
    /// Returns the path that the final name will have, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.tree.path_of(self.name.as_bytes())
    }

    /// Returns where it would stand if its final name ended in `suffix`, in the same directory.
    pub(super) fn spot_with(&self, suffix: &str) -> Result<Spot, HostError> {
        let Ok(name) = FileName::from_bytes(&[self.name.as_bytes(), suffix.as_bytes()].concat()) else {
            // What makes no name of a name is its length.
            return Err(HostError::io(HostOperation::Rename, &self.path())(
                Errno::NAMETOOLONG,
            ));
        };
        Ok(Spot {
            tree: Arc::clone(&self.tree),
            directory: self.directory()?,
            name,
        })
    }

    /// Gives it another final name in the same directory.
    pub(super) fn set_final_name(&mut self, name: FileName) {
        assert_eq!(split(&name).0, split(&self.name).0, "another directory");
        self.name = name;
    }

    /// Lets go of the directory if many are open, so that thousands that wait for their names run into no limit.
    pub(super) fn loosen(&mut self) {
        if let Hold::Open(directory) = &self.directory
            && self.tree.open_count() > MAX_OPEN
        {
            self.directory = Hold::Loose(Arc::downgrade(directory));
        }
    }

    /// Gives it its final name, and returns the directory that holds it.
    pub(super) fn rename(mut self, existing: Existing) -> Result<Arc<Directory>, HostError> {
        let directory = self.directory()?;
        rename_into_place(
            directory.as_fd(),
            &self.part,
            last_of(&self.name),
            existing,
            &self.path(),
        )?;
        self.stands_under = StandsUnder::FinalName;
        Ok(directory)
    }

    pub(super) fn directory(&self) -> Result<Arc<Directory>, HostError> {
        let kept = match &self.directory {
            Hold::Open(directory) => Some(Arc::clone(directory)),
            Hold::Loose(directory) => directory.upgrade(),
        };
        kept.map_or_else(|| self.tree.parent_of(&self.name, Missing::Fail), Ok)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.stands_under == StandsUnder::TemporaryName {
            // Nobody is left to tell: the name says what it is, and the next restore does not mind it.
            if let Ok(directory) = self.directory() {
                unlinkat(directory.as_fd(), &self.part, AtFlags::empty()).ok();
            }
        }
    }
}

fn last_of(name: &FileName) -> &Path {
    Path::new(OsStr::from_bytes(split(name).1))
}

fn random() -> Result<u64, HostError> {
    random_bytes(&SystemRandomness).map(u64::from_le_bytes)
}
