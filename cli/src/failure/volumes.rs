//! What is wrong with volumes, by the names that users know them by, and what to do about it.

use std::{io, path::Path};

use bfdb::{
    error::{CommitError, HostError, HostOperation, OpenError, ReadError, RepairError, VolumeError},
    units::FileName,
};

use super::{Failure, Meaning, commit_error, open_error, repair_error};
use crate::{context::Context, exit, text, volumes::Volumes};

/// Puts into words why volumes could not be changed.
pub(crate) fn of_volumes(error: &CommitError, volumes: &Volumes, context: &Context) -> Failure {
    let failed = |message: String| Failure::new(exit::FAILED, message);
    match error {
        CommitError::LastVolume { volume } => failed(format!(
            "{} is the last volume that takes files: add another one first",
            volumes.label_of(*volume)
        ))
        .suggest(context.command("volume add DIR", &[])),
        CommitError::NoRoomToDrain {
            volume,
            needed_bytes,
            free_bytes,
        } => {
            let (needed, free) = (text::size(*needed_bytes), text::size(*free_bytes));
            let failure = failed(format!(
                "{needed} ({needed_bytes} bytes) are stored on {}, and the others have {free} ({free_bytes} bytes) free: add a \
                 volume, or replace this one",
                volumes.label_of(*volume)
            ));
            failure.suggest(context.command("volume add DIR", &[]))
        }
        CommitError::VolumeNotDrained { volume, shards } => {
            let number = volumes.all().iter().find(|known| known.id == *volume);
            let number = number.map_or_else(|| volume.to_string(), |known| known.number.to_string());
            failed(format!(
                "{} are still stored on {}",
                text::count(*shards, "shard"),
                volumes.label_of(*volume)
            ))
            .suggest(context.command(&format!("volume drain {number}"), &[]))
        }
        CommitError::NoVolume => {
            Failure::of(error, Meaning::Failed).suggest(context.command("volume ls", &[]))
        }
        CommitError::Volumes { source } => {
            of_place(source, context).unwrap_or_else(|| context.failure(source.as_ref(), open_error(source)))
        }
        CommitError::Volume {
            source: VolumeError::Absent { volume },
        } => failed(format!("{} is missing", volumes.label_of(*volume)))
            .suggest(context.command("volume ls", &[])),
        CommitError::NameTaken { .. }
        | CommitError::KindTaken { .. }
        | CommitError::DirectoryInUse { .. }
        | CommitError::LinkTaken { .. }
        | CommitError::NotFound { .. }
        | CommitError::ReadOnly
        | CommitError::OwnershipLost { .. }
        | CommitError::NoSuchCommit { .. }
        | CommitError::InProgress { .. }
        | CommitError::NotResumable { .. }
        | CommitError::Interrupted { .. }
        | CommitError::NotVisibleYet { .. }
        | CommitError::Journal { .. }
        | CommitError::Append { .. }
        | CommitError::Publication { .. }
        | CommitError::SourceInsideArchive { .. }
        | CommitError::SourceLength { .. }
        | CommitError::SourceRead { .. }
        | CommitError::Source { .. }
        | CommitError::Full { .. }
        | CommitError::Volume { .. }
        | CommitError::Catalog { .. }
        | CommitError::Memory { .. }
        | CommitError::Host { .. }
        | CommitError::Cancelled
        | _ => context.failure(error, commit_error(error)),
    }
}

/// Puts into words why what is on a volume was not moved.
pub(crate) fn of_moving(error: &RepairError, volumes: &Volumes, context: &Context) -> Failure {
    match error {
        RepairError::Cancelled => {
            context.interrupted("what was moved stays moved, and the same command goes on from there")
        }
        RepairError::Store { source } => of_volumes(source, volumes, context),
        RepairError::NotFound { .. }
        | RepairError::Catalog { .. }
        | RepairError::Refused { .. }
        | RepairError::ReadBack { .. }
        | _ => context.failure(error, repair_error(error)),
    }
}

