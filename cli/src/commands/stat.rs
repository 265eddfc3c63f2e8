//! `stat`: everything that is known about one file.

use bfdb::{
    archive::{Archive, BlockPlaces, FileGroups, FileHealth, FileInfo, HealthClass, HealthState},
    catalog::{Access, EntryKind},
    geometry::Tolerance,
    units::FileName,
};
use serde::Serialize;

use super::{
    damage::{FindingLine, place_and_fault, read_failure},
    entry::{Entry, kind_name, mode_text, target},
    tolerance::{self, ToleranceFields},
    versions,
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
/// Tier, code, blocks, root (what b3sum prints), tolerance, what is known to be damaged, and with -v or --json where every
/// shard lies. The catalog is asked, no file data is read: `verify` does that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb stat photo.cr3\n  \
    bfdb stat -v photo.cr3           also where its shards lie\n  \
    bfdb stat --json photo.cr3       the same as JSON lines, a line for each block")]
pub(crate) struct Arguments {
    /// Name of a file, directory or link
    #[arg(value_parser = values::name_parser())]
    name: FileName,
    #[command(flatten)]
    asked: versions::Asked,
}

/// What the catalog knows of a name.
struct Known<'k> {
    file: &'k FileInfo,
    health: Option<&'k FileHealth>,
    tolerance: Option<Tolerance>,
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
    /// How its blocks help each other; null where each stands alone.
    groups: Option<GroupFields>,
    /// What may be lost of it where it lies; null for what has no bytes.
    tolerance: Option<ToleranceFields>,
    /// What is known about how it is; not there for directories and links.
    #[serde(flatten)]
    health: Option<HealthFields>,
}

/// Groups of blocks: what may be lost in each of them, besides the tolerance of each block.
#[derive(Debug, Serialize)]
struct GroupFields {
    groups: u64,
    data_blocks: [u16; 2],
    parity_blocks: u16,
    shards: u32,
}

#[derive(Debug, Serialize)]
struct HealthFields {
    unverified: bool,
    damaged_shards: u64,
    margin: u16,
    lost_bytes: u64,
    damaged_since: Option<String>,
    last_verified: Option<String>,
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
    context.with_archive(Access::Read, |archive| show(archive, arguments, context))
}

