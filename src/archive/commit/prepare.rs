//! Looking at a source: what it is, and its bytes where they are few.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Source, batch::Metadata};
use crate::{
    archive::shared::Shared,
    error::{CommitError, FileKind, HostError},
    geometry::Tier,
    host::{ExcludedDirectories, Place, SourceFile, SourceIdentity},
    units::to_usize,
};

/// Files up to this length, in bytes, are read into memory and stored in batches.
pub(super) const MAX_SMALL_LEN_BYTES: u64 = 1 << 20;

/// A source as it was found.
#[derive(Debug)]
pub(super) enum Prepared {
    /// A file, read whole and unchanged since.
    Small { metadata: Metadata, content: Vec<u8> },
    /// A file that is read when it is stored.
    Large,
    /// A directory.
    Directory { metadata: Metadata },
    /// A symbolic link.
    Link { metadata: Metadata, target: Box<[u8]> },
    /// A small file for which there is no memory right now; nothing of it was read.
    Later,
}

/// Looks at sources from many threads, with bounded memory.
pub(super) struct Preparation<'a> {
    shared: &'a Shared,
    own: &'a ExcludedDirectories,
    /// Bytes of content that may still be read.
    left: AtomicUsize,
}

impl<'a> Preparation<'a> {
    /// Begins; `own` are the directories of the archive, which is never a source.
    pub(super) fn new(shared: &'a Shared, own: &'a ExcludedDirectories, max_bytes: usize) -> Self {
        Self {
            shared,
            own,
            left: AtomicUsize::new(max_bytes),
        }
    }

    /// Looks at sources one after another. They come directory by directory: what is known of the one before serves the
    /// next.
    pub(super) fn prepare_run(&self, sources: &[Source]) -> Vec<Result<Prepared, CommitError>> {
        let mut last_outside = None;
        let prepare = |source| self.prepare(source, &mut last_outside);
        sources.iter().map(prepare).collect()
    }

    /// Looks at a source; `last_outside` is a place whose directory is known to be none of the archive's.
    fn prepare<'s>(
        &self,
        source: &'s Source,
        last_outside: &mut Option<&'s Place>,
    ) -> Result<Prepared, CommitError> {
        let place = &source.place;
        if !last_outside.is_some_and(|last| last.shares_directory_with(place)) {
            if self.own.contain_place(place).map_err(of_source)? {
                return Err(of_archive(place));
            }
            *last_outside = Some(place);
        }
        let file = match SourceFile::open_at(place) {
            Ok(file) => file,
            Err(HostError::NotRegular {
                kind: FileKind::Directory | FileKind::SymbolicLink,
                ..
            }) => return self.prepare_other(source),
            Err(error) => return Err(of_source(error)),
        };
        let identity = file.identity();
        let len_bytes = identity.len_bytes;
        if len_bytes > MAX_SMALL_LEN_BYTES || self.shared.policy().tier(len_bytes) != Tier::Tiny {
            return Ok(Prepared::Large);
        }
        let len = to_usize(len_bytes);
        if !self.take(len) {
            return Ok(Prepared::Later);
        }
        let mut content = vec![0; len];
        file.read_at(0, &mut content).map_err(of_source)?;
        file.check_unchanged().map_err(of_source)?;
        let metadata = Metadata::of(&identity);
        Ok(Prepared::Small { metadata, content })
    }

    /// Takes memory for a content, unless there is too little left.
    fn take(&self, len: usize) -> bool {
        let taken =
            (self.left).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(len));
        taken.is_ok()
    }

    fn prepare_other(&self, source: &Source) -> Result<Prepared, CommitError> {
        let place = &source.place;
        let (kind, identity) = place.inspect().map_err(of_source)?;
        let metadata = Metadata::of(&identity);
        match kind {
            FileKind::Directory if self.own.contain_place(place).map_err(of_source)? => {
                Err(of_archive(place))
            }
            FileKind::Directory => Ok(Prepared::Directory { metadata }),
            FileKind::SymbolicLink => {
                let target = place.read_link().map_err(of_source)?;
                Ok(Prepared::Link { metadata, target })
            }
            FileKind::Regular | FileKind::Fifo | FileKind::Socket | _ => {
                let path = place.path().to_path_buf();
                Err(of_source(HostError::NotRegular { path, kind }))
            }
        }
    }
}

fn of_archive(place: &Place) -> CommitError {
    CommitError::SourceInsideArchive {
        path: place.path().to_path_buf(),
    }
}

impl Metadata {
    pub(super) const fn of(identity: &SourceIdentity) -> Self {
        Self {
            mode: identity.mode,
            modified_at: identity.mtime,
        }
    }
}

pub(super) const fn of_source(source: HostError) -> CommitError {
    CommitError::Source { source }
}
