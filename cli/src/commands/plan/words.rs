//! Odds and other numbers as people read them.

use crate::{arguments::values::Age, text};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Beyond so many to one the number itself says no more than its power of ten.
const MOST_TO_ONE: f64 = 1e15;

/// Says odds of a year twice: `1 in 45 000 a year (2.2e-5)`.
pub(super) fn odds(odds: f64) -> String {
    let to_one = 1.0 / odds;
    let of_how_many = match to_one {
        0.0..10.0 => format!("1 in {to_one:.1}"),
        10.0..MOST_TO_ONE => format!("1 in {}", grouped(&format!("{:.0}", two_digits(to_one)))),
        // Also odds that are too small for a number.
        _ => format!("less than 1 in {}", grouped(&format!("{MOST_TO_ONE:.0}"))),
    };
    format!("{of_how_many} a year ({odds:.1e})")
}

/// Rounds to two digits.
fn two_digits(number: f64) -> f64 {
    let rounded = format!("{number:.1e}").parse();
    rounded.unwrap_or(number)
}

/// Puts a space before every third digit from the end.
fn grouped(digits: &str) -> String {
    let mut groups: Vec<&str> = Vec::new();
    let mut rest = digits;
    while rest.len() > 3 {
        let (before, group) = rest.split_at(rest.len() - 3);
        groups.push(group);
        rest = before;
    }
    groups.push(rest);
    groups.reverse();
    groups.join(" ")
}

/// Says how long something takes: `7 days`, or as [`text::about`] does.
pub(super) fn age(age: Age) -> String {
    let seconds = age.seconds();
    match (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY) {
        (1, 0) => "1 day".to_owned(),
        (days, 0) => format!("{days} days"),
        (_, _) => text::about(seconds),
    }
}

/// Says what bytes take when they are stored: `3.4 MiB as 13.7 MiB, 300 % overhead`.
pub(super) fn sizes(bytes: u64, stored_bytes: u64, overhead: Option<f64>) -> String {
    let overhead = overhead.map_or_else(String::new, |overhead| {
        format!(", {:.0} % overhead", overhead * 100.0)
    });
    format!("{} as {}{overhead}", text::size(bytes), text::size(stored_bytes))
}

pub(super) fn row(label: &str, value: &str) -> String {
    format!("{label:<9} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::values;

    #[test]
    fn odds_are_said_as_one_in_how_many_and_in_scientific_form() {
        for (number, expected) in [
            (2.24e-5, "1 in 45 000 a year (2.2e-5)"),
            (0.014, "1 in 71 a year (1.4e-2)"),
            (0.34, "1 in 2.9 a year (3.4e-1)"),
            (1.0, "1 in 1.0 a year (1.0e0)"),
            (1e-3, "1 in 1 000 a year (1.0e-3)"),
            (7.4e-11, "1 in 14 000 000 000 a year (7.4e-11)"),
            (8.9e-27, "less than 1 in 1 000 000 000 000 000 a year (8.9e-27)"),
            (0.0, "less than 1 in 1 000 000 000 000 000 a year (0.0e0)"),
        ] {
            assert_eq!(odds(number), expected);
        }
    }

    #[test]
    fn whole_days_are_said_as_days() {
        for (typed, expected) in [
            ("7d", "7 days"),
            ("24h", "1 day"),
            ("36h", "1 d 12 h"),
            ("2w", "14 days"),
        ] {
            assert_eq!(age(values::age(typed).expect("an age")), expected);
        }
    }
}