/// Puts into words what is wrong with the directory of a volume, where it is about one.
pub(crate) fn of_place(error: &OpenError, context: &Context) -> Option<Failure> {
    let failed = |message: String| Failure::new(exit::FAILED, message);
    let elsewhere = || context.command("--volume DIR volume ls", &[]);
    if let OpenError::VolumeForeign {
        path,
        expected,
        found,
    } = error
    {
        let path = text::path(path);
        let failure = failed(format!(
            "volume {expected} is missing: at {path} is another one, {found}; say with --volume DIR where it is now"
        ));
        return Some(failure.suggest(elsewhere()));
    }
    if let OpenError::VolumeReadOnly { path } = error {
        let path = text::path(path);
        let failure = failed(format!(
            "the volume at {path} takes no writes, and no other one does: mount it so that it does; what is there can be read"
        ));
        return Some(failure.suggest(context.command("volume ls", &[])));
    }
    if let OpenError::NoDirectIo { path } = error {
        let path = text::path(path);
        let failure = failed(format!(
            "the file system of the volume at {path} has no way past the page cache, and --io direct wants one; --io auto does \
             without where there is none"
        ));
        return Some(failure);
    }
    if let OpenError::Volume {
        source: VolumeError::Directory { path, source },
    } = error
    {
        let path = text::path(volume_of(path));
        let failure = failed(format!(
            "no volume of the archive is there, {path} for one; plug it in, or say with --volume DIR where it is now"
        ));
        return Some(failure.caused_by(source).suggest(elsewhere()));
    }
    of_new_place(error).map(failed)
}

/// Says why no volume can be made in a directory, and what would do.
fn of_new_place(error: &OpenError) -> Option<String> {
    if let OpenError::VolumeTaken {
        path,
        volume,
        archive,
    } = error
    {
        let path = text::path(path);
        return Some(format!(
            "{path} holds volume {volume} of archive {archive}: a new volume takes a directory that is absent or empty; wipe this \
             one if nothing of that archive is needed any more"
        ));
    }
    if let OpenError::VolumeNotEmpty { path } = error {
        let path = text::path(path);
        return Some(format!(
            "{path} is not empty: a volume is made in a directory of its own, such as {path}/bfdb"
        ));
    }
    if let OpenError::VolumeNested { path, other } = error {
        let (is_same, path, other) = (path == other, text::path(path), text::path(other));
        return Some(if is_same {
            format!(
                "{path} is the archive, or one of its volumes, or was given twice: each volume takes a directory of its own"
            )
        } else {
            format!(
                "{path} and {other} would lie in each other: each volume takes a directory of its own, apart from the others and \
                 from the archive"
            )
        });
    }
    if let OpenError::Host {
        source:
            HostError::Io {
                operation: HostOperation::Resolve,
                path,
                source,
            },
    } = error
        && source.kind() == io::ErrorKind::NotFound
    {
        let path = text::path(path);
        return Some(format!(
            "{path} cannot be made: the directory above it is missing"
        ));
    }
    None
}

/// Returns the directory of a volume of which something is missing.
fn volume_of(missing: &Path) -> &Path {
    let is_extents = missing.file_name().is_some_and(|name| name == "extents");
    missing.parent().filter(|_| is_extents).unwrap_or(missing)
}

/// Puts into words that too little is left of a file while volumes are away, where that is why it could not be read.
pub(crate) fn of_absence(
    error: &ReadError,
    name: &FileName,
    volumes: &Volumes,
    context: &Context,
) -> Option<Failure> {
    let ReadError::Refused {
        source: VolumeError::Absent { volume },
    } = error
    else {
        return None;
    };
    let mut away: Vec<String> = volumes.away().map(|volume| volumes.label(volume)).collect();
    if away.is_empty() {
        away.push(volumes.label_of(*volume));
    }
    let (verb, away) = (if away.len() == 1 { "is" } else { "are" }, away.join(", "));
    let message = format!(
        "{name} cannot be read now: {away} {verb} missing, and too little of it is on the other volumes; nothing is lost by that"
    );
    let failure = Failure::new(exit::FAILED, message);
    Some(failure.suggest(context.command("--volume DIR verify", &[name])))
}
