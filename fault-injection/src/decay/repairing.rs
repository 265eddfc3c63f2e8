//! Somebody repairs what is damaged: afterwards nothing is but what no code brings back, and as much as ever may be lost again.

use std::collections::BTreeMap;

use bfdb::{
    Access, Archive, Snapshot,
    archive::{RepairMode, RepairOptions, RepairReport},
    catalog::HealthTotals,
};

use super::{
    chart::{Block, Chart, Extents, path_of},
    frame::{Frame, bytes},
    harm::{Damaged, Harm, Wound, whole},
    oracle::{self, Damage, Expected, Told},
    reports::told_of_file,
    verdict::{Truth, Visit, close, no_wait, open},
};
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        books::Books,
        recount::{CatalogPast, find_leaks},
        setting::{ROOT, explained},
        violation::{Promise, Violation},
    },
    resting::edit,
};

impl Visit<'_> {
    /// Scrubs and repairs on what a reader has left, looks at what has become of it, and repairs once more.
    pub(super) fn repair(&self, read: &SimulatedStorage, expected: &Expected) -> Result<(), Violation> {
        let disk = self.damaged.on(read);
        let archive = open(&disk, Access::Write)?;
        let before = Truth {
            chart: &self.subject.chart,
            contents: self.subject.contents(),
            expected,
        };
        before.scrub(&archive)?;
        judge_health(&archive, expected)?;
        let looked = repaired(&archive, RepairMode::Look)?;
        let report = repaired(&archive, RepairMode::Repair)?;
        let chart = Chart::read(&disk).map_err(|error| Promise::Opens.broken(error))?;
        let places = oracle::Bytes {
            before: &self.subject.extents,
            damaged: self.damaged,
        };
        let after = Truth {
            expected: &oracle::expected(&chart, &places),
            chart: &chart,
            contents: self.subject.contents(),
        };
        judge_repair((&looked, &report), (expected, after.expected))?;
        judge_places(&self.subject.chart, &chart)?;
        judge_health(&archive, after.expected)?;
        self.judge(&archive, &after)?;
        repair_again(&disk, &archive, &report)?;
        close(archive)?;
        no_wait(&disk)?;
        self.recount(&disk)?;
        if after.expected.findings.is_empty() {
            self.hurt_again(&disk, &chart)?;
        }
        Ok(())
    }

    /// Compares the catalog with the disk.
    fn recount(&self, disk: &SimulatedStorage) -> Result<(), Violation> {
        let unread = |error| Promise::Opens.broken(format!("closed catalog: {error}"));
        let books = Books::read(disk, ROOT.as_ref()).map_err(unread)?;
        let mut leaks = find_leaks(disk, &books, CatalogPast::Newest).map_err(unread)?;
        // Of an extent that is gone, or has another length, that is what is wrong.
        let mut hurt = self.damaged.after.iter();
        if hurt.any(|(extent, after)| self.subject.extents.get(extent).map(Vec::len) != Some(after.len())) {
            leaks.retain(|leak| !leak.starts_with("there is no") && !leak.starts_with("the file has"));
        }
        let first = leaks.into_iter().next();
        first.map_or(Ok(()), |leak| {
            Err(Promise::NoLeak.broken(format!("repaired: {leak}")))
        })
    }

    /// Takes as many shards of every block again as its code survives, wherever they lie now: no byte is lost.
    fn hurt_again(&self, disk: &SimulatedStorage, chart: &Chart) -> Result<(), Violation> {
        // What could not be read before can be now: what stands there is as good as any.
        let disk = disk.settled();
        let extents: Extents = chart
            .lanes
            .keys()
            .map(|id| (*id, edit::contents(&disk, &path_of(*id)).unwrap_or_default()))
            .collect();
        let mut seeded = Seeded::new(self.subject.seed ^ self.damaged.number() ^ 0xA6A1);
        let mut wounds = Vec::new();
        for block in &chart.blocks {
            let mut frames: Vec<Frame> = block.frames.clone();
            seeded.shuffle(&mut frames);
            let hit = frames.iter().zip(0..block.code.parity);
            wounds.extend(hit.map(|(frame, _)| Wound {
                extent: frame.extent,
                harm: Harm::Zeros(whole(&frame.whole())),
            }));
        }
        let damaged = Damaged::new(&disk, &extents, &wounds);
        let damaged = damaged.map_err(|error| Promise::Opens.broken(format!("hurt again: {error}")))?;
        let places = oracle::Bytes {
            before: &extents,
            damaged: &damaged,
        };
        let expected = oracle::expected(chart, &places);
        if !expected.lost.is_empty() {
            return Err(Promise::Content.broken(format!("hurt again: {:?} is lost", expected.lost)));
        }
        let truth = Truth {
            chart,
            contents: self.subject.contents(),
            expected: &expected,
        };
        let disk = damaged.fork();
        let archive = open(&disk, Access::Read)?;
        self.judge(&archive, &truth)?;
        close(archive)
    }
}

