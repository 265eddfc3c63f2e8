//! `commit -n`: says what a commit would do and changes nothing.
//!
//! Sources are opened, and read only where their name is taken by a file of the same length. Room on the volumes is not
//! asked for.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bfdb::{
    archive::{Archive, ArchiveOptions, FileInfo, NameConflict, Observer as _, Snapshot},
    catalog::{Access, EntryKind},
    error::{CommitError, FileKind, HostError, OpenError},
    geometry::{FileGeometry, Policy},
    host::{Place, SourceFile},
    merkle::RootHash,
    units::FileName,
};

use super::{
    Arguments,
    ledger::{Change, SharedLedger, Stored, Subject},
    pipe, reason,
    sources::{Found, Sources},
};
use crate::{commands::frames::frames_len_bytes, context::Context, failure::Failure, progress::Progress};

/// Bytes that are read at a time.
const PIECE_LEN_BYTES: usize = 1 << 20;

pub(super) fn run(
    sources: &mut Sources,
    arguments: &Arguments,
    context: &Context,
    ledger: &SharedLedger,
) -> Result<u8, Failure> {
    with_planner(arguments, context, |planner, archive| {
        if let Some(archive) = archive {
            sources.keep_out_of(super::directories_of(archive, context)?);
        }
        for found in sources.by_ref() {
            let subject = Subject {
                path: found.source.place.path(),
                name: Some(&found.source.name),
            };
            match planner.plan(&found) {
                Ok(stored) => ledger.with(|ledger| ledger.stored(&subject, &stored)),
                Err(CommitError::Cancelled) => return Err(ledger.interrupted()),
                Err(error) => {
                    let failure = reason::of_commit(&error, &subject, context);
                    ledger.with(|ledger| ledger.failed(&subject, &failure));
                }
            }
        }
        sources.check_complete()?;
        Ok(ledger.finish())
    })
}

/// Says what would become of a stream, which is read to its end for that.
pub(super) fn run_pipe(
    (name, source): (&FileName, &mut dyn Read),
    arguments: &Arguments,
    context: &Context,
    ledger: &SharedLedger,
) -> Result<u8, Failure> {
    with_planner(arguments, context, |planner, _| {
        let subject = pipe::subject(name);
        let mut hasher = blake3::Hasher::new();
        let result = io::copy(source, &mut hasher).map_err(|source| CommitError::SourceRead {
            name: name.clone(),
            source,
        });
        if context.interrupt.is_set() {
            return Err(ledger.interrupted());
        }
        let root = RootHash::from_bytes(*hasher.finalize().as_bytes());
        match result.and_then(|len| planner.plan_file(name, len, |_| Ok(root))) {
            Ok(stored) => {
                let root = Some(root);
                ledger.with(|ledger| ledger.stored(&subject, &Stored { root, ..stored }));
            }
            Err(error) => {
                let failure = reason::of_commit(&error, &subject, context);
                ledger.with(|ledger| ledger.failed(&subject, &failure));
            }
        }
        Ok(ledger.finish())
    })
}

/// Opens the archive, where there is one, to plan with.
fn with_planner(
    arguments: &Arguments,
    context: &Context,
    work: impl FnOnce(&mut Planner, Option<&Archive>) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let planner = |policy, snapshot| Planner {
        policy,
        snapshot,
        conflict: arguments.name_conflict(),
        // Two names of one tree are never the same.
        planned: (arguments.paths.len() > 1 || arguments.files_from.is_some()).then(BTreeMap::new),
        progress: context.progress("looked at", None),
    };
    match context.try_open(Access::Read) {
        Ok(archive) => context.finish(archive, |archive| {
            let snapshot = archive
                .snapshot()
                .map_err(|error| context.catalog_failure(&error))?;
            work(&mut planner(*archive.policy(), Some(snapshot)), Some(archive))
        }),
        Err(OpenError::NotFound { .. }) => {
            let place = context.archive_text();
            context
                .output
                .note(&format!("would make a new archive at {place}"));
            work(&mut planner(ArchiveOptions::default().policy, None), None)
        }
        Err(error) => Err(context.open_failure(&error)),
    }
}

struct Planner<'a> {
    policy: Policy,
    /// `None` where there is no archive yet.
    snapshot: Option<Snapshot>,
    conflict: NameConflict,
    /// Sources that would have been stored by now, where another one may get the same name.
    planned: Option<BTreeMap<FileName, Planned>>,
    progress: Progress<'a>,
}

/// What would be stored under a name by now.
#[derive(Debug, Clone)]
struct Planned {
    kind: EntryKind,
    len_bytes: u64,
    content: Content,
}

/// Where to look to compare.
#[derive(Debug, Clone)]
enum Content {
    Root(RootHash),
    Source(Place),
}

