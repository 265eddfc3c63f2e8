//! From what was asked for to one source after another, in memory that does not grow with their number.

use std::path::{Path, PathBuf};

use bfdb::{
    archive::Source,
    error::{FileKind, HostError},
    host::{ExcludedDirectories, Place, SourceFile, TreeEntry, TreeWalk, Walked},
    units::FileName,
};

use super::{
    exclusion::Exclusion,
    ledger::{Ledger, SharedLedger, Subject},
    reason,
    roots::{Origin, Root, Roots, below},
};
use crate::{context::Context, failure::Failure};

/// Walks everything that was asked for. What is skipped, left out or cannot be looked at is told on the way.
pub(super) struct Sources<'a, 'l> {
    roots: Roots<'a>,
    /// One that was looked at and not yet walked.
    pending: Option<Root>,
    walk: Option<(Root, Walk<'a>)>,
    archive: ExcludedDirectories,
    exclusion: &'a Exclusion,
    ledger: &'a SharedLedger<'l>,
    context: &'a Context<'a>,
    is_cut_short: bool,
}

type Walk<'a> = TreeWalk<Box<dyn FnMut(&TreeEntry) -> bool + 'a>>;

/// A source, and what it was when it was found.
pub(super) struct Found {
    pub(super) source: Source,
    pub(super) kind: FileKind,
}

impl<'a, 'l> Sources<'a, 'l> {
    pub(super) fn new(
        roots: Roots<'a>,
        exclusion: &'a Exclusion,
        ledger: &'a SharedLedger<'l>,
        context: &'a Context<'a>,
    ) -> Self {
        Self {
            roots,
            pending: None,
            walk: None,
            archive: ExcludedDirectories::default(),
            exclusion,
            ledger,
            context,
            is_cut_short: false,
        }
    }

    /// Says which directories are the archive's own, before the first source is asked for.
    pub(super) fn keep_out_of(&mut self, archive: ExcludedDirectories) {
        self.archive = archive;
    }

    /// Goes to the first thing that can be stored and says whether there is one. What comes before is told as if it had
    /// been asked for as a source.
    pub(super) fn look_ahead(&mut self) -> bool {
        while let Some(root) = self.next_root() {
            let place = Place::of_path(&root.path);
            let kind = place.inspect().map_or(FileKind::Unknown, |(kind, _)| kind);
            let is_good = match kind {
                FileKind::Directory => std::fs::read_dir(&root.path).is_ok(),
                FileKind::SymbolicLink => true,
                FileKind::Regular => SourceFile::open_at(&place).is_ok(),
                FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharacterDevice
                | FileKind::BlockDevice
                | FileKind::Unknown
                | _ => false,
            };
            if is_good && !self.exclusion.leaves_out_given(&root.below, kind) {
                self.pending = Some(root);
                return true;
            }
            for walked in self.walk_from(&root) {
                if let Some(found) = self.accept(&root, walked) {
                    self.refuse(&found);
                }
            }
        }
        false
    }

    /// Checks that everything was walked.
    ///
    /// # Errors
    /// That the command was interrupted.
    pub(super) fn check_complete(&self) -> Result<(), Failure> {
        if self.is_cut_short {
            return Err(self.ledger.interrupted());
        }
        Ok(())
    }

    fn next_root(&mut self) -> Option<Root> {
        if let Some(root) = self.pending.take() {
            return Some(root);
        }
        loop {
            if self.context.interrupt.is_set() {
                self.is_cut_short = true;
                return None;
            }
            match self.roots.next()? {
                Ok(root) => return Some(root),
                // The list could not be read because of the signal.
                Err(_) if self.context.interrupt.is_set() => {}
                Err(unnamed) => {
                    let subject = Subject {
                        path: &unnamed.path,
                        name: None,
                    };
                    self.ledger
                        .with(|ledger| ledger.failed(&subject, &unnamed.failure));
                }
            }
        }
    }

