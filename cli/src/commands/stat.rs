//! `stat`: everything that is known about one file.

use bfdb::{
    archive::{Archive, BlockPlaces, FileInfo},
    catalog::{Access, EntryKind},
    units::FileName,
};
use serde::Serialize;

use super::{
    damage::read_failure,
    entry::{Entry, STATE, kind_name, mode_text, target},
};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning},
    output::{Form, Loudness},
    text,
};

/// Show everything that is known about a file, directory or link
///
/// Tier, code, blocks, root (what b3sum prints), tolerance, and with -v or --json where every shard lies. The catalog is
/// asked, no file data is read: `verify` does that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb stat photo.cr3\n  \
    bfdb stat -v photo.cr3           also where its shards lie\n  \
    bfdb stat --json photo.cr3       the same as JSON lines, a line for each block")]
pub(crate) struct Arguments {
    /// Name of a file, directory or link
    #[arg(value_parser = values::name_parser())]
    name: FileName,
}

#[derive(Debug, Serialize)]
struct Details {
    #[serde(flatten)]
    entry: Entry,
    stored_bytes: u64,
    mode: u32,
    modified_at: Option<String>,
    blocks: u64,
    data_shards: u16,
    parity_shards: u16,
    /// Shards of each block that may be lost.
    tolerance: u16,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "block")]
struct BlockLine {
    block: u64,
    shards: Vec<Option<ShardLine>>,
}

#[derive(Debug, Serialize)]
struct ShardLine {
    volume: String,
    extent: u64,
    offset: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    blocks: u64,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| show(archive, &arguments.name, context))
}

fn show(archive: &Archive, name: &FileName, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let missing = || {
        let message = format!("no file named {name} in this archive");
        context.explain(Failure::new(exit::NO_SUCH_NAME, message), Meaning::NoSuchName)
    };
    let file = snapshot.file(name).map_err(unreadable)?.ok_or_else(missing)?;
    let is_asked_for = context.output.form() == Form::Json || context.output.loudness() == Loudness::Verbose;
    let places = if is_asked_for && file.kind == EntryKind::File {
        let places = snapshot.places(name);
        places.map_err(|error| read_failure(&error, name, &snapshot, context))?
    } else {
        Vec::new()
    };
    context.output.json(&Details::of(&file));
    for line in lines_for_people(&file) {
        context.output.line(&line);
    }
    for block in &places {
        context.output.json(&BlockLine::of(block));
        for line in shard_lines(block) {
            context.output.line(&line);
        }
    }
    context.output.json(&Summary {
        files: 1,
        blocks: file.block_count,
    });
    Ok(exit::SUCCESS)
}

impl Details {
    fn of(file: &FileInfo) -> Self {
        Self {
            entry: Entry::of(file),
            stored_bytes: file.stored_bytes,
            // Permissions only: what it is is said by the kind.
            mode: file.mode & 0o7777,
            modified_at: text::rfc3339(file.modified_at),
            blocks: file.block_count,
            data_shards: file.shape.data(),
            parity_shards: file.shape.parity(),
            tolerance: file.shape.parity(),
        }
    }
}

impl BlockLine {
    fn of(places: &BlockPlaces) -> Self {
        let shard =
            |(volume, extent, offset): &(bfdb::units::VolumeId, bfdb::units::ExtentId, u64)| ShardLine {
                volume: volume.to_string(),
                extent: extent.get(),
                offset: *offset,
            };
        Self {
            block: places.block.get(),
            shards: places
                .shards
                .iter()
                .map(|place| place.as_ref().map(shard))
                .collect(),
        }
    }
}

fn row(label: &str, value: &str) -> String {
    format!("{label:<10} {value}")
}

fn lines_for_people(entry: &FileInfo) -> Vec<String> {
    let kind = match target(&entry.kind) {
        Some(target) => format!("symbolic link to {target}"),
        None => kind_name(&entry.kind).to_owned(),
    };
    let mut lines = vec![row("name", &entry.name.to_string()), row("kind", &kind)];
    if entry.kind == EntryKind::File {
        lines.extend(content_lines(entry));
    }
    let mode = format!("{:04o} ({})", entry.mode & 0o7777, mode_text(entry));
    lines.extend([
        row("mode", &mode),
        row("modified", &text::time(entry.modified_at)),
        row("committed", &text::time(entry.committed_at)),
    ]);
    if entry.kind == EntryKind::File {
        lines.push(row(
            "state",
            &format!("{STATE}: not known to have been read back"),
        ));
    }
    lines
}

/// What only a file has.
fn content_lines(file: &FileInfo) -> [String; 6] {
    let exact = |bytes: u64| format!("{} ({bytes} bytes)", text::size(bytes));
    let (data, parity) = (file.shape.data(), file.shape.parity());
    let code = if file.shape.is_replication() {
        format!("{} copies", parity + 1)
    } else {
        format!("{data} data and {parity} parity shards a block")
    };
    [
        row("length", &exact(file.len_bytes)),
        row("stored", &exact(file.stored_bytes)),
        row("tier", &format!("{}, {code}", file.tier)),
        row("blocks", &file.block_count.to_string()),
        row(
            "tolerance",
            &format!("any {parity} of the {} shards of each block", data + parity),
        ),
        row("root", &file.root.to_string()),
    ]
}

fn shard_lines(places: &BlockPlaces) -> impl Iterator<Item = String> {
    places
        .shards
        .iter()
        .enumerate()
        .map(|(shard, place)| match place {
            Some((volume, extent, offset)) => format!(
                "block {} shard {shard}: extent {extent} at {offset} on volume {volume}",
                places.block
            ),
            None => format!("block {} shard {shard}: behind the end of the file", places.block),
        })
}