impl Planner<'_> {
    fn plan(&mut self, found: &Found) -> Result<Stored, CommitError> {
        let (name, place) = (&found.source.name, &found.source.place);
        if found.kind == FileKind::Regular {
            let file = SourceFile::open_at(place).map_err(of_source)?;
            let len_bytes = file.identity().len_bytes;
            let stored = self.plan_file(name, len_bytes, |progress| hash(&file, progress))?;
            self.remember(name, &stored, place);
            return Ok(stored);
        }
        let kind = if found.kind == FileKind::Directory {
            EntryKind::Directory
        } else {
            EntryKind::SymbolicLink {
                target: place.read_link().map_err(of_source)?,
            }
        };
        let geometry = FileGeometry::new(0, &self.policy);
        let change = match self.taken(name)? {
            None => Change::New,
            Some(taken) if taken.kind == kind => Change::Nothing,
            Some(taken) => self.conflict(name, taken.len_bytes, 0)?,
        };
        let stored = Stored {
            change,
            kind,
            len_bytes: 0,
            tier: geometry.tier(),
            root: None,
            taken_bytes: 0,
            tolerance: None,
        };
        self.remember(name, &stored, place);
        Ok(stored)
    }

    /// Plans for a file, which is hashed only where that decides.
    fn plan_file(
        &self,
        name: &FileName,
        len_bytes: u64,
        hash_source: impl FnOnce(&Progress) -> Result<RootHash, CommitError>,
    ) -> Result<Stored, CommitError> {
        let geometry = FileGeometry::new(len_bytes, &self.policy);
        let mut stored = Stored {
            change: Change::New,
            kind: EntryKind::File,
            len_bytes,
            tier: geometry.tier(),
            root: None,
            taken_bytes: frames_len_bytes(&geometry),
            tolerance: None,
        };
        let Some(taken) = self.taken(name)? else {
            return Ok(stored);
        };
        if taken.kind == EntryKind::File && taken.len_bytes == len_bytes {
            let root = hash_source(&self.progress)?;
            stored.root = Some(root);
            if self.root_of(&taken)? == root {
                stored.change = Change::Nothing;
                return Ok(stored);
            }
        }
        stored.change = self.conflict(name, taken.len_bytes, len_bytes)?;
        Ok(stored)
    }

    /// Returns what would have the name by now.
    fn taken(&self, name: &FileName) -> Result<Option<Planned>, CommitError> {
        let planned = self.planned.as_ref().and_then(|planned| planned.get(name));
        if let Some(planned) = planned {
            return Ok(Some(planned.clone()));
        }
        let stored = self.snapshot.as_ref().map(|snapshot| snapshot.file(name));
        let of_stored = |stored: FileInfo| Planned {
            kind: stored.kind,
            len_bytes: stored.len_bytes,
            content: Content::Root(stored.root),
        };
        Ok(stored.transpose()?.flatten().map(of_stored))
    }

    fn root_of(&self, taken: &Planned) -> Result<RootHash, CommitError> {
        match &taken.content {
            Content::Root(root) => Ok(*root),
            Content::Source(place) => {
                let earlier = SourceFile::open_at(place).map_err(of_source)?;
                hash(&earlier, &self.progress)
            }
        }
    }

    fn conflict(
        &self,
        name: &FileName,
        stored_len_bytes: u64,
        source_len_bytes: u64,
    ) -> Result<Change, CommitError> {
        match self.conflict {
            NameConflict::Replace | NameConflict::ReplaceAndKeep { .. } => Ok(Change::Replaced),
            NameConflict::Refuse => Err(CommitError::NameTaken {
                name: name.clone(),
                stored_len_bytes,
                source_len_bytes,
            }),
        }
    }

    fn remember(&mut self, name: &FileName, stored: &Stored, place: &Place) {
        self.progress.add_entry();
        if let (Some(planned), true) = (&mut self.planned, stored.change != Change::Nothing) {
            let now = Planned {
                kind: stored.kind.clone(),
                len_bytes: stored.len_bytes,
                // By its path: a place that a walk has found keeps a directory open.
                content: Content::Source(Place::of_path(place.path())),
            };
            planned.insert(name.clone(), now);
        }
    }
}

fn of_source(source: HostError) -> CommitError {
    CommitError::Source { source }
}

/// Returns the root of a source: the BLAKE3 of its content.
fn hash(source: &SourceFile, progress: &Progress) -> Result<RootHash, CommitError> {
    let len_bytes = source.identity().len_bytes;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_LEN_BYTES];
    let mut offset = 0;
    while offset < len_bytes {
        if progress.is_cancelled() {
            return Err(CommitError::Cancelled);
        }
        let left = usize::try_from(len_bytes - offset).unwrap_or(usize::MAX);
        let bytes = &mut piece[..left.min(PIECE_LEN_BYTES)];
        source.read_at(offset, bytes).map_err(of_source)?;
        hasher.update(bytes);
        let len = u64::try_from(bytes.len()).expect("an address fits 64 bits");
        progress.add(len);
        offset += len;
    }
    source.check_unchanged().map_err(of_source)?;
    Ok(RootHash::from_bytes(*hasher.finalize().as_bytes()))
}
