//! What befalls a volume.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bfdb::{
    error::FileKind,
    storage::{FileAccess, Storage as _},
};

use crate::{
    SimulatedStorage,
    simulation::{Fault, FaultRule, OperationKind},
};

/// What befalls a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// Everything on it is gone.
    Lost,
    /// It is put back as it was before.
    Stale,
    /// A copy of it lies below the archive.
    Doubled,
    /// It and another one have changed places.
    Swapped,
    /// It takes no writes from some operation on.
    ReadOnly,
    /// Every operation on it fails from some operation on, as on a disk that was pulled out.
    Gone,
    /// It and all others are there, and the catalog is not.
    WithoutCatalog,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Stale,
        Self::Doubled,
        Self::Swapped,
        Self::ReadOnly,
        Self::Gone,
        Self::WithoutCatalog,
    ];
}

/// Everything in a directory: files with what is in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Content(Vec<(PathBuf, Vec<u8>)>);

impl Content {
    /// Reads a directory and what is below it.
    pub(super) fn read(disk: &SimulatedStorage, directory: &Path) -> io::Result<Self> {
        let mut content = Self::default();
        content.add(disk, directory, Path::new(""))?;
        Ok(content)
    }

    fn add(&mut self, disk: &SimulatedStorage, directory: &Path, below: &Path) -> io::Result<()> {
        for name in disk.list(&directory.join(below))? {
            let below = below.join(name);
            let path = directory.join(&below);
            if disk.inspect(&path)?.kind == FileKind::Directory {
                self.add(disk, directory, &below)?;
                continue;
            }
            let file = disk.open(&path, FileAccess::Read)?;
            let mut bytes = vec![0; usize::try_from(file.info()?.len_bytes).map_err(io::Error::other)?];
            file.read_exact_at(0, &mut bytes)?;
            self.0.push((below, bytes));
        }
        Ok(())
    }

    /// Puts it into a directory, in the place of what is there.
    pub(super) fn put(&self, disk: &SimulatedStorage, directory: &Path) -> io::Result<()> {
        empty(disk, directory)?;
        for (below, bytes) in &self.0 {
            let path = directory.join(below);
            make_directories(disk, &path)?;
            let file = disk.create_new(&path)?;
            file.write_all_at(0, bytes)?;
            file.sync_all()?;
        }
        Ok(())
    }
}

fn make_directories(disk: &SimulatedStorage, path: &Path) -> io::Result<()> {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for directory in above
        .into_iter()
        .rev()
        .filter(|directory| directory.parent().is_some())
    {
        match disk.create_directory(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Removes every file below a directory.
pub(super) fn empty(disk: &SimulatedStorage, directory: &Path) -> io::Result<()> {
    let names = match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        let path = directory.join(name);
        if disk.inspect(&path)?.kind == FileKind::Directory {
            empty(disk, &path)?;
        } else {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

/// Spoils a volume under the hands of whoever uses it, from an operation of a number on, until the flag is down.
pub(super) fn spoil(
    disk: &SimulatedStorage,
    (mishap, directory): (Mishap, PathBuf),
    from: u64,
) -> Arc<AtomicBool> {
    let is_up = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&is_up);
    disk.add_rule(FaultRule::from_fn(move |asked| {
        let is_meant = asked.number >= from && asked.path.starts_with(&directory);
        if !is_meant || !flag.load(Ordering::Relaxed) {
            return None;
        }
        let is_writing = asked.kind.is_mutating()
            || (asked.kind == OperationKind::Open && asked.access == Some(FileAccess::ReadWrite));
        match mishap {
            Mishap::ReadOnly => is_writing.then_some(Fault::ReadOnly),
            Mishap::Lost
            | Mishap::Stale
            | Mishap::Doubled
            | Mishap::Swapped
            | Mishap::Gone
            | Mishap::WithoutCatalog => Some(Fault::Io),
        }
    }));
    is_up
}
