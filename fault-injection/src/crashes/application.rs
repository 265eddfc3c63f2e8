//! An application that embeds the engine, as a [`Scenario`]: its own code, its own notes of what it was told, its own check.
//!
//! The archive and whatever the application keeps beside it lie on one simulated disk, so that crashes fall between the
//! changes of both. While the application runs it notes what it was told ([`Watched::note`]). Of each image the engine's
//! contract is checked first, on copies, as far as it can be known without notes: readable, recoverable, whole, nothing
//! leaked, the journal one chain. Then the check of the application starts it again on the image and compares with the notes.
//! What that start does to the disk is its recovery, and is crashed too.
//!
//! ```
//! use std::{error::Error, path::Path};
//!
//! use bfdb::{host::Machine, storage::FileAccess};
//! use bfdb_fault_injection::crashes::{Application, Effort, Findings, Restarted, Watched, explore, inject};
//!
//! /// A file that holds one number.
//! fn store(machine: &Machine, number: u8) -> std::io::Result<()> {
//!     let file = machine.storage.create_new(Path::new("/number"))?;
//!     file.write_all_at(0, &[number])?;
//!     file.sync_all()?;
//!     machine.storage.sync_directory(Path::new("/"))
//! }
//!
//! fn run(watched: &mut Watched<'_, Option<u8>>) -> Result<(), Box<dyn Error>> {
//!     store(&watched.machine(), 7)?;
//!     watched.note(|stored| *stored = Some(7)); // told, so from here on it has to be there
//!     Ok(())
//! }
//!
//! fn check(restarted: &Restarted, stored: &Option<u8>) -> Result<(), Box<dyn Error>> {
//!     let Some(number) = stored else { return Ok(()) };
//!     let mut found = [0];
//!     let file = restarted.machine().storage.open(Path::new("/number"), FileAccess::Read)?;
//!     file.read_exact_at(0, &mut found)?;
//!     if found == [*number] { Ok(()) } else { Err(format!("it is {found:?}").into()) }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let application = Application::new("number", run, check);
//! let findings = Findings::default();
//! explore(&application, 1, &Effort::default(), &findings)?;
//! inject(&application, 1, 100, &findings)?;
//! assert!(findings.violations().is_empty(), "{findings}");
//! # Ok(())
//! # }
//! ```

