//! An application that keeps an index beside its archive, through every crash and error of its disk.
//!
//! `Album` is the application: an archive of photos, and a file that names those that are in the album. Below it stands all that
//! is needed to try it: what it does, what it notes of the answers, and what has to hold after a crash. With
//! [`Order::IndexFirst`] it has a mistake that a crash shows, and the trial finds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitOptions, OpenOptions,
    host::Machine,
    storage::{FileAccess, Replace, Storage},
};
use bfdb_fault_injection::crashes::{
    Application, Effort, Enough, Findings, Restarted, Watched, explore, inject, resources, small_policy,
    trace_of,
};

// ---- The application ----

/// What is done first when a photo is added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The commit: right.
    CommitFirst,
    /// The line in the index: a mistake.
    IndexFirst,
}

/// Photos in an archive, and a file beside it with the names of those that belong to the album.
struct Album {
    archive: Archive,
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    names: BTreeSet<String>,
    order: Order,
}

impl Album {
    fn create(machine: &Machine, directory: &Path) -> Result<(), Box<dyn Error>> {
        machine.storage.create_directory(directory)?;
        machine.storage.sync_directory(Path::new("/"))?;
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
            volumes: Vec::new(),
        };
        Archive::create_on(machine, &directory.join("photos.bfdb"), &options)?.close()?;
        Ok(write_index(
            machine.storage.as_ref(),
            directory,
            &BTreeSet::new(),
        )?)
    }

    /// Opens it, and takes up photos that were stored when the machine stopped before the index named them.
    fn open(machine: &Machine, directory: &Path, order: Order) -> Result<Self, Box<dyn Error>> {
        let options = OpenOptions {
            access: Access::Write,
            resources: resources(),
            volumes: Vec::new(),
        };
        let (archive, _) = Archive::open_on(machine, &directory.join("photos.bfdb"), &options)?;
        let mut names = read_index(machine.storage.as_ref(), directory)?;
        let known = names.len();
        for photo in archive.snapshot()?.files(None) {
            names.insert(photo?.name.to_string());
        }
        if names.len() > known {
            write_index(machine.storage.as_ref(), directory, &names)?;
        }
        Ok(Self {
            archive,
            storage: Arc::clone(&machine.storage),
            directory: directory.to_path_buf(),
            names,
            order,
        })
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.names.insert(name.to_owned());
        if self.order == Order::IndexFirst {
            write_index(self.storage.as_ref(), &self.directory, &self.names)?;
        }
        let len = u64::try_from(bytes.len())?;
        self.archive
            .commit(&name.parse()?, bytes, len, &CommitOptions::default())?;
        if self.order == Order::CommitFirst {
            write_index(self.storage.as_ref(), &self.directory, &self.names)?;
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut bytes = Vec::new();
        let mut photo = self.archive.snapshot()?.open_file(&name.parse()?, Arc::new(()))?;
        photo.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn read_index(storage: &dyn Storage, directory: &Path) -> io::Result<BTreeSet<String>> {
    let index = storage.open(&directory.join("index"), FileAccess::Read)?;
    let len = usize::try_from(index.info()?.len_bytes).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    index.read_exact_at(0, &mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Puts a new index in the place of the old one, in one step.
fn write_index(storage: &dyn Storage, directory: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    let (new, index) = (directory.join("index.new"), directory.join("index"));
    match storage.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = storage.create_new(&new)?;
    let text: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    file.write_all_at(0, text.as_bytes())?;
    file.sync_all()?;
    storage.rename(&new, &index, Replace::File)?;
    storage.sync_directory(directory)
}

// ---- Its trial ----

const ALBUM: &str = "/album";
const PHOTOS: [(&str, usize); 2] = [("geysir", 1500), ("gullfoss", 5000)];

/// What the album was told of a photo.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    /// It was asked for, and may be there or not.
    Asked,
    /// It was added, and has to be there from now on.
    Added,
}

type Notes = BTreeMap<&'static str, Told>;

fn run(watched: &mut Watched<'_, Notes>, order: Order) -> Result<(), Box<dyn Error>> {
    let mut album = Album::open(&watched.machine(), Path::new(ALBUM), order)?;
    for (name, len) in PHOTOS {
        watched.note(|notes| notes.extend([(name, Told::Asked)]));
        album.add(name, &photo(name, len))?;
        watched.note(|notes| notes.extend([(name, Told::Added)]));
    }
    Ok(album.archive.close()?)
}

fn check(restarted: &Restarted, notes: &Notes, order: Order) -> Result<(), Box<dyn Error>> {
    let album = Album::open(&restarted.machine(), Path::new(ALBUM), order)?;
    for (name, len) in PHOTOS {
        match (album.names.contains(name), notes.get(name)) {
            (true, None) => return Err(format!("{name} was never asked for").into()),
            (false, Some(Told::Added)) => return Err(format!("{name} was added and is gone").into()),
            (true, Some(_)) if album.read(name)? != photo(name, len) => {
                return Err(format!("{name} has other bytes").into());
            }
            (true, Some(_)) | (false, Some(Told::Asked) | None) => {}
        }
    }
    Ok(())
}

/// The bytes of a photo.
fn photo(name: &str, len: usize) -> Vec<u8> {
    name.bytes().cycle().take(len).collect()
}

fn album(order: Order) -> Application<Notes> {
    Application::new(
        "album",
        move |watched: &mut Watched<'_, Notes>| run(watched, order),
        move |restarted: &Restarted, notes: &Notes| check(restarted, notes, order),
    )
    .with_archive("/album/photos.bfdb")
    .beginning_with(Notes::new(), |disk, seed| {
        Album::create(&disk.machine(seed), Path::new(ALBUM)).expect("the disk works");
    })
}

/// Crashes everywhere, then lets up to so many operations fail.
fn search(order: Order, errors: usize) -> io::Result<Findings> {
    let album = album(order);
    let findings = Findings::until(Enough::violations(3));
    explore(&album, 1, &Effort::default(), &findings)?;
    inject(&album, 1, errors, &findings)?;
    Ok(findings)
}

#[expect(clippy::print_stdout, reason = "a program for people at a terminal")]
fn main() -> io::Result<()> {
    println!(
        "index written behind the commit: {}",
        search(Order::CommitFirst, 200)?
    );
    let found = search(Order::IndexFirst, 0)?;
    println!("index written before the commit: {found}");
    if let Some(first) = found.violations().first() {
        println!("{}", trace_of(&album(Order::IndexFirst), &first.case)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bfdb_fault_injection::crashes::{Promise, replay_of};

    use super::*;

    #[test]
    fn an_album_that_commits_first_survives_every_crash_and_every_error() {
        let findings = search(Order::CommitFirst, 40).expect("the host takes a directory");
        assert!(findings.violations().is_empty(), "{findings}");
        assert!(findings.images() > 500, "{findings}");
        assert!(findings.nested_images() > 50, "{findings}");
        assert!(findings.errors() > 30, "{findings}");
    }

    #[test]
    fn an_index_that_is_written_first_is_caught_and_the_case_seen_again() {
        let findings = search(Order::IndexFirst, 0).expect("the host takes a directory");
        let found = findings.violations().into_iter().next().expect("a mistake");
        assert_eq!(found.violation.promise, Promise::Application, "{found}");

        let again = Findings::default();
        let case = found.case.to_string().parse().expect("the name of a case");
        replay_of(&album(Order::IndexFirst), &case, &again).expect("the host takes a directory");
        assert_eq!(again.violations()[0].violation, found.violation);

        let right = Findings::default();
        replay_of(&album(Order::CommitFirst), &case, &right).expect("the host takes a directory");
        assert!(right.violations().is_empty(), "{right}");
    }
}
