//! The tables of docs/tier4.md are what the code says.

use bfdb::{
    format::FrameLayout,
    geometry::{FRAME_MAX_EXTRA_LEN_BYTES, FileGeometry, Grouping, Policy, PolicyParts},
    units::{BlockIndex, CodeShape, LeafLen, ShardIndex},
};

const GB: u64 = 1_000_000_000;

fn policy(parity: u16) -> Policy {
    let shape = CodeShape::new(30, 3).unwrap();
    let grouped = Grouping::choose(shape, parity, (LeafLen::DEFAULT, 10 * GB)).unwrap();
    Policy::new(PolicyParts {
        grouped,
        ..PolicyParts::default()
    })
    .unwrap()
}

/// What the frames of a file take, summed up one by one.
fn stored_bytes(file: &FileGeometry) -> u64 {
    let frames =
        |block| (0..33).filter_map(move |shard| FrameLayout::of_shard(&block, ShardIndex::new(shard)));
    let blocks = (0..file.block_count()).map(|index| file.block(BlockIndex::new(index)));
    blocks.flat_map(frames).map(|frame| frame.total_len_bytes()).sum()
}

fn overhead(file: &FileGeometry) -> f64 {
    // In millionths, so that numbers stay small.
    let millionths = u128::from(stored_bytes(file)) * 1_000_000 / u128::from(file.len_bytes());
    f64::from(u32::try_from(millionths).unwrap()) / 1e6 - 1.0
}

fn memory_mib(policy: &Policy) -> u64 {
    policy
        .parts()
        .grouped
        .sums_len_bytes(policy.leaf())
        .div_ceil(1 << 20)
}

fn widths(file: &FileGeometry) -> String {
    let widths: Vec<u16> = file.groups().map(|group| group.code().data()).collect();
    let (least, most) = (widths.iter().min().unwrap(), widths.iter().max().unwrap());
    if least == most {
        least.to_string()
    } else {
        format!("{least} and {most}")
    }
}

fn by_length() -> String {
    let mut text = String::from(
        "| length | segments of at most | blocks | groups | blocks of a group | outer parity blocks | overhead | memory |\n|---|---|---|---|---|---|---|---|\n",
    );
    let policy = policy(3);
    for gigabytes in [10, 12, 35, 100, 500, 1000, 10_000] {
        let file = FileGeometry::new(gigabytes * GB, &policy);
        let segment_mib = f64::from(file.parts().long_columns) / 16.0;
        let row = format!(
            "| {} | {:.2} MiB | {} | {} | {} | {} | {:.2} % | {} MiB |\n",
            if gigabytes < 1000 {
                format!("{gigabytes} GB")
            } else {
                format!("{} TB", gigabytes / 1000)
            },
            segment_mib,
            file.data_block_count(),
            file.group_count(),
            widths(&file),
            file.block_count() - file.data_block_count(),
            overhead(&file) * 100.0,
            memory_mib(&policy),
        );
        text.push_str(&row);
    }
    text
}

fn by_parity() -> String {
    let mut text = String::from(
        "| P | segments of at most | blocks of a group, at least | overhead at 10 GB | at 100 GB | at 1 TB | memory | segments of a group that may be lost, any |\n|---|---|---|---|---|---|---|---|\n",
    );
    for parity in 1..=10 {
        let policy = policy(parity);
        let grouped = policy.parts().grouped;
        let overhead = |gigabytes: u64| 100.0 * overhead(&FileGeometry::new(gigabytes * GB, &policy));
        let row = format!(
            "| {parity} | {} MiB | {} | {:.1} % | {:.1} % | {:.1} % | {} MiB | {} |\n",
            grouped.segment_max_len_bytes >> 20,
            grouped.blocks_min,
            overhead(10),
            overhead(100),
            overhead(1000),
            memory_mib(&policy),
            4 * (parity + 1) - 1,
        );
        text.push_str(&row);
    }
    text
}

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    let document = include_str!("../../docs/tier4.md");
    for table in [by_length(), by_parity()] {
        assert!(document.contains(&table), "docs/tier4.md should have\n{table}");
    }
}

#[test]
fn every_length_from_10_gb_on_costs_between_11_and_15_percent_frames_included() {
    for parity in 1..=10 {
        let policy = policy(parity);
        let mut len = 10 * GB;
        while len < 640 * GB {
            // At lengths that are no multiple of anything.
            len += len / 13 + 77_777;
            let overhead = overhead(&FileGeometry::new(len, &policy));
            // A single outer parity block is cheap.
            let least = if parity == 1 { 0.105 } else { 0.11 };
            assert!(
                (least..0.15).contains(&overhead),
                "P = {parity}, {len} bytes: {overhead}"
            );
        }
    }
}

#[test]
fn a_frame_takes_no_more_beside_its_payload_and_tables_than_groupings_are_chosen_for() {
    for leaves in [1_u32, 2, 16, 63, 64, 65, 128, 1000, 65_537] {
        for payload in [1_u64, 4095, 65_535, 65_536, 65_537, 1 << 20, (4 << 20) + 2048] {
            let payload = payload.max(u64::from(leaves));
            let Ok(layout) = FrameLayout::new(payload, leaves) else {
                continue;
            };
            let extra = layout.total_len_bytes() - payload - 64 * u64::from(leaves);
            assert!(
                extra <= FRAME_MAX_EXTRA_LEN_BYTES,
                "{payload} bytes in {leaves} leaves: {extra}"
            );
        }
    }
}