fn show(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let name = &arguments.name;
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let snapshot = arguments.asked.view(snapshot, name, context)?;
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
    let health = snapshot.file_health(name).map_err(unreadable)?;
    let tolerance = match file.kind {
        EntryKind::File => snapshot.tolerance_of(name),
        EntryKind::Directory | EntryKind::SymbolicLink { .. } => Ok(None),
    };
    let tolerance = tolerance.map_err(|error| read_failure(&error, name, &snapshot, context))?;
    let known = Known {
        file: &file,
        health: health.as_ref(),
        tolerance,
    };
    context.output.json(&Details::of(&known));
    for line in lines_for_people(&known) {
        context.output.line(&line);
    }
    for finding in snapshot.known_damage(name).map_err(unreadable)? {
        let finding = finding.map_err(unreadable)?;
        context.output.json(&FindingLine::of(&finding));
        context.output.line(&row("damaged", &place_and_fault(&finding)));
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
    fn of(known: &Known) -> Self {
        let Known {
            file,
            health,
            tolerance,
        } = *known;
        Self {
            entry: Entry::of(file, health.map(FileHealth::class)),
            stored_bytes: file.stored_bytes,
            // Permissions only: what it is is said by the kind.
            mode: file.mode & 0o7777,
            modified_at: text::rfc3339(file.modified_at),
            blocks: file.block_count,
            data_shards: file.shape.data(),
            parity_shards: file.shape.parity(),
            groups: file.groups.map(|groups| GroupFields {
                groups: groups.count,
                data_blocks: groups.data_blocks.into(),
                parity_blocks: groups.parity_blocks,
                shards: groups.shards,
            }),
            tolerance: tolerance.map(ToleranceFields::from),
            health: health.map(|health| HealthFields {
                unverified: health.is_unverified,
                damaged_shards: health.damaged_shards,
                margin: health.margin,
                lost_bytes: health.lost_bytes,
                damaged_since: health.since.and_then(text::rfc3339),
                last_verified: health.last_verified.and_then(text::rfc3339),
            }),
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

fn lines_for_people(known: &Known) -> Vec<String> {
    let entry = known.file;
    let kind = match target(&entry.kind) {
        Some(target) => format!("symbolic link to {target}"),
        None => kind_name(&entry.kind).to_owned(),
    };
    let mut lines = vec![row("name", &entry.name.to_string()), row("kind", &kind)];
    if entry.kind == EntryKind::File {
        lines.extend(content_lines(entry, known.tolerance));
    }
    let mode = format!("{:04o} ({})", entry.mode & 0o7777, mode_text(entry));
    lines.extend([
        row("mode", &mode),
        row("modified", &text::time(entry.modified_at)),
        row("committed", &text::time(entry.committed_at)),
        row("version", &version_text(entry)),
    ]);
    lines.extend(known.health.map(|health| row("state", &state_text(health))));
    lines
}

/// Which version it is, in words.
fn version_text(entry: &FileInfo) -> String {
    if entry.is_kept {
        format!("{}, kept: another entry has the name", entry.version)
    } else {
        entry.version.to_string()
    }
}

/// How a file is, in words.
fn state_text(health: &FileHealth) -> String {
    let read_back = match health.last_verified {
        Some(at) => format!("all of it was verified at {} or later", text::time(at)),
        None if health.file.len_bytes == 0 => "it has no bytes".to_owned(),
        None => "not known to have been read back".to_owned(),
    };
    let damage = || {
        let since = health
            .since
            .map_or_else(String::new, |since| format!(" since {}", text::time(since)));
        format!("{}{since}", text::count(health.damaged_shards, "damaged shard"))
    };
    match (health.class(), health.state) {
        (HealthClass::Unverified, _) => format!("unverified: {read_back}"),
        (HealthClass::State(_), HealthState::Healthy) => format!("healthy: {read_back}"),
        (HealthClass::State(_), HealthState::Degraded) => format!(
            "degraded: {}, every byte can be read, {} more may be lost in the worst column; {read_back}",
            damage(),
            health.margin
        ),
        (HealthClass::State(_), HealthState::Lost) => {
            format!("lost: {} bytes, {}; {read_back}", health.lost_bytes, damage())
        }
    }
}

/// What only a file has.
fn content_lines(file: &FileInfo, tolerance: Option<Tolerance>) -> Vec<String> {
    let exact = |bytes: u64| format!("{} ({bytes} bytes)", text::size(bytes));
    let (data, parity) = (file.shape.data(), file.shape.parity());
    let code = if file.shape.is_replication() {
        format!("{} copies", parity + 1)
    } else {
        format!("{data} data and {parity} parity shards a block")
    };
    let tolerance = tolerance.map_or_else(
        || "it has no bytes to lose".to_owned(),
        |tolerance| tolerance::in_words(file.shape, tolerance),
    );
    let mut lines = vec![
        row("length", &exact(file.len_bytes)),
        row("stored", &exact(file.stored_bytes)),
        row("tier", &format!("{}, {code}", file.tier)),
        row("blocks", &file.block_count.to_string()),
    ];
    lines.extend(file.groups.map(|groups| row("groups", &groups_in_words(groups))));
    lines.extend([row("tolerance", &tolerance), row("root", &file.root.to_string())]);
    lines
}

/// How blocks help each other, and what may be lost for that.
fn groups_in_words(groups: FileGroups) -> String {
    let FileGroups {
        count,
        data_blocks: (narrowest, widest),
        parity_blocks,
        shards,
    } = groups;
    let blocks = if narrowest == widest {
        widest.to_string()
    } else {
        format!("{narrowest} or {widest}")
    };
    format!(
        "{count} of {blocks} blocks and {parity_blocks} of parity: of each also any {parity_blocks} blocks may be lost, \
         or any {shards} shards wherever they are"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_with_what_may_be_lost_of_each() {
        let groups = |data_blocks| FileGroups {
            count: 3,
            data_blocks,
            parity_blocks: 3,
            shards: 15,
        };
        assert_eq!(
            groups_in_words(groups((93, 93))),
            "3 of 93 blocks and 3 of parity: of each also any 3 blocks may be lost, or any 15 shards wherever they are"
        );
        assert!(groups_in_words(groups((79, 80))).starts_with("3 of 79 or 80 blocks and 3 of parity:"));
    }
}
