//! A thread that uses an archive: one operation after another, each told before and after.

use std::{
    io::Read as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bfdb::{
    Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event, FileName, FileReader,
    NameConflict, Observer, Place, Source, error::CommitError,
};

use super::{
    answers::{of_commit, of_removal, of_resumption, wrong},
    content::{bytes, len_bytes, modified_at, number_of},
    line::{Asked, Conflict, SourceKind, Told},
    recorder::{Recorder, now},
    sources::{origin_of, source},
};
use crate::{
    Seeded,
    crashes::{setting::explained, violation::Promise},
};

/// A thread of a process, or whoever acts like one.
pub(super) struct Hand<'a> {
    pub(super) archive: &'a Archive,
    pub(super) recorder: &'a Recorder,
    /// Where sources of commits are made.
    pub(super) sources: &'a Path,
    pub(super) seeded: Seeded,
    /// What it has stored last, to store it again.
    pub(super) last: Option<(String, u64)>,
    /// Files that it reads again, whatever becomes of their names.
    pub(super) open: Vec<(FileReader, u64)>,
}

/// Bytes of a file that are read at a time by somebody who does not read all.
const RANGE_LEN: u64 = 900;

impl Hand<'_> {
    /// Returns how many publications there are now.
    pub(super) fn epoch(&self) -> Option<u64> {
        let snapshot = self.archive.snapshot().ok()?;
        Some(snapshot.epoch().get())
    }

    /// Tells of one operation.
    pub(super) fn tell(&self, asked: Asked, act: impl FnOnce() -> Told) -> u64 {
        let number = self.recorder.number();
        self.tell_as(number, asked, act);
        number
    }

    fn tell_as(&self, number: u64, asked: Asked, act: impl FnOnce() -> Told) {
        self.recorder.begin(number, self.epoch(), asked);
        let told = act();
        let at = now();
        self.recorder.end(number, (at, self.epoch()), told);
    }

    /// Chooses what to store: something new, mostly, or what was stored last under this name, at another time.
    fn choose_content(&mut self, number: u64, name: &str) -> (u64, u32) {
        let again = self.last.take().filter(|(last, _)| last == name);
        let content = match again {
            Some((_, content)) if self.seeded.below(3) == 0 => content,
            Some(_) | None => number,
        };
        self.last = Some((name.to_owned(), content));
        // The time of a content that is stored again is the same or another one.
        let nanoseconds = u32::try_from(self.seeded.below(2)).expect("0 or 1");
        (content, nanoseconds)
    }

    /// Stores a stream.
    pub(super) fn store(&mut self, name: &str, conflict: Conflict) {
        let number = self.recorder.number();
        let (content, nanoseconds) = self.choose_content(number, name);
        let asked = Asked::Store {
            name: name.to_owned(),
            content,
            conflict,
            source: SourceKind::Stream,
        };
        self.tell_as(number, asked, || {
            let options = CommitOptions {
                mode: 0o644,
                name_conflict: match conflict {
                    Conflict::Refuse => NameConflict::Refuse,
                    Conflict::Replace => NameConflict::Replace,
                },
                modified_at: Some(modified_at(content, nanoseconds)),
            };
            let stored = bytes(content);
            let committed = (self.archive).commit(&parsed(name), &stored[..], len_bytes(content), &options);
            match committed {
                Ok(receipt) if receipt.len_bytes == len_bytes(content) => Told::Stored,
                Ok(receipt) => wrong(Promise::Answers, &format!("{receipt:?} of content {content}")),
                Err(error) => of_commit(Err(error)),
            }
        });
    }

    /// Stores a file of the host, refused where the name is taken; it may be stopped on its way, and then it waits.
    pub(super) fn store_path(&mut self, name: &str, patience: u64) {
        let number = self.recorder.number();
        let (content, nanoseconds) = self.choose_content(number, name);
        let path = source(self.sources, (number, content), nanoseconds);
        let asked = Asked::Store {
            name: name.to_owned(),
            content,
            conflict: Conflict::Refuse,
            source: SourceKind::Path,
        };
        self.tell_as(number, asked, || {
            let observer = Impatient {
                asked: AtomicU64::new(0),
                patience,
            };
            of_commit(self.archive.commit_path(&parsed(name), &path, &observer))
        });
    }

    /// Stores several files of the host over what has their names, with one call.
    pub(super) fn store_all(&mut self, names: &[String]) {
        let epoch = self.epoch();
        let mut items = Vec::new();
        for name in names {
            let number = self.recorder.number();
            let (content, nanoseconds) = self.choose_content(number, name);
            let path = source(self.sources, (number, content), nanoseconds);
            let asked = Asked::Store {
                name: name.clone(),
                content,
                conflict: Conflict::Replace,
                source: SourceKind::Path,
            };
            self.recorder.begin(number, epoch, asked);
            items.push((number, parsed(name), path));
        }
        let told = ToldOfEach {
            recorder: self.recorder,
            waiting: Mutex::new(items.iter().map(|item| (item.0, item.1.clone())).collect()),
        };
        let mut sources = items.iter().map(|(_, name, path)| Source {
            name: name.clone(),
            place: Place::of_path(path),
        });
        let options = CommitAllOptions {
            name_conflict: NameConflict::Replace,
        };
        let done = self.archive.commit_all(&mut sources, &options, &told);
        let left = told.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        for (number, name) in left {
            let detail = match &done {
                Ok(()) => format!("{name}: nobody was told"),
                Err(error) => explained(error),
            };
            let told = wrong(Promise::Answers, &detail);
            self.recorder.end(number, (at, None), told);
        }
    }

    pub(super) fn remove(&self, name: &str) {
        let asked = Asked::Remove {
            name: name.to_owned(),
        };
        self.tell(asked, || of_removal(self.archive.remove(&parsed(name)).map(Some)));
    }

    /// Removes names in one transaction.
    pub(super) fn remove_many(&self, names: &[String]) {
        let epoch = self.epoch();
        let mut numbers = Vec::new();
        for name in names {
            let number = self.recorder.number();
            self.recorder
                .begin(number, epoch, Asked::Remove { name: name.clone() });
            numbers.push(number);
        }
        let parsed: Vec<FileName> = names.iter().map(|name| parsed(name)).collect();
        let removed = self.archive.remove_many(&parsed);
        let (at, epoch) = (now(), self.epoch());
        match removed {
            Ok(removals) => {
                for (number, removal) in numbers.into_iter().zip(removals) {
                    self.recorder.end(number, (at, epoch), of_removal(Ok(removal)));
                }
            }
            Err(error) => {
                for number in numbers {
                    let told = wrong(Promise::Answers, &explained(&error));
                    self.recorder.end(number, (at, epoch), told);
                }
            }
        }
    }

    /// Reads a file, all of it or some ranges. What is read was decided when it was opened.
    pub(super) fn read(&mut self, name: &str) {
        let number = self.recorder.number();
        let asked = Asked::See {
            name: name.to_owned(),
        };
        self.recorder.begin(number, self.epoch(), asked);
        let opened = self
            .archive
            .snapshot()
            .map_err(|error| wrong(Promise::Content, &explained(&error)))
            .and_then(|snapshot| {
                let opened = snapshot.open_file(&parsed(name), Arc::new(()));
                opened.map_err(|error| super::answers::of_read(&error))
            });
        let moment = (now(), self.epoch());
        let told = match opened {
            Err(told) => told,
            Ok(mut reader) => {
                let read = if self.seeded.below(3) == 0 {
                    self.read_ranges(&reader)
                } else {
                    read_all(&mut reader)
                };
                match read {
                    Ok(content) => {
                        if self.seeded.below(4) == 0 {
                            self.open.truncate(2);
                            self.open.insert(0, (reader, content));
                        }
                        Told::Saw(content)
                    }
                    Err(detail) => wrong(Promise::Content, &format!("{name}: {detail}")),
                }
            }
        };
        self.recorder.end(number, moment, told);
    }

    /// Reads a file again that was opened before, whatever has its name now.
    pub(super) fn read_again(&mut self) {
        let Some((reader, content)) = self.open.pop() else {
            return;
        };
        let mut seeded = self.seeded.clone();
        self.tell(Asked::Other("read-again".to_owned()), || {
            match read_ranges(&reader, &mut seeded) {
                Ok(found) if found == content => Told::Done,
                Ok(found) => wrong(Promise::Content, &format!("content {content} became {found}")),
                Err(detail) => wrong(Promise::Content, &format!("content {content}: {detail}")),
            }
        });
    }

    fn read_ranges(&mut self, reader: &FileReader) -> Result<u64, String> {
        read_ranges(reader, &mut self.seeded)
    }

    /// Goes on with a commit that nobody works on, or gives it back.
    pub(super) fn end_waiting(&mut self) {
        let waiting = match self.archive.unfinished() {
            Ok(unfinished) => unfinished,
            Err(error) => {
                let told = wrong(Promise::Ends, &explained(&error));
                self.tell(Asked::Other("unfinished".to_owned()), || told);
                return;
            }
        };
        let mut waiting: Vec<_> = waiting.into_iter().filter(|commit| !commit.is_running).collect();
        if waiting.is_empty() {
            return;
        }
        let chosen = waiting.swap_remove(self.seeded.index(waiting.len()));
        let known = chosen.resumable.and_then(|file| origin_of(&file.path));
        match known {
            Some((origin, content)) if self.seeded.below(3) > 0 => {
                let asked = Asked::Resume {
                    name: chosen.name.to_string(),
                    content,
                    origin,
                };
                self.tell(asked, || of_resumption(self.archive.resume(chosen.commit, &())));
            }
            known => {
                let origin = known.map_or(0, |(origin, _)| origin);
                self.tell(Asked::RollBack { origin }, || {
                    match self.archive.roll_back(chosen.commit) {
                        Ok(()) => Told::Done,
                        Err(CommitError::NoSuchCommit { .. }) => Told::Gone,
                        Err(CommitError::InProgress { .. }) => Told::Nothing,
                        Err(error) => wrong(Promise::Ends, &explained(&error)),
                    }
                });
            }
        }
    }
}

