//! `commit -n`: says what a commit would do and changes nothing.
//!
//! Sources are opened, and read only where their name is taken by a file of the same length. Room on the volumes is not
//! asked for.

use std::collections::BTreeMap;

use bfdb::{
    archive::{Archive, ArchiveOptions, Snapshot},
    catalog::Access,
    error::{CommitError, HostError, OpenError},
    format::FrameLayout,
    geometry::{FileGeometry, Policy},
    host::{SourceFile, path_is_inside},
    merkle::{DataLeaves, RootFolder, RootHash, hash_data_leaf},
    units::FileName,
};

use super::{
    Source, failure,
    ledger::{Ledger, Stored},
    no_name,
};
use crate::{context::Context, failure::Failure};

/// Bytes that are read at a time.
const PIECE_LEN_BYTES: usize = 4 << 20;

pub(super) fn run(sources: &[Source], context: &Context) -> Result<u8, Failure> {
    match context.try_open(Access::Read) {
        Ok(archive) => context.finish(archive, |archive| {
            let snapshot = archive
                .snapshot()
                .map_err(|error| context.catalog_failure(&error))?;
            Ok(plan_all(sources, Some((archive, &snapshot)), context))
        }),
        Err(OpenError::NotFound { .. }) => {
            context
                .output
                .note(&format!("would make a new archive at {}", context.archive_text()));
            Ok(plan_all(sources, None, context))
        }
        Err(error) => Err(context.open_failure(&error)),
    }
}

fn plan_all(sources: &[Source], archive: Option<(&Archive, &Snapshot)>, context: &Context) -> u8 {
    let mut planner = Planner {
        policy: archive.map_or_else(
            || ArchiveOptions::default().policy,
            |(archive, _)| *archive.policy(),
        ),
        snapshot: archive.map(|(_, snapshot)| snapshot),
        planned: BTreeMap::new(),
        context,
    };
    let mut ledger = Ledger::of_dry_run(context);
    for source in sources {
        let Some(name) = &source.name else {
            ledger.failed(source, &no_name(source));
            continue;
        };
        match planner.plan(source, name) {
            Ok(stored) => ledger.stored(source, &stored),
            Err(error) => ledger.failed(source, &failure(&error, source, context)),
        }
    }
    ledger.finish()
}

struct Planner<'a> {
    policy: Policy,
    /// `None` where there is no archive yet.
    snapshot: Option<&'a Snapshot>,
    /// Sources that would have been stored by now.
    planned: BTreeMap<&'a FileName, &'a Source>,
    context: &'a Context<'a>,
}

impl<'a> Planner<'a> {
    fn plan(&mut self, source: &'a Source, name: &'a FileName) -> Result<Stored, CommitError> {
        let file = open(source)?;
        if self.snapshot.is_some() && path_is_inside(&source.path, self.context.archive())? {
            return Err(CommitError::SourceInsideArchive {
                path: source.path.clone(),
            });
        }
        let len_bytes = file.identity().len_bytes;
        let geometry = FileGeometry::new(len_bytes, &self.policy);
        let stored = self.snapshot.map_or(Ok(None), |snapshot| snapshot.file(name))?;
        let taken_bytes = stored
            .as_ref()
            .map_or_else(|| frames_len_bytes(&geometry), |file| file.stored_bytes);
        let (is_new, root) = if let Some(stored) = &stored {
            let root = same_root(&file, name, (stored.len_bytes, || Ok(stored.root)))?;
            (false, Some(root))
        } else if let Some(earlier) = self.planned.get(name) {
            let earlier = open(earlier)?;
            let root = same_root(&file, name, (earlier.identity().len_bytes, || hash(&earlier)))?;
            (false, Some(root))
        } else {
            self.planned.insert(name, source);
            (true, None)
        };
        Ok(Stored {
            is_new,
            len_bytes,
            tier: geometry.tier(),
            root,
            taken_bytes,
        })
    }
}

fn open(source: &Source) -> Result<SourceFile, CommitError> {
    SourceFile::open(&source.path).map_err(of_source)
}

fn of_source(source: HostError) -> CommitError {
    CommitError::Source { source }
}

/// Compares a source with what has its name, of which length and root are given; returns the root when they are the same.
fn same_root(
    file: &SourceFile,
    name: &FileName,
    (taken_len_bytes, taken_root): (u64, impl FnOnce() -> Result<RootHash, HostError>),
) -> Result<RootHash, CommitError> {
    let len_bytes = file.identity().len_bytes;
    if taken_len_bytes == len_bytes {
        let root = taken_root().map_err(of_source)?;
        if hash(file).map_err(of_source)? == root {
            return Ok(root);
        }
    }
    Err(CommitError::NameTaken {
        name: name.clone(),
        stored_len_bytes: taken_len_bytes,
        source_len_bytes: len_bytes,
    })
}

/// Returns what the frames of a file take; what a commit adds to begin an extent is not counted.
fn frames_len_bytes(geometry: &FileGeometry) -> u64 {
    let block_len = |block: bfdb::geometry::BlockGeometry| -> u64 {
        let frames = block
            .shards()
            .filter_map(|shard| FrameLayout::of_shard(&block, shard));
        frames.map(|frame| frame.total_len_bytes()).sum()
    };
    geometry.blocks().map(block_len).sum()
}

/// Returns the root of a source. It does not depend on the length of leaves, so any will do.
fn hash(source: &SourceFile) -> Result<RootHash, HostError> {
    let leaf = bfdb::units::LeafLen::DEFAULT;
    let leaf_len = usize::try_from(leaf.bytes()).expect("a leaf fits memory");
    let len_bytes = source.identity().len_bytes;
    let kind = DataLeaves::of_file(len_bytes, leaf);
    let mut folder = RootFolder::new(leaf);
    let mut piece = vec![0; PIECE_LEN_BYTES];
    let mut offset = 0;
    while offset < len_bytes {
        let left = usize::try_from(len_bytes - offset).unwrap_or(usize::MAX);
        let bytes = &mut piece[..left.min(PIECE_LEN_BYTES)];
        source.read_at(offset, bytes)?;
        for leaf in bytes.chunks(leaf_len) {
            folder.push(hash_data_leaf(kind, offset, leaf));
            offset += u64::try_from(leaf.len()).expect("an address fits 64 bits");
        }
    }
    source.check_unchanged()?;
    Ok(folder.finish())
}
