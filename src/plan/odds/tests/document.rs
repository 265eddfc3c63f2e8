//! docs/odds.md against the code.

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/odds.md");

/// Returns the rows of the table whose head begins with `head`.
fn document_rows(head: &str) -> Vec<String> {
    let mut lines = DOCUMENT.lines();
    assert!(
        lines.any(|line| line.starts_with(head)),
        "docs/odds.md has a table {head}"
    );
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(str::to_owned)
        .collect()
}

fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn odds(odds: f64) -> String {
    format!("{odds:.1e}")
}

/// `2 x 5, 1 x 3` for two volumes with five shards and one with three.
fn dealt(counts: &[u16]) -> String {
    let runs = counts.chunk_by(|one, next| one == next);
    let runs: Vec<String> = runs.map(|run| format!("{} x {}", run.len(), run[0])).collect();
    runs.join(", ")
}

#[test]
fn odds_by_volumes_of_the_document_are_those_of_the_code() {
    let spread = |data, parity, volumes| (shape(data, parity), spread_counts(shape(data, parity), volumes));
    let placements = [
        spread(30, 3, 1),
        (shape(30, 3), vec![5, 4, 4, 4, 4, 4, 4, 4]),
        spread(30, 3, 11),
        spread(30, 3, 17),
        spread(30, 3, 33),
        spread(3, 3, 2),
        spread(6, 3, 3),
        spread(15, 3, 6),
        spread(8, 4, 6),
        spread(1, 3, 1),
        spread(1, 3, 2),
        spread(1, 3, 3),
        spread(1, 3, 4),
    ];
    let rows: Vec<String> = placements
        .iter()
        .map(|(shape, counts)| {
            let survived = volumes_survived(counts, shape.parity());
            let mut cells = vec![shape.to_string(), dealt(counts), survived.to_string()];
            for p in [0.014, 0.05] {
                for days in [NEVER, 30.0, 7.0] {
                    cells.push(odds(loss_by_volumes(
                        counts,
                        shape.parity(),
                        &volume_rates(p, days),
                    )));
                }
            }
            row(&cells)
        })
        .collect();
    assert_eq!(
        document_rows("| code | volumes x shards |"),
        rows,
        "the table has to be\n{}\n",
        rows.join("\n")
    );
}

fn columns(len_bytes: u64, blocked_shape: CodeShape) -> u64 {
    let policy = Policy::new(PolicyParts {
        blocked_shape,
        blocked_below_bytes: u64::MAX,
        ..PolicyParts::default()
    })
    .expect("valid policy");
    assert_eq!(
        policy.leaf(),
        LeafLen::DEFAULT,
        "the table is for leaves of 64 KiB"
    );
    let file = FileGeometry::new(len_bytes, &policy);
    file.blocks().map(|block| u64::from(block.column_count())).sum()
}

#[test]
fn odds_by_leaves_of_the_document_are_those_of_the_code() {
    let files = [
        ("1 MB", 1_000_000, shape(1, 3)),
        ("100 MB", 100_000_000, shape(1, 3)),
        ("1 GB", 1_000_000_000, shape(30, 3)),
        ("10 GB", 10_000_000_000, shape(30, 3)),
        ("10 GB", 10_000_000_000, shape(15, 3)),
        ("10 GB", 10_000_000_000, shape(6, 3)),
        ("10 GB", 10_000_000_000, shape(8, 4)),
    ];
    let rows: Vec<String> = files
        .iter()
        .map(|(length, len_bytes, shape)| {
            let columns = columns(*len_bytes, *shape);
            let mut cells = vec![(*length).to_owned(), shape.to_string(), columns.to_string()];
            for leaf_per_year in [1e-4, 1e-6] {
                for days in [365.0, 30.0] {
                    cells.push(odds(loss_by_leaves(
                        *shape,
                        columns,
                        &leaf_rates(leaf_per_year, days),
                    )));
                }
            }
            row(&cells)
        })
        .collect();
    assert_eq!(
        document_rows("| file | code | columns |"),
        rows,
        "the table has to be\n{}\n",
        rows.join("\n")
    );
}

#[test]
fn odds_together_of_the_document_are_those_of_the_code() {
    let placements = [
        (30, 3, 1),
        (30, 3, 11),
        (30, 3, 33),
        (6, 3, 3),
        (15, 3, 6),
        (8, 4, 6),
    ];
    let rows: Vec<String> = placements
        .iter()
        .map(|(data, parity, volumes)| {
            let shape = shape(*data, *parity);
            let counts = spread_counts(shape, *volumes);
            let columns = columns(10_000_000_000, shape);
            let mut cells = vec![shape.to_string(), dealt(&counts)];
            for leaf_per_year in [1e-4, 1e-6, 1e-8] {
                let rates = leaf_rates(leaf_per_year, 30.0);
                cells.push(odds(LossOdds::new(&counts, shape, columns, &rates).total()));
                cells.push(odds(loss_together(&counts, shape, columns, &rates)));
            }
            row(&cells)
        })
        .collect();
    assert_eq!(
        document_rows("| a 10 GB file in |"),
        rows,
        "the table has to be\n{}\n",
        rows.join("\n")
    );
}
