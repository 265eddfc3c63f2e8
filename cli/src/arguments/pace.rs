//! How much a scrub may read, and how fast, as it is typed.

use core::{num::NonZeroU64, time::Duration};

use super::values::{age, size};

/// When a scrub ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScrubBudget {
    /// After so many bytes.
    Bytes(u64),
    /// After so long.
    Time(Duration),
    /// After so many hundredths of what is stored.
    Percent(u32),
}

/// Parses `8%`, a time such as `5h`, or a size: with a capital suffix, or none.
pub(crate) fn budget(text: &str) -> Result<ScrubBudget, String> {
    let wrong =
        || "a budget is a part such as 8%, a time such as 5h or 30m, or bytes such as 2T or 500M".to_owned();
    if let Some(number) = text.strip_suffix('%') {
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let percent = number
            .parse()
            .ok()
            .filter(|percent| is_plain && (1..=100).contains(percent));
        return percent.map(ScrubBudget::Percent).ok_or_else(wrong);
    }
    // `5m` are minutes and `5M` are bytes, as everywhere.
    if let Ok(time) = age(text) {
        return Ok(ScrubBudget::Time(Duration::from_secs(time.seconds())));
    }
    size(text).map(ScrubBudget::Bytes).map_err(|_error| wrong())
}

/// Parses bytes a second; `/s` behind them says nothing new.
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = size(text.strip_suffix("/s").unwrap_or(text))?;
    NonZeroU64::new(bytes).ok_or_else(|| "a rate is at least 1 byte a second".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_parts_times_or_bytes() {
        for (text, expected) in [
            ("8%", ScrubBudget::Percent(8)),
            ("100%", ScrubBudget::Percent(100)),
            ("5h", ScrubBudget::Time(Duration::from_secs(5 * 3600))),
            ("90s", ScrubBudget::Time(Duration::from_secs(90))),
            ("5m", ScrubBudget::Time(Duration::from_secs(300))),
            ("5M", ScrubBudget::Bytes(5 << 20)),
            ("2TiB", ScrubBudget::Bytes(2 << 40)),
            ("4096", ScrubBudget::Bytes(4096)),
        ] {
            assert_eq!(budget(text), Ok(expected), "{text}");
        }
        for text in ["", "%", "0%", "101%", "+8%", "1.5h", "-1", "0", "5x", "8 %"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_bytes_a_second() {
        for text in ["100M", "100MiB/s", "100M/s"] {
            assert_eq!(rate(text).map(NonZeroU64::get), Ok(100 << 20), "{text}");
        }
        for text in ["", "0", "/s", "100M/h"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