fn repaired(archive: &Archive, mode: RepairMode) -> Result<RepairReport, Violation> {
    let options = RepairOptions {
        mode,
        ..RepairOptions::default()
    };
    let report = archive.repair(&options, &());
    report.map_err(|error| Promise::Writable.broken(format!("{mode:?}: {}", explained(&error))))
}

/// Compares what a repair has told, before it and behind it, with what was to be repaired and with what there is now.
fn judge_repair(
    (looked, report): (&RepairReport, &RepairReport),
    (before, after): (&Expected, &Expected),
) -> Result<(), Violation> {
    let wrong = |what: String| Err(Promise::Whole.broken(what));
    let remains = before.remains();
    let is_new = |told: &&Told| !remains.contains(told);
    if let Some(told) = after.findings.iter().find(is_new) {
        return wrong(format!("{told:?} is damaged still, of {before:?}"));
    }
    if after.findings.len() < remains.len() {
        return wrong(format!(
            "{:?} is damaged still, it should be {remains:?}",
            after.findings
        ));
    }
    if after.lost != before.lost {
        return wrong(format!(
            "repair: {:?} is lost, it was {:?}",
            after.lost, before.lost
        ));
    }
    let told: Vec<(String, bool, Damage)> = report.damage.iter().map(told_of_file).collect();
    let stays = after.damage.iter();
    let stays: Vec<(String, bool, Damage)> = stays
        .map(|((name, is_descriptor), damage)| (name.clone(), *is_descriptor, damage.clone()))
        .collect();
    if told != stays {
        return wrong(format!("repair: {told:?} is told, it is {stays:?}"));
    }
    let whole_again = before
        .damage
        .keys()
        .filter(|key| !after.damage.contains_key(*key));
    let files = bytes(whole_again.filter(|(_, is_descriptor)| !is_descriptor).count());
    let shards = bytes(before.findings.len() - after.findings.len());
    let counted = (
        report.files_repaired,
        report.shards_repaired,
        report.shards_found_whole,
    );
    if counted != (files, shards, 0) || (report.bytes_written == 0) != (shards == 0) {
        return wrong(format!(
            "repair: {report:?}, it is {files} files and {shards} shards"
        ));
    }
    let sums = |report: &RepairReport| {
        (
            report.shards_repaired,
            report.bytes_written,
            report.shards_found_whole,
        )
    };
    if sums(looked) != sums(report) || looked.damage != report.damage {
        return wrong(format!("{looked:?} was foretold, it is {report:?}"));
    }
    Ok(())
}

