//! `catalog export`: what the catalog says, as JSON lines.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::Archive,
    catalog::{
        Access, BlockRecord, Described, DescriptorRecord, ExtentState, FileRecord, PublishedExtent, Slice,
    },
};
use serde::Serialize;

use crate::{
    commands::entry::{kind_name, target},
    context::Context,
    failure::Failure,
    text,
    volumes::state_name,
};

/// Show what the catalog knows, as JSON lines
///
/// One line for the archive, then one for each volume, extent, descriptor and entry, of one moment. Made for other programs; nothing reads
/// it back.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write to a new FILE instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "archive")]
struct ArchiveLine {
    id: String,
    format_version: u16,
    required_features: u64,
    created_at: Option<String>,
    epoch: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "volume")]
struct VolumeLine {
    number: u16,
    id: String,
    path: String,
    state: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "extent")]
struct ExtentLine {
    id: u64,
    volume: u16,
    lane: u16,
    state: &'static str,
    end_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "descriptor")]
struct DescriptorLine {
    commit: u64,
    /// Entries of the commit that are stored; null for a slice of a checkpoint.
    entries: Option<u64>,
    block: BlockFields,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "entry")]
struct EntryLine {
    id: u64,
    name: String,
    kind: &'static str,
    target: Option<String>,
    mode: u32,
    modified_at: Option<String>,
    committed_at: Option<String>,
    version: u32,
    commit: u64,
    bytes: u64,
    stored_bytes: u64,
    tier: u8,
    root: String,
    blocks: Vec<BlockFields>,
}

#[derive(Debug, Serialize)]
struct BlockFields {
    id: u64,
    offset: u64,
    bytes: u64,
    data_shards: u16,
    parity_shards: u16,
    leaf_bytes: u64,
    shards: Vec<Option<ShardFields>>,
}

#[derive(Debug, Serialize)]
struct ShardFields {
    extent: u64,
    offset: u64,
    bytes: u64,
    digest: String,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| {
        let mut lines = Lines::to(arguments.output.as_deref(), context)?;
        let exported = export(archive, &mut lines, context);
        // What could not be written is the reason, where anything could not.
        lines.finish().and(exported)?;
        Ok(0)
    })
}

fn export(archive: &Archive, lines: &mut Lines<'_>, context: &Context) -> Result<(), Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let record = archive.record();
    lines.put(&ArchiveLine {
        id: record.id.to_string(),
        format_version: record.format_version,
        required_features: record.required_features,
        created_at: text::rfc3339(record.created_at),
        epoch: snapshot.epoch().get(),
    });
    for volume in snapshot.volumes().map_err(unreadable)? {
        lines.put(&VolumeLine {
            number: volume.number,
            id: volume.id.to_string(),
            path: text::bytes(&volume.path),
            state: state_name(volume.state),
        });
    }
    let mut visit = |slice: Slice| {
        slice
            .extents
            .iter()
            .for_each(|extent| lines.put(&extent_line(extent)));
        slice
            .descriptors
            .iter()
            .for_each(|found| lines.put(&descriptor_line(found)));
        (slice.entries.iter()).for_each(|(file, blocks)| lines.put(&entry_line(file, blocks)));
        if lines.is_broken() || context.interrupt.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    snapshot.export(&mut visit).map_err(unreadable)?;
    context.check_interrupt()
}

fn extent_line(extent: &PublishedExtent) -> ExtentLine {
    ExtentLine {
        id: extent.id.get(),
        volume: extent.volume,
        lane: extent.lane.get(),
        state: match extent.state {
            ExtentState::Open => "open",
            ExtentState::Sealed => "sealed",
            ExtentState::Abandoned => "abandoned",
            ExtentState::Dropped => "dropped",
            ExtentState::Scanned => "scanned",
        },
        end_bytes: extent.end_bytes,
    }
}

fn descriptor_line(found: &DescriptorRecord) -> DescriptorLine {
    DescriptorLine {
        commit: found.commit.get(),
        entries: match found.described {
            Described::Entries(live) => Some(live),
            Described::Slice => None,
        },
        block: block_fields(&found.block),
    }
}

fn entry_line(file: &FileRecord, blocks: &[BlockRecord]) -> EntryLine {
    EntryLine {
        id: file.id.get(),
        name: file.name.to_string(),
        kind: kind_name(&file.kind),
        target: target(&file.kind),
        mode: file.mode,
        modified_at: text::rfc3339(file.modified_at),
        committed_at: text::rfc3339(file.committed_at),
        version: file.version,
        commit: file.commit.get(),
        bytes: file.geometry.len_bytes(),
        stored_bytes: file.stored_bytes,
        tier: file.geometry.tier().number(),
        root: file.root.to_string(),
        blocks: blocks.iter().map(block_fields).collect(),
    }
}

fn block_fields(block: &BlockRecord) -> BlockFields {
    let shape = block.geometry.shape();
    let shard = |shard: &Option<bfdb::catalog::ShardRecord>| {
        shard.as_ref().map(|shard| ShardFields {
            extent: shard.extent.get(),
            offset: shard.offset,
            bytes: shard.frame_len_bytes,
            digest: shard.digest.to_string(),
        })
    };
    BlockFields {
        id: block.id.get(),
        offset: block.geometry.base_offset(),
        bytes: block.geometry.data_len_bytes(),
        data_shards: shape.data(),
        parity_shards: shape.parity(),
        leaf_bytes: block.geometry.leaf().bytes(),
        shards: block.shards.iter().map(shard).collect(),
    }
}

/// Where lines go.
struct Lines<'a> {
    context: &'a Context<'a>,
    /// A file that nobody had, and its name.
    file: Option<(BufWriter<File>, &'a Path)>,
    error: Option<io::Error>,
}

impl<'a> Lines<'a> {
    fn to(path: Option<&'a Path>, context: &'a Context<'a>) -> Result<Self, Failure> {
        let file = path.map(|path| match File::create_new(path) {
            Ok(file) => Ok((BufWriter::new(file), path)),
            Err(error) => Err(Self::failure(path, &error)),
        });
        Ok(Self {
            context,
            file: file.transpose()?,
            error: None,
        })
    }

    fn put(&mut self, line: &impl Serialize) {
        let mut bytes = serde_json::to_vec(line).expect("a line is plain data");
        bytes.push(b'\n');
        match &mut self.file {
            None => self.context.output.bytes(&bytes),
            Some((file, _)) if self.error.is_none() => self.error = file.write_all(&bytes).err(),
            Some(_) => {}
        }
    }

    fn is_broken(&self) -> bool {
        self.error.is_some() || (self.file.is_none() && self.context.output.is_closed())
    }

    fn finish(self) -> Result<(), Failure> {
        let Some((mut file, path)) = self.file else {
            return Ok(());
        };
        let written = match self.error {
            Some(error) => Err(error),
            None => file.flush().and_then(|()| file.get_ref().sync_all()),
        };
        written.map_err(|error| Self::failure(path, &error))
    }

    fn failure(path: &Path, error: &io::Error) -> Failure {
        Failure::new(crate::exit::FAILED, format!("{}: {error}", text::path(path)))
    }
}
