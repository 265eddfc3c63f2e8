//! Whether `scrub` and `verify` tell of exactly what is damaged: every shard, every lost byte, and no other.

use std::sync::{Mutex, PoisonError};

use bfdb::{
    Archive, Snapshot,
    archive::{DamagePart, Event, FileDamage, Finding, Observer, ScrubReport},
};

use super::{
    chart::Holds,
    frame::bytes,
    oracle::{Damage, Part, Told},
    verdict::Truth,
};
use crate::crashes::{
    setting::explained,
    violation::{Promise, Violation},
};

impl Truth<'_> {
    pub(super) fn scrub(&self, archive: &Archive) -> Result<(), Violation> {
        let heard = Heard::default();
        let report = archive.scrub(&heard);
        let report =
            report.map_err(|error| Promise::Whole.broken(format!("scrub: {}", explained(&error))))?;
        if !report.journal.is_empty() {
            return Err(Promise::Journal.broken(format!("scrub: {:?}", report.journal)));
        }
        self.judge("scrub", (&report, heard.findings()), &Holds::ALL)
    }

    /// A verification reads files alone.
    pub(super) fn verify(&self, snapshot: &Snapshot) -> Result<(), Violation> {
        let heard = Heard::default();
        let report = snapshot.verify(None, &heard);
        let report =
            report.map_err(|error| Promise::Whole.broken(format!("verify: {}", explained(&error))))?;
        let files = [Holds::Tiny, Holds::Segmented, Holds::Blocked];
        self.judge("verify", (&report, heard.findings()), &files)
    }

    fn judge(
        &self,
        who: &str,
        (report, findings): (&ScrubReport, Vec<Finding>),
        read: &[Holds],
    ) -> Result<(), Violation> {
        let is_read = |is_descriptor: bool| !is_descriptor || read.contains(&Holds::Descriptor);
        let damage = self.expected.damage.iter();
        let damage: Vec<_> = damage
            .filter(|((_, is_descriptor), _)| is_read(*is_descriptor))
            .map(|((name, is_descriptor), damage)| (name.clone(), *is_descriptor, damage.clone()))
            .collect();
        let told: Vec<_> = report.damage.iter().map(told_of_file).collect();
        if told != damage {
            return Err(Promise::Whole.broken(format!("{who}: {told:?} is told, it is {damage:?}")));
        }
        let blocks = self.chart.blocks.iter();
        let blocks = bytes(blocks.filter(|block| read.contains(&block.holds)).count());
        let shards = damage.iter().map(|(_, _, damage)| damage.shards).sum();
        let counted = (report.files, report.blocks, report.damaged_shards);
        if counted != (self.chart.files, blocks, shards) {
            let detail = format!("{who}: {counted:?}, {:?}", (self.chart.files, blocks, shards));
            return Err(Promise::Totals.broken(detail));
        }
        let of_descriptors =
            |told: &&Told| is_read(self.expected.damage.contains_key(&(told.name.clone(), true)));
        let expected: Vec<&Told> = self.expected.findings.iter().filter(of_descriptors).collect();
        if findings.len() != expected.len() {
            let detail = format!("{who}: {findings:?} is told, it is {expected:?}");
            return Err(Promise::Whole.broken(detail));
        }
        for (finding, expected) in findings.iter().zip(expected) {
            if !is_told(finding, expected) {
                let detail = format!("{who}: {finding:?} is told, it is {expected:?}");
                return Err(Promise::Whole.broken(detail));
            }
        }
        Ok(())
    }
}

pub(super) fn told_of_file(file: &FileDamage) -> (String, bool, Damage) {
    let lost = file.lost.iter().map(|range| range.start()..range.end());
    let damage = Damage {
        shards: file.damaged_shards,
        lost: lost.collect(),
    };
    (file.name.to_string(), file.descriptor.is_some(), damage)
}

/// Says whether a finding is what there is to be found.
fn is_told(finding: &Finding, expected: &Told) -> bool {
    let is_part = match expected.part {
        Part::Header => finding.part == DamagePart::Header,
        Part::Table => finding.part == DamagePart::Table,
        Part::Footer => finding.part == DamagePart::Footer,
        Part::Payload => finding.part == DamagePart::Payload,
        Part::Around => finding.part != DamagePart::Payload,
    };
    let columns: Vec<u64> = finding.columns.iter().map(|column| column.get().into()).collect();
    is_part
        && finding.name.to_string() == expected.name
        && finding.block.get() == expected.block
        && u64::from(finding.shard.get()) == expected.shard
        && columns == expected.columns
        && finding.is_recoverable == expected.is_recoverable
}

/// Keeps what is told.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Finding>>);

impl Heard {
    fn findings(self) -> Vec<Finding> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Heard {
    fn event(&self, event: Event<'_>) {
        if let Event::Damage(finding) = event {
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push(finding.clone());
        }
    }
}
