//! Storing streams, of known and of unknown length.

use std::io::{self, Read};

use super::{
    CommitOutcome, CommitReceipt, NameConflict, Source,
    batch::{Batch, Entry, Metadata, What},
    decide::{Content, Decision, Verdict, decide},
    find_file,
    input::StreamInput,
    large::{Subject, commit_opened, store_alone, touch},
    name_taken,
    prepare::{MAX_SMALL_LEN_BYTES, Prepared},
    stream::write_stream,
};
use crate::{
    archive::{CommitOptions, Observer, shared::Shared},
    catalog::EntryKind,
    error::CommitError,
    geometry::Tier,
    host::{Place, Spool},
    units::{FileName, to_u64, to_usize},
};

/// Stores a stream of known length under a name.
pub(in crate::archive) fn commit_stream(
    shared: &Shared,
    name: &FileName,
    (reader, len_bytes): (&mut (dyn Read + Send), u64),
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitReceipt, CommitError> {
    if let Some(stored) = find_file(shared, name)?
        && options.name_conflict == NameConflict::Refuse
    {
        return Err(name_taken(&stored, &EntryKind::File, len_bytes));
    }
    let stream = StreamInput::new(name.clone(), len_bytes, reader);
    let metadata = metadata_of(shared, options);
    let subject = Subject {
        name,
        len_bytes,
        metadata,
        conflict: options.name_conflict,
    };
    let outcome = store_alone(shared, &subject, |reservation| {
        let written = write_stream(shared, reservation, &stream, observer)?;
        stream.check_end()?;
        Ok(written)
    })?;
    match outcome {
        CommitOutcome::Committed(receipt) | CommitOutcome::Replaced(receipt) => Ok(receipt),
        // The same was stored already; who asked for a new name is told as if that had come first.
        CommitOutcome::Unchanged(receipt) => match options.name_conflict {
            NameConflict::Replace | NameConflict::ReplaceAndKeep { .. } => {
                touch_unless_same(shared, receipt, metadata)
            }
            NameConflict::Refuse => Err(CommitError::NameTaken {
                name: receipt.name,
                stored_len_bytes: receipt.len_bytes,
                source_len_bytes: len_bytes,
            }),
        },
    }
}

/// Stores a stream that nobody knows the length of.
pub(in crate::archive) fn commit_reader(
    shared: &Shared,
    (name, source): (&FileName, &mut dyn Read),
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let (metadata, conflict) = (metadata_of(shared, options), options.name_conflict);
    let mut stream = Stream {
        name,
        source,
        observer,
    };
    let mut content = vec![0; to_usize(MAX_SMALL_LEN_BYTES) + 1];
    let len = stream.fill(&mut content)?;
    content.truncate(len);
    let is_small = to_u64(len) <= MAX_SMALL_LEN_BYTES && shared.policy().tier(to_u64(len)) == Tier::Tiny;
    if is_small {
        let prepared = Prepared::Small { metadata, content };
        let stored = find_file(shared, name)?;
        return match decide(prepared, stored.as_ref(), conflict)? {
            Decision::Unchanged(receipt) => Ok(CommitOutcome::Unchanged(receipt)),
            Decision::Alone => unreachable!("what is in memory is small"),
            Decision::Batch(what) => store_small(shared, name, what, conflict, observer),
        };
    }
    let mut spool = Spool::create_in(shared.layout.root())?;
    spool.write_all(&content)?;
    content.truncate(to_usize(MAX_SMALL_LEN_BYTES));
    loop {
        match stream.fill(&mut content)? {
            0 => break,
            len => spool.write_all(&content[..len])?,
        }
    }
    drop(content);
    let file = spool.into_source(std::path::Path::new(&name.to_string()))?;
    commit_opened(shared, (name, metadata), &file, conflict, observer)
}

/// Gives the version of a receipt, which has the content of a stream, its permissions and time too.
fn touch_unless_same(
    shared: &Shared,
    receipt: CommitReceipt,
    metadata: Metadata,
) -> Result<CommitReceipt, CommitError> {
    let conflict = NameConflict::Replace;
    let stored = find_file(shared, &receipt.name)?;
    match stored.filter(|stored| stored.id == receipt.file) {
        Some(stored) if Verdict::of(&stored, metadata, Content::Same, conflict) == Verdict::Touch => {
            let outcome = touch(shared, What::touched(&stored, metadata), conflict)?;
            Ok(outcome.receipt().clone())
        }
        // As it is, or replaced by somebody else since, as if after this.
        Some(_) | None => Ok(receipt),
    }
}

fn store_small(
    shared: &Shared,
    name: &FileName,
    what: What,
    conflict: NameConflict,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let source = Source {
        name: name.clone(),
        // For messages only: what is in memory is not looked for.
        place: Place::of_path(name.to_string()),
    };
    let mut batch = Batch::default();
    batch.push(Entry { source, what });
    batch.store_only(shared, conflict, observer)
}

fn metadata_of(shared: &Shared, options: &CommitOptions) -> Metadata {
    Metadata {
        mode: options.mode,
        modified_at: options.modified_at.unwrap_or_else(|| shared.now()),
    }
}

/// A stream that is read to its end.
struct Stream<'a> {
    name: &'a FileName,
    source: &'a mut dyn Read,
    observer: &'a dyn Observer,
}

impl Stream<'_> {
    /// Reads until the buffer is full or the stream ends; returns how much.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, CommitError> {
        let mut filled = 0;
        while filled < into.len() {
            // A reader that is woken by a signal says so; others are asked between their pieces.
            if self.observer.is_cancelled() {
                return Err(CommitError::Cancelled);
            }
            match self.source.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(CommitError::SourceRead {
                        name: self.name.clone(),
                        source,
                    });
                }
            }
        }
        Ok(filled)
    }
}
