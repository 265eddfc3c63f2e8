//! Every single measurement, for other programs.

use anyhow::Result;
use serde::Serialize;

use super::{
    Report,
    targets::{self, Target},
};
use crate::{bench::Sample, machine::Machine, workload::WorkloadKind};

#[derive(Debug, Serialize)]
struct Document<'a> {
    machine: &'a Machine,
    workloads: Vec<Measured>,
    samples: &'a [Sample],
    targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Measured {
    workload: WorkloadKind,
    files: u64,
    bytes: u64,
    rounds: u32,
}

pub(crate) fn render(report: &Report) -> Result<String> {
    let document = Document {
        machine: &report.machine,
        workloads: report
            .workloads
            .iter()
            .map(|workload| Measured {
                workload: workload.kind,
                files: workload.files.count,
                bytes: workload.files.bytes(),
                rounds: workload.rounds,
            })
            .collect(),
        samples: &report.samples,
        targets: targets::all(report, &report.summary()),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::report_of, *};
    use crate::{bench::Operation, tools::ToolName};

    #[test]
    fn every_round_is_there_with_all_that_it_took() {
        let report = report_of(
            WorkloadKind::Tier3,
            &[(
                Operation::RestoreDamaged,
                ToolName::Bfdb,
                "bfdb restore",
                &[2.0, 3.0],
            )],
        );
        let document: serde_json::Value =
            serde_json::from_str(&render(&report).expect("rendered")).expect("it is JSON");
        let samples = document["samples"].as_array().expect("a list");
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[1]["wall_seconds"], 3.0);
        assert_eq!(samples[1]["operation"], "restore_damaged");
        assert_eq!(samples[1]["tool"], "bfdb");
        assert_eq!(samples[1]["round"], 1);
        assert_eq!(document["workloads"][0]["bytes"], 4_u64 << 30);
        assert_eq!(document["machine"]["threads"], 2);
    }
}
