//! `cat`: writes the bytes of a file to standard output.

use std::{
    io::{Seek as _, SeekFrom},
    sync::Arc,
};

use bfdb::{
    archive::{Archive, FileReader, Observer, Snapshot},
    catalog::EntryKind,
    error::ReadError,
    units::FileName,
};

use super::{
    damage::{DamageLog, as_u64, read_failure},
    versions,
};
use crate::{
    arguments::values::{self, AskedRange},
    context::Context,
    exit,
    failure::Failure,
    text,
    volumes::{AROUND, Volumes},
};

/// Bytes that are written at a time.
const PIECE_LEN_BYTES: usize = 1 << 20;

/// Write a file to standard output, verified
///
/// Every byte is verified before it is written; damage is decoded around with a warning. Where bytes are lost, everything
/// before them is written, the exit code is 5, and all lost ranges of the file are listed on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb cat notes.txt\n  \
    bfdb cat notes.txt --version 3                    what it was then\n  \
    bfdb cat film.mkv --range 0..1048576 | file -     the first MiB")]
pub(crate) struct Arguments {
    /// Name of a file
    #[arg(value_parser = values::name_parser())]
    name: FileName,
    #[command(flatten)]
    asked: versions::Asked,
    /// Only the bytes from A up to B, B not included; a bound that is left out is that of the file
    #[arg(long, value_name = "A..B", value_parser = values::range)]
    range: Option<AskedRange>,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive_to_read(|archive| write(archive, arguments, context))
}

fn write(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let snapshot = archive
        .snapshot()
        .map_err(|error| context.catalog_failure(&error))?;
    let name = &arguments.name;
    let snapshot = arguments.asked.view(snapshot, name, context)?;
    refuse_what_has_no_bytes(name, &snapshot, context)?;
    let log = Arc::new(DamageLog::default());
    let observer: Arc<dyn Observer> = Arc::<DamageLog>::clone(&log);
    let failed = |error: &ReadError| read_failure(error, name, &snapshot, context);
    let reader = snapshot
        .open_file(name, observer)
        .map_err(|error| failed(&error))?;
    let len = reader.len();
    let asked = arguments.range.map_or(Ok((0, len)), |range| {
        let range = range.within(len).ok_or_else(|| {
            let message = format!("{name} has {len} bytes, the range goes beyond its end");
            Failure::usage(message)
        })?;
        Ok((range.start(), range.end()))
    })?;
    copy(reader, asked, &snapshot, context)?;
    log.warn_about(name, context);
    warn_of_away(name, &snapshot, context)?;
    Ok(exit::SUCCESS)
}

/// Warns of volumes that are away and that hold something of the file: it was read without them.
fn warn_of_away(name: &FileName, snapshot: &Snapshot, context: &Context) -> Result<(), Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let mut volumes = Volumes::of(snapshot, context).map_err(unreadable)?;
    if volumes.away().next().is_none() {
        return Ok(());
    }
    // What was removed meanwhile has no places any more.
    let places = snapshot.places(name).unwrap_or_default();
    let shards = places.iter().flat_map(|block| block.shards.iter().flatten());
    volumes.keep_only(&shards.map(|(volume, ..)| *volume).collect());
    volumes.warn_of_away(AROUND, context);
    Ok(())
}

/// Refuses directories and links: a link is not followed, since it may lead anywhere.
fn refuse_what_has_no_bytes(name: &FileName, snapshot: &Snapshot, context: &Context) -> Result<(), Failure> {
    let find = |name: &FileName| {
        let found = snapshot.file(name);
        found.map_err(|error| context.catalog_failure(&error))
    };
    match find(name)?.map(|entry| entry.kind) {
        Some(EntryKind::Directory) => {
            let message = format!("{name} is a directory, not a file");
            Err(Failure::new(exit::FAILED, message).suggest(context.command("ls", &[name])))
        }
        Some(EntryKind::SymbolicLink { target }) => {
            let message = format!("{name} is a symbolic link to {}", text::link_target(&target));
            let mut failure = Failure::new(exit::FAILED, message);
            if let Some(led_to) = led_to(name, &target)
                && find(&led_to)?.is_some()
            {
                failure = failure.suggest(context.command("cat", &[&led_to]));
            }
            Err(failure)
        }
        // That there is nothing is said by the reader.
        Some(EntryKind::File) | None => Ok(()),
    }
}

/// Returns the stored name that a stored link leads to; `None` where it leads out of the archive.
fn led_to(link: &FileName, target: &[u8]) -> Option<FileName> {
    let mut parts: Vec<&[u8]> = link.parts().collect();
    parts.pop();
    if target.starts_with(b"/") {
        return None;
    }
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    FileName::from_bytes(&parts.join(&b'/')).ok()
}

fn copy(
    mut reader: FileReader,
    (start, end): (u64, u64),
    snapshot: &Snapshot,
    context: &Context,
) -> Result<(), Failure> {
    let name = reader.name().clone();
    reader.seek(SeekFrom::Start(start)).map_err(|error| {
        Failure::new(
            exit::FAILED,
            format!("{name} cannot be read from byte {start} on"),
        )
        .caused_by(&error)
    })?;
    let progress = context.progress("read", Some(end - start));
    let mut piece = vec![0; PIECE_LEN_BYTES];
    let mut left = end - start;
    while left > 0 && !context.output.is_closed() {
        context.check_interrupt()?;
        let wanted = usize::try_from(left).map_or(PIECE_LEN_BYTES, |left| left.min(PIECE_LEN_BYTES));
        let count = match reader.read_next(&mut piece[..wanted]) {
            Ok(count) => count,
            Err(error) => {
                // Its window of memory goes back before the file is verified.
                drop(reader);
                context.output.flush();
                return Err(read_failure(&error, &name, snapshot, context));
            }
        };
        if count == 0 {
            let message = format!("{name} ended {left} bytes before its end");
            return Err(Failure::new(exit::FAILED, message));
        }
        context.output.bytes(&piece[..count]);
        progress.add(as_u64(count));
        left -= as_u64(count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_their_own_directory_and_never_out_of_the_archive() {
        let led_to = |link: &str, target: &str| {
            let link = link.parse().expect("a name");
            led_to(&link, target.as_bytes()).map(|name| name.to_string())
        };
        for (link, target, expected) in [
            ("a/link", "file", Some("a/file")),
            ("a/link", "./b//c", Some("a/b/c")),
            ("a/b/link", "../c", Some("a/c")),
            ("link", "file", Some("file")),
            ("link", "../file", None),
            ("a/link", "/a/file", None),
            ("a/link", "..", None),
        ] {
            assert_eq!(led_to(link, target).as_deref(), expected, "{link} to {target}");
        }
    }
}