pub(super) fn parsed(name: &str) -> FileName {
    name.parse().expect("names here are names")
}

fn read_all(reader: &mut FileReader) -> Result<u64, String> {
    let mut found = Vec::new();
    reader
        .read_to_end(&mut found)
        .map_err(|error| explained(&error))?;
    let content = number_of(&found).ok_or_else(|| format!("{} bytes say nothing", found.len()))?;
    if found == bytes(content) {
        Ok(content)
    } else {
        Err(format!(
            "{} bytes are not those of content {content}",
            found.len()
        ))
    }
}

fn read_ranges(reader: &FileReader, seeded: &mut Seeded) -> Result<u64, String> {
    let mut start = [0; 8];
    let read = |offset, into: &mut [u8]| reader.read_at(offset, into).map_err(|error| explained(&error));
    read(0, &mut start)?;
    let content = number_of(&start).expect("as many bytes as a number has");
    let expected = bytes(content);
    if reader.len() != len_bytes(content) {
        return Err(format!(
            "{} bytes are not those of content {content}",
            reader.len()
        ));
    }
    for _ in 0..=seeded.below(3) {
        let offset = seeded.below(reader.len());
        let mut range = vec![0; usize::try_from(1 + seeded.below(RANGE_LEN)).expect("a short range")];
        let len = read(offset, &mut range)?;
        let from = usize::try_from(offset).expect("a short file");
        let is_right = expected[from..].starts_with(&range[..len])
            && (len == range.len() || from + len == expected.len());
        if !is_right {
            return Err(format!(
                "{len} bytes at {offset} are not those of content {content}"
            ));
        }
    }
    Ok(content)
}

/// Ends a commit when it was asked so often.
struct Impatient {
    asked: AtomicU64,
    patience: u64,
}

impl Observer for Impatient {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) >= self.patience
    }
}

/// Says of each source that it is stored as soon as the archive says so; an observer may not look how far the archive is.
struct ToldOfEach<'a> {
    recorder: &'a Recorder,
    waiting: Mutex<Vec<(u64, FileName)>>,
}

impl Observer for ToldOfEach<'_> {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for ToldOfEach<'_> {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        let at = now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = waiting.iter().position(|(_, name)| *name == source.name) {
            let (number, _) = waiting.swap_remove(place);
            self.recorder.end(number, (at, None), of_commit(result));
        }
    }
}