use std::{
    cell::Cell,
    error::Error,
    fmt,
    hash::{DefaultHasher, Hash, Hasher as _},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::host::Machine;

use super::{
    image::Image,
    moments::Moments,
    scenario::{Ground, Level, Record, Recovery, Scenario, State, Verdict},
    setting::explained,
    sources::Sources,
    unnoted::check_unnoted,
    violation::{Promise, Violation, guarded},
};
use crate::{Seeded, SimulatedStorage};

/// What code of an application answers: that all is well, or what is wrong, with all causes.
pub type Answer = Result<(), Box<dyn Error>>;

type Prepare = dyn Fn(&SimulatedStorage, u64) + Send + Sync;
type Run<N> = dyn Fn(&mut Watched<'_, N>) -> Answer + Send + Sync;
type Check<N> = dyn Fn(&Restarted, &N) -> Answer + Send + Sync;

/// An application with a workload and a check; `N` is what it notes, like a `BTreeMap` from names to what was told of them. It is
/// cloned for each note, and hashed, since images of the same bytes and the same notes are checked once.
pub struct Application<N> {
    name: &'static str,
    archives: Arc<[PathBuf]>,
    first: N,
    prepare: Arc<Prepare>,
    run: Arc<Run<N>>,
    check: Arc<Check<N>>,
}

impl<N: Default> Application<N> {
    /// Takes its parts: `run` uses it and notes what it was told, `check` starts it again after a crash and says what is wrong.
    ///
    /// Both have to do the same whenever they are called with the same seed: one thread, time and randomness from
    /// [`Watched::machine`], an archive with [`resources`](super::setting::resources). An error that `run` returns is a
    /// violation, unless an error was injected that it may be told of.
    ///
    /// # Panics
    /// When the name has a colon in it: it is the first part of the name of each case.
    pub fn new(
        name: &'static str,
        run: impl Fn(&mut Watched<'_, N>) -> Answer + Send + Sync + 'static,
        check: impl Fn(&Restarted, &N) -> Answer + Send + Sync + 'static,
    ) -> Self {
        assert!(!name.contains(':'), "a colon ends the name in a case: {name}");
        Self {
            name,
            archives: Arc::default(),
            first: N::default(),
            prepare: Arc::new(|_, _| {}),
            run: Arc::new(run),
            check: Arc::new(check),
        }
    }
}

impl<N> Application<N> {
    /// Says where an archive lies on the disk: it gets all checks of the engine on every image on which there is one.
    #[must_use]
    pub fn with_archive(mut self, root: impl Into<PathBuf>) -> Self {
        let known = self.archives.iter().cloned();
        self.archives = known.chain([root.into()]).collect();
        self
    }

    /// Does something before the disk is watched, like making the archive: no crash and no error comes in there, and all of
    /// it is durable. `notes` is what holds then. The second parameter is the seed.
    #[must_use]
    pub fn beginning_with(
        mut self,
        notes: N,
        prepare: impl Fn(&SimulatedStorage, u64) + Send + Sync + 'static,
    ) -> Self {
        self.first = notes;
        self.prepare = Arc::new(prepare);
        self
    }
}

impl<N: fmt::Debug> fmt::Debug for Application<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Application")
            .field("name", &self.name)
            .field("archives", &self.archives)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

/// The disk while the application runs on it.
pub struct Watched<'a, N> {
    disk: &'a SimulatedStorage,
    sources: &'a Sources,
    seed: u64,
    seeded: Seeded,
    notes: N,
    moments: Moments<Noted<N>>,
    parts: (Arc<[PathBuf]>, Arc<Check<N>>),
}

impl<N: fmt::Debug> fmt::Debug for Watched<'_, N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watched")
            .field("disk", &self.disk)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl<N: Clone + Hash + Send + Sync + 'static> Watched<'_, N> {
    /// Returns the disk, for files beside the archive.
    pub const fn disk(&self) -> &SimulatedStorage {
        self.disk
    }

    /// Returns a machine with this disk, for [`bfdb::Archive::create_on`] and [`bfdb::Archive::open_on`]. Each has random
    /// numbers of its own, as another process has.
    pub fn machine(&mut self) -> Machine {
        self.disk.machine(self.seeded.next_u64())
    }

    /// Returns the seed that everything random is to follow from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns a number below a bound that follows from the seed.
    pub fn choose(&mut self, bound: u64) -> u64 {
        self.seeded.below(bound)
    }

    /// Returns a directory of the host for files that are committed by their path: it stays as long as any image is checked,
    /// so that a commit that waits can be resumed.
    pub fn host_directory(&self) -> &Path {
        self.sources.directory()
    }

    /// Returns what was noted so far.
    pub const fn notes(&self) -> &N {
        &self.notes
    }

    /// Notes something: from here on a crash leaves a disk of which this holds. Note what may happen *before* it is asked for,
    /// and what is certain *after* the answer came.
    pub fn note(&mut self, change: impl FnOnce(&mut N)) {
        change(&mut self.notes);
        let (archives, check) = &self.parts;
        self.moments.note(&Noted {
            archives: Arc::clone(archives),
            check: Arc::clone(check),
            notes: self.notes.clone(),
        });
    }
}

/// A disk after a crash, with nobody on it: what the machine finds when it comes back.
#[derive(Debug)]
pub struct Restarted {
    disk: SimulatedStorage,
    seed: u64,
    machines: Cell<u64>,
    recovered: Cell<Option<u64>>,
}

impl Restarted {
    /// Returns the disk.
    pub const fn disk(&self) -> &SimulatedStorage {
        &self.disk
    }

    /// Returns a machine with this disk. Each has random numbers of its own, as another process has.
    pub fn machine(&self) -> Machine {
        self.machines.set(self.machines.get() + 1);
        self.disk.machine(self.seed ^ (self.machines.get() << 32))
    }

    /// Says that the start of the application is over. What the check does to the disk before this call is recovery: some are
    /// crashed too, and the same notes have to hold behind that. Without this call all of it is.
    pub fn recovered(&self) {
        self.recovered.set(Some(self.disk.counts().mutating()));
    }
}

/// What holds from one moment on.
struct Noted<N> {
    archives: Arc<[PathBuf]>,
    check: Arc<Check<N>>,
    notes: N,
}

impl<N: Clone> Clone for Noted<N> {
    fn clone(&self) -> Self {
        Self {
            archives: Arc::clone(&self.archives),
            check: Arc::clone(&self.check),
            notes: self.notes.clone(),
        }
    }
}

impl<N: Clone + Hash + Send + Sync + 'static> State for Noted<N> {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.notes.hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self, image: &Image, seed: u64) -> Result<Verdict, Violation> {
        let mut minor = Vec::new();
        for root in self.archives.iter() {
            let leaks = check_unnoted(image, root, seed)?;
            minor.extend(leaks.into_iter().map(|leak| Promise::NoLeak.broken(leak)));
        }
        guarded(|| {
            let restarted = Restarted {
                disk: image.fork(),
                seed,
                machines: Cell::new(0),
                recovered: Cell::new(None),
            };
            let wrong = |error: Box<dyn Error>| Promise::Application.broken(explained(error.as_ref()));
            (self.check)(&restarted, &self.notes).map_err(wrong)?;
            let disk = &restarted.disk;
            if disk.refused_waits() > 0 {
                return Err(Promise::NoHang.broken("the check waits for a lock that nobody gives back"));
            }
            let last = restarted.recovered.get().unwrap_or(disk.counts().mutating());
            let recovery = Some(Recovery::until(disk, last, Box::new(self.clone())));
            Ok(Verdict { minor, recovery })
        })
    }
}

impl<N: Clone + Hash + Send + Sync + 'static> Scenario for Application<N> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn level(&self) -> Level {
        Level::Engine
    }

    fn ground(&self, seed: u64) -> Ground {
        let disk = SimulatedStorage::new();
        (self.prepare)(&disk, seed);
        Ground {
            disk: disk.settled(),
            has_archive: false,
        }
    }

    fn play(&self, ground: &Ground, sources: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let first = Noted {
            archives: Arc::clone(&self.archives),
            check: Arc::clone(&self.check),
            notes: self.first.clone(),
        };
        let mut watched = Watched {
            disk: &ground.disk,
            sources,
            seed,
            seeded: Seeded::new(seed),
            notes: self.first.clone(),
            moments: Moments::new(&ground.disk, first),
            parts: (Arc::clone(&self.archives), Arc::clone(&self.check)),
        };
        if let Err(error) = (self.run)(&mut watched) {
            watched.moments.is_surprised(error.as_ref());
        }
        Ok(Box::new(watched.moments))
    }
}