    fn walk_from(&self, root: &Root) -> Walk<'a> {
        let (exclusion, ledger, context) = (self.exclusion, self.ledger, self.context);
        let Root {
            below: root_below,
            path,
            origin,
            ..
        } = root.clone();
        let filter = move |entry: &TreeEntry| {
            let is_left_out = if entry.below.is_empty() {
                exclusion.leaves_out_given(&root_below, entry.kind)
            } else {
                exclusion.leaves_out(&below(&root_below, &entry.below), entry.kind)
            };
            if is_left_out {
                ledger.with(Ledger::left_out);
                if entry.below.is_empty() && origin == Origin::Argument {
                    let shown = crate::text::path(&path);
                    context.output.note(&format!("{shown} is left out by a pattern"));
                }
            }
            !is_left_out
        };
        TreeWalk::new(Place::of_path(&root.path), self.archive.clone(), Box::new(filter))
    }

    /// Takes what a walk has to say and returns it where it is a source.
    fn accept(&self, root: &Root, walked: Walked) -> Option<Found> {
        let is_root = |path: &Path| path == root.path;
        match walked {
            Walked::Entry(entry) => {
                let name = below(&root.name, &entry.below);
                let is_given = entry.below.is_empty() && root.origin == Origin::Argument;
                // The contents of a directory are wanted, and not it.
                if entry.below.is_empty() && root.below.is_empty() && !is_given {
                    return None;
                }
                match FileName::from_bytes(&name) {
                    Ok(name) => {
                        if is_given && entry.kind != FileKind::Directory {
                            self.ledger.with(|ledger| ledger.expect(&name));
                        }
                        let place = entry.place;
                        Some(Found {
                            source: Source { name, place },
                            kind: entry.kind,
                        })
                    }
                    Err(error) => {
                        let failure = reason::of_name(&name, &error);
                        self.fail(root, entry.place.path(), &failure);
                        None
                    }
                }
            }
            // What was asked for by name is missed, and that is a failure.
            Walked::Skipped { path, why } if is_root(&path) => {
                self.fail(root, &path, &reason::of_skipped_root(&path, why));
                None
            }
            Walked::Skipped { path, why } => {
                self.ledger.with(|ledger| ledger.skipped(&path, why));
                None
            }
            Walked::Failed { path, error } => {
                self.fail(root, &path, &reason::of_host(&error));
                None
            }
        }
    }

    fn fail(&self, root: &Root, path: &Path, failure: &Failure) {
        use std::os::unix::ffi::OsStrExt as _;
        let rest = path.strip_prefix(&root.path).unwrap_or(Path::new(""));
        let name = FileName::from_bytes(&below(&root.name, rest.as_os_str().as_bytes())).ok();
        let subject = Subject {
            path,
            name: name.as_ref(),
        };
        self.ledger.with(|ledger| ledger.failed(&subject, failure));
    }

    /// Tells of a source that could not be opened when it was looked at.
    fn refuse(&self, found: &Found) {
        let failure = match SourceFile::open_at(&found.source.place) {
            Err(error) => reason::of_host(&error),
            Ok(_) => reason::of_host(&HostError::SourceChanged {
                path: PathBuf::from(found.source.place.path()),
                change: bfdb::error::SourceChange::Replaced,
            }),
        };
        let subject = Subject {
            path: found.source.place.path(),
            name: Some(&found.source.name),
        };
        self.ledger.with(|ledger| ledger.failed(&subject, &failure));
    }
}

impl Iterator for Sources<'_, '_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if self.context.interrupt.is_set() {
                self.is_cut_short = true;
                return None;
            }
            let Some((root, walk)) = &mut self.walk else {
                let root = self.next_root()?;
                let walk = self.walk_from(&root);
                self.walk = Some((root, walk));
                continue;
            };
            let Some(walked) = walk.next() else {
                self.walk = None;
                continue;
            };
            let root = root.clone();
            if let Some(found) = self.accept(&root, walked) {
                return Some(found);
            }
        }
    }
}
