//! Damage that an operation met: collected while it runs, shown as findings, warnings and lost ranges.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use bfdb::{
    archive::{DamageKind, DamagePart, Event, FileDamage, Finding, Observer, Snapshot},
    error::ReadError,
    units::{BlockIndex, ByteRange, FileName, ShardIndex},
};
use serde::Serialize;

use super::entry::{called, kept_version};
use crate::{
    context::Context,
    failure::{Failure, of_absence, read_error, scrub_error},
    output::Loudness,
    text,
    volumes::Volumes,
};

/// Collects the damaged shards of every file that is read.
#[derive(Debug, Default)]
pub(super) struct DamageLog {
    files: Mutex<BTreeMap<FileName, DamagedShards>>,
}

/// What is wrong with each damaged shard of a file, in words.
type DamagedShards = BTreeMap<(BlockIndex, ShardIndex), String>;

impl Observer for DamageLog {
    fn event(&self, event: Event<'_>) {
        if let Event::Damage(finding) = event {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let shards = files.entry(finding.name.clone()).or_default();
            // Several parts of a shard may be bad; the first that was met is shown.
            shards
                .entry((finding.block, finding.shard))
                .or_insert_with(|| place_and_fault(finding));
        }
    }
}

impl DamageLog {
    /// Warns of the damage that was decoded around in one file, and forgets it.
    pub(super) fn warn_about(&self, name: &FileName, context: &Context) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shards) = files.remove(name) else { return };
        drop(files);
        let blocks: BTreeSet<BlockIndex> = shards.keys().map(|(block, _)| *block).collect();
        let message = format!(
            "{name}: {} in {} decoded around, every byte delivered is right",
            text::count(as_u64(shards.len()), "damaged shard"),
            text::count(as_u64(blocks.len()), "block"),
        );
        context.warn(message, vec![context.command("verify", &[name])]);
        if context.output.loudness() == Loudness::Verbose {
            for shard in shards.values() {
                context.output.note(&format!("{name}: {shard}"));
            }
        }
    }

    /// Forgets what was met in one file, where something worse is told of it.
    pub(super) fn forget(&self, name: &FileName) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(name);
    }
}

/// Puts into words why a file could not be read. Where bytes are lost the file is verified first, so that the failure names
/// all of them and not only those that were met first.
pub(super) fn read_failure(
    error: &ReadError,
    name: &FileName,
    snapshot: &Snapshot,
    context: &Context,
) -> Failure {
    if let Ok(volumes) = Volumes::of(snapshot, context)
        && let Some(failure) = of_absence(error, name, &volumes, context)
    {
        return failure;
    }
    let meaning = read_error(error);
    let mut failure = context.failure(error, meaning);
    // Of a name that is gone meanwhile nothing more is known.
    let version = snapshot
        .file(name)
        .ok()
        .flatten()
        .and_then(|file| kept_version(&file));
    let ReadError::Lost { range, .. } = error else {
        return failure;
    };
    let mut lost = vec![*range];
    match snapshot.verify(Some(name), context.interrupt) {
        Ok(report) => {
            let is_it = |file: &FileDamage| (&file.name, file.kept_version) == (name, version);
            let files = report.damage.into_iter().filter(is_it);
            lost.extend(files.flat_map(|file| file.lost));
        }
        Err(verify) => {
            failure = failure.caused_by(&verify);
            failure.code = crate::exit::worst(failure.code, scrub_error(&verify).code());
        }
    }
    ByteRange::merge(&mut lost);
    let bytes: u64 = lost.iter().map(|range| range.len()).sum();
    failure = failure.under(format!(
        "{name}: {bytes} bytes are lost in {}",
        text::count(as_u64(lost.len()), "range")
    ));
    failure.ranges = lost;
    failure.suggest(context.command("verify", &[name]))
}

/// The JSON line of a damaged shard.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "finding")]
pub(super) struct FindingLine {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    block: u64,
    shard: u16,
    columns: Vec<(u32, u32)>,
    kind: &'static str,
    recoverable: bool,
    part: &'static str,
    volume: String,
    extent: u64,
}

impl FindingLine {
    pub(super) fn of(finding: &Finding) -> Self {
        Self {
            name: finding.name.to_string(),
            kept_version: finding.kept_version,
            block: finding.block.get(),
            shard: finding.shard.get(),
            columns: finding.columns.runs(),
            kind: match finding.kind {
                DamageKind::Checksum => "checksum",
                DamageKind::Missing => "missing",
                DamageKind::IoError => "io_error",
                DamageKind::Misplaced => "misplaced",
                DamageKind::Encoding => "encoding",
            },
            recoverable: finding.is_recoverable,
            part: part_name(finding.part),
            volume: finding.volume.to_string(),
            extent: finding.extent.get(),
        }
    }
}

/// The line of a damaged shard for people.
pub(super) fn finding_text(finding: &Finding) -> String {
    let outcome = if finding.is_recoverable {
        "every byte can still be read"
    } else {
        "bytes are lost"
    };
    let called = called(&finding.name, finding.kept_version);
    format!("{called}: {}; {outcome}", place_and_fault(finding))
}

/// Where a damaged shard is, and what is wrong with it.
pub(super) fn place_and_fault(finding: &Finding) -> String {
    let fault = match finding.kind {
        DamageKind::Checksum => "does not match its hash",
        DamageKind::Missing => "is missing",
        DamageKind::IoError => "cannot be read from the disk",
        DamageKind::Misplaced => "belongs elsewhere",
        DamageKind::Encoding => "is not what the data encode to",
    };
    let runs = finding.columns.runs();
    let columns = if runs.is_empty() {
        String::new()
    } else {
        let runs: Vec<String> = runs
            .iter()
            .map(|(start, end)| format!("{start}..{end}"))
            .collect();
        format!(" in columns {}", runs.join(", "))
    };
    format!(
        "block {} shard {} (extent {}): the {} {fault}{columns}",
        finding.block,
        finding.shard,
        finding.extent,
        part_name(finding.part)
    )
}

const fn part_name(part: DamagePart) -> &'static str {
    match part {
        DamagePart::Header => "header",
        DamagePart::Table => "table",
        DamagePart::Footer => "footer",
        DamagePart::Payload => "payload",
    }
}

pub(super) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).expect("an address fits 64 bits")
}