/// Says that whatever moved lies in an extent that its block had no frame in, and in the lane that it was in.
fn judge_places(before: &Chart, after: &Chart) -> Result<(), Violation> {
    // Descriptors are met in the order of the disk.
    let key = |block: &Block| (block.name.clone(), block.holds, block.index);
    let now: BTreeMap<_, &Block> = after.blocks.iter().map(|block| (key(block), block)).collect();
    for was in &before.blocks {
        let Some(is) = now.get(&key(was)) else {
            return Err(Promise::Content.broken(format!("repaired and gone: {was:?}")));
        };
        let moved = was.frames.iter().zip(&is.frames);
        for (old, new) in moved.filter(|(old, new)| (old.extent, old.offset) != (new.extent, new.offset)) {
            let is_elsewhere = was.frames.iter().all(|frame| frame.extent != new.extent);
            if !is_elsewhere || before.lanes.get(&old.extent) != after.lanes.get(&new.extent) {
                return Err(Promise::Whole.broken(format!("repaired in the wrong place: {old:?}, {new:?}")));
            }
        }
    }
    Ok(())
}

/// Repairs what is left: nothing can be done about it, and nothing is written.
fn repair_again(disk: &SimulatedStorage, archive: &Archive, first: &RepairReport) -> Result<(), Violation> {
    let before = disk.counts().mutating();
    let report = repaired(archive, RepairMode::Repair)?;
    let expected = RepairReport {
        damage: first.damage.clone(),
        ..RepairReport::default()
    };
    if report != expected {
        return Err(Promise::RecoversOnce.broken(format!("repaired again: {report:?}, it is {expected:?}")));
    }
    match disk.operations_since(before).first() {
        None => Ok(()),
        Some(operation) => {
            let detail = format!(
                "repaired again: {:?} of {}",
                operation.kind(),
                operation.path().display()
            );
            Err(Promise::RecoversOnce.broken(detail))
        }
    }
}

/// Compares what the catalog says of all files and of the damaged ones with what there is, when all of it was read (O8).
fn judge_health(archive: &Archive, expected: &Expected) -> Result<(), Violation> {
    let refused = |error: &dyn std::error::Error| Promise::Totals.broken(explained(error));
    let snapshot = archive.snapshot().map_err(|error| refused(&error))?;
    let count = |is_descriptor: bool, is_lost: bool| {
        let of_kind = expected
            .damage
            .iter()
            .filter(|((_, other), damage)| *other == is_descriptor && damage.lost.is_empty() != is_lost);
        bytes(of_kind.count())
    };
    let (lost_descriptors, degraded_descriptors) = (count(true, true), count(true, false));
    let counted = HealthTotals {
        degraded_files: count(false, false),
        lost_files: count(false, true),
        unverified_files: 0,
        damaged_shards: bytes(expected.findings.len()),
        damaged_descriptors: lost_descriptors + degraded_descriptors,
        lost_descriptors,
    };
    let known = snapshot.health_totals().map_err(|error| refused(&error))?.known;
    if known != counted {
        return Err(Promise::Totals.broken(format!("{known:?}, counted {counted:?}")));
    }
    let files = expected
        .damage
        .iter()
        .filter(|((_, is_descriptor), _)| !is_descriptor);
    for ((name, _), damage) in files {
        judge_file(&snapshot, name, damage)?;
    }
    Ok(())
}

/// Says that the catalog knows of no damage: whoever reads an archive notes none.
pub(super) fn nothing_is_known(archive: &Archive) -> Result<(), Violation> {
    let known = archive.snapshot().and_then(|snapshot| snapshot.health_totals());
    let known = known
        .map_err(|error| Promise::Totals.broken(explained(&error)))?
        .known;
    match known.damaged_shards {
        0 => Ok(()),
        _ => Err(Promise::ReadingChangesNothing.broken(format!("a reader has noted {known:?}"))),
    }
}

fn judge_file(snapshot: &Snapshot, name: &str, damage: &Damage) -> Result<(), Violation> {
    let health = snapshot.file_health(&name.parse().expect("names of workloads are names"));
    let health = health.map_err(|error| Promise::Totals.broken(explained(&error)))?;
    let told = health
        .as_ref()
        .map(|health| (health.damaged_shards, health.lost_bytes));
    let lost = damage.lost.iter().map(|range| range.end - range.start).sum();
    if told == Some((damage.shards, lost)) {
        Ok(())
    } else {
        Err(Promise::Totals.broken(format!("{health:?}, it is {damage:?}")))
    }
}
